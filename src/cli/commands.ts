// Owns which commands there are, in the order in which help lists them.
import { asof, history } from './asof.ts';
import { check } from './check.ts';
import type { Command } from './command.ts';
import { reset } from './reset.ts';
import { resume } from './resume.ts';
import { run } from './run.ts';
import { schema } from './schema.ts';
import { snapshot } from './snapshot.ts';
import { status } from './status.ts';
import { tail } from './tail.ts';

export const COMMANDS: readonly Command[] = [
  run,
  check,
  status,
  tail,
  asof,
  history,
  snapshot,
  resume,
  reset,
  schema,
];

// Owns which commands there are, in the order in which help lists them.
import { check } from './check.ts';
import type { Command } from './command.ts';
import { reset } from './reset.ts';
import { resume } from './resume.ts';
import { run } from './run.ts';
import { schema } from './schema.ts';
import { snapshot } from './snapshot.ts';
import { status } from './status.ts';
import { TABLE_COMMANDS } from './table-commands.ts';
import { tail } from './tail.ts';

/** Those for tables are in table-commands.ts. */
export const COMMANDS: readonly Command[] = [
  run,
  check,
  status,
  tail,
  ...TABLE_COMMANDS,
  snapshot,
  resume,
  reset,
  schema,
];

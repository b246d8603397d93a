// Owns which commands there are for tables, in the order in which help lists them.
import { asof } from './asof.ts';
import { attach } from './attach.ts';
import type { Command } from './command.ts';
import { diff } from './diff.ts';
import { erase } from './erase.ts';
import { exportCommand } from './export.ts';
import { history } from './history.ts';
import { maintain } from './maintain.ts';
import { pause } from './pause.ts';
import { why } from './why.ts';

export const TABLE_COMMANDS: readonly Command[] = [
  asof,
  history,
  diff,
  why,
  attach,
  exportCommand,
  erase,
  maintain,
  pause,
];

// Owns which commands there are for tables, in the order in which help lists them.
import { attach } from './attach.ts';
import type { Command } from './command.ts';
import { erase } from './erase.ts';
import { exportCommand } from './export.ts';
import { maintain } from './maintain.ts';
import { pause } from './pause.ts';
import { QUESTIONS } from './questions.ts';

export const TABLE_COMMANDS: readonly Command[] = [
  ...QUESTIONS,
  attach,
  exportCommand,
  erase,
  maintain,
  pause,
];

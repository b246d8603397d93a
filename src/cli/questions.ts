// Owns which commands only ask: they are loaded without all the others, because people wait for the answer.
import { asof } from './asof.ts';
import type { Command } from './command.ts';
import { diff } from './diff.ts';
import { history } from './history.ts';
import { why } from './why.ts';

export const QUESTIONS: readonly Command[] = [asof, history, diff, why];

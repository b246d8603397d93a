import type { Command } from './command.ts';
export const history: Command = { name: 'history', usage: 'history', summary: '', run: async () => 1 };

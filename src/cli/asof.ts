import type { Command } from './command.ts';
export const asof: Command = { name: 'asof', usage: 'asof', summary: '', run: async () => 1 };

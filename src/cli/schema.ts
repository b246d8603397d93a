// Owns `varve schema`: the JSON Schema that editors check pipeline files with.
import { jsonSchema } from '../config.ts';
import type { Command } from './command.ts';

export const schema: Command = {
  name: 'schema',
  usage: 'schema',
  summary: "prints the pipeline file's JSON Schema, for editors",
  async run({ connectors, output }) {
    const loaded = await Promise.all(connectors.kinds.map((kind) => connectors.load(kind)));
    const printed = jsonSchema(loaded.map(({ options }) => options));
    output.result(printed, JSON.stringify(printed, null, 2));
    return 0;
  },
};

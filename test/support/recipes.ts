// Owns the recipes of a page of docs: its fenced blocks of one language below one heading, as printed.
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';

const DOCS = resolve(import.meta.dirname, '../../docs');

/** Throws where there are none: a recipe that is not there cannot be wrong. */
export const readRecipes = async (page: string, heading: string, language: string): Promise<string[]> => {
  const text = await readFile(resolve(DOCS, page), 'utf8');
  const start = text.indexOf(`\n## ${heading}\n`);
  const end = text.indexOf('\n## ', start + 1);
  const section = text.slice(start, end < 0 ? undefined : end);
  const blocks = [...section.matchAll(/^```(\w+)\n(.*?)^```$/gms)];
  const found = blocks.flatMap(([, name, block = '']) => (name === language ? [block] : []));
  if (start < 0 || found.length === 0) throw new Error(`${page} has no ${language} below ${heading}`);
  return found;
};

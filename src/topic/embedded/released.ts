// Owns how far the sink has read, as retention may count on it: one small file, written by the reading end.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32c } from '../crc32c.ts';
import { damaged, fileError, isMissing, RELEASED, writeWhole } from './directory.ts';

/**
 * Topic id -> first offset that is still needed. By id, because an offset of another incarnation means
 * nothing.
 */
export type Released = ReadonlyMap<string, number>;

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Empty when nothing was ever released. Throws `state_corrupt`. */
export const readReleased = async (path: string): Promise<Released> => {
  const file = join(path, RELEASED);
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    if (isMissing(error)) return null;
    throw fileError(error, path);
  });
  if (text === null) return new Map();
  const [stored, body] = text.split(/ (.*)/s);
  if (body === undefined || stored !== String(crc32c(bytesOf(body)))) {
    throw damaged(
      file,
      'its checksum does not fit; without this file nothing counts as released, which is safe',
    );
  }
  return new Map(JSON.parse(body) as [string, number][]);
};

export const writeReleased = async (path: string, released: Released): Promise<void> => {
  const body = JSON.stringify([...released]);
  await writeWhole(path, RELEASED, [bytesOf(`${crc32c(bytesOf(body))} ${body}`)]);
};

// How tests put one text through a column's encoder and read it back.
import type pg from 'pg';
import { openClient, parseConnection } from '../../../connectors/postgres/connection.ts';
import type { ConnectType } from '../../../src/change/schema.ts';
import { type AvroValue, compileReader } from '../../../src/topic/avro-read.ts';
import { avroSchema } from '../../../src/topic/avro-schema.ts';
import { ByteWriter } from '../../../src/topic/byte-writer.ts';
import type { EncodeValue } from '../../../src/topic/prepared-table.ts';

/** A connection with the connector's value formats; the caller ends it. */
export const openPinned = (url: string): Promise<pg.Client> =>
  openClient(parseConnection({ url }), { applicationName: 'varve_test', statementTimeoutMs: 60_000 });

/** The column's values as the server prints them; a cast to text is not the same for booleans and char(n). */
export const printed = (column: string): string =>
  `CASE WHEN ${column} IS NOT NULL THEN format('%s', ${column}) END`;

type Encoded = { isExact: boolean; avro: Uint8Array };

/** Other bytes stand around the value: an encoder must not look at them. */
export const encodeWith = (encode: EncodeValue | undefined, text: string | Uint8Array): Encoded => {
  if (encode === undefined) throw new Error('there is no such column');
  const out = new ByteWriter(16);
  const value = Buffer.from(text);
  const bytes = Buffer.concat([Buffer.from('9{"'), value, Buffer.from('9"}')]);
  const isExact = encode(bytes, 3, bytes.length - 3, out);
  return { isExact, avro: out.bytes.slice(0, out.pos) };
};

export const readBack = (type: ConnectType, { avro }: Encoded): AvroValue =>
  compileReader(avroSchema(type))(avro, 0, avro.length);

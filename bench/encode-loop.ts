// A program that encodes the same rows again and again, with Varve's envelope writer (which starts from the
// log's text and also writes key, headers and record) or with avsc (which starts from ready objects), and
// prints how long that took.
import avsc from 'avsc';
import type { RowChange } from '../src/change/event.ts';
import { type AvroValue, compileReader } from '../src/topic/avro-read.ts';
import { EnvelopeWriter } from '../src/topic/envelope.ts';
import { Change } from '../src/topic/envelope-change.ts';
import { RecordBatchBuilder, readRecords } from '../src/topic/record-batch.ts';
import { answer, readRequest } from './measure.ts';
import { envelope, makeRow, position } from './order-rows.ts';

export type EncodeRequest = { library: 'varve' | 'avsc'; rows: number };

const { library, rows: total } = readRequest<EncodeRequest>();
const DISTINCT_ROWS = 1000;
const FRAME_BYTES = 5;

const cells = Array.from({ length: DISTINCT_ROWS }, (_, at) => makeRow(at + 1));
const writer = new EnvelopeWriter(envelope, { keyId: 1, valueId: 2 });
const builder = new RecordBatchBuilder();
const partitions = [builder];
const change = new Change();
const row: RowChange<unknown> = {
  kind: 'row',
  op: 'c',
  table: null,
  ordinal: 0,
  before: null,
  beforeIsKey: false,
  after: null,
  keyChanged: false,
};

/** A batch as capture makes one of a transaction of 1000 rows. */
const encodeAll = (): void => {
  builder.reset();
  const nowUs = BigInt(Date.now()) * 1000n;
  change.begin({ epoch: 1, position: nowUs, phase: 1 }, { commitTs: nowUs, nowUs, snapshot: 'false' });
  position.lsnHigh = 7;
  position.txId = 1234;
  for (let at = 0; at < DISTINCT_ROWS; at++) {
    position.lsnLow = at * 200;
    row.ordinal = at;
    row.after = cells[at] ?? null;
    writer.write(partitions, change.setRow(row));
  }
};

/** As avsc wants them: numbers, and Buffers for bytes. Nanoseconds do not fit and become null. */
const forAvsc = (value: AvroValue): unknown => {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : null;
  if (value instanceof Uint8Array) return Buffer.from(value);
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Map)
    return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, forAvsc(part)]));
};

const makeAvscLoop = (): (() => void) => {
  encodeAll();
  const read = compileReader(envelope.valueSchema);
  const objects: unknown[] = [];
  readRecords(builder.finish(), ({ bytes, valueStart, valueEnd }) => {
    objects.push(forAvsc(read(bytes, valueStart + FRAME_BYTES, valueEnd)));
  });
  const type = avsc.Type.forSchema(JSON.parse(envelope.valueSchema) as avsc.Schema);
  const buffer = Buffer.alloc(1 << 20);
  return () => {
    let at = 0;
    for (const object of objects) at = type.encode(object, buffer, at);
    if (at <= 0) throw new Error('the buffer is too small');
  };
};

const loop = library === 'varve' ? encodeAll : makeAvscLoop();
for (let warmUp = 0; warmUp < 20; warmUp++) loop();
const startedMs = performance.now();
for (let done = 0; done < total; done += DISTINCT_ROWS) loop();
await answer({ seconds: (performance.now() - startedMs) / 1000 });

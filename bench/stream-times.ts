// A program for the floor of latency: prints when each inserted row arrived at a client that does nothing
// with it.

import { answer, readRequest } from './measure.ts';
import { type StreamRequest, streamRaw } from './stream-socket.ts';

const request = readRequest<StreamRequest>();
const INSERT = 0x49;
/** Tag, relation, 'N', number of columns, 't': then the length and the text of the first column, the id. */
const ID_AT = 9;

const seen: [id: number, atUs: number][] = [];
await streamRaw(request, (tag, bytes, at) => {
  if (tag !== INSERT) return false;
  const length = bytes.readUInt32BE(at + ID_AT);
  const id = Number(bytes.toString('latin1', at + ID_AT + 4, at + ID_AT + 4 + length));
  seen.push([id, Number(process.hrtime.bigint() / 1000n)]);
  return seen.length >= request.rows;
});
await answer(seen);
process.exit(0);

// A program for the floor of capture: reads a slot without decoding, counts inserts, updates and deletes, and
// prints how long that took.

import { answer, readRequest } from './measure.ts';
import { type StreamRequest, streamRaw } from './stream-socket.ts';

const request = readRequest<StreamRequest>();
const [INSERT, UPDATE, DELETE, COMMIT] = [0x49, 0x55, 0x44, 0x43];

let rows = 0;
const seconds = await streamRaw(request, (tag) => {
  if (tag === INSERT || tag === UPDATE || tag === DELETE) rows++;
  return tag === COMMIT && rows >= request.rows;
});
await answer({ rows, seconds });
process.exit(0);

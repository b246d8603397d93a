// The catalog contract on our own files.

import { LOCATION, makeWorld } from '../sinks/iceberg/table-world.ts';
import { catalogContract } from './catalog.ts';

catalogContract('files', async () => {
  const io = makeWorld();
  return { io, other: { ...io }, at: LOCATION, keepsSnapshots: true, [Symbol.asyncDispose]: async () => {} };
});

// A program for the peer of capture: reads a slot with the npm package pg-logical-replication, which decodes
// into objects, counts the rows and prints how long that took.
import { LogicalReplicationService, PgoutputPlugin } from 'pg-logical-replication';
import { answer, readRequest } from './measure.ts';
import type { StreamRequest } from './stream-socket.ts';

const { address, slot, publication, rows: wanted } = readRequest<StreamRequest>();
const service = new LogicalReplicationService(address, { acknowledge: { auto: true, timeoutSeconds: 10 } });
const plugin = new PgoutputPlugin({ protoVersion: 1, publicationNames: [publication] });

let rows = 0;
const startedMs = performance.now();
await new Promise<void>((resolve, reject) => {
  service.on('error', reject);
  service.on('data', (_lsn: string, { tag }: { tag: string }) => {
    if (tag === 'insert' || tag === 'update' || tag === 'delete') rows++;
    else if (tag === 'commit' && rows >= wanted) resolve();
  });
  service.subscribe(plugin, slot).catch(reject);
});
const seconds = (performance.now() - startedMs) / 1000;
await answer({ rows, seconds });
process.exit(0);

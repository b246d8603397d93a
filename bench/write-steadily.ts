// A program that commits rows on a fixed schedule, whatever the server does: a transaction that is late is
// sent late, and counts from when it should have been sent. Prints when the first one was due.
import pg from 'pg';
import { type Address, INSERT_SQL } from './database.ts';
import { answer, readRequest } from './measure.ts';

/** `rows` is a multiple of `rowsPerTransaction`. */
export type WriteRequest = {
  address: Address;
  firstId: number;
  rows: number;
  perSecond: number;
  rowsPerTransaction: number;
};

const { address, firstId, rows, perSecond, rowsPerTransaction } = readRequest<WriteRequest>();
/** So that one slow commit holds up a few transactions and not all. */
const CONNECTIONS = 4;
const HEAD_START_MS = 200;

const clients = Array.from({ length: CONNECTIONS }, () => new pg.Client(address));
for (const client of clients) {
  await client.connect();
  // Every commit is on disk before it is acknowledged, and so may be sent to readers at once.
  await client.query('SET synchronous_commit = on');
}

const nowUs = (): number => Number(process.hrtime.bigint() / 1000n);
const transactions = rows / rowsPerTransaction;
const stepUs = (1e6 / perSecond) * rowsPerTransaction;
const startUs = nowUs() + HEAD_START_MS * 1000;
const sent: Promise<unknown>[] = [];
while (sent.length < transactions) {
  const due = Math.min(transactions, Math.floor((nowUs() - startUs) / stepUs) + 1);
  for (let transaction = sent.length; transaction < due; transaction++) {
    const client = clients[transaction % CONNECTIONS];
    const id = firstId + transaction * rowsPerTransaction;
    const query = { name: 'insert', text: INSERT_SQL, values: [id, id + rowsPerTransaction - 1] };
    sent.push(client?.query(query) ?? Promise.reject(new Error('no connection')));
  }
  await new Promise((resolve) => setTimeout(resolve, 1));
}
await Promise.all(sent);
for (const client of clients) await client.end();
await answer({ startUs });

// A real table on disk, read back by a reader that is not ours, and its files looked at one by one.
import assert from 'node:assert/strict';
import { readFile, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import { icebergRead } from 'icebird';
import { liveFiles, loadTable } from '../../../src/sinks/parquet/iceberg/table-state.ts';
import { fromFileUri } from '../../../src/sinks/parquet/store-local.ts';
import { footerFieldIds } from './parquet-files.ts';
import { makeSampleTable } from './sample-table.ts';

const sample = await makeSampleTable();
after(() => sample[Symbol.asyncDispose]());

test('icebird finds as many rows as there are', async () => {
  // It wants URLs: file URIs in the metadata are answered by a server on this machine.
  const server = createServer(async (request, response) => {
    const bytes = await readFile(decodeURIComponent(request.url ?? ''));
    const found = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    const [start, end] = [Number(found?.[1] ?? 0), found?.[2] ? Number(found[2]) + 1 : bytes.length];
    response.writeHead(found ? 206 : 200, { 'content-length': end - start });
    response.end(request.method === 'HEAD' ? undefined : bytes.subarray(start, end));
  });
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  const { fetch } = globalThis;
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  globalThis.fetch = (url, init) => fetch(String(url).replace(/^file:\/\//, base), init);
  try {
    const rows = await icebergRead({ tableUrl: sample.state.location });
    const id = BigInt(sample.state.metadata['current-snapshot-id'] ?? -1);
    const expected = sample.expected.get(id);
    assert.ok(expected);
    assert.equal(rows.filter((row) => row.is_current === true).length, expected.current.length);
    assert.equal(rows.filter((row) => row.is_current === false).length, expected.history);
  } finally {
    globalThis.fetch = fetch;
    server.close();
  }
});

test('counts, sizes and field ids in the manifests are those of the files', async () => {
  const state = await loadTable(sample.io, sample.state.location);
  assert.ok(state);
  const { parquetMetadataAsync } = await import('hyparquet');
  for (const file of (await liveFiles(sample.io.store, state)).values()) {
    const path = fromFileUri(file.path);
    const bytes = await readFile(path);
    assert.equal((await stat(path)).size, file.bytes);
    const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
    assert.equal(Number((await parquetMetadataAsync(buffer)).num_rows), file.records);
    const ids = await footerFieldIds(path);
    if (file.content === 'data') assert.deepEqual([ids.get('pk'), ids.get('tags')], [1, 14]);
    else assert.deepEqual([...ids.values()], [2147483546, 2147483545]);
    assert.ok(!path.includes('='), 'a directory that engines would read a column out of');
  }
});

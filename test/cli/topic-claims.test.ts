// Values that no topic takes, kept in a directory: a file that its URL names, and what `check` says of the
// place.
import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { checkClaims, openClaims } from '../../src/cli/topic-claims.ts';

const NAME = 'shop.public.t/00000001.000000000000000000000005.1.000000000000-new';

const makeHome = async (t: TestContext): Promise<string> => {
  const home = await mkdtemp(join(tmpdir(), 'varve-claims-'));
  t.after(() => rm(home, { recursive: true }));
  return home;
};

test('a kept value is a file that its URL names; kept again, it is replaced', async (t) => {
  const claims = await openClaims({ location: await makeHome(t) });
  assert.ok(claims);
  for (const text of ['first', 'second']) {
    await claims.put(NAME, new TextEncoder().encode(text));
    assert.equal(await readFile(new URL(claims.locate(NAME)), 'utf8'), text);
  }
  claims.close();
});

test('without a place there is nothing to open and nothing to check', async () => {
  assert.equal(await openClaims(null), null);
  assert.deepEqual(await checkClaims(null), []);
});

test('check tries the place out, and leaves nothing there', async (t) => {
  const home = await makeHome(t);
  const location = join(home, 'claims');
  const [good] = await checkClaims({ location });
  assert.equal(good?.level, 'ok');
  assert.deepEqual(await readdir(location), []);
  await writeFile(join(home, 'file'), '');
  const [bad] = await checkClaims({ location: join(home, 'file') });
  assert.equal(bad?.level, 'error');
  assert.match(bad?.what ?? '', /file/);
});

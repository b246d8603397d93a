// A reporter for `node --test` that writes one JSON line a test file: how many tests ran in it, and how.

// biome-ignore lint/style/noDefaultExport: node --test takes a reporter by its default export
export default async function* count(events) {
  for await (const { type, data } of events) {
    if (type !== 'test:summary' || !data.file) continue;
    const { tests, passed, skipped, todo } = data.counts;
    yield `${JSON.stringify({ file: data.file, tests, passed, skipped, todo })}\n`;
  }
}

// Where what is said goes: results to standard output, the rest to standard error, and one JSON object a line
// when a program listens.
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { alignTable, makeOutput, type Output } from '../../src/cli/output.ts';
import { rateMeter } from '../../src/cli/rate.ts';

type Heard = { output: Output; out: () => string; error: () => string };

const listen = (options: { json: boolean; tty?: boolean }): Heard => {
  const streams = [new PassThrough(), new PassThrough()] as const;
  for (const stream of streams) Object.assign(stream, { isTTY: options.tty === true, columns: 20 });
  const [stdout, stderr] = streams as unknown as [NodeJS.WriteStream, NodeJS.WriteStream];
  const text = (stream: PassThrough) => (): string => String(stream.read() ?? '');
  return {
    output: makeOutput({ stdout, stderr, json: options.json }),
    out: text(streams[0]),
    error: text(streams[1]),
  };
};

test('columns are aligned, numbers to the right', () => {
  assert.deepEqual(
    alignTable(
      ['id', 'name', 'rows'],
      [
        [1, 'a', 10n],
        [20, null, 5n],
      ],
    ),
    ['id  name  rows', ' 1  a       10', '20           5'],
  );
  assert.deepEqual(alignTable(['id', 'name'], []), ['id  name']);
});

test('people get text, programs get one JSON object a line', () => {
  const people = listen({ json: false });
  people.output.result({ state: 'x' }, 'it is x');
  people.output.note('by the way');
  assert.deepEqual([people.out(), people.error()], ['it is x\n', 'by the way\n']);
  const program = listen({ json: true });
  program.output.result({ big: 9_223_372_036_854_775_807n, text: 'a\nb' }, 'it is x');
  program.output.table(
    ['a', 'b'],
    [
      [1, null],
      ['x', true],
    ],
  );
  program.output.note('by the way');
  program.output.progress('50 %');
  const lines = program.out().trimEnd().split('\n');
  assert.deepEqual(
    lines.map((line) => JSON.parse(line) as object),
    [
      { big: '9223372036854775807', text: 'a\nb' },
      { a: 1, b: null },
      { a: 'x', b: true },
    ],
  );
  assert.equal(program.error(), '');
});

test('colours and progress are for a terminal only', () => {
  const terminal = listen({ json: false, tty: true });
  terminal.output.progress('a line that is longer than the terminal');
  terminal.output.result({}, terminal.output.bad('FAILED'));
  assert.equal(terminal.error(), 'a line that is longe\r\u001b[2K'.replace('longe', 'long'));
  assert.equal(terminal.out(), '\u001b[31mFAILED\u001b[0m\n');
  const pipe = listen({ json: false });
  pipe.output.progress('50 %');
  pipe.output.result({}, pipe.output.bad('FAILED'));
  assert.deepEqual([pipe.out(), pipe.error()], ['FAILED\n', '']);
});

test('a rate is that of the last seconds, a time to go that of the whole', () => {
  let now = 0;
  const meter = rateMeter(() => now);
  assert.equal(meter.rate('events', 5000), '1,000');
  now = 4999;
  assert.equal(meter.rate('events', 5000), '2,000');
  now = 10_000;
  assert.equal(meter.rate('events', 0), '0');
  now = 0;
  assert.equal(meter.eta('rows', 0, 100), '');
  now = 10_000;
  assert.equal(meter.eta('rows', 50, 100), '5/s, about 10 s to go');
  assert.equal(meter.eta('rows', 100, 100), '10/s');
});

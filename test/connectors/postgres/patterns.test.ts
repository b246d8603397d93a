// Which tables a list of patterns picks, and what is said of a pattern that cannot be read.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { compilePatterns } from '../../../connectors/postgres/patterns.ts';
import type { TableName } from '../../../src/change/schema.ts';

const picks = (patterns: string[], ...name: TableName): boolean => compilePatterns(patterns)(name);

describe('table patterns', () => {
  it('know wildcards and names', () => {
    assert.equal(picks(['public.*'], 'public', 'orders'), true);
    assert.equal(picks(['public.*'], 'private', 'orders'), false);
    assert.equal(picks(['public.order?'], 'public', 'orders'), true);
    assert.equal(picks(['public.order?'], 'public', 'order'), false);
    assert.equal(picks(['*.orders'], 'any', 'orders'), true);
    assert.equal(picks(['public.a', 'public.b'], 'public', 'b'), true);
  });

  it('leave out what has a !, wherever it stands in the list', () => {
    for (const list of [
      ['public.*', '!public.tmp_*'],
      ['!public.tmp_*', 'public.*'],
    ]) {
      assert.equal(picks(list, 'public', 'tmp_1'), false);
      assert.equal(picks(list, 'public', 'temporary'), true);
    }
  });

  it('take quoted names as they are', () => {
    assert.equal(picks(['"My Schema"."Order Lines.v2"'], 'My Schema', 'Order Lines.v2'), true);
    assert.equal(picks(['public."a*"'], 'public', 'ab'), false);
    assert.equal(picks(['public."a*"'], 'public', 'a*'), true);
    assert.equal(picks(['public."quo""te"'], 'public', 'quo"te'), true);
    assert.equal(picks(['!public."x y"', 'public.*'], 'public', 'x y'), false);
    assert.equal(picks(['public.Ünï'], 'public', 'Ünï'), true);
    assert.equal(picks(['public.Orders'], 'public', 'orders'), false);
    assert.equal(picks(['public.a+b(c)'], 'public', 'a+b(c)'), true);
    assert.equal(picks(['public.*'], 'public', 'line\nbreak'), true);
  });

  it('quoted, pick exactly the name that they quote', () => {
    const name = fc.string({ unit: 'grapheme', minLength: 1 });
    fc.assert(
      fc.property(name, name, name, (schema, table, other) => {
        const quote = (text: string): string => `"${text.replaceAll('"', '""')}"`;
        const pattern = `${quote(schema)}.${quote(table)}`;
        assert.equal(picks([pattern], schema, table), true);
        assert.equal(picks([pattern], schema, other), other === table);
      }),
    );
  });

  it('say what is wrong with them', () => {
    const reasons: [string[], RegExp][] = [
      [['orders'], /"orders" names no schema/],
      [['public.'], /"public\." lacks a name/],
      [['.orders'], /lacks a name/],
      [['public."orders'], /quoted name without end/],
      [['db.public.orders'], /goes on after the table name/],
      [['"a"b.c'], /does not go on with a dot/],
      [['!'], /lacks a name/],
      [['!!public.a'], /lacks a name/],
      [['public.a b'], /goes on after the table name/],
      [[], /picks none/],
      [['!public.tmp_*'], /picks none/],
    ];
    for (const [patterns, message] of reasons) {
      assert.throws(() => compilePatterns(patterns), { kind: 'config_invalid', message }, String(patterns));
    }
  });
});

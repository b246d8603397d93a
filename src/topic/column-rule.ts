// Owns hiding values: how a column that is masked, cut or hashed is written, and what its schema says. What
// it gives is of a text alone. Knows no table and no database.
import { createHash } from 'node:crypto';
import type { ConnectType } from '../change/schema.ts';
import type { ColumnRule } from './format.ts';
import type { EncodeValue } from './prepared-table.ts';

/** A rule that leaves the column in the schema. */
export type HidingRule = Exclude<ColumnRule, { rule: 'drop' }>;

/** The source's own text of a value, such as `PreparedTable.text` without the column. */
type ReadText = (bytes: Uint8Array, start: number, end: number) => string;

/** The first so many UTF-16 units, as Java counts characters, but never half a character. */
const cut = (text: string, length: number): string => {
  if (text.length <= length) return text;
  const isTorn = length > 0 && /[\uD800-\uDBFF]/.test(text[length - 1] as string);
  return text.slice(0, isTorn ? length - 1 : length);
};

/** `limit`: most characters that the column holds; null: any number. */
const hide = (rule: HidingRule, limit: number | null): ((text: string) => string) => {
  switch (rule.rule) {
    case 'mask': {
      const mask = '*'.repeat(rule.length);
      return () => mask;
    }
    case 'truncate':
      return (text) => cut(text, rule.length);
    case 'hash': {
      // Debezium's `column.mask.hash.v2`: the digest of salt and text, no longer than the column.
      const algorithm = rule.algorithm.replace('-', '');
      return (text) => {
        const digest = createHash(algorithm).update(rule.salt).update(text).digest('hex');
        return limit === null ? digest : digest.slice(0, limit);
      };
    }
  }
};

/** Text, whatever the column's own type is; what is in it is said as Debezium says it. */
export const hiddenType = (rule: HidingRule): ConnectType => ({
  type: 'string',
  parameters: rule.rule === 'truncate' ? { truncateLength: String(rule.length) } : { masked: 'true' },
});

/** Always exact: nothing of the value may stand anywhere else. NULL stays NULL. */
export const hideValue = (rule: HidingRule, limit: number | null, read: ReadText): EncodeValue => {
  const hidden = hide(rule, limit);
  return (bytes, start, end, out) => {
    out.text(hidden(rule.rule === 'mask' ? '' : read(bytes, start, end)));
    return true;
  };
};

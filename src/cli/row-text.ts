// Owns how rows of a table are shown: values as people read them, without what a terminal would take for a
// command, and as JSON, whole.
import type { TableLayout } from '../sinks/parquet/columns-layout.ts';
import type { EngineValue } from '../sinks/parquet/columns-value.ts';
import type { IcebergField, IcebergType } from '../sinks/parquet/iceberg-type.ts';
import type { Cell } from './output.ts';
import { type Printable, printableCell, timestampText } from './printable.ts';

/** Beyond this a value is cut on a terminal. */
const WIDEST = 60;

const NAMED: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

const visible = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what it is about
  text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (char) => {
    return NAMED[char] ?? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });

/** One line, for people; `tty`: no wider than a terminal bears. */
export const cellOf = (value: EngineValue, type: IcebergType, tty: boolean): Cell => {
  const printed = printableCell(value, type);
  if (printed === null || typeof printed === 'number' || typeof printed === 'boolean') return printed;
  const text = visible(typeof printed === 'string' ? printed : JSON.stringify(printed));
  return tty && text.length > WIDEST ? `${text.slice(0, WIDEST - 1)}…` : text;
};

/** As `cellOf`, where NULL and the empty text must not look alike. */
export const valueText = (value: EngineValue, type: IcebergType, tty: boolean): string => {
  const cell = cellOf(value, type, tty);
  if (cell === null) return 'NULL';
  return cell === '' ? "''" : String(cell);
};

/** Whole, by name. */
export const rowJson = (
  row: readonly EngineValue[],
  fields: readonly IcebergField[],
): Record<string, Printable> =>
  Object.fromEntries(fields.map(({ name, type }, at) => [name, printableCell(row[at] ?? null, type)]));

/** The key's fields in its order. */
export const keyFields = ({ fields, key }: TableLayout): IcebergField[] =>
  key.map((id) => fields.find((field) => field.id === id) as IcebergField);

/** Microseconds since 1970-01-01 UTC, as ISO. */
export const instantText = (micros: bigint): string => `${timestampText(micros)}Z`;

/** `id=7, code=a`. */
export const keyText = (values: readonly EngineValue[], key: readonly IcebergField[]): string =>
  key.map(({ name, type }, at) => `${name}=${valueText(values[at] ?? null, type, false)}`).join(', ');

const UNITS = [
  ['d', 86_400_000_000n],
  ['h', 3_600_000_000n],
  ['min', 60_000_000n],
  ['s', 1_000_000n],
] as const;

/** Microseconds as people say them, in at most two units: `3 d 4 h`, `1.5 s`, `12 ms`. */
export const durationText = (micros: bigint): string => {
  if (micros < 0n) return `-${durationText(-micros)}`;
  if (micros < 1000n) return `${micros} us`;
  if (micros < 1_000_000n) return `${micros / 1000n} ms`;
  if (micros < 60_000_000n) return `${Number(micros / 100_000n) / 10} s`;
  const at = UNITS.findIndex(([, size]) => micros >= size);
  const [unit, size] = UNITS[at] ?? UNITS[3];
  const [smaller, part] = UNITS[at + 1] ?? UNITS[3];
  const rest = (micros % size) / part;
  return `${micros / size} ${unit}${rest === 0n ? '' : ` ${rest} ${smaller}`}`;
};

// Owns one table's rows and keys in Avro, straight from the cells. Knows no envelope, no header, no clock.
import { CELL_NULL, CELL_UNCHANGED, CELL_VALUE, type Cells } from '../change/row.ts';
import { type Column, tableText } from '../change/schema.ts';
import { VarveError } from '../errors.ts';
import type { ByteWriter } from './byte-writer.ts';
import { absentValue, NO_BRANCH, nullBranch, unchangedValue, valueBranch } from './envelope-stand-in.ts';
import type { EncodeValue, PreparedTable } from './prepared-table.ts';

/** `unchanged` and `texts` speak of the image or key that was written last. */
export class RowEncoder {
  /** Real names of the columns that hold a placeholder, as JSON strings. */
  readonly unchanged: string[] = [];
  /** `"column":"text"` of the values that the encoding could not hold. */
  readonly texts: string[] = [];
  readonly #table: PreparedTable;
  readonly #columns: readonly Column[];
  readonly #encode: readonly EncodeValue[];
  readonly #key: readonly number[];
  readonly #required: readonly number[];
  readonly #requiredKey: readonly number[];
  readonly #isKey: Uint8Array;
  readonly #valueBranch: Uint8Array;
  readonly #nullBranch: Uint8Array;
  readonly #absent: readonly Uint8Array[];
  readonly #unchangedValue: readonly Uint8Array[];

  constructor(table: PreparedTable) {
    const { columns, key } = table.schema;
    this.#table = table;
    this.#columns = columns;
    this.#encode = table.encode;
    this.#key = key;
    this.#required = [...columns.keys()].filter((at) => columns[at]?.optional === false);
    this.#requiredKey = this.#required.filter((at) => key.includes(at));
    this.#isKey = Uint8Array.from(columns, (_, at) => (key.includes(at) ? 1 : 0));
    this.#valueBranch = Uint8Array.from(columns, valueBranch);
    this.#nullBranch = Uint8Array.from(columns, nullBranch);
    this.#absent = columns.map(absentValue);
    this.#unchangedValue = columns.map(unchangedValue);
  }

  /**
   * Throws `null_in_required` (facts: `column`, an index, and `table`) for a NULL where the schema allows
   * none.
   */
  refuseNulls(cells: Cells, isKeyOnly: boolean): void {
    const { kind } = cells;
    const required = isKeyOnly ? this.#requiredKey : this.#required;
    for (let i = 0; i < required.length; i++) {
      const column = required[i]!;
      if (kind[column] === CELL_NULL) this.#refuseNull(column);
    }
  }

  /**
   * The key's Avro form, no frame. Key columns that `cells` has as unchanged are taken from `old`; throws
   * `value_unsupported` when that has none either, because a placeholder would be another row's key.
   */
  writeKey(out: ByteWriter, cells: Cells, old: Cells | null): void {
    this.forget();
    for (let i = 0; i < this.#key.length; i++) {
      const column = this.#key[i]!;
      const isOld = old !== null && cells.kind[column] === CELL_UNCHANGED;
      const from = isOld ? old : cells;
      if (from.kind[column] === CELL_UNCHANGED) this.#refuseUnknownKey(column);
      this.#writeCell(out, from, column);
    }
  }

  /**
   * A whole image. What it has as unchanged is taken from `old` where that has it (only its key columns are
   * real when `oldIsKey`), because an unchanged value is the old value; else a placeholder stands in and
   * `unchanged` names it.
   */
  writeRow(out: ByteWriter, cells: Cells, old: { cells: Cells | null; isKey: boolean }): void {
    this.forget();
    const { bytes, kind, start, end } = cells;
    const encode = this.#encode;
    const branches = this.#valueBranch;
    for (let i = 0; i < encode.length; i++) {
      if (kind[i] === CELL_VALUE) {
        const branch = branches[i]!;
        if (branch !== NO_BRANCH) out.byte(branch);
        if (!encode[i]!(bytes, start[i]!, end[i]!, out)) this.#note(cells, i);
      } else if (kind[i] === CELL_UNCHANGED && old.cells !== null && (!old.isKey || this.#isKey[i] === 1)) {
        this.#writeCell(out, old.cells, i);
      } else this.#writeCell(out, cells, i);
    }
  }

  /** An image of which only the key columns are real. */
  writeKeyImage(out: ByteWriter, cells: Cells): void {
    this.forget();
    for (let i = 0; i < this.#encode.length; i++) {
      if (this.#isKey[i] === 1) this.#writeCell(out, cells, i);
      else out.raw(this.#absent[i]!);
    }
  }

  #writeCell(out: ByteWriter, cells: Cells, column: number): void {
    const kind = cells.kind[column]!;
    const branch = this.#valueBranch[column]!;
    if (kind === CELL_VALUE) {
      if (branch !== NO_BRANCH) out.byte(branch);
      const isExact = this.#encode[column]!(cells.bytes, cells.start[column]!, cells.end[column]!, out);
      if (!isExact) this.#note(cells, column);
    } else if (kind === CELL_NULL) {
      if (branch === NO_BRANCH) this.#refuseNull(column);
      out.byte(this.#nullBranch[column]!);
    } else {
      this.unchanged.push(this.#name(column));
      out.raw(this.#unchangedValue[column]!);
    }
  }

  /** For a record that has no image. */
  forget(): void {
    if (this.unchanged.length > 0) this.unchanged.length = 0;
    if (this.texts.length > 0) this.texts.length = 0;
  }

  #note(cells: Cells, column: number): void {
    const text = this.#table.text(column, cells.bytes, cells.start[column]!, cells.end[column]!);
    this.texts.push(`${this.#name(column)}:${JSON.stringify(text)}`);
  }

  #name(column: number): string {
    return JSON.stringify(this.#columns[column]!.name);
  }

  #refuseUnknownKey(column: number): never {
    const table = tableText(this.#table.schema.name);
    throw new VarveError(
      'value_unsupported',
      `A change of ${table} came without its key column ${this.#name(column)}, so nobody can tell which ` +
        'row it is of. Let the source log whole old rows of this table, then snapshot it again.',
      { facts: { column, table } },
    );
  }

  #refuseNull(column: number): never {
    const table = tableText(this.#table.schema.name);
    throw new VarveError(
      'null_in_required',
      `Column ${this.#name(column)} of ${table} holds NULL, but its schema says it never does. The row is ` +
        'older than the NOT NULL; prepare the table again with the column optional.',
      { facts: { column, table } },
    );
  }
}

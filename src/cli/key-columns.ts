// Owns how a table's key is read from what the topic has of it, as its columns were at an order.
import type { Order } from '../change/order.ts';
import { compileConvert } from '../sinks/parquet/columns.ts';
import type { KeyColumn } from '../sinks/parquet/columns-key.ts';
import { fieldOfColumn } from '../sinks/parquet/columns-layout.ts';
import type { NamedTable } from './asked.ts';

/** In key order; empty where nothing is known of the columns of then. */
export const keyColumnsAt = ({ records, layout }: NamedTable, order: Order): KeyColumn[] => {
  const record = records.findLast(({ first }) => first <= order) ?? records[0];
  return (record?.key ?? []).flatMap((at): KeyColumn[] => {
    const column = record?.columns[at];
    const field = column === undefined ? null : fieldOfColumn(layout, column);
    if (column === undefined || field === null) return [];
    const convert = compileConvert(column.type, field.type);
    return [{ field: record?.fields[at] ?? '', type: column.type, convert }];
  });
};

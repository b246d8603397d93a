// Owns sort orders: what a table says its new files are sorted by. Rising order of whole columns, no more.
// Pure. https://iceberg.apache.org/spec/#sorting
import { z } from 'zod';

const sortField = z.looseObject({
  'source-id': z.int(),
  transform: z.string(),
  direction: z.string(),
  'null-order': z.string(),
});
export const sortOrderShape = z.looseObject({ 'order-id': z.int(), fields: z.array(sortField) });
type SortOrder = z.infer<typeof sortOrderShape>;

const UNSORTED: SortOrder = { 'order-id': 0, fields: [] };

const rising = (sourceId: number): SortOrder['fields'][number] => ({
  'source-id': sourceId,
  transform: 'identity',
  direction: 'asc',
  'null-order': 'nulls-last',
});

const textOf = ({ fields }: SortOrder): string =>
  fields.map((field) => `${field['source-id']} ${field.transform} ${field.direction}`).join();

/** The order by these field ids, one that is there already where it says the same; the id 0 is unsorted. */
export const evolveSort = (
  orders: readonly SortOrder[],
  wanted: readonly number[],
): { id: number; orders: SortOrder[] } => {
  const known = orders.length === 0 ? [UNSORTED] : [...orders];
  const made = {
    'order-id': Math.max(...known.map((one) => one['order-id'])) + 1,
    fields: wanted.map(rising),
  };
  const same = known.find((order) => textOf(order) === textOf(made));
  return same ? { id: same['order-id'], orders: known } : { id: made['order-id'], orders: [...known, made] };
};

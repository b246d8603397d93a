// Owns taking rows away without delete files: the files that have them are written again without. Knows no
// rule; other files stay as they are.
import type { Bench } from './bench.ts';
import { knownPlace } from './rewrite.ts';
import { columnList, scanFiles } from './sql.ts';

/**
 * Writes the files of these rows, by file, again without them, and so every file that has delete files, from
 * when rows went by them. Returns the paths of what goes. The rows of a file keep their order.
 */
export const copyWithout = async (
  { request, context, fields, files, output }: Bench,
  positions: ReadonlyMap<number, readonly number[]>,
): Promise<string[]> => {
  const { database } = context;
  const owing = new Set(request.deletes.map(({ referencedDataFile }) => referencedDataFile));
  const opened = await files.open(request.data.filter(({ path }) => owing.has(path)));
  const touched = new Set([...positions.keys(), ...opened.map(({ index }) => index)]);
  const columns = columnList(fields.stored, 's');
  const gone = new Set<string>();
  for (const file of files.opened.filter(({ index }) => touched.has(index))) {
    const list = positions.get(file.index) ?? [];
    await database.run('CREATE OR REPLACE TEMP TABLE removed_row (pos BIGINT)');
    const positionAt = (row: number): bigint => BigInt(list[row] as number);
    await database.append('removed_row', [{ type: 'long', value: positionAt }], list.length);
    const kept =
      `(SELECT ${columns} FROM ${scanFiles([file.local], fields.stored)} s ` +
      `ANTI JOIN deleted_row d ON d.file = ${file.index} AND d.pos = s.file_row_number ` +
      'ANTI JOIN removed_row r ON r.pos = s.file_row_number)';
    // A whole file need not be sorted again, which would take it into memory.
    await database.run('SET preserve_insertion_order = true');
    const partition = knownPlace(request, file);
    await output.writeData(kept, { fields: fields.stored, sort: null, partition });
    await database.run('SET preserve_insertion_order = false');
    gone.add(file.path);
  }
  const deletes = request.deletes.filter(({ referencedDataFile }) => gone.has(referencedDataFile ?? ''));
  return [...gone, ...deletes.map(({ path }) => path)];
};

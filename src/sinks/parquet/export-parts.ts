// Owns reading how people want an export's folders to be made. Pure.
import { VarveError } from '../../errors.ts';
import type { ExportPart } from './engine/protocol.ts';
import type { IcebergField } from './iceberg-type.ts';

const FIT: Readonly<Record<ExportPart['transform'], RegExp>> = {
  identity: /^(?!float|double|binary|list)/,
  day: /^(date|timestamp(tz)?)$/,
  hour: /^timestamp(tz)?$/,
};

/** Throws `usage`. */
export const readParts = (texts: readonly string[], fields: readonly IcebergField[]): ExportPart[] =>
  texts.map((text) => {
    const [, said = 'identity', inner] = /^(day|hour)\((.+)\)$/s.exec(text) ?? [];
    const transform = said as ExportPart['transform'];
    const field = fields.find(({ name }) => name === (inner ?? text));
    const names = fields.map(({ name }) => name).join(', ');
    if (field === undefined)
      throw new VarveError('usage', `--partition-by ${text}: the table has no such column. It has ${names}.`);
    const type = typeof field.type === 'string' ? field.type : 'list';
    if (!FIT[transform].test(type))
      throw new VarveError(
        'usage',
        `--partition-by ${text}: ${field.name} is ${type}. day(..) takes dates and times of day and date, ` +
          'hour(..) the latter; a column itself is taken unless it is float, double, binary or a list.',
      );
    const name = transform === 'identity' ? field.name : `${field.name}_${transform}`;
    return { fieldId: field.id, transform, name };
  });

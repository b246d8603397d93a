// Owns the Avro schemas of manifests and manifest lists: every field id of the v2 spec, in Java's order,
// because readers find fields by id and old ones by place. https://iceberg.apache.org/spec/#manifests
import type { IcebergPrimitive, IcebergType, PartitionSpec } from '../iceberg-type.ts';
import type { AvroField, AvroRecord, AvroType, FieldNames } from './avro-write.ts';
import { partitionType } from './partition.ts';

const required = (id: number, name: string, type: AvroType): AvroField => ({ name, type, 'field-id': id });
const optional = (id: number, name: string, type: AvroType): AvroField => ({
  name,
  type: ['null', type],
  default: null,
  'field-id': id,
});

/** Avro maps have text keys only; Iceberg's int-keyed maps are arrays of pairs, told by `logicalType`. */
const intMap = (key: number, value: number, type: AvroType): AvroType => ({
  type: 'array',
  logicalType: 'map',
  items: {
    type: 'record',
    name: `k${key}_v${value}`,
    fields: [required(key, 'key', 'int'), required(value, 'value', type)],
  },
});

const list = (element: number, items: AvroType): AvroType => ({
  type: 'array',
  items,
  'element-id': element,
});

/** An Avro name for any text, as Java makes it: `a-b` is `a_x2Db`. */
export const avroName = (name: string): string =>
  name
    .replace(/^[0-9]/, '_$&')
    .replace(/[^A-Za-z0-9_]/g, (char) => `_x${char.charCodeAt(0).toString(16).toUpperCase()}`);

/** Readers that meet a date without its mark stop, or die of it. */
const partitionAvro = (type: IcebergPrimitive): AvroType =>
  type === 'date' ? { type: 'int', logicalType: 'date' } : type;

const partitionRecord = (spec: PartitionSpec, typeOf: (sourceId: number) => IcebergType): AvroRecord => ({
  type: 'record',
  name: 'r102',
  fields: spec.fields.map(({ fieldId, name, transform, sourceId }) =>
    optional(fieldId, avroName(name), partitionAvro(partitionType(transform, typeOf(sourceId)) ?? 'int')),
  ),
});

/** Schema of a manifest's entries; `typeOf` gives the type of a table column by its field id. */
export const entrySchema = (spec: PartitionSpec, typeOf: (sourceId: number) => IcebergType): AvroRecord => ({
  type: 'record',
  name: 'manifest_entry',
  fields: [
    required(0, 'status', 'int'),
    optional(1, 'snapshot_id', 'long'),
    optional(3, 'sequence_number', 'long'),
    optional(4, 'file_sequence_number', 'long'),
    required(2, 'data_file', {
      type: 'record',
      name: 'r2',
      fields: [
        required(134, 'content', 'int'),
        required(100, 'file_path', 'string'),
        required(101, 'file_format', 'string'),
        required(102, 'partition', partitionRecord(spec, typeOf)),
        required(103, 'record_count', 'long'),
        required(104, 'file_size_in_bytes', 'long'),
        optional(108, 'column_sizes', intMap(117, 118, 'long')),
        optional(109, 'value_counts', intMap(119, 120, 'long')),
        optional(110, 'null_value_counts', intMap(121, 122, 'long')),
        optional(137, 'nan_value_counts', intMap(138, 139, 'long')),
        optional(125, 'lower_bounds', intMap(126, 127, 'bytes')),
        optional(128, 'upper_bounds', intMap(129, 130, 'bytes')),
        optional(131, 'key_metadata', 'bytes'),
        optional(132, 'split_offsets', list(133, 'long')),
        optional(135, 'equality_ids', list(136, 'int')),
        optional(140, 'sort_order_id', 'int'),
        optional(143, 'referenced_data_file', 'string'),
      ],
    }),
  ],
});

export const MANIFEST_LIST_SCHEMA: AvroRecord = {
  type: 'record',
  name: 'manifest_file',
  fields: [
    required(500, 'manifest_path', 'string'),
    required(501, 'manifest_length', 'long'),
    required(502, 'partition_spec_id', 'int'),
    required(517, 'content', 'int'),
    required(515, 'sequence_number', 'long'),
    required(516, 'min_sequence_number', 'long'),
    required(503, 'added_snapshot_id', 'long'),
    required(504, 'added_files_count', 'int'),
    required(505, 'existing_files_count', 'int'),
    required(506, 'deleted_files_count', 'int'),
    required(512, 'added_rows_count', 'long'),
    required(513, 'existing_rows_count', 'long'),
    required(514, 'deleted_rows_count', 'long'),
    optional(
      507,
      'partitions',
      list(508, {
        type: 'record',
        name: 'r508',
        fields: [
          required(509, 'contains_null', 'boolean'),
          optional(518, 'contains_nan', 'boolean'),
          optional(510, 'lower_bound', 'bytes'),
          optional(511, 'upper_bound', 'bytes'),
        ],
      }),
    ),
    optional(519, 'key_metadata', 'bytes'),
  ],
};

const collect = (type: AvroType, names: Map<number, string>): Map<number, string> => {
  if (typeof type === 'string') return names;
  if (!('type' in type)) return collect(type[1], names);
  if ('items' in type) return collect(type.items, names);
  if (!('fields' in type)) return names;
  for (const field of type.fields) {
    if (field['field-id'] !== undefined) names.set(field['field-id'], field.name);
    collect(field.type, names);
  }
  return names;
};

/** Partition fields are not among them: those are known by the digits of their id. */
export const ENTRY_NAMES: FieldNames = collect(
  entrySchema({ specId: 0, fields: [] }, () => 'int'),
  new Map(),
);
export const MANIFEST_LIST_NAMES: FieldNames = collect(MANIFEST_LIST_SCHEMA, new Map());

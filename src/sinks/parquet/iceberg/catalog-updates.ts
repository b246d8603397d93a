// Owns a commit in the words of the REST catalog: what has to be true of the table, and what changes, read
// off two versions of its metadata. Pure. Knows no request. TableUpdate and TableRequirement in
// https://github.com/apache/iceberg/blob/main/open-api/rest-catalog-open-api.yaml
import type { TableMetadata } from './metadata.ts';

/** To be printed by `printExact`: ids may be bigint. */
type Part = Readonly<Record<string, unknown>>;

/** The last one added, whichever id the service gives it. */
const LAST = -1;

const mainId = (metadata: TableMetadata): number | bigint | null => {
  const id = metadata['current-snapshot-id'] ?? -1;
  return BigInt(id) === -1n ? null : id;
};

/** All that services can compare: nobody else has committed a snapshot, columns or a layout meanwhile. */
export const requirementsOf = (base: TableMetadata): Part[] => [
  { type: 'assert-table-uuid', uuid: base['table-uuid'] },
  { type: 'assert-ref-snapshot-id', ref: 'main', 'snapshot-id': mainId(base) },
  { type: 'assert-current-schema-id', 'current-schema-id': base['current-schema-id'] },
  { type: 'assert-last-assigned-field-id', 'last-assigned-field-id': base['last-column-id'] },
  { type: 'assert-default-spec-id', 'default-spec-id': base['default-spec-id'] },
  { type: 'assert-last-assigned-partition-id', 'last-assigned-partition-id': base['last-partition-id'] },
  { type: 'assert-default-sort-order-id', 'default-sort-order-id': base['default-sort-order-id'] },
];

const schemaUpdates = (base: TableMetadata | null, next: TableMetadata): Part[] => {
  const id = next['current-schema-id'];
  if (base?.['current-schema-id'] === id) return [];
  const schema = next.schemas.find((one) => one['schema-id'] === id);
  if (base?.schemas.some((one) => one['schema-id'] === id))
    return [{ action: 'set-current-schema', 'schema-id': id }];
  return [
    { action: 'add-schema', schema, 'last-column-id': next['last-column-id'] },
    { action: 'set-current-schema', 'schema-id': LAST },
  ];
};

const specUpdates = (base: TableMetadata | null, next: TableMetadata): Part[] => {
  const id = next['default-spec-id'];
  if (base?.['default-spec-id'] === id) return [];
  const spec = next['partition-specs'].find((one) => one['spec-id'] === id);
  if (base?.['partition-specs'].some((one) => one['spec-id'] === id))
    return [{ action: 'set-default-spec', 'spec-id': id }];
  return [
    { action: 'add-spec', spec },
    { action: 'set-default-spec', 'spec-id': LAST },
  ];
};

const sortUpdates = (base: TableMetadata | null, next: TableMetadata): Part[] => {
  const id = next['default-sort-order-id'];
  if (base?.['default-sort-order-id'] === id) return [];
  const order = next['sort-orders'].find((one) => one['order-id'] === id);
  if (base?.['sort-orders'].some((one) => one['order-id'] === id))
    return [{ action: 'set-default-sort-order', 'sort-order-id': id }];
  return [
    { action: 'add-sort-order', 'sort-order': order },
    { action: 'set-default-sort-order', 'sort-order-id': LAST },
  ];
};

const propertyUpdates = (
  base: Readonly<Record<string, string>>,
  next: Readonly<Record<string, string>>,
): Part[] => {
  const updates = Object.fromEntries(Object.entries(next).filter(([key, value]) => base[key] !== value));
  const removals = Object.keys(base).filter((key) => next[key] === undefined);
  return [
    ...(Object.keys(updates).length === 0 ? [] : [{ action: 'set-properties', updates }]),
    ...(removals.length === 0 ? [] : [{ action: 'remove-properties', removals }]),
  ];
};

const snapshotUpdates = (base: TableMetadata, next: TableMetadata): Part[] => {
  const [before, after] = [base, next].map(
    ({ snapshots }) => new Map(snapshots.map((one) => [BigInt(one['snapshot-id']), one])),
  );
  const added = [...(after ?? [])].filter(([id]) => !before?.has(id)).map(([, snapshot]) => snapshot);
  // A service that says so keeps a history of its own, and decides what goes.
  const isTheirs = next.properties['gc.enabled'] === 'false';
  const gone = [...(before ?? [])].filter(([id]) => !isTheirs && !after?.has(id));
  const main = next.refs.main;
  const isMoved = mainId(base) !== mainId(next) && main !== undefined;
  return [
    ...added.map((snapshot) => ({ action: 'add-snapshot', snapshot })),
    ...(isMoved ? [{ action: 'set-snapshot-ref', 'ref-name': 'main', ...main }] : []),
    ...(gone.length === 0
      ? []
      : [{ action: 'remove-snapshots', 'snapshot-ids': gone.map(([, one]) => one['snapshot-id']) }]),
  ];
};

/** What makes `next` of `base`. A version is never moved elsewhere, nor renamed. */
export const updatesBetween = (base: TableMetadata, next: TableMetadata): Part[] => [
  ...schemaUpdates(base, next),
  ...specUpdates(base, next),
  ...sortUpdates(base, next),
  ...propertyUpdates(base.properties, next.properties),
  ...snapshotUpdates(base, next),
];

/**
 * What makes the table of nothing, with the ids of its columns as they are: asked for a table by its columns
 * alone, services number them anew, each in its own way. `staged`: what the service wants to have beside.
 */
export const updatesFor = (made: TableMetadata, staged: TableMetadata): Part[] => [
  { action: 'assign-uuid', uuid: staged['table-uuid'] },
  { action: 'upgrade-format-version', 'format-version': made['format-version'] },
  ...schemaUpdates(null, made),
  ...specUpdates(null, made),
  ...sortUpdates(null, made),
  { action: 'set-location', location: made.location },
  ...propertyUpdates({}, { ...staged.properties, ...made.properties }),
];

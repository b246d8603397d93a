// Owns the texts that engines take to reach a table: by catalog or by path, on this machine or in an object
// store. Pure: asks nothing, and knows no secret; credentials are the engines' own chains.

/** How to reach the files where that is not a matter of course. */
export type ObjectStore = { endpoint: string | null; region: string | null; pathStyle: boolean };

export type Attachment = {
  /** What the engine calls the catalog: the pipeline's name. */
  catalog: string;
  /** URL of the running pipeline's catalog, or of the one that it commits through; null: by path. */
  rest: string | null;
  /** What that catalog calls all of its tables. */
  warehouse: string;
  /** True: the catalog is another service's, and only it knows the newest metadata file. */
  isServed: boolean;
  /** URI of the directory of all tables. */
  root: string;
  /** Null: `root` is on this machine. */
  store: ObjectStore | null;
  namespace: string;
  name: string;
  /** Of the newest metadata file, `v<N>.metadata.json`. */
  version: number;
  /** False: every row of the table is current. */
  hasHistory: boolean;
};

/** `reads`: the program that takes the text as it is. */
type Engine = { title: string; reads: string; print: (attachment: Attachment) => string };

/** The newest ones that the tests run. */
const SPARK = { spark: '4.1', scala: '2.13', iceberg: '1.12.0', hadoop: '3.4.2' };
const LIMIT = 10;

const ordinary = (text: string): string => `'${text.replaceAll("'", "''")}'`;
const shell = (text: string): string =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
const quoted = (mark: string, ...names: readonly string[]): string =>
  names.map((name) => `${mark}${name}${mark}`).join('.');

const whereOf = ({ hasHistory }: Attachment): string => (hasHistory ? ' WHERE is_current' : '');
const tableRoot = ({ root, namespace, name }: Attachment): string => `${root}/${namespace}/${name}`;
/** The path of a `file://` URI; other URIs as they are. */
const plainPath = (uri: string): string => uri.replace(/^file:\/\//, '');
/** Without its scheme, and whether that was TLS. */
const endpointHost = (endpoint: string): { host: string; isTls: boolean } => ({
  host: endpoint.replace(/^https?:\/\//, '').replace(/\/$/, ''),
  isTls: !endpoint.startsWith('http://'),
});

const select = (attachment: Attachment, from: string): string =>
  `SELECT * FROM ${from}${whereOf(attachment)} LIMIT ${LIMIT}`;

/** What Iceberg's own Java file access is told, below the catalog's prefix. */
const javaStore = ({ endpoint, region, pathStyle }: ObjectStore): Record<string, string> => ({
  'io-impl': 'org.apache.iceberg.aws.s3.S3FileIO',
  ...(endpoint === null ? {} : { 's3.endpoint': endpoint }),
  ...(region === null ? {} : { 'client.region': region }),
  ...(pathStyle ? { 's3.path-style-access': 'true' } : {}),
});

/** The same for Hadoop's, which a catalog of plain directories goes through. */
const hadoopStore = ({ endpoint, region, pathStyle }: ObjectStore): Record<string, string> => ({
  'fs.s3.impl': 'org.apache.hadoop.fs.s3a.S3AFileSystem',
  ...(endpoint === null ? {} : { 'fs.s3a.endpoint': endpoint }),
  ...(region === null ? {} : { 'fs.s3a.endpoint.region': region }),
  ...(pathStyle ? { 'fs.s3a.path.style.access': 'true' } : {}),
});

const prefixed = (prefix: string, entries: Readonly<Record<string, string>>): [string, string][] =>
  Object.entries(entries).map(([key, value]) => [`${prefix}${key}`, value]);

const spark = (attachment: Attachment): string => {
  const { catalog, rest, warehouse, root, store, namespace, name } = attachment;
  const { spark: version, scala, iceberg, hadoop } = SPARK;
  const packages = [`org.apache.iceberg:iceberg-spark-runtime-${version}_${scala}:${iceberg}`];
  if (store !== null && rest !== null) packages.push(`org.apache.iceberg:iceberg-aws-bundle:${iceberg}`);
  if (store !== null && rest === null) packages.push(`org.apache.hadoop:hadoop-aws:${hadoop}`);
  const own = `spark.sql.catalog.${catalog}`;
  const settings: [string, string][] = [[own, 'org.apache.iceberg.spark.SparkCatalog']];
  if (rest === null) settings.push([`${own}.type`, 'hadoop'], [`${own}.warehouse`, root]);
  else settings.push([`${own}.type`, 'rest'], [`${own}.uri`, rest], [`${own}.warehouse`, warehouse]);
  if (store !== null && rest !== null) settings.push(...prefixed(`${own}.`, javaStore(store)));
  if (store !== null && rest === null) settings.push(...prefixed('spark.hadoop.', hadoopStore(store)));
  const lines = [
    `spark-sql --packages ${packages.join(',')}`,
    ...settings.map(([key, value]) => `  --conf ${shell(`${key}=${value}`)}`),
    `  -e ${shell(select(attachment, quoted('`', catalog, namespace, name)))}`,
  ];
  return lines.join(' \\\n');
};

/** A catalog file of the server, then a statement. */
const trino = (attachment: Attachment): string => {
  const { catalog, rest, warehouse, store, namespace, name } = attachment;
  const properties: [string, string][] = [['connector.name', 'iceberg']];
  if (rest === null) {
    properties.push(['iceberg.register-table-procedure.enabled', 'true']);
  } else {
    properties.push(
      ['iceberg.catalog.type', 'rest'],
      ['iceberg.rest-catalog.uri', rest],
      ['iceberg.rest-catalog.warehouse', warehouse],
      ['iceberg.rest-catalog.case-insensitive-name-matching', 'true'],
    );
  }
  if (store === null) properties.push(['fs.native-local.enabled', 'true'], ['local.location', '/']);
  else {
    properties.push(['fs.native-s3.enabled', 'true']);
    if (store.endpoint !== null) properties.push(['s3.endpoint', store.endpoint]);
    if (store.region !== null) properties.push(['s3.region', store.region]);
    if (store.pathStyle) properties.push(['s3.path-style-access', 'true']);
  }
  const register = `CALL ${quoted('"', catalog)}.system.register_table(${[
    ordinary(namespace.toLowerCase()),
    ordinary(name.toLowerCase()),
    ordinary(tableRoot(attachment)),
  ].join(', ')});`;
  const lines = [
    `-- etc/catalog/${catalog}.properties${rest === null ? ', beside the metastore that you have' : ''}:`,
    ...properties.map(([key, value]) => `--   ${key}=${value}`),
    ...(rest === null ? [register] : []),
    `${select(attachment, quoted('"', catalog, namespace.toLowerCase(), name.toLowerCase()))};`,
  ];
  return lines.join('\n');
};

const flink = (attachment: Attachment): string => {
  const { catalog, rest, warehouse, root, store, namespace, name } = attachment;
  const options: [string, string][] = [['type', 'iceberg']];
  if (rest === null) options.push(['catalog-type', 'hadoop'], ['warehouse', root]);
  else options.push(['catalog-type', 'rest'], ['uri', rest], ['warehouse', warehouse]);
  if (store !== null && rest !== null) options.push(...Object.entries(javaStore(store)));
  const created = options.map(([key, value]) => `  ${ordinary(key)} = ${ordinary(value)}`).join(',\n');
  const hadoop = store !== null && rest === null ? Object.entries(hadoopStore(store)) : [];
  const lines = [
    ...hadoop.map(([key, value]) => `-- core-site.xml: ${key} = ${value}`),
    `CREATE CATALOG ${quoted('`', catalog)} WITH (\n${created}\n);`,
    `${select(attachment, quoted('`', catalog, namespace, name))};`,
  ];
  return lines.join('\n');
};

const duckdb = (attachment: Attachment): string => {
  const { catalog, rest, warehouse, store, namespace, name } = attachment;
  const lines = ['INSTALL iceberg;', 'LOAD iceberg;'];
  if (store !== null) {
    const { host, isTls } = endpointHost(store.endpoint ?? '');
    const parts = ['TYPE s3', 'PROVIDER credential_chain'];
    if (store.region !== null) parts.push(`REGION ${ordinary(store.region)}`);
    if (store.endpoint !== null) parts.push(`ENDPOINT ${ordinary(host)}`, `USE_SSL ${isTls}`);
    if (store.pathStyle) parts.push(`URL_STYLE 'path'`);
    lines.push('INSTALL aws;', 'LOAD aws;', `CREATE SECRET ${catalog}_files (${parts.join(', ')});`);
  }
  let from = `iceberg_scan(${ordinary(plainPath(tableRoot(attachment)))})`;
  if (rest !== null) {
    const parts = ['TYPE iceberg', `ENDPOINT ${ordinary(rest)}`, `AUTHORIZATION_TYPE 'none'`];
    lines.push(`ATTACH ${ordinary(warehouse)} AS ${quoted('"', catalog)} (${parts.join(', ')});`);
    from = quoted('"', catalog, namespace, name);
  }
  return [...lines, `${select(attachment, from)};`].join('\n');
};

const pyiceberg = (attachment: Attachment): string => {
  const { catalog, rest, warehouse, store, namespace, name, hasHistory } = attachment;
  const properties: Record<string, string> = {};
  if (store !== null && store.endpoint !== null) properties['s3.endpoint'] = store.endpoint;
  if (store !== null && store.region !== null) properties['s3.region'] = store.region;
  if (store !== null && !store.pathStyle) properties['s3.force-virtual-addressing'] = 'true';
  const files = [tableRoot(attachment), ...(store === null ? [] : [properties])]
    .map((one) => JSON.stringify(one))
    .join(', ');
  const open =
    rest === null
      ? [
          'from pyiceberg.table import StaticTable',
          '',
          '# As it is now: open it again to see later commits.',
          `table = StaticTable.from_metadata(${files})`,
        ]
      : [
          'from pyiceberg.catalog import load_catalog',
          '',
          `catalog = load_catalog(${JSON.stringify(catalog)}, **${JSON.stringify({
            type: 'rest',
            uri: rest,
            warehouse,
            ...properties,
          })})`,
          `table = catalog.load_table((${JSON.stringify(namespace)}, ${JSON.stringify(name)}))`,
        ];
  const filter = hasHistory ? 'row_filter="is_current = true", ' : '';
  const scan = `table.scan(${filter}limit=${LIMIT}).to_arrow().to_pylist()`;
  return [...open, `for row in ${scan}:`, '    print(row)'].join('\n');
};

/** Where a path would show an older version, and the catalog's words hold secrets. */
const servedElsewhere = (engine: string, { rest, warehouse, namespace, name }: Attachment): string =>
  [
    `-- ${engine} takes the catalog's credentials, or the object store's, in the statement: attach it to`,
    `-- ${rest}, warehouse ${warehouse}, table ${namespace}.${name}, as its manual says.`,
  ].join('\n');

/** Its catalogs want the object store's keys in the statement, so there it goes by path. */
const clickhouse = (attachment: Attachment): string => {
  const { catalog, rest, store, namespace, name } = attachment;
  if (attachment.isServed) return servedElsewhere('ClickHouse', attachment);
  if (store !== null) {
    const [, bucket = '', prefix = ''] = /^s3:\/\/([^/]+)\/?(.*)$/.exec(tableRoot(attachment)) ?? [];
    const endpoint = store.endpoint ?? `https://s3.${store.region ?? 'us-east-1'}.amazonaws.com`;
    return `${select(attachment, `icebergS3(${ordinary(`${endpoint}/${bucket}/${prefix}`)})`)};`;
  }
  if (rest === null)
    return `${select(attachment, `icebergLocal(${ordinary(plainPath(tableRoot(attachment)))})`)};`;
  const database = quoted('`', catalog);
  const lines = [
    'SET allow_database_iceberg = 1;',
    `CREATE DATABASE ${database} ENGINE = DataLakeCatalog(${ordinary(`${rest}/v1`)})`,
    `  SETTINGS catalog_type = 'rest', warehouse = ${ordinary(catalog)}, vended_credentials = 0;`,
    `${select(attachment, `${database}.${quoted('`', `${namespace}.${name}`)}`)};`,
  ];
  return lines.join('\n');
};

/** Snowflake reaches neither this machine's files nor its loopback address. */
const snowflake = (attachment: Attachment): string => {
  const { catalog, root, store, namespace, name, version } = attachment;
  if (attachment.isServed) return servedElsewhere('Snowflake', attachment);
  if (store === null)
    return [
      "-- Snowflake does not reach this machine's files: put the tables where it does,",
      '-- table.location: s3://.., then ask again.',
    ].join('\n');
  const table = quoted('"', name);
  const metadata = `${namespace}/${name}/metadata`;
  return [
    `CREATE EXTERNAL VOLUME ${catalog}_files ALLOW_WRITES = FALSE STORAGE_LOCATIONS = ((`,
    `  NAME = ${ordinary(catalog)} STORAGE_PROVIDER = 'S3' STORAGE_BASE_URL = ${ordinary(`${root}/`)}`,
    `  STORAGE_AWS_ROLE_ARN = '<the role that may read it>'));`,
    `CREATE CATALOG INTEGRATION ${catalog}_catalog`,
    '  CATALOG_SOURCE = OBJECT_STORE TABLE_FORMAT = ICEBERG ENABLED = TRUE;',
    `CREATE ICEBERG TABLE ${table} EXTERNAL_VOLUME = '${catalog}_files' CATALOG = '${catalog}_catalog'`,
    `  METADATA_FILE_PATH = ${ordinary(`${metadata}/v${version}.metadata.json`)};`,
    `${select(attachment, table)};`,
    '-- As it is now. To see later commits, name the newest file:',
    `-- ALTER ICEBERG TABLE ${table} REFRESH ${ordinary(`${metadata}/v<N>.metadata.json`)};`,
  ].join('\n');
};

/** By the name that --engine takes, in the order in which they are printed. */
export const ENGINES: Readonly<Record<string, Engine>> = {
  spark: { title: 'Spark', reads: 'sh', print: spark },
  trino: { title: 'Trino', reads: 'trino', print: trino },
  flink: { title: 'Flink', reads: 'sql-client.sh', print: flink },
  duckdb: { title: 'DuckDB', reads: 'duckdb', print: duckdb },
  pyiceberg: { title: 'PyIceberg', reads: 'python3', print: pyiceberg },
  snowflake: { title: 'Snowflake', reads: 'snowsql', print: snowflake },
  clickhouse: { title: 'ClickHouse', reads: 'clickhouse-local', print: clickhouse },
};

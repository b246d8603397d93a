// Owns what Debezium needs to run: Kafka Connect, its connector for PostgreSQL, and Apicurio's Avro converter
// (Confluent's is not where Maven looks by default). Starts nothing.
import { classPath, ensureArchive, ensureJars, findJava } from '../../test/support/maven.ts';

const DEBEZIUM_VERSION = '3.7.0.Final';
const CONNECT_VERSION = '4.3.1';
const CONVERTER_VERSION = '2.6.13.Final';

type DebeziumInstallation = {
  readonly java: string;
  /** Of the Connect worker. */
  readonly classPath: string;
  /** Folders of plugins, by the name that they get. */
  readonly plugins: Readonly<Record<string, string>>;
};

/** Installs it (20 s, 47 MB) if it is missing. */
export const ensureDebezium = async (): Promise<DebeziumInstallation> => {
  const java = await findJava(17);
  const worker = await ensureJars(`kafka-connect-${CONNECT_VERSION}`, [
    `org.apache.kafka:connect-runtime:${CONNECT_VERSION}`,
    `org.apache.kafka:connect-json:${CONNECT_VERSION}`,
    'org.slf4j:slf4j-simple:1.7.36',
  ]);
  const connector = await ensureArchive(
    `debezium-postgres-${DEBEZIUM_VERSION}`,
    `io.debezium:debezium-connector-postgres:${DEBEZIUM_VERSION}:tar.gz:plugin`,
  );
  // The worker refuses a plugin that brings its own copy of Connect.
  const converter = await ensureJars(`apicurio-converter-${CONVERTER_VERSION}`, [
    {
      artifact: `io.apicurio:apicurio-registry-utils-converter:${CONVERTER_VERSION}`,
      without: ['org.apache.kafka:*'],
    },
  ]);
  return {
    java: java.path,
    classPath: await classPath(worker),
    plugins: { debezium: connector, converter },
  };
};

// Owns what a schema is filed under in a registry. Pure.

export type SubjectStrategy = 'topic_name' | 'record_name' | 'topic_record_name';

/** The full name of a record's schema. */
const recordOf = (schema: string): string => {
  const { namespace, name } = JSON.parse(schema) as { namespace?: string; name: string };
  return namespace === undefined ? name : `${namespace}.${name}`;
};

type Filed = { topic: string; part: 'key' | 'value'; schema: string };

/** The names are those that Confluent's serialisers look for. `schema`: Avro text of a record. */
export const subjectName = (strategy: SubjectStrategy, { topic, part, schema }: Filed): string => {
  if (strategy === 'topic_name') return `${topic}-${part}`;
  return strategy === 'record_name' ? recordOf(schema) : `${topic}-${recordOf(schema)}`;
};

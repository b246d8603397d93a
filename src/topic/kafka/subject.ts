// Owns what a schema is filed under in a registry. Pure.

type SubjectStrategy = 'topic_name' | 'record_name' | 'topic_record_name';

/** `record`: the full name of the Avro record. The names are those that Confluent's serialisers look for. */
export const subjectName = (
  strategy: SubjectStrategy,
  topic: string,
  { part, record }: { part: 'key' | 'value'; record: string },
): string => {
  if (strategy === 'topic_name') return `${topic}-${part}`;
  return strategy === 'record_name' ? record : `${topic}-${record}`;
};

// Owns the embedded topic as the commands use it: a directory of this machine.
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import type { Config } from '../config.ts';
import type { EmbeddedTopicConfig } from '../config-topic.ts';
import { VarveError } from '../errors.ts';
import { listDirectory } from '../topic/embedded/directory.ts';
import { openEmbeddedFeed } from '../topic/embedded/feed.ts';
import { findHolder } from '../topic/embedded/lock.ts';
import { openEmbeddedPublisher } from '../topic/embedded/publisher.ts';
import { HOUR_MS } from './command.ts';
import type { TopicKind } from './topic-kind.ts';

const ofEmbedded = ({ topic }: Config): EmbeddedTopicConfig => {
  if (topic.kind === 'embedded') return topic;
  throw new VarveError('internal', `A topic of kind ${topic.kind} was opened as an embedded one.`);
};

/** A mistyped path must not cost somebody their files. */
const refuseStrangeFiles = async (path: string): Promise<void> => {
  if (!existsSync(path)) return;
  const [strange] = (await listDirectory(path)).other;
  if (strange === undefined) return;
  throw new VarveError(
    'state_foreign',
    `${path} holds ${strange}, which is no part of a topic, so it is not deleted. Correct topic.path, ` +
      'or move that away.',
    { facts: { path, found: strange } },
  );
};

export const embeddedTopic: TopicKind = {
  openPublisher: (config, onFull) => {
    const topic = ofEmbedded(config);
    return openEmbeddedPublisher({
      path: topic.path,
      retention: { ageMs: topic.retention_hours * HOUR_MS, bytes: topic.retention_gb * 2 ** 30 },
      hold: (held) => config.table !== undefined && !held.startsWith(`${topic.prefix}.varve.`),
      now: Date.now,
      randomId: randomUUID,
      onFull,
    });
  },
  openFeed: (config) => openEmbeddedFeed({ path: ofEmbedded(config).path }),
  openGraveyard: null,
  openClaims: null,
  joinWorkers: null,
  findRunner: (config) => findHolder(ofEmbedded(config).path),
  check: async () => [],
  abortHanging: () =>
    Promise.reject(
      new VarveError(
        'usage',
        'An embedded topic has no transactions that could hang: varve run FILE goes on.',
      ),
    ),
  planReset: async (config) => {
    const { path } = ofEmbedded(config);
    await refuseStrangeFiles(path);
    return { what: path, run: () => rm(path, { recursive: true, force: true }) };
  },
};

// Owns what is measured when somebody asks for metrics: state, backlog, sizes. What is counted as it happens
// is progress.ts's.
import type { PipelineParts } from '../pipeline-parts.ts';
import { RUN_STATES } from '../progress.ts';
import { measureTopic, topicBytes } from '../status.ts';
import type { Telemetry } from '../telemetry.ts';

/** Sets the gauges to what is now. */
export const measure = async (
  { config, progress, feed }: PipelineParts,
  { gauge }: Telemetry,
  version: string,
): Promise<void> => {
  gauge('varve_info', 1, { pipeline: config.name, version });
  const { state } = progress.standing;
  for (const known of RUN_STATES) gauge('varve_state', Number(known === state), { state: known });
  if (config.topic.kind === 'embedded') gauge('varve_topic_bytes', await topicBytes(config.topic.path));
  for (const [topic, { offsets }] of progress.tables) {
    const { waiting } = await measureTopic(feed, topic, offsets);
    gauge('varve_table_waiting_records', waiting, { topic });
  }
  gauge('process_resident_memory_bytes', process.memoryUsage.rss());
  gauge('process_start_time_seconds', performance.timeOrigin / 1000);
};

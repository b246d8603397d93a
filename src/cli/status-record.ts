// Owns writing down where a pipeline stands, so that `status` can tell when nobody is there to ask.
import type { Config } from '../config.ts';
import type { Standing } from '../progress.ts';
import { makeScrub } from '../secrets.ts';
import type { Publisher } from '../topic/publisher.ts';
import { printState, STATE_KEYS, type StatusRecord } from '../topic/state.ts';

type Pipeline = { config: Config; publisher: Publisher; nowMs: () => number };

const STATES: Readonly<Record<Standing['state'], StatusRecord['state']>> = {
  starting: 'running',
  snapshot: 'running',
  streaming: 'running',
  retrying: 'retrying',
  stopped: 'stopped',
  failed: 'failed',
};

/** Durable when it resolves. */
export const recordStatus = async (
  { config, publisher, nowMs }: Pipeline,
  { state, reason, sentence }: Standing,
): Promise<void> => {
  const clean = sentence === null ? null : makeScrub(config.secrets)(sentence);
  const record: StatusRecord = { state: STATES[state], reason, sentence: clean, atMs: nowMs() };
  await publisher.write({ slices: [], state: [{ key: STATE_KEYS.status, value: printState(record) }] });
};

/** As `recordStatus`, also after a write that failed: the last word is one of its own. */
export const recordLastStatus = async (pipeline: Pipeline, standing: Standing): Promise<void> => {
  await recordStatus(pipeline, standing).catch(async () => {
    await pipeline.publisher.recover();
    await recordStatus(pipeline, standing);
  });
};

/** Nothing runs and nothing is wrong: after an orderly end, and after a repair. */
export const STOPPED: Standing = { state: 'stopped', reason: null, sentence: null };

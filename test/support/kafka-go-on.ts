// Owns going on after a fault of the brokers, as an operator does: nothing where the pipeline helps itself,
// the repair where a transaction was left undecided. Knows no fault.
import assert from 'node:assert/strict';
import type { KafkaFlow } from './kafka-flow.ts';
import { until } from './polling.ts';
import { RUN, statusOf } from './stage.ts';
import type { Running } from './varve.ts';

const streaming = /"msg":"streaming"/;

/**
 * Goes on after a fault: as it is, or started again once an undecided transaction, which only a broker that
 * was killed leaves behind, was taken back. Gives how often that was.
 */
export const goOn = async (
  flow: KafkaFlow,
  running: Running,
): Promise<{ running: Running; mended: number }> => {
  const { resume } = await statusOf(flow.pipeline);
  const isOver = (): boolean => running.child.exitCode !== null;
  await until(async () => isOver() || (await statusOf(flow.pipeline)).resume !== resume);
  if (!isOver()) return { running, mended: 0 };
  const { stderr } = await running.finished;
  assert.match(stderr, /hanging_transaction/, stderr);
  await flow.pipeline.run(['resume', 'pipeline.yaml', '--abort-hanging']);
  const again = flow.pipeline.start(RUN);
  await again.saw(streaming);
  return { running: again, mended: 1 };
};

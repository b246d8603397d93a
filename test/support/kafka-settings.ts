// The settings that every broker of the tests has: small, quick to notice a dead sibling, all on this
// machine. Knows no security beyond the names of the listeners.

export type NodePorts = { readonly client: number; readonly internal: number; readonly controller: number };

/**
 * The properties of node `at` (from 0) of a cluster in which every node is broker and controller. CLIENT is
 * the listener of the tests; the brokers speak among themselves on INTERNAL, always in plain text.
 */
export const nodeSettings = (nodes: readonly NodePorts[], at: number): Record<string, string> => {
  const own = nodes[at];
  if (own === undefined) throw new RangeError(`no node ${at} of ${nodes.length}`);
  const copies = String(nodes.length);
  const enough = String(Math.max(1, nodes.length - 1));
  const advertised = `CLIENT://127.0.0.1:${own.client},INTERNAL://127.0.0.1:${own.internal}`;
  return {
    'process.roles': 'broker,controller',
    'node.id': String(at + 1),
    'controller.quorum.voters': nodes.map((node, id) => `${id + 1}@127.0.0.1:${node.controller}`).join(','),
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'INTERNAL',
    'listener.security.protocol.map': 'CLIENT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT',
    listeners: `${advertised},CONTROLLER://127.0.0.1:${own.controller}`,
    'advertised.listeners': advertised,
    'default.replication.factor': copies,
    'min.insync.replicas': enough,
    'offsets.topic.replication.factor': copies,
    'transaction.state.log.replication.factor': copies,
    'transaction.state.log.min.isr': enough,
    'share.coordinator.state.topic.replication.factor': copies,
    'share.coordinator.state.topic.min.isr': enough,
    ...small,
  };
};

const small = {
  'num.partitions': '1',
  'offsets.topic.num.partitions': '4',
  'transaction.state.log.num.partitions': '4',
  'share.coordinator.state.topic.num.partitions': '1',
  'group.initial.rebalance.delay.ms': '0',
  'auto.create.topics.enable': 'false',
  'log.cleaner.dedupe.buffer.size': '16777216',
  'num.network.threads': '2',
  'num.io.threads': '4',
  'message.max.bytes': '16777216',
  // Tests write records of other times, which would be gone within half a minute.
  'log.retention.ms': '-1',
  // How long a killed broker is believed alive: also what a restart after a kill waits for.
  'broker.session.timeout.ms': '2000',
  'broker.heartbeat.interval.ms': '400',
  // How often transactions whose time has passed are looked for.
  'transaction.abort.timed.out.transaction.cleanup.interval.ms': '500',
};

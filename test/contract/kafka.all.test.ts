// Runs the contracts of Publisher and Feed on a real broker and a real registry.
import { kafkaBench } from '../support/kafka-bench.ts';
import { feedContract } from './feed.ts';
import { publisherContract } from './publisher.ts';

// Broker and registry are installed and started before the first test's time begins.
await (await kafkaBench())[Symbol.asyncDispose]();

publisherContract('kafka', () => kafkaBench(), { runs: 5 });
feedContract('kafka', () => kafkaBench());

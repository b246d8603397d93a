// Runs the contracts of Publisher and Feed on a real broker and a real registry.
import { feedContract } from '../../contract/feed.ts';
import { publisherContract } from '../../contract/publisher.ts';
import { kafkaBench } from '../../support/kafka-bench.ts';

publisherContract('kafka', () => kafkaBench(), { runs: 5 });
feedContract('kafka', () => kafkaBench());

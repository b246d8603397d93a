// Runs the contract of Publisher on every implementation that needs no server.
import { embeddedBench, memoryBench } from '../support/topic-bench.ts';
import { publisherContract } from './publisher.ts';

publisherContract('memory', memoryBench, { runs: 100 });
publisherContract('embedded', embeddedBench, { runs: 40 });

// Runs the contract of Feed on every implementation that needs no server.
import { embeddedBench, memoryBench } from '../support/topic-bench.ts';
import { feedContract } from './feed.ts';

feedContract('memory', memoryBench);
feedContract('embedded', embeddedBench);

// Runs the contract of Feed on a real broker.
import { kafkaBench } from '../support/kafka-bench.ts';
import { feedContract } from './feed.ts';

feedContract('kafka', kafkaBench);

// Killed before and after every durable effect there is, over the embedded topic.
import { crashPointSuite } from '../support/crash-points.ts';
import { installOracle } from '../support/oracle.ts';

crashPointSuite({ install: installOracle, options: () => ({}) });

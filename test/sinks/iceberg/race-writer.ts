// One process of the race: commits a number of files, each again and again until it is in, and prints their
// paths. race-writer.ts DIRECTORY LOCATION NAME COUNT
import { randomInt, randomUUID } from 'node:crypto';
import { VarveError } from '../../../src/errors.ts';
import { commit } from '../../../src/sinks/parquet/iceberg/commit.ts';
import { loadTable, type TableIo, type TableState } from '../../../src/sinks/parquet/iceberg/table-state.ts';
import { openLocalStore } from '../../../src/sinks/parquet/store-local.ts';
import { dataFile } from './table-world.ts';

const [directory = '', location = '', name = '', count = ''] = process.argv.slice(2);
const io: TableIo = {
  store: openLocalStore(directory, { uuid: randomUUID }),
  now: Date.now,
  uuid: randomUUID,
  onHintFailure: (thrown) => {
    throw thrown;
  },
};

const load = async (previous?: TableState): Promise<TableState> => {
  const state = await loadTable(io, location, previous);
  if (!state) throw new Error('no table');
  return state;
};

let state = await load();
for (let at = 0; at < Number(count); at++) {
  const file = dataFile({ path: `${location}/data/${name}-${at}.parquet` });
  for (;;) {
    try {
      const id = BigInt(randomInt(1, 2 ** 47));
      state = await commit(io, state, {
        snapshot: { id, operation: 'append', add: [file], remove: [], summary: {} },
      });
      break;
    } catch (thrown) {
      if (!(thrown instanceof VarveError) || thrown.kind !== 'commit_conflict') throw thrown;
      state = await load(state);
    }
  }
  console.log(file.path);
}

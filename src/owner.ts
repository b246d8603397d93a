// Owns whose topic it is: one pipeline's, and no other's. Opens nothing.
import { VarveError } from './errors.ts';
import { type IdentityRecord, readState, STATE_KEYS } from './topic/state.ts';

type Owner = { name: string; kind: string; state: ReadonlyMap<string, string> };

/** Throws `state_foreign` when the state is another pipeline's. */
export const refuseForeignOwner = ({ name, kind, state }: Owner): void => {
  const identity = readState<IdentityRecord>(state, STATE_KEYS.identity);
  if (identity === null || (identity.pipeline === name && identity.kind === kind)) return;
  throw new VarveError(
    'state_foreign',
    `This topic belongs to pipeline ${identity.pipeline} (${identity.kind}), not to ${name} (${kind}). ` +
      'Give each pipeline its own topic.path, or in Kafka its own topic.prefix.',
    { facts: { owner: identity.pipeline, name } },
  );
};

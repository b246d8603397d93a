// Owns who works on which topic: every topic has one member, all have about as many, and as few as possible
// change hands. Pure; the same members in any order give the same shares.

/** `topics`: those it knows of; `owned`: those it works on until it is told otherwise. */
export type Candidate = { id: string; topics: readonly string[]; owned: readonly string[] };

/** Topics of each member, by id. Whatever any member knows of is given to somebody. */
export const shareTopics = (members: readonly Candidate[]): Map<string, string[]> => {
  const sorted = members.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const free = new Set(sorted.flatMap(({ topics }) => topics).sort());
  const shares = new Map(sorted.map(({ id }) => [id, [] as string[]]));
  const least = Math.floor(free.size / Math.max(1, sorted.length));
  // So many may keep one more than the least; those who have most come first.
  let extra = free.size - least * sorted.length;
  for (const { id, owned } of sorted.toSorted((a, b) => b.owned.length - a.owned.length)) {
    const share = shares.get(id) ?? [];
    for (const topic of owned) {
      const isOneMore = share.length === least && extra > 0;
      if (!free.has(topic) || (share.length >= least && !isOneMore)) continue;
      if (isOneMore) extra--;
      free.delete(topic);
      share.push(topic);
    }
  }
  for (const topic of free) {
    const [first, ...others] = shares.values();
    const smallest = others.reduce((a, b) => (b.length < a.length ? b : a), first ?? []);
    smallest.push(topic);
  }
  return shares;
};

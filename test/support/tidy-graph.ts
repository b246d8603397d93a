// The tidy rules about files together: floors, siblings, cycles, barrels, exports nobody uses, packages not
// declared. Each takes all sources and gives violations; exemptions are the test's.
import { posix } from 'node:path';
import type { Import, Source } from './source-scan.ts';
import type { Violation } from './tidy-rules.ts';

type Room = { readonly name: string; readonly floor: number };

const FLOORS: Readonly<Record<string, number>> = {
  change: 0,
  topic: 1,
  capture: 2,
  snapshot: 2,
  sinks: 2,
  server: 4,
  cli: 4,
};
const ROOF = 5;

/**
 * The room a product file lives in. Files at the top of src/ join the halves (floor 3), but for the roof's
 * two.
 */
const roomOf = (path: string): Room | undefined => {
  const [top, room = '', third] = path.split('/');
  if (top === 'connectors') return { name: `connectors/${room}`, floor: 4 };
  if (top !== 'src') return undefined;
  if (third !== undefined) return { name: room, floor: FLOORS[room] ?? Number.NaN };
  if (room === 'main.ts' || room === 'index.ts') return { name: 'roof', floor: ROOF };
  return room === 'errors.ts' || room === 'telemetry.ts' || room === 'crash-point.ts'
    ? { name: 'everywhere', floor: 0 }
    : { name: 'halves', floor: 3 };
};

const targetOf = (source: Source, { from }: Import): string | undefined =>
  from.startsWith('.') ? posix.join(posix.dirname(source.path), from) : undefined;

/**
 * Imports point downward; rooms on one floor do not know each other; only the roof loads a module by name.
 */
export const checkFloors = (sources: readonly Source[]): Violation[] => {
  const found: Violation[] = [];
  for (const source of sources) {
    const own = roomOf(source.path);
    if (!own) continue;
    if (Number.isNaN(own.floor)) found.push({ path: source.path, what: `src/${own.name} is on no floor` });
    for (const imported of source.imports) {
      const target = targetOf(source, imported);
      if (imported.isDynamic && source.path !== 'src/main.ts') {
        found.push({ path: source.path, what: `loads ${imported.from} dynamically; only main.ts may` });
      }
      const fault = target === undefined ? undefined : floorFault(own, target);
      if (fault !== undefined) found.push({ path: source.path, what: fault });
      if (target !== undefined && areSiblings(source.path, target)) {
        found.push({ path: source.path, what: `imports its sibling ${target}` });
      }
    }
  }
  return found;
};

const floorFault = (own: Room, target: string): string | undefined => {
  const other = roomOf(target);
  if (!other) return `imports ${target}, which is not part of the product`;
  if (own.name === other.name) return undefined;
  if (other.name === 'everywhere')
    return own.name === 'change' ? `imports ${target}; change knows words only` : undefined;
  if (other.floor > own.floor || own.name === 'everywhere') return `imports ${target} upward`;
  return other.floor === own.floor ? `imports ${target}, a room beside its own` : undefined;
};

/** topic/kafka and topic/embedded stand behind the same ports and must not know each other. */
const areSiblings = (path: string, target: string): boolean => {
  const [own, other] = [path.split('/'), target.split('/')];
  if (own.length < 4 || other.length < 4 || own[0] !== 'src') return false;
  return own[1] === other[1] && own[2] !== other[2];
};

export const checkCycles = (sources: readonly Source[]): Violation[] => {
  const byPath = new Map(sources.map((source) => [source.path, source]));
  const state = new Map<string, 'open' | 'done'>();
  const found: Violation[] = [];
  const visit = (path: string, trail: readonly string[]): void => {
    const source = byPath.get(path);
    if (!source || state.get(path) === 'done') return;
    if (state.get(path) === 'open') {
      found.push({
        path,
        what: `imports itself: ${[...trail.slice(trail.indexOf(path)), path].join(' -> ')}`,
      });
      return;
    }
    state.set(path, 'open');
    for (const imported of source.imports) visit(targetOf(source, imported) ?? '', [...trail, path]);
    state.set(path, 'done');
  };
  for (const source of sources) visit(source.path, []);
  return found;
};

/** Handing on another file's names is for the package's public surface alone. */
export const checkBarrels = (sources: readonly Source[]): Violation[] =>
  sources
    .filter(
      ({ path, code }) =>
        path !== 'src/index.ts' && /^export\s+(?:type\s+)?(?:\*|\{[^}]*\}\s*from\b)/m.test(code),
    )
    .map(({ path }) => ({ path, what: "hands on another file's exports" }));

/** An export is used when another file imports it by name, or imports the whole file and writes the name. */
export const checkDeadExports = (sources: readonly Source[]): Violation[] => {
  const used = new Set<string>();
  for (const source of sources) {
    for (const imported of source.imports) {
      const target = targetOf(source, imported);
      const names =
        imported.isDynamic || imported.names.includes('*') ? source.code.match(/[\w$]+/g) : imported.names;
      for (const name of names ?? []) used.add(`${target} ${name}`);
    }
  }
  return sources
    .filter(({ path }) => path !== 'src/index.ts')
    .flatMap(({ path, exports }) =>
      exports
        .filter((name) => !used.has(`${path} ${name}`))
        .map((name) => ({ path, what: `exports ${name}, which nobody imports` })),
    );
};

/** The product may import only what the published package installs. */
export const checkPackages = (sources: readonly Source[], dependencies: readonly string[]): Violation[] =>
  sources
    .filter(({ path }) => /^(?:src|connectors)\//.test(path))
    .flatMap(({ path, imports }) =>
      imports
        .filter(({ from }) => !from.startsWith('.') && !from.startsWith('node:'))
        .filter(({ from }) => !dependencies.some((name) => from === name || from.startsWith(`${name}/`)))
        .map(({ from }) => ({ path, what: `imports ${from}, which is not among the dependencies` })),
    );

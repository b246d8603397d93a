// Owns what people and programs read: aligned tables, colours on a terminal only, one JSON object a line with
// --json. Results go to standard output, everything else to standard error.

export type Cell = string | number | bigint | boolean | null;

export type Output = {
  readonly json: boolean;
  readonly tty: boolean;
  /** One result: a JSON line, or `text`. */
  result(object: object, text: string): void;
  /** A table of results: a JSON line each, or aligned columns. */
  table(columns: readonly string[], rows: readonly (readonly Cell[])[]): void;
  /** For people, on standard error; silent with --json. */
  note(text: string): void;
  /** A line that is written over by the next one on a terminal, and left out elsewhere. */
  progress(text: string): void;
  good(text: string): string;
  bad(text: string): string;
  dim(text: string): string;
};

type OutputOptions = { stdout: NodeJS.WriteStream; stderr: NodeJS.WriteStream; json: boolean };

const jsonText = (value: unknown): string =>
  JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? item.toString() : item));

const cellText = (cell: Cell): string => (cell === null ? '' : String(cell));
const isNumber = (cell: Cell): boolean => typeof cell === 'number' || typeof cell === 'bigint';

export const alignTable = (columns: readonly string[], rows: readonly (readonly Cell[])[]): string[] => {
  const widths = columns.map((name, at) =>
    Math.max(name.length, ...rows.map((row) => cellText(row[at] ?? null).length)),
  );
  const pad = (text: string, at: number, right: boolean): string =>
    right ? text.padStart(widths[at] ?? 0) : text.padEnd(widths[at] ?? 0);
  const header = columns.map((name, at) =>
    pad(name, at, rows.length > 0 && rows.every((row) => isNumber(row[at] ?? null))),
  );
  const lines = rows.map((row) =>
    row
      .map((cell, at) => pad(cellText(cell), at, isNumber(cell)))
      .join('  ')
      .trimEnd(),
  );
  return [header.join('  ').trimEnd(), ...lines];
};

export const makeOutput = ({ stdout, stderr, json }: OutputOptions): Output => {
  const tty = stdout.isTTY === true && !json;
  const colour = (code: number) => (text: string) => (tty ? `\u001b[${code}m${text}\u001b[0m` : text);
  const dim = colour(2);
  let progressShown = false;
  const clear = (): void => {
    if (progressShown) stderr.write('\r\u001b[2K');
    progressShown = false;
  };
  return {
    json,
    tty,
    result(object, text) {
      clear();
      stdout.write(`${json ? jsonText(object) : text}\n`);
    },
    table(columns, rows) {
      clear();
      if (json) {
        for (const row of rows)
          stdout.write(`${jsonText(Object.fromEntries(columns.map((name, at) => [name, row[at]])))}\n`);
        return;
      }
      const [header = '', ...lines] = alignTable(columns, rows);
      stdout.write(`${dim(header)}\n${lines.map((line) => `${line}\n`).join('')}`);
    },
    note(text) {
      clear();
      if (!json) stderr.write(`${text}\n`);
    },
    progress(text) {
      if (json || stderr.isTTY !== true) return;
      clear();
      stderr.write(text.slice(0, (stderr.columns ?? 80) - 1));
      progressShown = true;
    },
    good: colour(32),
    bad: colour(31),
    dim,
  };
};

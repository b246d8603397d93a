// Reads TypeScript well enough for the tidy rules, without a compiler: what is code and what is text,
// imports, exports, functions. Knows no rule.

export type Import = {
  readonly from: string;
  readonly names: readonly string[];
  readonly isDynamic: boolean;
};
type FunctionSpan = {
  readonly name: string;
  readonly line: number;
  readonly lines: number;
  /** Their names; a destructured one has none. */
  readonly parameters: readonly string[];
  readonly holdsTests: boolean;
};
export type Source = {
  /** Path below the root of the project, with `/`. */
  readonly path: string;
  readonly text: string;
  /**
   * The text with comments and the insides of strings, templates and regular expressions blanked; same
   * length.
   */
  readonly code: string;
  readonly imports: readonly Import[];
  readonly exports: readonly string[];
  readonly functions: readonly FunctionSpan[];
};

export const scanSource = (path: string, text: string): Source => {
  const code = blankText(text);
  return {
    path,
    text,
    code,
    imports: findImports(text, code),
    exports: findExports(code),
    functions: findFunctions(code),
  };
};

export const lineAt = (text: string, at: number): number => text.slice(0, at).split('\n').length;

/** A slash after one of these begins a regular expression; after anything else it divides. */
const beforeRegex =
  /(?:^|[=(,:[!&|?{};+\-*%~^<>]|\b(?:return|typeof|case|in|of|do|else|void|await|yield))\s*$/;

/** Blanks everything that is not code; line breaks stay, and so do the quotes. */
export const blankText = (text: string): string => {
  let out = '';
  let at = 0;
  // Depth of braces inside each open `${`; the last entry is the innermost.
  const templates: number[] = [];
  const blankTo = (end: number): void => {
    out += text.slice(at, end).replace(/[^\n]/g, ' ');
    at = end;
  };
  const keep = (): void => {
    out += text[at++] ?? '';
  };
  const template = (): void => {
    blankTo(endOfTemplateText(text, at));
    if (text.startsWith('${', at)) {
      templates.push(0);
      keep();
      keep();
    } else keep();
  };
  while (at < text.length) {
    const char = text[at] ?? '';
    if (text.startsWith('//', at) || (at === 0 && text.startsWith('#!'))) blankTo(endOr(text, '\n', at));
    else if (text.startsWith('/*', at)) blankTo(endOr(text, '*/', at) + 2);
    else if (char === '"' || char === "'") {
      keep();
      blankTo(endOfString(text, at, char));
      keep();
    } else if (char === '`') {
      keep();
      template();
    } else if (char === '/' && beforeRegex.test(out.slice(-200))) {
      keep();
      blankTo(endOfRegex(text, at));
      keep();
    } else if (char === '}' && templates.at(-1) === 0) {
      templates.pop();
      keep();
      template();
    } else {
      const top = templates.length - 1;
      if (top >= 0 && char === '{') templates[top] = (templates[top] ?? 0) + 1;
      if (top >= 0 && char === '}') templates[top] = (templates[top] ?? 0) - 1;
      keep();
    }
  }
  return out;
};

const endOr = (text: string, mark: string, at: number): number => {
  const end = text.indexOf(mark, at);
  return end < 0 ? text.length : end;
};

const endOfString = (text: string, start: number, quote: string): number => {
  let at = start;
  while (at < text.length && text[at] !== quote && text[at] !== '\n') at += text[at] === '\\' ? 2 : 1;
  return at;
};

const endOfTemplateText = (text: string, start: number): number => {
  let at = start;
  while (at < text.length && text[at] !== '`' && !text.startsWith('${', at)) at += text[at] === '\\' ? 2 : 1;
  return at;
};

const endOfRegex = (text: string, start: number): number => {
  let at = start;
  let inClass = false;
  while (at < text.length && text[at] !== '\n' && (inClass || text[at] !== '/')) {
    if (text[at] === '[') inClass = true;
    if (text[at] === ']') inClass = false;
    at += text[at] === '\\' ? 2 : 1;
  }
  return at;
};

const findImports = (text: string, code: string): Import[] => {
  const found: Import[] = [];
  const statement =
    /^(?:import|export)\s+(?:type\s+)?([^;'"()=]*?)\s*from\s*['"]|^import\s*['"]|\bimport\(\s*['"]/gm;
  for (const match of code.matchAll(statement)) {
    const start = match.index + match[0].length;
    const from = text.slice(start, endOfString(text, start, code[start - 1] ?? ''));
    found.push({ from, names: namesOf(match[1] ?? ''), isDynamic: match[0].startsWith('import(') });
  }
  return found;
};

/** The names that a clause such as `{ a, type B as C }` takes from the other module; `*` for all of them. */
const namesOf = (clause: string): string[] => {
  if (clause.includes('*')) return ['*'];
  const braces = /\{([^}]*)\}/.exec(clause);
  const named = (braces?.[1] ?? '')
    .split(',')
    .map((part) => /^\s*(?:type\s+)?([\w$]+)/.exec(part)?.[1] ?? '')
    .filter((name) => name !== '');
  return /^[\w$]/.test(clause.trim()) ? ['default', ...named] : named;
};

const findExports = (code: string): string[] => {
  const declared =
    /^export\s+(?:(?:async|abstract)\s+)*(?:const|let|function\s*\*?|class|type|interface)\s+([\w$]+)/gm;
  const listed = /^export\s+(?:type\s+)?\{([^}]*)\}(?!\s*from)/gm;
  return [
    ...[...code.matchAll(declared)].map((match) => match[1] ?? ''),
    ...[...code.matchAll(listed)].flatMap((match) => namesOf(`{${match[1]}}`)),
  ];
};

const OPENING = '([{';
const CLOSING = ')]}';

/** For each opening bracket its closing one. */
const matchBrackets = (code: string): Map<number, number> => {
  const pairs = new Map<number, number>();
  const open: number[] = [];
  for (let at = 0; at < code.length; at++) {
    if (OPENING.includes(code[at] ?? '')) open.push(at);
    else if (CLOSING.includes(code[at] ?? '')) {
      const start = open.pop();
      if (start !== undefined) pairs.set(start, at);
    }
  }
  return pairs;
};

const CONTROL = /\b(?:if|for|while|switch|catch|with|await|return)\s*$/;
const DECLARED_PARAMETER = /^\s*(?:\.\.\.)?(?:[\w$]+\??|\{[\s\S]*\}|\[[\s\S]*\])\s*:/;

const findFunctions = (code: string): FunctionSpan[] => {
  const pairs = matchBrackets(code);
  const found: FunctionSpan[] = [];
  for (const [open, close] of pairs) {
    if (code[open] !== '(' || CONTROL.test(code.slice(Math.max(0, open - 20), open))) continue;
    const body = findBody(code, close + 1, pairs);
    const parameters = splitTop(code, { open, close }, pairs);
    if (body === undefined) continue;
    // Without a body it may be a call before a colon; only a list of typed names is a signature.
    if (body === 'signature' && !parameters.every((part) => DECLARED_PARAMETER.test(part))) continue;
    const end = body === 'signature' ? close : (pairs.get(body) ?? body);
    const line = lineAt(code, open);
    const before = code.slice(Math.max(0, open - 200), open);
    found.push({
      name: nameBefore(before),
      line,
      lines: lineAt(code, end) - line + 1,
      parameters: parameters.map((part) => /^\s*(?:\.\.\.)?([\w$]+)/.exec(part)?.[1] ?? ''),
      holdsTests: /\b(?:test|it)\(/.test(code.slice(close, end)),
    });
  }
  return found;
};

/**
 * Where the body of a function with these parameters begins; 'signature' when there is a type and no body.
 */
const findBody = (
  code: string,
  after: number,
  pairs: Map<number, number>,
): number | 'signature' | undefined => {
  let at = skipSpace(code, after);
  if (code[at] === '{') return at;
  let typed = false;
  if (code[at] === ':') {
    typed = true;
    at = skipType(code, at + 1, pairs);
    if (code[at] === '{') return at;
  }
  if (code.startsWith('=>', at)) {
    at = skipSpace(code, at + 2);
    return at;
  }
  return typed ? 'signature' : undefined;
};

/** Goes over a return type. A brace is part of it only where a type can begin. */
const skipType = (code: string, start: number, pairs: Map<number, number>): number => {
  let expectsOperand = true;
  let angles = 0;
  for (let at = skipSpace(code, start); at < code.length; at = skipSpace(code, at)) {
    const char = code[at] ?? '';
    const word = /^[\w$.'"]+/.exec(code.slice(at, at + 200))?.[0];
    if (word !== undefined) {
      expectsOperand = /^(?:keyof|typeof|readonly|extends|is|asserts|infer|new)$/.test(word);
      at += word.length;
    } else if (char === '(' || char === '[' || (char === '{' && (expectsOperand || angles > 0))) {
      // `(a: B) => C` as a type: the arrow belongs to it.
      at = (pairs.get(at) ?? at) + 1;
      const next = skipSpace(code, at);
      expectsOperand = char === '(' && code.startsWith('=>', next) && isTypeArrow(code, next);
      if (expectsOperand) at = next + 2;
    } else if (char === '<' || (char === '>' && angles > 0)) {
      angles += char === '<' ? 1 : -1;
      expectsOperand = char === '<';
      at++;
    } else if (char === '|' || char === '&' || (angles > 0 && ',=?:'.includes(char))) {
      expectsOperand = true;
      at += code.startsWith('=>', at) ? 2 : 1;
    } else return at;
  }
  return code.length;
};

/**
 * A parenthesised return type is followed by the function's own arrow; a function type has one more after it.
 */
const isTypeArrow = (code: string, arrow: number): boolean =>
  /^=>[^;{]*=>/.test(code.slice(arrow, arrow + 200));

const skipSpace = (code: string, at: number): number => at + (/^\s*/.exec(code.slice(at))?.[0].length ?? 0);

type Span = { readonly open: number; readonly close: number };

/** The parts between a bracket pair's top-level commas; angle brackets of types count as brackets. */
const splitTop = (code: string, { open, close }: Span, pairs: Map<number, number>): string[] => {
  const parts: string[] = [];
  let from = open + 1;
  let angles = 0;
  for (let at = from; at < close; at++) {
    const char = code[at] ?? '';
    if (OPENING.includes(char)) at = pairs.get(at) ?? at;
    else if (char === '<') angles++;
    else if (char === '>' && code[at - 1] !== '=') angles--;
    else if (char === ',' && angles === 0) {
      parts.push(code.slice(from, at));
      from = at + 1;
    }
  }
  parts.push(code.slice(from, close));
  return parts.filter((part) => part.trim() !== '');
};

const nameBefore = (before: string): string => {
  const own = /([\w$#]+)\s*(?:<[^()]*>)?\s*$/.exec(before)?.[1];
  if (own !== undefined && own !== 'async' && own !== 'function') return own;
  const assigned = /([\w$#]+)\s*(?::[^=]*)?[=:]\s*(?:async\s*)?(?:function\s*\*?\s*)?(?:<[^()]*>)?\s*$/.exec(
    before,
  );
  return assigned?.[1] ?? /([\w$]+)\(\s*(?:['"]\s*['"],\s*)?(?:async\s*)?$/.exec(before)?.[1] ?? 'anonymous';
};

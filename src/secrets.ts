// Owns what must never be printed, and taking it out of what is. Knows no configuration and no place to print
// to.

/**
 * Keys of a file whose values are secret however they got there. Not those with a dot, which name somebody's
 * tables and columns.
 */
const SECRET_KEY = /^(?:[a-z_]*(?:password|secret|token)|key|salt)$/i;

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
};

/** A password inside a URL is as secret as the whole, as it is written there and as it is meant. */
const passwordsIn = (text: string): string[] => {
  const password = URL.parse(text)?.password ?? '';
  return password === '' ? [] : [password, decoded(password)];
};

/** Everything secret below `value`, which stands under `key`. */
export const secretsIn = (value: unknown, key = ''): string[] => {
  if (typeof value === 'string')
    return [...passwordsIn(value), ...(SECRET_KEY.test(key) && value !== '' ? [value] : [])];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([inner, item]) => secretsIn(item, inner));
};

/** Takes secrets out of a text, also where they stand inside JSON. */
export const makeScrub = (secrets: readonly string[]): ((text: string) => string) => {
  const forms = secrets.flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1)]);
  // Longest first, so that no secret survives as the rest of a shorter one.
  const sorted = [...new Set(forms)].sort((a, b) => b.length - a.length);
  return (text) => sorted.reduce((clean, secret) => clean.replaceAll(secret, '***'), text);
};

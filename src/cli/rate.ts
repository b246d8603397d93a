// Owns rates and times to go, for progress lines.

type RateMeter = {
  rate(name: string, by: number): string;
  eta(name: string, done: number, of: number): string;
};

const WINDOW_MS = 5000;

/** `rate`: a second's worth over the last five; `eta`: from the first call of that name on. */
export const rateMeter = (nowMs: () => number): RateMeter => {
  const starts = new Map<string, number>();
  const seen = new Map<string, { atMs: number; count: number }[]>();
  return {
    rate(name, by) {
      const now = nowMs();
      const window = (seen.get(name) ?? []).filter(({ atMs }) => now - atMs < WINDOW_MS);
      window.push({ atMs: now, count: by });
      seen.set(name, window);
      const total = window.reduce((sum, { count }) => sum + count, 0);
      return Math.round((total * 1000) / WINDOW_MS).toLocaleString('en');
    },
    eta(name, done, of) {
      const now = nowMs();
      const start = starts.get(name) ?? now;
      starts.set(name, start);
      const seconds = (now - start) / 1000;
      if (done === 0 || seconds < 1) return '';
      const perSecond = done / seconds;
      const left = Math.max(0, of - done) / perSecond;
      const rate = `${Math.round(perSecond).toLocaleString('en')}/s`;
      return of > done ? `${rate}, about ${Math.ceil(left)} s to go` : rate;
    },
  };
};

// Owns the environment of a process whose clock or event loop a test upsets by SIGUSR2.

/** `faults` in the order in which the signals take them: `clock:<ms>` sets it, `block:<ms>` stops all. */
export const upsetBy = (...faults: readonly string[]): Readonly<Record<string, string>> => ({
  NODE_OPTIONS: `--import ${new URL('./preloaded-faults.ts', import.meta.url).href}`,
  VARVE_TEST_FAULTS: faults.join(' '),
});

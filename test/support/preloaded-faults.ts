// Preloaded into a process that a test upsets (NODE_OPTIONS=--import): each SIGUSR2 takes the next fault of
// VARVE_TEST_FAULTS, such as `clock:-86400000 clock:3600000 block:5000`, in milliseconds.
const faults = (process.env.VARVE_TEST_FAULTS ?? '').split(' ');
const trueNow = Date.now;
let offsetMs = 0;
Date.now = () => trueNow() + offsetMs;

process.on('SIGUSR2', () => {
  const [what, ms] = (faults.shift() ?? '').split(':');
  if (what === 'clock') offsetMs += Number(ms);
  if (what === 'block') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(ms));
});

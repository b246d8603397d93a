// Owns log lines, counters and health: state changes, never rows, never secrets. One instance a process, handed down.
import { type Logger, pino } from 'pino';

export type Telemetry = {
  log: Logger;
  /** Adds to a counter. Names as Prometheus prints them, labels already in fixed order. */
  count(name: string, by: number, labels?: Readonly<Record<string, string>>): void;
  gauge(name: string, value: number, labels?: Readonly<Record<string, string>>): void;
  /** Prometheus text format. */
  render(): string;
};

export type LogOptions = { level: string; stream?: NodeJS.WritableStream };

const labelText = (labels: Readonly<Record<string, string>>): string => {
  const parts = Object.entries(labels).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return parts.length === 0 ? '' : `{${parts.join(',')}}`;
};

export const makeTelemetry = ({ level, stream }: LogOptions): Telemetry => {
  const values = new Map<string, { type: 'counter' | 'gauge'; series: Map<string, number> }>();
  const series = (name: string, type: 'counter' | 'gauge') => {
    const known = values.get(name);
    if (known) return known.series;
    const made = { type, series: new Map<string, number>() };
    values.set(name, made);
    return made.series;
  };
  const options = { level, base: null, timestamp: pino.stdTimeFunctions.isoTime };
  return {
    log: stream ? pino(options, stream) : pino(options, pino.destination({ dest: 2, sync: true })),
    count(name, by, labels = {}) {
      const known = series(name, 'counter');
      const key = labelText(labels);
      known.set(key, (known.get(key) ?? 0) + by);
    },
    gauge(name, value, labels = {}) {
      series(name, 'gauge').set(labelText(labels), value);
    },
    render() {
      const lines: string[] = [];
      for (const [name, { type, series: known }] of values) {
        lines.push(`# TYPE ${name} ${type}`);
        for (const [labels, value] of known) lines.push(`${name}${labels} ${value}`);
      }
      return `${lines.join('\n')}\n`;
    },
  };
};

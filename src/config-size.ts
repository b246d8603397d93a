// Owns sizes as a pipeline file writes them.
import { z } from 'zod';

const UNITS: Readonly<Record<string, number>> = { KB: 1 << 10, MB: 1 << 20, GB: 1 << 30 };
const SIZE = /^(\d{1,6})(KB|MB|GB)$/;

/** Bytes, written as `64MB`; binary units. */
export const size = (least: string, most: string) => {
  const bytes = (text: string): number => {
    const [, count = '', unit = ''] = SIZE.exec(text) ?? [];
    return Number(count) * (UNITS[unit] ?? Number.NaN);
  };
  return z
    .string()
    .regex(SIZE, 'a size such as 64MB: a whole number and KB, MB or GB')
    .transform(bytes)
    .refine((value) => value >= bytes(least) && value <= bytes(most), `between ${least} and ${most}`);
};

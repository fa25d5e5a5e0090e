/** Numbers as people read them: counts, sizes, durations, moments. */

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
/** Thin, and does not break. */
const SPACE = "\u202f";

/** `1 234 567`, with spaces that do not break. */
export function formatCount(count: number): string {
  const digits = Math.trunc(Math.abs(count)).toString();
  return (count < 0 ? "−" : "") + digits.replaceAll(/\B(?=(\d{3})+$)/g, SPACE);
}

/** `3 partitions`, `1 partition`. */
export function formatCounted(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}

/** `1.2 MiB`. */
export function formatBytes(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${shortNumber(value)}${SPACE}${BYTE_UNITS[unit]}`;
}

/** At most three digits that matter. */
function shortNumber(value: number): string {
  if (Number.isInteger(value) || value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(value < 0.1 ? 3 : 2);
}

const DURATION_UNITS: readonly (readonly [ms: number, name: string])[] = [
  [86_400_000, "d"],
  [3_600_000, "h"],
  [60_000, "min"],
  [1000, "s"],
];

/** `7 d`, `90 s`, `0.25 ms`: in the largest unit in which it is at least one, or a half of the next. */
export function formatDuration(durationMs: number): string {
  for (const [ms, name] of DURATION_UNITS) {
    if (durationMs >= ms) return `${shortNumber(durationMs / ms)}${SPACE}${name}`;
  }
  return `${shortNumber(durationMs)}${SPACE}ms`;
}

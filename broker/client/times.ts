/** Moments and durations as people write them. */

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Milliseconds of an ISO 8601 time; null when it is none. */
export function parseTime(text: string): number | null {
  if (!/^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?$/.test(text)) {
    return null;
  }
  const parsed = Date.parse(text.replace(" ", "T"));
  return Number.isNaN(parsed) ? null : parsed;
}

/** Milliseconds of a number with ms, s, m, h or d, such as `36h`; null when it is none. */
export function durationOf(text: string): number | null {
  const [, digits = "", unit = ""] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text) ?? [];
  return digits === "" ? null : Number(digits) * UNIT_MS[unit]!;
}

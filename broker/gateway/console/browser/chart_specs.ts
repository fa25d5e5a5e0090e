/** What each chart shows, and how its scale is written. No document needed. */

/** What values are counted in. */
export type ChartUnit = "bytesPerSecond" | "bytes" | "perSecond" | "seconds" | "share" | "count";

/** One line of a chart; `tone` is a class whose colour it gets. */
export interface ChartSeries {
  readonly name: string;
  readonly label: string;
  readonly tone: "river" | "warn" | "second";
  /** Drawn downwards, below the line. */
  readonly isBelow?: boolean;
}

/** A chart. */
export interface ChartSpec {
  readonly unit: ChartUnit;
  readonly series: readonly ChartSeries[];
}

/** By the name that a page gives them. */
export const CHARTS: Readonly<Record<string, ChartSpec>> = {
  flow: {
    unit: "bytesPerSecond",
    series: [
      { name: "writtenBytes", label: "written", tone: "river" },
      { name: "readBytes", label: "read", tone: "second", isBelow: true },
    ],
  },
  messages: {
    unit: "perSecond",
    series: [{ name: "writtenRecords", label: "", tone: "river" }],
  },
  requests: {
    unit: "perSecond",
    series: [{ name: "requests", label: "", tone: "river" }],
  },
  produce: {
    unit: "seconds",
    series: [
      { name: "produceP99", label: "p99", tone: "warn" },
      { name: "produceP50", label: "p50", tone: "river" },
    ],
  },
  loop: {
    unit: "seconds",
    series: [{ name: "loopP99", label: "p99", tone: "river" }],
  },
  memory: {
    unit: "bytes",
    series: [{ name: "residentBytes", label: "", tone: "river" }],
  },
  cpu: {
    unit: "share",
    series: [{ name: "cpu", label: "", tone: "river" }],
  },
  lag: {
    unit: "count",
    series: [{ name: "lag", label: "", tone: "river" }],
  },
};

const SPACE = "\u202f";
const STEPS: Readonly<Record<ChartUnit, readonly (readonly [at: number, name: string])[]>> = {
  bytesPerSecond: [[1024 ** 3, "GiB/s"], [1024 ** 2, "MiB/s"], [1024, "KiB/s"], [0, "B/s"]],
  bytes: [[1024 ** 3, "GiB"], [1024 ** 2, "MiB"], [1024, "KiB"], [0, "B"]],
  perSecond: [[1e6, "M/s"], [1e3, "k/s"], [0, "/s"]],
  seconds: [[1, "s"], [1e-3, "ms"], [0, "µs"]],
  share: [[0, "%"]],
  count: [[1e6, "M"], [1e3, "k"], [0, ""]],
};
/** What one of the smallest unit is. */
const SMALLEST: Partial<Record<ChartUnit, number>> = { seconds: 1e-6, share: 0.01 };

/** The numbers of a scale, all in the unit that fits the largest. */
export function scaleTexts(values: readonly number[], unit: ChartUnit): string[] {
  const largest = Math.max(...values.map(Math.abs));
  const [at, name] = STEPS[unit].find(([at]) => largest >= at)!;
  const divisor = at === 0 ? SMALLEST[unit] ?? 1 : at;
  return values.map((value) => {
    const scaled = Math.abs(value) / divisor;
    const digits = scaled === 0 || scaled >= 100 ? 0 : scaled >= 10 ? 1 : 2;
    const text = String(Number(scaled.toFixed(digits)));
    return name === "" ? text : `${text}${SPACE}${name}`;
  });
}

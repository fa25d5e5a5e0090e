/**
 * What this node did in the last hours, in a ring of fixed size: what the console's charts show without any other service.
 *
 * Counters and histograms are read every ten seconds, and what they grew by is kept. A node that was asleep, or held, has
 * one long interval: rates are over the time that really passed.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import type { Clock, Timer } from "../../storage/platform.ts";
import type { Histogram } from "./histogram.ts";
import type { LoopDelay } from "./loop_delay.ts";
import type { ProcessUsage } from "./metrics.ts";
import type { TopicSample } from "./series.ts";
import { SampleTimes } from "./sample_times.ts";
import type { ServerMeter } from "./server_meter.ts";

/** Time between two samples. */
export const SAMPLE_INTERVAL_MS = 10_000;
/** Six hours of them. */
const CAPACITY = 2160;

/** What is kept of each interval. Units: bytes, records and requests a second, seconds, bytes, share of one processor. */
export const HISTORY_SERIES = [
  "writtenBytes",
  "readBytes",
  "writtenRecords",
  "requests",
  "produceP50",
  "produceP99",
  "loopP99",
  "residentBytes",
  "cpu",
] as const;
export type HistorySeries = (typeof HISTORY_SERIES)[number];
/** Of several intervals shown as one, the worst is told; of the others the mean. */
const WORST: readonly HistorySeries[] = ["produceP99", "loopP99"];

/** Samples in columns, oldest first. Units: times in seconds since the epoch; null where nothing was measured. */
export interface HistoryColumns {
  readonly sinceSeconds: number;
  readonly untilSeconds: number;
  readonly times: readonly number[];
  readonly series: Readonly<Record<HistorySeries, readonly (number | null)[]>>;
}

/** What is sampled. */
export interface HistoryOptions {
  readonly clock: Clock;
  readonly server: ServerMeter;
  readonly loopDelay: LoopDelay;
  readonly usage: ProcessUsage;
  /** What was written to topics and read from them so far. */
  readonly traffic: () => Omit<TopicSample, "topic">;
}

/** What counters said at one moment. */
interface Reading {
  readonly atMs: number;
  readonly traffic: Omit<TopicSample, "topic">;
  readonly requests: number;
  readonly cpuSeconds: number;
  readonly produce: readonly number[];
  readonly loop: readonly number[];
}

/** Samples from its making until `stop`. */
export class MetricHistory {
  readonly #options: HistoryOptions;
  readonly #times = new SampleTimes(CAPACITY);
  readonly #columns = new Map(HISTORY_SERIES.map((name) => [name, new Float64Array(CAPACITY)]));
  #before: Reading;
  #timer: Timer;

  constructor(options: HistoryOptions) {
    this.#options = options;
    this.#before = this.#read();
    this.#timer = options.clock.timer(SAMPLE_INTERVAL_MS, () => this.#sample());
  }

  stop(): void {
    this.#timer.cancel();
  }

  /** The samples of the last minutes, at most so many: where there are more, neighbours become one. */
  columns(
    { minutes, maxCount }: { readonly minutes: number; readonly maxCount: number },
  ): HistoryColumns {
    const untilSeconds = this.#options.clock.wallMs() / 1000;
    const sinceSeconds = untilSeconds - minutes * 60;
    const slots = this.#times.since(sinceSeconds);
    const size = Math.max(1, Math.ceil(slots.length / maxCount));
    const bunches = Array.from(
      { length: Math.ceil(slots.length / size) },
      (_, index) => slots.slice(index * size, (index + 1) * size),
    );
    const of = (name: HistorySeries, column: Float64Array) =>
      bunches.map((bunch) => summary(name, bunch.map((slot) => column[slot] ?? NaN)));
    const series: Partial<Record<HistorySeries, readonly (number | null)[]>> = {};
    for (const [name, column] of this.#columns) series[name] = of(name, column);
    return {
      sinceSeconds,
      untilSeconds,
      times: bunches.map((bunch) => this.#times.at(bunch.at(-1)!)),
      series: series as HistoryColumns["series"],
    };
  }

  #sample(): void {
    this.#timer = this.#options.clock.timer(SAMPLE_INTERVAL_MS, () => this.#sample());
    const now = this.#read();
    const before = this.#before;
    this.#before = now;
    const seconds = (now.atMs - before.atMs) / 1000;
    const { server, loopDelay, usage, clock } = this.#options;
    const produce = server.duration(ApiKey.Produce);
    // A topic that was deleted is not counted any more.
    const grown = (name: keyof Reading["traffic"]) =>
      Math.max(0, now.traffic[name] - before.traffic[name]) / seconds;
    const values: Readonly<Record<HistorySeries, number>> = {
      writtenBytes: grown("writtenBytes"),
      readBytes: grown("readBytes"),
      writtenRecords: grown("writtenRecords"),
      requests: (now.requests - before.requests) / seconds,
      produceP50: quantile(produce, before.produce, 0.5),
      produceP99: quantile(produce, before.produce, 0.99),
      loopP99: quantile(loopDelay.histogram, before.loop, 0.99),
      residentBytes: usage.residentBytes(),
      cpu: (now.cpuSeconds - before.cpuSeconds) / seconds,
    };
    const slot = this.#times.add(clock.wallMs() / 1000);
    for (const [name, column] of this.#columns) column[slot] = values[name];
  }

  #read(): Reading {
    const { clock, server, loopDelay, usage, traffic } = this.#options;
    return {
      atMs: clock.monotonicMs(),
      traffic: traffic(),
      requests: server.requestCount,
      cpuSeconds: usage.cpuSeconds(),
      produce: server.duration(ApiKey.Produce)?.cumulativeCounts() ?? [],
      loop: loopDelay.histogram.cumulativeCounts(),
    };
  }
}

function summary(name: HistorySeries, values: readonly number[]): number | null {
  const measured = values.filter((value) => !Number.isNaN(value));
  if (measured.length === 0) return null;
  if (WORST.includes(name)) return Math.max(...measured);
  return measured.reduce((sum, value) => sum + value, 0) / measured.length;
}

/**
 * The value below which that share of what came since `before` lies, taken as evenly spread within its bucket.
 * Returns: NaN where nothing came. What lies above the last bound counts as that bound.
 */
function quantile(
  histogram: Histogram | null,
  before: readonly number[],
  share: number,
): number {
  if (histogram === null) return NaN;
  const { bounds } = histogram;
  const counts = histogram.cumulativeCounts().map((count, index) => count - (before[index] ?? 0));
  const total = counts.at(-1) ?? 0;
  if (total === 0) return NaN;
  const rank = share * total;
  const bucket = counts.findIndex((count) => count >= rank);
  const [low, high] = [bounds[bucket - 1] ?? 0, bounds[bucket] ?? 0];
  const below = counts[bucket - 1] ?? 0;
  return low + (high - low) * ((rank - below) / ((counts[bucket] ?? 0) - below));
}

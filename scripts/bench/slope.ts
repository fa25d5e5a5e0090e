/**
 * Whether something grows with time: the slope of noisy samples, and what is noise. Pure, so that it is tested with made
 * samples.
 *
 * Source: the slope is the median of those between any two samples (Theil and Sen), which a few far ones do not move.
 */

import { spreadOf } from "./figures.ts";

/** A value at a time. */
export interface TimedValue {
  readonly seconds: number;
  readonly value: number;
}

/** A line through samples. */
export interface Trend {
  /** Units: those of the values, an hour. */
  readonly perHour: number;
  /** Of the line when the time was 0. */
  readonly atStart: number;
  /** How far the samples lie from the line, as a standard deviation that a few far ones do not move. */
  readonly noise: number;
}

/** A normal distribution's standard deviation over its median distance. */
const DEVIATION_OF_DISTANCE = 1.4826;
const SECONDS_PER_HOUR = 3600;

/** The line through samples; flat where there are less than two times. `values` is not empty. */
export function trendOf(values: readonly TimedValue[]): Trend {
  const slopes: number[] = [];
  for (const [index, one] of values.entries()) {
    for (const other of values.slice(index + 1)) {
      const seconds = other.seconds - one.seconds;
      if (seconds !== 0) slopes.push((other.value - one.value) / seconds);
    }
  }
  const slope = slopes.length === 0 ? 0 : medianOf(slopes);
  const atStart = medianOf(values.map(({ seconds, value }) => value - slope * seconds));
  const distances = values.map(({ seconds, value }) => Math.abs(value - slope * seconds - atStart));
  const noise = DEVIATION_OF_DISTANCE * medianOf(distances);
  return { perHour: slope * SECONDS_PER_HOUR, atStart, noise };
}

function medianOf(values: readonly number[]): number {
  return spreadOf(values).median;
}

/** What is judged of a trend. */
export interface Growth extends Trend {
  /** From when on samples count; what comes before warms up. */
  readonly fromSeconds: number;
  /** Growth up to that is none. Units: those of the values, an hour. */
  readonly limitPerHour: number;
  /** Null where it was too short to tell. */
  readonly isFlat: boolean | null;
}

/** What happens in less time tells nothing of an hour. */
const LEAST_HOURS = 0.1;

/**
 * How samples grow in the last two thirds of their time. They are flat where they grow by no more than `limitPerHour`,
 * or by less in all that time than one sample differs from the next by chance. `values` is in the order of time.
 */
export function growthOf(values: readonly TimedValue[], limitPerHour: number): Growth {
  const endSeconds = values.at(-1)!.seconds;
  const fromSeconds = endSeconds / 3;
  const late = values.filter(({ seconds }) => seconds >= fromSeconds);
  const trend = trendOf(late);
  const hours = (endSeconds - late[0]!.seconds) / SECONDS_PER_HOUR;
  const limit = Math.max(limitPerHour, hours > 0 ? trend.noise / hours : 0);
  return {
    ...trend,
    fromSeconds,
    limitPerHour: limit,
    isFlat: hours < LEAST_HOURS ? null : trend.perHour <= limit,
  };
}

import { expect, test } from "bun:test";
import { growthOf, type TimedValue, trendOf } from "../../scripts/bench/slope.ts";
import { SimRandom } from "../sim/sim_random.ts";

/** Samples every 10 s for half an hour. */
function samples(valueAt: (seconds: number, index: number) => number): TimedValue[] {
  return Array.from({ length: 181 }, (_, index) => {
    return { seconds: index * 10, value: valueAt(index * 10, index) };
  });
}
/** Chance between -1 and 1, the same for each run. */
function chance(): () => number {
  const random = new SimRandom(7);
  return () => random.uint32() / 2 ** 31 - 1;
}

test("trendOf: the line itself where there is no noise", () => {
  const trend = trendOf(samples((seconds) => 100 + seconds / 36));
  expect(trend.perHour).toBeCloseTo(100, 6);
  expect(trend.atStart).toBeCloseTo(100, 6);
  expect(trend.noise).toBeCloseTo(0, 6);
});

test("trendOf: a few far samples move neither slope nor noise", () => {
  const trend = trendOf(samples((seconds, index) => index % 9 === 0 ? 900 : 100 + seconds / 360));
  expect(trend.perHour).toBeWithin(9, 11);
  expect(trend.noise).toBeLessThan(2);
});

test("trendOf: one sample, and samples of one time, are flat", () => {
  expect(trendOf([{ seconds: 5, value: 80 }])).toEqual({ perHour: 0, atStart: 80, noise: 0 });
  expect(trendOf([1, 2, 3].map((value) => ({ seconds: 0, value })))).toMatchObject({
    perHour: 0,
    atStart: 2,
  });
});

const GROWTHS: readonly [string, (seconds: number) => number, boolean][] = [
  ["nothing but noise", () => 0, true],
  ["it shrinks", (seconds) => -seconds / 20, true],
  ["a leak of 60 MB an hour", (seconds) => seconds / 60, false],
  ["a leak of 4 MB an hour is within the limit", (seconds) => seconds / 900, true],
  ["what warms up in the first third does not count", (seconds) => Math.min(80, seconds / 5), true],
];
for (const [name, valueAt, isFlat] of GROWTHS) {
  test(`growthOf: ${name}: ${isFlat ? "flat" : "not flat"}`, () => {
    const noise = chance();
    const growth = growthOf(samples((seconds) => 120 + valueAt(seconds) + 3 * noise()), 5);
    expect(growth.isFlat).toBe(isFlat);
    expect(growth.fromSeconds).toBe(600);
    expect(growth.noise).toBeWithin(1, 4);
  });
}

test("growthOf: in a short time more than the limit is noise, in a long one it is not", () => {
  const noise = chance();
  const valueAt = (seconds: number) => 120 + seconds / 500 + 3 * noise();
  const long = Array.from({ length: 1080 }, (_, index) => {
    return { seconds: index * 20, value: valueAt(index * 20) };
  });
  expect(growthOf(long.slice(0, 45), 5).isFlat).toBe(true);
  expect(growthOf(long, 5).isFlat).toBe(false);
});

test("growthOf: what is over in minutes is not judged", () => {
  const values = samples((seconds) => seconds).slice(0, 31);
  expect(growthOf(values, 5)).toMatchObject({ isFlat: null, fromSeconds: 100 });
  expect(growthOf(values.slice(0, 1), 5).isFlat).toBeNull();
});

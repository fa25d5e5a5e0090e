/** Which part of a log may be compacted, against Kafka's rules told in another way. */

import { describe, expect, test } from "bun:test";
import {
  type CleanableLog,
  cleanableRange,
  type CleanableSegment,
  groupSegments,
} from "../../storage/cleanable.ts";
import { SimRandom, testSeeds } from "../sim/sim_random.ts";

const NOW_MS = 1000;

function randomLog(random: SimRandom): CleanableLog {
  const segments: CleanableSegment[] = [];
  let next = random.below(50);
  for (let count = random.between(1, 8); count > 0; count--) {
    const isEmpty = count === 1 && random.chance(0.3);
    const newestMs = random.between(0, NOW_MS);
    segments.push({
      baseOffset: next,
      sizeBytes: isEmpty ? 0 : random.between(1, 100),
      newestMs,
      firstTimestamp: random.chance(0.2) ? null : random.between(0, newestMs),
    });
    if (!isEmpty) next += random.between(1, 20);
  }
  const first = segments[0]!.baseOffset;
  const logStartOffset = random.between(first, Math.min(next, first + 10));
  return {
    segments,
    logStartOffset,
    endOffset: next,
    recoveryPoint: random.pick([next, random.between(first, next)]),
    stableOffset: random.pick([next, random.between(first, next)]),
    cleanedOffset: random.pick([-1, random.between(first, next), random.between(0, next + 9)]),
  };
}

/** Offset by offset: which are dirty, and which of them are in a segment that may be cleaned whole. */
function twin(log: CleanableLog, minLagMs: number, maxLagMs: number) {
  const { segments, cleanedOffset, logStartOffset, endOffset } = log;
  const isValid = cleanedOffset >= logStartOffset && cleanedOffset <= endOffset;
  const dirtyFrom = isValid ? cleanedOffset : logStartOffset;
  const ends = segments.map((_, i) => segments[i + 1]?.baseOffset ?? Infinity);
  const isDirty = (i: number) => ends[i]! > dirtyFrom;
  let end = segments.at(-1)!.baseOffset;
  for (const [i, segment] of segments.entries()) {
    if (i === segments.length - 1 || !isDirty(i)) continue;
    const isYoung = minLagMs > 0 && segment.newestMs > NOW_MS - minLagMs;
    if (isYoung || ends[i]! > log.stableOffset || ends[i]! > log.recoveryPoint) {
      end = Math.min(end, segment.baseOffset);
    }
  }
  let cleanBytes = 0;
  let dirtyBytes = 0;
  let delayMs = 0;
  for (const [i, { baseOffset, sizeBytes, firstTimestamp }] of segments.entries()) {
    if (baseOffset < dirtyFrom) cleanBytes += sizeBytes;
    if (isDirty(i) && baseOffset < end) dirtyBytes += sizeBytes;
    if (i === segments.length - 1 || !isDirty(i) || (firstTimestamp ?? 0) <= 0) continue;
    delayMs = Math.max(delayMs, NOW_MS - firstTimestamp! - maxLagMs);
  }
  const total = cleanBytes + dirtyBytes;
  return { dirtyFrom, end, dirtyBytes, ratio: total === 0 ? 0 : dirtyBytes / total, delayMs };
}

test("cleanableRange: whole segments between what is clean and what must not be touched", () => {
  let found = 0;
  for (const seed of testSeeds(3000)) {
    const random = new SimRandom(seed);
    const log = randomLog(random);
    const minCompactionLagMs = random.pick([0, 0, random.below(1200)]);
    const maxCompactionLagMs = random.pick([Number.MAX_SAFE_INTEGER, random.below(1200)]);
    const range = cleanableRange(log, { minCompactionLagMs, maxCompactionLagMs }, NOW_MS);
    const expected = twin(log, minCompactionLagMs, maxCompactionLagMs);
    expect({ seed, ...range }).toEqual({
      seed,
      firstDirtyOffset: expected.dirtyFrom,
      firstUncleanableOffset: expect.any(Number) as unknown as number,
      cleanableBytes: expected.dirtyBytes,
      dirtyRatio: expected.ratio,
      delayMs: expected.delayMs,
    });
    expect(range.firstUncleanableOffset).toBeLessThanOrEqual(log.segments.at(-1)!.baseOffset);
    if (range.cleanableBytes === 0) continue;
    found++;
    expect(range.firstUncleanableOffset).toBe(expected.end);
  }
  expect(found).toBeGreaterThan(0);
});

describe("groupSegments", () => {
  const config = { segmentBytes: 100, segmentIndexBytes: 1e6, indexIntervalBytes: 10 };
  const segments = (...sizes: number[]) =>
    sizes.map((sizeBytes, i) => ({ baseOffset: 10 * i, sizeBytes, endOffset: 10 * (i + 1) }));
  const sizes = (groups: { sizeBytes: number }[][]) =>
    groups.map((group) => group.map(({ sizeBytes }) => sizeBytes));

  const CASES: [string, number[], object, number[][]][] = [
    ["nothing", [], {}, []],
    ["up to segment.bytes", [40, 60, 1, 99, 1], {}, [[40, 60], [1, 99], [1]]],
    ["a segment beyond it alone", [10, 200, 10], {}, [[10], [200], [10]]],
    ["what an index holds", [30, 30, 30], { segmentIndexBytes: 36, indexIntervalBytes: 70 }, [[
      30,
      30,
      30,
    ]]],
    ["no more than an index holds", [70, 70], { segmentBytes: 1e6, segmentIndexBytes: 24 }, [[70], [
      70,
    ]]],
    ["no more than one swap may rename", new Array<number>(65).fill(1), {}, [
      new Array<number>(64).fill(1),
      [1],
    ]],
  ];
  for (const [name, given, over, expected] of CASES) {
    test(`groupSegments: ${name}`, () => {
      expect(sizes(groupSegments(segments(...given), { ...config, ...over }))).toEqual(expected);
    });
  }

  test("groupSegments: no offset further from its segment's base than 31 bits", () => {
    const far = [
      { baseOffset: 0, sizeBytes: 1, endOffset: 2 ** 31 - 1 },
      { baseOffset: 2 ** 31 - 1, sizeBytes: 1, endOffset: 2 ** 31 },
      { baseOffset: 2 ** 31, sizeBytes: 1, endOffset: 2 ** 31 + 1 },
    ];
    expect(groupSegments(far, config).map(({ length }) => length)).toEqual([2, 1]);
  });
});

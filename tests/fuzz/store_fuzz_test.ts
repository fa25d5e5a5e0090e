/** Damaged files under the store, a bounded number of rounds; any number with `bun scripts/fuzz.ts`. */

import { describe, expect, test } from "bun:test";
import { SimRandom } from "../sim/sim_random.ts";
import { freshSeeds, runSeed } from "../sim/seeds.ts";
import { MUTATIONS } from "./mutations.ts";
import { batchAt, longestPrefix } from "./segment_twin.ts";
import { type FuzzOutcome, fuzzRound, TARGETS } from "./store_fuzz.ts";
import { makeImage } from "./store_image.ts";

const ROUNDS = 250;

describe("LogDirectory: opens whatever the bytes, or says why not:", () => {
  for (const target of Object.keys(TARGETS)) {
    test(target, async () => {
      const outcomes = new Set<FuzzOutcome["outcome"]>();
      const failed: string[] = [];
      for (const seed of freshSeeds(ROUNDS)) {
        const found = await runSeed(seed, async () => {
          outcomes.add((await fuzzRound(target, seed)).outcome);
        });
        if (found === null) continue;
        failed.push(`bun scripts/fuzz.ts ${target} --seed ${seed}: ${found.failure.message}`);
      }
      expect(failed).toEqual([]);
      expect(outcomes).toContain("online");
      if (target === "segments") expect(outcomes).toContain("offline");
      if (target === "checkpoints") expect(outcomes).toContain("refused");
    }, 120_000);
  }
});

test("longestPrefix: takes all of what the store has written, and up to a flipped bit", async () => {
  for (let seed = 0; seed < 6; seed++) {
    const { files } = await makeImage(seed);
    for (const [path, bytes] of files) {
      if (!path.endsWith(".log") || bytes.length === 0) continue;
      const base = Number(path.slice(-24, -4));
      const whole = longestPrefix(bytes, base);
      const last = whole.at(-1)!;
      expect(last.position + last.sizeBytes).toBe(bytes.length);
      const damaged = bytes.slice();
      damaged[last.position + 40]! ^= 1;
      expect(longestPrefix(damaged, base)).toEqual(whole.slice(0, -1));
      expect(batchAt(bytes, 1)).toBeNull();
    }
  }
});

test("MUTATIONS: each changes something, and leaves what it was given alone", () => {
  const random = new SimRandom(3);
  const bytes = random.bytes(2000);
  const before = bytes.slice();
  for (const [name, mutation] of Object.entries(MUTATIONS)) {
    const results = Array.from({ length: 20 }, () => mutation(bytes, random));
    const isChanged = results.some((result) => Buffer.compare(result, bytes) !== 0);
    expect([name, isChanged]).toEqual([name, true]);
  }
  expect(bytes).toEqual(before);
});

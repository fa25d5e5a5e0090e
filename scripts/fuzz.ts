/**
 * Damaged bytes for the store, for as long as one likes.
 *
 *     bun scripts/fuzz.ts segments                  a minute of damaged .log files
 *     bun scripts/fuzz.ts indexes --seconds 600     .index, .timeindex and .txnindex, for ten minutes
 *     bun scripts/fuzz.ts checkpoints               checkpoints, meta.properties, partition.metadata …
 *     bun scripts/fuzz.ts snapshots                 producers' snapshots
 *     bun scripts/fuzz.ts segments --seed 123       this round again
 *
 * Each round that fails is one line with the command that repeats it. Exit code: 0 when none did.
 */

import { parseArgs } from "node:util";
import { fuzzRound, TARGETS } from "../tests/fuzz/store_fuzz.ts";
import { freshSeeds, runSeed } from "../tests/sim/seeds.ts";

const DEFAULT_SECONDS = 60;
const SEEDS_AT_ONCE = 100;

const { positionals, values } = parseArgs({
  args: process.argv.slice(2),
  allowPositionals: true,
  options: { seconds: { type: "string" }, seed: { type: "string" } },
});
const [target = ""] = positionals;

async function main(): Promise<number> {
  if (TARGETS[target] === undefined) {
    console.error(`Cannot fuzz "${target}": there is ${Object.keys(TARGETS).join(", ")}`);
    return 2;
  }
  if (values.seed !== undefined) return await repeat(Number(values.seed));
  const untilMs = performance.now() + Number(values.seconds ?? DEFAULT_SECONDS) * 1000;
  const outcomes = new Map<string, number>();
  let [rounds, failed, slowestMs] = [0, 0, 0];
  while (performance.now() < untilMs) {
    for (const seed of freshSeeds(SEEDS_AT_ONCE)) {
      const beganMs = performance.now();
      const found = await runSeed(seed, async () => {
        const { outcome } = await fuzzRound(target, seed);
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      });
      slowestMs = Math.max(slowestMs, performance.now() - beganMs);
      rounds++;
      if (found === null) continue;
      failed++;
      console.log(`FAILED bun scripts/fuzz.ts ${target} --seed ${seed}: ${found.failure.message}`);
    }
  }
  const sum = JSON.stringify(Object.fromEntries(outcomes));
  console.log(`${rounds} rounds, ${failed} failed, slowest ${Math.round(slowestMs)} ms: ${sum}`);
  return failed === 0 ? 0 : 1;
}

async function repeat(seed: number): Promise<number> {
  const found = await runSeed(seed, async () => console.log(await fuzzRound(target, seed)));
  if (found !== null) console.log(found.failure.stack);
  if (found !== null) console.log(found.failure.cause);
  return found === null ? 0 : 1;
}

process.exit(await main());

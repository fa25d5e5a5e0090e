/** Random lives of whole clusters one after another: under fresh seeds, and with a fault planted until one notices it. */

import { expect } from "bun:test";
import {
  type ClusterCounts,
  type ClusterSize,
  ClusterWorld,
  type ClusterWorldOptions,
} from "./cluster_world.ts";
import type { PlantedClusterFault } from "./planted_cluster_faults.ts";
import { type FailedSeed, freshSeeds, runSeed } from "./seeds.ts";

/** Virtual seconds of faults in each life. */
export const STEPS = 10;

/** What lives there: producers, readers and members of groups, or a bank. */
type Clients = Pick<ClusterWorldOptions, "hasBank">;

/** What repeats the life that a test is in; null between two. */
let underWay: string | null = null;

/** To be called after each test: one that a stray rejection has ended does not say in which life that was. */
export function tellLifeUnderWay(): void {
  if (underWay !== null) console.log(`error: ended in the midst of ${underWay}`);
  underWay = null;
}

/** Lives through fresh seeds, all of which must hold. Returns: what happened in all of them. */
export async function liveThrough(
  count: number,
  sizeOf: (index: number) => ClusterSize,
  clients: Clients = {},
): Promise<(key: keyof ClusterCounts) => number> {
  const sums = new Map<string, number>();
  const failed: string[] = [];
  for (const [index, seed] of freshSeeds(count).entries()) {
    const size = sizeOf(index);
    const live = () => ClusterWorld.run({ seed, steps: STEPS, ...size, ...clients });
    const command = commandOf(seed, size, clients);
    underWay = command;
    const found = await runSeed(seed, async () => {
      for (const [key, count] of Object.entries(await live())) {
        sums.set(key, (sums.get(key) ?? 0) + Number(count));
      }
    });
    if (found === null) continue;
    const isRepeated = await runSeed(seed, async () => void await live()) !== null;
    failed.push(
      `${commandOf(seed, size, clients)} ${
        isRepeated ? "fails" : "held the second time, failed"
      }: ` +
        found.failure.message,
    );
  }
  underWay = null;
  expect(failed).toEqual([]);
  return (key) => sums.get(key) ?? 0;
}

/** What repeats a seed. */
function commandOf(
  seed: number,
  { nodes, replicationFactor }: ClusterSize,
  { hasBank = false }: Clients,
): string {
  const world = hasBank ? "bank" : "cluster";
  const factor = replicationFactor === undefined
    ? ""
    : ` --replication-factor ${replicationFactor}`;
  return `bun scripts/sim.ts ${world} --seed ${seed} --steps ${STEPS} --nodes ${nodes}${factor}`;
}

/** Plants a fault and lives until it is noticed. Returns: the life that did; null where none of `seedCount` does. */
export async function lifeThatNotices(
  fault: PlantedClusterFault,
  seedCount: number,
  options: Pick<ClusterWorldOptions, "hasBank" | "isWiped">,
): Promise<FailedSeed | null> {
  let found: FailedSeed | null = null;
  const restore = fault.patch?.();
  try {
    const { firstSeed = 1 } = fault;
    for (let seed = firstSeed; seed < firstSeed + seedCount && found === null; seed++) {
      found = await runSeed(seed, async () => {
        await ClusterWorld.run({
          seed,
          steps: STEPS,
          nodes: fault.nodes,
          ...options,
          ...(fault.healMs !== undefined && { healMs: fault.healMs }),
          ...(fault.wrap !== undefined && { wrap: fault.wrap() }),
          ...(fault.faults !== undefined && { faults: fault.faults }),
        });
      });
    }
  } finally {
    restore?.();
  }
  return found;
}

/** Replicated partitions under faults. One seed again: WEIR_SEED=7 bun test tests/sim/replication_sim_test.ts */

import { expect, test } from "bun:test";
import { IsrChanges } from "../../broker/partitions/isr_changes.ts";
import { Partition } from "../../broker/partitions/partition.ts";
import { ReplicaSet } from "../../broker/partitions/replica_set.ts";
import { LeaderEpochs } from "../../storage/leader_epochs.ts";
import { ReplicationWorld } from "./replication_world.ts";
import { freshSeeds, runSeed } from "./seeds.ts";

const SEEDS = process.env["WEIR_SEED"] === undefined
  ? freshSeeds(6)
  : [Number(process.env["WEIR_SEED"])];
const STEPS = 10;
/** Within so many seeds a planted bug has to be noticed. */
const PLANTED_SEEDS = 300;
const TIMEOUT_MS = 300_000;

test("ReplicationWorld: nothing acknowledged is lost, no offset has two values", async () => {
  let acknowledged = 0;
  for (const seed of SEEDS) {
    const failed = await runSeed(seed, async (one) => {
      acknowledged += (await ReplicationWorld.run({ seed: one, steps: STEPS })).acknowledged;
    });
    if (failed !== null) {
      throw new Error(`WEIR_SEED=${seed}: ${failed.failure.message}`, { cause: failed.failure });
    }
  }
  expect(acknowledged).toBeGreaterThan(SEEDS.length * 10);
}, TIMEOUT_MS);

/** Puts another method or getter in the place of one, until the returned function is called. */
function plant<T extends object, Name extends keyof T & string>(
  on: { readonly prototype: T },
  name: Name,
  make: (original: PropertyDescriptor) => PropertyDescriptor,
): () => void {
  const original = Object.getOwnPropertyDescriptor(on.prototype, name)!;
  Object.defineProperty(on.prototype, name, { ...original, ...make(original) });
  return () => Object.defineProperty(on.prototype, name, original);
}

/** What is wrong, and the seed from which on it is looked for: it was noticed there. */
const PLANTED: readonly (readonly [string, number, () => () => void])[] = [
  [
    "the high watermark is the leader's alone",
    0,
    () =>
      plant(ReplicaSet, "noteFetch", ({ value }) => ({
        value(this: ReplicaSet, fetch: Parameters<ReplicaSet["noteFetch"]>[0]) {
          return value.call(this, { ...fetch, fetchOffset: fetch.leaderEndOffset });
        },
      })),
  ],
  [
    "a follower asks for what follows what it has not synced",
    1,
    () =>
      plant(Partition, "replicatedOffset", () => ({
        get(this: Partition) {
          return this.log.endOffset;
        },
      })),
  ],
  [
    "the ISR is changed before the controller has agreed",
    74,
    () =>
      plant(IsrChanges, "propose", ({ value }) => ({
        value(this: IsrChanges, ...[partition, proposal]: Parameters<IsrChanges["propose"]>) {
          value.call(this, partition, proposal);
          const isr = proposal.isr.map(({ brokerId }) => brokerId);
          partition.updateImage({ ...partition.image, isr });
        },
      })),
  ],
  [
    "a follower does not truncate",
    0,
    () => plant(Partition, "truncate", () => ({ value: () => Promise.resolve() })),
  ],
  [
    "nobody knows of which epoch a follower's last record is",
    0,
    () => plant(LeaderEpochs, "epochForOffset", () => ({ value: () => -1 })),
  ],
  [
    "whoever fetches may join, wherever it is",
    0,
    () =>
      plant(ReplicaSet, "proposeExpansion", ({ value }) => ({
        value(this: ReplicaSet, ...[id, brokers]: Parameters<ReplicaSet["proposeExpansion"]>) {
          const before = this.syncedOffsetOf(id);
          const fetch = { replicaId: id, logStartOffset: 0, leaderEndOffset: Infinity, nowMs: 0 };
          const brokerEpoch = brokers.get(id)?.epoch ?? -1;
          this.noteFetch({ ...fetch, brokerEpoch, fetchOffset: Number.MAX_SAFE_INTEGER });
          const proposal = value.call(this, id, brokers) as unknown;
          this.noteFetch({ ...fetch, brokerEpoch, fetchOffset: before });
          return proposal;
        },
      })),
  ],
];

for (const [what, firstSeed, begin] of PLANTED) {
  test(`ReplicationWorld: notices when ${what}`, async () => {
    const end = begin();
    try {
      for (let seed = firstSeed; seed < firstSeed + PLANTED_SEEDS; seed++) {
        const failed = await runSeed(seed, async (one) => {
          await ReplicationWorld.run({ seed: one, steps: STEPS });
        });
        if (failed === null) continue;
        if (process.env["WEIR_TRACE"] !== undefined) {
          console.log(what, seed, failed.failure.message);
        }
        return;
      }
      expect.unreachable(`not noticed in ${PLANTED_SEEDS} seeds`);
    } finally {
      end();
    }
  }, TIMEOUT_MS);
}

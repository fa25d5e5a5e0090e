import { describe, expect, test } from "bun:test";
import type { TopicConfig } from "../../../broker/config/topic_config.ts";
import type { Partition } from "../../../broker/partitions/partition.ts";
import { SimRandom, testSeeds } from "../../sim/sim_random.ts";
import { batch, DataHarness } from "./harness.ts";

const FOR_EVER = Number.MAX_SAFE_INTEGER;
/** The flusher syncs whatever is dirty after it. */
const MAX_DIRTY_MS = 1000;
const MAX_SYNC_MS = 3;

/** What was appended and when, to say what must be stable by now. */
class Promises {
  readonly #appended: { readonly endOffset: number; readonly atMs: number }[] = [];
  readonly #node: DataHarness;
  readonly #partition: Partition;

  constructor(node: DataHarness, partition: Partition) {
    this.#node = node;
    this.#partition = partition;
  }

  append(count: number): void {
    this.#partition.append(batch(count), { origin: "client", requiredAcks: 1 });
    const atMs = this.#node.clock.monotonicMs();
    this.#appended.push({ endOffset: this.#partition.log.endOffset, atMs });
  }

  /** Two syncs may have to end: one was in flight when the records came. */
  check(sinceMs: number): void {
    const { config, log } = this.#partition;
    const nowMs = this.#node.clock.monotonicMs();
    const waitMs = Math.min(config.flushMs, MAX_DIRTY_MS);
    for (const { endOffset, atMs } of this.#appended) {
      // The settings hold for what came after them.
      const dueMs = Math.max(atMs, sinceMs) + waitMs + 2 * MAX_SYNC_MS;
      if (nowMs > dueMs) expect(log.syncedOffset).toBeGreaterThanOrEqual(endOffset);
      const isSettled = nowMs > Math.max(atMs, sinceMs) + 2 * MAX_SYNC_MS;
      if (isSettled && atMs >= sinceMs) {
        expect(endOffset - log.syncedOffset).toBeLessThan(config.flushMessages);
      }
    }
  }
}

describe("flush.messages and flush.ms", () => {
  test.each(testSeeds(20))(
    "bound what is not stable, changed at run time, seed %i",
    async (seed) => {
      const random = new SimRandom(seed);
      const node = await DataHarness.start({ seed, maxSyncMs: MAX_SYNC_MS });
      await node.makeTopic("a");
      const partition = node.partition("a");
      const promises = new Promises(node, partition);
      let sinceMs = node.clock.monotonicMs();
      for (let step = 0; step < 200; step++) {
        if (random.chance(0.05)) {
          const flushMessages = random.pick([1, 2, 10, FOR_EVER]);
          const flushMs = random.pick([0, 5, 200, FOR_EVER]);
          const isFlushRelaxed = flushMessages < FOR_EVER || flushMs < FOR_EVER;
          const config: TopicConfig = {
            ...partition.config,
            flushMessages,
            flushMs,
            isFlushRelaxed,
          };
          partition.updateConfig(config);
          sinceMs = node.clock.monotonicMs();
        }
        const { highWatermark } = partition;
        if (random.chance(0.6)) promises.append(random.between(1, 4));
        await node.clock.advance(random.pick([0, 1, 8, 30, 250, 1100]));
        promises.check(sinceMs);
        const { log, config } = partition;
        const isRelaxed = config.isFlushRelaxed && config.flushMessages > 1;
        if (isRelaxed) expect(partition.highWatermark).toBe(log.endOffset);
        else {expect(partition.highWatermark).toBe(
            Math.max(log.syncedOffset, highWatermark) as never,
          );}
      }
      await node.stop();
      expect(node.process.pendingTimers).toBe(0);
    },
  );
});

describe("weir.flush.max.dirty.bytes", () => {
  const MAX_DIRTY_BYTES = 65_536;

  test.each([0, 1])("bounds what is dirty when acks=%d outruns a slow disk", async (acks) => {
    const flags = { "weir.flush.max.dirty.bytes": String(MAX_DIRTY_BYTES) };
    const node = await DataHarness.start({ flags, maxSyncMs: 800 });
    await node.makeTopic("a", { partitionCount: 8 });
    const { flusher } = node.partition("a").log;
    const random = new SimRandom(4);
    const records = () => batch(1, { valueBytes: 8000 });
    const windowBytes = 5 * records().length;
    let mostDirty = 0;
    let appended = 0;
    let isOver = false;
    const producer = async (): Promise<void> => {
      // Five requests in flight, as producers have, each over a partition of its own.
      const send = async (): Promise<void> => {
        while (!isOver) {
          const index = random.below(8);
          const { answer } = node.produce("a", records(), { acks, index });
          mostDirty = Math.max(mostDirty, flusher.dirtyBytes);
          appended++;
          await answer;
          await node.clock.sleep(0.1);
        }
      };
      await Promise.all([1, 2, 3, 4, 5].map(send));
    };
    const done = producer();
    await node.clock.advance(20_000);
    isOver = true;
    await node.run(done);
    expect(mostDirty).toBeGreaterThan(2 * MAX_DIRTY_BYTES);
    expect(mostDirty).toBeLessThanOrEqual(2 * MAX_DIRTY_BYTES + windowBytes);
    expect(appended).toBeGreaterThan(200);
    await node.stop();
  });

  test("waits for the syncs of quiet logs too, and no longer", async () => {
    const flags = { "weir.flush.max.dirty.bytes": String(MAX_DIRTY_BYTES) };
    const node = await DataHarness.start({ flags, maxSyncMs: 3 });
    await node.makeTopic("a", { partitionCount: 10 });
    const { flusher } = node.partition("a").log;
    const big = () => batch(1, { valueBytes: 60_000 });
    node.partition("a", 0).append(big(), { origin: "client", requiredAcks: 1 });
    const late = [1, 2, 3].map((index) => node.produce("a", big(), { acks: 1, index }));
    expect(late.map(({ isSynchronous }) => isSynchronous)).toEqual([true, false, false]);
    await node.clock.advance(10);
    expect(flusher.dirtyBytes).toBe(0);
    await Promise.all(late.map(({ answer }) => answer));
    await node.stop();
  });
});

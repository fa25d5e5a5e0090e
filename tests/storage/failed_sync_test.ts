/**
 * One sync after another fails, wherever it is, until a life passes without: each takes its log directory
 * offline, since the kernel tells a failure once and what it has dropped may be anybody's.
 */

import { expect, test } from "bun:test";
import { METADATA_TOPIC_ID, offset, type Uuid } from "../../protocol/types.ts";
import { Cleaner } from "../../storage/cleaner.ts";
import { DEFAULT_LOG_CONFIG } from "../../storage/log.ts";
import { LogDirectoryError } from "../../storage/directory_meta.ts";
import { DiskError } from "../../storage/platform.ts";
import { ProducerState } from "../../storage/producer_state.ts";
import { SimWorkers } from "../sim/sim_workers.ts";
import { Fixture, ORDERS } from "./log_fixture.ts";

const OTHER = { topic: "orders", partition: 1 };
const OTHER_ID = "AAAAAAAAAAAAAAAAAAAAAg" as Uuid;
const CONFIG = {
  cleanupPolicy: ["compact", "delete"] as const,
  segmentBytes: 400,
  indexIntervalBytes: 1,
  minCleanableDirtyRatio: 0,
  fileDeleteDelayMs: 100,
};
const OPTIONS = { scrub: { maxBytesPerSecond: 1_000_000, intervalMs: 60_000 } };

/** Does everything that syncs. Each step may fail, and the next one is done all the same. */
class Life {
  readonly #fixture = new Fixture();
  #syncsLeft: number;
  #failed: string | null = null;
  /** A start that is refused answers for the failure itself. */
  #isRefused = false;

  constructor(failingSync: number) {
    this.#syncsLeft = failingSync;
    const fault = (path: string) => {
      if (--this.#syncsLeft !== 0) return null;
      this.#failed = path;
      return "EIO";
    };
    this.#fixture.disk.faults = { sync: fault, syncDirectory: fault };
  }

  /** Returns: the path whose sync failed, null when none did, and whether anybody answered for it. */
  async run(): Promise<{ readonly failed: string | null; readonly isTold: boolean }> {
    await this.#live();
    const isTold = this.#isRefused || this.#fixture.directory.offlineReason !== null;
    return { failed: this.#failed, isTold };
  }

  async #live(): Promise<void> {
    const fixture = this.#fixture;
    const { clock, disk } = fixture;
    let isOpen = false;
    await this.#step(async () => {
      await fixture.reopen(CONFIG, OPTIONS);
      isOpen = true;
    });
    if (!isOpen) return;
    for (let i = 0; i < 40; i++) {
      // What comes later is not compacted, and keeps its indexes.
      if (i === 25) await this.#step(() => this.#compact());
      const producer = { producerId: 4, producerEpoch: 0, baseSequence: i / 5 };
      await this.#step(() => fixture.append(1, i % 5 === 0 ? producer : {}));
      if (i % 10 === 9) await clock.advance(50);
    }
    await this.#step(() => fixture.directory.checkpoint());
    await this.#step(() => fixture.log.deleteRecordsBefore(offset(3)));
    // An index that lies, which the scrub makes anew.
    await this.#step(() => disk.flipBit(fixture.log.segments.at(-3)!.offsetIndex.file.path, 7, 5));
    await clock.advance(200_000);
    await this.#step(() => fixture.log.truncateTo(offset(38)));
    await this.#step(() => fixture.directory.createLog(OTHER, OTHER_ID, DEFAULT_LOG_CONFIG));
    await this.#step(() => fixture.directory.deleteLog(OTHER));
    const snapshot = new ProducerState("").encodeSnapshot();
    const future = { config: DEFAULT_LOG_CONFIG, start: offset(7), snapshot };
    await this.#step(async () => {
      await fixture.directory.createFuture(OTHER, OTHER_ID, future);
      await fixture.directory.adoptFuture(OTHER);
    });
    await clock.advance(10_000);
    if (fixture.directory.offlineReason !== null) return;
    disk.kill();
    await this.#step(() => fixture.reopen(CONFIG, OPTIONS));
    if (this.#isRefused) return;
    if (disk.exists("/data/orders-1")) await this.#step(() => fixture.directory.setAside(OTHER));
    await this.#step(() =>
      fixture.directory.openLog(ORDERS, METADATA_TOPIC_ID, DEFAULT_LOG_CONFIG)
    );
    await clock.advance(10_000);
  }

  async #compact(): Promise<void> {
    const { log, clock } = this.#fixture;
    log.sync();
    await clock.advance(1000);
    log.updateHighWatermark(log.syncedOffset);
    const cleaner = new Cleaner({
      ...this.#fixture,
      workers: new SimWorkers(this.#fixture),
      directories: () => [this.#fixture.directory],
      settings: () => ({
        isEnabled: true,
        backoffMs: 1000,
        dedupeBufferBytes: 10_000,
        loadFactor: 0.9,
        ioBufferBytes: 10_000,
        maxBytesPerSecond: Infinity,
        reserveBytes: 0,
      }),
    });
    await cleaner.cleanDirtiest();
  }

  async #step(work: () => unknown): Promise<void> {
    try {
      await this.#fixture.clock.run(Promise.resolve(work()));
    } catch (failure) {
      if (failure instanceof LogDirectoryError) this.#isRefused = true;
      else if (!(failure instanceof DiskError)) throw failure;
    }
  }
}

test("every sync that fails takes its log directory offline, or refuses the start", async () => {
  const paths = new Set<string>();
  for (let n = 1;; n++) {
    const { failed, isTold } = await new Life(n).run();
    if (failed === null) break;
    paths.add(failed.replace(/^.*\//, "").replace(/\d+/, "N"));
    expect({ n, failed, isTold }).toEqual({ n, failed, isTold: true });
  }
  for (const one of ["data", "orders-N", "partition.metadata.tmp", ".weir-scrub.tmp"]) {
    expect([...paths]).toContain(one);
  }
  for (const one of ["N.log", "N.log.cleaned", "N.index", "N.index.tmp", "N.snapshot.tmp"]) {
    expect([...paths]).toContain(one);
  }
}, 60_000);

test("LogDirectory.createLog: a partition that a failed sync left without its metadata outlives a power cut later", async () => {
  for (let seed = 1; seed <= 10; seed++) {
    const fixture = new Fixture(seed);
    const { clock, disk } = fixture;
    const open = () => clock.run(fixture.reopen());
    const create = () =>
      clock.run(fixture.directory.createLog(OTHER, OTHER_ID, DEFAULT_LOG_CONFIG));
    await open();
    disk.faults = { sync: (path) => path.endsWith("orders-1/partition.metadata") ? "EIO" : null };
    await expect(create()).rejects.toThrow(DiskError);
    disk.faults = {};
    disk.kill();
    // The kernel shows it, and takes it for written.
    await open();
    await create();
    disk.crash();
    await open();
    const found = fixture.directory.found().map(({ topicId }) => topicId);
    expect({ seed, found }).toEqual({ seed, found: [METADATA_TOPIC_ID, OTHER_ID] });
  }
});

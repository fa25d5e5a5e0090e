/**
 * Random produces, fetches and crashes against a model of what was promised.
 *
 * A consumer reads with fetches that wait; producers use acks=0, 1 and all; power fails, the process is
 * killed, or it stops in order, at any moment; the disk fails or fills before some of them. What is checked, after every answer and at the end:
 * - a value that was read at an offset is there for ever: never another value, never gone;
 * - what acks=all acknowledged is there after any crash, at the offset that was told, in order;
 * - acks=all is answered only when the log is synced past it; acks=1 lives through a kill;
 * - at the end everything below the high watermark can be read, and a new record can be written.
 */

import { expect, test } from "bun:test";
import { ErrorCode } from "../../../protocol/errors.ts";
import { batches } from "../../../protocol/record_batch.ts";
import { buildBatch, readRecords } from "../../../protocol/records.ts";
import { SimRandom, testSeeds } from "../../sim/sim_random.ts";
import { DataHarness } from "./harness.ts";

const TOPICS = ["strict", "compressed"] as const;
const textDecoder = new TextDecoder();
const textEncoder = new TextEncoder();

class World {
  readonly node: DataHarness;
  readonly random: SimRandom;
  /** Values that a consumer has seen, by `topic offset`. */
  readonly seen = new Map<string, string>();
  /** Values that acks=all has acknowledged. */
  readonly promised = new Map<string, string>();
  /** Values that acks=1 has acknowledged; forgotten when power fails. */
  readonly written = new Map<string, string>();
  readonly positions = new Map<string, number>();
  /** The disk refuses some calls until the process ends. */
  #isFaulty = false;
  #values = 0;
  /** Counts up at each end of the process: answers of an earlier one are not looked at. */
  #life = 0;

  constructor(node: DataHarness, random: SimRandom) {
    this.node = node;
    this.random = random;
    for (const topic of TOPICS) this.positions.set(topic, 0);
  }

  produce(): void {
    const { random, node } = this;
    const topic = random.pick(TOPICS);
    const acks = random.pick([-1, -1, 1, 1, 0]);
    const values = Array.from({ length: 1 + random.below(4) }, () => `v${this.#values++}`);
    const life = this.#life;
    const asked = node.produce(
      topic,
      buildBatch({
        records: values.map((value) => ({
          key: null,
          value: textEncoder.encode(value.padEnd(1 + random.below(300), ".")),
          timestamp: node.clock.wallMs(),
        })),
        compression: topic === "compressed" ? 1 + random.below(4) as 1 : 0,
      }),
      { acks, version: 9 },
    );
    if (acks === 0) return;
    void asked.answer.then((answer) => {
      if (life !== this.#life) return;
      const { errorCode, baseOffset } = answer!.responses[0]!.partitionResponses[0]!;
      if (errorCode !== ErrorCode.NONE) {
        expect(this.allowedErrors()).toContain(errorCode);
        return;
      }
      const promises = acks === -1 ? this.promised : this.written;
      values.forEach((value, index) => promises.set(`${topic} ${baseOffset + index}`, value));
      if (acks !== -1) return;
      expect(node.partition(topic).log.syncedOffset)
        .toBeGreaterThanOrEqual(baseOffset + values.length);
    });
  }

  fetch(): void {
    const { random, node } = this;
    const topic = random.pick(TOPICS);
    const fetchOffset = this.positions.get(topic)!;
    const life = this.#life;
    const asked = node.fetch({
      maxWaitMs: random.below(100),
      minBytes: random.pick([1, 1, 500, 5000]),
      topics: [{ topic, partitions: [{ fetchOffset, partitionMaxBytes: 1 + random.below(2000) }] }],
    });
    if (random.chance(0.05)) return asked.context.hangUp();
    void asked.answer.then((answer) => {
      if (life !== this.#life) return;
      const found = answer!.responses[0]!.partitions[0]!;
      if (found.errorCode !== ErrorCode.NONE && this.#isFaulty) {
        expect(this.allowedErrors()).toContain(found.errorCode);
        return;
      }
      // Below the high watermark there is no truncation, so the position is always in range.
      expect(found.errorCode).toBe(ErrorCode.NONE);
      this.read(topic, found.records!, found.highWatermark);
    });
  }

  allowedErrors(): number[] {
    return this.#isFaulty ? [ErrorCode.KAFKA_STORAGE_ERROR] : [];
  }

  /** From now on, until the process ends, the disk fails now and then. */
  breakDisk(): void {
    const { random, node } = this;
    this.#isFaulty = true;
    const fails = (path: string) => path.startsWith("/data/") && random.chance(0.3);
    if (random.chance(0.5)) node.disk.faults.sync = (path) => fails(path) ? "EIO" : null;
    else node.disk.faults.write = (path) => fails(path) ? random.pick(["EIO", "ENOSPC"]) : null;
  }

  read(topic: string, bytes: Uint8Array, highWatermark: number): void {
    for (const at of batches(bytes)) {
      for (const { offset, value } of readRecords(bytes, at, { maxDecompressedBytes: 1e6 })) {
        const text = textDecoder.decode(value!).replace(/\.+$/, "");
        expect(offset).toBeLessThan(highWatermark);
        const before = this.seen.get(`${topic} ${offset}`);
        if (before !== undefined) expect([topic, offset, text]).toEqual([topic, offset, before]);
        this.seen.set(`${topic} ${offset}`, text);
        if (offset >= this.positions.get(topic)!) this.positions.set(topic, offset + 1);
      }
    }
  }

  async restart(): Promise<void> {
    const { random, node } = this;
    const how = random.pick(["crash", "crash", "kill", "stop"] as const);
    this.#life++;
    if (how === "crash") {
      node.crash();
      this.written.clear();
    } else if (how === "kill") node.kill();
    else await node.stop();
    // After a failed sync nobody knows what the page cache was worth: acks=1 promises nothing then.
    if (this.#isFaulty) this.written.clear();
    this.#isFaulty = false;
    node.disk.faults = {};
    await node.openWhole();
    await this.checkPromises();
    // Some read from the start again: what they see now must be what was seen before.
    for (const topic of TOPICS) if (random.chance(0.5)) this.positions.set(topic, 0);
  }

  async checkPromises(): Promise<void> {
    const there = new Map<string, string>();
    for (const topic of TOPICS) {
      for (let from = 0;;) {
        const found = await this.node.fetched(topic, { fetchOffset: from }, { maxWaitMs: 0 });
        expect(found.errorCode).toBe(ErrorCode.NONE);
        if (found.records!.length === 0) {
          expect(from).toBe(found.highWatermark);
          break;
        }
        for (const at of batches(found.records!)) {
          for (const record of readRecords(found.records!, at, { maxDecompressedBytes: 1e6 })) {
            const text = textDecoder.decode(record.value!).replace(/\.+$/, "");
            there.set(`${topic} ${record.offset}`, text);
            from = record.offset + 1;
          }
        }
      }
    }
    for (const promises of [this.seen, this.promised, this.written]) {
      for (const [place, value] of promises) {
        expect(`${place}: ${there.get(place)}`).toBe(`${place}: ${value}`);
      }
    }
    expect(new Set(there.values()).size).toBe(there.size);
  }
}

test.each(testSeeds(40))(
  "Partition: what was read or acknowledged never changes, seed %i",
  async (seed) => {
    const random = new SimRandom(seed);
    const node = await DataHarness.start({ seed, maxSyncMs: random.pick([0, 3, 30]) });
    for (const topic of TOPICS) {
      await node.makeTopic(topic, { configs: { "segment.bytes": "1048576" } });
    }
    const world = new World(node, random);
    for (let step = 0; step < 150; step++) {
      const what = random.below(100);
      if (what < 45) world.produce();
      else if (what < 75) world.fetch();
      else if (what < 97) await node.clock.advance(random.below(20));
      else await world.restart();
    }
    // By then the flusher has synced what nobody asked for.
    await node.clock.advance(5000);
    await node.run(
      node.produce(
        "strict",
        buildBatch({
          records: [{
            key: null,
            value: textEncoder.encode("last"),
            timestamp: node.clock.wallMs(),
          }],
        }),
      ).answer,
    );
    await world.checkPromises();
    expect(node.logDirectories.buffers.lentBytes).toBe(0);
    expect(node.replicaManager.delayedFetches.size + node.replicaManager.delayedAppends.size).toBe(
      0,
    );
    await node.stop();
    expect(node.process.pendingTimers).toBe(0);
  },
);

/** A node with two disks whose one partition is moved while it is produced to, for tests of moves. */

import { expect } from "bun:test";
import { isRefusal } from "../../../broker/partitions/replica_manager.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { batches } from "../../../protocol/record_batch.ts";
import { readRecords } from "../../../protocol/records.ts";
import {
  describeLogDirsRequest,
  describeLogDirsResponse,
} from "../../../protocol/schemas/describe_log_dirs.ts";
import {
  alterReplicaLogDirsRequest,
  alterReplicaLogDirsResponse,
} from "../../../protocol/schemas/alter_replica_log_dirs.ts";
import { batch, DataHarness, type HarnessOptions } from "./harness.ts";

const MIB = 1024 * 1024;
const PRODUCER_ID = 7;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The node, what was acknowledged, and who produces. */
export class MoveWorld {
  readonly node: DataHarness;
  /** What was acknowledged with acks=all, by offset. */
  readonly acknowledged = new Map<number, string>();
  /** Acknowledged by the page cache alone. */
  readonly written = new Map<number, string>();
  #sent = 0;
  #sequence = 0;
  #life = 0;

  private constructor(node: DataHarness) {
    this.node = node;
  }

  /** A topic `t` of one partition in `/a`, with `count` batches over several segments. */
  static async start(
    count = 30,
    { configs = {}, ...options }: HarnessOptions & {
      readonly configs?: Readonly<Record<string, string>>;
    } = {},
  ): Promise<MoveWorld> {
    const mounts = { "/a": 64 * MIB, "/b": 64 * MIB };
    const node = await DataHarness.start({
      mounts,
      maxSyncMs: 1,
      flags: { "log.segment.delete.delay.ms": "1000" },
      ...options,
    });
    // The first partition goes to the first of equal disks.
    // A segment holds a dozen batches: its index has room for no more.
    await node.makeTopic("t", {
      configs: { "segment.index.bytes": "150", "index.interval.bytes": "0", ...configs },
    });
    const world = new MoveWorld(node);
    for (let i = 0; i < count; i++) await node.run(world.produce());
    return world;
  }

  /** Directory in which the partition is served. */
  get directory(): string {
    return this.node.partition("t").log.directory;
  }

  /** Produces one batch of an idempotent producer, whose value says which it is. */
  async produce(acks = -1): Promise<number> {
    const life = this.#life;
    const text = `v${this.#sent++}`;
    const sequence = this.#sequence++;
    const asked = this.node.produce(
      "t",
      batch(
        1,
        {
          valueBytes: 0,
          baseSequence: sequence,
          producerId: PRODUCER_ID,
          producerEpoch: 0,
          records: [{
            key: encoder.encode(text),
            value: encoder.encode(text.padEnd(200, ".")),
            headers: [],
            timestamp: Date.UTC(2026, 0, 1),
          }],
        } as Parameters<typeof batch>[1],
      ),
      { acks },
    );
    const answer = await asked.answer;
    const { errorCode, baseOffset } = answer!.responses[0]!.partitionResponses[0]!;
    if (life !== this.#life) return ErrorCode.NOT_LEADER_OR_FOLLOWER;
    if (errorCode === ErrorCode.NONE) {
      (acks === -1 ? this.acknowledged : this.written).set(baseOffset, text);
    }
    return errorCode;
  }

  /** Produces every `everyMs` until `stop` says so. */
  async produceUntil(stop: () => boolean, everyMs = 1): Promise<void> {
    while (!stop()) {
      void this.produce();
      await this.node.process.sleep(everyMs);
    }
  }

  /** Asks for the move; the answer comes when it has begun. */
  async move(path: string, partition = 0, topic = "t"): Promise<number> {
    const asked = this.node.ask(
      this.node.apis.alterReplicaLogDirs,
      [alterReplicaLogDirsRequest, alterReplicaLogDirsResponse],
      2,
      { dirs: [{ path, topics: [{ name: topic, partitions: [partition] }] }] },
    );
    const answer = await asked.answer;
    return answer!.results[0]!.partitions[0]!.errorCode;
  }

  /** True while a move is under way. */
  get isMoving(): boolean {
    return [...this.node.replicaManager.moves.steps()].length > 0;
  }

  /** Runs until no move is under way. */
  async moved(limitMs = 60_000): Promise<void> {
    for (let ms = 0; this.isMoving; ms++) {
      if (ms > limitMs) throw new Error("the move does not end");
      await this.node.clock.advance(1);
    }
  }

  /** What DescribeLogDirs says of the partition, by directory. */
  async described(): Promise<Record<string, { lag: number; isFuture: boolean; size: number }[]>> {
    const asked = this.node.ask(
      this.node.apis.describeLogDirs,
      [describeLogDirsRequest, describeLogDirsResponse],
      5,
      { topics: [{ topic: "t", partitions: [0] }] },
    );
    const { results } = (await asked.answer)!;
    return Object.fromEntries(results.map(({ logDir, topics }) => [
      logDir,
      topics.flatMap(({ partitions }) =>
        partitions.map(({ offsetLag, isFutureKey, partitionSize }) => (
          { lag: offsetLag, isFuture: isFutureKey, size: partitionSize }
        ))
      ),
    ]));
  }

  /** Names of what lies in a directory under the partition's name, the unique part left out. */
  names(path: string): string[] {
    return this.node.disks!.at(path).list(path).map(({ name }) => name)
      .filter((name) => /^t-0(\.|$)/.test(name))
      .map((name) => name.replace(/\.[0-9a-f]{32}/, "")).sort();
  }

  /** The process ends; the producer that survives it takes a new epoch's place: nothing is in flight. */
  async end(how: "crash" | "kill" | "stop"): Promise<void> {
    this.#life++;
    await this.node[how]();
    if (how === "crash") this.written.clear();
  }

  /** Every value that can be read, in order, by offset. */
  async readAll(from = 0): Promise<Map<number, string>> {
    const found = new Map<number, string>();
    for (let next = from;;) {
      const answer = await this.node.fetched("t", { fetchOffset: next }, { maxWaitMs: 0 });
      expect(answer.errorCode).toBe(ErrorCode.NONE);
      if (answer.records!.length === 0) {
        expect(next).toBe(answer.highWatermark);
        return found;
      }
      for (const at of batches(answer.records!)) {
        for (const record of readRecords(answer.records!, at, { maxDecompressedBytes: 1e6 })) {
          expect(found.has(record.offset)).toBe(false);
          found.set(record.offset, decoder.decode(record.value!).replace(/\.+$/, ""));
          next = record.offset + 1;
        }
      }
    }
  }

  /** Nothing that was acknowledged is lost or doubled, offsets have no gaps, and the producer goes on. */
  async check(): Promise<void> {
    const { node } = this;
    await node.clock.advance(20);
    const found = await this.readAll(node.partition("t").log.logStartOffset);
    for (const promised of [this.acknowledged, this.written]) {
      for (const [at, text] of promised) {
        if (at >= node.partition("t").log.logStartOffset) {
          expect([at, found.get(at)]).toEqual([at, text]);
        }
      }
    }
    const values = [...found.values()];
    expect(new Set(values).size).toBe(values.length);
    expect([...found.keys()]).toEqual(
      values.map((_, i) => node.partition("t").log.logStartOffset + i),
    );
    // What the node knows of the producer is what its records say: the next sequence is the only one taken.
    const entry = [...node.partition("t").log.producers()].find(({ producerId }) =>
      producerId === PRODUCER_ID
    );
    const last = values.map((value) => Number(value.slice(1))).at(-1);
    if (last !== undefined) expect(entry?.lastSequence).toBe(last);
    if (last !== undefined) {
      this.#sequence = last + 1;
      this.#sent = last + 1;
    }
  }

  /** Exactly one directory serves the partition, and nothing of it lies around but what is on its way. */
  checkNames(): void {
    const own = ["/a", "/b"].filter((path) => this.names(path).includes("t-0"));
    expect(own).toEqual([this.directory.slice(0, 2)]);
    expect(isRefusal(this.node.replicaManager.partition("t", 0))).toBe(false);
  }
}

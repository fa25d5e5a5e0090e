import { describe, expect, test } from "bun:test";
import { CompressionCodec } from "../../../protocol/compression.ts";
import { ErrorCode, errorName } from "../../../protocol/errors.ts";
import { buildBatch } from "../../../protocol/records.ts";
import { offset } from "../../../protocol/types.ts";
import type { AppendResult } from "../../../storage/log.ts";
import type { Partition } from "../../../broker/partitions/partition.ts";
import { SimRandom } from "../../sim/sim_random.ts";
import { DataHarness } from "./harness.ts";

const CODECS = Object.values(CompressionCodec);
const COMPRESSION_TYPES = ["producer", "producer", "zstd", "lz4", "uncompressed"];

function client(records: Uint8Array, requiredAcks = 1) {
  return { records, requiredAcks, requestVersion: 13 };
}

/** A batch that only a worker thread prepares: it grows beyond what the loop decompresses. */
function large(node: DataHarness, over: { producerId?: number; baseSequence?: number } = {}) {
  return buildBatch({
    records: [{ key: null, value: new Uint8Array(700_000), timestamp: node.clock.wallMs() }],
    compression: CompressionCodec.zstd,
    producerEpoch: over.producerId === undefined ? -1 : 0,
    ...over,
  });
}

function small(node: DataHarness): Uint8Array {
  return buildBatch({
    records: [{ key: null, value: new Uint8Array(10), timestamp: node.clock.wallMs() }],
  });
}

function wholeLog({ log }: Partition): Uint8Array {
  const pieces: Uint8Array[] = [];
  for (let at = log.logStartOffset; at < log.endOffset;) {
    const read = log.read(at, { maxBytes: 1e9, minOneMessage: true });
    if (!("records" in read)) throw new Error(read.message);
    pieces.push(read.records.slice());
    at = offset(read.nextOffset);
    read.release();
  }
  return Buffer.concat(pieces);
}

/** An idempotent producer that sends on without waiting, as with five requests in flight. */
class Producer {
  readonly #random: SimRandom;
  readonly #id: number;
  #sequence = 0;

  constructor(random: SimRandom, id: number) {
    this.#random = random;
    this.#id = id;
  }

  next(nowMs: number): Uint8Array {
    const random = this.#random;
    const compression = random.pick(CODECS);
    const valueBytes = random.pick([10, 10, 1000, 40_000, 600_000]);
    const records = Array.from({ length: random.between(1, 3) }, () => ({
      key: null,
      value: new Uint8Array(valueBytes).fill(random.below(256)),
      timestamp: nowMs - random.below(1000) + (random.chance(0.05) ? 1e10 : 0),
    }));
    const batch = buildBatch({
      records,
      compression,
      producerId: this.#id,
      producerEpoch: 0,
      baseSequence: this.#sequence,
    });
    const isBad = records.some(({ timestamp }) => timestamp > nowMs);
    if (!isBad) this.#sequence += records.length;
    return batch;
  }
}

describe("Partition.appendFromClient", () => {
  test("answers and writes as if every batch had been appended in the moment it came", async () => {
    let later = 0;
    for (let seed = 0; seed < 6; seed++) {
      const random = new SimRandom(seed);
      const node = await DataHarness.start({ seed });
      const configs = {
        "max.message.bytes": "10000000",
        "compression.type": random.pick(COMPRESSION_TYPES),
      };
      await node.makeTopic("a", { configs });
      await node.makeTopic("twin", { configs });
      const partition = node.partition("a");
      const twin = node.partition("twin");
      const producers = [1, 2, 3].map((id) => new Producer(random.fork(`producer ${id}`), id));
      const answers: Promise<AppendResult>[] = [];
      const expected: AppendResult[] = [];
      for (let step = 0; step < 40; step++) {
        const records = random.pick(producers).next(node.clock.wallMs());
        const requiredAcks = random.pick([0, 1, -1]);
        expected.push(twin.append(records.slice(), { origin: "client", requiredAcks }));
        const answer = partition.appendFromClient(client(records, requiredAcks));
        if (answer instanceof Promise) later++;
        answers.push(Promise.resolve(answer));
        if (random.chance(0.3)) await node.clock.advance(random.below(4));
      }
      const given = await node.run(Promise.all(answers));
      const named = (result: AppendResult) =>
        "baseOffset" in result
          ? [result.baseOffset, result.lastOffset]
          : [errorName(result.error), result.message.replaceAll("twin-0", "a-0")];
      expect(given.map(named)).toEqual(expected.map(named));
      expect(wholeLog(partition)).toEqual(wholeLog(twin));
      await node.stop();
      expect(node.process.pendingTimers).toBe(0);
    }
    expect(later).toBeGreaterThan(60);
  });

  test("does not let another partition wait", async () => {
    const node = await DataHarness.start();
    await node.makeTopic("a", { partitionCount: 2 });
    const waits = node.partition("a", 0).appendFromClient(client(large(node)));
    const behind = node.partition("a", 0).appendFromClient(client(small(node)));
    expect(waits).toBeInstanceOf(Promise);
    expect(behind).toBeInstanceOf(Promise);
    expect(node.partition("a", 1).appendFromClient(client(small(node)))).toMatchObject({
      error: ErrorCode.NONE,
    });
    expect(await node.run(Promise.all([waits, behind]))).toMatchObject([
      { baseOffset: 0 },
      { baseOffset: 1 },
    ]);
    expect(node.partition("a").appendFromClient(client(small(node)))).toMatchObject({
      baseOffset: 2,
    });
  });

  test("one turn of the loop decompresses no more than its share", async () => {
    const node = await DataHarness.start();
    await node.makeTopic("a", { partitionCount: 30 });
    const batch = buildBatch({
      records: [{ key: null, value: new Uint8Array(200_000), timestamp: node.clock.wallMs() }],
      compression: CompressionCodec.zstd,
    });
    const append = () =>
      Array.from(
        { length: 30 },
        (_, index) => node.partition("a", index).appendFromClient(client(batch.slice())),
      );
    const first = append();
    const atOnce = first.filter((answer) => !(answer instanceof Promise)).length;
    expect(atOnce).toBe(Math.ceil(1024 * 1024 / 200_000));
    await node.run(Promise.all(first));
    await node.clock.advance(1);
    expect(append().filter((answer) => !(answer instanceof Promise)).length).toBe(atOnce);
    await node.clock.advance(100);
    await node.stop();
  });

  const ENDS: readonly [string, keyof typeof ErrorCode, (node: DataHarness) => unknown][] = [
    [
      "its topic is deleted",
      "UNKNOWN_TOPIC_OR_PARTITION",
      (node) =>
        node.controller.deleteTopics([{ id: node.controller.image().topicByName("a")!.id }]),
    ],
    ["another node leads", "NOT_LEADER_OR_FOLLOWER", (node) => {
      const partition = node.partition("a");
      partition.updateImage({ ...partition.image, leader: 7, leaderEpoch: 9 as never });
    }],
    ["its disk fails", "KAFKA_STORAGE_ERROR", (node) => {
      node.disk.faults.write = (path) => path.includes("/a-0/") ? "EIO" : null;
      node.partition("a").append(small(node), { origin: "client", requiredAcks: -1 });
    }],
    ["the broker stops", "NOT_LEADER_OR_FOLLOWER", (node) => node.replicaManager.close()],
  ];
  test.each(ENDS)("is answered when %s while it waits: %s", async (_, error, end) => {
    const node = await DataHarness.start();
    await node.makeTopic("a");
    const partition = node.partition("a");
    const answers = [large(node), small(node), large(node), large(node), large(node), large(node)]
      .map((records) => Promise.resolve(partition.appendFromClient(client(records))));
    const endOffset = partition.log.endOffset;
    void end(node);
    const given = await node.run(Promise.all(answers));
    expect(given.map((one) => errorName(one.error))).toEqual(answers.map(() => error));
    expect(partition.log.endOffset).toBeLessThanOrEqual(endOffset + 1);
    await node.clock.advance(1000);
  });

  test("asks for the in-sync replicas again when its turn comes", async () => {
    const node = await DataHarness.start();
    await node.makeTopic("a");
    const partition = node.partition("a");
    const answer = Promise.resolve(partition.appendFromClient(client(large(node), -1)));
    partition.updateImage({ ...partition.image, isr: [] });
    expect(errorName((await node.run(answer)).error)).toBe("NOT_ENOUGH_REPLICAS");
  });
});

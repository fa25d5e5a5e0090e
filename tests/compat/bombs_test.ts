/**
 * Batches that grow when they are decompressed, damaged ones and liars, sent to a real broker: each gets its
 * error, others are served meanwhile, and the memory stays within its bounds.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { CompressionCodec, compressionName } from "../../protocol/compression.ts";
import { ErrorCode, errorName } from "../../protocol/errors.ts";
import { RECORD_BATCH_OVERHEAD, sealCrc } from "../../protocol/record_batch.ts";
import { buildBatch } from "../../protocol/records.ts";
import { createTopicsRequest, createTopicsResponse } from "../../protocol/schemas/create_topics.ts";
import { listOffsetsRequest, listOffsetsResponse } from "../../protocol/schemas/list_offsets.ts";
import { produceRequest, produceResponse } from "../../protocol/schemas/produce.ts";
import { SimRandom } from "../sim/sim_random.ts";
import { newTopic } from "./differential_steps.ts";
import { eventually, type RunningBroker, startWeir } from "./harness.ts";
import { Wire } from "./wire.ts";

const TOPIC = "bombs";
const COMPRESSED = Object.values(CompressionCodec).filter((codec) => codec !== 0);
const MIB = 1024 * 1024;
/** The broker itself, and for each of two threads a batch of 64 MiB with the pieces that it is put together from. */
const MAX_RESIDENT_BYTES = (120 + 2 * 3 * 64) * MIB;
/** Far beyond what a free machine needs, and far below the time that the bombs take. */
const PATIENCE_MS = 1500;

function bomb(codec: CompressionCodec, plainBytes: number): Uint8Array {
  const record = { key: null, value: new Uint8Array(plainBytes), timestamp: Date.now() };
  return buildBatch({ records: [record], compression: codec });
}

function mutated(batch: Uint8Array, random: SimRandom): Uint8Array {
  const isCut = random.chance(0.4);
  const bytes = isCut
    ? batch.slice(0, random.between(RECORD_BATCH_OVERHEAD + 1, batch.length - 1))
    : batch.slice();
  if (isCut) new DataView(bytes.buffer).setInt32(8, bytes.length - 12);
  else {
    // The sizes that a codec announces stand at the front.
    const at = RECORD_BATCH_OVERHEAD +
      random.below(Math.min(24, bytes.length - RECORD_BATCH_OVERHEAD));
    bytes[at] = random.pick([0, 0xff, bytes[at]! ^ (1 << random.below(8))]);
  }
  sealCrc(bytes, 0);
  return bytes;
}

describe("hostile batches", () => {
  let weir: RunningBroker;
  let wire: Wire;

  beforeAll(async () => {
    weir = await startWeir();
    wire = await Wire.connect(weir.bootstrap);
    await wire.send(createTopicsRequest, createTopicsResponse, 7, {
      topics: [newTopic(TOPIC, {
        numPartitions: 4,
        configs: [{ name: "max.message.bytes", value: "20000000" }],
      })],
      timeoutMs: 10_000,
      validateOnly: false,
    });
    await eventually(
      "the topic can be used",
      async () => await produce(bomb(CompressionCodec.none, 1), 3) === "NONE" ? true : undefined,
    );
  }, 30_000);

  afterAll(async () => {
    wire?.close();
    await weir?.stop();
  });

  async function produce(records: Uint8Array, index: number): Promise<string> {
    const { responses } = await wire.send(produceRequest, produceResponse, 9, {
      transactionalId: null,
      acks: 1,
      timeoutMs: 10_000,
      topicData: [{ name: TOPIC, partitionData: [{ index, records }] }],
    });
    return errorName(responses[0]!.partitionResponses[0]!.errorCode as ErrorCode);
  }

  /** Asks for something small again and again while `work` is done. Returns: the longest wait for an answer. */
  async function longestWait(work: () => Promise<void>): Promise<number> {
    const other = await Wire.connect(weir.bootstrap);
    let isDone = false;
    let longestMs = 0;
    const done = work().finally(() => isDone = true);
    while (!isDone) {
      const startMs = performance.now();
      await other.send(listOffsetsRequest, listOffsetsResponse, 7, {
        replicaId: -1,
        isolationLevel: 0,
        topics: [],
      });
      longestMs = Math.max(longestMs, performance.now() - startMs);
      await Bun.sleep(1);
    }
    other.close();
    await done;
    return longestMs;
  }

  test.each(COMPRESSED)(
    "bombs of codec %d get their answer, and nobody waits for them",
    async (codec) => {
      const fits = bomb(codec, 60 * MIB);
      const tooLarge = bomb(codec, 100 * MIB);
      const waitedMs = await longestWait(async () => {
        const answers = await Promise.all(
          [fits, tooLarge, fits, tooLarge].map((batch, index) => produce(batch, index)),
        );
        expect(answers).toEqual(["NONE", "MESSAGE_TOO_LARGE", "NONE", "MESSAGE_TOO_LARGE"]);
      });
      expect(waitedMs).toBeLessThan(PATIENCE_MS);
      if (process.platform !== "linux") return;
      const status = readFileSync(`/proc/${weir.pid}/status`, "latin1");
      const peakBytes = Number(/VmHWM:\s*(\d+) kB/.exec(status)![1]) * 1024;
      expect(peakBytes).toBeLessThan(MAX_RESIDENT_BYTES);
    },
    60_000,
  );

  test.each(COMPRESSED)("cut streams and lying sizes of codec %d are refused", async (codec) => {
    const random = new SimRandom(codec);
    const batch = bomb(codec, 20_000);
    const errors = new Set<string>();
    for (let round = 0; round < 100; round++) {
      errors.add(await produce(mutated(batch, random), round % 4));
    }
    errors.delete("NONE");
    errors.delete("MESSAGE_TOO_LARGE");
    expect([compressionName(codec), ...errors]).toEqual([compressionName(codec), "INVALID_RECORD"]);
  }, 60_000);
});

/**
 * How long the codecs take on the messages of the data path, against the slow twin.
 *
 *     bun tests/bench/codec_bench.ts          the table, microseconds a message
 *
 * `codec_bench_test.ts` runs it with a handful of rounds, so that it cannot rot.
 */

import { Reader, Writer } from "../../protocol/bytes.ts";
import { codec } from "../../protocol/compile.ts";
import type { Encodable, Message } from "../../protocol/schema.ts";
import { fetchRequest, fetchResponse } from "../../protocol/schemas/fetch.ts";
import { metadataResponse } from "../../protocol/schemas/metadata.ts";
import { produceRequest, produceResponse } from "../../protocol/schemas/produce.ts";
import type { Uuid } from "../../protocol/types.ts";
import { Interpreter } from "../protocol/interpreter.ts";

/** One row: microseconds for a message. */
export interface CodecTimes {
  readonly name: string;
  readonly bytes: number;
  readonly decodeUs: number;
  readonly encodeUs: number;
  readonly twinDecodeUs: number;
  readonly twinEncodeUs: number;
}

interface Sample {
  readonly name: string;
  readonly message: Message;
  readonly version: number;
  readonly value: Record<string, unknown>;
}

function sample<M extends Message>(
  name: string,
  message: M,
  version: number,
  value: Encodable<M>,
): Sample {
  return { name, message, version, value };
}

function times<T>(count: number, make: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => make(index));
}

function topicId(index: number): Uuid {
  const bytes = new Uint8Array(16).fill(index + 1);
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true }) as Uuid;
}

const batch = new Uint8Array(1100).fill(7);

const samples: readonly Sample[] = [
  sample("Fetch request v12, 2 KB, by name", fetchRequest, 12, {
    maxWaitMs: 500,
    minBytes: 1,
    topics: times(10, (t) => ({
      topic: `orders-${t}`,
      partitions: times(6, (partition) => ({
        partition,
        currentLeaderEpoch: 5,
        fetchOffset: 123_456_789_012,
        partitionMaxBytes: 1_048_576,
      })),
    })),
  }),
  sample("Fetch request v17, 2 KB, by id", fetchRequest, 17, {
    maxWaitMs: 500,
    minBytes: 1,
    topics: times(9, (t) => ({
      topicId: topicId(t),
      partitions: times(6, (partition) => ({
        partition,
        currentLeaderEpoch: 5,
        fetchOffset: 123_456_789_012,
        partitionMaxBytes: 1_048_576,
      })),
    })),
  }),
  sample("Fetch response v12, 10 partitions of 1 KiB", fetchResponse, 12, {
    responses: [{
      topic: "orders",
      partitions: times(10, (partitionIndex) => ({
        partitionIndex,
        errorCode: 0,
        highWatermark: 123_456,
        lastStableOffset: 123_456,
        logStartOffset: 0,
        abortedTransactions: null,
        records: batch,
      })),
    }],
  }),
  sample("Produce request v9, 1 partition of 1 KiB", produceRequest, 9, {
    acks: -1,
    timeoutMs: 30_000,
    topicData: [{ name: "orders", partitionData: [{ index: 3, records: batch }] }],
  }),
  sample("Produce response v9, 1 partition", produceResponse, 9, {
    responses: [{
      name: "orders",
      partitionResponses: [{ index: 3, errorCode: 0, baseOffset: 123_456, logStartOffset: 0 }],
    }],
  }),
  sample("Metadata response v12, 10 topics of 10 partitions", metadataResponse, 12, {
    brokers: times(3, (nodeId) => ({ nodeId, host: "broker.example.com", port: 9092, rack: null })),
    clusterId: "cluster",
    controllerId: 1,
    topics: times(10, (t) => ({
      errorCode: 0,
      name: `orders-${t}`,
      topicId: topicId(t),
      partitions: times(10, (partitionIndex) => ({
        errorCode: 0,
        partitionIndex,
        leaderId: 1,
        leaderEpoch: 5,
        replicaNodes: [1, 2, 3],
        isrNodes: [1, 2, 3],
        offlineReplicas: [],
      })),
    })),
  }),
];

/** Time of one run: the best of ten slices, since others use the machine too. */
function microseconds(rounds: number, run: () => void): number {
  const slice = Math.ceil(rounds / 10);
  let best = Infinity;
  for (let i = 0; i < 10; i++) {
    const startedMs = performance.now();
    for (let j = 0; j < slice; j++) run();
    best = Math.min(best, ((performance.now() - startedMs) * 1000) / slice);
  }
  return Number(best.toFixed(3));
}

/** Times every sample. `rounds` messages each way through the codec, a tenth of it through the twin. */
export function codecBench({ rounds }: { readonly rounds: number }): CodecTimes[] {
  return samples.map(({ name, message, version, value }) => {
    const compiled = codec<Message>(message, version);
    const twin = new Interpreter(message, version);
    const bytes = twin.encode(value);
    const twinRounds = Math.ceil(rounds / 10);
    return {
      name,
      bytes: bytes.length,
      decodeUs: microseconds(rounds, () => compiled.decode(new Reader(bytes))),
      encodeUs: microseconds(rounds, () => compiled.encode(new Writer(), value)),
      twinDecodeUs: microseconds(twinRounds, () => twin.decode(bytes)),
      twinEncodeUs: microseconds(twinRounds, () => twin.encode(value)),
    };
  });
}

if (import.meta.main) console.table(codecBench({ rounds: 50_000 }));

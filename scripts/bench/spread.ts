/**
 * Writes to all partitions of a topic in turns, over a few connections, however many partitions there are: each request
 * holds batches for some of them, as those of a producer do that has records for all.
 */

import { benchBatch } from "../../broker/cli/bench_frames.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { listOffsetsRequest, listOffsetsResponse } from "../../protocol/schemas/list_offsets.ts";
import { produceRequest, produceResponse } from "../../protocol/schemas/produce.ts";
import { Wire } from "../../tests/compat/wire.ts";
import type { Sample } from "./figures.ts";

const CONNECTIONS = 8;
const PARTITIONS_PER_REQUEST = 16;
const RECORDS_PER_REQUEST = 160;
const RECORD_BYTES = 1024;
const REQUEST_BYTES = RECORDS_PER_REQUEST * RECORD_BYTES;
const PRODUCE_VERSION = 9;
const LIST_OFFSETS_VERSION = 7;
const LATEST = -1;
const PARTITIONS_PER_LOOK = 50;

/** What is written. */
export interface SpreadLoad {
  readonly bootstrap: string;
  readonly topic: string;
  readonly partitionCount: number;
  readonly megabytes: number;
}

/**
 * Writes that much, and at least once to each partition. A request holds 160 records of 1 KiB, in a batch a partition for
 * up to 16 partitions; each connection has one in flight. Errors: rejects with the first code that is none.
 */
export async function writeSpread(load: SpreadLoad): Promise<Sample> {
  const { topic, partitionCount } = load;
  const width = Math.min(partitionCount, PARTITIONS_PER_REQUEST);
  const recordCount = Math.floor(RECORDS_PER_REQUEST / width);
  const batch = benchBatch({ recordCount, recordBytes: RECORD_BYTES }, Date.now());
  const requestBytes = recordCount * width * RECORD_BYTES;
  const requestCount = Math.max(
    Math.ceil(load.megabytes * 1e6 / REQUEST_BYTES),
    Math.ceil(partitionCount / width),
  );
  const wires = await Promise.all(
    Array.from({ length: CONNECTIONS }, () => Wire.connect(load.bootstrap)),
  );
  let begun = 0;
  const lane = async (wire: Wire) => {
    while (begun < requestCount) {
      const first = width * begun++;
      const indexes = Array.from({ length: width }, (_, at) => (first + at) % partitionCount);
      const { responses } = await wire.send(produceRequest, produceResponse, PRODUCE_VERSION, {
        transactionalId: null,
        acks: 1,
        timeoutMs: 30_000,
        topicData: [{
          name: topic,
          partitionData: indexes.map((index) => ({ index, records: batch })),
        }],
      });
      const failed = responses[0]!.partitionResponses.find(({ errorCode }) => errorCode !== 0);
      if (failed === undefined) continue;
      throw new Error(`Cannot write to ${topic}-${failed.index}: error ${failed.errorCode}`);
    }
  };
  try {
    const startedMs = performance.now();
    await Promise.all(wires.map(lane));
    const seconds = (performance.now() - startedMs) / 1000;
    const megabytes = requestCount * requestBytes / 1e6;
    return { megabytes, megabytesPerSecond: megabytes / seconds };
  } finally {
    for (const wire of wires) wire.close();
  }
}

/**
 * Finds out when all partitions of a topic are served: whoever asks is told where each ends. A look asks for a few of
 * those that were not served yet, so that looking costs the broker little.
 */
export class ServeWatch {
  readonly #bootstrap: string;
  readonly #topic: string;
  /** The first one is the first that is not known to be served. */
  #missing: number[];

  constructor({ bootstrap, topic, partitionCount }: Omit<SpreadLoad, "megabytes">) {
    this.#bootstrap = bootstrap;
    this.#topic = topic;
    this.#missing = Array.from({ length: partitionCount }, (_, index) => index);
  }

  /** Looks now. Returns: whether all are served. */
  async look(): Promise<boolean> {
    const wire = await Wire.connect(this.#bootstrap).catch(() => null);
    if (wire === null) return false;
    try {
      while (this.#missing.length > 0) {
        const asked = this.#missing.slice(0, PARTITIONS_PER_LOOK);
        const served = await this.#served(wire, asked);
        this.#missing = this.#missing.filter((index) => !served.has(index));
        if (served.size < asked.length) return false;
      }
      return true;
    } catch {
      // It hung up, or says nothing yet.
      return false;
    } finally {
      wire.close();
    }
  }

  async #served(wire: Wire, asked: readonly number[]): Promise<Set<number>> {
    const partitions = asked.map((partitionIndex) => {
      return { partitionIndex, currentLeaderEpoch: -1, timestamp: LATEST };
    });
    const { topics } = await wire.send(
      listOffsetsRequest,
      listOffsetsResponse,
      LIST_OFFSETS_VERSION,
      {
        replicaId: -1,
        isolationLevel: 0,
        timeoutMs: 30_000,
        topics: [{ name: this.#topic, partitions }],
      },
    );
    const answered = topics[0]?.partitions ?? [];
    const served = answered.filter(({ errorCode }) => errorCode === ErrorCode.NONE);
    return new Set(served.map(({ partitionIndex }) => partitionIndex));
  }
}

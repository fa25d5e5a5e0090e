/**
 * The first record of each partition of a topic, `acks=all`, and when a cluster that starts has come how far.
 *
 *     word of one node, again every RETRY_MS ──→ partitions that are left, by leader
 *                                                   └──→ requests, one behind the other on a connection a leader
 *                                                              └──→ taken, or refused: left for the next round
 *
 * It is as patient as Kafka's producer (`retry.backoff.ms`), asks one node for metadata and has several requests in
 * flight: whoever asks more often takes the processors of a machine from the nodes that start on it.
 */

import { ErrorCode } from "../../protocol/errors.ts";
import { buildBatch } from "../../protocol/records.ts";
import { metadataRequest, metadataResponse } from "../../protocol/schemas/metadata.ts";
import { produceRequest, produceResponse } from "../../protocol/schemas/produce.ts";
import type { ClusterWord } from "../compat/availability_probe.ts";
import { Wire } from "../compat/wire.ts";

const METADATA_VERSION = 12;
const PRODUCE_VERSION = 9;
/** Kafka's default of `retry.backoff.ms`. */
const RETRY_MS = 100;
/** Partitions in one request. */
const PARTITIONS_A_REQUEST = 500;
const PRODUCE_TIMEOUT_MS = 5_000;

/** How far it has come. Units: ms since the call. */
export interface FirstRecordTimes {
  /** A node says that each partition is led. */
  readonly ledMs: number;
  /** The first partition, half of them, and all have taken their record. */
  readonly firstTakenMs: number;
  readonly halfTakenMs: number;
  readonly takenMs: number;
}

/** Which partitions, and how long to try. */
export interface FirstRecordOptions {
  readonly addresses: readonly string[];
  readonly topic: string;
  readonly partitions: number;
  readonly patienceMs: number;
}

/** Sends the records. Errors: throws when partitions take none in time. */
export async function sendFirstRecords(options: FirstRecordOptions): Promise<FirstRecordTimes> {
  return await new FirstRecords(options).send();
}

class FirstRecords {
  readonly #options: FirstRecordOptions;
  readonly #startMs = performance.now();
  readonly #left: Set<number>;
  /** Those of `#left` that are on their way. */
  readonly #inFlight = new Set<number>();
  readonly #wires = new Map<string, Promise<Wire>>();
  readonly #taken = Promise.withResolvers<void>();
  readonly #times = { ledMs: NaN, firstTakenMs: NaN, halfTakenMs: NaN };
  #silentCount = 0;

  constructor(options: FirstRecordOptions) {
    this.#options = options;
    this.#left = new Set(Array.from({ length: options.partitions }, (_, partition) => partition));
  }

  get #nowMs(): number {
    return performance.now() - this.#startMs;
  }

  async send(): Promise<FirstRecordTimes> {
    const { patienceMs } = this.#options;
    try {
      for (;;) {
        const word = await this.#ask();
        if (word !== null) {
          this.#noteWord(word);
          this.#sendLeft(word);
        }
        // What a leader holds is not waited for: others may be led by now.
        await Promise.race([this.#taken.promise, Bun.sleep(RETRY_MS)]);
        if (this.#left.size === 0) return { ...this.#times, takenMs: this.#nowMs };
        if (this.#nowMs > patienceMs) throw new Error(`${this.#left.size} partitions take nothing`);
      }
    } finally {
      for (const wire of this.#wires.values()) wire.then((one) => one.close(), () => {});
    }
  }

  /** What one node says; null where it does not answer: the next round asks the next one. */
  async #ask(): Promise<ClusterWord | null> {
    const { addresses, topic } = this.#options;
    const address = addresses[this.#silentCount % addresses.length]!;
    const body = { topics: [{ name: topic }], allowAutoTopicCreation: false };
    try {
      const wire = await this.#wire(address);
      return await wire.send(metadataRequest, metadataResponse, METADATA_VERSION, body);
    } catch {
      this.#lose(address);
      this.#silentCount++;
      return null;
    }
  }

  #wire(address: string): Promise<Wire> {
    let wire = this.#wires.get(address);
    if (wire === undefined) this.#wires.set(address, wire = Wire.connect(address));
    return wire;
  }

  #lose(address: string): void {
    this.#wires.get(address)?.then((wire) => wire.close(), () => {});
    this.#wires.delete(address);
  }

  #noteWord({ topics: [topic] }: ClusterWord): void {
    const { length } = topic?.partitions.filter(({ leaderId }) => leaderId >= 0) ?? [];
    const { ledMs } = this.#times;
    if (Number.isNaN(ledMs) && length === this.#options.partitions) this.#times.ledMs = this.#nowMs;
  }

  #sendLeft({ brokers, topics: [topic] }: ClusterWord): void {
    const byLeader = new Map<number, number[]>();
    for (const { partitionIndex, leaderId } of topic?.partitions ?? []) {
      if (!this.#left.has(partitionIndex) || this.#inFlight.has(partitionIndex)) continue;
      const known = byLeader.get(leaderId);
      if (known === undefined) byLeader.set(leaderId, [partitionIndex]);
      else known.push(partitionIndex);
    }
    for (const { nodeId, host, port } of brokers) {
      const led = byLeader.get(nodeId) ?? [];
      for (let from = 0; from < led.length; from += PARTITIONS_A_REQUEST) {
        void this.#produce(`${host}:${port}`, led.slice(from, from + PARTITIONS_A_REQUEST));
      }
    }
  }

  async #produce(address: string, partitions: readonly number[]): Promise<void> {
    const timestamp = Date.now();
    const partitionData = partitions.map((index) => ({
      index,
      records: buildBatch({ records: [{ key: null, value: new Uint8Array(8), timestamp }] }),
    }));
    for (const partition of partitions) this.#inFlight.add(partition);
    try {
      const wire = await this.#wire(address);
      const { responses } = await wire.send(produceRequest, produceResponse, PRODUCE_VERSION, {
        transactionalId: null,
        acks: -1,
        timeoutMs: PRODUCE_TIMEOUT_MS,
        topicData: [{ name: this.#options.topic, partitionData }],
      });
      for (const { index, errorCode } of responses[0]!.partitionResponses) {
        if (errorCode === ErrorCode.NONE) this.#left.delete(index);
      }
    } catch {
      // It went away: what is left is sent again.
      this.#lose(address);
    }
    for (const partition of partitions) this.#inFlight.delete(partition);
    this.#noteTaken();
  }

  #noteTaken(): void {
    const { partitions } = this.#options;
    const times = this.#times;
    if (this.#left.size < partitions && Number.isNaN(times.firstTakenMs)) {
      times.firstTakenMs = this.#nowMs;
    }
    if (this.#left.size <= partitions / 2 && Number.isNaN(times.halfTakenMs)) {
      times.halfTakenMs = this.#nowMs;
    }
    if (this.#left.size === 0) this.#taken.resolve();
  }
}

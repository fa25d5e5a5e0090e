/**
 * How long partitions of a cluster take no record: seen by a client that has nothing of a client's patience.
 *
 *     leader known? ── produce, acks=all ──→ acknowledged: again after a rest
 *          ↑                    ├── silence for ANSWER_MS: does it lead still? then wait on
 *          │                    └── error, connection lost, another leader ──┐
 *          └── the newest word of all nodes that answer ←────────────────────┘
 *
 * What a real client waits longer is its own: its timeouts, backoffs, and the age of what it knows.
 */

import { ErrorCode } from "../../protocol/errors.ts";
import { buildBatch } from "../../protocol/records.ts";
import { metadataRequest, metadataResponse } from "../../protocol/schemas/metadata.ts";
import { produceRequest, produceResponse } from "../../protocol/schemas/produce.ts";
import type { Decoded } from "../../protocol/schema.ts";
import { Wire } from "./wire.ts";

const METADATA_VERSION = 12;
const PRODUCE_VERSION = 9;
/** Silence after which the leader is looked for anew. */
const ANSWER_MS = 400;
const REST_MS = 20;
/** Gaps between acknowledgements from which on they are noted. */
const SILENCE_MS = 200;

/** What a node says of the cluster. */
export type ClusterWord = Decoded<typeof metadataResponse>;

/** Time in which a partition acknowledged nothing. Units: ms since 1970, ms. */
export interface Silence {
  readonly partition: number;
  readonly startMs: number;
  readonly lengthMs: number;
}

/** A leader and where it listens. */
interface Leader {
  readonly address: string;
  readonly epoch: number;
}

/** Rejects when the answer takes too long. */
export async function within<T>(answer: Promise<T>, timeoutMs: number): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`no answer in ${timeoutMs} ms`)), timeoutMs);
  try {
    return await Promise.race([answer, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** What a node says of topics, of all of them when none is named. Errors: rejects when it says nothing in time. */
export async function clusterWord(
  address: string,
  topics: readonly string[] | null = null,
  timeoutMs = ANSWER_MS,
): Promise<ClusterWord> {
  const wire = await within(Wire.connect(address), timeoutMs);
  try {
    const named = topics === null ? null : topics.map((name) => ({ name }));
    const body = { topics: named, allowAutoTopicCreation: false };
    return await within(
      wire.send(metadataRequest, metadataResponse, METADATA_VERSION, body),
      timeoutMs,
    );
  } finally {
    wire.close();
  }
}

/** True when every partition that it tells of has a leader, and all of its replicas in sync. */
export function isInSync({ topics }: ClusterWord): boolean {
  return topics.every(({ errorCode, partitions }) =>
    errorCode === ErrorCode.NONE &&
    partitions.every(({ leaderId, isrNodes, replicaNodes }) => (
      leaderId >= 0 && isrNodes.length === replicaNodes.length
    ))
  );
}

/** Sends records to each partition of a topic, one after the other, and notes when none is taken. */
export class AvailabilityProbe {
  readonly #addresses: readonly string[];
  readonly #topic: string;
  readonly #partitions: readonly number[];
  readonly #ended: Promise<unknown>;
  readonly #silences: Silence[] = [];
  readonly #heardMs = new Map<number, number>();
  #isEnding = false;

  constructor({ addresses, topic, partitions }: {
    readonly addresses: readonly string[];
    readonly topic: string;
    readonly partitions: readonly number[];
  }) {
    this.#addresses = addresses;
    this.#topic = topic;
    this.#partitions = partitions;
    this.#ended = Promise.all(partitions.map((partition) => this.#follow(partition)));
  }

  /** When a partition last took a record. Units: ms since 1970; 0 for never. */
  heardMs(partition: number): number {
    return this.#heardMs.get(partition) ?? 0;
  }

  /** Silences that have ended, of all partitions. */
  get silences(): readonly Silence[] {
    return this.#silences;
  }

  /** Returns: when nothing is under way. */
  async stop(): Promise<void> {
    this.#isEnding = true;
    await this.#ended;
    const nowMs = Date.now();
    for (const partition of this.#partitions) this.#note(partition, nowMs);
  }

  async #follow(partition: number): Promise<void> {
    const wires = new Map<string, Wire>();
    let leader: Leader | null = null;
    while (!this.#isEnding) {
      leader ??= await this.#leaderOf(partition);
      if (leader !== null && await this.#produce(wires, leader, partition)) {
        this.#note(partition, Date.now());
      } else leader = null;
      await Bun.sleep(REST_MS);
    }
    for (const wire of wires.values()) wire.close();
  }

  async #produce(wires: Map<string, Wire>, leader: Leader, partition: number): Promise<boolean> {
    const { address } = leader;
    const record = { key: null, value: new Uint8Array(8), timestamp: Date.now() };
    const records = buildBatch({ records: [record] });
    try {
      const wire = wires.get(address) ?? await within(Wire.connect(address), ANSWER_MS);
      wires.set(address, wire);
      const sent = wire.send(produceRequest, produceResponse, PRODUCE_VERSION, {
        transactionalId: null,
        acks: -1,
        timeoutMs: 30_000,
        topicData: [{ name: this.#topic, partitionData: [{ index: partition, records }] }],
      });
      sent.catch(() => undefined);
      for (;;) {
        const answer = await Promise.race([sent, Bun.sleep(ANSWER_MS)]);
        if (answer !== undefined) {
          return answer.responses[0]!.partitionResponses[0]!.errorCode === ErrorCode.NONE;
        }
        const now = await this.#leaderOf(partition);
        if (now !== null && now.epoch !== leader.epoch) throw new Error("another leads");
      }
    } catch {
      wires.get(address)?.close();
      wires.delete(address);
      return false;
    }
  }

  /** Null while nobody who answers knows of one. */
  async #leaderOf(partition: number): Promise<Leader | null> {
    const words = await Promise.all(
      this.#addresses.map((address) => clusterWord(address, [this.#topic]).catch(() => null)),
    );
    let newest: Leader | null = null;
    for (const word of words) {
      const found = word?.topics[0]?.partitions.find(({ partitionIndex }) => (
        partitionIndex === partition
      ));
      const broker = word?.brokers.find(({ nodeId }) => nodeId === found?.leaderId);
      if (found === undefined || broker === undefined) continue;
      if (newest !== null && newest.epoch >= found.leaderEpoch) continue;
      newest = { address: `${broker.host}:${broker.port}`, epoch: found.leaderEpoch };
    }
    return newest;
  }

  #note(partition: number, nowMs: number): void {
    const startMs = this.#heardMs.get(partition) ?? nowMs;
    this.#heardMs.set(partition, nowMs);
    const lengthMs = nowMs - startMs;
    if (lengthMs >= SILENCE_MS) this.#silences.push({ partition, startMs, lengthMs });
  }
}

/**
 * Reads partitions: which offsets come next, fetched from the leaders, one request ahead of the reader.
 *
 * Invariants: a partition's position only grows, past every batch that was taken out, also past those that hold no record
 * (compacted, control). At most one answer a leader is held. Control records are never given out, and with
 * `readCommitted` neither are records of aborted transactions.
 */

import { ErrorCode } from "../../protocol/errors.ts";
import type { KafkaRecord } from "../../protocol/records.ts";
import type { FetchResponse } from "../../protocol/schemas/fetch.ts";
import { formatTopicPartition } from "../../protocol/types.ts";
import { Calls } from "./calls.ts";
import { ClientError } from "./client_error.ts";
import { readFetched } from "./fetched_records.ts";
import {
  isPassing,
  type KafkaClient,
  KafkaError,
  type PartitionLeader,
  throwOnError,
} from "./kafka_client.ts";
import { listOffsets, SpecialTimestamp } from "./offsets.ts";

const FETCH_BYTES = 16 * 1024 * 1024;
const PARTITION_BYTES = 4 * 1024 * 1024;
const MAX_WAIT_MS = 500;

type FetchedPartition = FetchResponse["responses"][number]["partitions"][number];

/** A partition that is being read. */
interface Assigned {
  readonly topic: string;
  readonly partition: number;
  /** Offset of the next record to give out. */
  position: number;
  /** Taken out of rotation once its reader has all it wants. */
  done: boolean;
}

/** Records of one partition, in order. */
export interface Polled {
  readonly topic: string;
  readonly partition: number;
  readonly records: readonly KafkaRecord[];
  /** Offset after all of them. */
  readonly nextOffset: number;
}

/** How a consumer reads. */
export interface ConsumerOptions {
  readonly readCommitted: boolean;
  /** Told when a position was lost to retention and moved to the first record that is left. */
  readonly onReset: (topic: string, partition: number, from: number, to: number) => void;
  /** Most bytes of one answer, but for a batch that is larger. */
  readonly answerBytes?: number;
  /** Most bytes of a partition in it. */
  readonly partitionBytes?: number;
  /** How long a poll waits where there is nothing. */
  readonly maxWaitMs?: number;
  /** False: nothing is fetched but what a poll gives out. */
  readonly readsAhead?: boolean;
}

/** Reads partitions that it is told of. */
export class Consumer {
  readonly #client: KafkaClient;
  readonly #options: ConsumerOptions;
  #assigned: Assigned[] = [];
  /** Requests in flight or answered, one a leader. */
  readonly #fetches = new Map<number, Promise<FetchResponse>>();

  constructor(client: KafkaClient, options: ConsumerOptions) {
    this.#client = client;
    this.#options = options;
  }

  /** Replaces what is read. `position` is the first offset wanted. */
  assign(
    partitions: readonly {
      readonly topic: string;
      readonly partition: number;
      readonly position: number;
    }[],
  ): void {
    this.#assigned = partitions.map((it) => ({ ...it, done: false }));
    // Answers to the old assignment are recognised by their positions and dropped.
    this.#fetches.clear();
  }

  /** Offset of the next record of a partition; −1 for one that is not assigned. */
  position(topic: string, partition: number): number {
    return this.#find(topic, partition)?.position ?? -1;
  }

  /** Stops reading one partition. */
  finish(topic: string, partition: number): void {
    const assigned = this.#find(topic, partition);
    if (assigned !== undefined) assigned.done = true;
  }

  #find(topic: string, partition: number): Assigned | undefined {
    return this.#assigned.find((it) => it.topic === topic && it.partition === partition);
  }

  /**
   * Waits for records, at most half a second where there are none and nothing else was said.
   * Errors: rejects with KafkaError, NetworkError or WireError that did not pass in time, and with ClientError
   * where records are damaged.
   */
  async poll(): Promise<Polled[]> {
    return await this.#client.retry(async () => {
      try {
        return await this.#pollOnce();
      } catch (error) {
        if (isPassing(error)) this.#fetches.clear();
        throw error;
      }
    });
  }

  async #pollOnce(): Promise<Polled[]> {
    const waiting = this.#assigned.filter(({ done }) => !done);
    if (waiting.length === 0) return [];
    const leaders = await this.#leadersOf(waiting);
    for (const [leaderId, partitions] of leaders) {
      if (!this.#fetches.has(leaderId)) {
        this.#fetches.set(leaderId, this.#fetch(leaderId, partitions));
      }
    }
    const answered = [...this.#fetches].map(async ([leaderId, answer]) => {
      return { leaderId, answer: await answer };
    });
    const { leaderId, answer } = await Promise.race(answered);
    const polled: Polled[] = [];
    this.#fetches.delete(leaderId);
    // Before any position moves, since records that were taken out must be given out.
    throwOnPartitionError(answer);
    for (const { topic, partitions } of answer.responses) {
      for (const fetched of partitions) {
        const taken = await this.#take(topic, fetched);
        if (taken !== null) polled.push(taken);
      }
    }
    // Ask for what comes next while the caller works on this.
    const next = (leaders.get(leaderId) ?? []).filter(({ done }) => !done);
    if (next.length > 0 && this.#options.readsAhead !== false) {
      this.#fetches.set(leaderId, this.#fetch(leaderId, next));
    }
    return polled;
  }

  #leaders: { readonly topics: string; readonly byPartition: Map<string, PartitionLeader> } | null =
    null;

  async #leadersOf(waiting: readonly Assigned[]): Promise<Map<number, Assigned[]>> {
    const topics = [...new Set(waiting.map(({ topic }) => topic))].sort();
    if (this.#fetches.size === 0 || this.#leaders?.topics !== topics.join()) {
      const byPartition = new Map<string, PartitionLeader>();
      for (const topic of topics) {
        for (const leader of await this.#client.leaders(topic)) {
          byPartition.set(formatTopicPartition(topic, leader.partition), leader);
        }
      }
      this.#leaders = { topics: topics.join(), byPartition };
    }
    return Map.groupBy(waiting, (assigned) => this.#leaderOf(assigned)?.leaderId ?? -1);
  }

  #leaderOf({ topic, partition }: Assigned): PartitionLeader | undefined {
    return this.#leaders?.byPartition.get(formatTopicPartition(topic, partition));
  }

  #fetch(leaderId: number, partitions: readonly Assigned[]): Promise<FetchResponse> {
    const byTopic = Map.groupBy(partitions, ({ topic }) => topic);
    const answer = this.#client.broker(leaderId).then((connection) =>
      connection.request(Calls.fetch, {
        replicaId: -1,
        maxWaitMs: this.#options.maxWaitMs ?? MAX_WAIT_MS,
        minBytes: 1,
        maxBytes: this.#options.answerBytes ?? FETCH_BYTES,
        isolationLevel: this.#options.readCommitted ? 1 : 0,
        topics: [...byTopic].map(([topic, assigned]) => ({
          topic,
          partitions: assigned.map((one) => ({
            partition: one.partition,
            // Who leads in an older epoch, or does not know yet that it leads, says so and no more.
            currentLeaderEpoch: this.#leaderOf(one)?.leaderEpoch ?? -1,
            fetchOffset: one.position,
            partitionMaxBytes: this.#options.partitionBytes ?? PARTITION_BYTES,
          })),
        })),
        forgottenTopicsData: [],
      })
    );
    // Whoever polls next is told; nobody may poll again.
    answer.catch(() => undefined);
    return answer;
  }

  async #take(topic: string, fetched: FetchedPartition): Promise<Polled | null> {
    const partition = fetched.partitionIndex;
    const assigned = this.#find(topic, partition);
    if (assigned === undefined || assigned.done) return null;
    if (fetched.errorCode === ErrorCode.OFFSET_OUT_OF_RANGE) {
      await this.#reset(assigned);
      return null;
    }
    if (fetched.errorCode === ErrorCode.CORRUPT_MESSAGE) {
      throw damaged(assigned, "the broker does not serve it");
    }
    const bytes = fetched.records;
    if (bytes === null) return null;
    const { records, nextOffset, isDamaged } = readFetched(bytes, {
      position: assigned.position,
      abortedTransactions: this.#options.readCommitted ? fetched.abortedTransactions ?? [] : null,
    });
    // What came before it is given out first.
    if (isDamaged && records.length === 0) {
      throw damaged(assigned, "the checksum of the batch does not fit");
    }
    assigned.position = nextOffset;
    return { topic, partition, records, nextOffset: assigned.position };
  }

  /** Retention overtook a slow reader: go on with what is left. Errors: KafkaError for an offset past the end. */
  async #reset(assigned: Assigned): Promise<void> {
    const { topic, partition, position } = assigned;
    const starts = await listOffsets(this.#client, topic, [partition], SpecialTimestamp.earliest);
    const start = starts.get(partition)?.offset ?? 0;
    if (position >= start) {
      const ends = await listOffsets(this.#client, topic, [partition], SpecialTimestamp.latest);
      throw new KafkaError(
        ErrorCode.OFFSET_OUT_OF_RANGE,
        `offset ${position} is not in partition ${partition}, which has ${start} to ` +
          `${ends.get(partition)?.offset}`,
      );
    }
    this.#options.onReset(topic, partition, position, start);
    assigned.position = start;
  }
}

/** Errors: KafkaError of the answer or of any partition, but those that are dealt with one by one. */
function throwOnPartitionError(answer: FetchResponse): void {
  throwOnError(answer.errorCode);
  for (const { partitions } of answer.responses) {
    for (const { errorCode } of partitions) {
      const isForLater = errorCode === ErrorCode.OFFSET_OUT_OF_RANGE ||
        errorCode === ErrorCode.CORRUPT_MESSAGE;
      if (!isForLater) throwOnError(errorCode);
    }
  }
}

/** Asking again does not help, though the code counts as one that passes, for producers. */
function damaged({ topic, partition, position }: Assigned, found: string): ClientError {
  return new ClientError(
    `partition ${partition} of ${topic} is damaged at offset ${position}: ${found}; the broker's log ` +
      `names the place, and --partition ${partition} with --from goes on behind it`,
  );
}

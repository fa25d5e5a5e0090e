/**
 * Sends records that come from many askers to any topic, and tells each of them where its record lies.
 *
 *     send() ──→ [room] ──→ lane of a partition: [records that wait] ──→ one batch in flight ──→ acknowledged
 *
 * A lane sends all that waits in one batch as soon as the batch before it is answered: one record alone goes at once, many
 * at a time share a request. Each lane is an idempotent producer of its own, so that a batch whose answer was lost is sent
 * again without a second copy of it.
 *
 * Invariants: records of a lane are appended in the order of the calls; the error of one record is no other's, whoever they
 * came from; bytes that wait or are on the way are bounded, who finds no room waits. A lane of which it is not known
 * whether its batch was appended is given up for a new one, with a new producer id.
 */

import { ErrorCode, isRetriable } from "../../protocol/errors.ts";
import { partitionForKey } from "../../protocol/murmur2.ts";
import { buildBatch, recordSizeUpperBound } from "../../protocol/records.ts";
import type { ProduceResponse } from "../../protocol/schemas/produce.ts";
import { ByteRoom } from "./byte_room.ts";
import { Calls } from "./calls.ts";
import { type KafkaClient, KafkaError, throwOnError } from "./kafka_client.ts";
import type { OutgoingRecord } from "./producer.ts";

/** Of records that wait, so many bytes go into one batch; Kafka's default `max.message.bytes` is four times that. */
const BATCH_BYTES = 256 * 1024;
const BATCH_RECORDS = 2_000;
/** How long the leader may wait for its replicas. */
const ACKS_TIMEOUT_MS = 30_000;
/** What is known of a topic is asked anew after so long: it may have more partitions. */
const TOPIC_AGE_MS = 10_000;
/** Topics and partitions that are remembered while nothing is sent to them. */
const MAX_IDLE = 1_000;
/** A produce may wait for replicas; what else is asked of the broker does not wait behind it. */
const CHANNEL = "produce";
const SEQUENCE_LIMIT = 2 ** 31;
/** The broker knows this producer no more, and has appended nothing: another producer may try. */
const FORGOTTEN: readonly number[] = [
  ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
  ErrorCode.UNKNOWN_PRODUCER_ID,
  ErrorCode.INVALID_PRODUCER_ID_MAPPING,
  ErrorCode.INVALID_PRODUCER_EPOCH,
];
const TOO_LARGE: readonly number[] = [
  ErrorCode.MESSAGE_TOO_LARGE,
  ErrorCode.RECORD_LIST_TOO_LARGE,
];
/** Memory of records that wait or are on the way. */
const DEFAULT_ROOM_BYTES = 32 * 1024 * 1024;

/** Where a record lies. */
export interface SentRecord {
  readonly partition: number;
  readonly offset: number;
  /** The record's, or the broker's where the topic has `message.timestamp.type=LogAppendTime`. Units: ms. */
  readonly timestamp: number;
}

interface Waiting {
  readonly record: OutgoingRecord;
  readonly sizeBytes: number;
  readonly sent: (where: SentRecord) => void;
  readonly failed: (error: Error) => void;
}

interface Topic {
  readonly partitionCount: number;
  readonly askedAtMs: number;
}

/** One partition on its way. */
interface Lane {
  readonly topic: string;
  readonly partition: number;
  waiting: Waiting[];
  isSending: boolean;
  /** −1: not known. */
  leaderId: number;
  producerId: number;
  producerEpoch: number;
  nextSequence: number;
}

/** Sends records. */
export class Sender {
  readonly #client: KafkaClient;
  readonly #room: ByteRoom;
  readonly #topics = new Map<string, Topic>();
  readonly #asked = new Map<string, Promise<Topic>>();
  readonly #lanes = new Map<string, Lane>();
  /** Where the next records without a key go. */
  #sticky = 0;

  constructor(
    client: KafkaClient,
    { roomBytes = DEFAULT_ROOM_BYTES }: { readonly roomBytes?: number } = {},
  ) {
    this.#client = client;
    this.#room = new ByteRoom(roomBytes);
  }

  /** Bytes of records that wait or are on the way. */
  get heldBytes(): number {
    return this.#room.usedBytes;
  }

  /**
   * Sends a record, whose byte fields must not change meanwhile. Records that one caller hands in, one call after
   * another, keep their order in each partition.
   *
   * Returns: where it lies, once every in-sync replica has it. Errors: rejects with KafkaError, NetworkError.
   */
  async send(topic: string, record: OutgoingRecord): Promise<SentRecord> {
    const sizeBytes = recordSizeUpperBound(record);
    const known = this.#topic(topic);
    await this.#room.take(sizeBytes);
    try {
      const { partitionCount } = await known;
      const lane = this.#lane(topic, await this.#partition(topic, record, partitionCount));
      return await new Promise<SentRecord>((sent, failed) => {
        lane.waiting.push({ record, sizeBytes, sent, failed });
        if (!lane.isSending) void this.#run(lane);
      });
    } finally {
      this.#room.giveBack(sizeBytes);
    }
  }

  /** What is known of a topic. Errors: KafkaError, NetworkError. */
  #topic(name: string): Promise<Topic> {
    const known = this.#topics.get(name);
    const nowMs = this.#client.clock.monotonicMs();
    if (known !== undefined && nowMs - known.askedAtMs < TOPIC_AGE_MS) {
      return Promise.resolve(known);
    }
    let asked = this.#asked.get(name);
    if (asked === undefined) {
      asked = this.#askTopic(name).finally(() => this.#asked.delete(name));
      this.#asked.set(name, asked);
      // Whoever sends is told, once there is room.
      asked.catch(() => undefined);
    }
    return asked;
  }

  async #askTopic(name: string): Promise<Topic> {
    const partitionCount = await this.#client.retry(async () => {
      const { topics: [found] } = await this.#client.metadata([name], { autoCreate: true });
      const code = found?.errorCode ?? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
      if (code === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) return 0;
      throwOnError(code);
      return found!.partitions.length;
    });
    if (partitionCount === 0) {
      throw new KafkaError(
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        `topic ${name} does not exist`,
      );
    }
    const topic = { partitionCount, askedAtMs: this.#client.clock.monotonicMs() };
    this.#topics.delete(name);
    this.#topics.set(name, topic);
    forgetOldest(this.#topics, () => true);
    return topic;
  }

  /** Errors: rejects with KafkaError for one that does not exist. */
  #partition(topic: string, record: OutgoingRecord, count: number): number | Promise<number> {
    const { partition, key } = record;
    if (partition !== undefined && partition >= count) return this.#newPartition(topic, partition);
    if (partition !== undefined) return partition;
    return key === null ? this.#sticky % count : partitionForKey(key, count);
  }

  /** One that was not there when the topic was looked at. */
  async #newPartition(topic: string, partition: number): Promise<number> {
    this.#topics.delete(topic);
    const { partitionCount } = await this.#topic(topic);
    if (partition < partitionCount) return partition;
    throw new KafkaError(
      ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
      `partition ${partition} of topic ${topic} does not exist; it has 0 to ${partitionCount - 1}`,
    );
  }

  #lane(topic: string, partition: number): Lane {
    const key = `${topic}/${partition}`;
    let lane = this.#lanes.get(key);
    if (lane === undefined) {
      lane = {
        topic,
        partition,
        waiting: [],
        isSending: false,
        leaderId: -1,
        producerId: -1,
        producerEpoch: -1,
        nextSequence: 0,
      };
      this.#lanes.set(key, lane);
      forgetOldest(this.#lanes, (it) => !it.isSending && it !== lane);
    }
    return lane;
  }

  /** Sends what waits in a lane, batch by batch. */
  async #run(lane: Lane): Promise<void> {
    lane.isSending = true;
    while (lane.waiting.length > 0) {
      // Those that come in the same turn are in the batch too.
      await Promise.resolve();
      await this.#sendBatch(lane, takeBatch(lane.waiting));
      this.#sticky++;
    }
    lane.isSending = false;
  }

  /** Sends records and settles each of them. */
  async #sendBatch(lane: Lane, batch: readonly Waiting[], isSecondTry = false): Promise<void> {
    let answer: PartitionAnswer;
    try {
      answer = await this.#append(lane, batch);
    } catch (error) {
      // What the broker has of it is not known: the lane goes on as another producer.
      lane.producerId = -1;
      for (const { failed } of batch) failed(error as Error);
      return;
    }
    const { errorCode, baseOffset, logAppendTimeMs } = answer;
    if (errorCode === ErrorCode.NONE || errorCode === ErrorCode.DUPLICATE_SEQUENCE_NUMBER) {
      lane.nextSequence = (lane.nextSequence + batch.length) % SEQUENCE_LIMIT;
      for (const [index, { record, sent }] of batch.entries()) {
        const timestamp = logAppendTimeMs >= 0 ? logAppendTimeMs : record.timestamp;
        sent({ partition: lane.partition, offset: baseOffset + index, timestamp });
      }
      return;
    }
    if (FORGOTTEN.includes(errorCode)) {
      lane.producerId = -1;
      if (!isSecondTry) return await this.#sendBatch(lane, batch, true);
    }
    await this.#sendInnocent(lane, batch, answer);
  }

  /** Nothing of a refused batch is appended: those that were not to blame go again, without the others. */
  async #sendInnocent(
    lane: Lane,
    batch: readonly Waiting[],
    { errorCode, errorMessage, recordErrors }: PartitionAnswer,
  ): Promise<void> {
    const blamed = new Map(recordErrors.map((it) => [it.batchIndex, it.batchIndexErrorMessage]));
    if (blamed.size === 0 && batch.length > 1 && TOO_LARGE.includes(errorCode)) {
      const half = batch.length >> 1;
      await this.#sendBatch(lane, batch.slice(0, half));
      return await this.#sendBatch(lane, batch.slice(half));
    }
    const isToBlame = (index: number) => blamed.size === 0 || blamed.has(index);
    for (const [index, { failed }] of batch.entries()) {
      if (isToBlame(index)) failed(new KafkaError(errorCode, blamed.get(index) ?? errorMessage));
    }
    const innocent = batch.filter((_waiting, index) => !isToBlame(index));
    if (innocent.length > 0) await this.#sendBatch(lane, innocent);
  }

  /** Appends a batch, again as long as it fails with what may pass. Errors: KafkaError, NetworkError. */
  async #append(lane: Lane, batch: readonly Waiting[]): Promise<PartitionAnswer> {
    if (lane.producerId < 0) await this.#nameProducer(lane);
    const records = buildBatch({
      records: batch.map(({ record }) => record),
      producerId: lane.producerId,
      producerEpoch: lane.producerEpoch,
      baseSequence: lane.nextSequence,
    });
    const partitionData = [{ index: lane.partition, records }];
    return await this.#client.retry(async () => {
      try {
        if (lane.leaderId < 0) lane.leaderId = await this.#leader(lane);
        const connection = await this.#client.broker(lane.leaderId, CHANNEL);
        const answer = await connection.request(Calls.produce, {
          acks: -1,
          timeoutMs: ACKS_TIMEOUT_MS,
          topicData: [{ name: lane.topic, partitionData }],
        });
        return partitionAnswer(answer);
      } catch (error) {
        lane.leaderId = -1;
        throw error;
      }
    });
  }

  async #leader({ topic, partition }: Lane): Promise<number> {
    const { topics: [found] } = await this.#client.metadata([topic]);
    throwOnError(found?.errorCode ?? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    const state = found!.partitions.find(({ partitionIndex }) => partitionIndex === partition);
    if (state === undefined) throw new KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    return state.leaderId;
  }

  async #nameProducer(lane: Lane): Promise<void> {
    const { producerId, producerEpoch } = await this.#client.retry(async () => {
      const connection = await this.#client.any();
      const body = { transactionalId: null, transactionTimeoutMs: 60_000 };
      const answer = await connection.request(Calls.initProducerId, body);
      throwOnError(answer.errorCode);
      return answer;
    });
    Object.assign(lane, { producerId, producerEpoch, nextSequence: 0 });
  }
}

type PartitionAnswer = ProduceResponse["responses"][number]["partitionResponses"][number];

/** Errors: KafkaError for what may pass. */
function partitionAnswer(answer: ProduceResponse): PartitionAnswer {
  const found = answer.responses[0]?.partitionResponses[0];
  if (found === undefined) throw new KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR);
  if (isRetriable(found.errorCode)) throw new KafkaError(found.errorCode, found.errorMessage);
  return found;
}

/** Takes the first of them, as much as goes into one batch; one at least. */
function takeBatch(waiting: Waiting[]): Waiting[] {
  let bytes = 0;
  let count = 0;
  while (count < waiting.length && count < BATCH_RECORDS) {
    bytes += waiting[count]!.sizeBytes;
    if (count > 0 && bytes > BATCH_BYTES) break;
    count++;
  }
  return waiting.splice(0, count);
}

/** Forgets those that were not used for longest, beyond `MAX_IDLE`. */
function forgetOldest<T>(entries: Map<string, T>, mayGo: (entry: T) => boolean): void {
  for (const [key, entry] of entries) {
    if (entries.size <= MAX_IDLE) return;
    if (mayGo(entry)) entries.delete(key);
  }
}

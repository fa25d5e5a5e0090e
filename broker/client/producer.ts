/**
 * An idempotent producer with batching: one lane per partition.
 *
 *     send() → [records being gathered] → sealed into a batch (full, or lingered long enough)
 *            → [pending batches, in order] → at most 5 in flight → acknowledged
 *
 * Invariants: a lane's batches keep their order and their sequence numbers for life. When one fails with an
 * error that may pass, the lane waits until nothing of it is in flight, finds the leader anew, and sends
 * everything from the oldest on again: what the broker has already is recognised by its sequence. Buffered
 * bytes are bounded: `send` asks the caller to wait. Any other error stops the whole producer.
 */

import type { CompressionCodec } from "../../protocol/compression.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { partitionForKey } from "../../protocol/murmur2.ts";
import { buildBatch, type NewRecord, recordSizeUpperBound } from "../../protocol/records.ts";
import type { ProduceResponse } from "../../protocol/schemas/produce.ts";
import type { Timer } from "../../storage/platform.ts";
import { NetworkError } from "../network.ts";
import type { BrokerConnection } from "../peers/broker_connection.ts";
import { Calls } from "./calls.ts";
import { ClientError } from "./client_error.ts";
import { isPassing, type KafkaClient, KafkaError, throwOnError } from "./kafka_client.ts";

const MAX_IN_FLIGHT = 5;
const FIRST_BACKOFF_MS = 50;
const MAX_BACKOFF_MS = 1000;
/** How long the broker may wait for its replicas. */
const ACKS_TIMEOUT_MS = 30_000;
const SEQUENCE_LIMIT = 2 ** 31;

/** How a producer works. */
export interface ProducerOptions {
  readonly topic: string;
  /** −1 is all. Only then is the producer idempotent. */
  readonly acks: -1 | 0 | 1;
  readonly compression: CompressionCodec;
  /** Size at which a batch is sent, before compression. */
  readonly batchBytes: number;
  /** How long a record waits for company. */
  readonly lingerMs: number;
  /** Bytes that may be gathered and in flight before `send` asks to wait. */
  readonly maxBufferedBytes: number;
  /** How long a batch is tried. */
  readonly deliveryTimeoutMs: number;
}

/** A record and, if it matters, where it belongs. */
export interface OutgoingRecord extends NewRecord {
  readonly partition?: number;
}

interface Batch {
  readonly bytes: Uint8Array;
  readonly recordCount: number;
  readonly createdAtMs: number;
  sent: boolean;
}

/** One partition on its way. */
interface Lane {
  readonly partition: number;
  records: NewRecord[];
  recordBytes: number;
  timer: Timer | null;
  pending: Batch[];
  inFlight: number;
  nextSequence: number;
  connection: BrokerConnection | null;
  /** Set from the first failure until the lane is sending again. */
  troubled: boolean;
  recovering: boolean;
  backoffMs: number;
  lastError: Error | null;
}

/** Sends records to one topic. */
export class Producer {
  readonly #client: KafkaClient;
  readonly #options: ProducerOptions;
  readonly #maxInFlight: number;
  #lanes: Lane[] = [];
  #producerId = -1;
  #producerEpoch = -1;
  #bufferedBytes = 0;
  #sticky = 0;
  #acknowledgedCount = 0;
  #failure: Error | null = null;
  /** Called when buffered bytes shrink or the producer fails. */
  #waiters: (() => void)[] = [];

  constructor(client: KafkaClient, options: ProducerOptions) {
    this.#client = client;
    this.#options = options;
    this.#maxInFlight = options.acks === -1 ? MAX_IN_FLIGHT : 1;
  }

  /** Records that the broker has acknowledged (with acks=0: that were handed to the network). */
  get acknowledgedCount(): number {
    return this.#acknowledgedCount;
  }

  /** What stopped the producer. */
  get failure(): Error | null {
    return this.#failure;
  }

  /** Finds the topic's partitions, and gets a producer id. Errors: KafkaError, NetworkError, ClientError. */
  async start(): Promise<void> {
    const leaders = await this.#client.leaders(this.#options.topic, { autoCreate: true });
    this.#lanes = leaders.map(({ partition }) => newLane(partition));
    this.#sticky = this.#client.random.uint32() % Math.max(this.#lanes.length, 1);
    if (this.#options.acks !== -1) return;
    const answer = await this.#client.retry(async () => {
      const connection = await this.#client.any();
      const body = { transactionalId: null, transactionTimeoutMs: 60_000 };
      const got = await connection.request(Calls.initProducerId, body);
      throwOnError(got.errorCode);
      return got;
    });
    this.#producerId = answer.producerId;
    this.#producerEpoch = answer.producerEpoch;
  }

  /**
   * Takes a record; its byte fields must not change until `flush` has resolved.
   * Returns: a promise to wait for before the next call when the buffer is full.
   * Errors: ClientError for a partition that does not exist; what stopped the producer.
   */
  send(record: OutgoingRecord): Promise<void> | undefined {
    if (this.#failure !== null) throw this.#failure;
    const lane = this.#lanes[this.#choosePartition(record)]!;
    const sizeBytes = recordSizeUpperBound(record);
    const { batchBytes, lingerMs, maxBufferedBytes } = this.#options;
    if (lane.records.length > 0 && lane.recordBytes + sizeBytes > batchBytes) this.#seal(lane);
    lane.records.push(record);
    lane.recordBytes += sizeBytes;
    this.#bufferedBytes += sizeBytes;
    if (lane.recordBytes >= batchBytes) this.#seal(lane);
    else lane.timer ??= this.#client.clock.timer(lingerMs, () => this.#seal(lane));
    return this.#bufferedBytes > maxBufferedBytes ? this.#bufferShrunk() : undefined;
  }

  /** Resolves when everything is acknowledged. Errors: rejects with what stopped the producer. */
  async flush(): Promise<void> {
    for (const lane of this.#lanes) this.#seal(lane);
    while (this.#failure === null && this.#lanes.some((lane) => lane.pending.length > 0)) {
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
    if (this.#failure !== null) throw this.#failure;
  }

  #bufferShrunk(): Promise<void> {
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  #choosePartition(record: OutgoingRecord): number {
    const count = this.#lanes.length;
    if (record.partition !== undefined) {
      if (record.partition < count) return record.partition;
      throw new ClientError(
        `partition ${record.partition} does not exist; topic ${this.#options.topic} has ` +
          `partitions 0 to ${count - 1}`,
      );
    }
    return record.key === null ? this.#sticky : partitionForKey(record.key, count);
  }

  #seal(lane: Lane): void {
    lane.timer?.cancel();
    lane.timer = null;
    const { records } = lane;
    if (records.length === 0 || this.#failure !== null) return;
    const idempotent = this.#options.acks === -1;
    const bytes = buildBatch({
      records,
      compression: this.#options.compression,
      producerId: this.#producerId,
      producerEpoch: this.#producerEpoch,
      baseSequence: idempotent ? lane.nextSequence : -1,
    });
    lane.nextSequence = (lane.nextSequence + records.length) % SEQUENCE_LIMIT;
    lane.pending.push({
      bytes,
      recordCount: records.length,
      createdAtMs: this.#client.clock.monotonicMs(),
      sent: false,
    });
    this.#bufferedBytes += bytes.length - lane.recordBytes;
    lane.records = [];
    lane.recordBytes = 0;
    // Keyless records stay together until their batch is full, then move on to the next partition.
    if (lane.partition === this.#sticky) this.#sticky = (this.#sticky + 1) % this.#lanes.length;
    this.#pump(lane);
  }

  #pump(lane: Lane): void {
    if (lane.recovering || lane.troubled || this.#failure !== null) return;
    if (lane.connection === null || !lane.connection.isOpen) {
      if (lane.inFlight === 0 && lane.pending.length > 0) void this.#recover(lane);
      return;
    }
    for (const batch of lane.pending) {
      if (lane.inFlight >= this.#maxInFlight) return;
      if (!batch.sent) this.#transmit(lane, lane.connection, batch);
      if (lane.troubled) return;
    }
  }

  #transmit(lane: Lane, connection: BrokerConnection, batch: Batch): void {
    batch.sent = true;
    const body = {
      acks: this.#options.acks,
      timeoutMs: ACKS_TIMEOUT_MS,
      topicData: [{
        name: this.#options.topic,
        partitionData: [{ index: lane.partition, records: batch.bytes }],
      }],
    };
    lane.inFlight++;
    if (this.#options.acks === 0) {
      // Nothing comes back: handing it over, in a later turn, is all the acknowledgement there is.
      void this.#client.clock.sleep(0).then(() => {
        try {
          connection.requestWithoutAnswer(Calls.produce, body);
          this.#settle(lane, batch, null);
        } catch (error) {
          this.#settle(lane, batch, error as Error);
        }
      });
      return;
    }
    connection.request(Calls.produce, body).then(
      (answer) => this.#settle(lane, batch, errorOf(answer)),
      (error) => this.#settle(lane, batch, error as Error),
    );
  }

  /** One batch came back. */
  #settle(lane: Lane, batch: Batch, error: Error | null): void {
    lane.inFlight--;
    if (error === null) {
      lane.pending.splice(lane.pending.indexOf(batch), 1);
      lane.backoffMs = FIRST_BACKOFF_MS;
      this.#acknowledgedCount += batch.recordCount;
      this.#bufferedBytes -= batch.bytes.length;
      this.#wake();
    } else if (isPassing(error) || (lane.troubled && isOutOfOrder(error))) {
      lane.troubled = true;
      if (!isOutOfOrder(error)) lane.lastError = error;
    } else {
      this.#fail(error);
      return;
    }
    if (lane.troubled && lane.inFlight === 0) void this.#recover(lane);
    else this.#pump(lane);
  }

  /** Finds the leader and starts over with the oldest batch; again and again until its time is up. */
  async #recover(lane: Lane): Promise<void> {
    if (lane.recovering) return;
    lane.recovering = true;
    const { clock, interrupted } = this.#client;
    if (lane.troubled) {
      await clock.sleep(this.#client.jitter(lane.backoffMs), interrupted);
      lane.backoffMs = Math.min(2 * lane.backoffMs, MAX_BACKOFF_MS);
    }
    for (const batch of lane.pending) batch.sent = false;
    const oldest = lane.pending[0];
    const expired = oldest !== undefined &&
      clock.monotonicMs() - oldest.createdAtMs > this.#options.deliveryTimeoutMs;
    if (lane.lastError !== null && (expired || interrupted.aborted)) {
      return this.#fail(lane.lastError);
    }
    try {
      lane.connection = await this.#leaderOf(lane.partition);
      lane.troubled = false;
    } catch (error) {
      if (!isPassing(error)) return this.#fail(error as Error);
      lane.lastError = error as Error;
      lane.troubled = true;
    }
    lane.recovering = false;
    if (lane.troubled) void this.#recover(lane);
    else this.#pump(lane);
  }

  async #leaderOf(partition: number): Promise<BrokerConnection> {
    const { topics } = await this.#client.metadata([this.#options.topic]);
    const topic = topics[0];
    throwOnError(topic?.errorCode ?? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    const found = topic!.partitions.find(({ partitionIndex }) => partitionIndex === partition);
    if (found === undefined) throw new KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    return await this.#client.broker(found.leaderId);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const lane of this.#lanes) lane.timer?.cancel();
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#waiters.splice(0)) wake();
  }
}

function newLane(partition: number): Lane {
  return {
    partition,
    records: [],
    recordBytes: 0,
    timer: null,
    pending: [],
    inFlight: 0,
    nextSequence: 0,
    connection: null,
    troubled: false,
    recovering: false,
    backoffMs: FIRST_BACKOFF_MS,
    lastError: null,
  };
}

function isOutOfOrder(error: Error): boolean {
  return error instanceof KafkaError && error.code === ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER;
}

/** The error in an answer about one batch; a duplicate is a success that was answered before. */
function errorOf(answer: ProduceResponse): Error | null {
  const partition = answer.responses[0]?.partitionResponses[0];
  if (partition === undefined) {
    return new NetworkError("The broker's answer leaves the partition out", "EPROTO");
  }
  const { errorCode, errorMessage, recordErrors } = partition;
  if (errorCode === ErrorCode.NONE || errorCode === ErrorCode.DUPLICATE_SEQUENCE_NUMBER) {
    return null;
  }
  const detail = recordErrors[0]?.batchIndexErrorMessage;
  return new KafkaError(errorCode, detail ?? errorMessage);
}

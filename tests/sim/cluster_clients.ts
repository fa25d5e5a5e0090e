/**
 * Clients of a simulated cluster: processes on machines of their own that speak the protocol, and note what
 * they sent, were told and saw (`history.ts`).
 *
 * Producers do what the well-known clients do: batches keep their sequence numbers however often they are
 * sent, several are in flight, and one that gives a batch up goes on under its next epoch. Consumers are
 * members of a group, or read from the start by themselves. They run until told to stop, and take every
 * passing error for what it is; an error that must not come is thrown.
 */

import assert from "node:assert/strict";
import { Consumer } from "../../broker/client/consumer.ts";
import { isPassing, KafkaClient, KafkaError } from "../../broker/client/kafka_client.ts";
import { Calls } from "../../broker/client/calls.ts";
import { fetchGroupOffsets, GroupMember } from "../../broker/client/group_member.ts";
import { listOffsets, SpecialTimestamp } from "../../broker/client/offsets.ts";
import { type Endpoint, NetworkError } from "../../broker/network.ts";
import { ErrorCode, errorName, isRetriable } from "../../protocol/errors.ts";
import { buildBatch } from "../../protocol/records.ts";
import type { Guarantee, HistoryEvent } from "./history.ts";
import type { SimRandom } from "./sim_random.ts";
import type { SimProcess } from "./sim_process.ts";

const REQUEST_TIMEOUT_MS = 5_000;
const RETRY_TIMEOUT_MS = 15_000;
const BACKOFF_MS = 200;
const MAX_IN_FLIGHT = 5;
/** A member of which nothing is heard for so long is taken for dead. */
const SESSION_TIMEOUT_MS = 8_000;
/** A producer that takes its time thinks for so long. */
const CALM_THINK_MS = 2_000;
/** A producer that gives up does so after this. */
const DELIVERY_TIMEOUT_MS = 10_000;

/** What a client runs on. */
export interface ClientSurroundings {
  readonly name: string;
  readonly process: SimProcess;
  readonly random: SimRandom;
  readonly bootstrap: readonly Endpoint[];
  readonly note: (event: HistoryEvent) => void;
  readonly trace: (line: string) => void;
}

/** Text of record values and their bytes. */
const TEXT = {
  encode: (text: string) => new TextEncoder().encode(text),
  decoder: new TextDecoder(),
};

function newClient({ name, process, random, bootstrap }: ClientSurroundings): KafkaClient {
  return new KafkaClient({
    network: process.network,
    clock: process.clock,
    random: random.fork("client"),
    bootstrap,
    clientId: name,
    softwareVersion: "0.0.0",
    requestTimeoutMs: REQUEST_TIMEOUT_MS,
    retryTimeoutMs: RETRY_TIMEOUT_MS,
    interrupted: new AbortController().signal,
  });
}

/** True for what a client lives with: it tries again. */
function mayPass(error: unknown): boolean {
  return error instanceof NetworkError || isPassing(error);
}

/** What every client does. */
export abstract class SimClient {
  readonly client: KafkaClient;
  readonly surroundings: ClientSurroundings;
  isStopping = false;

  constructor(surroundings: ClientSurroundings) {
    this.surroundings = surroundings;
    this.client = newClient(surroundings);
  }

  get name(): string {
    return this.surroundings.name;
  }
  get random(): SimRandom {
    return this.surroundings.random;
  }

  /** Asks it to come to an end. */
  stop(): void {
    this.isStopping = true;
  }

  async pass(ms: number): Promise<void> {
    await this.surroundings.process.clock.sleep(ms);
  }

  /** Tries until it succeeds. Errors: those that do not pass. */
  async insist<T>(what: string, attempt: () => Promise<T>): Promise<T> {
    for (let told = "";;) {
      try {
        return await attempt();
      } catch (error) {
        if (!mayPass(error)) throw error;
        const { message } = error as Error;
        if (message !== told) this.surroundings.trace(`${this.name}: ${what}: ${message}`);
        told = message;
      }
      await this.pass(BACKOFF_MS);
    }
  }
}

/** A connection to one of the brokers. */
type Broker = Awaited<ReturnType<KafkaClient["broker"]>>;

interface SimBatch {
  readonly values: readonly string[];
  readonly baseSequence: number;
  readonly createdMs: number;
}

/** What a producer produces. */
export interface SimProducerOptions {
  readonly topic: string;
  readonly partitions: readonly number[];
  readonly guarantee: Guarantee;
  /** Gives up what is not acknowledged in time and goes on under the next epoch. */
  readonly isImpatient: boolean;
  /** The longest that it thinks between two rounds. Units: ms. */
  readonly thinkMs: number;
  readonly acks: -1 | 0 | 1;
}

/** One partition of a producer. */
interface Lane {
  readonly partition: number;
  pending: SimBatch[];
  nextSequence: number;
  /** Of the same producer id, each partition counts for itself. */
  producerEpoch: number;
  leaderId: number | null;
}

/** Sends records, each lane its own row of them. */
export class SimProducer extends SimClient {
  acknowledgedCount = 0;
  givenUpCount = 0;
  /** Virtual time of the last acknowledgement of each partition, by its number. */
  readonly acknowledgedMs = new Map<number, number>();
  /** Takes its time: nothing goes wrong any more. */
  isCalm = false;
  /** It was told to stop, and nothing of it is left to be acknowledged. */
  isDone = false;
  readonly #options: SimProducerOptions;
  #sentCount = 0;
  #producerId = -1;
  #firstEpoch = -1;

  constructor(surroundings: ClientSurroundings, options: SimProducerOptions) {
    super(surroundings);
    this.#options = options;
  }

  get #isIdempotent(): boolean {
    return this.#options.guarantee === "exactly once";
  }

  get #thinkMs(): number {
    return this.isCalm ? Math.max(this.#options.thinkMs, CALM_THINK_MS) : this.#options.thinkMs;
  }

  async run(): Promise<void> {
    if (this.#isIdempotent) await this.#getProducerId();
    await Promise.all(this.#options.partitions.map((partition) =>
      this.#runLane({
        partition,
        pending: [],
        nextSequence: 0,
        producerEpoch: this.#firstEpoch,
        leaderId: null,
      })
    ));
    this.isDone = true;
    await this.client.close();
  }

  async #getProducerId(): Promise<void> {
    const body = { transactionalId: null, transactionTimeoutMs: 60_000 };
    const { producerId, producerEpoch } = await this.insist("producer id", async () => {
      const answer = await (await this.client.any()).request(Calls.initProducerId, body);
      if (answer.errorCode !== ErrorCode.NONE) throw new KafkaError(answer.errorCode);
      return answer;
    });
    this.#producerId = producerId;
    this.#firstEpoch = producerEpoch;
  }

  async #runLane(lane: Lane): Promise<void> {
    for (;;) {
      if (!this.isStopping) this.#fill(lane);
      if (lane.pending.length === 0) return;
      const went = await this.#round(lane);
      const sinceMs = this.client.clock.monotonicMs() - (lane.pending[0]?.createdMs ?? 0);
      const isTired = this.#options.isImpatient && sinceMs >= DELIVERY_TIMEOUT_MS;
      if (!went && isTired && lane.pending.length > 0) this.#giveUp(lane);
      await this.pass(went ? this.random.below(this.#thinkMs + 1) : BACKOFF_MS);
    }
  }

  #fill(lane: Lane): void {
    const limit = this.#isIdempotent ? MAX_IN_FLIGHT : 1;
    const wanted = Math.min(limit, lane.pending.length + this.random.between(1, 3));
    while (lane.pending.length < wanted) {
      const count = this.random.between(1, 4);
      const values = Array.from({ length: count }, () => `${this.name}:${++this.#sentCount}`);
      for (const value of values) {
        this.surroundings.note({
          kind: "send",
          producer: this.name,
          guarantee: this.#options.guarantee,
          partition: `${this.#options.topic}-${lane.partition}`,
          value,
        });
      }
      lane.pending.push({
        values,
        baseSequence: lane.nextSequence,
        createdMs: this.client.clock.monotonicMs(),
      });
      lane.nextSequence += count;
    }
  }

  /** Sends all that is pending. Returns: whether all of it was acknowledged. */
  async #round(lane: Lane): Promise<boolean> {
    const sent = [...lane.pending];
    let connection;
    try {
      lane.leaderId ??= await this.#leaderOf(lane.partition);
      connection = await this.client.broker(lane.leaderId);
    } catch (error) {
      if (!mayPass(error)) throw error;
      lane.leaderId = null;
      return false;
    }
    const to = connection;
    const outcomes = await Promise.all(sent.map((batch) => this.#produce(lane, batch, to)));
    let [isClean, isLost] = [true, false];
    for (const [at, outcome] of outcomes.entries()) {
      if (outcome.error === ErrorCode.NONE) {
        this.#acknowledged(lane, sent[at]!, outcome.baseOffset);
      } else {
        isLost ||= this.#refused(outcome.error, isClean);
        isClean = false;
      }
    }
    if (!isClean) lane.leaderId = null;
    if (isLost) this.#giveUp(lane);
    return isClean;
  }

  /**
   * True when the batch is to be given up. A broker that was started again finds of each producer the
   * batches that lie near the end of its log: what came before them, and was not answered, it cannot tell any more.
   * Errors: what no fault explains.
   */
  #refused(error: ErrorCode | "network", isFirst: boolean): boolean {
    if (error === "network" || isRetriable(error)) return false;
    const isOutOfOrder = error === ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER;
    assert(isOutOfOrder, `${this.name}: refused with ${errorName(error)}`);
    return isFirst;
  }

  #acknowledged(lane: Lane, batch: SimBatch, baseOffset: number): void {
    lane.pending.splice(lane.pending.indexOf(batch), 1);
    this.acknowledgedMs.set(lane.partition, this.client.clock.monotonicMs());
    this.acknowledgedCount += batch.values.length;
    for (const [at, value] of batch.values.entries()) {
      this.surroundings.note({
        kind: "ack",
        partition: `${this.#options.topic}-${lane.partition}`,
        value,
        offset: baseOffset < 0 ? null : baseOffset + at,
      });
    }
  }

  async #produce(
    lane: Lane,
    { values, baseSequence }: SimBatch,
    connection: Broker,
  ): Promise<{ readonly error: ErrorCode | "network"; readonly baseOffset: number }> {
    const records = buildBatch({
      records: values.map((value) => ({
        key: null,
        value: TEXT.encode(value),
        timestamp: this.client.clock.wallMs(),
      })),
      producerId: this.#producerId,
      producerEpoch: lane.producerEpoch,
      baseSequence: this.#isIdempotent ? baseSequence : -1,
    });
    try {
      const answer = await connection.request(Calls.produce, {
        acks: this.#options.acks,
        timeoutMs: REQUEST_TIMEOUT_MS,
        topicData: [{
          name: this.#options.topic,
          partitionData: [{ index: lane.partition, records }],
        }],
      });
      const { errorCode, baseOffset, errorMessage } = answer.responses[0]!.partitionResponses[0]!;
      if (errorCode !== ErrorCode.NONE) {
        const name = errorName(errorCode as ErrorCode);
        this.surroundings.trace(`${this.name}: ${name}: ${errorMessage}`);
      }
      // Sent before and stored: the answer to that was lost.
      if (errorCode === ErrorCode.DUPLICATE_SEQUENCE_NUMBER) {
        return { error: ErrorCode.NONE, baseOffset: -1 };
      }
      return { error: errorCode as ErrorCode, baseOffset };
    } catch (error) {
      if (!(error instanceof NetworkError)) throw error;
      this.surroundings.trace(`${this.name}: ${error.message}`);
      return { error: "network", baseOffset: -1 };
    }
  }

  async #leaderOf(partition: number): Promise<number> {
    const { topics } = await this.client.metadata([this.#options.topic]);
    const topic = topics[0];
    const error = topic?.errorCode ?? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
    if (error !== ErrorCode.NONE) throw new KafkaError(error);
    const found = topic!.partitions.find(({ partitionIndex }) => partitionIndex === partition);
    if (found === undefined || found.leaderId < 0) {
      throw new KafkaError(ErrorCode.LEADER_NOT_AVAILABLE);
    }
    return found.leaderId;
  }

  /** Nothing of the lane is in flight: what was tried for too long is never sent again. */
  #giveUp(lane: Lane): void {
    this.surroundings.trace(`${this.name} gives up ${lane.pending.length} batches`);
    this.givenUpCount += lane.pending.length;
    lane.pending = [];
    lane.nextSequence = 0;
    if (this.#isIdempotent) lane.producerEpoch++;
  }
}

/** Reads one topic by itself, from its start on. */
export class SimReader extends SimClient {
  readonly #topic: string;
  readonly #partitions: readonly number[];
  /** Offset of the next record of each partition. */
  readonly positions = new Map<number, number>();
  readCount = 0;

  constructor(
    surroundings: ClientSurroundings,
    topic: string,
    partitions: readonly number[],
  ) {
    super(surroundings);
    this.#topic = topic;
    this.#partitions = partitions;
  }

  async run(): Promise<void> {
    const consumer = newConsumer(this.client);
    consumer.assign(this.#partitions.map((partition) => ({
      topic: this.#topic,
      partition,
      position: 0,
    })));
    while (!this.isStopping) {
      const polled = await this.insist("poll", () => consumer.poll());
      for (const { partition, nextOffset } of polled) this.positions.set(partition, nextOffset);
      this.readCount += noteReads(this.surroundings, this.name, polled);
    }
    await this.client.close();
  }
}

function newConsumer(client: KafkaClient): Consumer {
  return new Consumer(client, {
    readCommitted: false,
    onReset: (topic, partition, from, to) => {
      throw new Error(`${topic}-${partition}: the log starts at ${to}, ${from} is gone`);
    },
  });
}

type Polled = Awaited<ReturnType<Consumer["poll"]>>;

function noteReads({ note }: ClientSurroundings, reader: string, polled: Polled): number {
  let count = 0;
  for (const { topic, partition, records } of polled) {
    for (const { offset, value } of records) {
      const text = TEXT.decoder.decode(value ?? new Uint8Array(0));
      note({ kind: "read", reader, partition: `${topic}-${partition}`, offset, value: text });
      count++;
    }
  }
  return count;
}

/** A member of a group that reads one topic and commits what it has read. */
export class SimMember extends SimClient {
  readonly #groupId: string;
  readonly #topic: string;
  commitCount = 0;
  joinCount = 0;
  readCount = 0;

  constructor(surroundings: ClientSurroundings, groupId: string, topic: string) {
    super(surroundings);
    this.#groupId = groupId;
    this.#topic = topic;
  }

  async run(): Promise<void> {
    const member = new GroupMember(this.client, {
      groupId: this.#groupId,
      topic: this.#topic,
      sessionTimeoutMs: SESSION_TIMEOUT_MS,
      rebalanceTimeoutMs: SESSION_TIMEOUT_MS,
    });
    while (!this.isStopping) {
      try {
        await this.#membership(member);
      } catch (error) {
        if (!mayPass(error)) throw error;
        this.surroundings.trace(`${this.name}: ${(error as Error).message}`);
        await this.pass(BACKOFF_MS);
      }
    }
    try {
      await member.leave();
    } catch (error) {
      if (!mayPass(error)) throw error;
    }
    await this.client.close();
  }

  /** From a join to the loss of the partitions. */
  async #membership(member: GroupMember): Promise<void> {
    const partitions = await member.join();
    const reader = `${this.name}/${++this.joinCount}`;
    this.surroundings.trace(`${reader} has ${partitions.map((one) => one.partition).join(", ")}`);
    this.surroundings.note({ kind: "ask", group: this.#groupId, ask: reader });
    const positions = await member.committed(partitions);
    for (const { topic, partition, offset } of positions) {
      const name = `${topic}-${partition}`;
      this.surroundings.note({ kind: "answer", ask: reader, partition: name, offset });
    }
    const consumer = newConsumer(this.client);
    consumer.assign(positions.map((one) => ({ ...one, position: Math.max(one.offset, 0) })));
    if (partitions.length === 0) await this.pass(1_000);
    while (!this.isStopping && !member.mustRejoin) {
      const polled = await consumer.poll();
      this.readCount += noteReads(this.surroundings, reader, polled);
      if (partitions.length === 0) await this.pass(1_000);
      const isDone = polled.length === 0 && this.random.chance(0.9);
      if (!member.mustRejoin && !isDone && this.random.chance(0.5)) {
        await this.#commit(
          member,
          partitions.map(({ topic, partition }) => ({
            topic,
            partition,
            offset: consumer.position(topic, partition),
          })),
        );
      }
    }
  }

  async #commit(
    member: GroupMember,
    offsets: readonly { topic: string; partition: number; offset: number }[],
  ): Promise<void> {
    await member.commit(offsets);
    // One that was refused says so by the need to join again.
    if (member.mustRejoin) return;
    this.commitCount++;
    for (const { topic, partition, offset } of offsets) {
      this.surroundings.note({
        kind: "commit",
        group: this.#groupId,
        partition: `${topic}-${partition}`,
        offset,
      });
    }
  }
}

/** Makes and deletes topics, and looks at the end at what is there. */
export class SimAdmin extends SimClient {
  createdCount = 0;
  deletedCount = 0;

  /** Makes a topic; one that is there already is as good. */
  async createTopic(
    name: string,
    partitionCount: number,
    replicationFactor: number,
    configs: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    await this.insist(`create ${name}`, async () => {
      const answer = await (await this.client.any()).request(Calls.createTopics, {
        topics: [{
          name,
          numPartitions: partitionCount,
          replicationFactor,
          assignments: [],
          configs: Object.entries(configs).map(([key, value]) => ({ name: key, value })),
        }],
        timeoutMs: REQUEST_TIMEOUT_MS,
        validateOnly: false,
      });
      const { errorCode, errorMessage } = answer.topics[0]!;
      const isPassed = errorCode === ErrorCode.INVALID_REPLICATION_FACTOR;
      // Not enough brokers are registered, or unfenced, just now.
      if (isPassed) throw new KafkaError(ErrorCode.LEADER_NOT_AVAILABLE, errorMessage);
      const isThere = errorCode === ErrorCode.TOPIC_ALREADY_EXISTS;
      if (errorCode !== ErrorCode.NONE && !isThere) throw new KafkaError(errorCode, errorMessage);
    });
    this.createdCount++;
  }

  async deleteTopic(name: string): Promise<void> {
    await this.insist(`delete ${name}`, async () => {
      const answer = await (await this.client.any()).request(Calls.deleteTopics, {
        topics: [],
        topicNames: [name],
        timeoutMs: REQUEST_TIMEOUT_MS,
      });
      const { errorCode, errorMessage } = answer.responses[0]!;
      const isGone = errorCode === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
      if (errorCode !== ErrorCode.NONE && !isGone) throw new KafkaError(errorCode, errorMessage);
    });
    this.deletedCount++;
  }

  /** Makes a topic now and then and deletes it again. */
  async run(replicationFactor: () => number): Promise<void> {
    for (let count = 0; !this.isStopping; count++) {
      await this.pass(this.random.below(10_000));
      const name = `passing-${count}`;
      await this.createTopic(name, this.random.between(1, 3), replicationFactor());
      await this.pass(this.random.below(5_000));
      await this.deleteTopic(name);
    }
  }

  /** End offsets of a topic's partitions. */
  async endOffsets(topic: string, partitions: readonly number[]): Promise<Map<number, number>> {
    const found = await this.insist(
      `end offsets of ${topic}`,
      () => listOffsets(this.client, topic, partitions, SpecialTimestamp.latest),
    );
    return new Map([...found].map(([partition, { offset }]) => [partition, offset]));
  }

  /** Committed offsets of a group. */
  async committed(groupId: string, topic: string, partitions: readonly number[]) {
    return await this.insist(`commits of ${groupId}`, () =>
      fetchGroupOffsets(
        this.client,
        groupId,
        partitions.map((partition) => ({ topic, partition })),
      ));
  }

  /** Reads all that is there, and notes it as the log. */
  async noteLog(topic: string, partitions: readonly number[]): Promise<void> {
    const ends = await this.endOffsets(topic, partitions);
    const consumer = newConsumer(this.client);
    consumer.assign(partitions.map((partition) => ({ topic, partition, position: 0 })));
    const isBehind = () =>
      partitions.some((partition) => consumer.position(topic, partition) < ends.get(partition)!);
    while (isBehind()) {
      const polled = await this.insist(`read ${topic}`, () => consumer.poll());
      for (const { partition, records } of polled) {
        for (const { offset, value } of records) {
          const text = TEXT.decoder.decode(value ?? new Uint8Array(0));
          const name = `${topic}-${partition}`;
          this.surroundings.note({ kind: "log", partition: name, offset, value: text });
        }
      }
    }
  }
}

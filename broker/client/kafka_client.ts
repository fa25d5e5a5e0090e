/**
 * A Kafka client for the commands: bootstrap, metadata, connections by broker, retries.
 *
 * It speaks the protocol like any client, so the commands work against Apache Kafka too. Everything is
 * asked by topic name. Errors that may pass (a leader that moves, a coordinator that loads, a broker that
 * restarts) are tried again until a deadline; the rest end the command.
 */

import { ErrorCode, errorMessage, errorName, isRetriable } from "../../protocol/errors.ts";
import type { Decoded, Encodable, Message } from "../../protocol/schema.ts";
import type { MetadataResponse } from "../../protocol/schemas/metadata.ts";
import { ZERO_UUID } from "../../protocol/types.ts";
import type { Clock, Random } from "../../storage/platform.ts";
import { type Endpoint, type Network, NetworkError } from "../network.ts";
import { BrokerConnection } from "../peers/broker_connection.ts";
import type { Call } from "../peers/call.ts";
import { Calls } from "./calls.ts";
import { ClientError } from "./client_error.ts";
import { LeaderEpochs } from "./leader_epochs.ts";

const FIRST_BACKOFF_MS = 50;
const MAX_BACKOFF_MS = 1000;
/** How long a topic that is to be made by the broker may take to appear. */
const AUTO_CREATE_MS = 3000;
const DEFAULT_PORT = 9092;
/** How long a broker may take to accept a connection and say what it serves. */
const OPEN_TIMEOUT_MS = 3000;
/** Nobody has answered for so long: the next address is tried beside those before it. */
const HEAD_START_MS = 250;
const NEVER_CONNECTED = "NEVER_CONNECTED";
/** The channel to group coordinators: a join or a commit must not wait behind a long fetch. */
const GROUPS = "groups";

/** A broker answered with an error code. */
export class KafkaError extends Error {
  override name = "KafkaError";
  readonly code: ErrorCode;

  /** `text` is the broker's own sentence, where it gave one. */
  constructor(code: number, text?: string | null) {
    super(`${text || errorMessage(code as ErrorCode)} (${errorName(code as ErrorCode)})`);
    this.code = code as ErrorCode;
  }
}

/** There is no such topic. */
export class UnknownTopicError extends ClientError {
  override name = "UnknownTopicError";
  readonly topic: string;

  constructor(topic: string) {
    super(
      `topic ${topic} does not exist; "weir topic list" shows those that do, ` +
        `"weir topic create ${topic}" makes it`,
    );
    this.topic = topic;
  }
}

/** Errors: KafkaError unless `code` is NONE. */
export function throwOnError(code: number, text?: string | null): void {
  if (code !== ErrorCode.NONE) throw new KafkaError(code, text);
}

/** True when the same request may succeed a little later. */
export function isPassing(error: unknown): boolean {
  if (error instanceof KafkaError) return isRetriable(error.code);
  return error instanceof NetworkError && error.code !== "UNSUPPORTED_VERSION" &&
    error.code !== NEVER_CONNECTED;
}

/** What a client needs. */
export interface ClientOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly bootstrap: readonly Endpoint[];
  readonly clientId: string;
  readonly softwareVersion: string;
  /** How long one request may take. */
  readonly requestTimeoutMs: number;
  /** How long passing errors are tried again. */
  readonly retryTimeoutMs: number;
  readonly interrupted: AbortSignal;
}

/** Who leads a partition, −1 for nobody, and in which epoch, −1 where it is not known. */
export interface Leader {
  readonly leaderId: number;
  readonly leaderEpoch: number;
}

/** A partition with its leader. */
export interface PartitionLeader extends Leader {
  readonly partition: number;
}

/**
 * Reads `host:port,host:port`; IPv6 hosts in brackets, the port 9092 when left out.
 * Errors: ClientError.
 */
export function parseEndpoints(text: string): Endpoint[] {
  return text.split(",").map((part) => {
    const match = /^\s*(?:\[([^\]]+)\]|([^:\s]+))(?::(\d{1,5}))?\s*$/.exec(part);
    const port = match?.[3] === undefined ? DEFAULT_PORT : Number(match[3]);
    if (match === null || port < 1 || port > 65_535) {
      throw new ClientError(`Cannot read bootstrap server: "${part}" is not host:port`);
    }
    return { host: (match[1] ?? match[2])!, port };
  });
}

/** Connections to a cluster. Close it when done. */
export class KafkaClient {
  readonly clock: Clock;
  readonly random: Random;
  readonly interrupted: AbortSignal;
  readonly retryTimeoutMs: number;
  readonly #options: ClientOptions;
  readonly #connections = new Map<string, Promise<BrokerConnection>>();
  /** Those of them that have opened, by address. */
  readonly #opened = new Map<string, BrokerConnection>();
  /** Connections for one purpose each, by its name: what is urgent must not wait behind what may take long. */
  readonly #channels = new Map<string, Map<string, Promise<BrokerConnection>>>();
  /** Addresses of the brokers by node id, from the last metadata. */
  readonly #brokers = new Map<number, Endpoint>();
  readonly #coordinators = new Map<string, number>();
  readonly #epochs = new LeaderEpochs();
  readonly #closing = new AbortController();
  #hasConnected = false;

  constructor(options: ClientOptions) {
    this.#options = options;
    this.clock = options.clock;
    this.random = options.random;
    this.interrupted = options.interrupted;
    this.retryTimeoutMs = options.retryTimeoutMs;
  }

  /**
   * A client of the same cluster with connections of its own, for whoever may wait there for long; it is interrupted by the
   * signal, too. Close it when done.
   */
  fork(interrupted: AbortSignal): KafkaClient {
    const both = AbortSignal.any([this.#options.interrupted, interrupted]);
    return new KafkaClient({ ...this.#options, interrupted: both });
  }

  /** Ends every connection, also those that somebody waits for. */
  async close(): Promise<void> {
    this.#closing.abort();
    const everywhere = [this.#connections, ...this.#channels.values()];
    const opening = everywhere.flatMap((connections) => [...connections.values()]);
    for (const connections of everywhere) connections.clear();
    for (const result of await Promise.allSettled(opening)) {
      if (result.status === "fulfilled") result.value.close();
    }
  }

  /**
   * Any broker that answers: one that is connected, else one of the bootstrap addresses and the known brokers. They
   * are tried in turn, and side by side where one takes its time: it may be stopped, or cut off.
   * Errors: rejects with NetworkError when none does.
   */
  async any(): Promise<BrokerConnection> {
    for (const connection of this.#opened.values()) if (connection.isOpen) return connection;
    const endpoints = [...this.#options.bootstrap, ...this.#brokers.values()];
    const attempts: Promise<BrokerConnection>[] = [];
    for (const endpoint of endpoints) {
      attempts.push(this.#connect(this.#connections, endpoint));
      const connection = await this.#firstOf(attempts, HEAD_START_MS);
      if (connection !== null) return connection;
    }
    const connection = await this.#firstOf(attempts, Infinity);
    return connection ?? this.#refuseAll(await Promise.allSettled(attempts));
  }

  /** The first that opens; null where the last one of them fails, or none has opened in time. */
  async #firstOf(
    attempts: readonly Promise<BrokerConnection>[],
    patienceMs: number,
  ): Promise<BrokerConnection | null> {
    const answered = new AbortController();
    const waits = [
      Promise.any(attempts).catch(() => null),
      patienceMs === Infinity ? null : attempts.at(-1)!.catch(() => null),
      patienceMs === Infinity
        ? null
        : this.clock.sleep(patienceMs, answered.signal).then(() => null),
    ].filter((wait) => wait !== null);
    const connection = await Promise.race(waits);
    answered.abort();
    this.#hasConnected ||= connection !== null;
    return connection;
  }

  /** Others that are connected are asked before it. */
  #askLast(connection: BrokerConnection): void {
    for (const [address, opened] of this.#opened) {
      if (opened !== connection) continue;
      this.#opened.delete(address);
      this.#opened.set(address, opened);
      return;
    }
  }

  #refuseAll(attempts: readonly PromiseSettledResult<BrokerConnection>[]): never {
    const failures = attempts.flatMap((attempt) =>
      attempt.status === "rejected" ? [attempt.reason as unknown] : []
    );
    const strange = failures.find((failure) => !(failure instanceof NetworkError));
    if (strange !== undefined) throw strange;
    const last = failures.at(-1);
    const addresses = this.#options.bootstrap.map(({ host, port }) => `${host}:${port}`).join(", ");
    const cause = last as NetworkError;
    throw new NetworkError(
      `no broker answers at ${addresses} (${cause.message}); is it running, ` +
        "and is --bootstrap-server right?",
      // A broker that was there may come back; one that never was is worth no wait.
      this.#hasConnected ? cause.code : NEVER_CONNECTED,
      { cause },
    );
  }

  /**
   * The broker with that node id; with `channel`, over a connection for what goes by that name alone. A broker answers
   * the requests of a connection in their order, so that whoever asks for long waits has one of its own. Channels are
   * kept until the client closes: their names are few and fixed. Errors: rejects with KafkaError or NetworkError.
   */
  async broker(nodeId: number, channel?: string): Promise<BrokerConnection> {
    const connections = channel === undefined ? this.#connections : this.#channel(channel);
    return await this.#brokerIn(connections, nodeId);
  }

  #channel(name: string): Map<string, Promise<BrokerConnection>> {
    let connections = this.#channels.get(name);
    if (connections === undefined) this.#channels.set(name, connections = new Map());
    return connections;
  }

  async #brokerIn(
    connections: Map<string, Promise<BrokerConnection>>,
    nodeId: number,
  ): Promise<BrokerConnection> {
    if (nodeId < 0) throw new KafkaError(ErrorCode.LEADER_NOT_AVAILABLE);
    if (!this.#brokers.has(nodeId)) await this.metadata([]);
    const endpoint = this.#brokers.get(nodeId);
    // It leads, and was fenced a moment ago: another one will.
    if (endpoint === undefined) throw new KafkaError(ErrorCode.LEADER_NOT_AVAILABLE);
    return await this.#connect(connections, endpoint);
  }

  /** The connection to an address, opened when there is none that is open. */
  async #connect(
    connections: Map<string, Promise<BrokerConnection>>,
    endpoint: Endpoint,
  ): Promise<BrokerConnection> {
    const key = `${endpoint.host}:${endpoint.port}`;
    for (;;) {
      let opening = connections.get(key);
      if (opening === undefined) {
        const { signal } = this.#closing;
        const openTimeoutMs = OPEN_TIMEOUT_MS;
        opening = BrokerConnection.open({ ...this.#options, endpoint, openTimeoutMs, signal });
        connections.set(key, opening);
      }
      try {
        const connection = await opening;
        if (connection.isOpen) {
          if (connections === this.#connections) this.#opened.set(key, connection);
          return connection;
        }
      } catch (error) {
        if (connections.get(key) === opening) connections.delete(key);
        throw error;
      }
      if (connections.get(key) === opening) connections.delete(key);
    }
  }

  /**
   * Runs `attempt` until it succeeds, as long as it fails with what may pass.
   * Errors: rejects with the last error after `timeoutMs`, at once with one that does not pass, and when interrupted.
   */
  async retry<T>(attempt: () => Promise<T>, timeoutMs = this.retryTimeoutMs): Promise<T> {
    const deadline = this.clock.monotonicMs() + timeoutMs;
    for (let backoffMs = FIRST_BACKOFF_MS;; backoffMs = Math.min(2 * backoffMs, MAX_BACKOFF_MS)) {
      try {
        return await attempt();
      } catch (error) {
        const expired = this.clock.monotonicMs() + backoffMs > deadline;
        if (expired || !isPassing(error) || this.interrupted.aborted) throw error;
      }
      await this.clock.sleep(this.jitter(backoffMs), this.interrupted);
    }
  }

  /** A time around `delayMs`, so that many clients do not come back at once. */
  jitter(delayMs: number): number {
    return delayMs * (0.8 + (this.random.uint32() / 2 ** 32) * 0.4);
  }

  /** Asks any broker, with retries. */
  async ask<Q extends Message, A extends Message>(
    call: Call<Q, A>,
    body: Encodable<Q>,
  ): Promise<Decoded<A>> {
    return await this.retry(async () => await (await this.any()).request(call, body));
  }

  /** Asks whoever listens at an address. Returns: null when nobody answers there. */
  async askAt<Q extends Message, A extends Message>(
    endpoint: Endpoint,
    call: Call<Q, A>,
    body: Encodable<Q>,
  ): Promise<Decoded<A> | null> {
    try {
      return await (await this.#connect(this.#connections, endpoint)).request(call, body);
    } catch (error) {
      if (error instanceof NetworkError) return null;
      throw error;
    }
  }

  /**
   * Metadata of the topics named; of all when `topics` is null, of the brokers alone when it is empty. Of a broker that is
   * behind only what still holds: a partition has no leader where a newer one has been heard of.
   */
  async metadata(
    topics: readonly string[] | null,
    { autoCreate = false }: { readonly autoCreate?: boolean } = {},
  ): Promise<MetadataResponse> {
    const connection = await this.any();
    const answer = await connection.request(Calls.metadata, {
      topics: topics?.map((name) => ({ name, topicId: ZERO_UUID })) ?? null,
      allowAutoTopicCreation: autoCreate,
      includeClusterAuthorizedOperations: false,
      includeTopicAuthorizedOperations: false,
    });
    this.#brokers.clear();
    for (const { nodeId, host, port } of answer.brokers) this.#brokers.set(nodeId, { host, port });
    const checked = answer.topics.map((topic) => this.#epochs.checked(topic));
    const isBehind = checked.some((topic, index) => topic !== answer.topics[index]);
    if (!isBehind) return answer;
    this.#askLast(connection);
    return { ...answer, topics: checked };
  }

  /**
   * The partitions of a topic with their leaders, by partition number; waits for leaders.
   * Errors: rejects with KafkaError or NetworkError; ClientError when it does not exist.
   */
  async leaders(
    topic: string,
    { autoCreate = false }: { readonly autoCreate?: boolean } = {},
  ): Promise<PartitionLeader[]> {
    // A broker that makes the topic says for a moment that it is not there.
    const patientUntilMs = this.clock.monotonicMs() + (autoCreate ? AUTO_CREATE_MS : 0);
    return await this.retry(async () => {
      const { topics } = await this.metadata([topic], { autoCreate });
      const found = topics.find(({ name }) => name === topic);
      const code = found?.errorCode ?? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
      const isPatient = this.clock.monotonicMs() < patientUntilMs;
      if (code === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION && !isPatient) {
        throw new UnknownTopicError(topic);
      }
      throwOnError(code);
      return found!.partitions
        .map(({ partitionIndex, leaderId, leaderEpoch }) => ({
          partition: partitionIndex,
          leaderId,
          leaderEpoch,
        }))
        .sort((a, b) => a.partition - b.partition);
    });
  }

  /** The broker that coordinates a group. Errors: rejects with KafkaError or NetworkError. */
  async coordinator(groupId: string): Promise<BrokerConnection> {
    const known = this.#coordinators.get(groupId);
    if (known !== undefined) return await this.broker(known, GROUPS);
    const answer = await (await this.any()).request(Calls.findCoordinator, {
      key: "",
      keyType: 0,
      coordinatorKeys: [groupId],
    });
    const found = answer.coordinators[0];
    if (found === undefined) throw new KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE);
    throwOnError(found.errorCode, found.errorMessage);
    this.#brokers.set(found.nodeId, { host: found.host, port: found.port });
    this.#coordinators.set(groupId, found.nodeId);
    return await this.broker(found.nodeId, GROUPS);
  }

  /**
   * Asks the coordinator of a group, with retries; looks it up anew when it has moved.
   * `codeOf` picks the error code out of the answer.
   */
  async askCoordinator<Q extends Message, A extends Message>(
    groupId: string,
    call: Call<Q, A>,
    body: Encodable<Q>,
    codeOf: (answer: Decoded<A>) => number,
    timeoutMs?: number,
  ): Promise<Decoded<A>> {
    return await this.retry(async () => {
      try {
        const connection = await this.coordinator(groupId);
        const answer = await connection.request(call, body, { timeoutMs });
        const code = codeOf(answer);
        if (isRetriable(code as ErrorCode)) throw new KafkaError(code);
        return answer;
      } catch (error) {
        this.#coordinators.delete(groupId);
        throw error;
      }
    });
  }
}

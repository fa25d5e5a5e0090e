/**
 * A member of a consumer group (KIP-848) in a simulated cluster: its heartbeats say what it holds and bring what it is
 * to hold. Whoever works with its partitions takes them over between two pieces of work (`settle`).
 */

import type { KafkaClient } from "../../broker/client/kafka_client.ts";
import { KafkaError } from "../../broker/client/kafka_client.ts";
import { call } from "../../broker/peers/call.ts";
import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  consumerGroupHeartbeatRequest,
  consumerGroupHeartbeatResponse,
} from "../../protocol/schemas/consumer_group_heartbeat.ts";
import type { Uuid } from "../../protocol/types.ts";

const HEARTBEAT_MS = 500;
const REBALANCE_TIMEOUT_MS = 10_000;
const JOINING_EPOCH = 0;
const LEAVING_EPOCH = -1;

const heartbeatCall = call(
  ApiKey.ConsumerGroupHeartbeat,
  consumerGroupHeartbeatRequest,
  consumerGroupHeartbeatResponse,
  { lowest: 1 },
);

/** One member, subscribed to one topic. */
export class ConsumerMember {
  readonly memberId: string;
  memberEpoch = JOINING_EPOCH;
  readonly #client: KafkaClient;
  readonly #groupId: string;
  readonly #topic: string;
  #topicId: Uuid | null = null;
  /** What it may work with. */
  #held: readonly number[] = [];
  /** What it is to hold. */
  #wanted: readonly number[] = [];

  constructor(client: KafkaClient, groupId: string, topic: string, memberId: string) {
    this.#client = client;
    this.#groupId = groupId;
    this.#topic = topic;
    this.memberId = memberId;
  }

  /** True when it is to hold other partitions than it does. */
  get mustSettle(): boolean {
    return this.#held.join() !== this.#wanted.join();
  }

  /** Nothing is under way: from now on it holds what it is to hold. Returns: that. */
  settle(): readonly number[] {
    this.#held = this.#wanted;
    return this.#held;
  }

  /** Sends heartbeats until `isStopping`, then leaves. */
  async run(
    isStopping: () => boolean,
    insist: <T>(what: string, attempt: () => Promise<T>) => Promise<T>,
  ): Promise<void> {
    while (!isStopping()) {
      await insist("heartbeat", () => this.#beat());
      await this.#client.clock.sleep(HEARTBEAT_MS);
    }
    this.memberEpoch = LEAVING_EPOCH;
    await insist("leave", () => this.#beat());
  }

  async #beat(): Promise<void> {
    const epoch = this.memberEpoch;
    const held = this.#held;
    const answer = await this.#client.askCoordinator(this.#groupId, heartbeatCall, {
      groupId: this.#groupId,
      memberId: this.memberId,
      memberEpoch: epoch,
      rebalanceTimeoutMs: REBALANCE_TIMEOUT_MS,
      subscribedTopicNames: [this.#topic],
      topicPartitions: this.#topicId === null || held.length === 0 || epoch === JOINING_EPOCH
        ? []
        : [{ topicId: this.#topicId, partitions: held }],
    }, ({ errorCode }) => errorCode);
    const isLost = answer.errorCode === ErrorCode.UNKNOWN_MEMBER_ID ||
      answer.errorCode === ErrorCode.FENCED_MEMBER_EPOCH;
    if (isLost || epoch === LEAVING_EPOCH) {
      this.memberEpoch = JOINING_EPOCH;
      this.#held = this.#wanted = [];
      return;
    }
    if (answer.errorCode !== ErrorCode.NONE) throw new KafkaError(answer.errorCode);
    this.memberEpoch = answer.memberEpoch;
    if (answer.assignment === null) return;
    const [assigned] = answer.assignment.topicPartitions;
    if (assigned !== undefined) this.#topicId = assigned.topicId;
    this.#wanted = [...assigned?.partitions ?? []].sort((a, b) => a - b);
  }
}

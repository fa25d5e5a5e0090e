/** Brokers around a controller: they register, send heartbeats while they live, and fall silent. */

import assert from "node:assert/strict";
import type { HeartbeatReply } from "../../../broker/controller/controller.ts";
import { SUPPORTED_FEATURES } from "../../../broker/controller/feature_changes.ts";
import type { PartitionImage } from "../../../broker/controller/metadata_image.ts";
import type { RegistrationRequest } from "../../../broker/controller/broker_registrations.ts";
import type { Refusal } from "../../../broker/controller/topic_changes.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import type { Uuid } from "../../../protocol/types.ts";
import { CLUSTER_ID, Harness, newTopic } from "./harness.ts";

/** An id of 22 characters that names `kind` and two numbers. */
export function uuid(kind: string, a: number, b = 0): Uuid {
  return `${kind}${String(a).padStart(3, "0")}${String(b).padStart(4, "0")}`.padEnd(21, "x") +
    "A" as Uuid;
}

/** How long a broker may be silent here. */
export const SESSION_MS = 9000;

/** A controller that watches over brokers 1, 2, 3 …, none of which is this node's own. */
export class ClusterHarness {
  readonly harness: Harness;
  /** Epochs of the brokers that live. */
  readonly epochs = new Map<number, number>();
  readonly #starts = new Map<number, number>();

  private constructor(harness: Harness) {
    this.harness = harness;
  }

  static async start(
    { brokers = 3, seed = 1, flags = {}, maxChangesAtOnce }: {
      readonly brokers?: number;
      readonly maxChangesAtOnce?: number;
      readonly seed?: number;
      readonly flags?: Readonly<Record<string, string>>;
    } = {},
  ): Promise<ClusterHarness> {
    const harness = await Harness.start({
      seed,
      isController: true,
      maxChangesAtOnce,
      flags: { "broker.session.timeout.ms": String(SESSION_MS), ...flags },
    });
    const cluster = new ClusterHarness(harness);
    for (let id = 1; id <= brokers; id++) await cluster.join(id);
    return cluster;
  }

  get controller() {
    return this.harness.controller;
  }
  get image() {
    return this.harness.controller.image();
  }

  request(id: number, more: Partial<RegistrationRequest> = {}): RegistrationRequest {
    return {
      brokerId: id,
      clusterId: CLUSTER_ID,
      incarnationId: uuid("inc", id, this.#starts.get(id) ?? 0),
      endpoints: [{ name: "PLAINTEXT", host: `host${id}`, port: 9092, securityProtocol: 0 }],
      features: SUPPORTED_FEATURES,
      rack: null,
      logDirs: [uuid("dir", id)],
      previousBrokerEpoch: this.image.brokers.get(id)?.epoch ?? -1,
      ...more,
    };
  }

  /** A new incarnation of a broker registers. */
  async register(
    id: number,
    more: Partial<RegistrationRequest> = {},
  ): Promise<Awaited<ReturnType<Harness["controller"]["brokerRegistration"]>>> {
    this.#starts.set(id, (this.#starts.get(id) ?? 0) + 1);
    const registered = await this.controller.brokerRegistration(this.request(id, more));
    if ("brokerEpoch" in registered) this.epochs.set(id, registered.brokerEpoch);
    return registered;
  }

  beat(
    id: number,
    more: {
      readonly wantFence?: boolean;
      readonly wantShutDown?: boolean;
      readonly metadataOffset?: number;
      readonly offlineLogDirs?: readonly Uuid[];
    } = {},
  ): Promise<HeartbeatReply | Refusal> {
    return this.controller.brokerHeartbeat({
      brokerId: id,
      brokerEpoch: this.epochs.get(id)!,
      metadataOffset: this.image.offset,
      wantFence: false,
      wantShutDown: false,
      offlineLogDirs: [],
      cordonedLogDirs: null,
      ...more,
    });
  }

  /** Registers a broker and has it unfenced. */
  async join(id: number, more: Partial<RegistrationRequest> = {}): Promise<void> {
    const registered = await this.register(id, more);
    assert.equal(registered.error, ErrorCode.NONE);
    const reply = await this.beat(id);
    assert.equal("isFenced" in reply && reply.isFenced, false);
  }

  /** Lets time go by, in which `alive` send heartbeats, and the others do not. */
  async pass(ms: number, alive: readonly number[]): Promise<void> {
    for (let left = ms; left > 0; left -= 500) {
      await this.harness.clock.advance(Math.min(500, left));
      for (const id of alive) await this.beat(id);
    }
  }

  /** Broker `id` is silent until it is fenced. */
  async silence(id: number): Promise<void> {
    const others = [...this.image.brokers.values()]
      .filter((broker) => !broker.fenced && broker.id !== id);
    await this.pass(2 * SESSION_MS, others.map((broker) => broker.id));
    assert.equal(this.image.brokers.get(id)!.fenced, true);
  }

  async makeTopic(
    name: string,
    replicas: readonly (readonly number[])[],
    configs: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    const [made] = await this.controller.createTopics([newTopic(name, {
      partitionCount: -1,
      replicationFactor: -1,
      assignments: replicas.map((ids, partition) => ({ partition, replicas: ids })),
      configs: Object.entries(configs).map(([key, value]) => ({ name: key, value })),
    })]);
    assert.equal(made!.error, ErrorCode.NONE);
  }

  partition(topic: string, index = 0): PartitionImage {
    return this.image.topicByName(topic)!.partitions[index]!;
  }

  /** The leader of a partition asks for an ISR. */
  async alter(topic: string, isr: readonly number[], more: object = {}): Promise<ErrorCode> {
    const { leader, leaderEpoch, partitionEpoch } = this.partition(topic);
    const altered = await this.controller.alterPartition(
      { brokerId: leader, brokerEpoch: this.epochs.get(leader)! },
      [{
        topicId: this.image.topicByName(topic)!.id,
        partition: 0,
        leaderEpoch,
        partitionEpoch,
        leaderRecoveryState: 0,
        isr: isr.map((brokerId) => ({ brokerId, brokerEpoch: this.epochs.get(brokerId) ?? -1 })),
        ...more,
      }],
    );
    return "error" in altered ? altered.error : altered[0]!.error;
  }
}

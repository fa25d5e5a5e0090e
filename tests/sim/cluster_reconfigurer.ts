/**
 * Changes a simulated cluster while everything goes on: replicas move to other brokers, preferred leaders are
 * elected, voters of the quorum are taken out and come back.
 *
 *     (kraft.version 1) ──→ reassign │ call off │ elect │ remove a voter │ add it ──→ …  stop ──→ whole again
 *
 * Told to stop, it brings back what is needed to live through the loss of a disk: every voter votes, and every
 * partition has all of its replicas.
 */

import { Calls } from "../../broker/client/calls.ts";
import { KafkaError } from "../../broker/client/kafka_client.ts";
import { GROUP_METADATA_TOPIC } from "../../broker/controller/internal_topics.ts";
import { METADATA_TOPIC } from "../../broker/controller/quorum.ts";
import type { Endpoint } from "../../broker/network.ts";
import { call } from "../../broker/peers/call.ts";
import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode, errorName } from "../../protocol/errors.ts";
import {
  updateFeaturesRequest,
  updateFeaturesResponse,
} from "../../protocol/schemas/update_features.ts";
import { type ClientSurroundings, SimClient } from "./cluster_clients.ts";

const TIMEOUT_MS = 5_000;
const UPDATE_FEATURES = call(
  ApiKey.UpdateFeatures,
  updateFeaturesRequest,
  updateFeaturesResponse,
  { lowest: 1 },
);
/** Types of election in ElectLeaders. */
const PREFERRED = 0;

/** What there is to be changed. */
export interface ReconfigurerOptions {
  readonly topic: string;
  readonly partitions: readonly number[];
  readonly groupPartitions: readonly number[];
  readonly replicationFactor: number;
  readonly nodeIds: readonly number[];
  /** Where a node's controller listens. */
  readonly controllerOf: (nodeId: number) => Endpoint;
  /** Voters change too. */
  readonly hasDynamicVoters: boolean;
}

interface Vote {
  readonly replicaId: number;
  readonly replicaDirectoryId: string;
}

/** Somebody who cannot leave a cluster alone. */
export class SimReconfigurer extends SimClient {
  reassignedCount = 0;
  voterChangeCount = 0;
  readonly #options: ReconfigurerOptions;

  constructor(surroundings: ClientSurroundings, options: ReconfigurerOptions) {
    super(surroundings);
    this.#options = options;
  }

  async run(): Promise<void> {
    const { hasDynamicVoters } = this.#options;
    if (hasDynamicVoters) {
      await this.pass(this.random.below(3_000));
      await this.insist("dynamic voters", () => this.#upgrade());
    }
    const kinds = [
      () => this.#reassign(this.#someReplicas()),
      () => this.#reassign(null),
      () => this.#electPreferred(),
      ...(hasDynamicVoters ? [() => this.#changeVoters()] : []),
    ];
    while (!this.isStopping) {
      await this.pass(this.random.below(3_000));
      if (!this.isStopping) await this.insist("reconfigure", this.random.pick(kinds));
    }
    if (hasDynamicVoters) {
      await this.insist("all vote", async () => {
        if (!await this.#addMissing()) throw new KafkaError(ErrorCode.REQUEST_TIMED_OUT);
      });
    }
    for (const [topic, partitions] of this.#topics()) {
      for (const partition of partitions) {
        const replicas = this.#shuffled().slice(0, this.#options.replicationFactor);
        await this.insist("all replicas", () => this.#reassignOne(topic, partition, replicas));
      }
    }
    await this.client.close();
  }

  #topics(): (readonly [topic: string, partitions: readonly number[]])[] {
    const { topic, partitions, groupPartitions } = this.#options;
    return [[topic, partitions], [GROUP_METADATA_TOPIC, groupPartitions]];
  }

  #shuffled(): number[] {
    const left = [...this.#options.nodeIds];
    const shuffled: number[] = [];
    while (left.length > 0) {
      shuffled.push(...left.splice(this.random.below(left.length), 1));
    }
    return shuffled;
  }

  /** Never fewer than two where there are three: a disk may be lost. */
  #someReplicas(): number[] {
    const { replicationFactor, nodeIds } = this.#options;
    const fewest = Math.min(replicationFactor, 2);
    const most = Math.min(nodeIds.length, replicationFactor + 1);
    return this.#shuffled().slice(0, this.random.between(fewest, most));
  }

  async #reassign(replicas: readonly number[] | null): Promise<void> {
    const [topic, partitions] = this.random.pick(this.#topics());
    await this.#reassignOne(topic, this.random.pick(partitions), replicas);
  }

  /** `null` calls a reassignment off. */
  async #reassignOne(
    topic: string,
    partition: number,
    replicas: readonly number[] | null,
  ): Promise<void> {
    const answer = await (await this.client.any()).request(Calls.alterPartitionReassignments, {
      timeoutMs: TIMEOUT_MS,
      allowReplicationFactorChange: true,
      topics: [{ name: topic, partitions: [{ partitionIndex: partition, replicas }] }],
    });
    if (answer.errorCode !== ErrorCode.NONE) throw new KafkaError(answer.errorCode);
    const { errorCode } = answer.responses[0]!.partitions[0]!;
    this.surroundings.trace(`${topic}-${partition} to ${replicas}: ${errorName(errorCode)}`);
    const isDone = errorCode === ErrorCode.NONE ||
      // Of those that it had before, nobody is in sync now.
      (replicas === null && errorCode === ErrorCode.INVALID_REPLICA_ASSIGNMENT) ||
      errorCode === ErrorCode.NO_REASSIGNMENT_IN_PROGRESS ||
      // The groups' topic is made when somebody first asks for it.
      (topic === GROUP_METADATA_TOPIC && errorCode === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    if (!isDone) throw new KafkaError(errorCode);
    if (errorCode === ErrorCode.NONE) this.reassignedCount++;
  }

  /** What it says of single partitions depends on who is up. */
  async #electPreferred(): Promise<void> {
    const answer = await (await this.client.any()).request(Calls.electLeaders, {
      electionType: PREFERRED,
      topicPartitions: null,
      timeoutMs: TIMEOUT_MS,
    });
    if (answer.errorCode !== ErrorCode.NONE) throw new KafkaError(answer.errorCode);
  }

  /** Who votes can be changed from then on. */
  async #upgrade(): Promise<void> {
    const answer = await (await this.client.any()).request(UPDATE_FEATURES, {
      timeoutMs: TIMEOUT_MS,
      featureUpdates: [{ feature: "kraft.version", maxVersionLevel: 1, upgradeType: 1 }],
      validateOnly: false,
    });
    const { errorCode, errorMessage } = answer;
    this.surroundings.trace(`kraft.version 1: ${errorName(errorCode)} ${errorMessage}`);
    // A voter is away just now, and its directory is not known.
    const isPassed = errorCode === ErrorCode.INVALID_UPDATE_VERSION;
    if (isPassed) throw new KafkaError(ErrorCode.LEADER_NOT_AVAILABLE, errorMessage);
    if (errorCode !== ErrorCode.NONE) throw new KafkaError(errorCode, errorMessage);
  }

  async #quorum(): Promise<
    { readonly voters: readonly Vote[]; readonly observers: readonly Vote[] }
  > {
    const answer = await (await this.client.any()).request(Calls.describeQuorum, {
      topics: [{ topicName: METADATA_TOPIC, partitions: [{ partitionIndex: 0 }] }],
    });
    const { errorCode, currentVoters, observers } = answer.topics[0]!.partitions[0]!;
    if (errorCode !== ErrorCode.NONE) throw new KafkaError(errorCode);
    return { voters: currentVoters, observers };
  }

  async #changeVoters(): Promise<void> {
    const { voters } = await this.#quorum();
    if (voters.length < this.#options.nodeIds.length) {
      await this.#addMissing();
      return;
    }
    const { replicaId, replicaDirectoryId } = this.random.pick(voters);
    const answer = await (await this.client.any()).request(Calls.removeRaftVoter, {
      clusterId: null,
      voterId: replicaId,
      voterDirectoryId: replicaDirectoryId as never,
    });
    this.#told(`voter ${replicaId} goes`, answer);
  }

  /** Returns: true when nobody is missing. */
  async #addMissing(): Promise<boolean> {
    const { nodeIds, controllerOf } = this.#options;
    const { voters, observers } = await this.#quorum();
    const missing = nodeIds.find((id) => !voters.some(({ replicaId }) => replicaId === id));
    if (missing === undefined) return true;
    const seen = observers.find(({ replicaId }) => replicaId === missing);
    // Not heard of by this leader yet.
    if (seen === undefined) return false;
    const answer = await (await this.client.any()).request(Calls.addRaftVoter, {
      clusterId: null,
      timeoutMs: TIMEOUT_MS,
      voterId: missing,
      voterDirectoryId: seen.replicaDirectoryId as never,
      listeners: [{ name: "CONTROLLER", ...controllerOf(missing) }],
      ackWhenCommitted: true,
    });
    this.#told(`voter ${missing} comes`, answer);
    return false;
  }

  /** It may be refused by reasons of the moment. */
  #told(
    what: string,
    { errorCode, errorMessage }: {
      readonly errorCode: number;
      readonly errorMessage: string | null;
    },
  ): void {
    this.surroundings.trace(`${what}: ${errorName(errorCode as ErrorCode)} ${errorMessage}`);
    if (errorCode === ErrorCode.NONE) this.voterChangeCount++;
  }
}

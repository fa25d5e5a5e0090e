/**
 * Consumers of the classic protocol in many groups (see consumers_world.ts), which also change their metadata.
 *
 * What must hold at all times: a commit is accepted from the present owner of the partition only (later
 * generations never give way to earlier ones), a generation gives a partition to one member, an
 * acknowledged offset is never lost and never goes back. Once faults end: each partition of each group is
 * owned by exactly one live consumer, all in the same generation, and nobody waits for ever.
 */

import assert from "node:assert/strict";
import { ErrorCode } from "../../protocol/errors.ts";
import { ZERO_UUID } from "../../protocol/types.ts";
import type { GroupHarness } from "../broker/groups/harness.ts";
import {
  type AcceptedCommit,
  ClassicConsumer,
  type ConsumerIdentity,
  ConsumersWorld,
  type GroupConsumer,
  startHarness,
  type WorldCounts,
  type WorldOptions,
  type WorldTraits,
} from "./consumers_world.ts";

/** Groups differ: who freezes loses its session before or after the join phase ends without it. */
const TIMEOUTS = [
  { sessionTimeoutMs: 10_000, rebalanceTimeoutMs: 30_000 },
  { sessionTimeoutMs: 30_000, rebalanceTimeoutMs: 8_000 },
] as const;

const TRAITS: WorldTraits = {
  pauseMs: 10_000,
  freezeMs: 40_000,
  disturbPercent: 10,
  staticShare: 0.4,
  staysDynamic: true,
  lossShare: 0.002,
  healMs: 180_000,
  heartbeatIntervalMs: 3_000,
  maxSilentIntervals: 2,
  beatsWhileLeaving: true,
  freezesInSync: true,
};

/** Groups of classic consumers and one coordinator. */
export class GroupsWorld extends ConsumersWorld {
  /** Consumers of this protocol know topics by their names. */
  readonly topicId = ZERO_UUID;
  /** group, generation and partition → the member that a sync gave it to. */
  readonly #assigned = new Map<string, GroupConsumer>();
  /** group and partition → the generation and the consumer of the last accepted commit. */
  readonly #lastCommits = new Map<string, { generationId: number; owner: GroupConsumer }>();

  private constructor(harness: GroupHarness, options: WorldOptions) {
    super(harness, options, TRAITS);
  }

  static async run(options: WorldOptions): Promise<WorldCounts> {
    const world = new GroupsWorld(await startHarness(options.seed), options);
    await world.live();
    return world.counts;
  }

  override newConsumer(identity: ConsumerIdentity): GroupConsumer {
    return new RestlessConsumer(this, identity);
  }

  override checkHealed(): void {
    for (let group = 0; group < this.options.groupCount; group++) {
      const groupId = `g${group}`;
      const described = this.harness.coordinator.describeGroup(groupId);
      assert.equal(described.state, "Stable", `${groupId} is ${described.state}`);
      assert.deepEqual(
        described.members.map(({ memberId }) => memberId).sort(),
        this.liveConsumers(groupId).map(({ memberId }) => memberId).sort(),
        `${groupId}: the members are not the live consumers`,
      );
      this.checkGroup(groupId);
    }
  }

  /** The coordinator has told a consumer what it owns: nobody else may own it in that generation. */
  override taken(consumer: GroupConsumer, partitions: readonly number[]): void {
    for (const partition of partitions) {
      const key = `${consumer.groupId}/${consumer.epoch}/${partition}`;
      const before = this.#assigned.get(key);
      assert(
        before === undefined || before === consumer || before.isSameStatic(consumer),
        `${key} was given to ${before?.name} and to ${consumer.name}`,
      );
      this.#assigned.set(key, consumer);
    }
  }

  /** A commit was acknowledged: it must come from the owner, and never go back. */
  override committed(consumer: GroupConsumer, commit: AcceptedCommit): void {
    const { epoch: generationId, partition } = commit;
    const key = `${consumer.groupId}/${partition}`;
    const before = this.#lastCommits.get(key);
    if (before !== undefined) {
      const { owner } = before;
      assert(
        generationId >= before.generationId,
        `${key}: generation ${generationId} of ${consumer.name} accepted after ${before.generationId}`,
      );
      assert(
        generationId > before.generationId || owner === consumer || owner.isSameStatic(consumer),
        `${key}: ${owner.name} and ${consumer.name} both commit in generation ${generationId}`,
      );
    }
    super.committed(consumer, commit);
    this.#lastCommits.set(key, { generationId, owner: consumer });
  }
}

/** A consumer that changes its metadata, and whose assignments only consumers can read: one byte a partition. */
class RestlessConsumer extends ClassicConsumer {
  #metadataVersion = 0;

  constructor(world: GroupsWorld, identity: ConsumerIdentity) {
    const { groupId } = identity;
    super(world, identity, TIMEOUTS[groupId.endsWith("1") || groupId.endsWith("3") ? 1 : 0]);
  }

  override disturb(): void {
    this.#metadataVersion += 1;
    this.wantsJoin = true;
  }

  override userData(): Uint8Array {
    return new Uint8Array([this.#metadataVersion & 0xff]);
  }

  override encodeAssignment(partitions: readonly number[]): Uint8Array {
    return new Uint8Array(partitions);
  }

  override decodeAssignment(assignment: Uint8Array): readonly number[] {
    return [...assignment];
  }

  /** Asks once: without an answer it joins again. */
  override async fetchPositions(partitions: readonly number[]): Promise<void> {
    if (!await this.askPositions(partitions)) this.wantsJoin = true;
  }

  override async failed(error: ErrorCode): Promise<void> {
    if (error === ErrorCode.GROUP_ID_NOT_FOUND) this.wantsJoin = true;
    else await super.failed(error);
  }
}

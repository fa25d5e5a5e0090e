/**
 * Consumers of both protocols in the same groups (see consumers_world.ts).
 *
 * Consumers of the newer protocol heartbeat, let go of partitions and take them, and now and then say all there is to
 * say, or let go of nothing any more until they are given up; those of the classic protocol join, sync, and assign while they lead a classic group. Groups go over between the
 * protocols as their members come and go. All are subscribed to the same topic all the time.
 *
 * What must hold at all times: no partition is read by two consumers of which the coordinator has heard lately; an
 * acknowledged offset is never lost and never goes back, so no commit of a consumer that lost its partition counts;
 * a member's epoch never goes back. Once faults end: each partition is read by exactly one live consumer, and nobody
 * waits for ever.
 */

import assert from "node:assert/strict";
import { ErrorCode } from "../../protocol/errors.ts";
import { decodePartitions } from "../../broker/groups/consumer_group_records.ts";
import { decodeAssignment, encodeAssignment } from "../../broker/groups/consumer_protocol.ts";
import type { GroupHarness } from "../broker/groups/harness.ts";
import {
  ClassicConsumer,
  type ConsumerIdentity,
  ConsumersWorld,
  GroupConsumer,
  LOST,
  startHarness,
  TOPIC,
  type WorldCounts,
  type WorldOptions,
  type WorldTraits,
} from "./consumers_world.ts";

const SESSION_MS = 45_000;
const CLASSIC_SESSION_MS = 20_000;
const REBALANCE_TIMEOUT_MS = 30_000;
/** The coordinator may have given up whom it has not heard of for so long. */
const SURE_MS = Math.min(SESSION_MS, CLASSIC_SESSION_MS, REBALANCE_TIMEOUT_MS);

const TRAITS: WorldTraits = {
  pauseMs: 15_000,
  freezeMs: 60_000,
  disturbPercent: 5,
  staticShare: 0.3,
  staysDynamic: false,
  lossShare: 0.01,
  healMs: 240_000,
  heartbeatIntervalMs: 5_000,
  maxSilentIntervals: 3,
  beatsWhileLeaving: false,
  freezesInSync: false,
};

/** How a world is made. */
export interface ConsumerWorldOptions extends WorldOptions {
  /** How likely a new consumer speaks the classic protocol. */
  readonly classicShare: number;
}

/** What the world has seen. */
export interface ConsumerWorldCounts extends WorldCounts {
  /** How often a group was seen to be of another type than before. */
  readonly migrations: number;
}

/** Groups of consumers of both protocols and one coordinator. */
export class ConsumerGroupsWorld extends ConsumersWorld {
  readonly topicId = this.harness.controller.image().topicByName(TOPIC)!.id;
  readonly #classicShare: number;
  readonly #types = new Map<string, string>();
  #migrations = 0;

  private constructor(harness: GroupHarness, options: ConsumerWorldOptions) {
    super(harness, options, TRAITS);
    this.#classicShare = options.classicShare;
  }

  static async run(options: ConsumerWorldOptions): Promise<ConsumerWorldCounts> {
    const world = new ConsumerGroupsWorld(await startHarness(options.seed), options);
    await world.live();
    return { ...world.counts, migrations: world.#migrations };
  }

  override newConsumer(identity: ConsumerIdentity): GroupConsumer {
    return this.random.chance(this.#classicShare)
      ? new MigratingConsumer(this, identity)
      : new HeartbeatConsumer(this, identity);
  }

  override stepped(): void {
    for (const { groupId, type } of this.harness.coordinator.listGroups().groups) {
      const before = this.#types.get(groupId);
      if (before !== undefined && before !== type) this.#migrations += 1;
      this.#types.set(groupId, type);
    }
  }

  override checkHealed(): void {
    const { groups } = this.harness.coordinator.listGroups();
    for (const { groupId, type, state, memberCount } of groups) {
      assert.equal(state, "Stable", `${groupId} is ${type} and ${state}`);
      assert.equal(
        memberCount,
        this.liveConsumers(groupId).length,
        `${groupId}: the members are not the live consumers`,
      );
      this.checkGroup(groupId);
    }
  }

  /** A consumer begins to read partitions: nobody else may, of whom the coordinator has heard lately. */
  override taken(consumer: GroupConsumer, partitions: readonly number[]): void {
    // Who was frozen takes what is another's by now, until it hears of that.
    if (!this.#isSurelyMember(consumer)) return;
    const others = this.liveConsumers(consumer.groupId).filter((other) =>
      other !== consumer && this.#isSurelyMember(other) && !other.isSameStatic(consumer)
    );
    for (const partition of partitions) {
      const other = others.find(({ held }) => held.has(partition));
      assert(
        other === undefined,
        `${consumer.groupId}/${partition} is read by ${other?.name} and ${consumer.name}`,
      );
    }
  }

  #isSurelyMember({ isPresent, heardMs, heldUntilMs }: GroupConsumer): boolean {
    return isPresent && this.nowMs - heardMs < SURE_MS && this.nowMs < heldUntilMs;
  }
}

/** A consumer of the newer protocol: its heartbeats say what it holds and bring what it is to hold. */
class HeartbeatConsumer extends GroupConsumer {
  memberId = `member-${this.name}`;
  /** What it says next is all there is to say. */
  #isFull = true;
  /** Lets go of nothing until it is given up: what it does with partitions never ends. */
  #isStuck = false;

  constructor(world: ConsumerGroupsWorld, identity: ConsumerIdentity) {
    super(world, identity, REBALANCE_TIMEOUT_MS);
  }

  override disturb(): void {
    if (this.random.chance(0.5)) this.#isStuck = true;
    else this.#isFull = true;
  }

  override restart(): void {
    super.restart();
    this.#isStuck = false;
    this.heldUntilMs = Infinity;
  }

  override async leaveGroup(): Promise<void> {
    this.epoch = this.instanceId !== null && this.random.chance(0.8) ? -2 : -1;
    await this.world.call(this, (coordinator) => (
      coordinator.consumerGroupHeartbeat(this.groupId, this.#heartbeat())
    ));
  }

  #heartbeat() {
    const isFull = this.#isFull || this.epoch === 0;
    return {
      memberId: this.memberId,
      memberEpoch: this.epoch,
      instanceId: this.instanceId,
      rackId: null,
      rebalanceTimeoutMs: isFull ? REBALANCE_TIMEOUT_MS : -1,
      clientId: this.name,
      clientHost: "/sim",
      subscribedTopicNames: isFull ? [TOPIC] : null,
      subscribedTopicRegex: null,
      serverAssignor: null,
      owned: decodePartitions([{ topicId: this.world.topicId, partitions: [...this.held] }]),
    };
  }

  override async beat(): Promise<void> {
    const answer = await this.world.call(this, (coordinator) => (
      coordinator.consumerGroupHeartbeat(this.groupId, this.#heartbeat())
    ));
    if (!this.isAlive) return;
    await this.thaw();
    if (answer === LOST) {
      this.#isFull = true;
      return;
    }
    if ("error" in answer) {
      await this.failed(answer.error);
      return;
    }
    const { heardMs } = this;
    this.heardMs = this.askedMs;
    assert(answer.memberEpoch >= this.epoch, `${this.name}: its epoch went back`);
    this.epoch = answer.memberEpoch;
    this.#isFull = false;
    this.lastProgressMs = this.world.nowMs;
    if (answer.assignment === null) return;
    const told = new Set(answer.assignment.get(this.world.topicId)?.keys() ?? []);
    const fresh = [...told].filter((partition) => !this.held.has(partition));
    const old = [...this.held].filter((partition) => !told.has(partition));
    if (this.#isStuck && old.length > 0) {
      // It may have been told before, in an answer that was lost.
      this.heldUntilMs = Math.min(this.heldUntilMs, heardMs + REBALANCE_TIMEOUT_MS);
      for (const partition of old) told.add(partition);
    } else for (const partition of old) this.positions.delete(partition);
    this.world.taken(this, fresh);
    this.held = told;
    await this.fetchPositions(fresh);
  }

  override async commitRefused(error: ErrorCode): Promise<void> {
    // The next heartbeat brings the epoch that counts.
    if (error !== ErrorCode.STALE_MEMBER_EPOCH) await this.failed(error);
  }

  override async failed(error: ErrorCode): Promise<void> {
    this.#isFull = true;
    switch (error) {
      case ErrorCode.UNKNOWN_MEMBER_ID:
      case ErrorCode.FENCED_MEMBER_EPOCH:
      case ErrorCode.GROUP_ID_NOT_FOUND:
        this.restart();
        return;
      case ErrorCode.UNRELEASED_INSTANCE_ID:
        // The one before has died without a word: its session has to end first.
        await this.world.harness.clock.sleep(this.world.traits.heartbeatIntervalMs);
        return;
      default:
        await super.failed(error);
    }
  }
}

/** A classic consumer with assignments that the coordinator can read, so that its group can go over. */
class MigratingConsumer extends ClassicConsumer {
  constructor(world: ConsumerGroupsWorld, identity: ConsumerIdentity) {
    super(world, identity, {
      sessionTimeoutMs: CLASSIC_SESSION_MS,
      rebalanceTimeoutMs: REBALANCE_TIMEOUT_MS,
    });
  }

  override encodeAssignment(partitions: readonly number[]): Uint8Array {
    return encodeAssignment(new Map([[TOPIC, [...partitions]]]), 0);
  }

  override decodeAssignment(assignment: Uint8Array): readonly number[] {
    return decodeAssignment(assignment)?.get(TOPIC) ?? [];
  }

  override async failed(error: ErrorCode): Promise<void> {
    if (error === ErrorCode.GROUP_ID_NOT_FOUND) this.restart();
    else await super.failed(error);
  }
}

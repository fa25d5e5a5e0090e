/**
 * Consumers of both protocols in the same groups against the real coordinator on virtual time, with crashes of both.
 *
 * Consumers of the newer protocol heartbeat, let go of partitions and take them; those of the classic protocol join,
 * sync, and assign while they lead a classic group. Groups go over between the protocols as their members come and go.
 * Chance makes consumers leave, die, freeze for longer than their sessions, change their subscription, and lose
 * answers; the coordinator is killed or loses power and comes back.
 *
 * What must hold at all times: no partition is read by two consumers of which the coordinator has heard lately; an
 * acknowledged offset is never lost and never goes back, so no commit of a consumer that lost its partition counts;
 * a member's epoch never goes back. Once faults end: each partition is read by exactly one live consumer, and nobody
 * waits for ever.
 */

import assert from "node:assert/strict";
import { Writer } from "../../protocol/bytes.ts";
import { ErrorCode, errorName } from "../../protocol/errors.ts";
import { leaderEpoch, offset, type Uuid } from "../../protocol/types.ts";
import { decodePartitions } from "../../broker/groups/consumer_group_records.ts";
import { decodeAssignment, encodeAssignment } from "../../broker/groups/consumer_protocol.ts";
import type { GroupCoordinator } from "../../broker/groups/coordinator.ts";
import { GroupHarness } from "../broker/groups/harness.ts";
import type { SimRandom } from "./sim_random.ts";

const TOPIC = "t";
const PARTITION_COUNT = 32;
const SESSION_MS = 45_000;
const CLASSIC_SESSION_MS = 20_000;
const REBALANCE_TIMEOUT_MS = 30_000;
const HEARTBEAT_INTERVAL_MS = 5_000;
/** The coordinator may have given up whom it has not heard of for so long. */
const SURE_MS = Math.min(SESSION_MS, CLASSIC_SESSION_MS, REBALANCE_TIMEOUT_MS);
/** A client gives up on an answer after so long. */
const REQUEST_TIMEOUT_MS = 15_000;

const LOST = Symbol("lost");

/** How a world is made. */
export interface ConsumerWorldOptions {
  readonly seed: number;
  readonly groupCount: number;
  readonly consumersPerGroup: number;
  /** Virtual time with faults. */
  readonly faultsMs: number;
  /** How likely a new consumer speaks the classic protocol. */
  readonly classicShare: number;
}

/** What the world has seen. */
export interface ConsumerWorldCounts {
  commits: number;
  refusedCommits: number;
  rebalances: number;
  crashes: number;
  deaths: number;
  /** How often a group was seen to be of another type than before. */
  migrations: number;
}

/** Groups of consumers and one coordinator. */
export class ConsumerGroupsWorld {
  readonly harness: GroupHarness;
  readonly random: SimRandom;
  readonly consumers = new Set<Consumer>();
  readonly counts: ConsumerWorldCounts = {
    commits: 0,
    refusedCommits: 0,
    rebalances: 0,
    crashes: 0,
    deaths: 0,
    migrations: 0,
  };
  readonly topicId: Uuid;
  readonly #options: ConsumerWorldOptions;
  /** group and partition → the highest offset whose commit was acknowledged. */
  readonly #acknowledged = new Map<string, number>();
  readonly #types = new Map<string, string>();
  readonly #inFlight = new Set<(lost: typeof LOST) => void>();
  #isUp = true;
  /** What a consumer found to be wrong. */
  #failure: unknown = null;
  faults = true;
  #nextName = 1;

  private constructor(harness: GroupHarness, options: ConsumerWorldOptions) {
    this.harness = harness;
    this.#options = options;
    this.random = harness.random.fork("world");
    this.topicId = harness.controller.image().topicByName(TOPIC)!.id;
  }

  static async run(options: ConsumerWorldOptions): Promise<ConsumerWorldCounts> {
    const harness = await GroupHarness.start({
      seed: options.seed,
      flags: { "group.initial.rebalance.delay.ms": "1000" },
      maxSyncMs: 100,
    });
    await harness.ready();
    const world = new ConsumerGroupsWorld(harness, options);
    for (let group = 0; group < options.groupCount; group++) {
      for (let i = 0; i < options.consumersPerGroup; i++) world.spawn(`g${group}`);
    }
    await world.#faultPhase();
    await world.#healPhase();
    return world.counts;
  }

  get nowMs(): number {
    return this.harness.clock.monotonicMs();
  }

  /** A new consumer; some are static and come back under the same instance id. */
  spawn(groupId: string, instanceId?: string | null): void {
    const name = `c${this.#nextName++}`;
    const instance = instanceId ?? (this.random.chance(0.3) ? `static-${name}` : null);
    const isClassic = this.random.chance(this.#options.classicShare);
    const consumer = new Consumer(this, {
      groupId,
      name,
      instanceId: instance,
      isClassic,
      random: this.random.fork(name),
    });
    this.consumers.add(consumer);
    consumer.run().catch((error: unknown) => {
      this.#failure ??= error;
    });
  }

  async #faultPhase(): Promise<void> {
    const { clock } = this.harness;
    const endMs = this.nowMs + this.#options.faultsMs;
    while (this.nowMs < endMs) {
      await clock.advance(500 + this.random.below(15_000));
      if (this.#failure !== null) throw this.#failure;
      this.#noteTypes();
      if (this.random.chance(0.02)) await this.#crash();
      for (let count = 1 + this.random.below(3); count > 0; count--) {
        this.#trouble(this.random.pick([...this.consumers]));
      }
    }
    this.faults = false;
  }

  #noteTypes(): void {
    for (const { groupId, type } of this.harness.coordinator.listGroups().groups) {
      const before = this.#types.get(groupId);
      if (before !== undefined && before !== type) this.counts.migrations += 1;
      this.#types.set(groupId, type);
    }
  }

  #trouble(consumer: Consumer): void {
    const draw = this.random.below(100);
    const { groupId, instanceId } = consumer;
    if (draw < 15) consumer.leave();
    else if (draw < 35) consumer.die();
    else if (draw < 60) {
      consumer.freeze(1_000 + this.random.below(60_000));
      return;
    } else if (draw < 65) {
      consumer.isFull = true;
      return;
    } else return;
    this.counts.deaths += 1;
    this.consumers.delete(consumer);
    const left = [...this.consumers].filter((other) => other.groupId === groupId).length;
    // Some are not replaced at once, so that the others have to notice by themselves.
    const afterMs = left < 3 ? 1_000 : this.random.below(300_000);
    void this.harness.clock.sleep(afterMs).then(() => {
      if (this.faults) this.spawn(groupId, instanceId);
    });
  }

  async #crash(): Promise<void> {
    this.counts.crashes += 1;
    if (this.random.chance(0.5)) this.harness.crash();
    else this.harness.kill();
    this.#isUp = false;
    for (const lose of [...this.#inFlight]) lose(LOST);
    this.#inFlight.clear();
    await this.harness.clock.advance(this.random.below(8_000));
    await this.harness.open();
    this.#isUp = true;
  }

  /** Faults are over: everything has to settle within bounded time. */
  async #healPhase(): Promise<void> {
    await this.harness.clock.advance(240_000);
    if (this.#failure !== null) throw this.#failure;
    const { coordinator } = this.harness;
    for (const { groupId, type, state, memberCount } of coordinator.listGroups().groups) {
      const live = [...this.consumers].filter((consumer) => consumer.groupId === groupId);
      assert.equal(state, "Stable", `${groupId} is ${type} and ${state}`);
      assert.equal(memberCount, live.length, `${groupId}: the members are not the live consumers`);
      const held = live.flatMap((consumer) => [...consumer.held]).sort((a, b) => a - b);
      assert.deepEqual(
        held,
        Array.from({ length: PARTITION_COUNT }, (_, partition) => partition),
        `${groupId}: not every partition is read exactly once`,
      );
      assert.equal(new Set(live.map(({ epoch }) => epoch)).size, 1, `${groupId}: epochs differ`);
      for (const consumer of live) consumer.assertNotStuck();
      for (let partition = 0; partition < PARTITION_COUNT; partition++) {
        const answer = coordinator.fetchOffsets(
          groupId,
          [{ topic: TOPIC, topicId: this.topicId, partitions: [partition] }],
          true,
        );
        assert("topics" in answer);
        const value = answer.topics[0]?.partitions[0]?.offset ?? -1;
        assert(value >= this.acknowledged(groupId, partition), `${groupId}: a commit is lost`);
      }
    }
    assert.equal(coordinator.waitingCount, 0, "somebody waits although every group is stable");
    this.counts.rebalances = coordinator.rebalanceCount;
    await this.harness.run(coordinator.stop());
    assert.equal(this.harness.coordinatorClock.pendingTimers, 0);
  }

  /** A request over a network that takes its time and may lose the answer with the coordinator. */
  async call<T>(
    consumer: Consumer,
    request: (coordinator: GroupCoordinator) => T | Promise<T>,
  ): Promise<T | typeof LOST> {
    const { clock } = this.harness;
    await clock.sleep(1 + consumer.random.below(10));
    if (!this.#isUp) {
      await clock.sleep(100 + consumer.random.below(400));
      return LOST;
    }
    consumer.askedMs = this.nowMs;
    const answer = await new Promise<T | typeof LOST>((resolve, reject) => {
      this.#inFlight.add(resolve);
      const timer = clock.timer(
        REBALANCE_TIMEOUT_MS + REQUEST_TIMEOUT_MS,
        () => resolve(LOST),
      );
      void Promise.resolve(request(this.harness.coordinator)).then((value) => {
        timer.cancel();
        this.#inFlight.delete(resolve);
        resolve(value);
      }).catch(reject);
    });
    await clock.sleep(1 + consumer.random.below(10));
    return this.faults && consumer.random.chance(0.01) ? LOST : answer;
  }

  /** A consumer begins to read partitions: nobody else may, of whom the coordinator has heard lately. */
  taken(consumer: Consumer, partitions: Iterable<number>): void {
    // Who was frozen takes what is another's by now, until it hears of that.
    if (!consumer.isSurelyMember) return;
    const others = [...this.consumers].filter((other) =>
      other !== consumer && other.groupId === consumer.groupId && other.isSurelyMember &&
      !other.isSameStatic(consumer)
    );
    for (const partition of partitions) {
      const other = others.find(({ held }) => held.has(partition));
      assert(
        other === undefined,
        `${consumer.groupId}/${partition} is read by ${other?.name} and ${consumer.name}`,
      );
    }
  }

  /** A commit was acknowledged: offsets never go back. */
  committed(consumer: Consumer, partition: number, value: number): void {
    this.counts.commits += 1;
    const before = this.acknowledged(consumer.groupId, partition);
    assert(
      value >= before,
      `${consumer.groupId}/${partition}: ${value} of ${consumer.name} acknowledged after ${before}`,
    );
    this.#acknowledged.set(`${consumer.groupId}/${partition}`, value);
  }

  acknowledged(groupId: string, partition: number): number {
    return this.#acknowledged.get(`${groupId}/${partition}`) ?? -1;
  }
}

/** One consumer process. */
class Consumer {
  readonly groupId: string;
  readonly name: string;
  readonly instanceId: string | null;
  readonly isClassic: boolean;
  readonly random: SimRandom;
  memberId: string;
  /** Member epoch or generation. */
  epoch = 0;
  held = new Set<number>();
  /** When it asked last, and when it asked what was granted last. */
  askedMs = -Infinity;
  heardMs = -Infinity;
  /** What it says next is all there is to say. */
  isFull = true;
  readonly #world: ConsumerGroupsWorld;
  readonly #positions = new Map<number, number>();
  #isAlive = true;
  #isLeaving = false;
  #frozenUntilMs = 0;
  #wantsJoin = true;
  #lastProgressMs = 0;

  constructor(world: ConsumerGroupsWorld, { groupId, name, instanceId, isClassic, random }: {
    readonly groupId: string;
    readonly name: string;
    readonly instanceId: string | null;
    readonly isClassic: boolean;
    readonly random: SimRandom;
  }) {
    this.#world = world;
    this.groupId = groupId;
    this.name = name;
    this.instanceId = instanceId;
    this.isClassic = isClassic;
    this.random = random;
    this.memberId = isClassic ? "" : `member-${name}`;
  }

  get isSurelyMember(): boolean {
    return this.#isAlive && !this.#isLeaving && this.#world.nowMs - this.heardMs < SURE_MS;
  }
  isSameStatic(other: Consumer): boolean {
    return this.instanceId !== null && this.instanceId === other.instanceId;
  }
  die(): void {
    this.#isAlive = false;
  }
  leave(): void {
    this.#isLeaving = true;
  }
  freeze(forMs: number): void {
    this.#frozenUntilMs = this.#world.nowMs + forMs;
  }
  assertNotStuck(): void {
    const silentMs = this.#world.nowMs - this.#lastProgressMs;
    assert(silentMs < 3 * HEARTBEAT_INTERVAL_MS, `${this.name} has been silent for ${silentMs} ms`);
  }

  async run(): Promise<void> {
    while (this.#isAlive) {
      await this.#thaw();
      if (this.#isLeaving) {
        await this.#leaveGroup();
        return;
      }
      if (this.isClassic && this.#wantsJoin) await this.#join();
      else await this.#work();
    }
  }

  /** Returns: true when it had been frozen. */
  async #thaw(): Promise<boolean> {
    const wasFrozen = this.#frozenUntilMs > this.#world.nowMs;
    while (this.#frozenUntilMs > this.#world.nowMs) {
      await this.#world.harness.clock.sleep(this.#frozenUntilMs - this.#world.nowMs);
    }
    return wasFrozen;
  }

  async #leaveGroup(): Promise<void> {
    this.#isAlive = false;
    this.held.clear();
    const { memberId, instanceId } = this;
    if (memberId === "") return;
    if (!this.isClassic) {
      this.epoch = instanceId !== null && this.random.chance(0.8) ? -2 : -1;
      await this.#world.call(this, (coordinator) => (
        coordinator.consumerGroupHeartbeat(this.groupId, this.#heartbeat())
      ));
    } else if (instanceId === null) {
      const leaving = [{ memberId, groupInstanceId: null, reason: "closed" }];
      await this.#world.call(
        this,
        (coordinator) => coordinator.leaveGroup(this.groupId, leaving),
      );
    }
  }

  /** A while of reading: now and then a commit, then a heartbeat; a commit is the first thing after a thaw. */
  async #work(): Promise<void> {
    if (this.random.chance(0.3)) await this.#commit();
    if (!this.#isAlive || (this.isClassic && this.#wantsJoin)) return;
    if (this.epoch !== 0) await this.#world.harness.clock.sleep(HEARTBEAT_INTERVAL_MS);
    if (await this.#thaw()) await this.#commit();
    if (!this.#isAlive || this.#isLeaving || (this.isClassic && this.#wantsJoin)) return;
    if (this.isClassic) await this.#beatClassic();
    else await this.#beat();
  }

  // ---- the consumer protocol ------------------------------------------------------------------------

  #heartbeat() {
    const isFull = this.isFull || this.epoch === 0;
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
      owned: decodePartitions([{ topicId: this.#world.topicId, partitions: [...this.held] }]),
    };
  }

  async #beat(): Promise<void> {
    const answer = await this.#world.call(this, (coordinator) => (
      coordinator.consumerGroupHeartbeat(this.groupId, this.#heartbeat())
    ));
    const { askedMs } = this;
    if (!this.#isAlive) return;
    await this.#thaw();
    if (answer === LOST) {
      this.isFull = true;
      return;
    }
    if ("error" in answer) {
      await this.#failed(answer.error);
      return;
    }
    this.heardMs = askedMs;
    assert(answer.memberEpoch >= this.epoch, `${this.name}: its epoch went back`);
    this.epoch = answer.memberEpoch;
    this.isFull = false;
    this.#lastProgressMs = this.#world.nowMs;
    if (answer.assignment === null) return;
    const told = new Set(answer.assignment.get(this.#world.topicId)?.keys() ?? []);
    const fresh = [...told].filter((partition) => !this.held.has(partition));
    for (const partition of this.held) if (!told.has(partition)) this.#positions.delete(partition);
    this.#world.taken(this, fresh);
    this.held = told;
    await this.#fetchPositions(fresh);
  }

  // ---- the classic protocol -------------------------------------------------------------------------

  async #join(): Promise<void> {
    this.held.clear();
    this.#positions.clear();
    const answer = await this.#world.call(this, (coordinator) => (
      coordinator.joinGroup({
        groupId: this.groupId,
        memberId: this.memberId,
        groupInstanceId: this.instanceId,
        clientId: this.name,
        clientHost: "/sim",
        sessionTimeoutMs: CLASSIC_SESSION_MS,
        rebalanceTimeoutMs: REBALANCE_TIMEOUT_MS,
        protocolType: "consumer",
        protocols: [{ name: "range", metadata: subscription() }],
        requiresKnownMemberId: true,
        supportsSkippingAssignment: true,
        reason: null,
      })
    ));
    if (!this.#isAlive) return;
    await this.#thaw();
    if (answer === LOST) return;
    if (answer.error === ErrorCode.MEMBER_ID_REQUIRED) {
      this.memberId = answer.memberId;
      return;
    }
    if (answer.error !== ErrorCode.NONE) {
      await this.#failed(answer.error);
      return;
    }
    this.memberId = answer.memberId;
    this.epoch = answer.generationId;
    const isAssigning = answer.leader === this.memberId && !answer.skipAssignment;
    const memberIds = answer.members.map(({ memberId }) => memberId);
    await this.#sync(isAssigning ? assign(memberIds) : new Map());
  }

  async #sync(assignments: ReadonlyMap<string, Uint8Array>): Promise<void> {
    const answer = await this.#world.call(this, (coordinator) => (
      coordinator.syncGroup({
        groupId: this.groupId,
        memberId: this.memberId,
        groupInstanceId: this.instanceId,
        generationId: this.epoch,
        protocolType: "consumer",
        protocolName: "range",
        assignments,
      })
    ));
    if (!this.#isAlive || answer === LOST) return;
    if (answer.error !== ErrorCode.NONE) {
      await this.#failed(answer.error);
      return;
    }
    this.#wantsJoin = false;
    this.heardMs = this.askedMs;
    this.#lastProgressMs = this.#world.nowMs;
    const told = decodeAssignment(answer.assignment)?.get(TOPIC) ?? [];
    this.#world.taken(this, told);
    this.held = new Set(told);
    await this.#fetchPositions(told);
  }

  async #beatClassic(): Promise<void> {
    let isKnown = false;
    const error = await this.#world.call(this, (coordinator) => {
      // While a coordinator loads it takes every member's word.
      isKnown = coordinator.answersFor(coordinator.partitionFor(this.groupId));
      return coordinator.heartbeat(this.groupId, this.#claim());
    });
    if (!this.#isAlive || error === LOST) return;
    if (error === ErrorCode.NONE) {
      if (isKnown) this.heardMs = this.askedMs;
      this.#lastProgressMs = this.#world.nowMs;
    } else await this.#failed(error);
  }

  // ---- offsets --------------------------------------------------------------------------------------

  async #fetchPositions(partitions: readonly number[]): Promise<void> {
    let rest = partitions;
    while (rest.length > 0 && this.#isAlive) {
      const asked = rest;
      const known = asked.map((one) => this.#world.acknowledged(this.groupId, one));
      const answer = await this.#world.call(this, (coordinator) => (
        coordinator.fetchOffsets(
          this.groupId,
          [{ topic: TOPIC, topicId: this.#world.topicId, partitions: asked }],
          true,
        )
      ));
      if (answer !== LOST && "topics" in answer) {
        for (const [index, found] of (answer.topics[0]?.partitions ?? []).entries()) {
          assert(found.offset >= known[index]!, `${this.groupId}: an older offset was fetched`);
          if (this.held.has(found.partition)) {
            this.#positions.set(found.partition, Math.max(found.offset, 0));
          }
        }
        return;
      }
      rest = asked.filter((partition) => this.held.has(partition));
    }
  }

  async #commit(): Promise<void> {
    const partitions = [...this.#positions];
    if (partitions.length === 0) return;
    const claim = this.#claim();
    const values = partitions.map(([partition, position]) => {
      const value = position + 1 + this.random.below(100);
      this.#positions.set(partition, value);
      return { partition, value };
    });
    const outcome = await this.#world.call(this, async (coordinator) => {
      const errors = await coordinator.commitOffsets({
        groupId: this.groupId,
        ...claim,
        knowsGroupIdNotFound: true,
        retentionTimeMs: -1,
        offsets: values.map(({ partition, value }) => ({
          topic: TOPIC,
          topicId: this.#world.topicId,
          partition,
          offset: offset(value),
          leaderEpoch: leaderEpoch(-1),
          metadata: null,
        })),
      });
      if ("error" in errors) return errors.error;
      for (const [index, { partition, value }] of values.entries()) {
        if (errors[index] === ErrorCode.NONE) this.#world.committed(this, partition, value);
      }
      return errors.find((error) => error !== ErrorCode.NONE) ?? ErrorCode.NONE;
    });
    if (!this.#isAlive || outcome === LOST || outcome === ErrorCode.NONE) return;
    this.#world.counts.refusedCommits += 1;
    // The next heartbeat brings the epoch that counts.
    if (outcome !== ErrorCode.STALE_MEMBER_EPOCH) await this.#failed(outcome);
  }

  /** What clients do about each error. */
  async #failed(error: ErrorCode): Promise<void> {
    switch (error) {
      case ErrorCode.UNKNOWN_MEMBER_ID:
      case ErrorCode.FENCED_MEMBER_EPOCH:
      case ErrorCode.GROUP_ID_NOT_FOUND:
        if (this.isClassic) this.memberId = "";
        this.#restart();
        return;
      case ErrorCode.ILLEGAL_GENERATION:
      case ErrorCode.REBALANCE_IN_PROGRESS:
        this.#wantsJoin = true;
        return;
      case ErrorCode.UNRELEASED_INSTANCE_ID:
        // The one before has died without a word: its session has to end first.
        await this.#world.harness.clock.sleep(HEARTBEAT_INTERVAL_MS);
        return;
      case ErrorCode.FENCED_INSTANCE_ID:
        // Another process has taken its place; this one ends for good.
        this.#isAlive = false;
        this.#world.consumers.delete(this);
        return;
      case ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
      case ErrorCode.COORDINATOR_NOT_AVAILABLE:
      case ErrorCode.NOT_COORDINATOR:
        this.isFull = true;
        await this.#world.harness.clock.sleep(100);
        return;
      default:
        assert.fail(`${this.name} did not expect ${errorName(error)}`);
    }
  }

  #restart(): void {
    this.held.clear();
    this.#positions.clear();
    this.epoch = 0;
    this.isFull = true;
    this.#wantsJoin = true;
  }

  #claim() {
    return {
      memberId: this.memberId,
      groupInstanceId: this.instanceId,
      generationId: this.epoch,
    };
  }
}

/** A subscription of a consumer that gives all up in a rebalance. */
function subscription(): Uint8Array {
  const writer = new Writer();
  writer.int16(0);
  writer.int32(1);
  writer.nullableString(TOPIC);
  writer.nullableBytes(null);
  return writer.finish();
}

/** Dealt out in the order of the member ids. */
function assign(memberIds: readonly string[]): Map<string, Uint8Array> {
  const sorted = [...memberIds].sort();
  return new Map(sorted.map((memberId, index) => {
    const mine = Array.from({ length: PARTITION_COUNT }, (_, partition) => partition)
      .filter((partition) => partition % sorted.length === index);
    return [memberId, encodeAssignment(new Map([[TOPIC, mine]]), 0)];
  }));
}

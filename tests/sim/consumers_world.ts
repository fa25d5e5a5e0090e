/**
 * What the worlds of group members share: consumers of many groups against the real coordinator on virtual time, with
 * crashes of both.
 *
 * A world lives two phases. In the first, chance makes consumers leave, die, freeze for longer than their sessions,
 * lose answers, and have the troubles of their own kind; the coordinator is killed or loses power and comes back. In
 * the second nothing fails any more, and everything has to settle within bounded time.
 *
 * A consumer is a loop: it gets into its group, reads for a while, commits now and then, sends heartbeats, and does
 * about errors what clients do. `ClassicConsumer` joins and syncs; a world adds what its consumers say and remember.
 *
 * Every consumer draws from a stream of its own, and the world from another: what one draws moves none of the others.
 */

import assert from "node:assert/strict";
import { Writer } from "../../protocol/bytes.ts";
import { ErrorCode, errorName } from "../../protocol/errors.ts";
import { leaderEpoch, offset, type Uuid } from "../../protocol/types.ts";
import type { MemberClaim } from "../../broker/groups/classic_group.ts";
import type { GroupCoordinator } from "../../broker/groups/coordinator.ts";
import { GroupHarness } from "../broker/groups/harness.ts";
import type { SimRandom } from "./sim_random.ts";

/** What all consumers read. */
export const TOPIC = "t";
const PARTITIONS = Array.from({ length: 32 }, (_, partition) => partition);
/** A client gives up on an answer after so long. */
const REQUEST_TIMEOUT_MS = 15_000;

/** An answer that did not come. */
export const LOST = Symbol("lost");

/** How a world is made. */
export interface WorldOptions {
  readonly seed: number;
  readonly groupCount: number;
  readonly consumersPerGroup: number;
  /** Virtual time with faults. */
  readonly faultsMs: number;
}

/** What one kind of world is like, whatever its seed. */
export interface WorldTraits {
  /** From one trouble to the next: half a second, and up to so much more. */
  readonly pauseMs: number;
  /** Who freezes does for a second, and up to so much more. */
  readonly freezeMs: number;
  /** Of a hundred troubles, how many disturb a consumer (`GroupConsumer.disturb`). */
  readonly disturbPercent: number;
  /** How many of the consumers are static. */
  readonly staticShare: number;
  /** Whether who comes in the place of a consumer that was not static is not static either, or chance decides. */
  readonly staysDynamic: boolean;
  /** How many answers are lost. */
  readonly lossShare: number;
  /** Within so long everything has settled once faults end. */
  readonly healMs: number;
  readonly heartbeatIntervalMs: number;
  /** A consumer without a successful heartbeat for so many intervals is stuck. */
  readonly maxSilentIntervals: number;
  /** Whether a consumer that is about to leave sends the heartbeat that is due. */
  readonly beatsWhileLeaving: boolean;
  /** Whether a consumer that froze while it waited for an assignment reads it only after. */
  readonly freezesInSync: boolean;
}

/** What a world has seen, for a summary and for tests of the tests. */
export interface WorldCounts {
  commits: number;
  refusedCommits: number;
  rebalances: number;
  crashes: number;
  /** Consumers that left or died. */
  departures: number;
  freezes: number;
}

/** A coordinator that takes a random while for each sync. */
export async function startHarness(seed: number): Promise<GroupHarness> {
  const harness = await GroupHarness.start({
    seed,
    flags: { "group.initial.rebalance.delay.ms": "1000" },
    maxSyncMs: 100,
  });
  await harness.ready();
  return harness;
}

/** Groups of consumers and one coordinator. */
export abstract class ConsumersWorld {
  readonly harness: GroupHarness;
  readonly random: SimRandom;
  readonly traits: WorldTraits;
  readonly consumers = new Set<GroupConsumer>();
  readonly counts: WorldCounts = {
    commits: 0,
    refusedCommits: 0,
    rebalances: 0,
    crashes: 0,
    departures: 0,
    freezes: 0,
  };
  /** How consumers name the topic in requests. */
  abstract readonly topicId: Uuid;
  readonly options: WorldOptions;
  /** group and partition → the highest offset whose commit was acknowledged. */
  readonly #acknowledged = new Map<string, number>();
  readonly #inFlight = new Set<(lost: typeof LOST) => void>();
  #isUp = true;
  /** What a consumer found to be wrong. */
  #failure: unknown = null;
  #hasFaults = true;
  #nextName = 1;

  constructor(harness: GroupHarness, options: WorldOptions, traits: WorldTraits) {
    this.harness = harness;
    this.options = options;
    this.traits = traits;
    this.random = harness.random.fork("world");
  }

  abstract newConsumer(identity: ConsumerIdentity): GroupConsumer;

  /** A consumer begins to read partitions: checks that nobody else may. */
  abstract taken(consumer: GroupConsumer, partitions: readonly number[]): void;

  /** Some time with faults has passed. */
  stepped(): void {}

  /** Everything has had its time to settle: checks that it has, each group with `checkGroup`. */
  abstract checkHealed(): void;

  /** Both phases. */
  async live(): Promise<void> {
    const { groupCount, consumersPerGroup } = this.options;
    for (let group = 0; group < groupCount; group++) {
      for (let i = 0; i < consumersPerGroup; i++) this.#spawn(`g${group}`);
    }
    await this.#faultPhase();
    await this.#healPhase();
  }

  get nowMs(): number {
    return this.harness.clock.monotonicMs();
  }

  liveConsumers(groupId: string): GroupConsumer[] {
    return [...this.consumers].filter((consumer) => consumer.groupId === groupId);
  }

  /** A new consumer; some are static and come back under the same instance id. */
  #spawn(groupId: string, formerInstanceId?: string | null): void {
    const name = `c${this.#nextName++}`;
    const instanceId = formerInstanceId !== undefined
      ? formerInstanceId
      : this.random.chance(this.traits.staticShare)
      ? `static-${name}`
      : null;
    const random = this.random.fork(name);
    const consumer = this.newConsumer({ groupId, name, instanceId, random });
    this.consumers.add(consumer);
    consumer.run().catch((error: unknown) => {
      this.#failure ??= error;
    });
  }

  async #faultPhase(): Promise<void> {
    const { clock } = this.harness;
    const endMs = this.nowMs + this.options.faultsMs;
    while (this.nowMs < endMs) {
      await clock.advance(500 + this.random.below(this.traits.pauseMs));
      if (this.#failure !== null) throw this.#failure;
      this.stepped();
      if (this.random.chance(0.02)) await this.#crash();
      for (let count = 1 + this.random.below(3); count > 0; count--) {
        this.#trouble(this.random.pick([...this.consumers]));
      }
    }
    this.#hasFaults = false;
  }

  #trouble(consumer: GroupConsumer): void {
    const draw = this.random.below(100);
    if (draw < 15) {
      consumer.leave();
      this.#replace(consumer);
    } else if (draw < 35) {
      consumer.die();
      this.#replace(consumer);
    } else if (draw < 60) {
      this.counts.freezes += 1;
      consumer.freeze(1_000 + this.random.below(this.traits.freezeMs));
    } else if (draw < 60 + this.traits.disturbPercent) consumer.disturb();
  }

  /** Some are not replaced at once, so that the others have to notice by themselves. */
  #replace(consumer: GroupConsumer): void {
    const { groupId, instanceId } = consumer;
    this.counts.departures += 1;
    this.consumers.delete(consumer);
    const afterMs = this.liveConsumers(groupId).length < 3 ? 1_000 : this.random.below(300_000);
    const formerInstanceId = this.traits.staysDynamic ? instanceId : instanceId ?? undefined;
    void this.harness.clock.sleep(afterMs).then(() => {
      if (this.#hasFaults) this.#spawn(groupId, formerInstanceId);
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
    await this.harness.clock.advance(this.traits.healMs);
    if (this.#failure !== null) throw this.#failure;
    this.checkHealed();
    const { coordinator } = this.harness;
    assert.equal(coordinator.waitingCount, 0, "somebody waits although every group is stable");
    this.counts.rebalances = coordinator.rebalances.total;
    await this.harness.run(coordinator.stop());
    assert.equal(this.harness.coordinatorClock.pendingTimers, 0);
  }

  /** A settled group: each partition is one live consumer's, all are in one epoch, and nothing is lost. */
  checkGroup(groupId: string): void {
    const live = this.liveConsumers(groupId);
    assert.deepEqual(
      live.flatMap(({ held }) => [...held]).sort((a, b) => a - b),
      PARTITIONS,
      `${groupId}: not every partition is read exactly once`,
    );
    assert.equal(new Set(live.map(({ epoch }) => epoch)).size, 1, `${groupId}: epochs differ`);
    for (const consumer of live) consumer.assertNotStuck();
    for (const partition of PARTITIONS) {
      const answer = this.harness.coordinator.fetchOffsets(
        groupId,
        [{ topic: TOPIC, topicId: this.topicId, partitions: [partition] }],
        true,
      );
      assert("topics" in answer);
      const value = answer.topics[0]?.partitions[0]?.offset ?? -1;
      const expected = this.acknowledged(groupId, partition);
      assert(
        value >= expected,
        `${groupId}/${partition}: ${value} fetched, ${expected} acknowledged`,
      );
    }
  }

  /** A request over a network that takes its time and may lose the answer with the coordinator. */
  async call<T>(
    consumer: GroupConsumer,
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
        consumer.rebalanceTimeoutMs + REQUEST_TIMEOUT_MS,
        () => resolve(LOST),
      );
      void Promise.resolve(request(this.harness.coordinator)).then((value) => {
        timer.cancel();
        this.#inFlight.delete(resolve);
        resolve(value);
      }).catch(reject);
    });
    await clock.sleep(1 + consumer.random.below(10));
    return this.#hasFaults && consumer.random.chance(this.traits.lossShare) ? LOST : answer;
  }

  /** A commit in an epoch was acknowledged: offsets never go back. */
  committed(consumer: GroupConsumer, commit: AcceptedCommit): void {
    this.counts.commits += 1;
    const { partition, value } = commit;
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

/** A commit that the coordinator took, and the epoch or generation that the consumer claimed. */
export interface AcceptedCommit {
  readonly epoch: number;
  readonly partition: number;
  readonly value: number;
}

/** Who a consumer is. */
export interface ConsumerIdentity {
  readonly groupId: string;
  readonly name: string;
  readonly instanceId: string | null;
  readonly random: SimRandom;
}

/** One consumer process. */
export abstract class GroupConsumer {
  readonly groupId: string;
  readonly name: string;
  readonly instanceId: string | null;
  readonly random: SimRandom;
  readonly rebalanceTimeoutMs: number;
  abstract memberId: string;
  /** Member epoch or generation. */
  epoch = 0;
  held = new Set<number>();
  /** When it asked last, and when it asked what was granted last. */
  askedMs = -Infinity;
  heardMs = -Infinity;
  /** Until when it may surely keep what it was told to let go of. */
  heldUntilMs = Infinity;
  readonly world: ConsumersWorld;
  /** The next offset of each partition that it may commit. */
  readonly positions = new Map<number, number>();
  isAlive = true;
  lastProgressMs = 0;
  #isLeaving = false;
  #frozenUntilMs = 0;

  constructor(
    world: ConsumersWorld,
    { groupId, name, instanceId, random }: ConsumerIdentity,
    rebalanceTimeoutMs: number,
  ) {
    this.world = world;
    this.groupId = groupId;
    this.name = name;
    this.instanceId = instanceId;
    this.random = random;
    this.rebalanceTimeoutMs = rebalanceTimeoutMs;
  }

  /** False once it has died or is about to leave. */
  get isPresent(): boolean {
    return this.isAlive && !this.#isLeaving;
  }
  isSameStatic(other: GroupConsumer): boolean {
    return this.instanceId !== null && this.instanceId === other.instanceId;
  }
  die(): void {
    this.isAlive = false;
  }
  leave(): void {
    this.#isLeaving = true;
  }
  freeze(forMs: number): void {
    this.#frozenUntilMs = this.world.nowMs + forMs;
  }
  /** A trouble that consumers of this kind have beside those of all. */
  disturb(): void {}

  assertNotStuck(): void {
    const { heartbeatIntervalMs, maxSilentIntervals } = this.world.traits;
    const silentMs = this.world.nowMs - this.lastProgressMs;
    assert(
      silentMs < maxSilentIntervals * heartbeatIntervalMs,
      `${this.name} has been silent for ${silentMs} ms`,
    );
  }

  async run(): Promise<void> {
    while (this.isAlive) {
      await this.thaw();
      if (this.#isLeaving) {
        this.isAlive = false;
        this.held.clear();
        if (this.memberId !== "") await this.leaveGroup();
        return;
      }
      await this.step();
    }
  }

  abstract leaveGroup(): Promise<void>;

  /** What it does next: gets into the group, or works. */
  step(): Promise<void> {
    return this.work();
  }

  /** Whether it lives and may go on with its work. */
  get isWorking(): boolean {
    return this.isAlive;
  }

  /** Returns: true when it had been frozen. */
  async thaw(): Promise<boolean> {
    const wasFrozen = this.#frozenUntilMs > this.world.nowMs;
    while (this.#frozenUntilMs > this.world.nowMs) {
      await this.world.harness.clock.sleep(this.#frozenUntilMs - this.world.nowMs);
    }
    return wasFrozen;
  }

  /** A while of reading: now and then a commit, then a heartbeat; a commit is the first thing after a thaw. */
  async work(): Promise<void> {
    const { heartbeatIntervalMs, beatsWhileLeaving } = this.world.traits;
    if (this.random.chance(0.3)) await this.#commit();
    if (!this.isWorking) return;
    // Who is no member yet does not wait.
    if (this.epoch !== 0) await this.world.harness.clock.sleep(heartbeatIntervalMs);
    if (await this.thaw()) await this.#commit();
    if (!this.isWorking || (this.#isLeaving && !beatsWhileLeaving)) return;
    await this.beat();
  }

  /** One heartbeat and what comes of it. */
  abstract beat(): Promise<void>;

  /** Asks where to read on from, until it is told or has lost the partitions. */
  async fetchPositions(partitions: readonly number[]): Promise<void> {
    let asked = partitions;
    while (asked.length > 0 && this.isAlive) {
      if (await this.askPositions(asked)) return;
      asked = asked.filter((partition) => this.held.has(partition));
    }
  }

  /** Returns: false when no answer came. */
  async askPositions(partitions: readonly number[]): Promise<boolean> {
    const known = partitions.map((one) => this.world.acknowledged(this.groupId, one));
    const answer = await this.world.call(this, (coordinator) => (
      coordinator.fetchOffsets(
        this.groupId,
        [{ topic: TOPIC, topicId: this.world.topicId, partitions }],
        true,
      )
    ));
    if (answer === LOST || !("topics" in answer)) return false;
    for (const [index, found] of (answer.topics[0]?.partitions ?? []).entries()) {
      const { partition, offset: value } = found;
      // It may be newer than what was acknowledged when this was asked for.
      assert(
        value >= known[index]!,
        `${this.groupId}/${partition}: ${value} fetched, ${known[index]} acknowledged`,
      );
      if (this.held.has(partition)) this.positions.set(partition, Math.max(value, 0));
    }
    return true;
  }

  async #commit(): Promise<void> {
    const partitions = [...this.positions];
    if (partitions.length === 0) return;
    const claim = this.claim();
    const values = partitions.map(([partition, position]) => {
      const value = position + 1 + this.random.below(100);
      this.positions.set(partition, value);
      return { partition, value };
    });
    const outcome = await this.world.call(this, async (coordinator) => {
      const errors = await coordinator.commitOffsets({
        groupId: this.groupId,
        ...claim,
        knowsGroupIdNotFound: true,
        retentionTimeMs: -1,
        offsets: values.map(({ partition, value }) => ({
          topic: TOPIC,
          topicId: this.world.topicId,
          partition,
          offset: offset(value),
          leaderEpoch: leaderEpoch(-1),
          metadata: null,
        })),
      });
      if ("error" in errors) return errors.error;
      for (const [index, { partition, value }] of values.entries()) {
        if (errors[index] !== ErrorCode.NONE) continue;
        this.world.committed(this, { epoch: claim.generationId, partition, value });
      }
      return errors.find((error) => error !== ErrorCode.NONE) ?? ErrorCode.NONE;
    });
    if (!this.isAlive || outcome === LOST || outcome === ErrorCode.NONE) return;
    this.world.counts.refusedCommits += 1;
    await this.commitRefused(outcome);
  }

  commitRefused(error: ErrorCode): Promise<void> {
    return this.failed(error);
  }

  /** What clients of either protocol do about each error. */
  async failed(error: ErrorCode): Promise<void> {
    switch (error) {
      case ErrorCode.FENCED_INSTANCE_ID:
        // Another process has taken its place; this one ends for good.
        this.isAlive = false;
        this.world.consumers.delete(this);
        return;
      case ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
      case ErrorCode.COORDINATOR_NOT_AVAILABLE:
      case ErrorCode.NOT_COORDINATOR:
        await this.world.harness.clock.sleep(100);
        return;
      default:
        assert.fail(`${this.name} did not expect ${errorName(error)}`);
    }
  }

  /** It is no member any more and has nothing. */
  restart(): void {
    this.held.clear();
    this.positions.clear();
    this.epoch = 0;
  }

  claim(): MemberClaim {
    const { memberId, instanceId, epoch } = this;
    return { memberId, groupInstanceId: instanceId, generationId: epoch };
  }
}

/** How long a classic consumer may be away. */
export interface ClassicTimeouts {
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
}

/** A consumer of the classic protocol: joins, assigns while it leads, syncs, and gives all up in a rebalance. */
export abstract class ClassicConsumer extends GroupConsumer {
  memberId = "";
  wantsJoin = true;
  readonly #timeouts: ClassicTimeouts;

  constructor(world: ConsumersWorld, identity: ConsumerIdentity, timeouts: ClassicTimeouts) {
    super(world, identity, timeouts.rebalanceTimeoutMs);
    this.#timeouts = timeouts;
  }

  /** What it adds to its subscription. */
  userData(): Uint8Array | null {
    return null;
  }

  abstract encodeAssignment(partitions: readonly number[]): Uint8Array;
  abstract decodeAssignment(assignment: Uint8Array): readonly number[];

  override get isWorking(): boolean {
    return this.isAlive && !this.wantsJoin;
  }

  override step(): Promise<void> {
    return this.wantsJoin ? this.#join() : this.work();
  }

  override async leaveGroup(): Promise<void> {
    // Static members only go away.
    if (this.instanceId !== null) return;
    const leaving = [{ memberId: this.memberId, groupInstanceId: null, reason: "closed" }];
    await this.world.call(this, (coordinator) => coordinator.leaveGroup(this.groupId, leaving));
  }

  async #join(): Promise<void> {
    this.held.clear();
    this.positions.clear();
    const answer = await this.world.call(this, (coordinator) => (
      coordinator.joinGroup({
        groupId: this.groupId,
        memberId: this.memberId,
        groupInstanceId: this.instanceId,
        clientId: this.name,
        clientHost: "/sim",
        ...this.#timeouts,
        protocolType: "consumer",
        protocols: [{ name: "range", metadata: subscription(this.userData()) }],
        requiresKnownMemberId: true,
        supportsSkippingAssignment: true,
        reason: null,
      })
    ));
    if (!this.isAlive) return;
    await this.thaw();
    if (answer === LOST) return;
    if (answer.error === ErrorCode.MEMBER_ID_REQUIRED) {
      this.memberId = answer.memberId;
      return;
    }
    if (answer.error !== ErrorCode.NONE) {
      await this.failed(answer.error);
      return;
    }
    this.memberId = answer.memberId;
    this.epoch = answer.generationId;
    const isAssigning = answer.leader === this.memberId && !answer.skipAssignment;
    const memberIds = answer.members.map(({ memberId }) => memberId);
    await this.#sync(answer.protocolName, isAssigning ? this.#assign(memberIds) : new Map());
  }

  async #sync(
    protocolName: string | null,
    assignments: ReadonlyMap<string, Uint8Array>,
  ): Promise<void> {
    const answer = await this.world.call(this, (coordinator) => (
      coordinator.syncGroup({
        groupId: this.groupId,
        memberId: this.memberId,
        groupInstanceId: this.instanceId,
        generationId: this.epoch,
        protocolType: "consumer",
        protocolName,
        assignments,
      })
    ));
    if (!this.isAlive || answer === LOST) return;
    if (this.world.traits.freezesInSync) await this.thaw();
    if (answer.error !== ErrorCode.NONE) {
      await this.failed(answer.error);
      return;
    }
    this.wantsJoin = false;
    this.heardMs = this.askedMs;
    const told = this.decodeAssignment(answer.assignment);
    this.world.taken(this, told);
    this.held = new Set(told);
    await this.fetchPositions(told);
  }

  /** Dealt out in the order of the member ids. */
  #assign(memberIds: readonly string[]): Map<string, Uint8Array> {
    const sorted = [...memberIds].sort();
    return new Map(sorted.map((memberId, index) => {
      const mine = PARTITIONS.filter((partition) => partition % sorted.length === index);
      return [memberId, this.encodeAssignment(mine)];
    }));
  }

  override async beat(): Promise<void> {
    let isKnown = false;
    const error = await this.world.call(this, (coordinator) => {
      // While a coordinator loads it takes every member's word.
      isKnown = coordinator.answersFor(coordinator.partitionFor(this.groupId));
      return coordinator.heartbeat(this.groupId, this.claim());
    });
    if (!this.isAlive || error === LOST) return;
    if (error === ErrorCode.NONE) {
      if (isKnown) this.heardMs = this.askedMs;
      this.lastProgressMs = this.world.nowMs;
    } else await this.failed(error);
  }

  override async failed(error: ErrorCode): Promise<void> {
    switch (error) {
      case ErrorCode.UNKNOWN_MEMBER_ID:
        this.restart();
        return;
      case ErrorCode.ILLEGAL_GENERATION:
      case ErrorCode.REBALANCE_IN_PROGRESS:
        this.wantsJoin = true;
        return;
      default:
        await super.failed(error);
    }
  }

  override restart(): void {
    super.restart();
    this.memberId = "";
    this.wantsJoin = true;
  }
}

/** A subscription as consumers send it: version 0, one topic, user data. */
function subscription(userData: Uint8Array | null): Uint8Array {
  const writer = new Writer();
  writer.int16(0);
  writer.int32(1);
  writer.nullableString(TOPIC);
  writer.nullableBytes(userData);
  return writer.finish();
}

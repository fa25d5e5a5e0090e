/**
 * Consumers of many groups against the real coordinator on virtual time, with crashes of both.
 *
 * Each consumer behaves as clients do: joins, assigns if it leads, syncs, fetches offsets, "reads", commits,
 * sends heartbeats; on errors it does what the Java client does. Chance makes consumers leave, die, freeze
 * for longer than their sessions, change their metadata, and lose answers; the coordinator is killed or
 * loses power and comes back.
 *
 * What must hold at all times: a commit is accepted from the present owner of the partition only (later
 * generations never give way to earlier ones), a generation gives a partition to one member, an
 * acknowledged offset is never lost and never goes back. Once faults end: each partition of each group is
 * owned by exactly one live consumer, all in the same generation, and nobody waits for ever.
 */

import assert from "node:assert/strict";
import { Writer } from "../../protocol/bytes.ts";
import { ErrorCode, errorName } from "../../protocol/errors.ts";
import { leaderEpoch, offset, ZERO_UUID } from "../../protocol/types.ts";
import type { JoinAnswer, SyncAnswer } from "../../broker/groups/classic_group.ts";
import type { GroupCoordinator } from "../../broker/groups/coordinator.ts";
import { GroupHarness } from "../broker/groups/harness.ts";
import type { SimRandom } from "./sim_random.ts";

const TOPIC = "t";
const PARTITION_COUNT = 32;
/** Groups differ: who freezes loses its session before or after the join phase ends without it. */
const TIMEOUTS = [
  { sessionTimeoutMs: 10_000, rebalanceTimeoutMs: 30_000 },
  { sessionTimeoutMs: 30_000, rebalanceTimeoutMs: 8_000 },
] as const;
const HEARTBEAT_INTERVAL_MS = 3_000;
/** A client gives up on an answer after so long. */
const REQUEST_TIMEOUT_MS = 15_000;

const LOST = Symbol("lost");

/** How a world is made. */
export interface WorldOptions {
  readonly seed: number;
  readonly groupCount: number;
  readonly consumersPerGroup: number;
  /** Virtual time with faults. */
  readonly faultsMs: number;
}

/** What the world has seen, for a summary and for tests of the tests. */
export interface WorldCounts {
  commits: number;
  refusedCommits: number;
  rebalances: number;
  crashes: number;
  deaths: number;
  freezes: number;
}

/** What is known of one partition in one group. */
interface PartitionHistory {
  /** The highest offset whose commit was acknowledged. */
  acknowledged: number;
  /** The generation and the consumer of the last accepted commit. */
  generationId: number;
  owner: Consumer | null;
}

/** Groups of consumers and one coordinator. */
export class GroupsWorld {
  readonly harness: GroupHarness;
  readonly random: SimRandom;
  readonly consumers = new Set<Consumer>();
  readonly counts: WorldCounts = {
    commits: 0,
    refusedCommits: 0,
    rebalances: 0,
    crashes: 0,
    deaths: 0,
    freezes: 0,
  };
  readonly #options: WorldOptions;
  readonly #history = new Map<string, PartitionHistory>();
  /** group, generation and partition → the member that a sync gave it to. */
  readonly #assigned = new Map<string, Consumer>();
  readonly #inFlight = new Set<(lost: typeof LOST) => void>();
  #isUp = true;
  /** What a consumer found to be wrong. */
  #failure: unknown = null;
  faults = true;
  #nextName = 1;

  private constructor(harness: GroupHarness, options: WorldOptions) {
    this.harness = harness;
    this.#options = options;
    this.random = harness.random.fork("world");
  }

  static async run(options: WorldOptions): Promise<WorldCounts> {
    const harness = await GroupHarness.start({
      seed: options.seed,
      flags: { "group.initial.rebalance.delay.ms": "1000" },
      maxSyncMs: 100,
    });
    await harness.ready();
    const world = new GroupsWorld(harness, options);
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
  spawn(groupId: string, groupInstanceId?: string | null): void {
    const name = `c${this.#nextName++}`;
    const instance = groupInstanceId !== undefined
      ? groupInstanceId
      : this.random.chance(0.4)
      ? `static-${name}`
      : null;
    const consumer = new Consumer(this, groupId, name, instance, this.random.fork(name));
    this.consumers.add(consumer);
    consumer.run().catch((error: unknown) => {
      this.#failure ??= error;
    });
  }

  async #faultPhase(): Promise<void> {
    const { clock } = this.harness;
    const endMs = this.nowMs + this.#options.faultsMs;
    while (this.nowMs < endMs) {
      await clock.advance(500 + this.random.below(10_000));
      if (this.#failure !== null) throw this.#failure;
      if (this.random.chance(0.02)) await this.#crash();
      for (let count = 1 + this.random.below(3); count > 0; count--) {
        this.#trouble(this.random.pick([...this.consumers]));
      }
    }
    this.faults = false;
  }

  #trouble(consumer: Consumer): void {
    const draw = this.random.below(100);
    const { groupId, groupInstanceId } = consumer;
    if (draw < 15) consumer.leave();
    else if (draw < 35) consumer.die();
    else if (draw < 60) {
      this.counts.freezes += 1;
      consumer.freeze(1_000 + this.random.below(40_000));
      return;
    } else if (draw < 70) {
      consumer.changeMetadata();
      return;
    } else return;
    this.counts.deaths += 1;
    this.consumers.delete(consumer);
    const left = [...this.consumers].filter((other) => other.groupId === groupId).length;
    // Some are not replaced at once, so that the others have to notice by themselves.
    const afterMs = left < 3 ? 1_000 : this.random.below(300_000);
    void this.harness.clock.sleep(afterMs).then(() => {
      if (this.faults) this.spawn(groupId, draw < 35 ? groupInstanceId : undefined);
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
    await this.harness.clock.advance(180_000);
    if (this.#failure !== null) throw this.#failure;
    const { coordinator } = this.harness;
    for (let group = 0; group < this.#options.groupCount; group++) {
      const groupId = `g${group}`;
      const described = coordinator.describeGroup(groupId);
      const live = [...this.consumers].filter((consumer) => consumer.groupId === groupId);
      assert.equal(described.state, "Stable", `${groupId} is ${described.state}`);
      assert.deepEqual(
        described.members.map(({ memberId }) => memberId).sort(),
        live.map(({ memberId }) => memberId).sort(),
        `${groupId}: the members are not the live consumers`,
      );
      const owned = live.flatMap(({ owned }) => [...owned]).sort((a, b) => a - b);
      assert.deepEqual(
        owned,
        Array.from({ length: PARTITION_COUNT }, (_, partition) => partition),
        `${groupId}: not every partition is owned exactly once`,
      );
      assert.equal(new Set(live.map(({ generationId }) => generationId)).size, 1);
      for (const consumer of live) consumer.assertNotStuck();
      for (let partition = 0; partition < PARTITION_COUNT; partition++) {
        this.fetched(groupId, partition, this.#fetch(groupId, partition));
      }
    }
    assert.equal(coordinator.waitingCount, 0, "somebody waits although every group is stable");
    this.counts.rebalances = coordinator.rebalanceCount;
    await this.harness.run(coordinator.stop());
    assert.equal(this.harness.coordinatorClock.pendingTimers, 0);
  }

  #fetch(groupId: string, partition: number): number {
    const answer = this.harness.coordinator.fetchOffsets(
      groupId,
      [{ topic: TOPIC, topicId: ZERO_UUID, partitions: [partition] }],
      true,
    );
    assert("topics" in answer);
    return answer.topics[0]?.partitions[0]?.offset ?? -1;
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
    const answer = await new Promise<T | typeof LOST>((resolve, reject) => {
      this.#inFlight.add(resolve);
      const timer = clock.timer(
        consumer.timeouts.rebalanceTimeoutMs + REQUEST_TIMEOUT_MS,
        () => resolve(LOST),
      );
      void Promise.resolve(request(this.harness.coordinator)).then((value) => {
        timer.cancel();
        this.#inFlight.delete(resolve);
        resolve(value);
      }).catch(reject);
    });
    await clock.sleep(1 + consumer.random.below(10));
    return this.faults && consumer.random.chance(0.002) ? LOST : answer;
  }

  /** The coordinator has told a consumer what it owns: nobody else may own it in that generation. */
  assigned(consumer: Consumer, generationId: number, partitions: readonly number[]): void {
    for (const partition of partitions) {
      const key = `${consumer.groupId}/${generationId}/${partition}`;
      const before = this.#assigned.get(key);
      assert(
        before === undefined || before === consumer || before.isSameStatic(consumer),
        `${key} was given to ${before?.name} and to ${consumer.name}`,
      );
      this.#assigned.set(key, consumer);
    }
  }

  /** A commit was acknowledged: it must come from the owner, and never go back. */
  committed(consumer: Consumer, generationId: number, partition: number, value: number): void {
    this.counts.commits += 1;
    const key = `${consumer.groupId}/${partition}`;
    const before = this.#partition(key);
    assert(
      generationId >= before.generationId,
      `${key}: generation ${generationId} of ${consumer.name} accepted after ${before.generationId}`,
    );
    if (generationId === before.generationId && before.owner !== null) {
      assert(
        before.owner === consumer || before.owner.isSameStatic(consumer),
        `${key}: ${before.owner.name} and ${consumer.name} both commit in generation ${generationId}`,
      );
    }
    assert(
      value >= before.acknowledged,
      `${key}: ${value} acknowledged after ${before.acknowledged}`,
    );
    before.acknowledged = value;
    before.generationId = generationId;
    before.owner = consumer;
  }

  /** An offset was answered: it is no older than what was acknowledged when it was asked for. */
  fetched(groupId: string, partition: number, value: number, acknowledged = -1): void {
    const expected = acknowledged >= 0 ? acknowledged : this.acknowledged(groupId, partition);
    assert(
      value >= expected,
      `${groupId}/${partition}: ${value} fetched, ${expected} acknowledged`,
    );
  }

  acknowledged(groupId: string, partition: number): number {
    return this.#partition(`${groupId}/${partition}`).acknowledged;
  }

  #partition(key: string): PartitionHistory {
    let history = this.#history.get(key);
    if (history === undefined) {
      this.#history.set(key, history = { acknowledged: -1, generationId: -1, owner: null });
    }
    return history;
  }
}

/** One consumer process. */
class Consumer {
  readonly groupId: string;
  readonly name: string;
  readonly groupInstanceId: string | null;
  readonly random: SimRandom;
  readonly timeouts: typeof TIMEOUTS[number];
  memberId = "";
  generationId = -1;
  owned = new Set<number>();
  readonly #world: GroupsWorld;
  readonly #positions = new Map<number, number>();
  #isAlive = true;
  #isLeaving = false;
  #frozenUntilMs = 0;
  #metadataVersion = 0;
  #wantsJoin = true;
  #lastProgressMs = 0;

  constructor(
    world: GroupsWorld,
    groupId: string,
    name: string,
    groupInstanceId: string | null,
    random: SimRandom,
  ) {
    this.#world = world;
    this.groupId = groupId;
    this.name = name;
    this.groupInstanceId = groupInstanceId;
    this.random = random;
    this.timeouts = TIMEOUTS[groupId.endsWith("1") || groupId.endsWith("3") ? 1 : 0];
  }

  isSameStatic(other: Consumer): boolean {
    return this.groupInstanceId !== null && this.groupInstanceId === other.groupInstanceId;
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
  changeMetadata(): void {
    this.#metadataVersion += 1;
    this.#wantsJoin = true;
  }
  assertNotStuck(): void {
    const silentMs = this.#world.nowMs - this.#lastProgressMs;
    assert(silentMs < 2 * HEARTBEAT_INTERVAL_MS, `${this.name} has been silent for ${silentMs} ms`);
  }

  async run(): Promise<void> {
    while (this.#isAlive) {
      await this.#thaw();
      if (this.#isLeaving) {
        await this.#leaveGroup();
        return;
      }
      if (this.#wantsJoin) await this.#join();
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
    const { memberId, groupInstanceId } = this;
    if (memberId === "" || groupInstanceId !== null) return;
    await this.#world.call(this, (coordinator) => (
      coordinator.leaveGroup(this.groupId, [{ memberId, groupInstanceId, reason: "closed" }])
    ));
  }

  async #join(): Promise<void> {
    this.owned.clear();
    const answer = await this.#world.call<JoinAnswer>(this, (coordinator) => (
      coordinator.joinGroup({
        groupId: this.groupId,
        memberId: this.memberId,
        groupInstanceId: this.groupInstanceId,
        clientId: this.name,
        clientHost: "/sim",
        ...this.timeouts,
        protocolType: "consumer",
        protocols: [{ name: "range", metadata: this.#subscription() }],
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
    this.generationId = answer.generationId;
    await this.#sync(answer);
  }

  async #sync(joined: JoinAnswer): Promise<void> {
    const isAssigning = joined.leader === this.memberId && !joined.skipAssignment;
    const answer = await this.#world.call<SyncAnswer>(this, (coordinator) => (
      coordinator.syncGroup({
        groupId: this.groupId,
        memberId: this.memberId,
        groupInstanceId: this.groupInstanceId,
        generationId: this.generationId,
        protocolType: "consumer",
        protocolName: joined.protocolName,
        assignments: isAssigning ? assign(joined.members.map((m) => m.memberId)) : new Map(),
      })
    ));
    if (!this.#isAlive || answer === LOST) return;
    await this.#thaw();
    if (answer.error !== ErrorCode.NONE) {
      await this.#failed(answer.error);
      return;
    }
    this.#wantsJoin = false;
    this.owned = new Set(answer.assignment);
    this.#world.assigned(this, this.generationId, [...this.owned]);
    await this.#fetchPositions();
  }

  async #fetchPositions(): Promise<void> {
    this.#positions.clear();
    const partitions = [...this.owned];
    const known = partitions.map((one) => this.#world.acknowledged(this.groupId, one));
    const answer = await this.#world.call(this, (coordinator) => (
      coordinator.fetchOffsets(
        this.groupId,
        [{ topic: TOPIC, topicId: ZERO_UUID, partitions }],
        true,
      )
    ));
    if (!this.#isAlive || answer === LOST || !("topics" in answer)) {
      this.#wantsJoin = true;
      return;
    }
    for (
      const [index, { partition, offset: value }] of (answer.topics[0]?.partitions ?? []).entries()
    ) {
      this.#world.fetched(this.groupId, partition, value, known[index]);
      this.#positions.set(partition, Math.max(value, 0));
    }
  }

  /** A while of reading: heartbeats, and now and then a commit; the first thing after a thaw. */
  async #work(): Promise<void> {
    if (this.random.chance(0.3)) await this.#commit();
    if (!this.#isAlive || this.#wantsJoin) return;
    await this.#world.harness.clock.sleep(HEARTBEAT_INTERVAL_MS);
    if (await this.#thaw()) await this.#commit();
    if (!this.#isAlive || this.#wantsJoin) return;
    const error = await this.#world.call(this, (coordinator) => (
      coordinator.heartbeat(this.groupId, this.#claim())
    ));
    if (!this.#isAlive || error === LOST) return;
    if (error === ErrorCode.NONE) this.#lastProgressMs = this.#world.nowMs;
    else await this.#failed(error);
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
          topicId: ZERO_UUID,
          partition,
          offset: offset(value),
          leaderEpoch: leaderEpoch(-1),
          metadata: null,
        })),
      });
      if ("error" in errors) return errors.error;
      for (const [index, { partition, value }] of values.entries()) {
        if (errors[index] !== ErrorCode.NONE) continue;
        this.#world.committed(this, claim.generationId, partition, value);
      }
      return errors.find((error) => error !== ErrorCode.NONE) ?? ErrorCode.NONE;
    });
    if (!this.#isAlive || outcome === LOST || outcome === ErrorCode.NONE) return;
    this.#world.counts.refusedCommits += 1;
    await this.#failed(outcome);
  }

  /** What the Java client does about each error. */
  async #failed(error: ErrorCode): Promise<void> {
    switch (error) {
      case ErrorCode.UNKNOWN_MEMBER_ID:
        this.memberId = "";
        this.generationId = -1;
        this.#wantsJoin = true;
        return;
      case ErrorCode.GROUP_ID_NOT_FOUND:
      case ErrorCode.ILLEGAL_GENERATION:
      case ErrorCode.REBALANCE_IN_PROGRESS:
        this.#wantsJoin = true;
        return;
      case ErrorCode.FENCED_INSTANCE_ID:
        // Another process has taken its place; this one ends for good.
        this.#isAlive = false;
        this.#world.consumers.delete(this);
        return;
      case ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
      case ErrorCode.COORDINATOR_NOT_AVAILABLE:
      case ErrorCode.NOT_COORDINATOR:
        await this.#world.harness.clock.sleep(100);
        return;
      default:
        assert.fail(`${this.name} did not expect ${errorName(error)}`);
    }
  }

  #claim() {
    const { memberId, groupInstanceId, generationId } = this;
    return { memberId, groupInstanceId, generationId };
  }

  /** A subscription as consumers send it: version 0, one topic, user data. */
  #subscription(): Uint8Array {
    const writer = new Writer();
    writer.int16(0);
    writer.int32(1);
    writer.nullableString(TOPIC);
    writer.nullableBytes(new Uint8Array([this.#metadataVersion & 0xff]));
    return writer.finish();
  }
}

/** One byte a partition, dealt out in the order of the member ids. */
function assign(memberIds: readonly string[]): Map<string, Uint8Array> {
  const sorted = [...memberIds].sort();
  return new Map(sorted.map((memberId, index) => {
    const mine = Array.from({ length: PARTITION_COUNT }, (_, partition) => partition)
      .filter((partition) => partition % sorted.length === index);
    return [memberId, new Uint8Array(mine)];
  }));
}

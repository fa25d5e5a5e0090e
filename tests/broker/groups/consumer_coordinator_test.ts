import { expect, test } from "bun:test";
import type { ConsumerHeartbeat } from "../../../broker/groups/consumer_group.ts";
import { decodePartitions } from "../../../broker/groups/consumer_group_records.ts";
import { decodeAssignment, encodeAssignment } from "../../../broker/groups/consumer_protocol.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { leaderEpoch, offset } from "../../../protocol/types.ts";
import { GroupHarness } from "./harness.ts";
import { encodeSubscription, heartbeatOf } from "./members.ts";

const FLAGS = { "group.consumer.assignment.interval.ms": "0" };

async function start(flags: Readonly<Record<string, string>> = {}): Promise<GroupHarness> {
  const harness = await GroupHarness.start({ flags: { ...FLAGS, ...flags } });
  await harness.ready();
  return harness;
}

/** One member of the consumer protocol, as a client is. */
class Member {
  readonly #harness: GroupHarness;
  readonly memberId: string;
  epoch = 0;
  held: number[] = [];
  /** How soon it is to come again. */
  intervalMs = 0;

  constructor(harness: GroupHarness, memberId: string) {
    this.#harness = harness;
    this.memberId = memberId;
  }

  async beat(more: Partial<ConsumerHeartbeat> = {}) {
    const topicId = this.#harness.controller.image().topicByName("t")!.id;
    const isJoin = this.epoch === 0;
    const answer = await this.#harness.run(Promise.resolve(
      this.#harness.coordinator.consumerGroupHeartbeat(
        "g",
        heartbeatOf(this.memberId, this.epoch, {
          ...(isJoin && { rebalanceTimeoutMs: 60_000, subscribedTopicNames: ["t"] }),
          clientId: "c",
          owned: isJoin ? new Map() : decodePartitions([{ topicId, partitions: this.held }]),
          ...more,
        }),
      ),
    ));
    if ("error" in answer) return answer.error;
    this.epoch = answer.memberEpoch;
    this.intervalMs = answer.heartbeatIntervalMs;
    if (answer.assignment !== null) {
      this.held = [...answer.assignment.get(topicId)?.keys() ?? []];
    }
    return ErrorCode.NONE;
  }
}

/** A consumer of the classic protocol that is cooperative: it says what it has when it joins. */
class Classic {
  readonly #harness: GroupHarness;
  memberId = "";
  generationId = -1;
  held: readonly number[] = [];

  constructor(harness: GroupHarness) {
    this.#harness = harness;
  }

  #subscription(): Uint8Array {
    return encodeSubscription({ version: 1, topics: ["t"], owned: new Map([["t", this.held]]) });
  }

  async join() {
    const answer = await this.#harness.run(Promise.resolve(
      this.#harness.coordinator.joinGroup({
        groupId: "g",
        memberId: this.memberId,
        groupInstanceId: null,
        clientId: "c",
        clientHost: "/h",
        sessionTimeoutMs: 30_000,
        rebalanceTimeoutMs: 60_000,
        protocolType: "consumer",
        protocols: [{ name: "cooperative-sticky", metadata: this.#subscription() }],
        requiresKnownMemberId: true,
        supportsSkippingAssignment: true,
        reason: null,
      }),
    ));
    this.memberId = answer.memberId;
    if (answer.error === ErrorCode.NONE) this.generationId = answer.generationId;
    return answer;
  }

  async sync(assignments: ReadonlyMap<string, Uint8Array> = new Map()) {
    const answer = await this.#harness.run(Promise.resolve(
      this.#harness.coordinator.syncGroup({
        groupId: "g",
        memberId: this.memberId,
        groupInstanceId: null,
        generationId: this.generationId,
        protocolType: "consumer",
        protocolName: "cooperative-sticky",
        assignments,
      }),
    ));
    if (answer.error === ErrorCode.NONE) {
      this.held = decodeAssignment(answer.assignment)?.get("t") ?? [];
    }
    return answer.error;
  }

  beat() {
    const { memberId, generationId } = this;
    return this.#harness.coordinator.heartbeat("g", {
      memberId,
      groupInstanceId: null,
      generationId,
    });
  }

  /** What a client does at REBALANCE_IN_PROGRESS. */
  async again() {
    expect(this.beat()).toBe(ErrorCode.REBALANCE_IN_PROGRESS);
    expect((await this.join()).error).toBe(ErrorCode.NONE);
    expect(await this.sync()).toBe(ErrorCode.NONE);
  }
}

const count = 32;
const everything = Array.from({ length: count }, (_, partition) => partition);
const ascending = (left: number, right: number) => left - right;

/** How many rebalances there were, by type of group and cause. */
function rebalances({ coordinator }: GroupHarness): Readonly<Record<string, number>> {
  const counts = [...coordinator.rebalances.entries()].filter((it) => it.count > 0);
  return Object.fromEntries(counts.map(({ type, cause, count }) => [`${type} ${cause}`, count]));
}

async function describe(harness: GroupHarness) {
  return await harness.run(harness.coordinator.describeConsumerGroup("g"));
}

test("GroupCoordinator: a consumer group is after a power cut what it was told to be before", async () => {
  const harness = await start();
  const [first, second] = [new Member(harness, "m1"), new Member(harness, "m2")];
  expect(await first.beat()).toBe(ErrorCode.NONE);
  expect(first.held.toSorted(ascending)).toEqual(everything);
  expect(await second.beat()).toBe(ErrorCode.NONE);
  expect(second.held).toEqual([]);
  await first.beat();
  expect(first.held.length).toBe(count / 2);
  await first.beat();
  await second.beat();
  expect([...first.held, ...second.held].toSorted(ascending)).toEqual(everything);
  const before = await describe(harness);
  expect(before).toMatchObject({ state: "Stable", epoch: 3, assignmentEpoch: 3 });
  harness.crash();
  await harness.open();
  const loading = harness.coordinator.consumerGroupHeartbeat("g", {} as ConsumerHeartbeat);
  expect(loading).toMatchObject({ error: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS });
  await harness.run(harness.coordinator.loaded());
  expect(await describe(harness)).toEqual(before);
  expect(await first.beat()).toBe(ErrorCode.NONE);
  // One falls silent: the other has all once its session is over.
  for (let i = 0; i < 12; i++) {
    await harness.clock.advance(5_000);
    expect(await first.beat()).toBe(ErrorCode.NONE);
  }
  expect(first.held.toSorted(ascending)).toEqual(everything);
  expect(await second.beat()).toBe(ErrorCode.UNKNOWN_MEMBER_ID);
});

test("GroupCoordinator: a classic group becomes a consumer group and back, and no partition is with two", async () => {
  const harness = await start();
  const [old, other] = [new Classic(harness), new Classic(harness)];
  expect((await old.join()).error).toBe(ErrorCode.MEMBER_ID_REQUIRED);
  await old.join();
  expect(
    await old.sync(
      new Map([[old.memberId, encodeAssignment(new Map([["t", everything]]), 1)]]),
    ),
  ).toBe(ErrorCode.NONE);
  expect(old.held).toEqual(everything);
  expect(harness.coordinator.describeGroup("g").state).toBe("Stable");

  const fresh = new Member(harness, "m1");
  expect(await fresh.beat()).toBe(ErrorCode.NONE);
  expect(fresh.held).toEqual([]);
  expect(harness.coordinator.listGroups().groups[0]).toMatchObject({ type: "consumer" });
  expect((await describe(harness)).members.map(({ metadata }) => metadata.classic !== null))
    .toEqual([true, false]);
  // The classic member gives half of them up in two rounds, as cooperative ones do.
  await old.again();
  expect(old.held.length).toBe(count / 2);
  await fresh.beat();
  expect(fresh.held).toEqual([]);
  await old.again();
  await fresh.beat();
  expect([...old.held, ...fresh.held].toSorted(ascending)).toEqual(everything);

  // Another classic member may join it.
  expect((await other.join()).error).toBe(ErrorCode.MEMBER_ID_REQUIRED);
  expect((await other.join()).error).toBe(ErrorCode.NONE);
  expect(await other.sync()).toBe(ErrorCode.NONE);
  for (let i = 0; i < 4; i++) {
    await fresh.beat();
    for (const each of [old, other]) if (each.beat() !== ErrorCode.NONE) await each.again();
  }
  const held = () => [...old.held, ...other.held, ...fresh.held].toSorted(ascending);
  expect(held()).toEqual(everything);
  expect((await describe(harness)).state).toBe("Stable");
  harness.crash();
  await harness.open();
  await harness.run(harness.coordinator.loaded());
  expect((await describe(harness)).state).toBe("Stable");
  expect(old.beat()).toBe(ErrorCode.NONE);

  expect(rebalances(harness)).toEqual({});
  expect(await fresh.beat({ memberEpoch: -1 })).toBe(ErrorCode.NONE);
  expect(harness.coordinator.describeGroup("g")).toMatchObject({
    state: "PreparingRebalance",
    protocolType: "consumer",
  });
  expect(rebalances(harness)).toEqual({ "classic member_left": 1 });
  expect(old.beat()).toBe(ErrorCode.REBALANCE_IN_PROGRESS);
  const joins = harness.run(Promise.all([old.join(), other.join()]));
  await joins;
  const leader = harness.coordinator.describeGroup("g");
  expect(leader).toMatchObject({ state: "CompletingRebalance", members: [{}, {}] });
  harness.crash();
  await harness.open();
  await harness.run(harness.coordinator.loaded());
  expect(harness.coordinator.listGroups().groups[0]).toMatchObject({ type: "classic" });
});

test("GroupCoordinator: a topic that is not there, in an assignment, is left out where a group goes over", async () => {
  const harness = await start();
  const old = new Classic(harness);
  await old.join();
  await old.join();
  const assignment = new Map([["nope", [0, 1]], ["t", [3, 4]]]);
  expect(await old.sync(new Map([[old.memberId, encodeAssignment(assignment, 1)]])))
    .toBe(ErrorCode.NONE);
  const fresh = new Member(harness, "m1");
  expect(await fresh.beat()).toBe(ErrorCode.NONE);
  const { id } = harness.controller.image().topicByName("t")!;
  const [had] = (await describe(harness)).members;
  expect(had?.owned).toEqual(new Map([[id, [3, 4]]]));
});

test("GroupCoordinator: a group stays what it is where the operator says so", async () => {
  const harness = await start({ "group.consumer.migration.policy": "DISABLED" });
  const old = new Classic(harness);
  await old.join();
  await old.join();
  expect(await new Member(harness, "m1").beat()).toBe(ErrorCode.GROUP_ID_NOT_FOUND);
  expect(harness.coordinator.describeGroup("g").state).toBe("CompletingRebalance");
  const error = harness.coordinator.leaveGroup("g", [
    { memberId: old.memberId, groupInstanceId: null, reason: null },
  ]).error;
  expect(error).toBe(ErrorCode.NONE);
  await harness.clock.advance(100);
  // An empty one makes room for either.
  const fresh = new Member(harness, "m1");
  expect(await fresh.beat()).toBe(ErrorCode.NONE);
  expect(await fresh.beat({ memberEpoch: -1 })).toBe(ErrorCode.NONE);
  expect((await new Classic(harness).join()).error).toBe(ErrorCode.MEMBER_ID_REQUIRED);
  expect(harness.coordinator.listGroups().groups[0]).toMatchObject({ type: "classic" });
});

test("GroupCoordinator: topics of a regular expression are found, and found anew", async () => {
  const harness = await start();
  const member = new Member(harness, "m1");
  const join = { subscribedTopicNames: null, subscribedTopicRegex: "t|u.*" };
  expect(await member.beat({ ...join, subscribedTopicRegex: "t[" }))
    .toBe(ErrorCode.INVALID_REGULAR_EXPRESSION);
  expect(harness.coordinator.listGroups().groups).toEqual([]);
  expect(await member.beat(join)).toBe(ErrorCode.NONE);
  await harness.clock.advance(5_000);
  expect(await member.beat()).toBe(ErrorCode.NONE);
  expect(member.held.toSorted(ascending)).toEqual(everything);
  const other = await harness.makeTopic("u1", 3);
  for (let i = 0; i < 4; i++) {
    await harness.clock.advance(5_000);
    await member.beat();
  }
  const { members } = await describe(harness);
  expect(members[0]!.owned.get(other)).toEqual([0, 1, 2]);
  expect(rebalances(harness)).toEqual({
    "consumer member_joined": 1,
    "consumer topics_changed": 2,
  });
});

test("GroupCoordinator: who waits for partitions of others comes again sooner", async () => {
  const harness = await start();
  const [first, second] = [new Member(harness, "first"), new Member(harness, "second")];
  await first.beat();
  await second.beat();
  expect([first.held.length, first.intervalMs]).toEqual([everything.length, 5000]);
  expect([second.held.length, second.intervalMs]).toEqual([0, 1000]);
  // It hears what to give up, and then has given it up.
  await first.beat();
  await first.beat();
  await second.beat();
  expect([...first.held, ...second.held].toSorted(ascending)).toEqual(everything);
  expect([first.intervalMs, second.intervalMs]).toEqual([5000, 5000]);
});

test("GroupCoordinator: who keeps partitions past its rebalance timeout loses them, though it lives", async () => {
  const harness = await start();
  const [stubborn, patient] = [new Member(harness, "m1"), new Member(harness, "m2")];
  await stubborn.beat();
  const all = stubborn.held;
  await patient.beat();
  for (let i = 0; i < 11; i++) {
    stubborn.held = all;
    expect(await stubborn.beat()).toBe(ErrorCode.NONE);
    expect(await patient.beat()).toBe(ErrorCode.NONE);
    expect(patient.held).toEqual([]);
    await harness.clock.advance(5_000);
  }
  await harness.clock.advance(10_000);
  expect(await stubborn.beat()).toBe(ErrorCode.UNKNOWN_MEMBER_ID);
  expect(await patient.beat()).toBe(ErrorCode.NONE);
  expect(patient.held.toSorted(ascending)).toEqual(everything);
  expect(rebalances(harness)).toEqual({
    "consumer member_joined": 2,
    "consumer rebalance_timeout": 1,
  });
});

test("GroupCoordinator: a member commits in an earlier epoch only what it has had since then", async () => {
  const harness = await start();
  const [first, second] = [new Member(harness, "m1"), new Member(harness, "m2")];
  await first.beat();
  await second.beat();
  await first.beat();
  await first.beat();
  await second.beat();
  expect([first.epoch, second.epoch]).toEqual([3, 3]);
  const commit = async (memberId: string, generationId: number, partition: number) => {
    const topicId = harness.controller.image().topicByName("t")!.id;
    const value = { offset: offset(1), leaderEpoch: leaderEpoch(-1), metadata: null };
    const answer = await harness.run(Promise.resolve(harness.coordinator.commitOffsets({
      groupId: "g",
      memberId,
      groupInstanceId: null,
      generationId,
      knowsGroupIdNotFound: true,
      retentionTimeMs: -1,
      offsets: [{ topic: "t", topicId, partition, ...value }],
    })));
    return "error" in answer ? answer.error : answer[0];
  };
  const [kept, moved] = [first.held[0]!, second.held[0]!];
  expect(await commit("m1", 3, kept)).toBe(ErrorCode.NONE);
  expect(await commit("m1", 2, kept)).toBe(ErrorCode.NONE);
  expect(await commit("m1", 1, kept)).toBe(ErrorCode.STALE_MEMBER_EPOCH);
  expect(await commit("m1", 2, moved)).toBe(ErrorCode.STALE_MEMBER_EPOCH);
  expect(await commit("m2", 2, moved)).toBe(ErrorCode.STALE_MEMBER_EPOCH);
  expect(await commit("m1", 4, kept)).toBe(ErrorCode.STALE_MEMBER_EPOCH);
});

test("GroupCoordinator.rebalances: counts those of a consumer group by what caused them", async () => {
  const harness = await start();
  const [first, second] = [new Member(harness, "first"), new Member(harness, "second")];
  const expected: Record<string, number> = {};
  const expectOne = (cause: string) => {
    expected[`consumer ${cause}`] = (expected[`consumer ${cause}`] ?? 0) + 1;
    expect(rebalances(harness)).toEqual(expected);
  };
  await first.beat();
  expectOne("member_joined");
  await first.beat();
  expect(rebalances(harness)).toEqual(expected);
  await first.beat({ subscribedTopicNames: ["t", "u"] });
  expectOne("subscription_changed");
  await harness.makeTopic("u", 1);
  await first.beat();
  expectOne("topics_changed");
  await second.beat();
  expectOne("member_joined");
  await second.beat({ memberEpoch: -1 });
  expectOne("member_left");
  await harness.clock.advance(46_000);
  expectOne("session_expired");
});

test("GroupCoordinator.rebalances: a classic member that does not join in time, and one that is silent", async () => {
  const harness = await start();
  const [fresh, old] = [new Member(harness, "m1"), new Classic(harness)];
  const follow = async (seconds: number, each: () => void) => {
    for (let passed = 0; passed < seconds; passed += 5) {
      await harness.clock.advance(5_000);
      await fresh.beat();
      each();
    }
  };
  await fresh.beat();
  const join = async () => {
    await old.join();
    await old.join();
    await old.sync();
    for (let i = 0; i < 3; i++) {
      await fresh.beat();
      if (old.beat() !== ErrorCode.NONE) await old.again();
    }
  };
  await join();
  await harness.makeTopic("u", 1);
  await fresh.beat({ subscribedTopicNames: ["t", "u"] });
  expect(rebalances(harness)).toEqual({
    "consumer member_joined": 2,
    "consumer subscription_changed": 1,
  });
  // It lives, and does not take part.
  await follow(70, () => old.beat());
  expect(rebalances(harness)).toMatchObject({ "consumer rebalance_timeout": 1 });
  expect(rebalances(harness)).not.toHaveProperty("consumer session_expired");
  await join();
  await follow(40, () => {});
  expect(rebalances(harness)).toEqual({
    "consumer member_joined": 3,
    "consumer subscription_changed": 1,
    "consumer rebalance_timeout": 1,
    "consumer session_expired": 1,
  });
});

test("GroupCoordinator.rebalances: counts those of a classic group by what caused them", async () => {
  const harness = await start();
  const [leader, other] = [new Classic(harness), new Classic(harness)];
  await leader.join();
  await leader.join();
  expect(rebalances(harness)).toEqual({ "classic member_joined": 1 });
  await leader.sync(new Map([[leader.memberId, encodeAssignment(new Map(), 1)]]));
  await leader.join();
  expect(rebalances(harness)).toEqual({
    "classic member_joined": 1,
    "classic leader_rejoined": 1,
  });
  // Who joins while others do is part of the same rebalance.
  await leader.sync(new Map([[leader.memberId, encodeAssignment(new Map(), 1)]]));
  await other.join();
  await Promise.all([other.join(), leader.join()]);
  expect(rebalances(harness)).toEqual({
    "classic member_joined": 2,
    "classic leader_rejoined": 1,
  });
});

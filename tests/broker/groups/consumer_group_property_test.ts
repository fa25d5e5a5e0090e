/**
 * The consumer group's machine with members that come, go, lose requests and answers, are slow to let go of
 * partitions and fall silent, while topics change, the log refuses records and the coordinator is loaded anew.
 *
 * Beside it stands what the members themselves believe: a partition has at most one live member at any time, and
 * exactly one once things have settled. Beside it stands also what was written: it is what the group is.
 *
 * A failure names its seed; the events of a seed are always the same.
 */

import { expect, test } from "bun:test";
import assert from "node:assert/strict";
import type { Partitions } from "../../../broker/groups/assignors/assignor.ts";
import {
  ConsumerGroup,
  type ConsumerGroupContext,
  type ConsumerGroupSettings,
  type ConsumerGroupWrite,
  type ConsumerHeartbeat,
  type ConsumerHeartbeatAnswer,
  JOIN_EPOCH,
  LEAVE_EPOCH,
  LEAVE_STATIC_EPOCH,
} from "../../../broker/groups/consumer_group.ts";
import {
  decodeConsumerGroupRecord,
  encodeConsumerGroupChange,
} from "../../../broker/groups/consumer_group_records.ts";
import {
  type ConsumerGroupChange,
  ConsumerGroupContents,
} from "../../../broker/groups/consumer_group_state.ts";
import { combinedHash, type GroupTopic, topicHash } from "../../../broker/groups/group_topics.ts";
import { Reader } from "../../../protocol/bytes.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { timestampMs, type Uuid } from "../../../protocol/types.ts";
import { SimRandom } from "../../sim/sim_random.ts";
import { heartbeatOf } from "./members.ts";

const SEED_COUNT = 150;
const EVENT_COUNT = 300;
const SESSION_MS = 45_000;
const HEARTBEAT_MS = 5_000;
const REBALANCE_TIMEOUT_MS = 60_000;

function settingsWith(assignmentIntervalMs: number): ConsumerGroupSettings {
  return {
    maxSize: 8,
    allowsUpgrade: true,
    allowsDowngrade: true,
    classicMaxSize: 8,
    sessionTimeoutMs: SESSION_MS,
    heartbeatIntervalMs: HEARTBEAT_MS,
    assignmentIntervalMs,
    assignors: ["uniform", "range"],
  };
}

/** Topics that come, grow and go. */
class Topics {
  readonly #topics = new Map<string, GroupTopic>();
  #made = 0;
  version = 1;
  newestTopicVersion = 1;
  changeCount = 0;
  /** How often somebody wanted to know the hash of topics. */
  hashCount = 0;

  topicByName(name: string) {
    return this.#topics.get(name);
  }
  topicById(id: Uuid) {
    return [...this.#topics.values()].find((topic) => topic.id === id);
  }
  racksOf(): readonly string[] {
    return [];
  }
  names(): string[] {
    return [...this.#topics.keys()];
  }
  all(): GroupTopic[] {
    return [...this.#topics.values()];
  }
  hashOf(names: Iterable<string>): bigint {
    this.hashCount += 1;
    const found = [...names].sort().flatMap((name) => this.#topics.get(name) ?? []);
    return combinedHash(found.map((topic) => topicHash({ ...topic, racksOf: () => [] })));
  }
  set(name: string, partitionCount: number | null): void {
    const before = this.#topics.get(name);
    this.version += 1;
    this.changeCount += 1;
    if (partitionCount === null) {
      this.#topics.delete(name);
      return;
    }
    if (before === undefined) this.newestTopicVersion = this.version;
    const id = before?.id ?? this.#newId();
    this.#topics.set(name, { id, name, partitionCount });
  }
  #newId(): Uuid {
    const bytes = new TextEncoder().encode(String(++this.#made).padStart(16, "0"));
    return bytes.toBase64({ alphabet: "base64url", omitPadding: true }) as Uuid;
  }
}

/** A consumer, with what it believes. */
interface Client {
  /** Its member id too. */
  readonly name: string;
  readonly instanceId: string | null;
  epoch: number;
  topics: string[];
  regex: string;
  /** What it reads now. */
  held: Set<string>;
  /** What it was told to read; null while it has done all of it. */
  told: ReadonlySet<string> | null;
  isSlow: boolean;
  /** Given up by the coordinator because time went by, and not told yet. */
  isGivenUp: boolean;
  /** What it says next is all there is to say: it joins, or an answer was lost. */
  isFull: boolean;
}

class Life {
  readonly #random: SimRandom;
  readonly #topics = new Topics();
  readonly #assignmentIntervalMs: number;
  #nowMs = 0;
  #group = new ConsumerGroup("g");
  /** What was written, as the log would give it. */
  #written = new ConsumerGroupContents();
  readonly #log = new Map<string, ConsumerGroupChange>();
  readonly #clients: Client[] = [];
  #clientCount = 0;
  #epoch = 0;
  #resolves: readonly string[] | null = null;

  constructor(seed: number) {
    this.#random = new SimRandom(seed);
    this.#assignmentIntervalMs = this.#random.pick([0, 1_000, 10_000]);
    this.#topics.set("a", 4);
    this.#topics.set("b", 1);
  }

  run(): void {
    for (let event = 0; event < EVENT_COUNT; event++) {
      this.#step();
      this.#check();
    }
    this.#settle();
  }

  get #context(): ConsumerGroupContext {
    const now = { monotonicMs: this.#nowMs, wallMs: timestampMs(1_000_000 + this.#nowMs) };
    return {
      now,
      topics: this.#topics,
      settings: settingsWith(this.#assignmentIntervalMs),
    };
  }

  #step(): void {
    const random = this.#random;
    const draw = random.below(100);
    const client = this.#clients.length === 0 ? null : random.pick(this.#clients);
    if (draw < 8 || client === null) this.#arrive();
    else if (draw < 70) this.#beat(client);
    else if (draw < 76) this.#leave(client);
    else if (draw < 79) this.#die(client);
    else if (draw < 82) client.isSlow = !client.isSlow;
    else if (draw < 85) this.#subscribe(client);
    else if (draw < 88) this.#changeTopics();
    else if (draw < 91) this.#resolve();
    else if (draw < 93) this.#load();
    else if (draw < 96) this.#pass(random.below(20_000));
    else this.#beatOdd(client);
    this.#pass(random.below(1_500));
  }

  #arrive(): void {
    const name = `c${++this.#clientCount}`;
    const instanceId = this.#random.chance(0.3) ? `i${this.#random.below(3)}` : null;
    if (instanceId !== null && this.#clients.some((each) => each.instanceId === instanceId)) return;
    const client: Client = {
      name,
      instanceId,
      epoch: JOIN_EPOCH,
      topics: [],
      regex: "",
      held: new Set(),
      told: null,
      isSlow: false,
      isGivenUp: false,
      isFull: true,
    };
    this.#subscribe(client);
    this.#clients.push(client);
    this.#beat(client);
  }

  #subscribe(client: Client): void {
    client.regex = this.#random.chance(0.25) ? this.#random.pick(["a|c", "[ab]", ".*"]) : "";
    client.topics = client.regex === "" || this.#random.chance(0.2)
      ? ["a", "b", "c"].filter(() => this.#random.chance(0.7))
      : [];
    client.isFull = true;
  }

  #changeTopics(): void {
    const name = this.#random.pick(["a", "b", "c"]);
    const count = this.#topics.topicByName(name)?.partitionCount ?? 0;
    if (count > 0 && this.#random.chance(0.2)) this.#topics.set(name, null);
    else if (count < 12) this.#topics.set(name, count + 1 + this.#random.below(3));
  }

  /** What a client would say now. */
  #requestOf(client: Client): ConsumerHeartbeat {
    const isFull = client.isFull || client.epoch === JOIN_EPOCH;
    return heartbeatOf(client.name, client.epoch, {
      instanceId: client.instanceId,
      ...(isFull && {
        rebalanceTimeoutMs: REBALANCE_TIMEOUT_MS,
        subscribedTopicNames: client.topics,
        subscribedTopicRegex: client.regex,
      }),
      owned: partitionsOf(client.held),
    });
  }

  #beat(client: Client, isSure = false): void {
    const random = this.#random;
    if (client.told !== null && !(client.isSlow && !isSure)) this.#obey(client);
    const draw = isSure ? 99 : random.below(100);
    // Lost on the way there.
    if (draw < 4) {
      client.isFull = true;
      return;
    }
    const outcome = this.#group.heartbeat(this.#requestOf(client), this.#context);
    if (!("write" in outcome)) {
      this.#refused(client, outcome.error);
      return;
    }
    if (!this.#write(outcome.write, isSure)) {
      client.isFull = true;
      return;
    }
    // Lost on the way back.
    if (draw < 8) {
      client.isFull = true;
      return;
    }
    this.#answered(client, outcome.answer);
  }

  #answered(client: Client, { memberEpoch, assignment, memberId }: ConsumerHeartbeatAnswer): void {
    assert.equal(memberId, client.name);
    assert(memberEpoch >= client.epoch, "a member's epoch went back");
    client.epoch = memberEpoch;
    client.isFull = false;
    if (assignment === null) return;
    client.told = new Set(
      [...assignment].flatMap(([topicId, partitions]) =>
        [...partitions.keys()].map((partition) => `${topicId} ${partition}`)
      ),
    );
    if (!client.isSlow) this.#obey(client);
  }

  /** It lets go of what it is no longer to have, and takes what it is to have. */
  #obey(client: Client): void {
    client.held = new Set(client.told ?? []);
    client.told = null;
  }

  #refused(client: Client, error: ErrorCode): void {
    switch (error) {
      case ErrorCode.FENCED_MEMBER_EPOCH:
      case ErrorCode.UNKNOWN_MEMBER_ID:
        client.held = new Set();
        client.told = null;
        client.isGivenUp = false;
        client.epoch = JOIN_EPOCH;
        client.isFull = true;
        return;
      case ErrorCode.GROUP_MAX_SIZE_REACHED:
      case ErrorCode.UNRELEASED_INSTANCE_ID:
      case ErrorCode.FENCED_INSTANCE_ID:
        this.#die(client);
        return;
      default:
        assert.fail(`refused with ${error}`);
    }
  }

  #leave(client: Client): void {
    this.#die(client);
    const memberEpoch = client.instanceId !== null && this.#random.chance(0.7)
      ? LEAVE_STATIC_EPOCH
      : LEAVE_EPOCH;
    const outcome = this.#group.heartbeat(
      { ...this.#requestOf(client), memberEpoch },
      this.#context,
    );
    if ("write" in outcome) this.#write(outcome.write);
  }

  #die(client: Client): void {
    this.#clients.splice(this.#clients.indexOf(client), 1);
  }

  /** A request that no client means: it changes nothing where it is refused, and one of the past is. */
  #beatOdd(client: Client): void {
    const random = this.#random;
    if (client.epoch > 1) {
      const stale = { ...this.#requestOf(client), memberEpoch: 1, owned: null };
      assert("error" in this.#group.heartbeat(stale, this.#context), "an old epoch was taken");
    }
    const outcome = this.#group.heartbeat({
      ...this.#requestOf(client),
      memberId: random.pick([client.name, "nobody"]),
      instanceId: random.pick([client.instanceId, "i9"]),
      memberEpoch: random.pick([client.epoch + 1, client.epoch + 7, 1_000]),
      subscribedTopicRegex: random.pick(["", "["]),
    }, this.#context);
    if ("write" in outcome) this.#write(outcome.write, true);
  }

  #resolve(): void {
    if (this.#resolves === null) return;
    const resolved = new Map(this.#resolves.map((regex) => [regex, {
      topics: this.#topics.names().filter((name) => new RegExp(`^(?:${regex})$`).test(name)).sort(),
      version: this.#topics.version,
      timestampMs: this.#context.now.wallMs,
    }]));
    this.#resolves = null;
    this.#write(this.#group.regexesResolved(resolved, this.#context));
  }

  /** Returns: whether the log took it. */
  #write(write: ConsumerGroupWrite, isSure = false): boolean {
    if (!isSure && write.changes.length > 0 && this.#random.chance(0.03)) {
      this.#group.takeBack(write);
      return false;
    }
    for (const change of write.changes) {
      const { key, value } = encodeConsumerGroupChange("g", change);
      const reader = new Reader(key);
      const record = decodeConsumerGroupRecord(reader.int16(), reader, value);
      assert.equal(record?.groupId, "g");
      this.#log.set(key.toHex(), record.change);
      this.#written.apply(record.change);
    }
    if (write.toResolve.length > 0) {
      this.#group.resolving();
      this.#resolves = write.toResolve;
    }
    return true;
  }

  /** Another coordinator reads the log, as compaction may have left it. */
  #load(): void {
    const contents = new ConsumerGroupContents();
    for (const change of this.#log.values()) contents.apply(change);
    expect(contents).toEqual(this.#written);
    const before = describe(this.#group);
    this.#group = ConsumerGroup.restore("g", contents, this.#context);
    this.#resolves = null;
    expect(describe(this.#group)).toEqual(before);
  }

  #pass(ms: number): void {
    const endMs = this.#nowMs + ms;
    while (this.#group.nextDeadlineMs <= endMs) {
      this.#nowMs = Math.max(this.#nowMs, this.#group.nextDeadlineMs);
      const write = this.#group.tick(this.#context);
      if (this.#write(write)) this.#giveUp(write.changes);
    }
    this.#nowMs = endMs;
  }

  #giveUp(changes: readonly ConsumerGroupChange[]): void {
    for (const change of changes) {
      if (change.kind !== "member" || change.value !== null) continue;
      for (const client of this.#clients) client.isGivenUp ||= client.name === change.memberId;
    }
  }

  #check(): void {
    assert(this.#group.epoch >= this.#epoch, "the group's epoch went back");
    this.#epoch = this.#group.epoch;
    assert(this.#group.targetEpoch <= this.#group.epoch);
    const owners = new Map<string, string>();
    for (const client of this.#clients) {
      if (client.isGivenUp) continue;
      for (const partition of client.held) {
        const other = owners.get(partition);
        assert(other === undefined, `${partition} is read by ${other} and ${client.name}`);
        owners.set(partition, client.name);
      }
    }
  }

  /** Nothing goes wrong any more, and everybody is prompt. */
  #settle(): void {
    for (let round = 0; round < 25; round++) {
      for (const client of [...this.#clients]) {
        client.isSlow = false;
        this.#beat(client, true);
        this.#check();
      }
      this.#resolve();
      this.#pass(HEARTBEAT_MS);
    }
    if (this.#clients.length === 0) return;
    assert.equal(this.#group.state, "Stable");
    const held = this.#clients.flatMap((client) => [...client.held]).sort();
    const wanted = this.#topics.all()
      .filter(({ name }) => this.#clients.some((client) => wants(client, name)))
      .flatMap(({ id, partitionCount }) =>
        Array.from({ length: partitionCount }, (_, partition) => `${id} ${partition}`)
      ).sort();
    expect(held).toEqual(wanted);
    for (const { epoch } of this.#clients) assert.equal(epoch, this.#group.epoch);
  }
}

function wants({ topics, regex }: Client, name: string): boolean {
  return topics.includes(name) || (regex !== "" && new RegExp(`^(?:${regex})$`).test(name));
}

function partitionsOf(held: ReadonlySet<string>): Partitions {
  const partitions = new Map<Uuid, number[]>();
  for (const each of held) {
    const [topicId, partition] = each.split(" ") as [Uuid, string];
    partitions.set(topicId, [...partitions.get(topicId) ?? [], Number(partition)]);
  }
  return partitions;
}

function describe(group: ConsumerGroup) {
  const { state, epoch, targetEpoch } = group;
  return {
    state,
    epoch,
    targetEpoch,
    members: group.members().sort((left, right) => left.memberId < right.memberId ? -1 : 1),
  };
}

test(`ConsumerGroup: ${SEED_COUNT} lives of ${EVENT_COUNT} events keep every promise`, () => {
  const count = Number(process.env["WEIR_SEEDS"] ?? SEED_COUNT);
  for (let seed = 1; seed <= count; seed++) {
    try {
      new Life(seed).run();
    } catch (error) {
      throw new Error(`seed ${seed}: ${String(error)}`, { cause: error });
    }
  }
}, 60_000);

/** A group of which two members say that they have all of a topic. */
function contestedContents(topics: Topics, id: Uuid, all: readonly number[]) {
  const contents = new ConsumerGroupContents();
  contents.apply({ kind: "group", value: { epoch: 5, metadataHash: topics.hashOf(["a"]) } });
  contents.apply({ kind: "target", value: { epoch: 4, timestampMs: timestampMs(0) } });
  for (const memberId of ["m1", "m2"]) {
    const metadata = {
      instanceId: null,
      rackId: null,
      clientId: memberId,
      clientHost: "/h",
      subscribedTopicNames: ["a"],
      subscribedTopicRegex: "",
      rebalanceTimeoutMs: REBALANCE_TIMEOUT_MS,
      serverAssignor: null,
      classic: null,
    };
    contents.apply({ kind: "member", memberId, value: metadata });
    contents.apply({ kind: "targetMember", memberId, value: new Map([[id, all]]) });
    contents.apply({
      kind: "currentMember",
      memberId,
      value: {
        memberEpoch: 4,
        previousMemberEpoch: 3,
        state: 0,
        assigned: new Map([[id, new Map(all.map((partition) => [partition, 4]))]]),
        pendingRevocation: new Map(),
      },
    });
  }
  return contents;
}

test("ConsumerGroup: a log in which two members have one partition is loaded, and comes right", () => {
  const topics = new Topics();
  topics.set("a", 4);
  const { id } = topics.topicByName("a")!;
  const all = [0, 1, 2, 3];
  const settings = settingsWith(0);
  const context = { now: { monotonicMs: 0, wallMs: timestampMs(0) }, topics, settings };
  const group = ConsumerGroup.restore("g", contestedContents(topics, id, all), context);
  const held = new Map<string, readonly number[]>([["m1", all], ["m2", all]]);
  const epochs = new Map([["m1", 4], ["m2", 4]]);
  for (let round = 0; round < 5; round++) {
    for (const [memberId, own] of held) {
      const heartbeat = heartbeatOf(memberId, epochs.get(memberId)!, {
        owned: new Map([[id, own]]),
      });
      const outcome = group.heartbeat(heartbeat, context);
      assert("answer" in outcome);
      const { assignment, memberEpoch } = outcome.answer;
      epochs.set(memberId, memberEpoch);
      if (assignment !== null) held.set(memberId, [...assignment.get(id)?.keys() ?? []]);
    }
  }
  expect(group.state).toBe("Stable");
  expect([...held.values()].flat().sort()).toEqual(all);
});

test("ConsumerGroup: of two who have one partition in the log, it stays the first one's when the other leaves", () => {
  const topics = new Topics();
  topics.set("a", 4);
  const { id } = topics.topicByName("a")!;
  const context = {
    now: { monotonicMs: 0, wallMs: timestampMs(0) },
    topics,
    settings: settingsWith(0),
  };
  const group = ConsumerGroup.restore("g", contestedContents(topics, id, [0, 1, 2, 3]), context);
  assert("answer" in group.heartbeat(heartbeatOf("m2", LEAVE_EPOCH), context));
  const join = { ...heartbeatOf("m3", JOIN_EPOCH), subscribedTopicNames: ["a"] };
  const joined = group.heartbeat({ ...join, rebalanceTimeoutMs: 1_000 }, context);
  assert("answer" in joined);
  expect(group.members().find(({ memberId }) => memberId === "m3")?.target.get(id)?.length).toBe(2);
  expect(joined.answer.assignment).toEqual(new Map());
});

test("ConsumerGroup: a heartbeat hashes topics only where they may be others", () => {
  const topics = new Topics();
  topics.set("a", 4);
  const context = {
    now: { monotonicMs: 0, wallMs: timestampMs(0) },
    topics,
    settings: settingsWith(0),
  };
  const group = new ConsumerGroup("g");
  const join = { ...heartbeatOf("m", JOIN_EPOCH), subscribedTopicNames: ["a"] };
  assert("answer" in group.heartbeat({ ...join, rebalanceTimeoutMs: 1_000 }, context));
  const hashCountOf = (memberEpoch: number) => {
    const before = topics.hashCount;
    const outcome = group.heartbeat(heartbeatOf("m", memberEpoch), context);
    if (!("answer" in outcome)) expect(outcome.error).toBe(ErrorCode.FENCED_MEMBER_EPOCH);
    return topics.hashCount - before;
  };
  expect(hashCountOf(group.epoch)).toBe(0);
  // One that is refused has changed nothing.
  expect(hashCountOf(group.epoch + 1)).toBe(0);
  expect(hashCountOf(group.epoch)).toBe(0);
  // A topic that nobody here reads.
  topics.set("b", 1);
  expect(hashCountOf(group.epoch)).toBe(1);
  expect(hashCountOf(group.epoch)).toBe(0);
  // What the log did not take is to be found again.
  topics.set("a", 5);
  const outcome = group.heartbeat(heartbeatOf("m", group.epoch), context);
  assert("answer" in outcome);
  group.takeBack(outcome.write);
  expect(hashCountOf(group.epoch)).toBe(1);
  expect(hashCountOf(group.epoch)).toBe(0);
});

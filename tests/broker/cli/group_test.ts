/** `weir group` against weir's own broker, all of it in memory and on virtual time. */

import { afterEach, beforeEach, expect, test } from "bun:test";
import type { Broker } from "../../../broker/broker.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { leaderEpoch, offset, ZERO_UUID } from "../../../protocol/types.ts";
import { startedBroker } from "./started_broker.ts";
import { parsed, TestMachine } from "./test_io.ts";

let machine: TestMachine;
let broker: Broker;

beforeEach(async () => {
  machine = new TestMachine();
  const { disk, network } = machine;
  const settings = { "group.initial.rebalance.delay.ms": "0" };
  broker = await startedBroker(machine, { name: "broker", disk, network, settings });
  await succeed("topic create orders -p 2");
});
afterEach(() => machine.clock.run(broker.stop()));

const weir = (line: string, input: readonly string[] = []) => machine.weir(line, input);
const succeed = (line: string, input: readonly string[] = []) => machine.succeed(line, input);

interface Described {
  readonly members: readonly { readonly memberId: string }[];
  readonly partitions: readonly {
    readonly partition: number;
    readonly lag: number | null;
    readonly lagSeconds: number | null;
  }[];
}

async function describe(group: string): Promise<Described> {
  return parsed(await succeed(`group describe ${group} --json`))[0];
}

/** What is shown of a partition of `orders`. */
async function lagOf(group: string, partition: number) {
  const { partitions } = await describe(group);
  const { lag, lagSeconds } = partitions.find((it) => it.partition === partition)!;
  return { lag, lagSeconds };
}

/** `lagSeconds` may have grown by what the command itself took. */
async function expectLag(partition: number, lag: number, seconds: number): Promise<void> {
  const shown = await lagOf("g", partition);
  expect(shown.lag).toBe(lag);
  expect(shown.lagSeconds).toBeGreaterThanOrEqual(seconds);
  expect(shown.lagSeconds).toBeLessThan(seconds + 1);
}

/** A member of the newer protocol says something of itself. */
async function heartbeat(
  memberId: string,
  memberEpoch: number,
  { names = null, regex = null, instanceId = null }: {
    readonly names?: readonly string[] | null;
    readonly regex?: string | null;
    readonly instanceId?: string | null;
  } = {},
): Promise<number> {
  const answer = await machine.clock.run(
    Promise.resolve(broker.subsystems.groupCoordinator.consumerGroupHeartbeat("g", {
      memberId,
      memberEpoch,
      instanceId,
      rackId: memberEpoch === 0 ? "rack-1" : null,
      clientId: `client-${memberId}`,
      clientHost: "/10.0.0.7",
      subscribedTopicNames: memberEpoch === 0 ? names ?? [] : names,
      subscribedTopicRegex: regex,
      rebalanceTimeoutMs: memberEpoch === 0 ? 60_000 : -1,
      serverAssignor: null,
      owned: memberEpoch === 0 ? new Map() : null,
    })),
  );
  if (!("memberEpoch" in answer)) throw new Error(`${memberId}: ${answer.message}`);
  return answer.memberEpoch;
}

/** `__consumer_offsets` is there, and its groups can be served. */
async function makeCoordinator(): Promise<void> {
  const { groupCoordinator } = broker.subsystems;
  expect((await machine.clock.run(groupCoordinator.find("g"))).error).toBe(ErrorCode.NONE);
  await machine.clock.run(groupCoordinator.loaded());
}

test("group describe: of a classic group type, protocol, and members with what they have", async () => {
  await succeed("topic create events");
  const stop = new AbortController();
  const following = machine.start(["consume", "orders", "--group", "g", "--follow"], { stop });
  await machine.clock.advance(10_000);
  const group = await describe("g");
  expect(group).toMatchObject({
    type: "classic",
    state: "Stable",
    protocolType: "consumer",
    protocol: "range",
    epoch: null,
    assignmentEpoch: null,
    members: [{
      groupInstanceId: null,
      clientId: "weir-cli",
      memberEpoch: null,
      memberType: "classic",
      subscription: ["orders"],
      subscriptionRegex: null,
      partitions: [{ topic: "orders", partition: 0 }, { topic: "orders", partition: 1 }],
      targetPartitions: null,
    }],
  });
  const lines = (await succeed("group describe g")).split("\n");
  expect(lines[0]).toBe("Group g: classic, Stable, protocol range, 1 member");
  expect(lines[2]).toMatch(
    /^CLIENT ID +HOST +INSTANCE ID +SUBSCRIPTION +ASSIGNMENT +MEMBER ID$/,
  );
  expect(lines[3]).toMatch(/^weir-cli +\S+ +- +orders +orders:0-1 +\S+$/);
  expect(lines[5]).toMatch(/^TOPIC +PARTITION +COMMITTED OFFSET +END OFFSET +LAG +LAG SECONDS /);
  stop.abort();
  expect(await machine.clock.run(following)).toMatchObject({ exitCode: 0 });
});

test("group describe: of a consumer group epochs, subscriptions, and a target that is not reached", async () => {
  await makeCoordinator();
  const epoch = await heartbeat("one", 0, { names: ["orders"], instanceId: "i-1" });
  expect(await describe("g")).toMatchObject({ type: "consumer", state: "Stable", epoch });
  await heartbeat("two", 0, { regex: "ord.*" });
  // The expression is looked up beside, and gives the group another epoch.
  await machine.clock.advance(3000);
  await heartbeat("two", 0, { regex: "ord.*" });
  const group = await describe("g");
  expect(group).toMatchObject({ state: "Reconciling", protocol: "uniform" });
  const all = [0, 1].map((partition) => ({ topic: "orders", partition }));
  const [one, two] = group.members.toSorted((a, b) => (a.memberId < b.memberId ? -1 : 1));
  expect(one).toMatchObject({
    groupInstanceId: "i-1",
    clientId: "client-one",
    host: "/10.0.0.7",
    rackId: "rack-1",
    memberEpoch: epoch,
    memberType: "consumer",
    subscription: ["orders"],
    subscriptionRegex: null,
    partitions: all,
  });
  expect(one).toHaveProperty("targetPartitions.length", 1);
  expect(two).toMatchObject({ subscription: [], subscriptionRegex: "ord.*", partitions: [] });
  const text = await succeed("group describe g");
  expect(text).toMatch(/^Group g: consumer, Reconciling, assignor uniform, epoch \d+, 2 members\n/);
  expect(text).toMatch(/CLIENT ID .* PROTOCOL +EPOCH +SUBSCRIPTION +ASSIGNMENT +TARGET +MEMBER ID/);
  expect(text).toMatch(/client-one .* i-1 .* orders +orders:0-1 +orders:[01] +one\n/);
  expect(text).toMatch(/client-two .* - .* \/ord\.\*\/ +- +orders:[01] +two\n/);
});

test("group describe: lag in time is the age of the first record that is not consumed", async () => {
  await succeed("produce orders --partition 1", ["a\n"]);
  await succeed("consume orders --group g --count 1");
  expect(await lagOf("g", 1)).toEqual({ lag: 0, lagSeconds: null });
  await succeed("produce orders --partition 1", ["b\n"]);
  await machine.clock.advance(100_000);
  await succeed("produce orders --partition 1", ["c\n"]);
  await expectLag(1, 2, 100);
  await machine.clock.advance(20_000);
  await expectLag(1, 2, 120);
  await succeed("consume orders --group g --count 1");
  await expectLag(1, 1, 20);
});

test("group describe: finds the record within a compressed batch, and no negative time", async () => {
  const nowMs = machine.clock.wallMs();
  const secondsAgo = [400, 300, 200, -1000];
  const lines = secondsAgo.map((seconds, i) => (
    `${JSON.stringify({ value: `${i}`, timestamp: nowMs - seconds * 1000 })}\n`
  ));
  await succeed("produce orders --partition 0 --format ndjson --compression zstd", [
    lines.join(""),
  ]);
  await succeed("group reset-offsets g --topic orders:0 --to 1 --execute");
  await expectLag(0, 3, 300);
  await succeed("group reset-offsets g --topic orders:0 --to 2 --execute");
  await expectLag(0, 2, 200);
  await succeed("group reset-offsets g --topic orders:0 --to 3 --execute");
  expect(await lagOf("g", 0)).toEqual({ lag: 1, lagSeconds: 0 });
});

test("group describe: where retention has overtaken the group, from the first record that is left", async () => {
  await succeed("produce orders --partition 0", ["a\nb\n"]);
  await succeed("group reset-offsets g --topic orders:0 --to 0 --execute");
  await machine.clock.advance(100_000);
  await succeed("produce orders --partition 0", ["c\n"]);
  await machine.clock.advance(10_000);
  await expectLag(0, 3, 110);
  await succeed("topic trim orders --before 2");
  await expectLag(0, 3, 10);
});

test("group describe: markers of transactions are no records", async () => {
  const { transactionCoordinator: coordinator } = broker.subsystems;
  await machine.clock.run(coordinator.find("t"));
  const producer = await machine.clock.run(
    coordinator.initProducerId({ transactionalId: "t", timeoutMs: 60_000, expected: null }),
  );
  const { producerId, producerEpoch } = producer;
  const own = { transactionalId: "t", producerId, producerEpoch, transactionVersion: 1 } as const;
  const partitions = [{ topic: "orders", partition: 0 }];
  await machine.clock.run(coordinator.addPartitions({ ...own, partitions, isPatient: true }));
  await machine.clock.run(coordinator.endTransaction({ ...own, isCommit: true }));
  await machine.clock.advance(1000);
  await succeed("group reset-offsets g --topic orders:0 --to 0 --execute");
  expect(await lagOf("g", 0)).toEqual({ lag: 1, lagSeconds: null });
  await succeed("produce orders --partition 0", ["a\n"]);
  await machine.clock.advance(30_000);
  await expectLag(0, 2, 30);
});

test("group describe: waits for no open transaction of the group", async () => {
  await makeCoordinator();
  await succeed("produce orders --partition 0", ["a\nb\n"]);
  const { groupCoordinator } = broker.subsystems;
  const commit = async (value: number, producerId: number | null) =>
    await machine.clock.run(Promise.resolve(groupCoordinator.commitOffsets({
      groupId: "g",
      memberId: "",
      groupInstanceId: null,
      generationId: -1,
      knowsGroupIdNotFound: true,
      retentionTimeMs: -1,
      offsets: [{
        topic: "orders",
        topicId: ZERO_UUID,
        partition: 0,
        offset: offset(value),
        leaderEpoch: leaderEpoch(-1),
        metadata: null,
      }],
    }, producerId === null ? null : { producerId, producerEpoch: 0, guard: undefined })));
  expect(await commit(1, null)).toEqual([ErrorCode.NONE]);
  expect(await commit(2, 7)).toEqual([ErrorCode.NONE]);
  const startMs = machine.clock.monotonicMs();
  expect(await lagOf("g", 0)).toMatchObject({ lag: 1 });
  expect(machine.clock.monotonicMs() - startMs).toBeLessThan(1000);
});

test("group list: by state and type", async () => {
  await makeCoordinator();
  await heartbeat("one", 0, { names: ["orders"] });
  await succeed("group reset-offsets simple --topic orders --to 0 --execute");
  const names = async (flags: string) =>
    parsed(await succeed(`group list --json${flags}`)).map(({ group }) => group);
  expect(await names("")).toEqual(["g", "simple"]);
  expect(await names(" --type consumer")).toEqual(["g"]);
  expect(await names(" --type Classic")).toEqual(["simple"]);
  expect(await names(" --type classic,consumer")).toEqual(["g", "simple"]);
  expect(await names(" --state empty")).toEqual(["simple"]);
  expect(await names(" --state stable,empty --type consumer")).toEqual(["g"]);
  expect((await weir("group list --state Dead")).error).toBe("There are no groups.\n");
  const wrong = await weir("group list --type consumers");
  expect(wrong).toMatchObject({ exitCode: 2 });
  expect(wrong.error).toContain('"consumers": it must be one of classic, consumer, share, streams');
});

function writeFile(path: string, text: string): void {
  const file = machine.disk.open(path, "write");
  file.write(0, Buffer.from(text));
  file.close();
}

test("group reset-offsets: what --export writes, --from-file brings back", async () => {
  await succeed("produce orders --partition 0", ["a\nb\nc\n"]);
  await succeed("produce orders --partition 1", ["d\n"]);
  await succeed("consume orders --group g");
  const plan = await weir("group reset-offsets g --all-topics --shift 0 --export");
  expect(plan).toMatchObject({ exitCode: 0, out: "orders,0,3\norders,1,1\n" });
  expect(plan.error).toBe("Nothing was changed; --execute does it.\n");
  writeFile("/saved.csv", plan.out);
  await succeed("group reset-offsets g --all-topics --to beginning --execute");
  expect((await describe("g")).partitions.map(({ lag }) => lag)).toEqual([3, 1]);
  const shown = parsed(await succeed("group reset-offsets g --from-file /saved.csv --json"));
  expect(shown).toEqual([
    { topic: "orders", partition: 0, oldOffset: 0, newOffset: 3 },
    { topic: "orders", partition: 1, oldOffset: 0, newOffset: 1 },
  ]);
  expect((await describe("g")).partitions.map(({ lag }) => lag)).toEqual([3, 1]);
  await succeed("group reset-offsets g --from-file /saved.csv --execute");
  expect((await describe("g")).partitions.map(({ lag }) => lag)).toEqual([0, 0]);
});

test("group reset-offsets: reads quotes, CRLF, blank lines, lines of other groups, offsets out of range", async () => {
  await succeed("produce orders --partition 0", ["a\nb\nc\n"]);
  writeFile("/o.csv", 'g,"orders",0,2\r\n\r\n"h",orders,0,3\r\n"g",orders,1,"99"\r\n');
  const plan = await weir("group reset-offsets g --from-file /o.csv --json");
  expect(parsed(plan.out)).toEqual([
    { topic: "orders", partition: 0, oldOffset: null, newOffset: 2 },
    { topic: "orders", partition: 1, oldOffset: null, newOffset: 0 },
  ]);
  expect(plan.error).toContain("orders-1 has 0 to 0: 0 is taken for 99.\n");
});

test.each([
  ["orders,0,1\norders,1\n", 'line 2 is "orders,1"; a line is topic,partition,offset'],
  ["orders,0,1\ng,orders,0,1,5\n", 'line 2 is "g,orders,0,1,5"; '],
  ['orders,0,1\n"orders,1,1\n', "line 2 is "],
  ["orders,0,1\norders,one,1\n", 'line 2 has the partition "one", it must be a whole number'],
  ["orders,0,1\norders,1,-1\n", 'line 2 has the offset "-1", it must be a whole number'],
  ["orders,0,1\norders,1,9007199254740993\n", 'line 2 has the offset "9007199254740993"'],
  ["orders,0,1\n,1,1\n", "line 2 names no topic"],
  ["orders,0,1\n\norders,0,2\n", "line 3 names orders-0 again, after /o.csv line 1"],
  ["orders,0,1\norders,2,1\n", "line 2: orders has no partition 2, it has 0 to 1"],
  ["orders,0,1\nnothing,0,1\n", "line 2: topic nothing does not exist"],
  ["orders,0,1\na/b,0,1\n", "line 2: "],
  ["h,orders,0,1\n", "has no offsets of group g"],
  ["", "has no offsets of group g"],
])("group reset-offsets: of the file %j nothing is taken", async (text, expected) => {
  await succeed("produce orders --partition 0", ["a\nb\nc\n"]);
  await succeed("consume orders --group g");
  const before = await describe("g");
  writeFile("/o.csv", text);
  const outcome = await weir("group reset-offsets g --from-file /o.csv --execute");
  expect(outcome).toMatchObject({ exitCode: 1, out: "" });
  expect(outcome.error).toStartWith("Cannot reset the offsets of g: /o.csv ");
  expect(outcome.error).toContain(expected);
  expect(await describe("g")).toEqual(before);
});

test("group reset-offsets: a file that is not there is said", async () => {
  const outcome = await weir("group reset-offsets g --from-file /none.csv");
  expect(outcome).toMatchObject({ exitCode: 1 });
  expect(outcome.error).toBe("Cannot reset the offsets of g: there is no file /none.csv\n");
});

test("group reset-offsets: --to -1h goes to the first record of the last hour", async () => {
  await succeed("produce orders --partition 0", ["a\n"]);
  await machine.clock.advance(7_200_000);
  await succeed("produce orders --partition 0", ["b\n"]);
  const newOffset = async (place: string) => {
    const line = `group reset-offsets g --topic orders:0 --to ${place} --json`;
    return parsed(await succeed(line))[0].newOffset;
  };
  await machine.clock.advance(60_000);
  expect(await newOffset("-3h")).toBe(0);
  expect(await newOffset("-1h")).toBe(1);
  expect(await newOffset("-30s")).toBe(2);
  expect(await newOffset("-90000d")).toBe(0);
});

test("group reset-offsets: a dry run says that members would have to be stopped", async () => {
  await makeCoordinator();
  await heartbeat("one", 0, { names: ["orders"] });
  const plan = await weir("group reset-offsets g --topic orders --to end");
  expect(plan.exitCode).toBe(0);
  expect(plan.error).toContain("once its members are stopped: the group is Stable");
  const refused = await weir("group reset-offsets g --topic orders --to end --execute");
  expect(refused).toMatchObject({ exitCode: 1 });
  expect(refused.error).toContain("the group is Stable: it has members that read");
});

test("group reset-offsets: a topic named twice is reset once", async () => {
  const plan = "group reset-offsets g --topic orders:1 --topic orders --to beginning --json";
  expect(parsed(await succeed(plan)).map(({ partition }) => partition)).toEqual([0, 1]);
});

/** The commands against weir's own broker, all of it in memory and on virtual time. */

import { afterEach, beforeEach, expect, test } from "bun:test";
import type { Broker } from "../../../broker/broker.ts";
import { startedBroker } from "./started_broker.ts";
import { parsed, TestMachine } from "./test_io.ts";

let machine: TestMachine;
let broker: Broker;

async function startBroker(): Promise<void> {
  const { disk, network } = machine;
  broker = await startedBroker(machine, { name: "broker", disk, network });
}

beforeEach(async () => {
  machine = new TestMachine();
  await startBroker();
});
afterEach(() => machine.clock.run(broker.stop()));

const weir = (line: string, input: readonly string[] = []) => machine.weir(line, input);
const succeed = (line: string, input: readonly string[] = []) => machine.succeed(line, input);

test("topic: create, describe, alter, delete against weir", async () => {
  await succeed("topic create orders -p 2 --config retention.ms=1000");
  const [described] = parsed(await succeed("topic describe orders --json"));
  expect(described).toMatchObject({ topic: "orders", settings: { "retention.ms": "1000" } });
  expect(described.partitions).toEqual([0, 1].map((partition) => ({
    partition,
    leader: 1,
    leaderEpoch: 0,
    replicas: [1],
    isr: [1],
    startOffset: 0,
    endOffset: 0,
  })));
  await succeed("topic alter orders -p 4 --delete-config retention.ms");
  const [altered] = parsed(await succeed("topic describe orders --json"));
  expect(altered.partitions.length).toBe(4);
  expect(altered.settings).toEqual({});
  expect(await weir("topic alter orders -p 3")).toMatchObject({ exitCode: 1 });
  expect(await weir("topic create bad/name")).toMatchObject({ exitCode: 1 });
  await succeed("topic delete orders");
  expect(await weir("topic delete orders")).toMatchObject({ exitCode: 1 });
  await succeed("topic delete orders --if-exists");
  expect(await succeed("topic list --json")).toBe("");
});

test("topic trim: deletes what is before a place, older than a time, or past retention.ms", async () => {
  await succeed("topic create trimmed -p 2");
  const produce = async () => {
    for (const partition of [0, 1]) {
      await succeed(`produce trimmed --partition ${partition}`, ["a\nb\nc\n"]);
    }
  };
  const starts = (out: string) => parsed(out).map(({ oldStart, newStart }) => [oldStart, newStart]);
  await produce();
  await machine.clock.advance(3_600_000);
  await produce();
  const older = "topic trim trimmed --older-than 30m --json";
  expect(starts(await succeed(`${older} --dry-run`))).toEqual([[0, 3], [0, 3]]);
  expect(starts(await succeed(older))).toEqual([[0, 3], [0, 3]]);
  expect(starts(await succeed(older))).toEqual([[3, 3], [3, 3]]);
  expect(starts(await succeed("topic trim trimmed --before -2 --json"))).toEqual([[3, 4], [3, 4]]);
  // Nothing is past a week. Then the old records are, and share a segment with young ones.
  expect((await weir("topic trim trimmed")).error).toContain("Deleted 0 records");
  await machine.clock.advance(3_600_000);
  await produce();
  await succeed("topic alter trimmed --config retention.ms=1800000");
  expect((await weir("topic trim trimmed")).error).toContain("Deleted 4 records");
  // Whole segments go by themselves, as soon as the setting says so.
  await succeed("topic alter trimmed --config retention.ms=1");
  await machine.clock.advance(1500);
  expect(await succeed("consume trimmed")).toBe("");
});

test("topic trim: says why it cannot", async () => {
  await succeed("topic create kept --config retention.ms=-1 --config cleanup.policy=compact");
  await succeed("produce kept --format key-value", ["a:b\n"]);
  expect((await weir("topic trim kept")).error).toContain("keeps its records for ever");
  expect((await weir("topic trim kept --before end")).error).toContain("cleanup.policy");
  expect((await weir("topic trim kept --older-than 3")).error).toContain("such as 36h");
  expect((await weir("topic trim kept --older-than 3h --before end")).error).toContain(
    "choose one",
  );
  expect((await weir("topic trim absent")).exitCode).toBe(1);
});

test("produce, consume: text comes back through weir, also after it was started anew", async () => {
  const text = Array.from({ length: 2000 }, (_, i) => `line ${i} ${"z".repeat(i % 90)}\n`).join("");
  for (const codec of ["none", "gzip", "snappy", "lz4", "zstd"]) {
    await succeed(`produce text-${codec} --compression ${codec} --batch-bytes 9000`, [text]);
    expect(await succeed(`consume text-${codec}`)).toBe(text);
  }
  await machine.clock.run(broker.stop());
  await startBroker();
  for (const codec of ["none", "gzip", "snappy", "lz4", "zstd"]) {
    expect(await succeed(`consume text-${codec}`)).toBe(text);
  }
});

test("group: lag, reset and delete against weir", async () => {
  await succeed("topic create orders -p 2");
  await succeed("produce orders --partition 1", ["a\nb\nc\nd\n"]);
  expect(await succeed("consume orders --group g --count 3")).toBe("a\nb\nc\n");
  expect(parsed(await succeed("group list --json"))).toEqual([
    { group: "g", state: "Empty", type: "classic", protocolType: "consumer" },
  ]);
  const [group] = parsed(await succeed("group describe g --json"));
  expect(group.partitions.find((it: { partition: number }) => it.partition === 1)).toMatchObject({
    committedOffset: 3,
    endOffset: 4,
    lag: 1,
  });
  const plan = await weir("group reset-offsets g --topic orders:1 --to beginning --json");
  expect(parsed(plan.out)).toEqual([{ topic: "orders", partition: 1, oldOffset: 3, newOffset: 0 }]);
  expect(plan.error).toContain("--execute");
  expect(await succeed("consume orders --group g")).toBe("d\n");
  await succeed("group reset-offsets g --all-topics --shift -2 --execute");
  expect(await succeed("consume orders --group g")).toBe("c\nd\n");
  await succeed("group delete g");
  expect(await weir("group describe g")).toMatchObject({ exitCode: 1 });
  expect(await weir("group delete g")).toMatchObject({ exitCode: 1 });
});

test("group: a group that reads may not be reset, and its members are shown", async () => {
  await succeed("topic create orders -p 2");
  const stop = new AbortController();
  const following = machine.start(["consume", "orders", "--group", "g", "--follow"], { stop });
  await machine.clock.advance(10_000);
  const [group] = parsed(await succeed("group describe g --json"));
  expect(group).toMatchObject({ state: "Stable", protocol: "range" });
  expect(group.members.length).toBe(1);
  expect(group.members[0].partitions).toEqual([
    { topic: "orders", partition: 0 },
    { topic: "orders", partition: 1 },
  ]);
  const reset = await weir("group reset-offsets g --topic orders --to end --execute");
  expect(reset).toMatchObject({ exitCode: 1 });
  expect(reset.error).toContain("the group is Stable: it has members that read");
  stop.abort();
  expect(await machine.clock.run(following)).toMatchObject({ exitCode: 0 });
});

test("group: two members share the partitions, and one takes all when the other ends", async () => {
  await succeed("topic create orders -p 2");
  const stops = [new AbortController(), new AbortController()];
  const argv = ["consume", "orders", "--group", "g", "--follow", "--format", "%v"];
  const members = stops.map((stop) => machine.start(argv, { stop }));
  await machine.clock.advance(20_000);
  await succeed("produce orders --partition 0", ["zero\n"]);
  await succeed("produce orders --partition 1", ["one\n"]);
  await machine.clock.advance(5000);
  stops[0]!.abort();
  const first = await machine.clock.run(members[0]!);
  await machine.clock.advance(20_000);
  await succeed("produce orders --partition 0", ["more zero\n"]);
  await succeed("produce orders --partition 1", ["more one\n"]);
  await machine.clock.advance(5000);
  stops[1]!.abort();
  const second = await machine.clock.run(members[1]!);
  expect(["zero\n", "one\n"]).toContain(first.out);
  expect([...first.out.split("\n"), ...second.out.split("\n")].filter((it) => it !== "").sort())
    .toEqual(["more one", "more zero", "one", "zero"]);
});

test("config: get and set, for topics and brokers, and what is refused", async () => {
  await succeed("topic create orders");
  await succeed("config set topic orders max.message.bytes=2000 cleanup.policy=compact");
  expect(parsed(await succeed("config get topic orders --json"))).toMatchObject([
    { setting: "cleanup.policy", value: "compact", source: "DYNAMIC_TOPIC_CONFIG" },
    { setting: "max.message.bytes", value: "2000", source: "DYNAMIC_TOPIC_CONFIG" },
  ]);
  const all = parsed(await succeed("config get topic orders --all --json"));
  expect(all.find(({ setting }) => setting === "retention.ms")).toMatchObject({
    source: "DEFAULT_CONFIG",
  });
  expect(await weir("config set topic orders nonsense=1")).toMatchObject({ exitCode: 1 });
  expect(await weir("config set topic orders retention.ms=soon")).toMatchObject({ exitCode: 1 });
  expect(await weir("config get topic orders nonsense")).toMatchObject({ exitCode: 1 });
  expect(await weir("config get topic nope")).toMatchObject({ exitCode: 1 });
  expect(parsed(await succeed("config get broker 1 log.dirs --json"))).toMatchObject([
    { setting: "log.dirs", value: "/data", source: "STATIC_BROKER_CONFIG" },
  ]);
});

test("cluster describe: id, controller and brokers", async () => {
  const [cluster] = parsed(await succeed("cluster describe --json --apis"));
  expect(cluster).toMatchObject({ clusterId: broker.clusterId, controllerId: 1 });
  expect(cluster.brokers).toEqual([{ id: 1, host: "127.0.0.1", port: 9092, rack: null }]);
  expect(cluster.apis.find(({ api }: { api: string }) => api === "Produce").lowest).toBe(0);
  expect(await succeed("cluster describe")).toContain(`Cluster ${broker.clusterId}, 1 broker, `);
});

test("produce: a record that is too large ends it with 1 and names the reason", async () => {
  await succeed("topic create small --config max.message.bytes=1000");
  const outcome = await weir("produce small", [`${"x".repeat(5000)}\n`]);
  expect(outcome).toMatchObject({ exitCode: 1 });
  expect(outcome.error).toContain("(MESSAGE_TOO_LARGE); 0 of 1 record read were acknowledged");
});

test("log dump: reads what weir has written", async () => {
  await succeed("topic create orders");
  await succeed("produce orders --format key-value --compression zstd", ["k:v\n"]);
  await succeed("consume orders --group g");
  const [batch] = parsed(
    await succeed("log dump /data/orders-0/00000000000000000000.log --records --json"),
  );
  expect(batch).toMatchObject({ baseOffset: 0, compression: "zstd", crcValid: true });
  expect(batch.records[0]).toMatchObject({ key: "k", value: "v" });
  const metadata = parsed(
    await succeed("log dump /data/__cluster_metadata-0/00000000000000000000.log --records --json"),
  );
  const types = metadata.flatMap(({ records }) =>
    records.map(({ type }: { type: string }) => type)
  );
  expect(types).toContain("TopicRecord");
  expect(types).toContain("leaderChange");
  await machine.clock.run(broker.stop());
  const names = machine.disk.list("/data/orders-0").map(({ name }) => name);
  const dumped = names.filter((name) => /\.(log|index|timeindex|snapshot)$/.test(name));
  expect(dumped).toContain("00000000000000000001.snapshot");
  for (const name of dumped) await succeed(`log dump /data/orders-0/${name}`);
  const [producer] = parsed(
    await succeed("log dump /data/orders-0/00000000000000000001.snapshot --json"),
  );
  expect(producer).toMatchObject({ lastSequence: 0, lastOffset: 0 });
  await startBroker();
});

test("cluster dirs: the directories, their disks and partitions", async () => {
  await succeed("topic create orders -p 3");
  await succeed("produce orders --partition 1", ["a\nb\n"]);
  const [directory] = parsed(await succeed("cluster dirs --json"));
  expect(directory).toMatchObject({
    broker: 1,
    directory: "/data",
    state: "online",
    partitions: 3,
    arriving: [],
  });
  expect(directory.usedBytes).toBeGreaterThan(60);
  const [title, line] = (await succeed("cluster dirs")).split("\n");
  expect(title).toMatch(/BROKER +DIRECTORY +STATE +PARTITIONS +ARRIVING +USED +FREE +SIZE/);
  expect(line).toMatch(/1 +\/data +online +3 +0 +[\d.]+ B +/);
});

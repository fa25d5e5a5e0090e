import { expect, test } from "bun:test";
import { ApiKey } from "../../../protocol/api_keys.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { readBaseOffset } from "../../../protocol/record_batch.ts";
import { type Fault, ScriptedBroker } from "./scripted_broker.ts";
import { TestMachine } from "./test_io.ts";

function cluster(seed = 1) {
  const machine = new TestMachine(seed);
  const broker = new ScriptedBroker(machine);
  return { machine, broker };
}

/** Lines `prefix 0` … with CRs and empty lines among them. */
function textLines(count: number): string {
  return Array.from(
    { length: count },
    (_, i) => `${"x".repeat(i % 70)} ${i}${i % 10 === 0 ? "\r" : ""}\n${i % 7 === 0 ? "\n" : ""}`,
  ).join("");
}

function cut(text: string, chunkBytes: number): Uint8Array[] {
  const bytes = new TextEncoder().encode(text);
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    chunks.push(bytes.subarray(at, at + chunkBytes));
  }
  return chunks;
}

const values = (broker: ScriptedBroker, topic: string, partition = 0) =>
  broker.records(topic, partition).map(({ value }) => Buffer.from(value ?? "null").toString());

test("produce, consume: a text file comes back byte for byte, through every codec", async () => {
  const text = textLines(3000);
  for (const compression of ["none", "gzip", "snappy", "lz4", "zstd"]) {
    const { machine, broker } = cluster();
    broker.create("logs", 1);
    const produced = await machine.run(
      ["produce", "logs", "--compression", compression, "--batch-bytes", "4000"],
      { input: cut(text, 999) },
    );
    expect(produced).toMatchObject({ exitCode: 0, out: "" });
    expect(produced.error).toMatch(/^Produced 3,429 records \(\S+ kB\) to logs in \d+\.\d s\.\n$/);
    const consumed = await machine.run(["consume", "logs"]);
    expect(consumed).toMatchObject({ exitCode: 0, error: "" });
    expect(consumed.out).toBe(text);
  }
});

test("produce: a last line without its line feed is a record all the same", async () => {
  const { machine, broker } = cluster();
  await machine.run(["produce", "logs"], { input: ["one\ntwo\n\nthree"] });
  expect(values(broker, "logs")).toEqual(["one", "two", "", "three"]);
});

test("produce: no input is no record and no failure", async () => {
  const { machine, broker } = cluster();
  const outcome = await machine.run(["produce", "logs"]);
  expect(outcome).toMatchObject({ exitCode: 0 });
  expect(values(broker, "logs")).toEqual([]);
});

const PASSING: readonly [string, Fault[]][] = [
  ["a leader that moves", [{ kind: "error", code: ErrorCode.NOT_LEADER_OR_FOLLOWER }]],
  ["too few replicas, twice", [
    { kind: "error", code: ErrorCode.NOT_ENOUGH_REPLICAS },
    { kind: "error", code: ErrorCode.NOT_ENOUGH_REPLICAS },
  ]],
  ["a connection lost before the write", [{ kind: "cutBefore" }]],
  ["a connection lost after the write", [{ kind: "cutAfter" }]],
  ["a broker that goes silent", [{ kind: "silence" }]],
  ["all of it", [
    { kind: "cutAfter" },
    { kind: "error", code: ErrorCode.KAFKA_STORAGE_ERROR },
    { kind: "cutBefore" },
    { kind: "cutAfter" },
  ]],
];

for (const [name, faults] of PASSING) {
  test(`Producer: every record once and in order in spite of ${name}`, async () => {
    for (let seed = 1; seed <= 5; seed++) {
      const { machine, broker } = cluster(seed);
      broker.create("logs", 1);
      broker.produceMs = 20;
      broker.fault(ApiKey.Produce, ...faults);
      const lines = Array.from({ length: 400 }, (_, i) => `line ${i}`);
      const outcome = await machine.run(["produce", "logs", "--batch-bytes", "500"], {
        input: cut(`${lines.join("\n")}\n`, 700),
      });
      expect(outcome).toMatchObject({ exitCode: 0 });
      expect(values(broker, "logs")).toEqual(lines);
      expect(broker.mostInFlight).toBeGreaterThan(1);
      await machine.clock.advance(1000);
      expect(machine.clock.pendingTimers).toBe(0);
    }
  });
}

test("produce: an error that does not pass ends it with 1, and says how many were acknowledged", async () => {
  const { machine, broker } = cluster();
  broker.create("logs", 1);
  broker.fault(ApiKey.Produce, { kind: "error", code: ErrorCode.MESSAGE_TOO_LARGE });
  const outcome = await machine.run(["produce", "logs"], { input: ["a\nb\nc\n"] });
  expect(outcome.exitCode).toBe(1);
  expect(outcome.error).toStartWith("Cannot produce to logs: ");
  expect(outcome.error).toEndWith("(MESSAGE_TOO_LARGE); 0 of 3 records read were acknowledged\n");
});

test("produce: a topic that nobody makes ends it with 1 and says what to do", async () => {
  const { machine, broker } = cluster();
  broker.autoCreate = false;
  const outcome = await machine.run(["produce", "logs"], { input: ["a\n"] });
  expect(outcome.exitCode).toBe(1);
  expect(outcome.error).toContain('topic logs does not exist; "weir topic list"');
  expect(machine.clock.monotonicMs()).toBeLessThan(6000);
});

test("produce: a broker that stays away ends it with 1 once --timeout-ms is over", async () => {
  const { machine, broker } = cluster();
  broker.create("logs", 1);
  const away: Fault = { kind: "error", code: ErrorCode.NOT_LEADER_OR_FOLLOWER };
  broker.fault(ApiKey.Produce, ...Array(1000).fill(away));
  const before = machine.clock.monotonicMs();
  const outcome = await machine.run(["produce", "logs", "--timeout-ms", "9000"], {
    input: ["a\n"],
  });
  expect(outcome.exitCode).toBe(1);
  expect(outcome.error).toContain("(NOT_LEADER_OR_FOLLOWER); 0 of 1 record read were acknowledged");
  expect(machine.clock.monotonicMs() - before).toBeWithin(9000, 12_000);
});

test("produce: a bad line is named by its number; what came before it is delivered", async () => {
  const { machine, broker } = cluster();
  const outcome = await machine.run(["produce", "pairs", "--format", "key-value"], {
    input: ["a:1\nb:2\nno separator\nc:3\n"],
  });
  expect(outcome.exitCode).toBe(1);
  expect(outcome.error).toBe(
    'Cannot produce to pairs: line 3: the line has no ":" between key and value; ' +
      "2 of 2 records read were acknowledged\n",
  );
  expect(values(broker, "pairs")).toEqual(["1", "2"]);
});

test("produce: keys go where Kafka's partitioner puts them, --partition overrides it", async () => {
  const { machine, broker } = cluster();
  broker.create("pairs", 3);
  const input = [Array.from({ length: 30 }, (_, i) => `k${i}=v${i}\n`).join("")];
  const flags = ["--format", "key-value", "--key-separator", "="];
  await machine.run(["produce", "pairs", ...flags], { input });
  const counts = [0, 1, 2].map((partition) => broker.records("pairs", partition).length);
  expect(counts.reduce((a, b) => a + b)).toBe(30);
  expect(Math.min(...counts)).toBeGreaterThan(3);
  await machine.run(["produce", "pairs", ...flags, "--partition", "2"], { input });
  expect(broker.records("pairs", 2).length).toBe(counts[2]! + 30);
  const outcome = await machine.run(["produce", "pairs", "--partition", "3"], { input });
  expect(outcome).toMatchObject({ exitCode: 1 });
  expect(outcome.error).toContain("topic pairs has partitions 0 to 2");
});

test.each(["0", "1"])("produce: acks=%s delivers in order", async (acks) => {
  const { machine, broker } = cluster();
  broker.create("logs", 1);
  const lines = Array.from({ length: 300 }, (_, i) => `line ${i}`);
  const outcome = await machine.run(["produce", "logs", "--acks", acks, "--batch-bytes", "200"], {
    input: [`${lines.join("\n")}\n`],
  });
  expect(outcome).toMatchObject({ exitCode: 0 });
  if (acks === "1") {
    expect(values(broker, "logs")).toEqual(lines);
    expect(broker.mostInFlight).toBe(1);
  }
});

test("produce: reads its input no faster than the broker takes it", async () => {
  const { machine, broker } = cluster();
  broker.create("logs", 1);
  broker.produceMs = 50;
  const chunk = new TextEncoder().encode(`${"y".repeat(99_999)}\n`);
  let readBytes = 0;
  let mostAhead = 0;
  async function* endless() {
    for (let i = 0; i < 600; i++) {
      readBytes += chunk.length;
      const end = broker.topics.get("logs")![0]!.batches.reduce((sum, it) => sum + it.length, 0);
      mostAhead = Math.max(mostAhead, readBytes - end);
      yield await Promise.resolve(chunk);
    }
  }
  const outcome = await machine.run(["produce", "logs"], { input: endless() });
  expect(outcome).toMatchObject({ exitCode: 0 });
  expect(broker.records("logs").length).toBe(600);
  expect(mostAhead).toBeLessThan(20 * 1024 * 1024);
});

test("produce: shows progress on a terminal when the input is long, and wipes it away", async () => {
  const { machine, broker } = cluster();
  broker.create("logs", 1);
  machine.stderrIsTerminal = true;
  async function* slow() {
    for (let i = 0; i < 5; i++) {
      await machine.clock.sleep(500);
      yield new TextEncoder().encode(`line ${i}\n`);
    }
  }
  const outcome = await machine.run(["produce", "logs"], { input: slow() });
  expect(outcome.error).toContain("records read, ");
  expect(outcome.error).toContain("\r\x1b[KProduced 5 records (30 B) to logs");
  machine.stderrIsTerminal = false;
  const quiet = await machine.run(["produce", "logs"], { input: slow() });
  expect(quiet.error).toStartWith("Produced 5 records");
});

test("produce: Ctrl-C delivers what was read and ends", async () => {
  const { machine, broker } = cluster();
  broker.create("logs", 1);
  const stop = new AbortController();
  async function* typed() {
    yield new TextEncoder().encode("one\ntwo\n");
    await machine.clock.sleep(1000);
    stop.abort();
    await machine.clock.sleep(1000);
    yield new TextEncoder().encode("three\n");
  }
  const outcome = await machine.run(["produce", "logs"], { input: typed(), stop });
  expect(outcome.exitCode).toBe(0);
  expect(values(broker, "logs")).toEqual(["one", "two"]);
});

test("consume --json, produce ndjson: everything that a record has goes through", async () => {
  const { machine, broker } = cluster();
  broker.create("orders", 2);
  broker.create("copy", 2);
  const lines = [
    {
      key: "k",
      value: "ü\n",
      headers: { a: "1", b: null },
      partition: 1,
      timestamp: 1_700_000_000_123,
    },
    {
      key: null,
      value: null,
      headers: [{ key: "x", valueBase64: "//8=" }],
      partition: 0,
      timestamp: 5,
    },
    { keyBase64: "/w==", value: { n: [1, 2] }, partition: 1, timestamp: "2026-01-31T12:00:00Z" },
  ];
  const input = [lines.map((line) => `${JSON.stringify(line)}\n`).join("")];
  const produced = await machine.run(["produce", "orders", "--format", "ndjson"], { input });
  expect(produced).toMatchObject({ exitCode: 0 });
  const first = await machine.run(["consume", "orders", "--json"]);
  const parsed = first.out.trim().split("\n").map((line) => JSON.parse(line));
  expect(parsed.find(({ key }) => key === "k")).toEqual({
    topic: "orders",
    partition: 1,
    offset: 0,
    timestamp: 1_700_000_000_123,
    key: "k",
    value: "ü\n",
    headers: [{ key: "a", value: "1" }, { key: "b", value: null }],
  });
  expect(parsed.find(({ keyBase64 }) => keyBase64 === "/w==")).toMatchObject({
    value: '{"n":[1,2]}',
    timestamp: Date.parse("2026-01-31T12:00:00Z"),
  });
  await machine.run(["produce", "copy", "--format", "ndjson"], { input: [first.out] });
  const second = await machine.run(["consume", "copy", "--json"]);
  expect(second.out.split("\n").sort()).toEqual(
    first.out.replaceAll('"orders"', '"copy"').split("\n").sort(),
  );
});

test.each([
  ["{", "line 1: the line is not JSON"],
  ['{"partition":-1}', 'line 1: field "partition" is wrong'],
  ['{"timestamp":"yesterday"}', 'line 1: field "timestamp" is wrong'],
  ['{"valueBase64":"?"}', "line 1: a field that ends with Base64 is not base64"],
])("produce ndjson: %s is refused", async (line, expected) => {
  const { machine } = cluster();
  const outcome = await machine.run(["produce", "t", "--format", "ndjson"], { input: [line] });
  expect(outcome).toMatchObject({ exitCode: 1 });
  expect(outcome.error).toContain(expected);
});

async function tenRecords() {
  const { machine, broker } = cluster();
  broker.create("logs", 1);
  const input = [
    Array.from(
      { length: 10 },
      (_, i) => `{"key":"k${i}","value":"v${i}","timestamp":${1_700_000_000_000 + i * 1000}}\n`,
    ).join(""),
  ];
  await machine.run(["produce", "logs", "--format", "ndjson", "--batch-bytes", "80"], { input });
  return { machine, broker };
}

test.each([
  [["--from", "beginning"], "0123456789"],
  [["--from", "end"], ""],
  [["--from", "7"], "789"],
  [["--from", "10"], ""],
  [["--from", "-3"], "789"],
  [["--from", "-300"], "0123456789"],
  [["--from", "2023-11-14T22:13:24Z"], "456789"],
  [["--from", "2033-01-01"], ""],
  [["--count", "4"], "0123"],
  [["--count", "0"], ""],
  [["--from", "2", "--count", "3"], "234"],
])("consume: %p gives %p", async (flags, expected) => {
  const { machine } = await tenRecords();
  const { exitCode, out, error } = await machine.run(["consume", "logs", ...flags]);
  expect(exitCode).toBe(0);
  expect(error).toBe("");
  expect(out).toBe([...expected].map((digit) => `v${digit}\n`).join(""));
});

test("consume: a place past the end, a partition or topic that is not there, end with 1", async () => {
  const { machine } = await tenRecords();
  const past = await machine.run(["consume", "logs", "--from", "11"]);
  expect(past).toMatchObject({
    exitCode: 1,
    error: "Cannot consume logs: offset 11 is past the end of partition 0, 10\n",
  });
  const partition = await machine.run(["consume", "logs", "--partition", "1"]);
  expect(partition).toMatchObject({ exitCode: 1 });
  const topic = await machine.run(["consume", "nope"]);
  expect(topic).toMatchObject({ exitCode: 1 });
  expect(topic.error).toStartWith("Cannot consume nope: topic nope does not exist; ");
});

test("consume: templates and separators", async () => {
  const { machine } = await tenRecords();
  const run = async (...flags: string[]) =>
    (await machine.run(["consume", "logs", "--count", "2", ...flags])).out;
  expect(await run("--format", "%p/%o %k=%v %t 100%%")).toBe(
    "0/0 k0=v0 logs 100%\n0/1 k1=v1 logs 100%\n",
  );
  expect(await run("--format", "%T\\t%v", "--separator", "|")).toBe(
    "1700000000000\tv0|1700000001000\tv1|",
  );
  expect(await run("--separator", "")).toBe("v0v1");
  const wrong = await machine.run(["consume", "logs", "--format", "%x"]);
  expect(wrong).toMatchObject({ exitCode: 2, out: "" });
});

test("consume --follow: waits for more, and ends on Ctrl-C with 0", async () => {
  const { machine } = await tenRecords();
  const stop = new AbortController();
  const following = machine.start(["consume", "logs", "--follow", "--from", "end"], { stop });
  await machine.clock.advance(3000);
  const producing = machine.start(["produce", "logs"], { input: ["later\n"] });
  await machine.clock.advance(3000);
  expect(await producing).toMatchObject({ exitCode: 0 });
  await machine.clock.advance(3000);
  stop.abort();
  expect(await machine.clock.run(following)).toMatchObject({ exitCode: 0, out: "later\n" });
});

test("consume: goes on after a lost connection and a leader that moved, with nothing lost or doubled", async () => {
  const { machine, broker } = await tenRecords();
  broker.fault(
    ApiKey.Fetch,
    { kind: "cutAfter" },
    { kind: "error", code: ErrorCode.NOT_LEADER_OR_FOLLOWER },
    { kind: "cutBefore" },
  );
  const { out, exitCode } = await machine.run([
    "consume",
    "logs",
    "--format",
    "%o",
    "--separator",
    " ",
  ]);
  expect(exitCode).toBe(0);
  expect(out).toBe("0 1 2 3 4 5 6 7 8 9 ");
});

test("consume: goes on at the first record that retention has left, and says so", async () => {
  const { machine, broker } = await tenRecords();
  const [partition] = broker.topics.get("logs")!;
  const start = readBaseOffset(partition!.batches[2]!, 0);
  partition!.batches.splice(0, 2);
  partition!.startOffset = start;
  const { out, error } = await machine.run(["consume", "logs", "--from", "0", "--format", "%o"]);
  expect(out.split("\n").filter((line) => line !== "").map(Number)).toEqual(
    Array.from({ length: 10 - start }, (_, i) => start + i),
  );
  expect(error).toContain(`no longer has offset 0; going on at ${start}`);
});

test("consume: damage that the broker tells of ends it with 1 at once, and says where", async () => {
  const { machine, broker } = await tenRecords();
  broker.fault(ApiKey.Fetch, { kind: "error", code: ErrorCode.CORRUPT_MESSAGE });
  const beganMs = machine.clock.monotonicMs();
  const { exitCode, error } = await machine.run(["consume", "logs", "--from", "3"]);
  expect(exitCode).toBe(1);
  expect(error).toStartWith("Cannot consume logs: partition 0 of logs is damaged at offset 3: ");
  expect(machine.clock.monotonicMs() - beganMs).toBeLessThan(1000);
});

test("consume: a batch with a wrong checksum is not printed, and those before it are", async () => {
  const { machine, broker } = await tenRecords();
  const { batches } = broker.topics.get("logs")![0]!;
  const damaged = batches[3]!.slice();
  damaged[70]! ^= 1;
  batches[3] = damaged;
  const { exitCode, out, error } = await machine.run(["consume", "logs", "--format", "%o"]);
  const first = readBaseOffset(damaged, 0);
  expect(exitCode).toBe(1);
  expect(out).toBe(Array.from({ length: first }, (_, i) => `${i}\n`).join(""));
  expect(error).toContain(`is damaged at offset ${first}: the checksum of the batch does not fit`);
});

test("consume: ends quietly when nobody reads its output any more, as with head", async () => {
  const { machine } = await tenRecords();
  machine.writesUntilClosed = 0;
  expect(await machine.run(["consume", "logs"])).toMatchObject({ exitCode: 0, error: "" });
});

test("consume --group: goes on where the group was, and commits what it wrote only", async () => {
  const { machine, broker } = await tenRecords();
  const run = async (...flags: string[]) => {
    const outcome = await machine.run(["consume", "logs", "--group", "g", ...flags]);
    expect(outcome.exitCode).toBe(0);
    return outcome.out;
  };
  expect(await run("--count", "3")).toBe("v0\nv1\nv2\n");
  expect(broker.committed.get("g logs-0")).toBe(3);
  expect(await run()).toBe("v3\nv4\nv5\nv6\nv7\nv8\nv9\n");
  expect(broker.committed.get("g logs-0")).toBe(10);
  expect(await run()).toBe("");
  expect(broker.seen.at(-1)).toBe(ApiKey.LeaveGroup);
  await machine.clock.advance(1000);
  expect(machine.clock.pendingTimers).toBe(0);
});

test("consume --group: takes a rebalance, a coordinator that loads and a lapsed member in its stride", async () => {
  const { machine, broker } = await tenRecords();
  broker.fault(ApiKey.JoinGroup, { kind: "error", code: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS });
  broker.fault(ApiKey.SyncGroup, { kind: "error", code: ErrorCode.REBALANCE_IN_PROGRESS });
  broker.fault(ApiKey.OffsetCommit, { kind: "error", code: ErrorCode.NOT_COORDINATOR });
  const outcome = await machine.run(["consume", "logs", "--group", "g"]);
  expect(outcome).toMatchObject({ exitCode: 0, error: "" });
  expect(outcome.out.split("\n").length).toBe(11);
  expect(broker.committed.get("g logs-0")).toBe(10);
});

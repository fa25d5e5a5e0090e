import { expect, test } from "bun:test";
import { ApiKey } from "../../../protocol/api_keys.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { readRecordCount } from "../../../protocol/record_batch.ts";
import { ScriptedBroker } from "./scripted_broker.ts";
import { startedBroker } from "./started_broker.ts";
import { parsed, TestMachine } from "./test_io.ts";

/** A machine with a broker that answers what a script says. */
function scripted(seed = 1) {
  const machine = new TestMachine(seed);
  const broker = new ScriptedBroker(machine);
  return { machine, broker };
}

/** A machine with a real one. */
async function real(seed = 1) {
  const machine = new TestMachine(seed);
  const { disk, network } = machine;
  const broker = await startedBroker(machine, { name: "broker", disk, network });
  return { machine, broker };
}

/** Nothing is left behind: no timer, no connection but those of the broker itself. */
async function expectNothingLeft(machine: TestMachine): Promise<void> {
  await machine.clock.advance(1000);
  expect(machine.clock.pendingTimers).toBe(0);
  expect(machine.network.openEnds).toBe(0);
}

const recordCounts = (broker: ScriptedBroker, topic: string) =>
  broker.topics.get(topic)!.map(({ endOffset }) => endOffset);

test("bench produce: as many records as the megabytes hold, shared out evenly, in batches as asked for", async () => {
  const { machine, broker } = scripted();
  const line =
    "bench produce --topic load --partitions 3 --records 10 --size 1000 --megabytes 1 --json";
  const { exitCode, out, error } = await machine.weir(line);
  expect(error).toBe("Made topic load with 3 partitions.\n");
  expect(exitCode).toBe(0);
  expect(recordCounts(broker, "load")).toEqual([340, 330, 330]);
  const batches = broker.topics.get("load")!.flatMap((partition) => partition.batches);
  expect(new Set(batches.map((bytes) => readRecordCount(bytes, 0)))).toEqual(new Set([10]));
  expect(broker.records("load")[0]!.value).toHaveLength(1000);
  expect(parsed(out)).toEqual([{
    load: "produce",
    topic: "load",
    recordsPerRequest: 10,
    recordBytes: 1000,
    inFlight: 5,
    acks: -1,
    rate: null,
    seconds: expect.any(Number),
    requestCount: 100,
    recordCount: 1000,
    byteCount: 1_000_000,
    megabytesPerSecond: expect.any(Number),
    recordsPerSecond: expect.any(Number),
    requestsPerSecond: expect.any(Number),
    p50Ms: expect.any(Number),
    p99Ms: expect.any(Number),
    p999Ms: expect.any(Number),
    maxMs: expect.any(Number),
    connectionCount: 3,
  }]);
  await expectNothingLeft(machine);
});

test("bench produce: its rates are its counts over its time", async () => {
  const { machine } = scripted();
  const [figures] = parsed(await machine.succeed("bench produce --megabytes 2 --json"));
  expect(figures.seconds).toBeGreaterThan(0);
  const expected = (count: number) => count / figures.seconds;
  for (
    const ratio of [
      figures.megabytesPerSecond / expected(figures.byteCount / 1e6),
      figures.recordsPerSecond / expected(figures.recordCount),
      figures.requestsPerSecond / expected(figures.requestCount),
    ]
  ) expect(ratio).toBeWithin(0.98, 1.02);
});

test("bench produce: no more requests wait for their answers than --in-flight", async () => {
  for (const inFlight of [1, 7]) {
    const { machine, broker } = scripted();
    broker.create("bench", 1);
    broker.produceMs = 100;
    const flags = `--records 10 --size 1000 --megabytes 1 --in-flight ${inFlight}`;
    const [figures] = parsed(await machine.succeed(`bench produce ${flags} --json`));
    expect(broker.mostInFlight).toBe(inFlight);
    // The broker answers one after the other, so that a request waits for those before it.
    expect(figures.p50Ms).toBeWithin(inFlight * 99, inFlight * 99 + 50);
  }
});

test("bench produce: --seconds ends it, and what is on its way is waited for", async () => {
  const { machine, broker } = scripted();
  broker.create("bench", 2);
  broker.produceMs = 300;
  const [figures] = parsed(await machine.succeed("bench produce --seconds 2 --json"));
  const written = recordCounts(broker, "bench").reduce((sum, count) => sum + count, 0);
  expect(figures.recordCount).toBe(written);
  expect(figures.seconds).toBeWithin(2, 5);
  await expectNothingLeft(machine);
});

test("bench produce: --acks 0 counts what the broker has taken when it ends", async () => {
  const { machine, broker } = scripted();
  broker.create("bench", 2);
  const [figures] = parsed(await machine.succeed("bench produce --acks 0 --megabytes 3 --json"));
  expect(figures).toMatchObject({ acks: 0, recordCount: 3000, p50Ms: null, maxMs: null });
  expect(recordCounts(broker, "bench")).toEqual([1500, 1500]);
  await expectNothingLeft(machine);
});

test("bench produce: an error code ends it with 1, and says where, what and what to do", async () => {
  const { machine, broker } = scripted();
  broker.create("bench", 1);
  const fault = { kind: "error", code: ErrorCode.MESSAGE_TOO_LARGE } as const;
  broker.fault(ApiKey.Produce, fault);
  const { exitCode, out, error } = await machine.weir("bench produce --megabytes 1");
  expect({ exitCode, out }).toEqual({ exitCode: 1, out: "" });
  expect(error).toMatch(
    /^Cannot put load on bench: partition 0: .* \(MESSAGE_TOO_LARGE\); make --records or --size smaller\n$/,
  );
  await expectNothingLeft(machine);
});

test("bench produce: a connection that is lost, and a broker that says nothing, end it with 1", async () => {
  for (
    const [fault, found] of [
      ["cutBefore", "Connection to 127.0.0.1:9092 was given up: it was lost"],
      ["silence", "no answer for 30 s; is the broker well?"],
    ] as const
  ) {
    const { machine, broker } = scripted();
    broker.create("bench", 1);
    broker.fault(ApiKey.Produce, { kind: fault });
    const { exitCode, error } = await machine.weir("bench produce --megabytes 1");
    expect(exitCode).toBe(1);
    expect(error).toStartWith(`Cannot put load on bench: ${found}`);
    await expectNothingLeft(machine);
  }
});

test("bench produce: begins once every leader knows that it leads", async () => {
  const { machine, broker } = scripted();
  const fault = { kind: "error", code: ErrorCode.NOT_LEADER_OR_FOLLOWER } as const;
  broker.fault(ApiKey.ListOffsets, fault, fault);
  await machine.succeed("bench produce --megabytes 1");
  const first = broker.seen.indexOf(ApiKey.Produce);
  const asked = broker.seen.slice(0, first).filter((apiKey) => apiKey === ApiKey.ListOffsets);
  expect(asked).toHaveLength(3);
});

test("bench produce: a topic with fewer partitions than asked for ends it with 1", async () => {
  const { machine, broker } = scripted();
  broker.create("bench", 2);
  const { exitCode, error } = await machine.weir("bench produce --partitions 3 --megabytes 1");
  expect(exitCode).toBe(1);
  expect(error).toContain("topic bench has 2 partitions, not 3; choose --partitions 2");
});

test("bench produce: whoever stops it gets the figures so far", async () => {
  const { machine, broker } = scripted();
  broker.create("bench", 1);
  broker.produceMs = 50;
  const stop = new AbortController();
  const running = machine.start(["bench", "produce", "--seconds", "3600", "--json"], { stop });
  await machine.clock.advance(2000);
  stop.abort();
  const { exitCode, out } = await machine.clock.run(running);
  expect(exitCode).toBe(0);
  const [figures] = parsed(out);
  expect(figures.requestCount).toBeWithin(30, 41);
  expect(figures.seconds).toBeWithin(1.5, 2);
  await expectNothingLeft(machine);
});

test("bench produce: a line for people", async () => {
  const { machine } = scripted();
  const out = await machine.succeed("bench produce --partitions 1 --megabytes 1");
  expect(out).toMatch(
    /^produce bench: \d+\.\d MB\/s, [\d,]+ records\/s, [\d,]+ requests\/s; p50 [\d.]+ ms, p99 [\d.]+ ms, p99\.9 [\d.]+ ms, max [\d.]+ ms \(1\.0 MB in \d+\.\d s, 1 connection\)\n$/,
  );
});

test("bench latency: one request at a time a connection, timed from its sending", async () => {
  const { machine, broker } = scripted();
  broker.create("bench", 1);
  broker.produceMs = 100;
  const [figures] = parsed(await machine.succeed("bench latency --seconds 2 --json"));
  expect(broker.mostInFlight).toBe(1);
  expect(figures).toMatchObject({ load: "latency", recordsPerRequest: 1, inFlight: 1 });
  expect(figures.p50Ms).toBeWithin(100, 125);
});

test("bench latency: --rate is kept, whatever the answers take", async () => {
  const { machine, broker } = scripted();
  broker.create("bench", 4);
  broker.produceMs = 10;
  const [figures] = parsed(await machine.succeed("bench latency --rate 100 --seconds 3 --json"));
  expect(figures.requestCount).toBeWithin(299, 302);
  expect(figures.requestsPerSecond).toBeWithin(97, 103);
  expect(figures.p99Ms).toBeWithin(10, 100);
});

test("bench latency: with --rate the time counts from when a request should have been sent", async () => {
  // All are sent when they are due, and wait at the broker; or each is sent late.
  for (const [inFlight, mostInFlight] of [[1000, 180], [1, 1]] as const) {
    const { machine, broker } = scripted();
    broker.create("bench", 1);
    // It answers a tenth of what is asked for: the last ones are answered nine tenths of the way late.
    broker.produceMs = 100;
    const flags = `--rate 100 --seconds 60 --size 5000 --megabytes 1 --in-flight ${inFlight}`;
    const [figures] = parsed(await machine.succeed(`bench latency ${flags} --json`));
    expect(figures.requestCount).toBe(200);
    expect(figures.maxMs).toBeWithin(17_800, 23_000);
    expect(figures.p50Ms).toBeWithin(8_800, 11_500);
    expect(broker.mostInFlight).toBeWithin(mostInFlight, mostInFlight + 5);
  }
});

test("bench produce: a request beyond reason is refused before it is built", async () => {
  const line = "bench produce --records 1000000 --size 1000";
  const { exitCode, error } = await scripted().machine.weir(line);
  expect(exitCode).toBe(2);
  expect(error).toStartWith("Cannot use --records 1000000 with --size 1000: a request holds ");
});

test("bench latency: --acks 0 is refused, since nothing is answered", async () => {
  const { exitCode, error } = await scripted().machine.weir("bench latency --acks 0");
  expect(exitCode).toBe(2);
  expect(error).toBe('Cannot use --acks 0 with "bench latency": nothing is answered\n');
});

test("bench fetch: every record of every partition once, for each consumer", async () => {
  const { machine } = await real();
  await machine.succeed("bench produce --partitions 3 --records 7 --size 500 --megabytes 1");
  const [figures] = parsed(await machine.succeed("bench fetch --consumers 2 --json"));
  expect(figures).toMatchObject({ load: "fetch", connectionCount: 6, consumerCount: 2 });
  expect(figures.recordCount).toBe(2 * 7 * Math.ceil(1e6 / 3500));
  expect(figures.byteCount).toBeWithin(2_000_000, 2_150_000);
});

test("bench fetch: --partitions and --megabytes bound it", async () => {
  const { machine } = await real();
  await machine.succeed("bench produce --partitions 3 --records 10 --size 1000 --megabytes 6");
  const flags = "--partitions 2 --megabytes 1 --max-bytes 50000 --json";
  const [figures] = parsed(await machine.succeed(`bench fetch ${flags}`));
  expect(figures.connectionCount).toBe(2);
  expect(figures.byteCount).toBeWithin(1_000_000, 1_100_000);
});

test("bench fetch: a topic without records, and one that is not there, end it with 1", async () => {
  const { machine, broker } = scripted();
  broker.create("empty", 2);
  const empty = await machine.weir("bench fetch --topic empty");
  expect(empty.exitCode).toBe(1);
  expect(empty.error).toContain(
    'it holds no records; "weir bench produce --topic empty" writes some',
  );
  const missing = await machine.weir("bench fetch --topic missing");
  expect(missing.exitCode).toBe(1);
  expect(missing.error).toContain("topic missing does not exist");
  expect(broker.topics.has("missing")).toBe(false);
});

test("bench fetch: an error code ends it with 1", async () => {
  const { machine, broker } = scripted();
  await machine.succeed("bench produce --partitions 1 --megabytes 1");
  broker.fault(ApiKey.Fetch, { kind: "error", code: ErrorCode.NOT_LEADER_OR_FOLLOWER });
  const { exitCode, error } = await machine.weir("bench fetch");
  expect(exitCode).toBe(1);
  expect(error).toContain("(NOT_LEADER_OR_FOLLOWER); another broker leads it by now: start again");
  await expectNothingLeft(machine);
});

test("bench fetch --tail: reads what is written meanwhile, and nothing of what was there", async () => {
  const { machine } = await real();
  await machine.succeed("bench produce --partitions 2 --megabytes 3");
  const flags = ["--tail", "--consumers", "3", "--seconds", "4", "--json"];
  const reading = machine.start(["bench", "fetch", ...flags]);
  // Longer than a broker waits before it answers that there is nothing.
  await machine.clock.advance(3000);
  const produced = machine.start(
    ["bench", "latency", "--size", "100", "--rate", "50", "--seconds", "2", "--json"],
  );
  const { out, error } = await machine.clock.run(reading);
  expect(error).toBe("Waiting at the end of bench.\n");
  const [figures] = parsed(out);
  const [{ recordCount }] = parsed((await machine.clock.run(produced)).out);
  // The records that began the time are not counted.
  expect(figures.recordCount).toBeWithin(3 * recordCount - 12, 3 * recordCount);
  expect(figures.seconds).toBeWithin(1.8, 2.2);
});

test("bench fetch --tail: ends with 1 where nobody writes", async () => {
  const { machine, broker } = scripted();
  broker.create("bench", 1);
  const { exitCode, error } = await machine.weir("bench fetch --tail");
  expect(exitCode).toBe(1);
  expect(error).toContain('no record was written for 30 s; "weir bench produce" beside it');
  await expectNothingLeft(machine);
});

test("bench connections: opens so many, keeps them, and all are answered again", async () => {
  const { machine, broker } = await real();
  const running = machine.start(
    ["bench", "connections", "--connections", "50", "--at-once", "5", "--hold", "10s", "--json"],
  );
  await machine.clock.advance(5000);
  // Both ends of each, and of the one that found the broker.
  expect(machine.network.openEnds).toBeGreaterThanOrEqual(2 * 51);
  const { exitCode, out } = await machine.clock.run(running);
  expect(exitCode).toBe(0);
  expect(parsed(out)[0]).toMatchObject({ load: "connections", connectionCount: 50 });
  expect(parsed(out)[0].allAnsweredMs).toBeGreaterThan(0);
  await machine.clock.run(broker.stop());
});

test("bench connections: one that is lost ends it with 1 and names it", async () => {
  const { machine, broker } = scripted();
  const running = machine.start(["bench", "connections", "--connections", "20", "--hold", "10s"]);
  await machine.clock.advance(5000);
  broker.cutAll();
  const { exitCode, error } = await machine.clock.run(running);
  expect(exitCode).toBe(1);
  expect(error).toMatch(
    /^Cannot open connections: connection \d+: Connection to .* was given up: /,
  );
  await expectNothingLeft(machine);
});

test("bench connections: whoever stops it gets what there is, also where a broker is silent", async () => {
  const { machine, broker } = scripted();
  // The first question is the one that finds the broker.
  const fine = { kind: "error", code: ErrorCode.NONE } as const;
  broker.fault(ApiKey.ApiVersions, fine, fine, fine, { kind: "silence" }, { kind: "silence" });
  const stop = new AbortController();
  const running = machine.start(
    ["bench", "connections", "--connections", "9", "--at-once", "2", "--json"],
    { stop },
  );
  await machine.clock.advance(5000);
  stop.abort();
  const { exitCode, out } = await machine.clock.run(running);
  expect(exitCode).toBe(0);
  expect(parsed(out)[0]).toMatchObject({ connectionCount: 2, allAnsweredMs: null });
  expect(machine.clock.monotonicMs()).toBeLessThan(5100);
  await expectNothingLeft(machine);
});

test("bench connections: one that fails leaves nothing of the others behind", async () => {
  for (let seed = 1; seed <= 10; seed++) {
    const { machine, broker } = scripted(seed);
    const fine = Array.from(
      { length: 7 },
      () => ({ kind: "error", code: ErrorCode.NONE }) as const,
    );
    broker.fault(ApiKey.ApiVersions, ...fine, { kind: "silence" }, { kind: "cutBefore" });
    const line = "bench connections --connections 40 --at-once 5";
    const { exitCode, error } = await machine.weir(line);
    expect(exitCode).toBe(1);
    expect(error).toContain("was given up");
    await expectNothingLeft(machine);
  }
});

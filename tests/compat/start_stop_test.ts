/**
 * Starting and stopping as an operator does it: with signals, twice over the same data, with everything that is there
 * after a restart, and with what must be refused, each with one sentence that says what to do.
 */

import { afterEach, describe, expect, test } from "bun:test";
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import kafkajs from "kafkajs";
import { fetchRequest, fetchResponse } from "../../protocol/schemas/fetch.ts";
import {
  initProducerIdRequest,
  initProducerIdResponse,
} from "../../protocol/schemas/init_producer_id.ts";
import { metadataRequest, metadataResponse } from "../../protocol/schemas/metadata.ts";
import { type Uuid, ZERO_UUID } from "../../protocol/types.ts";
import { runCommand, startCommand } from "./command_line.ts";
import {
  eventually,
  repositoryRoot,
  type RunningBroker,
  runOk,
  scratchDirectory,
  startWeir,
  type WeirOptions,
} from "./harness.ts";
import { Wire } from "./wire.ts";

const { Kafka, logLevel } = kafkajs;

const isExternal = process.env["WEIR_COMPAT_BOOTSTRAP"] !== undefined;
const reason = isExternal ? " (another broker is under test)" : "";
const SETTINGS = { "group.initial.rebalance.delay.ms": "0" };
const CLEAN_MARK = ".kafka_cleanshutdown";
const MEBIBYTE = 1024 * 1024;
const STOP_MS = 1000;

const brokers = new Set<RunningBroker>();
afterEach(async () => {
  for (const broker of brokers) await broker.kill();
  brokers.clear();
});

async function start(options: WeirOptions = {}): Promise<RunningBroker> {
  const broker = await startWeir({ ...options, settings: { ...SETTINGS, ...options.settings } });
  brokers.add(broker);
  return broker;
}

async function restart({ dataDirectory, port }: RunningBroker): Promise<RunningBroker> {
  return await start({ dataDirectory, port });
}

const cli = (broker: RunningBroker, ...words: string[]) => ["-b", broker.bootstrap, ...words];
const ask = (broker: RunningBroker, ...words: string[]) =>
  runOk([process.execPath, join(repositoryRoot, "main.ts"), ...cli(broker, ...words)]);

async function topicIdOf(wire: Wire, name: string): Promise<Uuid> {
  const answer = await wire.send(metadataRequest, metadataResponse, 12, {
    topics: [{ name, topicId: ZERO_UUID }],
    allowAutoTopicCreation: false,
    includeTopicAuthorizedOperations: false,
  });
  return answer.topics[0]!.topicId;
}

/** Sends a Fetch that nothing will answer for ten seconds. Returns: its answer, and the connection. */
async function waitingFetch(broker: RunningBroker, topic: string) {
  const wire = await Wire.connect(broker.bootstrap);
  const topicId = await topicIdOf(wire, topic);
  const answer = wire.send(fetchRequest, fetchResponse, 13, {
    replicaId: -1,
    maxWaitMs: 10_000,
    minBytes: 1,
    maxBytes: MEBIBYTE,
    isolationLevel: 0,
    topics: [{
      topicId,
      partitions: [{ partition: 0, fetchOffset: 0, partitionMaxBytes: MEBIBYTE }],
    }],
    forgottenTopicsData: [],
  });
  return { wire, answer };
}

/** Bytes that a process has asked the system to read since it began. */
function bytesReadBy(pid: number): number {
  return Number(/^rchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, "utf8"))![1]);
}

async function isReady(broker: RunningBroker): Promise<true | undefined> {
  const answer = await fetch(`http://127.0.0.1:${broker.httpPort}/readyz`);
  return answer.ok || undefined;
}

describe.skipIf(isExternal)(`weir serve, stopping${reason}`, () => {
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
    test(
      `${signal}: stops cleanly within a second, with clients and a fetch that waits`,
      async () => {
        const broker = await start();
        await runCommand(cli(broker, "topic", "create", "quiet"));
        const { wire, answer } = await waitingFetch(broker, "quiet");
        const idle = await Wire.connect(broker.bootstrap);
        const kafka = new Kafka({
          brokers: [broker.bootstrap],
          logLevel: logLevel.NOTHING,
          // It would otherwise go on looking for a broker that has stopped.
          retry: { retries: 3, initialRetryTime: 50 },
        });
        const consumer = kafka.consumer({ groupId: "waits", maxWaitTimeInMs: 10_000 });
        await consumer.connect();
        await consumer.subscribe({ topics: ["quiet"] });
        const joined = new Promise((resolve) => consumer.on(consumer.events.GROUP_JOIN, resolve));
        await consumer.run({ eachMessage: () => Promise.resolve() });
        await joined;

        const startMs = performance.now();
        const [code, answered] = await Promise.all([broker.stop(signal), answer]);
        // The fetch is answered, with nothing, rather than cut off.
        expect({ code, error: answered.errorCode }).toEqual({ code: 0, error: 0 });
        const stoppedMs = performance.now() - startMs;
        expect(stoppedMs).toBeLessThan(STOP_MS);
        expect(broker.output()).toContain("weir stopped cleanly");
        expect(broker.output()).not.toMatch(/"level":"(WARN|ERROR)"/i);
        expect(existsSync(join(broker.dataDirectory, CLEAN_MARK))).toBe(true);
        console.log(`${signal}: stopped in ${Math.round(stoppedMs)} ms`);
        await consumer.disconnect();
        wire.close();
        idle.close();
      },
      30_000,
    );
  }

  test(
    "a start after a clean stop reads none of the data again; after kill -9 it says so",
    async () => {
      let broker = await start();
      const input = join(scratchDirectory("lines"), "input");
      writeFileSync(input, `${"x".repeat(1023)}\n`.repeat(32 * 1024));
      await runCommand(cli(broker, "topic", "create", "data", "--partitions", "4"));
      await runCommand(cli(broker, "produce", "data"), { input });
      expect(await broker.stop()).toBe(0);
      brokers.delete(broker);

      broker = await restart(broker);
      await eventually("readiness", () => isReady(broker));
      const afterStop = bytesReadBy(broker.pid);
      expect(broker.output()).toContain('"recoveredBytes":0');
      expect(broker.output()).not.toMatch(/recovering|recovered\b|scan|rebuilt/i);
      // The mark speaks of one stop only.
      expect(existsSync(join(broker.dataDirectory, CLEAN_MARK))).toBe(false);
      await broker.kill();
      brokers.delete(broker);

      // Without checkpoints, everything is scanned.
      rmSync(join(broker.dataDirectory, "recovery-point-offset-checkpoint"));
      broker = await restart(broker);
      await eventually("readiness", () => isReady(broker));
      expect(bytesReadBy(broker.pid) - afterStop).toBeGreaterThan(30 * MEBIBYTE);
      expect(broker.output()).toMatch(/recover/i);
    },
    60_000,
  );
});

describe.skipIf(isExternal)(`weir serve, starting again${reason}`, () => {
  for (const end of ["stop", "kill"] as const) {
    test(`${end}: topics, configs, groups, offsets and producer ids are there`, async () => {
      let broker = await start();
      await runCommand(
        cli(
          broker,
          "topic",
          "create",
          "kept",
          "--partitions",
          "3",
          "--config",
          "retention.ms=123456",
        ),
      );
      await runCommand(cli(broker, "topic", "create", "dropped"));
      const input = join(scratchDirectory("lines"), "input");
      writeFileSync(input, Array.from({ length: 100 }, (_, i) => `k${i}:v${i}\n`).join(""));
      await runCommand(cli(broker, "produce", "kept", "--format", "key-value"), { input });
      await runCommand(cli(broker, "consume", "kept", "--group", "readers"));
      await runCommand(cli(broker, "topic", "delete", "dropped"));
      const before = await observe(broker);
      expect(before.topics).toContain("kept");
      expect(before.topics).not.toContain("dropped");
      expect(before.description).toContain("123456");
      expect(before.group).toContain("readers");

      await broker[end]();
      brokers.delete(broker);
      broker = await restart(broker);
      const after = await observe(broker);
      expect(after).toEqual({ ...before, producerId: after.producerId });
      // An id that was given out is never given out again.
      expect(after.producerId).toBeGreaterThan(before.producerId);
    }, 60_000);
  }
});

/** What must survive a restart. */
async function observe(broker: RunningBroker) {
  const wire = await Wire.connect(broker.bootstrap);
  const topicId = await topicIdOf(wire, "kept");
  const { producerId, errorCode } = await wire.send(
    initProducerIdRequest,
    initProducerIdResponse,
    4,
    { transactionalId: null, transactionTimeoutMs: 60_000 },
  );
  expect(errorCode).toBe(0);
  wire.close();
  const format = ["--format", "%p %o %k %v %T"];
  return {
    topicId,
    producerId,
    topics: await ask(broker, "topic", "list", "--json"),
    // As in Kafka, whoever stops gives up what it leads and is elected again.
    description: (await ask(broker, "topic", "describe", "kept", "--json"))
      .replaceAll(/"leaderEpoch":\d+/g, ""),
    group: await ask(broker, "group", "describe", "readers", "--json"),
    records: (await ask(broker, "consume", "kept", ...format)).split("\n").toSorted(),
  };
}

/** Starts a broker that must be refused. Returns: what it printed to standard error. */
async function refusal(settings: Readonly<Record<string, string>>): Promise<string> {
  const all = {
    listeners: "PLAINTEXT://127.0.0.1:0",
    "http.listeners": "127.0.0.1:0",
    ...settings,
  };
  const flags = Object.entries(all).flatMap(([name, value]) => ["--set", `${name}=${value}`]);
  const command = startCommand(["serve", ...flags]);
  expect(await command.exited).toBe(1);
  return command.errors();
}

/** A data directory that was used once. */
async function usedDirectory(): Promise<string> {
  const broker = await start();
  await broker.stop();
  brokers.delete(broker);
  return broker.dataDirectory;
}

/** One line, that says what could not be done, and no trace of the code. */
function expectOneSentence(text: string, ...parts: (string | RegExp)[]): void {
  expect(text).toMatch(/^Cannot [^\n]+\n$/);
  expect(text).not.toMatch(/\bat .*\.ts:\d+|^\s+at /m);
  for (const part of parts) expect(text).toMatch(part);
}

describe.skipIf(isExternal)(`weir serve, refusing${reason}`, () => {
  test("a directory in use: names it; the process that has it goes on", async () => {
    const broker = await start();
    const { dataDirectory } = broker;
    const text = await refusal({ "log.dirs": dataDirectory });
    expectOneSentence(text, dataDirectory, "another process is using it", "stop that process");
    await runCommand(cli(broker, "topic", "create", "still-there"));
    expect(await broker.stop()).toBe(0);
  }, 30_000);

  test("a file where the directory should be", async () => {
    const path = join(scratchDirectory("refused"), "file");
    writeFileSync(path, "no directory");
    expectOneSentence(await refusal({ "log.dirs": path }), path, "check the path");
    expectOneSentence(await refusal({ "log.dirs": join(path, "below") }), path, "check the path");
    expect(readFileSync(path, "utf8")).toBe("no directory");
  }, 30_000);

  test("a meta.properties that is damaged, empty, a directory or gone", async () => {
    const original = await usedDirectory();
    const damages: readonly (readonly [string, (file: string) => void, string])[] = [
      ["damaged", (file) => writeFileSync(file, "garbage\n\0\n"), "meta.properties"],
      ["empty", (file) => writeFileSync(file, ""), "meta.properties"],
      ["directory", (file) => (rmSync(file), mkdirSync(file)), "meta.properties"],
      ["gone", (file) => rmSync(file), "meta.properties"],
    ];
    for (const [name, damage, part] of damages) {
      const directory = join(scratchDirectory("refused"), name);
      cpSync(original, directory, { recursive: true });
      damage(join(directory, "meta.properties"));
      expectOneSentence(await refusal({ "log.dirs": directory }), directory, part, "; ");
      // The next start, with the file restored, is as clean as it would have been.
      expect(existsSync(join(directory, CLEAN_MARK))).toBe(true);
    }
  }, 30_000);

  test("a directory of another cluster, of another node; its own are taken", async () => {
    const directory = await usedDirectory();
    const meta = readFileSync(join(directory, "meta.properties"), "utf8");
    const clusterId = /^cluster\.id=(.*)$/m.exec(meta)![1]!;
    const other = { "log.dirs": directory, "weir.cluster.id": "AAAAAAAAAAAAAAAAAAAAAA" };
    expectOneSentence(
      await refusal(other),
      directory,
      `belongs to the cluster ${clusterId}, not AAAAAAAAAAAAAAAAAAAAAA`,
      "choose another log.dirs",
    );
    expectOneSentence(
      await refusal({ "log.dirs": directory, "node.id": "7" }),
      "belongs to node 1, not 7",
      "choose another log.dirs",
    );
    const broker = await start({
      dataDirectory: directory,
      settings: { "weir.cluster.id": clusterId, "node.id": "1" },
    });
    expect(await broker.stop()).toBe(0);
    brokers.delete(broker);
  }, 30_000);

  test("a port in use: says which; the data is left as clean as it was", async () => {
    const broker = await start();
    const directory = await usedDirectory();
    const listeners = `PLAINTEXT://${broker.bootstrap}`;
    const kafka = await refusal({ listeners, "log.dirs": directory });
    expectOneSentence(kafka, broker.bootstrap, "in use", "choose another port");
    const http = `127.0.0.1:${broker.httpPort}`;
    const gateway = await refusal({ "http.listeners": http, "log.dirs": directory });
    expectOneSentence(gateway, http, "in use", "another");
    expect(existsSync(join(directory, CLEAN_MARK))).toBe(true);
  }, 30_000);

  const settings: readonly (readonly [string, string, string | RegExp])[] = [
    ["log.retention.minuts", "5", "log.retention.minutes"],
    ["num.partitions", "many", "num.partitions"],
    ["num.partitions", "0", "num.partitions"],
    ["advertised.listeners", "PLAINTEXT://0.0.0.0:9092", /0\.0\.0\.0.*leave advertised/],
    ["listeners", "PLAINTEXT://127.0.0.1:99999", "99999"],
    ["listeners", "SASL_SSL://127.0.0.1:0", "SASL_SSL"],
    ["log.cleanup.policy", "shred", "log.cleanup.policy"],
  ];
  for (const [name, value, part] of settings) {
    test(`--set ${name}=${value}: says what is wrong with it`, async () => {
      const directory = join(scratchDirectory("refused"), "never-made");
      expectOneSentence(await refusal({ "log.dirs": directory, [name]: value }), part);
      expect(existsSync(directory)).toBe(false);
    }, 30_000);
  }
});

/** Apache Kafka's own Java tools against the real broker, and on the files that it leaves. */

import { afterAll, beforeAll, describe, expect } from "bun:test";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  codecNames,
  kafkaTool,
  partitionDirectories,
  type RunningBroker,
  runOk,
  runProgram,
  scratchDirectory,
  startWeir,
  testWith,
} from "./harness.ts";

const NEEDED = "Apache Kafka (peers)";

let broker: RunningBroker;

beforeAll(async () => {
  broker = await startWeir({ settings: { "group.initial.rebalance.delay.ms": "0" } });
}, 30_000);

afterAll(async () => void await broker?.stop(), 30_000);

const tool = (name: string, ...args: string[]) =>
  kafkaTool(name, "--bootstrap-server", broker.bootstrap, ...args);
const run = (name: string, ...args: string[]) => runOk(tool(name, ...args));
const produceLines = (topic: string, input: string, ...args: string[]) =>
  runOk(tool("console-producer", "--topic", topic, ...args), { input });
const lines = (text: string) => text.trimEnd().split("\n");
const unique = (label: string) => `java-${label}-${Date.now()}`;

/** The most memory that a process has held; 0 where the system does not say. */
function peakMemoryBytes(pid: number): number {
  const path = `/proc/${pid}/status`;
  if (!existsSync(path)) return 0;
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(path, "utf8"))![1]) * 1024;
}

describe("Apache Kafka's tools", () => {
  testWith(NEEDED, "kafka-topics: create, list, describe, alter and delete", async () => {
    const topic = unique("topics");
    await run(
      "topics",
      "--create",
      "--topic",
      topic,
      "--partitions",
      "2",
      "--config",
      "retention.ms=9999",
    );
    expect(lines(await run("topics", "--list"))).toContain(topic);
    await run("topics", "--alter", "--topic", topic, "--partitions", "5");
    const description = await run("topics", "--describe", "--topic", topic);
    expect(description).toContain("PartitionCount: 5");
    expect(description).toContain("ReplicationFactor: 1");
    expect(description).toContain("retention.ms=9999");
    const again = await runProgram(tool("topics", "--create", "--topic", topic));
    expect(again.code).not.toBe(0);
    expect(again.stdout + again.stderr).toContain("already exists");
    await run("topics", "--delete", "--topic", topic);
    expect(lines(await run("topics", "--list"))).not.toContain(topic);
  });

  testWith(
    NEEDED,
    "leader-election, reassign-partitions, features and cluster speak with the controller",
    async () => {
      const topic = unique("controller");
      await run("topics", "--create", "--topic", topic, "--partitions", "2");
      const elected = await run(
        "leader-election",
        "--election-type",
        "preferred",
        "--all-topic-partitions",
      );
      expect(elected).not.toContain("Error");
      const valid = await run(
        "leader-election",
        "--election-type",
        "preferred",
        "--topic",
        topic,
        "--partition",
        "1",
      );
      expect(valid).toContain(`Valid replica already elected for partitions ${topic}-1`);
      const plan = join(scratchDirectory("plan"), "moves.json");
      const partitions = [0, 1].map((partition) => ({ topic, partition, replicas: [1] }));
      writeFileSync(plan, JSON.stringify({ version: 1, partitions }));
      const files = ["--reassignment-json-file", plan];
      const started = await run(
        "reassign-partitions",
        "--execute",
        "--throttle",
        "1000000",
        ...files,
      );
      expect(started).toContain("Successfully started partition reassignments");
      const verified = await run("reassign-partitions", "--verify", ...files);
      expect(verified).toContain(`Reassignment of partition ${topic}-0 is completed.`);
      expect(verified).toContain("Clearing topic-level throttles");
      expect(await run("reassign-partitions", "--list")).toContain(
        "No partition reassignments found.",
      );
      const features = await run("features", "describe");
      expect(features).toMatch(/eligible\.leader\.replicas\.version\s.*FinalizedVersionLevel: 1/);
      expect(features).toMatch(/metadata\.version\s.*FinalizedVersionLevel: 4\.3-IV0/);
      const refused = await runProgram(
        tool("features", "upgrade", "--feature", "eligible.leader.replicas.version=7"),
      );
      expect(refused.code).not.toBe(0);
      expect(refused.stdout + refused.stderr).toContain("Invalid update version 7");
      const gone = await runProgram(
        kafkaTool("cluster", "unregister", "--bootstrap-server", broker.bootstrap, "--id", "77"),
      );
      expect(gone.code).not.toBe(0);
      expect(gone.stdout + gone.stderr).toContain("is not currently registered");
    },
    120_000,
  );

  for (const codec of codecNames) {
    testWith(
      NEEDED,
      `console-producer and console-consumer, ${codec}: what went in comes out`,
      async () => {
        const topic = unique(`console-${codec}`);
        await run("topics", "--create", "--topic", topic);
        const records = Array.from(
          { length: 500 },
          (_, i) => `h:${i}\tk${i}\tvalue ${i} ${"y".repeat(i)}`,
        );
        const properties = ["parse.key=true", "parse.headers=true"].flatMap((
          p,
        ) => ["--reader-property", p]);
        await produceLines(
          topic,
          `${records.join("\n")}\n`,
          "--compression-codec",
          codec,
          ...properties,
        );
        const printed = ["print.key=true", "print.headers=true"].flatMap((
          p,
        ) => ["--formatter-property", p]);
        const output = await run(
          "console-consumer",
          "--topic",
          topic,
          "--from-beginning",
          "--max-messages",
          "500",
          ...printed,
        );
        expect(lines(output)).toEqual(records);
      },
    );
  }

  for (const protocol of ["classic", "consumer"]) {
    testWith(
      NEEDED,
      `consumer-groups, ${protocol}: describe shows lag, reset-offsets moves it, delete removes it`,
      async () => {
        const topic = unique(`groups-${protocol}`);
        const group = `group-${topic}`;
        await run("topics", "--create", "--topic", topic);
        await produceLines(topic, "a\nb\nc\nd\n");
        await run(
          "console-consumer",
          "--topic",
          topic,
          "--group",
          group,
          "--from-beginning",
          "--max-messages",
          "4",
          "--command-property",
          `group.protocol=${protocol}`,
        );
        const row = async () => {
          const output = await run("consumer-groups", "--describe", "--group", group);
          return lines(output).find((line) => line.startsWith(group))!.split(/\s+/).slice(1, 6);
        };
        const listed = await run("consumer-groups", "--list", "--type", protocol);
        expect(lines(listed).some((line) => line.startsWith(group))).toBe(true);
        expect(await row()).toEqual([topic, "0", "4", "4", "0"]);
        await run(
          "consumer-groups",
          "--reset-offsets",
          "--to-offset",
          "1",
          "--group",
          group,
          "--topic",
          topic,
          "--execute",
        );
        expect(await row()).toEqual([topic, "0", "1", "4", "3"]);
        expect(await run("consumer-groups", "--describe", "--group", group, "--state")).toContain(
          "Empty",
        );
        await run("consumer-groups", "--delete", "--group", group);
        expect(lines(await run("consumer-groups", "--list"))).not.toContain(group);
      },
    );
  }

  testWith(NEEDED, "configs: alter and describe topic and broker settings", async () => {
    const topic = unique("configs");
    await run("topics", "--create", "--topic", topic);
    const entity = ["--entity-type", "topics", "--entity-name", topic];
    await run(
      "configs",
      "--alter",
      ...entity,
      "--add-config",
      "retention.ms=4242,cleanup.policy=[compact,delete]",
    );
    const changed = await run("configs", "--describe", ...entity);
    expect(changed).toContain("retention.ms=4242");
    expect(changed).toContain("cleanup.policy=compact,delete");
    await run("configs", "--alter", ...entity, "--delete-config", "retention.ms");
    expect(await run("configs", "--describe", ...entity)).not.toContain("retention.ms=4242");
    const all = await run("configs", "--describe", "--all", ...entity);
    expect(all).toContain("segment.bytes=1073741824");
    const refused = await runProgram(
      tool("configs", "--alter", ...entity, "--add-config", "retention.ms=soon"),
    );
    expect(refused.code).not.toBe(0);
  });

  testWith(
    NEEDED,
    "verifiable-producer and verifiable-consumer: every record acknowledged and seen",
    async () => {
      const topic = unique("verifiable");
      await run("topics", "--create", "--topic", topic, "--partitions", "3");
      const produced = lines(
        await run(
          "verifiable-producer",
          "--topic",
          topic,
          "--max-messages",
          "5000",
          "--acks",
          "-1",
        ),
      ).map((line) => JSON.parse(line));
      expect(produced.find((event) => event.name === "tool_data")).toMatchObject({
        sent: 5000,
        acked: 5000,
      });
      const consumed = lines(
        await run(
          "verifiable-consumer",
          "--topic",
          topic,
          "--group-id",
          `group-${topic}`,
          "--max-messages",
          "5000",
          "--reset-policy",
          "earliest",
        ),
      ).map((line) => JSON.parse(line)).filter((event) => event.name === "records_consumed");
      expect(consumed.reduce((sum, event) => sum + event.count, 0)).toBe(5000);
    },
  );

  testWith(
    NEEDED,
    "producer-perf-test: no error, and get-offsets agrees with the count",
    async () => {
      const topic = unique("perf");
      const count = process.env["WEIR_PERF_RECORDS"] ?? "100000";
      await run("topics", "--create", "--topic", topic, "--partitions", "6");
      const output = await run(
        "producer-perf-test",
        "--topic",
        topic,
        "--num-records",
        count,
        "--record-size",
        "1024",
        "--throughput",
        "-1",
        "--command-property",
        "acks=all",
      );
      expect(output).toContain(`${count} records sent`);
      expect(output).not.toMatch(/exception|error/i);
      const peakBytes = peakMemoryBytes(broker.pid);
      const rate = /[\d.]+ records\/sec(?!.*records\/sec)/s.exec(output)![0];
      console.log(`${count} records of 1 KiB: ${rate}, at most ${peakBytes >> 20} MiB of memory`);
      // Kafka's broker takes more than a GiB for the same; the budget of requests is 64 MiB.
      expect(peakBytes).toBeLessThan(512 * 1024 * 1024);
      const offsets = lines(await run("get-offsets", "--topic", topic));
      expect(offsets.reduce((sum, line) => sum + Number(line.split(":")[2]), 0)).toBe(
        Number(count),
      );
    },
    300_000,
  );

  testWith(
    NEEDED,
    "dump-log: reads the log, the offsets and the metadata that weir wrote",
    async () => {
      if (process.env["WEIR_COMPAT_BOOTSTRAP"] !== undefined) return;
      const own = await startWeir({ dataDirectory: scratchDirectory("dump-log") });
      const at = (name: string, ...args: string[]) =>
        kafkaTool(name, "--bootstrap-server", own.bootstrap, ...args);
      const topic = unique("dump");
      const group = `group-${topic}`;
      await runOk(
        at(
          "topics",
          "--create",
          "--topic",
          topic,
          "--config",
          "segment.bytes=1048576",
          "--config",
          "index.interval.bytes=256",
        ),
      );
      for (const codec of codecNames) {
        const input = Array.from({ length: 2000 }, (_, i) => `${codec} ${i}`).join("\n");
        await runOk(at("console-producer", "--topic", topic, "--compression-codec", codec), {
          input,
        });
      }
      for (const protocol of ["classic", "consumer"]) {
        await runOk(
          at(
            "console-consumer",
            "--topic",
            topic,
            "--group",
            `${group}-${protocol}`,
            "--from-beginning",
            "--max-messages",
            "10",
            "--command-property",
            `group.protocol=${protocol}`,
          ),
        );
      }
      expect(await own.stop()).toBe(0);
      const dump = (flags: string[], directory: string, suffix: string) => {
        const files = readdirSync(directory).filter((name) => name.endsWith(suffix)).toSorted();
        expect(files.length).toBeGreaterThan(0);
        return runOk(kafkaTool(
          "dump-log",
          ...flags,
          "--files",
          files.map((name) => join(directory, name)).join(","),
        ));
      };
      const [directory] = partitionDirectories(own.dataDirectory, topic);
      const text = await dump(["--deep-iteration", "--print-data-log"], directory!, ".log");
      expect(lines(text).filter((line) => line.includes("payload:"))).toHaveLength(10_000);
      expect(text).not.toContain("isvalid: false");
      for (const suffix of [".index", ".timeindex"]) {
        expect(await dump(["--index-sanity-check"], directory!, suffix)).toContain(
          "passed sanity check",
        );
        expect(await dump([], directory!, suffix)).not.toMatch(
          /mismatch|corrupt|out of order|error/i,
        );
      }
      const offsets = partitionDirectories(own.dataDirectory, "__consumer_offsets");
      const decoded = await runOk(
        kafkaTool(
          "dump-log",
          "--offsets-decoder",
          "--files",
          offsets.map((path) => join(path, "00000000000000000000.log")).join(","),
        ),
      );
      expect(decoded).toContain(`${group}-classic`);
      for (const type of [3, 5, 6, 7, 8]) {
        expect(decoded).toMatch(new RegExp(`"type":"${type}",[^\n]*${group}-consumer`));
      }
      expect(decoded).toContain(topic);
      const metadata = await dump(
        ["--cluster-metadata-decoder"],
        join(own.dataDirectory, "__cluster_metadata-0"),
        ".log",
      );
      expect(metadata).toContain("TOPIC_RECORD");
      expect(metadata).toContain(topic);
    },
  );
});

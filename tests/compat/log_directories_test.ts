/**
 * Several log directories, for real: seen and moved between by Kafka's own tools, moved between while the
 * broker is killed again and again, and one that is taken away under a running broker.
 */

import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  alterReplicaLogDirsRequest,
  alterReplicaLogDirsResponse,
} from "../../protocol/schemas/alter_replica_log_dirs.ts";
import { runCommand, sha256Of, startCommand } from "./command_line.ts";
import {
  eventually,
  kafkaJava,
  kafkaTool,
  repositoryRoot,
  type RunningBroker,
  runOk,
  scratchDirectory,
  startWeir,
  testWith,
} from "./harness.ts";
import { Wire } from "./wire.ts";

const isExternal = process.env["WEIR_COMPAT_BOOTSTRAP"] !== undefined;
const SETTINGS = { "log.segment.bytes": "1048576", "log.segment.delete.delay.ms": "100" };
const brokers: RunningBroker[] = [];

afterAll(async () => {
  await Promise.all(brokers.map((broker) => broker.stop().catch(() => {})));
}, 30_000);

/** A broker with two directories, and the metadata log in a third. */
async function start(folder: string, port = 0): Promise<RunningBroker> {
  const broker = await startWeir({
    dataDirectory: `${join(folder, "a")},${join(folder, "b")}`,
    port,
    settings: { ...SETTINGS, "metadata.log.dir": join(folder, "metadata") },
  });
  brokers.push(broker);
  return broker;
}

function cli({ bootstrap }: RunningBroker, ...words: string[]): string[] {
  return ["-b", bootstrap, ...words];
}

function ask(broker: RunningBroker, ...words: string[]): Promise<string> {
  return runOk([process.execPath, join(repositoryRoot, "main.ts"), ...cli(broker, ...words)]);
}

function writeLines(path: string, count: number): void {
  writeFileSync(
    path,
    Array.from({ length: count }, (_, i) => `${i} ${"w".repeat(500)}\n`).join(""),
  );
}

/** Which of the two directories holds a partition under its name. */
function placeOf(folder: string, name: string): string[] {
  return ["a", "b"].filter((one) => existsSync(join(folder, one, name)));
}

/** Asks for a move. Returns: the error code. */
async function move(broker: RunningBroker, topic: string, path: string): Promise<number> {
  const wire = await Wire.connect(broker.bootstrap);
  try {
    const { results } = await wire.send(
      alterReplicaLogDirsRequest,
      alterReplicaLogDirsResponse,
      2,
      { dirs: [{ path, topics: [{ name: topic, partitions: [0] }] }] },
    );
    return results[0]!.partitions[0]!.errorCode;
  } finally {
    wire.close();
  }
}

testWith(
  "Apache Kafka (peers)",
  "kafka-log-dirs prints the directories; Kafka's admin client moves a replica",
  async () => {
    if (isExternal) return;
    const folder = scratchDirectory("dirs");
    const broker = await start(folder);
    await runCommand(cli(broker, "topic", "create", "t", "-p", "6"));
    const input = join(folder, "input");
    writeLines(input, 20_000);
    await runCommand(cli(broker, "produce", "t", "--partition", "0"), { input });
    const printed = await runOk(
      kafkaTool("log-dirs", "--bootstrap-server", broker.bootstrap, "--describe"),
    );
    const { brokers: [described] } = JSON.parse(
      printed.split("\n").find((line) => line.startsWith("{"))!,
    );
    const { logDirs } = described;
    const told: [string, unknown][] = logDirs.map((
      { logDir, error }: { logDir: string; error: unknown },
    ) => [logDir, error]);
    expect(told.toSorted()).toEqual([[join(folder, "a"), null], [join(folder, "b"), null]]);
    const found = logDirs.flatMap(({ partitions }: { partitions: { partition: string }[] }) =>
      partitions.map(({ partition }) => partition)
    );
    expect(found.toSorted()).toEqual([0, 1, 2, 3, 4, 5].map((index) => `t-${index}`));

    const [from] = placeOf(folder, "t-0");
    const to = from === "a" ? "b" : "a";
    const arrived = await runOk(
      kafkaJava("MoveReplica.java", broker.bootstrap, "1", "t", "0", join(folder, to)),
    );
    expect(arrived).toContain(`currentReplicaLogDir=${join(folder, to)}`);
    expect(placeOf(folder, "t-0")).toEqual([to]);
    const output = join(folder, "output");
    await runCommand(cli(broker, "consume", "t", "--partition", "0"), { output });
    expect(await sha256Of(output)).toBe(await sha256Of(input));
    const dump = await runOk(kafkaTool(
      "dump-log",
      "--deep-iteration",
      "--files",
      readdirSync(join(folder, to, "t-0")).filter((name) => name.endsWith(".log"))
        .map((name) => join(folder, to, "t-0", name)).join(),
    ));
    expect(dump).not.toContain("isvalid: false");
    expect(await broker.stop()).toBe(0);
  },
);

test.skipIf(isExternal)(
  "a partition is moved to and fro while the broker is killed: all records, once, in order",
  async () => {
    const folder = scratchDirectory("moves");
    let broker = await start(folder);
    const { port } = broker;
    await runCommand(cli(broker, "topic", "create", "t"));
    const input = join(folder, "input");
    writeLines(input, 120_000);
    const producing = startCommand(cli(broker, "produce", "t", "--timeout-ms", "60000"), { input });
    await eventually("the producer is connected", async () => {
      const [{ usedBytes }] = (await ask(broker, "cluster", "dirs", "--json")).trim().split("\n")
        .map((line) => JSON.parse(line)).toSorted((a, b) => b.usedBytes - a.usedBytes);
      return usedBytes > 100_000 || undefined;
    });
    let hasEnded = false;
    void producing.exited.then(() => hasEnded = true);
    let moves = 0;
    let kills = 0;
    for (let round = 0; !hasEnded || round < 12; round++) {
      const to = round % 2 === 0 ? "b" : "a";
      await eventually("the partition opens and the move begins", async () => {
        const error = await move(broker, "t", join(folder, to)).catch(() => -1);
        return error === ErrorCode.NONE || undefined;
      });
      if (round % 3 === 2) {
        await Bun.sleep(Math.random() * 120);
        await broker.kill();
        broker = await start(folder, port);
        kills++;
      } else {
        const arrived = await eventually("the move ends", () => {
          return placeOf(folder, "t-0").join() === to || undefined;
        });
        if (arrived) moves++;
      }
      if (round > 200) throw new Error("the producer does not end");
    }
    expect(`${await producing.exited} ${producing.errors()}`).toStartWith("0 Produced 120,000");
    expect(moves).toBeGreaterThan(4);
    expect(kills).toBeGreaterThan(2);
    const output = join(folder, "output");
    for (let round = 0; round < 2; round++) {
      await runCommand(cli(broker, "consume", "t"), { output });
      expect(await sha256Of(output)).toBe(await sha256Of(input));
      await broker.stop();
      broker = await start(folder, port);
    }
    expect(placeOf(folder, "t-0")).toHaveLength(1);
    expect(await broker.stop()).toBe(0);
  },
  180_000,
);

/** Mounts a directory on another one. Returns: false where that is not allowed. */
function bind(from: string, to: string): boolean {
  mkdirSync(from, { recursive: true });
  mkdirSync(to, { recursive: true });
  return Bun.which("mount") !== null &&
    Bun.spawnSync(["mount", "--bind", from, to]).exitCode === 0;
}

const mounts = isExternal ? null : scratchDirectory("mounts");
const isMounted = mounts !== null && bind(join(mounts, "disk"), join(mounts, "b"));
const reason = isMounted ? "" : " (skipped: nothing may be mounted here)";

describe.skipIf(!isMounted)(`a log directory is taken away under a running broker${reason}`, () => {
  const unmount = () => Bun.spawnSync(["umount", "-l", join(mounts!, "b")]);

  afterAll(() => {
    unmount();
    rmSync(mounts!, { recursive: true, force: true });
  });

  test(
    "its partitions are refused, the others go on, and all is there when it is back",
    async () => {
      const folder = mounts!;
      let broker = await start(folder);
      const { port } = broker;
      const input = join(folder, "input");
      const more = join(folder, "more");
      const output = join(folder, "output");
      writeLines(input, 2000);
      writeLines(more, 6000);
      for (const topic of ["t0", "t1"]) {
        await runCommand(cli(broker, "topic", "create", topic));
        await runCommand(cli(broker, "produce", topic), { input });
      }
      const lost = placeOf(folder, "t0-0")[0] === "b" ? "t0" : "t1";
      const kept = lost === "t0" ? "t1" : "t0";
      expect([placeOf(folder, `${lost}-0`), placeOf(folder, `${kept}-0`)]).toEqual([["b"], ["a"]]);

      // What is open goes on; the next segment cannot be made.
      unmount();
      const failing = startCommand(cli(broker, "produce", lost, "--timeout-ms", "3000"), {
        input: more,
      });
      expect(await failing.exited).toBe(1);
      // First its disk fails; then, as in Kafka, nobody may lead it.
      expect(failing.errors()).toMatch(/KAFKA_STORAGE_ERROR|LEADER_NOT_AVAILABLE/);
      await runCommand(cli(broker, "produce", kept), { input });
      await runCommand(cli(broker, "consume", kept, "--count", "4000"), { output });
      expect(await sha256Of(output)).toBe(await sha256Of(input, input));
      const ready = await fetch(`http://127.0.0.1:${broker.httpPort}/readyz`);
      expect([ready.status, await ready.text()]).toEqual([503, expect.stringContaining("/b")]);
      const metrics = await (await fetch(`http://127.0.0.1:${broker.httpPort}/metrics`)).text();
      expect(metrics).toContain("weir_offline_log_directories 1");
      const states = (await ask(broker, "cluster", "dirs", "--json")).trim().split("\n")
        .map((line) => JSON.parse(line).state);
      expect(states).toEqual(["online", "offline (KAFKA_STORAGE_ERROR)"]);
      expect(broker.output()).toContain("mend or replace its disk and start again");
      await broker.stop();

      // Not mounted at the start, it looks new. The partition that lay there is not made anew.
      broker = await start(folder, port);
      expect(await move(broker, lost, join(folder, "a"))).toBe(ErrorCode.KAFKA_STORAGE_ERROR);
      const again = startCommand(cli(broker, "produce", lost, "--timeout-ms", "2000"), { input });
      expect(await again.exited).toBe(1);
      expect(broker.output()).toContain("check that every disk of log.dirs is mounted");
      expect([placeOf(folder, `${lost}-0`), placeOf(folder, `${kept}-0`)]).toEqual([[], ["a"]]);
      await broker.stop();

      expect(bind(join(folder, "disk"), join(folder, "b"))).toBe(true);
      broker = await start(folder, port);
      const back = join(folder, "back");
      await runCommand(cli(broker, "consume", lost, "--count", "2000"), { output: back });
      expect(await sha256Of(back)).toBe(await sha256Of(input));
      await runCommand(cli(broker, "consume", kept, "--count", "4000"), { output });
      expect(await sha256Of(output)).toBe(await sha256Of(input, input));
      expect(await broker.stop()).toBe(0);
    },
    90_000,
  );
});

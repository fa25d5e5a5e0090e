/**
 * A real file of lines through `weir produce` and `weir consume`: it comes back byte for byte, also when the broker is
 * killed and started again in the middle.
 *
 * `WEIR_REAL_INPUT_MB` says how large the file is: 100 where the interop tests are required, else 10.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { SimRandom } from "../sim/sim_random.ts";
import { runCommand, type RunningCommand, sha256Of, startCommand } from "./command_line.ts";
import {
  eventually,
  partitionDirectories,
  type RunningBroker,
  scratchDirectory,
  startWeir,
} from "./harness.ts";

const MEBIBYTE = 1024 * 1024;
const isRequired = process.env["WEIR_INTEROP"] === "required";
const INPUT_BYTES = Number(process.env["WEIR_REAL_INPUT_MB"] ?? (isRequired ? 100 : 10)) * MEBIBYTE;
const isExternal = process.env["WEIR_COMPAT_BOOTSTRAP"] !== undefined;
const reason = isExternal ? " (another broker is under test)" : "";
const TIMEOUT_MS = 120_000;
/** A stop takes a second at most, also under load. */
const STOP_MS = 1000;
/** Segments small enough that the file fills several. */
const SETTINGS = {
  "group.initial.rebalance.delay.ms": "0",
  "log.segment.bytes": String(3 * MEBIBYTE),
};

const WORDS = ["weir", "Wehr", "größe", "日本語", "поток", "🌊", "eddy", "sluice", "\t", "{}", '"'];

/** One line without its line feed; its number stands in most of them, so that no two places look alike. */
function lineOf(random: SimRandom, number: number): string {
  const kind = random.below(1000);
  if (kind < 30) return "";
  if (kind < 31) return `${number} ${"long ".repeat(random.between(10_000, 150_000))}`;
  if (kind < 40) return `${number} carriage return\r`;
  const words = Array.from(
    { length: random.between(1, kind < 60 ? 300 : 30) },
    () => random.pick(WORDS),
  );
  return `${number} ${words.join(" ")}`;
}

/** Writes a file of lines, the same for the same size. */
async function writeLines(path: string, byteCount: number): Promise<void> {
  const random = new SimRandom(7);
  const file = Bun.file(path).writer();
  for (let written = 0, number = 0; written < byteCount;) {
    let text = "";
    for (let i = 0; i < 1000; i++) text += `${lineOf(random, number++)}\n`;
    const bytes = Buffer.from(text);
    await file.write(bytes);
    written += bytes.length;
  }
  await file.end();
}

/** Bytes of the segments of a topic's only partition. */
function logBytes(broker: RunningBroker, topic: string): number {
  const [directory] = partitionDirectories(broker.dataDirectory, topic);
  if (directory === undefined) return 0;
  return readdirSync(directory).filter((name) => name.endsWith(".log"))
    .reduce((sum, name) => sum + statSync(join(directory, name)).size, 0);
}

describe.skipIf(isExternal)(`weir produce and weir consume${reason}`, () => {
  const folder = scratchDirectory("real-input");
  const input = join(folder, "input");
  let inputHash = "";
  let broker: RunningBroker;

  beforeAll(async () => {
    await writeLines(input, INPUT_BYTES);
    inputHash = await sha256Of(input);
    broker = await startWeir({ settings: SETTINGS });
  }, TIMEOUT_MS);

  afterAll(async () => void await broker?.stop(), 30_000);

  const weir = (...words: string[]) => ["-b", broker.bootstrap, ...words];

  async function produced(topic: string): Promise<void> {
    await runCommand(weir("topic", "create", topic, "--partitions", "1"));
    await runCommand(weir("produce", topic), { input });
  }

  /** Ends the broker, by kill -9 unless told, and starts it again on its port and data. */
  async function restart(end: "kill" | "stop" = "kill"): Promise<void> {
    const { dataDirectory, port } = broker;
    const startMs = performance.now();
    await broker[end]();
    if (end === "stop") expect(performance.now() - startMs).toBeLessThan(STOP_MS);
    broker = await startWeir({ dataDirectory, port, settings: SETTINGS });
  }

  /** Restarts the broker once `isTime` answers true, in the middle of what `command` does. */
  async function restartWhen(
    isTime: () => boolean,
    command: RunningCommand,
    end: "kill" | "stop" = "kill",
  ): Promise<void> {
    let ended = false;
    void command.exited.then(() => ended = true);
    await eventually("the moment to end the broker", () => {
      if (ended) throw new Error(`the command ended before its middle: ${command.errors()}`);
      return isTime() || undefined;
    });
    await restart(end);
  }

  /** The files, one after the other, are the input. */
  async function expectEqual(...outputs: string[]): Promise<void> {
    const byteCount = outputs.reduce((sum, path) => sum + statSync(path).size, 0);
    expect(byteCount).toBe(statSync(input).size);
    expect(await sha256Of(...outputs)).toBe(inputHash);
    for (const path of outputs) rmSync(path);
  }

  test("a file of lines comes back with the same SHA-256", async () => {
    const output = join(folder, "plain");
    await produced("plain");
    await runCommand(weir("consume", "plain"), { output });
    await expectEqual(output);
  }, TIMEOUT_MS);

  for (const end of ["kill", "stop"] as const) {
    test(`${end} while producing: every line is there, in order, once`, async () => {
      const topic = `produce-${end}`;
      const output = join(folder, topic);
      await runCommand(weir("topic", "create", topic, "--partitions", "1"));
      const command = startCommand(weir("produce", topic), { input });
      for (const part of [0.2, 0.5, 0.8]) {
        await restartWhen(() => logBytes(broker, topic) > part * INPUT_BYTES, command, end);
      }
      expect(`${await command.exited} ${command.errors()}`).toStartWith("0 Produced");
      await runCommand(weir("consume", topic), { output });
      await expectEqual(output);
    }, TIMEOUT_MS);
  }

  test("a broker that stays away: produce ends with 1, and says how much arrived", async () => {
    await runCommand(weir("topic", "create", "away", "--partitions", "1"));
    const command = startCommand(weir("produce", "away", "--timeout-ms", "1000"), { input });
    const { dataDirectory, port } = broker;
    await eventually("some bytes", () => logBytes(broker, "away") > 0 || undefined);
    await broker.kill();
    expect(await command.exited).toBe(1);
    const told = /; ([\d,]+) of [\d,]+ records read were acknowledged/.exec(command.errors());
    broker = await startWeir({ dataDirectory, port, settings: SETTINGS });
    const output = join(folder, "away");
    await runCommand(weir("consume", "away", "--format", "%o"), { output });
    const offsets = readFileSync(output, "utf8").trimEnd().split("\n");
    const acknowledged = Number(told?.[1]?.replaceAll(",", ""));
    // What was not acknowledged may be there all the same, up to what was in flight.
    expect(offsets.length).toBeGreaterThanOrEqual(acknowledged);
    expect(offsets.at(-1)).toBe(String(offsets.length - 1));
  }, TIMEOUT_MS);

  test("kill -9 while a group consumes: every line comes, in order, once", async () => {
    const output = join(folder, "consume-crash");
    await produced("consume-crash");
    const command = startCommand(weir("consume", "consume-crash", "--group", "crash"), { output });
    const size = () => statSync(output, { throwIfNoEntry: false })?.size ?? 0;
    for (const part of [0.1, 0.5]) await restartWhen(() => size() > part * INPUT_BYTES, command);
    expect(`${await command.exited} ${command.errors()}`).toBe("0 ");
    await expectEqual(output);
  }, TIMEOUT_MS);

  test("a group that is stopped in the middle goes on where it stopped", async () => {
    const outputs = ["counted", "interrupted", "rest"].map((name) => join(folder, name));
    const [counted, interrupted, rest] = outputs as [string, string, string];
    await produced("stops");
    const words = weir("consume", "stops", "--group", "stops");
    const count = String(Math.floor(INPUT_BYTES / 1000));
    await runCommand([...words, "--count", count], { output: counted });
    await restart();
    const command = startCommand(words, { output: interrupted });
    await eventually("some output", () => statSync(interrupted).size > 0 || undefined);
    command.kill("SIGINT");
    await command.exited;
    await runCommand(words, { output: rest });
    await expectEqual(...outputs);
  }, TIMEOUT_MS);
});

/**
 * A real file of lines through `weir produce` and `weir consume`: it comes back byte for byte, also when the broker is
 * killed and started again in the middle.
 *
 * `WEIR_REAL_INPUT_MB` says how large the file is: 100 where the interop tests are required, else 10.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, rmSync, statSync } from "node:fs";
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

  /** Kills the broker, and starts it again on its port and data. */
  async function crash(): Promise<void> {
    const { dataDirectory, port } = broker;
    await broker.kill();
    broker = await startWeir({ dataDirectory, port, settings: SETTINGS });
  }

  /** Kills the broker once `isTime` answers true, and starts it again. */
  async function crashWhen(isTime: () => boolean, command: RunningCommand): Promise<void> {
    let ended = false;
    void command.exited.then(() => ended = true);
    await eventually("the moment to kill the broker", () => {
      if (ended) throw new Error(`the command ended before the crash: ${command.errors()}`);
      return isTime() || undefined;
    });
    await crash();
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

  test("kill -9 while producing: every line is there, in order, once", async () => {
    const output = join(folder, "produce-crash");
    await runCommand(weir("topic", "create", "produce-crash", "--partitions", "1"));
    const command = startCommand(weir("produce", "produce-crash"), { input });
    for (const part of [0.2, 0.5, 0.8]) {
      await crashWhen(() => logBytes(broker, "produce-crash") > part * INPUT_BYTES, command);
    }
    expect(`${await command.exited} ${command.errors()}`).toStartWith("0 Produced");
    await runCommand(weir("consume", "produce-crash"), { output });
    await expectEqual(output);
  }, TIMEOUT_MS);

  test("kill -9 while a group consumes: every line comes, in order, once", async () => {
    const output = join(folder, "consume-crash");
    await produced("consume-crash");
    const command = startCommand(weir("consume", "consume-crash", "--group", "crash"), { output });
    const size = () => statSync(output, { throwIfNoEntry: false })?.size ?? 0;
    for (const part of [0.1, 0.5]) await crashWhen(() => size() > part * INPUT_BYTES, command);
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
    await crash();
    const command = startCommand(words, { output: interrupted });
    await eventually("some output", () => statSync(interrupted).size > 0 || undefined);
    command.kill("SIGINT");
    await command.exited;
    await runCommand(words, { output: rest });
    await expectEqual(...outputs);
  }, TIMEOUT_MS);
});

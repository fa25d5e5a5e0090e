/**
 * A bit that flips in a closed segment while the broker does not run: a real consumer gets an error there and
 * never the wrong bytes, the broker says where, everything else goes on, and `weir log verify` names the place.
 */

import { expect } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { batches, readBatchHeader } from "../../protocol/record_batch.ts";
import {
  eventually,
  partitionDirectories,
  repositoryRoot,
  runProgram,
  scratchDirectory,
  startWeir,
  testWith,
} from "./harness.ts";

const SETTINGS = { "log.segment.bytes": "1048576", "num.partitions": "2" };
const VALUE = "x".repeat(10_000);
const RECORDS = 150;

const weir = (...args: string[]) =>
  runProgram([process.execPath, join(repositoryRoot, "main.ts"), ...args]);
const kcat = (bootstrap: string, ...args: string[]) =>
  runProgram(["timeout", "10", "kcat", "-b", bootstrap, "-q", "-u", ...args]);

testWith(
  "kcat",
  "a flipped bit of a closed segment: an error there, and the rest goes on",
  async () => {
    const dataDirectory = scratchDirectory("integrity");
    const broker = await startWeir({ dataDirectory, settings: SETTINGS });
    for (const partition of [0, 1]) {
      for (let round = 0; round < 15; round++) {
        const lines = Array.from({ length: 10 }, (_, i) => `${10 * round + i}-${VALUE}\n`).join("");
        const topic = ["-P", "-t", "orders", "-p", String(partition)];
        const sent = await runProgram(["kcat", "-b", broker.bootstrap, ...topic], { input: lines });
        expect(sent.code).toBe(0);
      }
    }
    expect(await broker.stop()).toBe(0);
    expect(await weir("log", "verify", dataDirectory)).toMatchObject({ code: 0 });

    const directory = partitionDirectories(dataDirectory, "orders")
      .find((path) => path.endsWith("-0"))!;
    const segment = join(
      directory,
      readdirSync(directory).filter((name) => name.endsWith(".log")).toSorted()[0]!,
    );
    const bytes = readFileSync(segment);
    const starts = [...batches(bytes)];
    const position = starts[1]!;
    const { baseOffset } = readBatchHeader(bytes, position);
    // The batch right behind damage may be in doubt with it.
    const behind = readBatchHeader(bytes, starts[3]!).baseOffset;
    bytes[position + 200]! ^= 4;
    writeFileSync(segment, bytes);

    const again = await startWeir({ dataDirectory, settings: SETTINGS });
    const damaged = await kcat(
      again.bootstrap,
      ...["-C", "-t", "orders", "-p", "0", "-o", "0", "-e"],
    );
    expect(damaged.code).not.toBe(0);
    const served = damaged.stdout.split("\n").filter((line) => /^\d+-/.test(line));
    expect(served).toEqual(Array.from({ length: baseOffset }, (_, i) => `${i}-${VALUE}`));
    const place = `${segment} is damaged at byte ${position}`;
    await eventually("the broker names the place", () => {
      return again.output().includes(place) || undefined;
    });
    const words = ["consume", "orders", "--partition", "0", "--format", "%o"];
    const ours = await weir("-b", again.bootstrap, ...words);
    expect(ours.code).toBe(1);
    expect(ours.stdout.trim().split("\n").map(Number))
      .toEqual(Array.from({ length: baseOffset }, (_, i) => i));
    expect(ours.stderr).toContain(`partition 0 of orders is damaged at offset ${baseOffset}: `);
    const rest = await kcat(
      again.bootstrap,
      ...["-C", "-t", "orders", "-p", "0", "-o", String(behind), "-e"],
    );
    expect(rest.stdout.trim().split("\n").length).toBe(RECORDS - behind);
    const other = await kcat(again.bootstrap, "-C", "-t", "orders", "-p", "1", "-o", "0", "-e");
    expect(other.stdout.trim().split("\n").length).toBe(RECORDS);
    const inUse = await weir("log", "verify", dataDirectory);
    expect(inUse.code).toBe(1);
    expect(inUse.stdout).toContain(`${segment}: bytes ${position} to`);
    expect(await again.stop()).toBe(0);
    const verified = await weir("log", "verify", dataDirectory);
    expect(verified.code).toBe(1);
    expect(verified.stdout).toContain(`${segment}: bytes ${position} to`);
  },
);

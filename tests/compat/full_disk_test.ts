/**
 * A disk that fills up, for real: a small file system in memory. Produce gets an error that passes, everything else goes
 * on, and producing goes on once a topic is deleted.
 */

import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, statfsSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ErrorCode, isRetriable } from "../../protocol/errors.ts";
import { buildBatch } from "../../protocol/records.ts";
import { produceRequest, produceResponse } from "../../protocol/schemas/produce.ts";
import { runCommand, sha256Of, startCommand } from "./command_line.ts";
import { eventually, repositoryRoot, runOk, scratchDirectory, startWeir } from "./harness.ts";
import { Wire } from "./wire.ts";

const DISK_MEBIBYTES = 48;
const MEBIBYTE = 1024 * 1024;
const SETTINGS = {
  "group.initial.rebalance.delay.ms": "0",
  "log.segment.bytes": String(4 * MEBIBYTE),
  "log.segment.delete.delay.ms": "1000",
};

/** Mounts a small file system. Returns: its path, or null where that is not allowed. */
function smallDisk(): string | null {
  if (process.env["WEIR_COMPAT_BOOTSTRAP"] !== undefined) return null;
  const path = mkdtempSync(join(tmpdir(), "weir-full-"));
  const options = `size=${DISK_MEBIBYTES}m`;
  const mount = Bun.which("mount");
  const isMounted = mount !== null &&
    Bun.spawnSync([mount, "-t", "tmpfs", "-o", options, "tmpfs", path]).exitCode === 0;
  if (isMounted) {
    return path;
  }
  rmSync(path, { recursive: true, force: true });
  return null;
}

const disk = smallDisk();
const reason = disk === null ? " (skipped: no file system may be mounted here)" : "";

describe.skipIf(disk === null)(`weir on a full disk${reason}`, () => {
  const folder = scratchDirectory("full-disk");
  const started = startWeirOn(disk ?? "");

  afterAll(async () => {
    await (await started)?.stop();
    if (disk === null) return;
    Bun.spawnSync(["umount", "-l", disk]);
    rmSync(disk, { recursive: true, force: true });
  }, 30_000);

  test("Produce is told to come back, the rest goes on, a deletion makes room", async () => {
    let broker = (await started)!;
    const { port } = broker;
    const cli = (...words: string[]) => ["-b", broker.bootstrap, ...words];
    const ask = (...words: string[]) =>
      runOk([process.execPath, join(repositoryRoot, "main.ts"), ...cli(...words)]);
    const kept = join(folder, "kept");
    const ballast = join(folder, "ballast");
    const later = join(folder, "later");
    const line = (i: number) => `${i} ${"w".repeat(1000)}\n`;
    writeFileSync(kept, Array.from({ length: 8000 }, (_, i) => line(i)).join(""));
    writeFileSync(ballast, Array.from({ length: 100_000 }, (_, i) => line(i)).join(""));
    writeFileSync(later, Array.from({ length: 4000 }, (_, i) => line(8000 + i)).join(""));
    for (const topic of ["kept", "ballast", "other"]) {
      await runCommand(cli("topic", "create", topic));
    }
    await runCommand(cli("produce", "kept"), { input: kept });
    await runCommand(cli("consume", "kept", "--group", "early", "--count", "10"));

    // More than there is room for: the command goes on trying, and ends with an error that says why.
    const filling = startCommand(cli("produce", "ballast", "--timeout-ms", "2000"), {
      input: ballast,
    });
    expect(await filling.exited).toBe(1);
    expect(filling.errors()).toMatch(/KAFKA_STORAGE_ERROR/);

    // What is kept in reserve is there for the commands that make room.
    expect(filling.errors()).toContain("kept in reserve");
    expect(freeBytes()).toBeGreaterThan(8 * MEBIBYTE);

    // The error of a single answer is one that a client tries again.
    const wire = await Wire.connect(broker.bootstrap);
    const answered = await produceOnce(wire, "kept", 300_000);
    expect(answered).not.toBe(ErrorCode.NONE);
    expect(isRetriable(answered as ErrorCode)).toBe(true);

    // Reading, asking and committing go on.
    const output = join(folder, "output");
    await runCommand(cli("consume", "kept"), { output });
    expect(await sha256Of(output)).toBe(await sha256Of(kept));
    expect(await ask("topic", "list")).toContain("ballast");
    expect(await ask("group", "describe", "early", "--json")).toContain("early");

    // A producer that waits through it succeeds once there is room.
    const waiting = startCommand(cli("produce", "kept"), { input: later });
    await runCommand(cli("topic", "delete", "ballast"));
    expect(`${await waiting.exited} ${waiting.errors()}`).toStartWith("0 Produced 4,000 records");
    await eventually("the deleted topic's room", () => freeBytes() > 25 * MEBIBYTE || undefined);
    expect(await produceOnce(wire, "other", 10)).toBe(ErrorCode.NONE);

    // Another program takes all there is, to the last byte: reading goes on, and what was made then works later.
    const theirs = join(disk!, "theirs");
    Bun.spawnSync(["dd", "if=/dev/zero", `of=${theirs}`, "bs=64k"], { stderr: "ignore" });
    expect(freeBytes()).toBe(0);
    const refused = await eventually("the broker to notice", async () => {
      return await produceOnce(wire, "other", 10) || undefined;
    });
    expect(isRetriable(refused as ErrorCode)).toBe(true);
    await runCommand(cli("consume", "kept", "--count", "12000"), { output });
    expect(await sha256Of(output)).toBe(await sha256Of(kept, later));
    await runCommand(cli("topic", "create", "late"));
    expect(isRetriable(await produceOnce(wire, "late", 10) as ErrorCode)).toBe(true);
    rmSync(theirs);
    await eventually("the topic made on a full disk", async () => {
      return await produceOnce(wire, "late", 10) === ErrorCode.NONE || undefined;
    });
    wire.close();

    // Twice as much as the disk holds, into a topic that keeps little: what may go goes when room is needed.
    await runCommand(cli("topic", "create", "rolling", "--config", "retention.ms=500"));
    const rolling = startCommand(cli("produce", "rolling"), { input: ballast });
    expect(`${await rolling.exited} ${rolling.errors()}`)
      .toStartWith("0 Produced 100,000 records");
    await runCommand(cli("topic", "delete", "rolling"));
    await eventually("its room", () => freeBytes() > 20 * MEBIBYTE || undefined);

    // Both ends of a broker that has seen a full disk leave everything there.
    for (const end of ["stop", "kill"] as const) {
      await broker[end]();
      broker = await startWeir({ dataDirectory: broker.dataDirectory, port, settings: SETTINGS });
      await runCommand(cli("consume", "kept", "--count", "12000"), { output });
      expect(statSync(output).size).toBe(statSync(kept).size + statSync(later).size);
      expect(await sha256Of(output)).toBe(await sha256Of(kept, later));
    }
    expect(await broker.stop()).toBe(0);
  }, 90_000);
});

function startWeirOn(path: string) {
  return disk === null
    ? null
    : startWeir({ dataDirectory: join(path, "data"), settings: SETTINGS });
}

function freeBytes(): number {
  const { bavail, bsize } = statfsSync(disk!);
  return bavail * bsize;
}

/** Sends one record with acks=all. Returns: the error code of the answer. */
async function produceOnce(wire: Wire, topic: string, byteCount: number): Promise<number> {
  const value = new Uint8Array(byteCount).fill(0x77);
  const records = buildBatch({
    records: [{ key: null, value, headers: [], timestamp: Date.now() }],
  });
  const answer = await wire.send(produceRequest, produceResponse, 9, {
    transactionalId: null,
    acks: -1,
    timeoutMs: 10_000,
    topicData: [{ name: topic, partitionData: [{ index: 0, records }] }],
  });
  return answer.responses[0]!.partitionResponses[0]!.errorCode;
}

/** Kafka's own Java library reads the batches that `buildBatch` makes: its view against ours. */

import { afterAll, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { CompressionCodec } from "../../protocol/compression.ts";
import { buildBatch, readRecords } from "../../protocol/records.ts";
import { KAFKA } from "./harness.ts";

const HOME = process.env.PEERS_HOME ?? join(homedir(), ".cache/peers");
const present = existsSync(KAFKA) && existsSync(join(HOME, "kafka/lib"));
const required = process.env.WEIR_INTEROP === "required";
const directory = mkdtempSync(join(tmpdir(), "weir-batches-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const text = (value: string) => new TextEncoder().encode(value);

/** As RecordBatchVectors.java names bytes. */
function named(bytes: Uint8Array | null): string | null {
  if (bytes === null || bytes.length <= 1000) return bytes?.toBase64() ?? null;
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

function noise(byteCount: number): Uint8Array {
  let state = 1;
  return Uint8Array.from({ length: byteCount }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
}

const SIZES = [1, 100, 32_768, 65_537, 300_000, 900 * 1024];

test.skipIf(!present && !required)(
  "buildBatch: Kafka's Java library reads every codec, 1 B to 900 KiB, as we do (needs Java)",
  () => {
    const batches = Object.values(CompressionCodec).flatMap((compression) =>
      SIZES.flatMap((size) => [noise(size), new Uint8Array(size).fill(97)]).map((value, i) =>
        buildBatch({
          baseOffset: i * 10,
          compression,
          partitionLeaderEpoch: 2,
          producerId: 7,
          producerEpoch: 1,
          baseSequence: i,
          records: [
            { key: null, value, timestamp: 1_700_000_000_000 + i },
            { key: text("k"), value: null, timestamp: 1, headers: [{ key: "ö", value: null }] },
          ],
        })
      )
    );
    const file = join(directory, "batches.bin");
    writeFileSync(file, Buffer.concat(batches));
    const source = resolve(import.meta.dir, "../vectors/RecordBatchVectors.java");
    const java = spawnSync(KAFKA, ["java", source, "read", file], { encoding: "utf8" });
    expect(java.stderr).toBe("");
    const lines = java.stdout.trim().split("\n").map((line) => JSON.parse(line));
    expect(lines.length).toBe(batches.length);
    for (const [i, bytes] of batches.entries()) {
      const ours = readRecords(bytes, 0, { maxDecompressedBytes: 2_000_000 });
      expect(lines[i].records).toEqual(
        ours.map((record) => ({
          offset: record.offset,
          timestamp: record.timestamp,
          key: named(record.key),
          value: named(record.value),
          headers: record.headers.map(({ key, value }) => ({ key, value: named(value) })),
        })),
      );
    }
  },
  60_000,
);

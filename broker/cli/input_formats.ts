/**
 * How `weir produce` reads a line: as the value, as key and value, or as one JSON object.
 *
 * JSON objects have the fields that `weir consume --json` prints, so that the one can be piped into the other:
 * `key`, `value` (text, null, or any JSON, which is then produced as JSON text), `keyBase64`, `valueBase64` for bytes that
 * are no text, `headers`, `partition`, `timestamp` (ms or ISO 8601). Others are ignored.
 */

import { z } from "zod";
import type { RecordHeader } from "../../protocol/records.ts";
import { CliError } from "./io.ts";
import { parseTime } from "./offsets.ts";
import type { OutgoingRecord } from "./producer.ts";

/** Names of the formats. */
export const INPUT_FORMATS = ["lines", "key-value", "ndjson"] as const;
export type InputFormat = (typeof INPUT_FORMATS)[number];

/** Turns a line into a record; `nowMs` is the time of a record that has none. Errors: CliError. */
export type LineReader = (line: Uint8Array, nowMs: number) => OutgoingRecord;

const utf8Encoder = new TextEncoder();
const utf8Decoder = new TextDecoder("utf-8", { fatal: true });

const text = z.string().nullable();
const headers = z.union([
  z.record(z.string(), text),
  z.array(
    z.object({ key: z.string(), value: text.optional(), valueBase64: z.string().optional() }),
  ),
]);
const jsonRecord = z.object({
  key: z.unknown().optional(),
  value: z.unknown().optional(),
  keyBase64: z.string().optional(),
  valueBase64: z.string().optional(),
  headers: headers.optional(),
  partition: z.int().min(0).optional(),
  timestamp: z.union([z.int(), z.string()]).optional(),
});

/** The reader for a format. Errors: CliError when the separator is empty. */
export function lineReader(format: InputFormat, keySeparator: string): LineReader {
  switch (format) {
    case "lines":
      return (value, timestamp) => ({ key: null, value, timestamp });
    case "key-value":
      return keyValueReader(keySeparator);
    case "ndjson":
      return readJson;
  }
}

function keyValueReader(keySeparator: string): LineReader {
  const separator = utf8Encoder.encode(keySeparator);
  if (separator.length === 0) throw new CliError("the key separator is empty");
  return (line, timestamp) => {
    const at = Buffer.from(line.buffer, line.byteOffset, line.length).indexOf(separator);
    if (at < 0) throw new CliError(`the line has no "${keySeparator}" between key and value`);
    return {
      key: line.subarray(0, at),
      value: line.subarray(at + separator.length),
      timestamp,
    };
  };
}

function readJson(line: Uint8Array, nowMs: number): OutgoingRecord {
  let parsed: unknown;
  try {
    parsed = JSON.parse(utf8Decoder.decode(line));
  } catch (cause) {
    throw new CliError(`the line is not JSON (${(cause as Error).message})`, { cause });
  }
  const checked = jsonRecord.safeParse(parsed);
  if (!checked.success) {
    const issue = checked.error.issues[0]!;
    throw new CliError(`field "${issue.path.join(".")}" is wrong (${issue.message})`);
  }
  const { key, value, keyBase64, valueBase64, partition, timestamp } = checked.data;
  return {
    key: fieldBytes(key, keyBase64),
    value: fieldBytes(value, valueBase64),
    headers: readHeaders(checked.data.headers),
    timestamp: readTimestamp(timestamp, nowMs),
    ...(partition === undefined ? {} : { partition }),
  };
}

function fieldBytes(value: unknown, base64: string | undefined): Uint8Array | null {
  if (base64 !== undefined) {
    try {
      return Uint8Array.fromBase64(base64);
    } catch (cause) {
      throw new CliError("a field that ends with Base64 is not base64", { cause });
    }
  }
  if (value === undefined || value === null) return null;
  return utf8Encoder.encode(typeof value === "string" ? value : JSON.stringify(value));
}

function readHeaders(given: z.infer<typeof headers> | undefined): RecordHeader[] {
  if (given === undefined) return [];
  if (!Array.isArray(given)) {
    return Object.entries(given).map(([key, value]) => ({
      key,
      value: fieldBytes(value, undefined),
    }));
  }
  return given.map(({ key, value, valueBase64 }) => ({
    key,
    value: fieldBytes(value, valueBase64),
  }));
}

function readTimestamp(given: number | string | undefined, nowMs: number): number {
  if (given === undefined) return nowMs;
  if (typeof given === "number") return given;
  const parsed = parseTime(given);
  if (parsed === null) {
    throw new CliError(`field "timestamp" is wrong ("${given}" is no ISO 8601 time)`);
  }
  return parsed;
}

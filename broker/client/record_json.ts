/**
 * A record as JSON, the one form in which the command line, HTTP, WebSocket and the console show and take it:
 *
 *     { topic, partition, offset, timestamp, key, value, headers: [{ key, value }] }
 *
 * Key and value are text or null. Bytes that are no UTF-8 are base64, under a name of their own: `keyBase64`,
 * `valueBase64`. What is read is more lenient than what is written: a value may be any JSON, which is produced as JSON
 * text; headers may be an object; `timestamp` is milliseconds or an ISO 8601 time; fields that are not known are ignored.
 */

import { z } from "zod";
import type { KafkaRecord, RecordHeader } from "../../protocol/records.ts";
import type { TopicPartition } from "../../protocol/types.ts";
import { ClientError } from "./client_error.ts";
import type { OutgoingRecord } from "./producer.ts";
import { parseTime } from "./times.ts";

const utf8Encoder = new TextEncoder();
const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const text = z.string().nullable();
const headers = z.union([
  z.record(z.string(), text),
  z.array(
    z.object({ key: z.string(), value: text.optional(), valueBase64: z.string().optional() }),
  ),
]);

/** A record as it may be handed in. */
export const jsonRecord = z.object({
  key: z.unknown().optional(),
  value: z.unknown().optional(),
  keyBase64: z.string().optional(),
  valueBase64: z.string().optional(),
  headers: headers.optional(),
  partition: z.int().min(0).optional(),
  timestamp: z.union([z.int(), z.string()]).optional(),
});
export type JsonRecord = z.infer<typeof jsonRecord>;

/** One record as a line of JSON, without its end; `weir produce --format ndjson` reads it back. */
export function formatRecord(record: KafkaRecord, { topic, partition }: TopicPartition): string {
  return JSON.stringify({ topic, partition, ...recordFields(record) });
}

/** The fields of a record without its topic and partition, for where those are said once for many. */
export function recordFields(record: KafkaRecord): Record<string, unknown> {
  return {
    offset: record.offset,
    timestamp: record.timestamp,
    ...textOrBase64("key", record.key),
    ...textOrBase64("value", record.value),
    headers: record.headers.map(({ key, value }) => ({ key, ...textOrBase64("value", value) })),
  };
}

function textOrBase64(name: string, bytes: Uint8Array | null): Record<string, string | null> {
  if (bytes === null) return { [name]: null };
  try {
    return { [name]: strictDecoder.decode(bytes) };
  } catch {
    return { [`${name}Base64`]: bytes.toBase64() };
  }
}

/** Reads a line of JSON; `nowMs` is the time of a record that has none. Errors: ClientError. */
export function parseRecord(line: Uint8Array, nowMs: number): OutgoingRecord {
  let parsed: unknown;
  try {
    parsed = JSON.parse(strictDecoder.decode(line));
  } catch (cause) {
    throw new ClientError(`the line is not JSON (${(cause as Error).message})`, { cause });
  }
  const checked = jsonRecord.safeParse(parsed);
  if (!checked.success) {
    const issue = checked.error.issues[0]!;
    throw new ClientError(`field "${issue.path.join(".")}" is wrong (${issue.message})`);
  }
  return outgoingRecord(checked.data, nowMs);
}

/** The bytes of a record that was handed in. Errors: ClientError for what is no base64, or no time. */
export function outgoingRecord(given: JsonRecord, nowMs: number): OutgoingRecord {
  const { key, value, keyBase64, valueBase64, partition, timestamp } = given;
  return {
    key: fieldBytes(key, keyBase64),
    value: fieldBytes(value, valueBase64),
    headers: readHeaders(given.headers),
    timestamp: readTimestamp(timestamp, nowMs),
    ...(partition === undefined ? {} : { partition }),
  };
}

function fieldBytes(value: unknown, base64: string | undefined): Uint8Array | null {
  if (base64 !== undefined) {
    try {
      return Uint8Array.fromBase64(base64);
    } catch (cause) {
      throw new ClientError("a field that ends with Base64 is not base64", { cause });
    }
  }
  if (value === undefined || value === null) return null;
  return utf8Encoder.encode(typeof value === "string" ? value : JSON.stringify(value));
}

function readHeaders(given: JsonRecord["headers"]): RecordHeader[] {
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
    throw new ClientError(`field "timestamp" is wrong ("${given}" is no ISO 8601 time)`);
  }
  return parsed;
}

/**
 * Records as they go out: as JSON text, or in the compact binary form.
 *
 * The binary form of `records` (a binary message; everything else is JSON text there, too):
 *
 *     1 int8 | id uvarint | topic: length uvarint, UTF-8 | partition uvarint | next uvarint
 *     | token: length uvarint, ASCII | record count uvarint, each:
 *         offset uvarint | timestamp varint (zigzag) | key | value | header count uvarint, each: name text, value
 *
 * A key or value is its length plus one as uvarint, 0 for null, then the bytes. Numbers go up to 2^53 − 1, seven bits a
 * byte, the lowest first.
 *
 * `produce` in binary:
 *
 *     2 int8 | request uvarint | topic | partition + 1 uvarint, 0 for none
 *     | producer id + 1 uvarint, 0 for none; then epoch uvarint, sequence uvarint
 *     | record count uvarint, each: timestamp varint, −1 for now | key | value | headers
 */

import { Reader, WireError } from "../../../protocol/bytes.ts";
import type { KafkaRecord, RecordHeader } from "../../../protocol/records.ts";
import { recordFields } from "../../client/record_json.ts";
import type { OutgoingRecord } from "../../client/producer.ts";
import type { FeedBatch } from "../feeds/feed_batch.ts";
import { formatResumeToken } from "../feeds/resume_token.ts";
import type { Protocol } from "./messages.ts";

const RECORDS = 1;
const PRODUCE = 2;
const TOKEN = Symbol("token");
const MAX_RECORDS = 10_000;
const MAX_HEADERS = 1000;
const encoder = new TextEncoder();

/** The token that goes on after a batch. */
export function tokenAfter(batch: FeedBatch): string {
  return batch.made(
    TOKEN,
    ({ topicId, partition, nextOffset, leaderEpoch }) =>
      formatResumeToken({ topicId, partition, offset: nextOffset, leaderEpoch }),
  );
}

/** Which records of a batch, and for whom. */
export interface FrameRequest {
  readonly protocol: Protocol;
  readonly id: number;
  readonly records: readonly KafkaRecord[];
  /** The same where the records are the same ones of the batch. */
  readonly name: string;
}

/** A `records` message; made once for all who ask for the same. */
export function recordsFrame(batch: FeedBatch, request: FrameRequest): string | Uint8Array {
  const { protocol, id, records, name } = request;
  const form = `${protocol} ${id} ${name}`;
  if (protocol === "weir.v1.binary") return batch.made(form, () => binaryFrame(batch, id, records));
  return batch.made(form, () => {
    const text = batch.made(`json ${name}`, () => jsonTexts(records).join(","));
    return jsonFrame(placeAfter(batch), id, text);
  });
}

/** A place in a partition as messages say it. */
export interface FramePlace {
  readonly topic: string;
  readonly partition: number;
  /** Offset that comes next. */
  readonly next: number;
  readonly token: string;
}

/** A `records` message of texts that were made before. */
export function jsonFrame(place: FramePlace, id: number, recordTexts: string): string {
  return `{"type":"records","id":${id},${placeText(place)},"records":[${recordTexts}]}`;
}

/** A `position` message. */
export function positionFrame(batch: FeedBatch, id: number): string {
  return `{"type":"position","id":${id},${placeText(placeAfter(batch))}}`;
}

function placeAfter(batch: FeedBatch): FramePlace {
  const { topic, partition, nextOffset } = batch;
  return { topic, partition, next: nextOffset, token: tokenAfter(batch) };
}

function placeText({ topic, partition, next, token }: FramePlace): string {
  return `"topic":${
    JSON.stringify(topic)
  },"partition":${partition},"next":${next},"token":"${token}"`;
}

function jsonTexts(records: readonly KafkaRecord[]): string[] {
  return records.map((record) => JSON.stringify(recordFields(record)));
}

/** Writes into memory that it has counted before. */
class Fields {
  readonly bytes: Uint8Array;
  #at = 0;

  constructor(byteCount: number) {
    this.bytes = new Uint8Array(byteCount);
  }

  uvarint(value: number): void {
    let rest = value;
    while (rest >= 0x80) {
      this.bytes[this.#at++] = (rest % 128) | 0x80;
      rest = Math.floor(rest / 128);
    }
    this.bytes[this.#at++] = rest;
  }

  raw(bytes: Uint8Array): void {
    this.bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  text(bytes: Uint8Array): void {
    this.uvarint(bytes.length);
    this.raw(bytes);
  }

  nullable(bytes: Uint8Array | null): void {
    if (bytes === null) return this.uvarint(0);
    this.uvarint(bytes.length + 1);
    this.raw(bytes);
  }

  finish(): Uint8Array {
    return this.bytes.subarray(0, this.#at);
  }
}

/** A number takes at most 8 bytes. */
const NUMBER_BYTES = 8;

function zigzag(value: number): number {
  return value >= 0 ? value * 2 : -value * 2 - 1;
}

function binaryFrame(
  batch: FeedBatch,
  id: number,
  records: readonly KafkaRecord[],
): Uint8Array {
  const topic = encoder.encode(batch.topic);
  const token = encoder.encode(tokenAfter(batch));
  const names = new Map<string, Uint8Array>();
  const nameOf = (name: string) => {
    let bytes = names.get(name);
    if (bytes === undefined) names.set(name, bytes = encoder.encode(name));
    return bytes;
  };
  let byteCount = 1 + 6 * NUMBER_BYTES + topic.length + token.length;
  for (const { key, value, headers } of records) {
    byteCount += 5 * NUMBER_BYTES + (key?.length ?? 0) + (value?.length ?? 0);
    for (const header of headers) {
      byteCount += 2 * NUMBER_BYTES + nameOf(header.key).length + (header.value?.length ?? 0);
    }
  }
  const fields = new Fields(byteCount);
  fields.uvarint(RECORDS);
  fields.uvarint(id);
  fields.text(topic);
  fields.uvarint(batch.partition);
  fields.uvarint(batch.nextOffset);
  fields.text(token);
  fields.uvarint(records.length);
  for (const { offset, timestamp, key, value, headers } of records) {
    fields.uvarint(offset);
    fields.uvarint(zigzag(timestamp));
    fields.nullable(key);
    fields.nullable(value);
    fields.uvarint(headers.length);
    for (const header of headers) {
      fields.text(nameOf(header.key));
      fields.nullable(header.value);
    }
  }
  return fields.finish();
}

/** A `produce` message as it came in binary. */
export interface BinaryProduce {
  readonly request: number;
  readonly topic: string;
  readonly partition: number | null;
  readonly producer:
    | { readonly id: number; readonly epoch: number; readonly sequence: number }
    | null;
  readonly records: readonly OutgoingRecord[];
}

/** Reads a binary message; `nowMs` is the time of records that have none. Errors: WireError. */
export function parseBinary(bytes: Uint8Array, nowMs: number): BinaryProduce {
  const reader = new Reader(bytes);
  const kind = reader.int8();
  if (kind !== PRODUCE) throw new WireError(`Cannot read message: kind ${kind} is not ${PRODUCE}`);
  const request = uvarint(reader);
  const topic = text(reader);
  const partition = uvarint(reader) - 1;
  const producerId = uvarint(reader) - 1;
  const producer = producerId < 0
    ? null
    : { id: producerId, epoch: uvarint(reader), sequence: uvarint(reader) };
  const count = uvarint(reader);
  if (count < 1 || count > MAX_RECORDS) {
    throw new WireError(`Cannot read message: ${count} records, 1 to ${MAX_RECORDS} are taken`);
  }
  const records: OutgoingRecord[] = [];
  for (let i = 0; i < count; i++) records.push(binaryRecord(reader, nowMs));
  if (reader.remaining > 0) {
    throw new WireError(`Cannot read message: ${reader.remaining} bytes follow its last record`);
  }
  return { request, topic, partition: partition < 0 ? null : partition, producer, records };
}

function binaryRecord(reader: Reader, nowMs: number): OutgoingRecord {
  const zigzagged = uvarint(reader);
  const timestamp = zigzagged % 2 === 0 ? zigzagged / 2 : -(zigzagged + 1) / 2;
  const key = nullable(reader);
  const value = nullable(reader);
  const count = uvarint(reader);
  if (count > MAX_HEADERS) {
    throw new WireError(`Cannot read message: ${count} headers, ${MAX_HEADERS} are taken`);
  }
  const headers: RecordHeader[] = [];
  for (let i = 0; i < count; i++) headers.push({ key: text(reader), value: nullable(reader) });
  return { key, value, headers, timestamp: timestamp < 0 ? nowMs : timestamp };
}

function uvarint(reader: Reader): number {
  let value = 0;
  let scale = 1;
  for (let byteCount = 0; byteCount < NUMBER_BYTES; byteCount++) {
    const byte = reader.int8() & 0xff;
    value += (byte & 0x7f) * scale;
    scale *= 128;
    if (byte < 0x80 && value <= Number.MAX_SAFE_INTEGER) return value;
    if (byte < 0x80) break;
  }
  throw new WireError("Cannot read message: a number is beyond 2^53 − 1");
}

function text(reader: Reader): string {
  return reader.utf8(uvarint(reader));
}

function nullable(reader: Reader): Uint8Array | null {
  const length = uvarint(reader);
  return length === 0 ? null : reader.view(length - 1);
}

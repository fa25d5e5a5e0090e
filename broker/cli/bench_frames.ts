/**
 * Requests that are encoded once and sent as they are, again and again: what a load tool spends on its own requests is
 * not spent on the broker.
 */

import { Writer } from "../../protocol/bytes.ts";
import { codec } from "../../protocol/compile.ts";
import { encodeRequestHeader, encodeResponseHeader } from "../../protocol/headers.ts";
import { buildBatch } from "../../protocol/records.ts";
import type { Encodable, Message } from "../../protocol/schema.ts";
import { Calls } from "../client/calls.ts";
import type { Call } from "../peers/call.ts";

/** Answers come in the order of the requests, so that all may carry the same one. */
export const CORRELATION_ID = 7;
const CLIENT_ID = "weir-bench";
/** How long a broker may wait for replicas before it answers a Produce. */
const PRODUCE_TIMEOUT_MS = 30_000;

/** A whole request with its length and header. */
export function encodeRequest<Q extends Message>(
  call: Call<Q, Message>,
  apiVersion: number,
  body: Encodable<Q>,
): Uint8Array {
  const writer = new Writer();
  writer.beginSized();
  encodeRequestHeader(writer, {
    apiKey: call.key,
    apiVersion,
    correlationId: CORRELATION_ID,
    clientId: CLIENT_ID,
  });
  codec(call.request, apiVersion).encode(writer, body);
  writer.endSized();
  return writer.finish();
}

/** What a batch holds. */
export interface BatchShape {
  /** Records of it. */
  readonly recordCount: number;
  /** Bytes of the value of each. */
  readonly recordBytes: number;
}

/** A batch of records without keys, uncompressed. */
export function benchBatch(
  { recordCount, recordBytes }: BatchShape,
  timestamp: number,
): Uint8Array {
  const value = new Uint8Array(recordBytes);
  for (let at = 0; at < recordBytes; at++) value[at] = 0x61 + (at * 11 + (at >> 4)) % 26;
  const record = { key: null, value, timestamp };
  return buildBatch({ records: Array.from({ length: recordCount }, () => record) });
}

/** A Produce of one batch to one partition. */
export function produceFrame(
  version: number,
  { topic, partition, acks, batch }: {
    readonly topic: string;
    readonly partition: number;
    readonly acks: number;
    readonly batch: Uint8Array;
  },
): Uint8Array {
  return encodeRequest(Calls.produce, version, {
    acks,
    timeoutMs: PRODUCE_TIMEOUT_MS,
    topicData: [{ name: topic, partitionData: [{ index: partition, records: batch }] }],
  });
}

/** What a Fetch of one partition asks for. */
export interface FetchShape {
  readonly topic: string;
  readonly partition: number;
  readonly maxBytes: number;
  readonly maxWaitMs: number;
}

/** A Fetch of one partition whose offset is written into it before it is sent. */
export class FetchFrame {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #offsetAt: number;

  constructor(version: number, shape: FetchShape) {
    this.bytes = fetchFrame(version, shape, 0);
    this.#view = new DataView(this.bytes.buffer, this.bytes.byteOffset);
    // In two's complement 0 and −1 part at the first byte of the field.
    this.#offsetAt = firstDifference(this.bytes, fetchFrame(version, shape, -1));
  }

  /** Asks for records from this offset on; no call while a part of the request is still to be sent. */
  set offset(offset: number) {
    this.#view.setBigInt64(this.#offsetAt, BigInt(offset));
  }
}

function fetchFrame(
  version: number,
  { topic, partition, maxBytes, maxWaitMs }: FetchShape,
  fetchOffset: number,
): Uint8Array {
  return encodeRequest(Calls.fetch, version, {
    maxWaitMs,
    minBytes: 1,
    maxBytes,
    topics: [{ topic, partitions: [{ partition, fetchOffset, partitionMaxBytes: maxBytes }] }],
    forgottenTopicsData: [],
  });
}

/**
 * Where the error code of one partition stands in an answer to Produce: always at the same place for the same topic,
 * so that nothing else of the many answers needs to be decoded. Units: bytes from the correlation id.
 */
export function produceErrorAt(version: number, topic: string): number {
  const answer = (errorCode: number) => {
    const writer = new Writer();
    encodeResponseHeader(writer, {
      apiKey: Calls.produce.key,
      apiVersion: version,
      correlationId: CORRELATION_ID,
    });
    codec(Calls.produce.response, version).encode(writer, {
      responses: [{ name: topic, partitionResponses: [{ index: 0, errorCode, baseOffset: 0 }] }],
    });
    return writer.finish();
  };
  return firstDifference(answer(0), answer(-1));
}

/** Where two encodings of the same length begin to differ: where the one field that differs stands. */
export function firstDifference(one: Uint8Array, other: Uint8Array): number {
  return one.findIndex((byte, at) => byte !== other[at]);
}

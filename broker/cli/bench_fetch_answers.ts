/**
 * Answers to Fetch that are looked at as they come and not kept: a consumer under test that put each answer together
 * would spend on it what the broker spends.
 *
 *     length │ head: as long in every answer │ length of records │ batch │ batch │ … │ tail
 *                                                                  27 bytes of each are read, the others counted
 *
 * An answer of a few kilobytes is put together and decoded like any other: errors, and what has no records, come so. A
 * large one must have this shape to the byte, or it is a WireError.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { Reader, WireError, Writer } from "../../protocol/bytes.ts";
import { codec } from "../../protocol/compile.ts";
import { FRAME_LENGTH_BYTES } from "../../protocol/frame.ts";
import { decodeResponseHeader, encodeResponseHeader } from "../../protocol/headers.ts";
import { batches, batchSizeBytes, readLastOffset } from "../../protocol/record_batch.ts";
import { fetchRequest, fetchResponse } from "../../protocol/schemas/fetch.ts";
import { call } from "../peers/call.ts";
import { CORRELATION_ID, firstDifference } from "./bench_frames.ts";
import type { Splitter } from "./bench_link.ts";

const VERSION = 12;
/** The last version that names topics, and the only one of which the shape of an answer is known here. */
export const FETCH_CALL = call(ApiKey.Fetch, fetchRequest, fetchResponse, {
  lowest: VERSION,
  highest: VERSION,
});
const HEAD = { apiKey: ApiKey.Fetch, apiVersion: VERSION, correlationId: CORRELATION_ID };

/** What an answer held, whole batches only. */
export interface FetchedBatches {
  readonly errorCode: number;
  readonly byteCount: number;
  /** Behind the last record; null where there is none. */
  readonly nextOffset: number | null;
}

/** Answers up to so many bytes are put together. */
const SMALL_BYTES = 4096;
/** Of a batch, with its last field that is read. */
const BATCH_HEAD_BYTES = 27;
const MAX_ANSWER_BYTES = 0x7fffffff;

/** What is wanted next: so many bytes in one piece, or past so many. */
interface Want {
  readonly take: number;
  readonly skip: number;
}
const take = (count: number): Want => ({ take: count, skip: 0 });
const skip = (count: number): Want => ({ take: 0, skip: count });

/** Reads the answers of one connection that asks for one partition of a topic. */
export class FetchAnswers implements Splitter<FetchedBatches> {
  readonly #headBytes: number;
  readonly #tailBytes: number;
  /** A piece that spans chunks. */
  readonly #held = new Uint8Array(SMALL_BYTES);
  #heldBytes = 0;
  #reading = this.#read();
  #want = this.#reading.next().value as Want;
  #skippedBytes = 0;

  constructor(topic: string) {
    const one = encodeAnswer(topic, new Uint8Array(1));
    this.#headBytes = firstDifference(one, encodeAnswer(topic, new Uint8Array(2)));
    this.#tailBytes = one.length - this.#headBytes - 2;
  }

  /** Takes in a chunk. Returns: what its answers held, in order. Errors: WireError. */
  *push(chunk: Uint8Array): Generator<FetchedBatches, void, void> {
    for (let at = 0; at < chunk.length;) {
      const { take, skip } = this.#want;
      const wanted = take + skip - this.#heldBytes - this.#skippedBytes;
      const count = Math.min(wanted, chunk.length - at);
      let piece = chunk.subarray(at, at + count);
      at += count;
      if (skip > 0) {
        this.#skippedBytes += count;
      } else if (count < take) {
        this.#held.set(piece, this.#heldBytes);
        this.#heldBytes += count;
        piece = this.#held.subarray(0, take);
      }
      if (count < wanted) return;
      this.#heldBytes = this.#skippedBytes = 0;
      const { value, done } = this.#reading.next(piece);
      if (done) {
        yield value;
        this.#reading = this.#read();
        this.#want = this.#reading.next().value as Want;
      } else this.#want = value;
    }
  }

  /** One answer, from its length on. What is taken belongs to somebody else after the next step. */
  *#read(): Generator<Want, FetchedBatches, Uint8Array> {
    const length = new Reader(yield take(FRAME_LENGTH_BYTES)).int32();
    if (length < 1 || length > MAX_ANSWER_BYTES) {
      throw new WireError(`Cannot read answer: its length is ${length}`);
    }
    if (length <= SMALL_BYTES) return decodeAnswer(yield take(length));
    yield skip(this.#headBytes);
    let announced = 0;
    let lengthBytes = 0;
    for (let byte = 0x80; byte >= 0x80; lengthBytes++) {
      byte = (yield take(1))[0]!;
      announced += (byte & 0x7f) * 2 ** (7 * lengthBytes);
    }
    // Compact bytes are announced with one more than there are; 0 is null.
    const recordsBytes = announced - 1;
    const shapeBytes = this.#headBytes + lengthBytes + recordsBytes + this.#tailBytes;
    if (shapeBytes !== length) {
      throw new WireError(
        `Cannot read answer of ${length} bytes: ${recordsBytes} of records make it ${shapeBytes}`,
      );
    }
    let byteCount = 0;
    let nextOffset: number | null = null;
    let left = recordsBytes;
    while (left >= BATCH_HEAD_BYTES) {
      const head = yield take(BATCH_HEAD_BYTES);
      left -= BATCH_HEAD_BYTES;
      const rest = batchSizeBytes(head, 0) - BATCH_HEAD_BYTES;
      if (rest < 1) throw new WireError("Cannot read answer: a batch is shorter than its header");
      // A broker may cut the last one.
      if (rest > left) break;
      byteCount += rest + BATCH_HEAD_BYTES;
      nextOffset = readLastOffset(head, 0) + 1;
      left -= rest;
      yield skip(rest);
    }
    yield skip(left + this.#tailBytes);
    return { errorCode: 0, byteCount, nextOffset };
  }
}

function decodeAnswer(frame: Uint8Array): FetchedBatches {
  const reader = new Reader(frame);
  decodeResponseHeader(reader, HEAD);
  const answer = codec(fetchResponse, VERSION).decode(reader);
  const found = answer.responses[0]?.partitions[0];
  const records = found?.records ?? new Uint8Array(0);
  let byteCount = 0;
  let nextOffset: number | null = null;
  for (const position of batches(records)) {
    byteCount += batchSizeBytes(records, position);
    nextOffset = readLastOffset(records, position) + 1;
  }
  return { errorCode: answer.errorCode || found?.errorCode || 0, byteCount, nextOffset };
}

/** What a broker answers for one partition without an error, with nothing that is optional. */
function encodeAnswer(topic: string, records: Uint8Array): Uint8Array {
  const writer = new Writer();
  encodeResponseHeader(writer, HEAD);
  codec(fetchResponse, VERSION).encode(writer, {
    errorCode: 0,
    responses: [{
      topic,
      partitions: [{
        partitionIndex: 0,
        errorCode: 0,
        highWatermark: 0,
        abortedTransactions: null,
        records,
      }],
    }],
  });
  return writer.finish();
}

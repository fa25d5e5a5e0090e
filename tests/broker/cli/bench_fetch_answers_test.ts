import { expect, test } from "bun:test";
import { FetchAnswers, type FetchedBatches } from "../../../broker/cli/bench_fetch_answers.ts";
import { CORRELATION_ID } from "../../../broker/cli/bench_frames.ts";
import { Writer } from "../../../protocol/bytes.ts";
import { codec } from "../../../protocol/compile.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { encodeResponseHeader } from "../../../protocol/headers.ts";
import { buildBatch } from "../../../protocol/records.ts";
import { fetchResponse } from "../../../protocol/schemas/fetch.ts";
import { SimRandom } from "../../sim/sim_random.ts";

const VERSION = 12;
const NO_RECORDS = new Uint8Array(0);

/** An answer as a broker sends it, with its length. */
function answerOf(
  records: Uint8Array,
  { topic = "orders", errorCode = 0, isAnswered = true, aborted = null as [] | null } = {},
): Uint8Array {
  const writer = new Writer();
  writer.beginSized();
  encodeResponseHeader(writer, {
    apiKey: 1,
    apiVersion: VERSION,
    correlationId: CORRELATION_ID,
  });
  const partition = {
    partitionIndex: 3,
    errorCode,
    highWatermark: 1e9,
    lastStableOffset: 1e9,
    logStartOffset: 5,
    abortedTransactions: aborted,
    records,
  };
  codec(fetchResponse, VERSION).encode(writer, {
    throttleTimeMs: 7,
    errorCode: 0,
    responses: isAnswered ? [{ topic, partitions: [partition] }] : [],
  });
  writer.endSized();
  return writer.finish();
}

/** A batch of one record, of about so many bytes. */
function batchOf(baseOffset: number, byteCount: number): Uint8Array {
  const value = new Uint8Array(byteCount).fill(baseOffset % 251);
  const records = [{ key: null, value, timestamp: 1 }];
  return buildBatch({ baseOffset, records, lastOffsetDelta: 4 });
}

function read(answers: FetchAnswers, bytes: Uint8Array, cuts: readonly number[]): FetchedBatches[] {
  const bounds = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
  return bounds.slice(1).flatMap((end, index) => [
    ...answers.push(bytes.slice(bounds[index], end)),
  ]);
}

test("FetchAnswers.push: small and large answers, however the stream is cut", () => {
  const random = new SimRandom(3);
  const below = (bound: number) => random.uint32() % bound;
  for (let run = 0; run < 300; run++) {
    const topic = "t".repeat(1 + below(249));
    const expected: FetchedBatches[] = [];
    const frames = Array.from({ length: 1 + below(5) }, () => {
      const sizes = Array.from({ length: below(6) }, () => 1 + below(below(2) ? 300 : 9000));
      const offset = below(2 ** 31) * 2 ** below(20);
      const parts = sizes.map((byteCount, at) => batchOf(offset + 5 * at, byteCount));
      expected.push({
        errorCode: 0,
        byteCount: parts.reduce((sum, { length }) => sum + length, 0),
        nextOffset: parts.length === 0 ? null : offset + 5 * parts.length,
      });
      // A broker may send a part of the batch that comes next.
      const cut = below(2) ? batchOf(offset + 900, 5000).subarray(0, below(5000)) : NO_RECORDS;
      const aborted = below(2) ? [] as [] : null;
      return answerOf(Buffer.concat([...parts, cut]), { topic, aborted });
    });
    const bytes = new Uint8Array(Buffer.concat(frames));
    const cuts = Array.from({ length: below(12) }, () => below(bytes.length));
    expect(read(new FetchAnswers(topic), bytes, cuts)).toEqual(expected);
  }
});

test("FetchAnswers.push: byte by byte", () => {
  const bytes = answerOf(Buffer.concat([batchOf(70, 3000), batchOf(75, 3000)]));
  const cuts = Array.from({ length: bytes.length }, (_, at) => at);
  const found = read(new FetchAnswers("orders"), bytes, cuts);
  expect(found).toMatchObject([{ errorCode: 0, nextOffset: 80 }]);
});

test("FetchAnswers.push: an error code, and an answer that leaves the partition out", () => {
  const errorCode = ErrorCode.NOT_LEADER_OR_FOLLOWER;
  const frames = [answerOf(NO_RECORDS, { errorCode }), answerOf(NO_RECORDS, { isAnswered: false })];
  const bytes = new Uint8Array(Buffer.concat(frames));
  expect(read(new FetchAnswers("orders"), bytes, [9])).toEqual([
    { errorCode, byteCount: 0, nextOffset: null },
    { errorCode: 0, byteCount: 0, nextOffset: null },
  ]);
});

test("FetchAnswers.push: a large answer of another shape is refused, and so is a length that lies", () => {
  const large = answerOf(batchOf(1, 9000));
  const answers = () => new FetchAnswers("orders");
  const of = (bytes: Uint8Array) => () => read(answers(), bytes, []);
  // One more byte than its parts make.
  const longer = new Uint8Array([...large, 0]);
  new DataView(longer.buffer).setInt32(0, longer.length - 4);
  expect(of(longer)).toThrow(/^Cannot read answer of \d+ bytes: \d+ of records make it \d+$/);
  // Another topic's.
  expect(of(answerOf(batchOf(1, 9000), { topic: "payments" }))).toThrow("Cannot read answer of");
  expect(of(new Uint8Array([0xff, 0xff, 0xff, 0xff]))).toThrow("its length is -1");
  const short = batchOf(1, 9000);
  new DataView(short.buffer).setInt32(8, 3);
  expect(of(answerOf(short))).toThrow("a batch is shorter than its header");
});

import { describe, expect, test } from "bun:test";
import { CompressionCodec } from "../../protocol/compression.ts";
import { ErrorCode, errorName } from "../../protocol/errors.ts";
import { readBatchHeader, sealCrc } from "../../protocol/record_batch.ts";
import { buildBatch, type NewBatch } from "../../protocol/records.ts";
import { DEFAULT_LOG_CONFIG } from "../../storage/log_config.ts";
import { prepareBatch, type PrepareRules, prepareRules } from "../../storage/prepare_batch.ts";
import { SimRandom } from "../sim/sim_random.ts";

const NOW = 1_000_000;
const RULES: PrepareRules = prepareRules("orders-0", {
  ...DEFAULT_LOG_CONFIG,
  maxMessageBytes: 2000,
  messageTimestampBeforeMaxMs: 5000,
  messageTimestampAfterMaxMs: 1000,
});

const LOG_APPEND_TIME = { messageTimestampType: "LogAppendTime" } as const;

function record(over: { key?: Uint8Array | null; value?: Uint8Array; timestamp?: number } = {}) {
  return { key: new Uint8Array([1]), value: new Uint8Array(20), timestamp: NOW, ...over };
}

function build(over: Partial<NewBatch> = {}): Uint8Array {
  return buildBatch({ records: [record(), record()], ...over });
}

/** A good batch with a change under a checksum that fits. */
function patched(change: (view: DataView, bytes: Uint8Array) => void, from = build()): Uint8Array {
  change(new DataView(from.buffer, from.byteOffset), from);
  sealCrc(from, 0);
  return from;
}

const CASES: [string, Uint8Array, keyof typeof ErrorCode, Partial<PrepareRules>?, number?][] = [
  ["a good batch", build(), "NONE"],
  ["every codec: gzip", build({ compression: CompressionCodec.gzip }), "NONE"],
  ["every codec: snappy", build({ compression: CompressionCodec.snappy }), "NONE"],
  ["every codec: lz4", build({ compression: CompressionCodec.lz4 }), "NONE"],
  ["every codec: zstd", build({ compression: CompressionCodec.zstd }), "NONE"],
  ["nothing", new Uint8Array(0), "INVALID_RECORD"],
  ["less than a length", new Uint8Array(11), "INVALID_RECORD"],
  ["a cut batch", build().subarray(0, 70), "INVALID_RECORD"],
  ["a length of a few bytes", patchedLength(5), "CORRUPT_MESSAGE"],
  ["a negative length", patchedLength(-1), "CORRUPT_MESSAGE"],
  ["magic 3", patched((view) => view.setInt8(16, 3)), "CORRUPT_MESSAGE"],
  ["magic 1", patched((view) => view.setInt8(16, 1)), "INVALID_RECORD"],
  ["two batches", Buffer.concat([build(), build()]), "INVALID_RECORD"],
  ["bytes after the batch that are none", Buffer.concat([build(), new Uint8Array(3)]), "NONE"],
  [
    "zstd before version 7",
    build({ compression: CompressionCodec.zstd }),
    "UNSUPPORTED_COMPRESSION_TYPE",
    {},
    6,
  ],
  ["a base offset", build({ baseOffset: 4 }), "INVALID_RECORD"],
  ["too large", build(), "MESSAGE_TOO_LARGE", { maxMessageBytes: 100 }],
  ["a wrong checksum", flipped(build(), 80), "CORRUPT_MESSAGE"],
  ["too large and a wrong checksum", flipped(build(), 80), "MESSAGE_TOO_LARGE", {
    maxMessageBytes: 100,
  }],
  ["no records", buildBatch({ records: [] }), "INVALID_RECORD"],
  ["a count that lies", patched((view) => view.setInt32(57, 3)), "INVALID_RECORD"],
  [
    "count and delta that lie together",
    patched((view) => {
      view.setInt32(57, 3);
      view.setInt32(23, 2);
    }),
    "INVALID_RECORD",
  ],
  [
    "fewer records announced than there are",
    patched((view) => {
      view.setInt32(57, 1);
      view.setInt32(23, 0);
    }),
    "INVALID_RECORD",
  ],
  ["a negative delta", patched((view) => view.setInt32(23, -1)), "INVALID_RECORD"],
  ["control records", build({ control: true }), "INVALID_RECORD"],
  ["a producer without a sequence", build({ producerId: 4, producerEpoch: 0 }), "INVALID_RECORD"],
  ["a compression that nobody knows", patched((view) => view.setInt16(21, 7)), "INVALID_RECORD"],
  ["compressed bytes that are none", patched((view) => view.setInt16(21, 4)), "INVALID_RECORD"],
  [
    "offset deltas out of order",
    build({
      records: [{ ...record(), offsetDelta: 1 }, { ...record(), offsetDelta: 1 }],
    }),
    "INVALID_RECORD",
  ],
  [
    "a record from the future",
    build({ records: [record({ timestamp: NOW + 1001 })] }),
    "INVALID_TIMESTAMP",
  ],
  ["a record at the bound", build({ records: [record({ timestamp: NOW + 1000 })] }), "NONE"],
  [
    "a record of long ago",
    build({ records: [record({ timestamp: NOW - 5001 })] }),
    "INVALID_TIMESTAMP",
  ],
  ["a record without a time", build({ records: [record({ timestamp: -1 })] }), "NONE"],
  [
    "the future, where the broker's time counts",
    build({ records: [record({ timestamp: 9e12 })] }),
    "NONE",
    {
      messageTimestampType: "LogAppendTime",
    },
  ],
  [
    "no key on a compacted topic",
    build({ records: [record(), record({ key: null })] }),
    "INVALID_RECORD",
    {
      isCompacted: true,
    },
  ],
  ["no key elsewhere", build({ records: [record({ key: null })] }), "NONE"],
];

function patchedLength(length: number): Uint8Array {
  const bytes = build();
  new DataView(bytes.buffer, bytes.byteOffset).setInt32(8, length);
  return bytes;
}

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  bytes[at]! ^= 1;
  return bytes;
}

describe("prepareBatch: gives Kafka's error for", () => {
  for (const [name, bytes, expected, rules, requestVersion] of CASES) {
    test(name, () => {
      const result = prepareBatch(bytes, { ...RULES, ...rules }, {
        nowMs: NOW,
        requestVersion: requestVersion ?? 13,
      });
      expect(errorName(result.error)).toBe(expected);
    });
  }
});

test("prepareBatch: names each refused record", () => {
  const records = [
    record(),
    record({ key: null }),
    record({ timestamp: NOW + 5000 }),
    record({ key: null }),
  ];
  const rules = { ...RULES, isCompacted: true };
  const result = prepareBatch(buildBatch({ records }), rules, {
    nowMs: NOW,
    requestVersion: 13,
  });
  expect(errorName(result.error)).toBe("INVALID_TIMESTAMP");
  expect("recordErrors" in result && result.recordErrors?.map(({ batchIndex }) => batchIndex))
    .toEqual([1, 2, 3]);
  const onlyKeys = prepareBatch(
    buildBatch({ records: records.filter(({ timestamp }) => timestamp === NOW) }),
    rules,
    { nowMs: NOW, requestVersion: 13 },
  );
  expect(errorName(onlyKeys.error)).toBe("INVALID_RECORD");
});

test("prepareBatch: corrects the largest timestamp, and takes no one's word for the broker's time", () => {
  const bytes = patched((view) => {
    view.setBigInt64(35, 5n);
    view.setInt16(21, 8);
  }, build({ records: [record({ timestamp: NOW + 7 }), record()] }));
  const options = { nowMs: NOW, requestVersion: 13 };
  expect(errorName(prepareBatch(bytes.slice(), { ...RULES, ...LOG_APPEND_TIME }, options).error))
    .toBe("INVALID_TIMESTAMP");
  expect(prepareBatch(bytes, RULES, options)).toMatchObject({ error: 0, bytes });
  const header = readBatchHeader(bytes, 0);
  expect([header.maxTimestamp, header.attributes]).toEqual([NOW + 7, 0]);
  expect(prepareBatch(bytes, RULES, options).error).toBe(0);
});

test("prepareBatch: survives any bytes under any checksum", () => {
  const random = new SimRandom(7);
  const whole = [
    build(),
    build({ compression: CompressionCodec.gzip }),
    build({ compression: CompressionCodec.lz4 }),
  ];
  let refused = 0;
  for (let round = 0; round < 3000; round++) {
    const bytes = random.pick(whole).slice();
    for (let flips = random.between(1, 6); flips > 0; flips--) {
      bytes[random.below(bytes.length)] = random.uint32();
    }
    if (random.chance(0.7)) {
      try {
        sealCrc(bytes, 0);
      } catch { /* its length reaches too far to be sealed */ }
    }
    const cut = random.chance(0.2) ? bytes.subarray(0, random.below(bytes.length)) : bytes;
    if (prepareBatch(cut, RULES, { nowMs: NOW, requestVersion: 13 }).error !== 0) refused++;
  }
  expect(refused).toBeGreaterThan(1500);
});

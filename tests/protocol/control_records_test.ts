import { expect, test } from "bun:test";
import { WireError } from "../../protocol/bytes.ts";
import {
  buildControlBatch,
  type ControlRecord,
  controlRecordType,
  decodeControlRecord,
  encodeControlRecord,
  type NewControlRecord,
} from "../../protocol/control_records.ts";
import { isControl, isTransactional, readAttributes } from "../../protocol/record_batch.ts";
import { readRecords } from "../../protocol/records.ts";
import { type Uuid, ZERO_UUID } from "../../protocol/types.ts";
import vectors from "../vectors/record_batches.json" with { type: "json" };

const CAP = { maxDecompressedBytes: 100_000 };
const DIRECTORY = "vAlEsYVbTKClcuBUDT5gaA" as Uuid;
const VOTER = { voterId: 1, voterDirectoryId: DIRECTORY };

/** Version 0 of the leader change has no directory ids. */
const UNNAMED_VOTER = { voterId: 1, voterDirectoryId: ZERO_UUID };
const LISTENED = { name: "CONTROLLER", host: "localhost", port: 29093 };

/** What RecordBatchVectors.java wrote with Kafka's library. */
const EXPECTED: Readonly<Record<string, ControlRecord>> = {
  "commit marker": { type: "commit", coordinatorEpoch: 17 },
  "abort marker": { type: "abort", coordinatorEpoch: 18 },
  "leader change": {
    type: "leaderChange",
    message: { version: 0, leaderId: 1, voters: [UNNAMED_VOTER], grantingVoters: [UNNAMED_VOTER] },
  },
  "snapshot header": {
    type: "snapshotHeader",
    message: { version: 0, lastContainedLogTimestamp: 1_699_999_999_999 },
  },
  "snapshot footer": { type: "snapshotFooter", message: { version: 0 } },
  "kraft version": { type: "kraftVersion", message: { version: 0, kRaftVersion: 1 } },
  "voters": {
    type: "voters",
    message: {
      version: 0,
      voters: [{
        ...VOTER,
        endpoints: [LISTENED],
        kRaftVersionFeature: { minSupportedVersion: 0, maxSupportedVersion: 1 },
      }],
    },
  },
};

for (const [name, expected] of Object.entries(EXPECTED)) {
  const vector = vectors.batches.find((batch) => batch.name === name)!;

  test(`decodeControlRecord: reads what Kafka's Java library wrote: ${name}`, () => {
    const [record] = readRecords(Uint8Array.fromBase64(vector.bytes), 0, CAP);
    expect<ControlRecord>(decodeControlRecord(record!)).toEqual(expected);
  });

  test(`buildControlBatch: writes the very bytes of Kafka's Java library: ${name}`, () => {
    const bytes = Uint8Array.fromBase64(vector.bytes);
    const built = buildControlBatch({
      records: [expected as NewControlRecord],
      timestamp: 1_700_000_000_000,
      baseOffset: vector.baseOffset,
      partitionLeaderEpoch: vector.leaderEpoch,
      producerId: vector.producerId,
      producerEpoch: vector.producerEpoch,
    });
    expect(Buffer.from(built).toString("hex")).toBe(Buffer.from(bytes).toString("hex"));
    expect(isControl(readAttributes(built, 0))).toBe(true);
    expect(isTransactional(readAttributes(built, 0))).toBe(name.endsWith("marker"));
  });

  test(`decodeControlRecord: ${name} cut at any byte is a WireError`, () => {
    const { key, value } = encodeControlRecord(expected as NewControlRecord);
    for (let cut = 0; cut < value.length; cut++) {
      expect(() => decodeControlRecord({ key, value: value.subarray(0, cut) })).toThrow(WireError);
    }
    for (let cut = 0; cut < key.length; cut++) {
      expect(() => decodeControlRecord({ key: key.subarray(0, cut), value })).toThrow(WireError);
    }
    expect(() => decodeControlRecord({ key, value: null })).toThrow(WireError);
    expect(() => decodeControlRecord({ key: null, value })).toThrow(WireError);
  });
}

test("encodeControlRecord: version 1 of the leader change carries directory ids, later ones read as 1", () => {
  const change: NewControlRecord = {
    type: "leaderChange",
    message: { version: 1, leaderId: 1, voters: [VOTER], grantingVoters: [VOTER] },
  };
  const { key, value } = encodeControlRecord(change);
  expect(decodeControlRecord({ key, value })).toEqual(change as ControlRecord);
  value[1] = 9;
  expect(decodeControlRecord({ key, value })).toMatchObject({ message: { voters: [VOTER] } });
});

test("decodeControlRecord: a kind of the future is unknown, not an error", () => {
  const key = Uint8Array.of(0, 0, 0, 77);
  expect(decodeControlRecord({ key, value: new Uint8Array(2) })).toEqual({
    type: "unknown",
    code: 77,
  });
  expect(controlRecordType(key)).toBe(null);
});

test("decodeControlRecord: a negative version is a WireError", () => {
  const value = Uint8Array.of(0xff, 0xff, 0, 0, 0, 1);
  for (const code of [0, 1, 2, 3, 4, 5, 6]) {
    const record = { key: Uint8Array.of(0, 0, 0, code), value };
    expect(() => decodeControlRecord(record)).toThrow(WireError);
  }
});

/**
 * Control records: what brokers write into a log about the log itself. Consumers skip them.
 *
 * The key says which kind it is; the value is a Kafka message. Two ways of telling its version live side
 * by side: an end-transaction marker has an int16 in front of the message, the Raft kinds have it as their
 * first field.
 *
 *     key    version int16 = 0 | type int16
 *     value  abort, commit:  version int16 = 0 | coordinatorEpoch int32
 *            the others:     the message, whose first field is its version
 *
 * Source: KIP-98 (markers), KIP-595 (leader change), KIP-630 (snapshots), KIP-853 (voters).
 */

import { Reader, WireError, Writer } from "./bytes.ts";
import { codec } from "./compile.ts";
import { buildBatch, type KafkaRecord } from "./records.ts";
import type { Decoded, Encodable, Message } from "./schema.ts";
import { endTxnMarker } from "./schemas/records/control.ts";
import {
  kraftVersionRecord,
  leaderChangeMessage,
  snapshotFooterRecord,
  snapshotHeaderRecord,
  votersRecord,
} from "./schemas/records/raft.ts";

/** Kinds of control records by the number in their key. */
export const ControlRecordType = {
  abort: 0,
  commit: 1,
  leaderChange: 2,
  snapshotHeader: 3,
  snapshotFooter: 4,
  kraftVersion: 5,
  voters: 6,
} as const;
export type ControlRecordType = keyof typeof ControlRecordType;

const KEY_VERSION = 0;
const MARKER_VERSION = 0;

const RAFT_MESSAGES = {
  leaderChange: leaderChangeMessage,
  snapshotHeader: snapshotHeaderRecord,
  snapshotFooter: snapshotFooterRecord,
  kraftVersion: kraftVersionRecord,
  voters: votersRecord,
} as const;
type RaftMessages = typeof RAFT_MESSAGES;
type RaftType = keyof RaftMessages;

/** A marker that ends a transaction. */
export interface EndTransactionMarker {
  readonly type: "abort" | "commit";
  readonly coordinatorEpoch: number;
}

/** A control record as it is read. */
export type ControlRecord =
  | EndTransactionMarker
  | { readonly [T in RaftType]: { readonly type: T; readonly message: Decoded<RaftMessages[T]> } }[
    RaftType
  ]
  | { readonly type: "unknown"; readonly code: number };

/** A control record as it is written. `message.version` is the version that it is encoded in. */
export type NewControlRecord =
  | EndTransactionMarker
  | {
    readonly [T in RaftType]: { readonly type: T; readonly message: Encodable<RaftMessages[T]> };
  }[
    RaftType
  ];

/**
 * The kind of a control record, from its key alone.
 * Returns: null for a kind that is not known, which readers must skip.
 * Errors: WireError when the key is missing or cut short.
 */
export function controlRecordType(key: Uint8Array | null): ControlRecordType | null {
  const code = readTypeCode(key);
  for (const [name, known] of Object.entries(ControlRecordType)) {
    if (known === code) return name as ControlRecordType;
  }
  return null;
}

function readTypeCode(key: Uint8Array | null): number {
  if (key === null) throw new WireError("Cannot read control record: it has no key");
  const reader = new Reader(key);
  const version = reader.int16();
  if (version < KEY_VERSION) {
    throw new WireError(`Cannot read control record: key version ${version} is negative`);
  }
  return reader.int16();
}

/** Reads a record out of a control batch. Errors: WireError when key or value are damaged. */
export function decodeControlRecord(record: Pick<KafkaRecord, "key" | "value">): ControlRecord {
  const type = controlRecordType(record.key);
  if (type === null) return { type: "unknown", code: readTypeCode(record.key) };
  if (record.value === null) throw new WireError(`Cannot read ${type} record: it has no value`);
  const reader = new Reader(record.value);
  const version = reader.int16();
  if (type === "abort" || type === "commit") {
    if (version < MARKER_VERSION) {
      throw new WireError(`Cannot read ${type} record: version ${version} is negative`);
    }
    const marker = codec(endTxnMarker, MARKER_VERSION).decode(reader);
    return { type, coordinatorEpoch: marker.coordinatorEpoch };
  }
  reader.position = 0;
  const message: Message = RAFT_MESSAGES[type];
  const decoded = codec(message, readableVersion(type, version)).decode(reader);
  return { type, message: decoded } as ControlRecord;
}

/** Only the leader change has had a second version. */
function readableVersion(type: RaftType, version: number): number {
  const highest = type === "leaderChange" ? 1 : 0;
  if (version < 0) {
    throw new WireError(`Cannot read ${type} record: version ${version} is negative`);
  }
  return Math.min(version, highest);
}

/** Key and value of a control record. */
export function encodeControlRecord(
  record: NewControlRecord,
): { readonly key: Uint8Array; readonly value: Uint8Array } {
  const key = new Writer(4);
  key.int16(KEY_VERSION);
  key.int16(ControlRecordType[record.type]);
  const value = new Writer(64);
  if ("coordinatorEpoch" in record) {
    value.int16(MARKER_VERSION);
    codec(endTxnMarker, MARKER_VERSION).encode(value, {
      coordinatorEpoch: record.coordinatorEpoch,
    });
  } else {
    const message: Message = RAFT_MESSAGES[record.type];
    codec(message, record.message.version).encode(value, record.message);
  }
  return { key: key.finish(), value: value.finish() };
}

/**
 * Builds a whole control batch.
 * Shape: fresh memory; a marker must be alone in its batch and carry its producer, and is transactional.
 */
export function buildControlBatch(batch: {
  readonly records: readonly NewControlRecord[];
  /** ms since the epoch. */
  readonly timestamp: number;
  readonly baseOffset?: number;
  readonly partitionLeaderEpoch?: number;
  readonly producerId?: number;
  readonly producerEpoch?: number;
}): Uint8Array {
  const { records, timestamp, ...rest } = batch;
  const first = records[0];
  return buildBatch({
    ...rest,
    control: true,
    transactional: first?.type === "abort" || first?.type === "commit",
    records: records.map((record) => ({ ...encodeControlRecord(record), timestamp })),
  });
}

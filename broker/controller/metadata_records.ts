/**
 * The records of `__cluster_metadata` and how one is framed in a record's value.
 *
 *     unsigned varint  frame version, 1
 *     unsigned varint  record type (Kafka's api key of the record)
 *     unsigned varint  version of the record
 *     bytes            the record, encoded by its schema
 *
 * A type that nobody here knows is refused when read: to skip it would let the image drift apart from
 * the log silently.
 *
 * Source: Kafka's MetadataRecordSerde and AbstractApiMessageSerde (KIP-631).
 */

import { Reader, WireError, Writer } from "../../protocol/bytes.ts";
import { codec, inRange, versionsOf } from "../../protocol/compile.ts";
import type { Decoded, Encodable, Message } from "../../protocol/schema.ts";
import * as schemas from "../../protocol/schemas/records/metadata.ts";

const FRAME_VERSION = 1;
/** Most records are smaller: thousands are made at once when a broker goes. */
const TYPICAL_RECORD_BYTES = 160;

/** Record kinds by Kafka's name of each, with the version that we write (metadata.version 4.3-IV0). */
const recordKinds = {
  RegisterBrokerRecord: { schema: schemas.registerBrokerRecord, writtenVersion: 4 },
  UnregisterBrokerRecord: { schema: schemas.unregisterBrokerRecord, writtenVersion: 0 },
  TopicRecord: { schema: schemas.topicRecord, writtenVersion: 0 },
  PartitionRecord: { schema: schemas.partitionRecord, writtenVersion: 2 },
  ConfigRecord: { schema: schemas.configRecord, writtenVersion: 0 },
  PartitionChangeRecord: { schema: schemas.partitionChangeRecord, writtenVersion: 2 },
  FenceBrokerRecord: { schema: schemas.fenceBrokerRecord, writtenVersion: 0 },
  UnfenceBrokerRecord: { schema: schemas.unfenceBrokerRecord, writtenVersion: 0 },
  RemoveTopicRecord: { schema: schemas.removeTopicRecord, writtenVersion: 0 },
  FeatureLevelRecord: { schema: schemas.featureLevelRecord, writtenVersion: 0 },
  ProducerIdsRecord: { schema: schemas.producerIdsRecord, writtenVersion: 0 },
  BrokerRegistrationChangeRecord: {
    schema: schemas.brokerRegistrationChangeRecord,
    writtenVersion: 3,
  },
  NoOpRecord: { schema: schemas.noOpRecord, writtenVersion: 0 },
  BeginTransactionRecord: { schema: schemas.beginTransactionRecord, writtenVersion: 0 },
  EndTransactionRecord: { schema: schemas.endTransactionRecord, writtenVersion: 0 },
  AbortTransactionRecord: { schema: schemas.abortTransactionRecord, writtenVersion: 0 },
  RegisterControllerRecord: { schema: schemas.registerControllerRecord, writtenVersion: 0 },
  UnregisterControllerRecord: { schema: schemas.unregisterControllerRecord, writtenVersion: 0 },
  ClearElrRecord: { schema: schemas.clearElrRecord, writtenVersion: 0 },
  ZkMigrationStateRecord: { schema: schemas.zkMigrationStateRecord, writtenVersion: 0 },
  ClientQuotaRecord: { schema: schemas.clientQuotaRecord, writtenVersion: 0 },
  UserScramCredentialRecord: { schema: schemas.userScramCredentialRecord, writtenVersion: 0 },
  RemoveUserScramCredentialRecord: {
    schema: schemas.removeUserScramCredentialRecord,
    writtenVersion: 0,
  },
  DelegationTokenRecord: { schema: schemas.delegationTokenRecord, writtenVersion: 0 },
  RemoveDelegationTokenRecord: { schema: schemas.removeDelegationTokenRecord, writtenVersion: 0 },
  AccessControlEntryRecord: { schema: schemas.accessControlEntryRecord, writtenVersion: 0 },
  RemoveAccessControlEntryRecord: {
    schema: schemas.removeAccessControlEntryRecord,
    writtenVersion: 0,
  },
} as const;

type RecordKinds = typeof recordKinds;
/** Kafka's name of a metadata record. */
export type MetadataRecordType = keyof RecordKinds;
/** A metadata record to be written: fields with a default may be left out. */
export type MetadataRecord = {
  [K in MetadataRecordType]: {
    readonly type: K;
    readonly value: Encodable<RecordKinds[K]["schema"]>;
  };
}[MetadataRecordType];
/** A metadata record that was read: every field is there. */
export type DecodedMetadataRecord = {
  [K in MetadataRecordType]: {
    readonly type: K;
    readonly value: Decoded<RecordKinds[K]["schema"]>;
  };
}[MetadataRecordType];

const typesByKey: ReadonlyMap<number, MetadataRecordType> = new Map(
  (Object.keys(recordKinds) as MetadataRecordType[])
    .map((type) => [recordKinds[type].schema.apiKey!, type]),
);

/** The framed bytes of a record. */
export function encodeMetadataRecord(record: MetadataRecord): Uint8Array {
  const kind = recordKinds[record.type];
  const schema: Message = kind.schema;
  const writer = new Writer(TYPICAL_RECORD_BYTES);
  writer.unsignedVarint(FRAME_VERSION);
  writer.unsignedVarint(schema.apiKey!);
  writer.unsignedVarint(kind.writtenVersion);
  codec(schema, kind.writtenVersion).encode(writer, record.value);
  return writer.finish();
}

/**
 * Reads one framed record.
 *
 * Shape: byte fields are views into `bytes`.
 * Errors: WireError for another frame version, an unknown type or version, and bytes that do not fit.
 */
export function decodeMetadataRecord(bytes: Uint8Array): DecodedMetadataRecord {
  const reader = new Reader(bytes);
  const frameVersion = reader.unsignedVarint();
  if (frameVersion !== FRAME_VERSION) {
    throw new WireError(`Cannot read metadata record: frame version ${frameVersion} is not 1`);
  }
  const key = reader.unsignedVarint();
  const version = reader.unsignedVarint();
  const type = typesByKey.get(key);
  if (type === undefined) {
    throw new WireError(
      `Cannot read metadata record: type ${key} is unknown; the log was written by a newer version, use that`,
    );
  }
  const schema: Message = recordKinds[type].schema;
  if (!inRange(schema.versions, version)) {
    const { highest } = versionsOf(schema.versions);
    throw new WireError(
      `Cannot read ${type}: version ${version} is above ${highest}; the log was written by a newer version, use that`,
    );
  }
  const value = codec(schema, version).decode(reader);
  if (reader.remaining !== 0) {
    throw new WireError(`Cannot read ${type}: ${reader.remaining} bytes are left over`);
  }
  return { type, value } as DecodedMetadataRecord;
}

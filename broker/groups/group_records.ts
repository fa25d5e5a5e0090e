/**
 * Records of `__consumer_offsets` to and from domain values, in Kafka's own versions.
 *
 *     key    type int16 │ fields of the key           1: offset commit, 2: classic group,
 *                                                     3–8, 16: consumer group (consumer_group_records.ts)
 *     value  version int16 │ fields of the value      null is a tombstone: what the key names is gone
 *
 * Offset commits are written as version 4 (or 1, where the client asked for a retention of its own),
 * groups as version 3, as Kafka 4.3 does; every older version is read.
 * Source: KIP-211 (retention counts from the end of the group), KIP-848 (record types).
 */

import { Reader, WireError } from "../../protocol/bytes.ts";
import { codec } from "../../protocol/compile.ts";
import {
  groupMetadataKey,
  groupMetadataValue,
  offsetCommitKey,
  offsetCommitValue,
} from "../../protocol/schemas/records/group.ts";
import { leaderEpoch, offset, timestampMs } from "../../protocol/types.ts";
import { encodePrefixed, type KeyValue } from "../coordination/coordinator_records.ts";
import type { GroupMetadata } from "./classic_group.ts";
import { type ConsumerGroupRecord, decodeConsumerGroupRecord } from "./consumer_group_records.ts";
import type { CommittedOffset } from "./group_offsets.ts";

/** Record types: the int16 before a key. 0 and 1 differ in nothing. */
export const GroupRecordType = {
  legacyOffsetCommit: 0,
  offsetCommit: 1,
  groupMetadata: 2,
} as const;

const OFFSET_COMMIT_VERSION = 4;
/** The only version that can carry an expiry; it lacks the leader epoch and the topic's id. */
const OFFSET_COMMIT_VERSION_WITH_EXPIRY = 1;
const GROUP_METADATA_VERSION = 3;

/** One record; a null value is a tombstone. */
export type GroupRecord =
  | {
    readonly kind: "offsetCommit";
    readonly groupId: string;
    readonly topic: string;
    readonly partition: number;
    readonly value: CommittedOffset | null;
  }
  | {
    readonly kind: "groupMetadata";
    readonly groupId: string;
    readonly value: GroupMetadata | null;
  }
  | ({ readonly kind: "consumerGroup" } & ConsumerGroupRecord)
  /** A type that this version does not know. */
  | { readonly kind: "other"; readonly type: number };

/** The record that commits an offset, or takes it back with null. */
export function encodeOffsetCommit(
  groupId: string,
  topic: string,
  partition: number,
  value: CommittedOffset | null,
): KeyValue {
  const key = encodePrefixed(GroupRecordType.offsetCommit, offsetCommitKey, 0, {
    group: groupId,
    topic,
    partition,
  });
  if (value === null) return { key, value: null };
  const version = value.expireTimestampMs >= 0
    ? OFFSET_COMMIT_VERSION_WITH_EXPIRY
    : OFFSET_COMMIT_VERSION;
  return {
    key,
    value: encodePrefixed(version, offsetCommitValue, version, {
      offset: value.offset,
      leaderEpoch: value.leaderEpoch,
      metadata: value.metadata,
      commitTimestamp: value.commitTimestampMs,
      expireTimestamp: value.expireTimestampMs,
      topicId: value.topicId,
    }),
  };
}

/** The record that holds a classic group, or deletes it with null. */
export function encodeGroupMetadata(groupId: string, value: GroupMetadata | null): KeyValue {
  const key = encodePrefixed(GroupRecordType.groupMetadata, groupMetadataKey, 0, {
    group: groupId,
  });
  if (value === null) return { key, value: null };
  return {
    key,
    value: encodePrefixed(GROUP_METADATA_VERSION, groupMetadataValue, GROUP_METADATA_VERSION, {
      protocolType: value.protocolType,
      generation: value.generationId,
      protocol: value.protocolName,
      leader: value.leader,
      currentStateTimestamp: value.currentStateTimestamp,
      members: value.members.map((member) => ({
        memberId: member.memberId,
        groupInstanceId: member.groupInstanceId,
        clientId: member.clientId,
        clientHost: member.clientHost,
        rebalanceTimeout: member.rebalanceTimeoutMs,
        sessionTimeout: member.sessionTimeoutMs,
        subscription: member.subscription,
        assignment: member.assignment,
      })),
    }),
  };
}

/**
 * Reads a record. Byte fields of members are copies: the group outlives the buffer.
 *
 * Errors: WireError when damaged, or of a version that is not known.
 */
export function decodeGroupRecord({ key, value }: {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
}): GroupRecord {
  if (key === null) {
    throw new WireError("Cannot read a record of __consumer_offsets: it has no key");
  }
  const reader = new Reader(key);
  const type = reader.int16();
  switch (type) {
    case GroupRecordType.legacyOffsetCommit:
    case GroupRecordType.offsetCommit: {
      const { group, topic, partition } = codec(offsetCommitKey, 0).decode(reader);
      return {
        kind: "offsetCommit",
        groupId: group,
        topic,
        partition,
        value: value === null ? null : decodeOffsetCommitValue(value),
      };
    }
    case GroupRecordType.groupMetadata: {
      const { group } = codec(groupMetadataKey, 0).decode(reader);
      return {
        kind: "groupMetadata",
        groupId: group,
        value: value === null ? null : decodeGroupMetadataValue(value),
      };
    }
    default: {
      const record = decodeConsumerGroupRecord(type, reader, value);
      return record === undefined ? { kind: "other", type } : { kind: "consumerGroup", ...record };
    }
  }
}

function decodeOffsetCommitValue(bytes: Uint8Array): CommittedOffset {
  const reader = new Reader(bytes);
  const version = knownVersion(reader.int16(), 4, "offset commit");
  const value = codec(offsetCommitValue, version).decode(reader);
  return {
    offset: offset(value.offset),
    leaderEpoch: leaderEpoch(value.leaderEpoch),
    metadata: value.metadata,
    commitTimestampMs: timestampMs(value.commitTimestamp),
    expireTimestampMs: timestampMs(value.expireTimestamp),
    topicId: value.topicId,
  };
}

function decodeGroupMetadataValue(bytes: Uint8Array): GroupMetadata {
  const reader = new Reader(bytes);
  const version = knownVersion(reader.int16(), 4, "classic group");
  const value = codec(groupMetadataValue, version).decode(reader);
  return {
    protocolType: value.protocolType,
    generationId: value.generation,
    protocolName: value.protocol,
    leader: value.leader,
    currentStateTimestamp: timestampMs(value.currentStateTimestamp),
    members: value.members.map((member) => ({
      memberId: member.memberId,
      groupInstanceId: member.groupInstanceId,
      clientId: member.clientId,
      clientHost: member.clientHost,
      rebalanceTimeoutMs: member.rebalanceTimeout === -1
        ? member.sessionTimeout
        : member.rebalanceTimeout,
      sessionTimeoutMs: member.sessionTimeout,
      subscription: member.subscription.slice(),
      assignment: member.assignment.slice(),
    })),
  };
}

function knownVersion(version: number, highest: number, what: string): number {
  if (version < 0 || version > highest) {
    throw new WireError(
      `Cannot read ${what} record: version ${version} is not one of 0 to ${highest}`,
    );
  }
  return version;
}

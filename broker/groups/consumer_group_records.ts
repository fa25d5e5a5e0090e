/**
 * Records 3 to 8 and 16 of `__consumer_offsets`, those of consumer groups, to and from changes of a group.
 *
 *     3 group epoch │ 4 partition counts (only deleted) │ 5 member │ 6 target epoch │ 7 target of a member
 *     8 what a member has │ 16 topics of a regular expression
 *
 * All are written in version 0, as Kafka 4.3 writes them. Source: KIP-848.
 */

import { Reader, WireError } from "../../protocol/bytes.ts";
import { codec } from "../../protocol/compile.ts";
import type { Decoded, Encodable, Message } from "../../protocol/schema.ts";
import {
  consumerGroupCurrentMemberAssignmentKey,
  consumerGroupCurrentMemberAssignmentValue,
  consumerGroupMemberMetadataKey,
  consumerGroupMemberMetadataValue,
  consumerGroupMetadataKey,
  consumerGroupMetadataValue,
  consumerGroupPartitionMetadataKey,
  consumerGroupRegularExpressionKey,
  consumerGroupRegularExpressionValue,
  consumerGroupTargetAssignmentMemberKey,
  consumerGroupTargetAssignmentMemberValue,
  consumerGroupTargetAssignmentMetadataKey,
  consumerGroupTargetAssignmentMetadataValue,
} from "../../protocol/schemas/records/group.ts";
import { timestampMs, type Uuid } from "../../protocol/types.ts";
import { encodePrefixed, type KeyValue } from "../coordination/coordinator_records.ts";
import type { Partitions } from "./assignors/assignor.ts";
import type { ConsumerGroupChange, MemberMetadata } from "./consumer_group_state.ts";
import { type CurrentAssignment, MemberState, type OwnedPartitions } from "./current_assignment.ts";

const VERSION = 0;

/** A change of a consumer group, and of which. */
export interface ConsumerGroupRecord {
  readonly groupId: string;
  readonly change: ConsumerGroupChange;
}

/** The record of a change. */
export function encodeConsumerGroupChange(
  groupId: string,
  change: ConsumerGroupChange,
): KeyValue {
  switch (change.kind) {
    case "group": {
      const { value } = change;
      return {
        key: encode(consumerGroupMetadataKey, { groupId }),
        value: value && encode(consumerGroupMetadataValue, value, VERSION),
      };
    }
    case "partitionMetadata":
      return { key: encode(consumerGroupPartitionMetadataKey, { groupId }), value: null };
    case "member": {
      const { memberId, value } = change;
      return {
        key: encode(consumerGroupMemberMetadataKey, { groupId, memberId }),
        value: value && encode(consumerGroupMemberMetadataValue, encodableMember(value), VERSION),
      };
    }
    case "target": {
      const { value } = change;
      return {
        key: encode(consumerGroupTargetAssignmentMetadataKey, { groupId }),
        value: value && encode(consumerGroupTargetAssignmentMetadataValue, {
          assignmentEpoch: value.epoch,
          assignmentTimestamp: value.timestampMs,
        }, VERSION),
      };
    }
    case "targetMember": {
      const { memberId, value } = change;
      return {
        key: encode(consumerGroupTargetAssignmentMemberKey, { groupId, memberId }),
        value: value && encode(consumerGroupTargetAssignmentMemberValue, {
          topicPartitions: [...value].map(([topicId, partitions]) => ({ topicId, partitions })),
        }, VERSION),
      };
    }
    case "currentMember": {
      const { memberId, value } = change;
      return {
        key: encode(consumerGroupCurrentMemberAssignmentKey, { groupId, memberId }),
        value: value &&
          encode(consumerGroupCurrentMemberAssignmentValue, encodableCurrent(value), VERSION),
      };
    }
    case "regex": {
      const { regex, value } = change;
      return {
        key: encode(consumerGroupRegularExpressionKey, { groupId, regularExpression: regex }),
        value: value && encode(consumerGroupRegularExpressionValue, {
          topics: value.topics,
          version: value.version,
          timestamp: value.timestampMs,
        }, VERSION),
      };
    }
  }
}

/** A key is written after its type, a value after its version. */
function encode<M extends Message>(message: M, value: Encodable<M>, prefix = message.apiKey!) {
  return encodePrefixed(prefix, message, VERSION, value);
}

function encodableMember(
  { classic, ...member }: MemberMetadata,
): Encodable<typeof consumerGroupMemberMetadataValue> {
  return { ...member, classicMemberMetadata: classic };
}

function encodableCurrent(
  { memberEpoch, previousMemberEpoch, state, assigned, pendingRevocation }: CurrentAssignment,
): Encodable<typeof consumerGroupCurrentMemberAssignmentValue> {
  return {
    memberEpoch,
    previousMemberEpoch,
    state,
    assignedPartitions: encodableOwned(assigned),
    partitionsPendingRevocation: encodableOwned(pendingRevocation),
  };
}

function encodableOwned(owned: OwnedPartitions) {
  return [...owned].map(([topicId, partitions]) => ({
    topicId,
    partitions: [...partitions.keys()],
    assignmentEpochs: [...partitions.values()],
  }));
}

/**
 * Reads a record of which the key's type has been read; undefined for a type that is not one of a consumer group's.
 *
 * Errors: WireError when damaged, or of a version that is not known.
 */
export function decodeConsumerGroupRecord(
  type: number,
  key: Reader,
  value: Uint8Array | null,
): ConsumerGroupRecord | undefined {
  switch (type) {
    case consumerGroupMetadataKey.apiKey: {
      const { groupId } = codec(consumerGroupMetadataKey, VERSION).decode(key);
      const decoded = value && decode(consumerGroupMetadataValue, value);
      return { groupId, change: { kind: "group", value: decoded } };
    }
    case consumerGroupPartitionMetadataKey.apiKey: {
      const { groupId } = codec(consumerGroupPartitionMetadataKey, VERSION).decode(key);
      return { groupId, change: { kind: "partitionMetadata", value: value && true } };
    }
    case consumerGroupMemberMetadataKey.apiKey: {
      const { groupId, memberId } = codec(consumerGroupMemberMetadataKey, VERSION).decode(key);
      const decoded = value && decodeMember(decode(consumerGroupMemberMetadataValue, value));
      return { groupId, change: { kind: "member", memberId, value: decoded } };
    }
    case consumerGroupTargetAssignmentMetadataKey.apiKey: {
      const { groupId } = codec(consumerGroupTargetAssignmentMetadataKey, VERSION).decode(key);
      const decoded = value && decode(consumerGroupTargetAssignmentMetadataValue, value);
      const target = decoded && {
        epoch: decoded.assignmentEpoch,
        timestampMs: timestampMs(decoded.assignmentTimestamp),
      };
      return { groupId, change: { kind: "target", value: target } };
    }
    default:
      return decodeMemberRecord(type, key, value);
  }
}

function decodeMemberRecord(
  type: number,
  key: Reader,
  value: Uint8Array | null,
): ConsumerGroupRecord | undefined {
  switch (type) {
    case consumerGroupTargetAssignmentMemberKey.apiKey: {
      const { groupId, memberId } = codec(consumerGroupTargetAssignmentMemberKey, VERSION)
        .decode(key);
      const decoded = value && decode(consumerGroupTargetAssignmentMemberValue, value);
      const target = decoded && decodePartitions(decoded.topicPartitions);
      return { groupId, change: { kind: "targetMember", memberId, value: target } };
    }
    case consumerGroupCurrentMemberAssignmentKey.apiKey: {
      const { groupId, memberId } = codec(consumerGroupCurrentMemberAssignmentKey, VERSION)
        .decode(key);
      const decoded = value &&
        decodeCurrent(decode(consumerGroupCurrentMemberAssignmentValue, value));
      return { groupId, change: { kind: "currentMember", memberId, value: decoded } };
    }
    case consumerGroupRegularExpressionKey.apiKey: {
      const { groupId, regularExpression: regex } = codec(
        consumerGroupRegularExpressionKey,
        VERSION,
      ).decode(key);
      const decoded = value && decode(consumerGroupRegularExpressionValue, value);
      const resolved = decoded && {
        topics: decoded.topics,
        version: decoded.version,
        timestampMs: timestampMs(decoded.timestamp),
      };
      return { groupId, change: { kind: "regex", regex, value: resolved } };
    }
    default:
      return undefined;
  }
}

function decode<M extends Message>(message: M, bytes: Uint8Array): Decoded<M> {
  const reader = new Reader(bytes);
  const version = reader.int16();
  if (version !== VERSION) {
    throw new WireError(`Cannot read ${message.name}: version ${version} is not ${VERSION}`);
  }
  return codec(message, VERSION).decode(reader);
}

/** Bytes are copied: the group outlives the buffer. */
function decodeMember(
  { classicMemberMetadata: classic, ...member }: Decoded<typeof consumerGroupMemberMetadataValue>,
): MemberMetadata {
  return {
    ...member,
    classic: classic && {
      sessionTimeoutMs: classic.sessionTimeoutMs,
      supportedProtocols: classic.supportedProtocols.map(({ name, metadata }) => ({
        name,
        metadata: metadata.slice(),
      })),
    },
  };
}

/** Partitions as they come over the wire or from the log, each list sorted. */
export function decodePartitions(
  topics: readonly { readonly topicId: Uuid; readonly partitions: readonly number[] }[],
): Partitions {
  const decoded = new Map<Uuid, readonly number[]>();
  for (const { topicId, partitions } of topics) {
    if (partitions.length === 0) continue;
    const all = [...decoded.get(topicId) ?? [], ...partitions];
    decoded.set(topicId, [...new Set(all)].sort((left, right) => left - right));
  }
  return decoded;
}

function decodeCurrent(
  value: Decoded<typeof consumerGroupCurrentMemberAssignmentValue>,
): CurrentAssignment {
  const { memberEpoch, previousMemberEpoch } = value;
  const state = Object.values(MemberState).find((known) => known === value.state) ?? -1;
  return {
    memberEpoch,
    previousMemberEpoch,
    state,
    assigned: decodeOwned(value.assignedPartitions, memberEpoch),
    pendingRevocation: decodeOwned(value.partitionsPendingRevocation, memberEpoch),
  };
}

function decodeOwned(
  topics: Decoded<typeof consumerGroupCurrentMemberAssignmentValue>["assignedPartitions"],
  memberEpoch: number,
): OwnedPartitions {
  const owned = new Map<Uuid, ReadonlyMap<number, number>>();
  for (const { topicId, partitions, assignmentEpochs } of topics) {
    // Brokers before 4.2 did not say: no commit of an earlier epoch is good then.
    const epochs = partitions.map((partition, index) =>
      [partition, assignmentEpochs?.[index] ?? memberEpoch] as const
    );
    if (epochs.length > 0) owned.set(topicId, new Map(epochs));
  }
  return owned;
}

/**
 * The consumers' own bytes, where the broker reads or writes them: subscriptions and assignments (KIP-429, KIP-792,
 * KIP-881).
 *
 * Classic members bring opaque bytes. The broker looks into them for two things: not to expire or delete offsets of a
 * topic that is being read, and to let members of the classic protocol take part in a consumer group.
 */

import { Reader, WireError, Writer } from "../../protocol/bytes.ts";
import { codec } from "../../protocol/compile.ts";
import {
  consumerProtocolAssignment,
  consumerProtocolSubscription,
} from "../../protocol/schemas/records/consumer_protocol.ts";

const HIGHEST_VERSION = 3;

/** Partitions by the topic's name. */
export type NamedPartitions = ReadonlyMap<string, readonly number[]>;

/** What a consumer says of itself. */
export interface ConsumerSubscription {
  readonly version: number;
  readonly topics: readonly string[];
  /** Empty where the consumer gives all up in a rebalance. */
  readonly owned: NamedPartitions;
  readonly rackId: string | null;
}

/** The topics in a subscription; null when the bytes are not a subscription. */
export function subscribedTopicsOf(metadata: Uint8Array): string[] | null {
  const reader = new Reader(metadata);
  try {
    if (reader.int16() < 0) return null;
    const count = reader.int32();
    // A topic takes two bytes at least: a count beyond that is a lie.
    if (count < 0 || count > reader.remaining / 2) return null;
    const topics: string[] = [];
    for (let i = 0; i < count; i++) topics.push(reader.string());
    return topics;
  } catch (error) {
    if (error instanceof WireError) return null;
    throw error;
  }
}

/** Reads a subscription of any version; null when the bytes are none. What newer versions add is not read. */
export function decodeSubscription(metadata: Uint8Array): ConsumerSubscription | null {
  return decodeOrNull(metadata, (reader, version) => {
    const decoded = codec(consumerProtocolSubscription, version).decode(reader);
    return {
      version,
      topics: decoded.topics,
      owned: byTopic(decoded.ownedPartitions),
      rackId: decoded.rackId === "" ? null : decoded.rackId,
    };
  });
}

/** Reads an assignment of any version; null when the bytes are none. */
export function decodeAssignment(bytes: Uint8Array): NamedPartitions | null {
  return decodeOrNull(
    bytes,
    (reader, version) =>
      byTopic(codec(consumerProtocolAssignment, version).decode(reader).assignedPartitions),
  );
}

/** Writes an assignment in the version of the member's subscription. */
export function encodeAssignment(partitions: NamedPartitions, version: number): Uint8Array {
  const writer = new Writer();
  writer.int16(version);
  codec(consumerProtocolAssignment, version).encode(writer, {
    assignedPartitions: [...partitions].map(([topic, list]) => ({ topic, partitions: list })),
  });
  return writer.finish();
}

function decodeOrNull<T>(
  bytes: Uint8Array,
  decode: (reader: Reader, version: number) => T,
): T | null {
  const reader = new Reader(bytes);
  try {
    const version = reader.int16();
    return version < 0 ? null : decode(reader, Math.min(version, HIGHEST_VERSION));
  } catch (error) {
    if (error instanceof WireError) return null;
    throw error;
  }
}

function byTopic(
  topics: readonly { readonly topic: string; readonly partitions: readonly number[] }[],
): NamedPartitions {
  return new Map(topics.map(({ topic, partitions }) => [topic, partitions]));
}

/**
 * The little that the broker reads of a consumer's own bytes: which topics it is subscribed to.
 *
 * Classic members bring opaque metadata; for the protocol type "consumer" it is Kafka's
 * ConsumerProtocolSubscription, of which every version begins with a version and the topics. The broker
 * needs them for one thing: not to expire or delete offsets of a topic that is being read.
 */

import { Reader, WireError } from "../../protocol/bytes.ts";

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

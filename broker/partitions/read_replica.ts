/**
 * Which replica a consumer is to read from: one in its own rack, where the leader is in another (KIP-392).
 *
 * Kafka names the rule by a Java class, `replica.selector.class`; the one that Kafka ships is known here.
 */

import type { BrokerImage } from "../controller/metadata_image.ts";
import type { Partition } from "./partition.ts";

/** Kafka's name of the rule. */
export const RACK_AWARE_SELECTOR = "org.apache.kafka.common.replica.RackAwareReplicaSelector";

/** Who reads from where. */
export interface RackReader {
  /** Of the client; empty where it does not say. */
  readonly rackId: string;
  readonly nodeId: number;
  readonly brokers: ReadonlyMap<number, BrokerImage>;
  readonly fetchOffset: number;
}

/** The furthest in-sync follower in the client's rack that has what it asks for; −1 to read here. */
export function rackAwareReplica(partition: Partition, reader: RackReader): number {
  const { rackId, nodeId, brokers, fetchOffset } = reader;
  const { replicas } = partition;
  if (rackId === "" || replicas === null || brokers.get(nodeId)?.rack === rackId) return -1;
  const found = replicas.readersAt(fetchOffset).find((id) => {
    const broker = brokers.get(id);
    return broker?.rack === rackId && !broker.fenced;
  });
  return found ?? -1;
}

/**
 * The image as one client sees it: the brokers that it can reach over its listener, and for each partition
 * who leads, who follows and who is away.
 *
 * The node that the client talks to is named to it by the address that it reached (`advertisedHost`), so a
 * broker behind a forwarded port or a changed address needs no setting; the others by what they registered.
 */

import { ErrorCode } from "../../protocol/errors.ts";
import type { MetadataImage, PartitionImage } from "./metadata_image.ts";
import { hasOnlineDirectory } from "./partition_changes.ts";

/** Whom the answer is for. */
export interface Viewer {
  readonly listenerName: string;
  /** This node, as the client reached it. */
  readonly nodeId: number;
  readonly advertisedHost: string;
  readonly advertisedPort: number;
}

/** A broker at the address that the viewer is to use. */
export interface ReachableBroker {
  readonly id: number;
  readonly host: string;
  readonly port: number;
  readonly rack: string | null;
  readonly fenced: boolean;
}

/** Brokers with an address on the viewer's listener, by id. Fenced ones only when asked for. */
export function reachableBrokers(
  image: MetadataImage,
  viewer: Viewer,
  { includeFenced = false }: { readonly includeFenced?: boolean } = {},
): ReadonlyMap<number, ReachableBroker> {
  const brokers = new Map<number, ReachableBroker>();
  for (const { id, rack, fenced, endpoints } of image.brokers.values()) {
    if (fenced && !includeFenced) continue;
    if (id === viewer.nodeId) {
      const { advertisedHost: host, advertisedPort: port } = viewer;
      brokers.set(id, { id, host, port, rack, fenced });
      continue;
    }
    const endpoint = endpoints.find(({ name }) => name === viewer.listenerName);
    if (endpoint === undefined) continue;
    brokers.set(id, { id, host: endpoint.host, port: endpoint.port, rack, fenced });
  }
  return brokers;
}

/** The broker that clients are to send changes of the cluster to; −1 when there is none. */
export function controllerFor(
  controllerId: number,
  brokers: ReadonlyMap<number, ReachableBroker>,
): number {
  if (brokers.has(controllerId)) return controllerId;
  // Any broker forwards to the controller.
  return brokers.keys().next().value ?? -1;
}

/** One partition as the viewer sees it. */
export interface PartitionView {
  readonly errorCode: ErrorCode;
  readonly partitionIndex: number;
  /** −1 while the leader is away. */
  readonly leaderId: number;
  readonly leaderEpoch: number;
  readonly replicaNodes: readonly number[];
  readonly isrNodes: readonly number[];
  readonly offlineReplicas: readonly number[];
}

/** What the viewer is told of a partition. */
export function viewPartition(
  image: MetadataImage,
  partition: PartitionImage,
  brokers: ReadonlyMap<number, ReachableBroker>,
): PartitionView {
  const { leader } = partition;
  const isReachable = brokers.has(leader);
  const isLeaderUp = image.brokers.get(leader)?.fenced === false;
  return {
    errorCode: isReachable
      ? ErrorCode.NONE
      : isLeaderUp
      ? ErrorCode.LISTENER_NOT_FOUND
      : ErrorCode.LEADER_NOT_AVAILABLE,
    partitionIndex: partition.partition,
    leaderId: isReachable ? leader : -1,
    leaderEpoch: partition.leaderEpoch,
    replicaNodes: partition.replicas,
    isrNodes: partition.isr,
    offlineReplicas: partition.replicas.filter((id, i) =>
      !brokers.has(id) || !hasOnlineDirectory(image.brokers.get(id)!, partition.directories[i])
    ),
  };
}

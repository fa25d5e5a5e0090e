/**
 * What it means in records that a broker has put replicas into log directories (KIP-858).
 *
 * Pure: an image and the assignments in; records, and an answer for each assignment, out. Who holds, leads
 * and follows a partition stays as it is; its epoch grows, as with every change.
 *
 * Source: Kafka's ReplicationControlManager, handleAssignReplicasToDirs.
 */

import { ErrorCode } from "../../protocol/errors.ts";
import type { Uuid } from "../../protocol/types.ts";
import type { MetadataImage } from "./metadata_image.ts";
import type { MetadataRecord } from "./metadata_records.ts";
import type { Plan } from "./topic_changes.ts";

/** A replica of the broker that asks, and where it lies. */
export interface DirectoryAssignment {
  readonly topicId: Uuid;
  readonly partition: number;
  readonly directoryId: Uuid;
}

/** What became of an assignment. */
export interface DirectoryAssigned {
  readonly assignment: DirectoryAssignment;
  readonly error: ErrorCode;
}

/** Plans the assignments of one broker. Shape: a replica is named at most once. */
export function planDirectoryAssignments(
  image: MetadataImage,
  brokerId: number,
  assignments: readonly DirectoryAssignment[],
): Plan<DirectoryAssigned> {
  const records: MetadataRecord[] = [];
  const results: DirectoryAssigned[] = [];
  for (const assignment of assignments) {
    const { topicId, partition: partitionId, directoryId } = assignment;
    const topic = image.topicById(topicId);
    const partition = topic?.partitions[partitionId];
    const at = partition?.replicas.indexOf(brokerId) ?? -1;
    if (topic === undefined) results.push({ assignment, error: ErrorCode.UNKNOWN_TOPIC_ID });
    else if (partition === undefined) {
      results.push({ assignment, error: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION });
    } else if (at < 0) results.push({ assignment, error: ErrorCode.NOT_LEADER_OR_FOLLOWER });
    else {
      results.push({ assignment, error: ErrorCode.NONE });
      if (partition.directories[at] === directoryId) continue;
      records.push({
        type: "PartitionChangeRecord",
        value: { topicId, partitionId, directories: partition.directories.with(at, directoryId) },
      });
    }
  }
  return { records, results };
}

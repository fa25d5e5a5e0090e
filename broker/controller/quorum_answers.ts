/**
 * What the answers of the quorum's APIs have in common: one topic with one partition, the leader and where it is,
 * and the refusal of nodes of another cluster.
 */

import { ErrorCode } from "../../protocol/errors.ts";
import type { AnswerHead } from "./raft_messages.ts";
import { METADATA_TOPIC, type Quorum } from "./quorum.ts";

/** The one partition of the metadata log. */
export const METADATA_PARTITION = 0;

/** What the handlers work with. */
export interface QuorumSubsystems {
  readonly clusterId: string;
  readonly controller: { readonly quorum: Quorum };
}

/** Why the sender is refused at once; NONE when it is not. */
export function refuseCluster(
  { clusterId }: Pick<QuorumSubsystems, "clusterId">,
  asked: string | null,
): ErrorCode {
  const isOther = asked !== null && asked !== clusterId;
  return isOther ? ErrorCode.INCONSISTENT_CLUSTER_ID : ErrorCode.NONE;
}

/**
 * The partition that a request names; null for any other than one of the metadata log alone.
 * Shape: the element of the request.
 */
export function onlyPartition<
  Partition extends { readonly partitionIndex: number },
>(
  topics: readonly { readonly topicName: string; readonly partitions: readonly Partition[] }[],
): Partition | null {
  const partition = topics[0]?.partitions[0];
  const isOne = topics.length === 1 && topics[0]!.partitions.length === 1 &&
    topics[0]!.topicName === METADATA_TOPIC;
  return isOne && partition?.partitionIndex === METADATA_PARTITION ? partition : null;
}

/** The list with the leader's address, empty when that is not known. */
export function leaderNodes({ leaderId, leaderAddress }: AnswerHead) {
  return leaderId < 0 || leaderAddress === null ? [] : [{ nodeId: leaderId, ...leaderAddress }];
}

/** The answer of one partition with the leader. */
export function partitionAnswer<Fields extends object>(
  { error, leaderId, leaderEpoch }: AnswerHead,
  fields: Fields,
) {
  const partition = {
    partitionIndex: METADATA_PARTITION,
    errorCode: error,
    leaderId,
    leaderEpoch,
    ...fields,
  };
  return [{ topicName: METADATA_TOPIC, partitions: [partition] }];
}

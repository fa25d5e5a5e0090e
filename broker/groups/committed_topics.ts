/**
 * The topics of OffsetCommit and TxnOffsetCommit: those partitions that exist are committed, the others are answered
 * as unknown, and the answer has the request's order.
 */

import { ErrorCode } from "../../protocol/errors.ts";
import { leaderEpoch, offset, type Uuid, ZERO_UUID } from "../../protocol/types.ts";
import type { MetadataImage } from "../controller/metadata_image.ts";
import type { CommitOffsets, GroupRefusal } from "./coordinator.ts";

/** A topic as a request names it, by its name or its id. */
export interface RequestedTopic {
  readonly name: string;
  readonly topicId: Uuid;
  readonly partitions: readonly {
    readonly partitionIndex: number;
    readonly committedOffset: number;
    readonly committedLeaderEpoch: number;
    readonly committedMetadata: string | null;
  }[];
}

/** Topics of an answer. */
type AnswerTopics = readonly {
  readonly name: string;
  readonly topicId: Uuid;
  readonly partitions: readonly {
    readonly partitionIndex: number;
    readonly errorCode: ErrorCode;
  }[];
}[];

/** What of a request is to be committed, and how its answer is made of what became of that. */
export interface CommittedTopics {
  readonly offsets: CommitOffsets["offsets"];
  /** Takes one error code for each of `offsets`, in order, or one for all. */
  answer(errors: readonly ErrorCode[] | GroupRefusal): AnswerTopics;
}

/** Tells the partitions that exist from the others. Errors: UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID. */
export function committedTopics(
  topics: readonly RequestedTopic[],
  image: MetadataImage,
  usesIds: boolean,
): CommittedTopics {
  const known = new Map(topics.map((topic) => [
    topic,
    usesIds ? image.topicById(topic.topicId) : image.topicByName(topic.name),
  ]));
  function errorOf(topic: RequestedTopic, partition: number): ErrorCode {
    const found = known.get(topic);
    if (found === undefined && usesIds) return ErrorCode.UNKNOWN_TOPIC_ID;
    return found?.partitions[partition] === undefined
      ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
      : ErrorCode.NONE;
  }
  const offsets = topics.flatMap((topic) => (
    topic.partitions
      .filter(({ partitionIndex }) => errorOf(topic, partitionIndex) === ErrorCode.NONE)
      .map((partition) => ({
        topic: known.get(topic)?.name ?? topic.name,
        topicId: known.get(topic)?.id ?? ZERO_UUID,
        partition: partition.partitionIndex,
        offset: offset(partition.committedOffset),
        leaderEpoch: leaderEpoch(partition.committedLeaderEpoch),
        metadata: partition.committedMetadata,
      }))
  ));
  return {
    offsets,
    answer(errors) {
      let index = 0;
      const next = () => "error" in errors ? errors.error : errors[index++] ?? ErrorCode.NONE;
      return topics.map((topic) => ({
        name: topic.name,
        topicId: topic.topicId,
        partitions: topic.partitions.map(({ partitionIndex }) => {
          const own = errorOf(topic, partitionIndex);
          return { partitionIndex, errorCode: own === ErrorCode.NONE ? next() : own };
        }),
      }));
    },
  };
}

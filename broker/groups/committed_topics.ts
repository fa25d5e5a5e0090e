/**
 * The topics of OffsetCommit and TxnOffsetCommit: those partitions that exist are committed, the others are answered
 * as unknown, and the answer has the request's order.
 */

import { ErrorCode } from "../../protocol/errors.ts";
import { leaderEpoch, offset, type Uuid } from "../../protocol/types.ts";
import type { MetadataImage, TopicImage } from "../controller/metadata_image.ts";
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
  const images = topics.map(({ name, topicId }) => (
    usesIds ? image.topicById(topicId) : image.topicByName(name)
  ));
  const offsets: CommitOffsets["offsets"][number][] = [];
  for (let i = 0; i < topics.length; i++) {
    const found = images[i];
    if (found === undefined) continue;
    for (const partition of topics[i]!.partitions) {
      if (found.partitions[partition.partitionIndex] === undefined) continue;
      offsets.push({
        topic: found.name,
        topicId: found.id,
        partition: partition.partitionIndex,
        offset: offset(partition.committedOffset),
        leaderEpoch: leaderEpoch(partition.committedLeaderEpoch),
        metadata: partition.committedMetadata,
      });
    }
  }
  return {
    offsets,
    answer(errors) {
      let index = 0;
      return topics.map(({ name, topicId, partitions }, i) => ({
        name,
        topicId,
        partitions: partitions.map(({ partitionIndex }) => {
          const own = errorOf(images[i], partitionIndex, usesIds);
          if (own !== ErrorCode.NONE) return { partitionIndex, errorCode: own };
          const errorCode = "error" in errors ? errors.error : errors[index++] ?? ErrorCode.NONE;
          return { partitionIndex, errorCode };
        }),
      }));
    },
  };
}

function errorOf(found: TopicImage | undefined, partition: number, usesIds: boolean): ErrorCode {
  if (found === undefined && usesIds) return ErrorCode.UNKNOWN_TOPIC_ID;
  return found?.partitions[partition] === undefined
    ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    : ErrorCode.NONE;
}

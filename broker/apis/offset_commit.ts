/**
 * OffsetCommit (key 8), versions 2–10: how far a group has read.
 *
 * - v2–v4: a retention of the commit's own. v3: throttle time. v6: leader epochs (KIP-320).
 * - v7: static members (KIP-345). v8: flexible. v9: GROUP_ID_NOT_FOUND, STALE_MEMBER_EPOCH (KIP-848).
 * - v10: topics by id (KIP-848).
 *
 * The answer waits until the offsets are committed to `__consumer_offsets`: they are on stable storage.
 *
 * Gaps: groups of the consumer protocol.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  type OffsetCommitRequest,
  offsetCommitRequest,
  offsetCommitResponse,
} from "../../protocol/schemas/offset_commit.ts";
import { leaderEpoch, offset, ZERO_UUID } from "../../protocol/types.ts";
import type { Controller } from "../controller/controller.ts";
import type { MetadataImage } from "../controller/metadata_image.ts";
import type { CommitOffsets, GroupCoordinator } from "../groups/coordinator.ts";
import { type Api, defineApi } from "./api.ts";

const GROUP_ID_NOT_FOUND_VERSION = 9;
const TOPIC_ID_VERSION = 10;

interface Subsystems {
  readonly controller: Controller;
  readonly groupCoordinator: GroupCoordinator;
}

type RequestTopic = OffsetCommitRequest["topics"][number];

/** Answers OffsetCommit. */
export function offsetCommitApi({ controller, groupCoordinator }: Subsystems): Api {
  return defineApi({
    key: ApiKey.OffsetCommit,
    request: offsetCommitRequest,
    response: offsetCommitResponse,
    versions: { lowest: 2, highest: 10 },
    handle(request, { apiVersion }) {
      const { errorOf, offsets } = sortOut(request.topics, controller.image(), apiVersion);
      const outcome = groupCoordinator.commitOffsets({
        groupId: request.groupId,
        memberId: request.memberId,
        groupInstanceId: request.groupInstanceId,
        generationId: request.generationIdOrMemberEpoch,
        knowsGroupIdNotFound: apiVersion >= GROUP_ID_NOT_FOUND_VERSION,
        retentionTimeMs: request.retentionTimeMs,
        offsets,
      });
      const answer = (errors: Awaited<typeof outcome>) => {
        let index = 0;
        return {
          throttleTimeMs: 0,
          topics: request.topics.map((topic) => ({
            name: topic.name,
            topicId: topic.topicId,
            partitions: topic.partitions.map(({ partitionIndex }) => {
              const own = errorOf(topic, partitionIndex);
              if (own !== ErrorCode.NONE) return { partitionIndex, errorCode: own };
              const errorCode = "error" in errors
                ? errors.error
                : errors[index++] ?? ErrorCode.NONE;
              return { partitionIndex, errorCode };
            }),
          })),
        };
      };
      return outcome instanceof Promise ? outcome.then(answer) : answer(outcome);
    },
  });
}

/** Tells the partitions that exist from the others. */
function sortOut(topics: readonly RequestTopic[], image: MetadataImage, apiVersion: number): {
  readonly errorOf: (topic: RequestTopic, partition: number) => ErrorCode;
  readonly offsets: CommitOffsets["offsets"];
} {
  const usesIds = apiVersion >= TOPIC_ID_VERSION;
  const known = new Map(topics.map((topic) => [
    topic,
    usesIds ? image.topicById(topic.topicId) : image.topicByName(topic.name),
  ]));
  function errorOf(topic: RequestTopic, partition: number): ErrorCode {
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
  return { errorOf, offsets };
}

/**
 * OffsetDelete (key 47), version 0: takes back committed offsets of topics that nobody in the group reads.
 *
 * The answer waits until the deletion is committed to `__consumer_offsets`. Source: KIP-496.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { offsetDeleteRequest, offsetDeleteResponse } from "../../protocol/schemas/offset_delete.ts";
import type { Controller } from "../controller/controller.ts";
import type { GroupCoordinator } from "../groups/coordinator.ts";
import { type Api, defineApi } from "./api.ts";

interface Subsystems {
  readonly controller: Controller;
  readonly groupCoordinator: GroupCoordinator;
}

/** Answers OffsetDelete. */
export function offsetDeleteApi({ controller, groupCoordinator }: Subsystems): Api {
  return defineApi({
    key: ApiKey.OffsetDelete,
    request: offsetDeleteRequest,
    response: offsetDeleteResponse,
    versions: { lowest: 0, highest: 0 },
    async handle({ groupId, topics }) {
      const image = controller.image();
      const isKnown = (topic: string, partition: number): boolean => (
        image.topicByName(topic)?.partitions[partition] !== undefined
      );
      const keys = topics.flatMap(({ name, partitions }) => (
        partitions.filter(({ partitionIndex }) => isKnown(name, partitionIndex))
          .map(({ partitionIndex }) => ({ topic: name, partition: partitionIndex }))
      ));
      const errors = await groupCoordinator.deleteOffsets(groupId, keys);
      if ("error" in errors) return { errorCode: errors.error, throttleTimeMs: 0, topics: [] };
      let index = 0;
      return {
        errorCode: ErrorCode.NONE,
        throttleTimeMs: 0,
        topics: topics.map(({ name, partitions }) => ({
          name,
          partitions: partitions.map(({ partitionIndex }) => ({
            partitionIndex,
            errorCode: isKnown(name, partitionIndex)
              ? errors[index++] ?? ErrorCode.NONE
              : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
          })),
        })),
      };
    },
  });
}

/**
 * OffsetCommit (key 8), versions 2–10: how far a group has read.
 *
 * - v2–v4: a retention of the commit's own. v3: throttle time. v6: leader epochs (KIP-320).
 * - v7: static members (KIP-345). v8: flexible. v9: GROUP_ID_NOT_FOUND, STALE_MEMBER_EPOCH (KIP-848).
 * - v10: topics by id (KIP-848).
 *
 * The answer waits until the offsets are committed to `__consumer_offsets`: they are on stable storage.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { offsetCommitRequest, offsetCommitResponse } from "../../protocol/schemas/offset_commit.ts";
import type { Controller } from "../controller/controller.ts";
import { committedTopics } from "../groups/committed_topics.ts";
import type { GroupCoordinator } from "../groups/coordinator.ts";
import { type Api, defineApi } from "./api.ts";

const GROUP_ID_NOT_FOUND_VERSION = 9;
const TOPIC_ID_VERSION = 10;

interface Subsystems {
  readonly controller: Controller;
  readonly groupCoordinator: GroupCoordinator;
}

/** Answers OffsetCommit. */
export function offsetCommitApi({ controller, groupCoordinator }: Subsystems): Api {
  return defineApi({
    key: ApiKey.OffsetCommit,
    request: offsetCommitRequest,
    response: offsetCommitResponse,
    versions: { lowest: 2, highest: 10 },
    handle(request, { apiVersion }) {
      const usesIds = apiVersion >= TOPIC_ID_VERSION;
      const { offsets, answer } = committedTopics(request.topics, controller.image(), usesIds);
      const outcome = groupCoordinator.commitOffsets({
        groupId: request.groupId,
        memberId: request.memberId,
        groupInstanceId: request.groupInstanceId,
        generationId: request.generationIdOrMemberEpoch,
        knowsGroupIdNotFound: apiVersion >= GROUP_ID_NOT_FOUND_VERSION,
        retentionTimeMs: request.retentionTimeMs,
        offsets,
      });
      const answered = (errors: Awaited<typeof outcome>) => ({
        throttleTimeMs: 0,
        topics: answer(errors),
      });
      return outcome instanceof Promise ? outcome.then(answered) : answered(outcome);
    },
  });
}

/**
 * EndQuorumEpoch (key 54), versions 0–1: a leader of the metadata log steps down and names successors (KIP-595).
 *
 * - v1: flexible; directories and endpoints (KIP-853).
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  endQuorumEpochRequest,
  endQuorumEpochResponse,
} from "../../protocol/schemas/end_quorum_epoch.ts";
import { type Uuid, ZERO_UUID } from "../../protocol/types.ts";
import { type Api, defineApi } from "./api.ts";
import {
  leaderNodes,
  onlyPartition,
  partitionAnswer,
  type QuorumSubsystems,
  refuseCluster,
} from "../controller/quorum_answers.ts";

const DIRECTORIES_FROM = 1;

/** Answers EndQuorumEpoch. */
export function endQuorumEpochApi(subsystems: QuorumSubsystems): Api {
  return defineApi({
    key: ApiKey.EndQuorumEpoch,
    request: endQuorumEpochRequest,
    response: endQuorumEpochResponse,
    versions: { lowest: 0, highest: 1 },
    async handle({ clusterId, topics, leaderEndpoints }, { apiVersion }) {
      const errorCode = refuseCluster(subsystems, clusterId);
      const asked = onlyPartition(topics);
      if (errorCode !== ErrorCode.NONE || asked === null) {
        return { errorCode: errorCode || ErrorCode.INVALID_REQUEST, topics: [] };
      }
      const preferredCandidates = apiVersion >= DIRECTORIES_FROM
        ? asked.preferredCandidates.map(({ candidateId, candidateDirectoryId }) => (
          { id: candidateId, directoryId: candidateDirectoryId as Uuid }
        ))
        : asked.preferredSuccessors.map((id) => ({ id, directoryId: ZERO_UUID }));
      const answer = await subsystems.controller.quorum.handle({
        kind: "endQuorumEpoch",
        leaderId: asked.leaderId,
        leaderEpoch: asked.leaderEpoch,
        preferredCandidates,
        leaderEndpoints,
      });
      return {
        errorCode: ErrorCode.NONE,
        topics: partitionAnswer(answer, {}),
        nodeEndpoints: leaderNodes(answer),
      };
    },
  });
}

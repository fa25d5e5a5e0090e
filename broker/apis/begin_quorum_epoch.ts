/**
 * BeginQuorumEpoch (key 53), versions 0–1: a new leader of the metadata log tells a voter (KIP-595).
 *
 * - v1: flexible; ids, directories and endpoints (KIP-853).
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  beginQuorumEpochRequest,
  beginQuorumEpochResponse,
} from "../../protocol/schemas/begin_quorum_epoch.ts";
import type { Uuid } from "../../protocol/types.ts";
import { type Api, defineApi } from "./api.ts";
import {
  leaderNodes,
  onlyPartition,
  partitionAnswer,
  type QuorumSubsystems,
  refuseCluster,
} from "../controller/quorum_answers.ts";

/** Answers BeginQuorumEpoch. */
export function beginQuorumEpochApi(subsystems: QuorumSubsystems): Api {
  return defineApi({
    key: ApiKey.BeginQuorumEpoch,
    request: beginQuorumEpochRequest,
    response: beginQuorumEpochResponse,
    versions: { lowest: 0, highest: 1 },
    async handle({ clusterId, voterId, topics, leaderEndpoints }) {
      const errorCode = refuseCluster(subsystems, clusterId);
      const asked = onlyPartition(topics);
      if (errorCode !== ErrorCode.NONE || asked === null) {
        return { errorCode: errorCode || ErrorCode.INVALID_REQUEST, topics: [] };
      }
      const answer = await subsystems.controller.quorum.handle({
        kind: "beginQuorumEpoch",
        leaderId: asked.leaderId,
        leaderEpoch: asked.leaderEpoch,
        voter: voterId < 0 ? null : { id: voterId, directoryId: asked.voterDirectoryId as Uuid },
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

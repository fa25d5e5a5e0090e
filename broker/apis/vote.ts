/**
 * Vote (key 52), versions 0–2: a replica of the metadata log asks for a vote (KIP-595).
 *
 * - v1: ids and directories of voters (KIP-853). v2: pre-votes (KIP-996).
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { voteRequest, voteResponse } from "../../protocol/schemas/vote.ts";
import type { Uuid } from "../../protocol/types.ts";
import { type Api, defineApi } from "./api.ts";
import {
  leaderNodes,
  onlyPartition,
  partitionAnswer,
  type QuorumSubsystems,
  refuseCluster,
} from "../controller/quorum_answers.ts";

/** Answers Vote. */
export function voteApi(subsystems: QuorumSubsystems): Api {
  return defineApi({
    key: ApiKey.Vote,
    request: voteRequest,
    response: voteResponse,
    versions: { lowest: 0, highest: 2 },
    async handle({ clusterId, voterId, topics }) {
      const errorCode = refuseCluster(subsystems, clusterId);
      const asked = onlyPartition(topics);
      if (errorCode !== ErrorCode.NONE || asked === null) {
        return { errorCode: errorCode || ErrorCode.INVALID_REQUEST, topics: [] };
      }
      const answer = await subsystems.controller.quorum.handle({
        kind: "vote",
        candidate: { id: asked.replicaId, directoryId: asked.replicaDirectoryId as Uuid },
        candidateEpoch: asked.replicaEpoch,
        voter: voterId < 0 ? null : { id: voterId, directoryId: asked.voterDirectoryId as Uuid },
        last: { offset: asked.lastOffset, epoch: asked.lastOffsetEpoch },
        isPreVote: asked.preVote,
      });
      return {
        errorCode: ErrorCode.NONE,
        topics: partitionAnswer(answer, { voteGranted: answer.isGranted }),
        nodeEndpoints: leaderNodes(answer),
      };
    },
  });
}

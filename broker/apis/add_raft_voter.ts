/**
 * AddRaftVoter (key 80), versions 0–1: makes a replica of the metadata log a voter (KIP-853).
 *
 * - v1: may be answered before it is committed (KIP-1186).
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode, errorMessage } from "../../protocol/errors.ts";
import {
  addRaftVoterRequest,
  addRaftVoterResponse,
} from "../../protocol/schemas/add_raft_voter.ts";
import { type Uuid, ZERO_UUID } from "../../protocol/types.ts";
import { type Api, defineApi } from "./api.ts";
import { type QuorumSubsystems, refuseCluster } from "../controller/quorum_answers.ts";

/** Answers AddRaftVoter. */
export function addRaftVoterApi(subsystems: QuorumSubsystems): Api {
  return defineApi({
    key: ApiKey.AddRaftVoter,
    request: addRaftVoterRequest,
    response: addRaftVoterResponse,
    versions: { lowest: 0, highest: 1 },
    isForwarded: true,
    async handle(request) {
      const refused = refuseCluster(subsystems, request.clusterId);
      if (refused !== ErrorCode.NONE) {
        return { throttleTimeMs: 0, errorCode: refused, errorMessage: errorMessage(refused) };
      }
      const directoryId = request.voterDirectoryId as Uuid;
      if (request.voterId < 0 || directoryId === ZERO_UUID) {
        return {
          throttleTimeMs: 0,
          errorCode: ErrorCode.INVALID_REQUEST,
          errorMessage: "Add voter request didn't include a valid voter",
        };
      }
      const { error, message } = await subsystems.controller.quorum.addVoter({
        voter: {
          id: request.voterId,
          directoryId,
          endpoints: request.listeners,
          minKraftVersion: 0,
          maxKraftVersion: 0,
        },
        timeoutMs: request.timeoutMs,
        ackWhenCommitted: request.ackWhenCommitted,
      });
      return { throttleTimeMs: 0, errorCode: error, errorMessage: message };
    },
  });
}

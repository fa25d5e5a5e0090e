/**
 * RemoveRaftVoter (key 81), version 0: takes a voter of the metadata log out (KIP-853).
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode, errorMessage } from "../../protocol/errors.ts";
import {
  removeRaftVoterRequest,
  removeRaftVoterResponse,
} from "../../protocol/schemas/remove_raft_voter.ts";
import { type Uuid, ZERO_UUID } from "../../protocol/types.ts";
import { type Api, defineApi } from "./api.ts";
import { type QuorumSubsystems, refuseCluster } from "../controller/quorum_answers.ts";

/** Answers RemoveRaftVoter. */
export function removeRaftVoterApi(subsystems: QuorumSubsystems): Api {
  return defineApi({
    key: ApiKey.RemoveRaftVoter,
    request: removeRaftVoterRequest,
    response: removeRaftVoterResponse,
    versions: { lowest: 0, highest: 0 },
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
          errorMessage: "Remove voter request didn't include a valid voter",
        };
      }
      const voter = { id: request.voterId, directoryId };
      const { error, message } = await subsystems.controller.quorum.removeVoter({ voter });
      return { throttleTimeMs: 0, errorCode: error, errorMessage: message };
    },
  });
}

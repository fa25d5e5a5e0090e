/**
 * UpdateRaftVoter (key 82), version 0: a voter of the metadata log tells the leader where it listens and what it
 * can do (KIP-853).
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  updateRaftVoterRequest,
  updateRaftVoterResponse,
} from "../../protocol/schemas/update_raft_voter.ts";
import type { Uuid } from "../../protocol/types.ts";
import { type Api, defineApi } from "./api.ts";
import { type QuorumSubsystems, refuseCluster } from "../controller/quorum_answers.ts";

/** Answers UpdateRaftVoter. */
export function updateRaftVoterApi(subsystems: QuorumSubsystems): Api {
  return defineApi({
    key: ApiKey.UpdateRaftVoter,
    request: updateRaftVoterRequest,
    response: updateRaftVoterResponse,
    versions: { lowest: 0, highest: 0 },
    async handle(request) {
      const refused = refuseCluster(subsystems, request.clusterId);
      const { minSupportedVersion, maxSupportedVersion } = request.kRaftVersionFeature;
      const isInvalid = request.listeners.length === 0 || minSupportedVersion < 0 ||
        maxSupportedVersion < minSupportedVersion;
      if (refused !== ErrorCode.NONE || isInvalid) {
        return { throttleTimeMs: 0, errorCode: refused || ErrorCode.INVALID_REQUEST };
      }
      const { error, leaderId, leaderEpoch, leaderAddress } = await subsystems.controller.quorum
        .handle({
          kind: "updateVoter",
          currentLeaderEpoch: request.currentLeaderEpoch,
          voter: {
            id: request.voterId,
            directoryId: request.voterDirectoryId as Uuid,
            endpoints: request.listeners,
            minKraftVersion: minSupportedVersion,
            maxKraftVersion: maxSupportedVersion,
          },
        });
      const address = leaderAddress ?? { host: "", port: 0 };
      return {
        throttleTimeMs: 0,
        errorCode: error,
        currentLeader: { leaderId, leaderEpoch, ...address },
      };
    },
  });
}

/**
 * FetchSnapshot (key 59), versions 0–1: a replica of the metadata log reads a piece of a snapshot (KIP-630).
 *
 * - v1: the replica's directory, and where the leader is (KIP-853).
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  fetchSnapshotRequest,
  fetchSnapshotResponse,
} from "../../protocol/schemas/fetch_snapshot.ts";
import type { Uuid } from "../../protocol/types.ts";
import { METADATA_TOPIC } from "../controller/quorum.ts";
import { type Api, defineApi } from "./api.ts";
import {
  leaderNodes,
  METADATA_PARTITION,
  type QuorumSubsystems,
  refuseCluster,
} from "../controller/quorum_answers.ts";

/** Answers FetchSnapshot. */
export function fetchSnapshotApi(subsystems: QuorumSubsystems): Api {
  return defineApi({
    key: ApiKey.FetchSnapshot,
    request: fetchSnapshotRequest,
    response: fetchSnapshotResponse,
    versions: { lowest: 0, highest: 1 },
    async handle({ clusterId, replicaId, maxBytes, topics }) {
      const errorCode = refuseCluster(subsystems, clusterId);
      const asked = topics[0]?.partitions[0];
      const isOne = topics.length === 1 && topics[0]!.partitions.length === 1 &&
        topics[0]!.name === METADATA_TOPIC && asked?.partition === METADATA_PARTITION;
      if (errorCode !== ErrorCode.NONE || !isOne) {
        return { throttleTimeMs: 0, errorCode: errorCode || ErrorCode.INVALID_REQUEST, topics: [] };
      }
      const reply = await subsystems.controller.quorum.handle({
        kind: "fetchSnapshot",
        replica: { id: replicaId, directoryId: asked!.replicaDirectoryId as Uuid },
        currentLeaderEpoch: asked!.currentLeaderEpoch,
        snapshotId: { offset: asked!.snapshotId.endOffset, epoch: asked!.snapshotId.epoch },
        position: asked!.position,
        maxBytes,
      });
      const { error, leaderId, leaderEpoch, snapshotId, position, sizeBytes, bytes } = reply;
      const partition = {
        index: METADATA_PARTITION,
        errorCode: error,
        snapshotId: { endOffset: snapshotId.offset, epoch: snapshotId.epoch },
        currentLeader: { leaderId, leaderEpoch },
        size: sizeBytes,
        position,
        unalignedRecords: bytes,
      };
      return {
        throttleTimeMs: 0,
        errorCode: ErrorCode.NONE,
        topics: [{ name: METADATA_TOPIC, partitions: [partition] }],
        nodeEndpoints: leaderNodes(reply),
      };
    },
  });
}

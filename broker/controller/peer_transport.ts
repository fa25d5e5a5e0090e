/**
 * The way of the quorum to its other nodes: the Raft machine's requests as Kafka's, over `Peers`.
 *
 * An answer that is an error as a whole (another cluster's node, say) tells of no leader: the machine takes it for
 * one of an epoch long ago, and tries again after its backoff.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { INT64_MAX } from "../../protocol/bytes.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { apiVersionsRequest, apiVersionsResponse } from "../../protocol/schemas/api_versions.ts";
import type { Decoded } from "../../protocol/schema.ts";
import {
  beginQuorumEpochRequest,
  beginQuorumEpochResponse,
} from "../../protocol/schemas/begin_quorum_epoch.ts";
import {
  endQuorumEpochRequest,
  endQuorumEpochResponse,
} from "../../protocol/schemas/end_quorum_epoch.ts";
import { fetchRequest, fetchResponse } from "../../protocol/schemas/fetch.ts";
import {
  fetchSnapshotRequest,
  fetchSnapshotResponse,
} from "../../protocol/schemas/fetch_snapshot.ts";
import {
  updateRaftVoterRequest,
  updateRaftVoterResponse,
} from "../../protocol/schemas/update_raft_voter.ts";
import { voteRequest, voteResponse } from "../../protocol/schemas/vote.ts";
import { METADATA_TOPIC_ID } from "../../protocol/types.ts";
import { call } from "../peers/call.ts";
import type { Peers } from "../peers/peers.ts";
import { METADATA_TOPIC, type QuorumTransport } from "./quorum.ts";
import type {
  Address,
  AnswerHead,
  BeginQuorumEpochRequest,
  Destination,
  EndQuorumEpochRequest,
  FetchReply,
  FetchRequest,
  FetchSnapshotAnswer,
  FetchSnapshotRequest,
  ProbeAnswer,
  RaftReply,
  RaftRequest,
  UpdateVoterRequest,
  VoteAnswer,
  VoteRequest,
} from "./raft_messages.ts";
import { ZERO_UUID } from "../../protocol/types.ts";

/** Versions from which on each says all that is needed: directories, pre-votes, endpoints. */
const VOTE = call(ApiKey.Vote, voteRequest, voteResponse, { lowest: 2 });
const BEGIN = call(ApiKey.BeginQuorumEpoch, beginQuorumEpochRequest, beginQuorumEpochResponse, {
  lowest: 1,
});
const END = call(ApiKey.EndQuorumEpoch, endQuorumEpochRequest, endQuorumEpochResponse, {
  lowest: 1,
});
const FETCH = call(ApiKey.Fetch, fetchRequest, fetchResponse, { lowest: 17 });
const FETCH_SNAPSHOT = call(ApiKey.FetchSnapshot, fetchSnapshotRequest, fetchSnapshotResponse, {
  lowest: 1,
});
const UPDATE_VOTER = call(
  ApiKey.UpdateRaftVoter,
  updateRaftVoterRequest,
  updateRaftVoterResponse,
);
/** Features whose lowest level is 0 are told from this version on. */
const API_VERSIONS = call(ApiKey.ApiVersions, apiVersionsRequest, apiVersionsResponse, {
  lowest: 4,
});
const METADATA_PARTITION = 0;
const KRAFT_VERSION_FEATURE = "kraft.version";
const EPOCH_LONG_AGO = -1;

/** What the transport needs. */
export interface PeerTransportOptions {
  readonly peers: Peers;
  readonly clusterId: string;
  readonly requestTimeoutMs: number;
}

type NodeEndpoints = readonly {
  readonly nodeId: number;
  readonly host: string;
  readonly port: number;
}[];

/** Sends what the quorum has to say. */
export class PeerTransport implements QuorumTransport {
  readonly #options: PeerTransportOptions;

  constructor(options: PeerTransportOptions) {
    this.#options = options;
  }

  send(to: Destination, channel: string, request: RaftRequest): Promise<RaftReply> {
    const options = { timeoutMs: this.#options.requestTimeoutMs, channel: `quorum ${channel}` };
    const at = { host: to.host, port: to.port };
    switch (request.kind) {
      case "vote":
        return this.#vote(at, request, options);
      case "beginQuorumEpoch":
        return this.#begin(at, request, options);
      case "endQuorumEpoch":
        return this.#end(at, request, options);
      case "fetch":
        return this.#fetch(at, request, options);
      case "fetchSnapshot":
        return this.#fetchSnapshot(at, request, options);
      case "updateVoter":
        return this.#updateVoter(at, request, options);
      case "probe":
        return this.#probe(at, options);
    }
  }

  async #vote(to: Address, request: VoteRequest, options: SendOptions): Promise<VoteAnswer> {
    const { peers, clusterId } = this.#options;
    const { candidate, candidateEpoch, voter, last, isPreVote } = request;
    const partition = {
      partitionIndex: METADATA_PARTITION,
      replicaEpoch: candidateEpoch,
      replicaId: candidate.id,
      replicaDirectoryId: candidate.directoryId,
      voterDirectoryId: voter?.directoryId ?? ZERO_UUID,
      lastOffsetEpoch: last.epoch,
      lastOffset: last.offset,
      preVote: isPreVote,
    };
    const answer = await peers.send(to, VOTE, {
      clusterId,
      voterId: voter?.id ?? -1,
      topics: [{ topicName: METADATA_TOPIC, partitions: [partition] }],
    }, options);
    const found = answer.topics[0]?.partitions[0];
    const isGranted = found?.voteGranted ?? false;
    return { kind: "vote", isGranted, ...headOf(answer.errorCode, found, answer.nodeEndpoints) };
  }

  async #begin(
    to: Address,
    request: BeginQuorumEpochRequest,
    options: SendOptions,
  ): Promise<RaftReply> {
    const { peers, clusterId } = this.#options;
    const { leaderId, leaderEpoch, voter, leaderEndpoints } = request;
    const partition = {
      partitionIndex: METADATA_PARTITION,
      voterDirectoryId: voter?.directoryId ?? ZERO_UUID,
      leaderId,
      leaderEpoch,
    };
    const answer = await peers.send(to, BEGIN, {
      clusterId,
      voterId: voter?.id ?? -1,
      topics: [{ topicName: METADATA_TOPIC, partitions: [partition] }],
      leaderEndpoints,
    }, options);
    const found = answer.topics[0]?.partitions[0];
    return { kind: "beginQuorumEpoch", ...headOf(answer.errorCode, found, answer.nodeEndpoints) };
  }

  async #end(
    to: Address,
    request: EndQuorumEpochRequest,
    options: SendOptions,
  ): Promise<RaftReply> {
    const { peers, clusterId } = this.#options;
    const { leaderId, leaderEpoch, preferredCandidates, leaderEndpoints } = request;
    const partition = {
      partitionIndex: METADATA_PARTITION,
      leaderId,
      leaderEpoch,
      preferredSuccessors: [],
      preferredCandidates: preferredCandidates.map(({ id, directoryId }) => (
        { candidateId: id, candidateDirectoryId: directoryId }
      )),
    };
    const answer = await peers.send(to, END, {
      clusterId,
      topics: [{ topicName: METADATA_TOPIC, partitions: [partition] }],
      leaderEndpoints,
    }, options);
    const found = answer.topics[0]?.partitions[0];
    return { kind: "endQuorumEpoch", ...headOf(answer.errorCode, found, answer.nodeEndpoints) };
  }

  async #fetch(to: Address, request: FetchRequest, options: SendOptions): Promise<FetchReply> {
    const { peers, clusterId } = this.#options;
    const { replica, last, highWatermark, maxWaitMs, maxBytes } = request;
    const partition = {
      partition: METADATA_PARTITION,
      currentLeaderEpoch: request.currentLeaderEpoch,
      fetchOffset: last.offset,
      lastFetchedEpoch: last.epoch,
      partitionMaxBytes: maxBytes,
      replicaDirectoryId: replica.directoryId,
      highWatermark: highWatermark === Infinity ? INT64_MAX : highWatermark,
    };
    const answer = await peers.send(to, FETCH, {
      clusterId,
      replicaState: { replicaId: replica.id },
      maxWaitMs,
      minBytes: 0,
      maxBytes,
      topics: [{ topicId: METADATA_TOPIC_ID, partitions: [partition] }],
      forgottenTopicsData: [],
    }, options);
    return fetchReply(answer);
  }

  async #fetchSnapshot(
    to: Address,
    request: FetchSnapshotRequest,
    options: SendOptions,
  ): Promise<FetchSnapshotAnswer> {
    const { peers, clusterId } = this.#options;
    const { replica, currentLeaderEpoch, snapshotId, position, maxBytes } = request;
    const partition = {
      partition: METADATA_PARTITION,
      currentLeaderEpoch,
      snapshotId: { endOffset: snapshotId.offset, epoch: snapshotId.epoch },
      position,
      replicaDirectoryId: replica.directoryId,
    };
    const answer = await peers.send(to, FETCH_SNAPSHOT, {
      clusterId,
      replicaId: replica.id,
      maxBytes,
      topics: [{ name: METADATA_TOPIC, partitions: [partition] }],
    }, options);
    const found = answer.topics[0]?.partitions[0];
    const leader = found && { errorCode: found.errorCode, ...found.currentLeader };
    return {
      kind: "fetchSnapshot",
      ...headOf(answer.errorCode, leader, answer.nodeEndpoints),
      snapshotId: {
        offset: found?.snapshotId.endOffset ?? -1,
        epoch: found?.snapshotId.epoch ?? -1,
      },
      position: found?.position ?? -1,
      sizeBytes: found?.size ?? 0,
      bytes: found?.unalignedRecords ?? new Uint8Array(0),
    };
  }

  async #updateVoter(
    to: Address,
    { currentLeaderEpoch, voter }: UpdateVoterRequest,
    options: SendOptions,
  ): Promise<RaftReply> {
    const { peers, clusterId } = this.#options;
    const { errorCode, currentLeader } = await peers.send(to, UPDATE_VOTER, {
      clusterId,
      currentLeaderEpoch,
      voterId: voter.id,
      voterDirectoryId: voter.directoryId,
      listeners: voter.endpoints,
      kRaftVersionFeature: {
        minSupportedVersion: voter.minKraftVersion,
        maxSupportedVersion: voter.maxKraftVersion,
      },
    }, options);
    const { leaderId, leaderEpoch, host, port } = currentLeader;
    const nodes = host === "" ? [] : [{ nodeId: leaderId, host, port }];
    return {
      kind: "updateVoter",
      ...headOf(ErrorCode.NONE, { errorCode, leaderId, leaderEpoch }, nodes),
    };
  }

  async #probe(to: Address, options: SendOptions): Promise<ProbeAnswer> {
    const answer = await this.#options.peers.send(to, API_VERSIONS, {
      clientSoftwareName: "weir",
      clientSoftwareVersion: "unknown",
    }, options);
    const found = answer.supportedFeatures.find(({ name }) => name === KRAFT_VERSION_FEATURE);
    return {
      kind: "probe",
      error: answer.errorCode as ErrorCode,
      minKraftVersion: found?.minVersion ?? 0,
      maxKraftVersion: found?.maxVersion ?? 0,
    };
  }
}

interface SendOptions {
  readonly timeoutMs: number;
  readonly channel: string;
}

function headOf(
  topLevelError: number,
  found:
    | { readonly errorCode: number; readonly leaderId: number; readonly leaderEpoch: number }
    | undefined,
  nodes: NodeEndpoints,
): AnswerHead {
  if (topLevelError !== ErrorCode.NONE || found === undefined) {
    const error = topLevelError === ErrorCode.NONE ? ErrorCode.INVALID_REQUEST : topLevelError;
    return {
      error: error as ErrorCode,
      leaderId: -1,
      leaderEpoch: EPOCH_LONG_AGO,
      leaderAddress: null,
    };
  }
  const { errorCode, leaderId, leaderEpoch } = found;
  const node = nodes.find(({ nodeId }) => nodeId === leaderId);
  return {
    error: errorCode as ErrorCode,
    leaderId,
    leaderEpoch,
    leaderAddress: node === undefined ? null : { host: node.host, port: node.port },
  };
}

function fetchReply(answer: Decoded<typeof fetchResponse>): FetchReply {
  const found = answer.responses[0]?.partitions[0];
  const leader = found && { errorCode: found.errorCode, ...found.currentLeader };
  const diverging = found?.divergingEpoch;
  const snapshotId = found?.snapshotId;
  return {
    kind: "fetch",
    ...headOf(answer.errorCode, leader, answer.nodeEndpoints),
    highWatermark: found?.highWatermark ?? -1,
    logStartOffset: found?.logStartOffset ?? -1,
    diverging: diverging === undefined || diverging.epoch < 0
      ? null
      : { offset: diverging.endOffset, epoch: diverging.epoch },
    snapshotId: snapshotId === undefined || snapshotId.epoch < 0 || snapshotId.endOffset < 0
      ? null
      : { offset: snapshotId.endOffset, epoch: snapshotId.epoch },
    records: found?.records ?? new Uint8Array(0),
  };
}

/**
 * What replicas of the metadata log say to each other, as the Raft machine sees it: Kafka's requests and answers
 * without topics, arrays of one and wire versions.
 *
 * Source: KIP-595 (Vote, BeginQuorumEpoch, EndQuorumEpoch, Fetch), KIP-630 (FetchSnapshot), KIP-853 (voters),
 * KIP-996 (pre-vote), KIP-1166 (the high watermark in a Fetch).
 */

import type { ErrorCode } from "../../protocol/errors.ts";
import type { OffsetAndEpoch } from "./raft_quorum.ts";
import type { ReplicaKey, Voter, VoterEndpoint, VoterSet } from "./raft_voters.ts";

/** Where a node is reached. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** A node to send to; `id` is −1 for one of which only the address is known. */
export interface Destination extends Address {
  readonly id: number;
}

/** Asks for a vote. */
export interface VoteRequest {
  readonly kind: "vote";
  readonly candidate: ReplicaKey;
  readonly candidateEpoch: number;
  /** Whom it is meant for; null where the sender does not say. */
  readonly voter: ReplicaKey | null;
  readonly last: OffsetAndEpoch;
  readonly isPreVote: boolean;
}

/** A new leader tells a voter. */
export interface BeginQuorumEpochRequest {
  readonly kind: "beginQuorumEpoch";
  readonly leaderId: number;
  readonly leaderEpoch: number;
  readonly voter: ReplicaKey | null;
  /** Empty where the sender does not say. */
  readonly leaderEndpoints: readonly VoterEndpoint[];
}

/** A leader steps down. */
export interface EndQuorumEpochRequest {
  readonly kind: "endQuorumEpoch";
  readonly leaderId: number;
  readonly leaderEpoch: number;
  /** Those with the longest logs first. */
  readonly preferredCandidates: readonly ReplicaKey[];
  readonly leaderEndpoints: readonly VoterEndpoint[];
}

/** A replica wants to go on after `last`, all before which it has on stable storage. */
export interface FetchRequest {
  readonly kind: "fetch";
  readonly replica: ReplicaKey;
  readonly currentLeaderEpoch: number;
  readonly last: OffsetAndEpoch;
  /** What the replica knows of it; Infinity when it does not say. */
  readonly highWatermark: number;
  readonly maxWaitMs: number;
  /** Of records, if a batch is not larger. */
  readonly maxBytes: number;
}

/** A replica wants a piece of a snapshot. */
export interface FetchSnapshotRequest {
  readonly kind: "fetchSnapshot";
  readonly replica: ReplicaKey;
  readonly currentLeaderEpoch: number;
  readonly snapshotId: OffsetAndEpoch;
  readonly position: number;
  readonly maxBytes: number;
}

/** A voter tells where it listens and what it can do. */
export interface UpdateVoterRequest {
  readonly kind: "updateVoter";
  readonly currentLeaderEpoch: number;
  readonly voter: Voter;
}

/** A replica that may become a voter is asked which `kraft.version` it supports. */
export interface ProbeRequest {
  readonly kind: "probe";
}

/** What the machine sends. */
export type RaftRequest =
  | VoteRequest
  | BeginQuorumEpochRequest
  | EndQuorumEpochRequest
  | FetchRequest
  | FetchSnapshotRequest
  | UpdateVoterRequest
  | ProbeRequest;

/** What every answer says about the leader. */
export interface AnswerHead {
  readonly error: ErrorCode;
  /** −1 when none is known. */
  readonly leaderId: number;
  readonly leaderEpoch: number;
  /** Null when it is not known. */
  readonly leaderAddress: Address | null;
}

/** Answers Vote. */
export interface VoteAnswer extends AnswerHead {
  readonly kind: "vote";
  readonly isGranted: boolean;
}

interface PlainAnswerOf<Kind extends string> extends AnswerHead {
  readonly kind: Kind;
}

/** Answers BeginQuorumEpoch, EndQuorumEpoch and UpdateRaftVoter. */
export type PlainAnswer =
  | PlainAnswerOf<"beginQuorumEpoch">
  | PlainAnswerOf<"endQuorumEpoch">
  | PlainAnswerOf<"updateVoter">;

interface FetchAnswerBase extends AnswerHead {
  readonly kind: "fetch";
  /** −1 when the leader does not know it yet. */
  readonly highWatermark: number;
  readonly logStartOffset: number;
  readonly diverging: OffsetAndEpoch | null;
  readonly snapshotId: OffsetAndEpoch | null;
}

/** Answers Fetch, as it is decided: records are read from the log when the answer leaves. */
export interface FetchDecision extends FetchAnswerBase {
  /** Null for no records. */
  readonly readFrom: number | null;
  readonly maxBytes: number;
}

/** One batch of a Fetch's answer. */
export interface FetchedBatch {
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly epoch: number;
  /** What its control records say. */
  readonly changes: readonly QuorumChange[];
}

/** A control record that changes who votes, or how. */
export type QuorumChange =
  | { readonly kind: "voters"; readonly offset: number; readonly voters: VoterSet }
  | { readonly kind: "kraftVersion"; readonly offset: number; readonly version: number };

/** Answers Fetch, as it goes over the wire. */
export interface FetchReply extends FetchAnswerBase {
  readonly records: Uint8Array;
}

/** Answers Fetch, as it arrives. */
export interface FetchAnswer extends FetchReply {
  /** What is in `records`, in order. */
  readonly batches: readonly FetchedBatch[];
}

interface FetchSnapshotAnswerBase extends AnswerHead {
  readonly kind: "fetchSnapshot";
  readonly snapshotId: OffsetAndEpoch;
  readonly position: number;
}

/** Answers FetchSnapshot, as it is decided: the bytes are read when the answer leaves. */
export interface FetchSnapshotDecision extends FetchSnapshotAnswerBase {
  readonly maxBytes: number;
}

/** Answers FetchSnapshot, as it arrives. */
export interface FetchSnapshotAnswer extends FetchSnapshotAnswerBase {
  /** Size of the whole snapshot. */
  readonly sizeBytes: number;
  readonly bytes: Uint8Array;
}

/** Answers a probe. */
export interface ProbeAnswer {
  readonly kind: "probe";
  readonly error: ErrorCode;
  readonly minKraftVersion: number;
  readonly maxKraftVersion: number;
}

/** What one node answers another. */
export type RaftReply = VoteAnswer | PlainAnswer | FetchReply | FetchSnapshotAnswer | ProbeAnswer;

/** What a request of a kind is answered with. */
export type ReplyTo<Request extends RaftRequest> = Extract<
  RaftReply,
  { readonly kind: Request["kind"] }
>;

/** What the machine gets for what it sent. */
export type RaftAnswer = VoteAnswer | PlainAnswer | FetchAnswer | FetchSnapshotAnswer | ProbeAnswer;

/** Answers AddRaftVoter and RemoveRaftVoter. */
export interface VoterChangeAnswer {
  readonly kind: "voterChange";
  readonly error: ErrorCode;
  readonly message: string | null;
}

/** What the machine answers to what others send. */
export type RaftDecision =
  | VoteAnswer
  | PlainAnswer
  | FetchDecision
  | FetchSnapshotDecision
  | VoterChangeAnswer;

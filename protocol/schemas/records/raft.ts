/**
 * What the metadata quorum writes: control records of the log, and the `quorum-state` file
 * (KIP-595, KIP-630).
 *
 * Version 1 of the leader change and of the quorum state came with directory ids (KIP-853).
 */

import {
  array,
  type Decoded,
  int16,
  int32,
  int64,
  message,
  string,
  struct,
  uint16,
  uuid,
} from "../../schema.ts";

const voter = {
  voterId: int32("0+"),
  voterDirectoryId: uuid("1+"),
} as const;

/** Control record: a new leader starts its epoch. */
export const leaderChangeMessage = message(
  { name: "LeaderChangeMessage", versions: "0-1", flexible: "0+" },
  {
    version: int16("0+"),
    leaderId: int32("0+", { entity: "brokerId" }),
    voters: array("0+", voter),
    grantingVoters: array("0+", voter),
  },
);
export type LeaderChangeMessage = Decoded<typeof leaderChangeMessage>;

/** Control record: first in a snapshot. */
export const snapshotHeaderRecord = message(
  { name: "SnapshotHeaderRecord", versions: "0", flexible: "0+" },
  {
    version: int16("0+"),
    lastContainedLogTimestamp: int64("0+"),
  },
);
export type SnapshotHeaderRecord = Decoded<typeof snapshotHeaderRecord>;

/** Control record: last in a snapshot, which is incomplete without it. */
export const snapshotFooterRecord = message(
  { name: "SnapshotFooterRecord", versions: "0", flexible: "0+" },
  {
    version: int16("0+"),
  },
);
export type SnapshotFooterRecord = Decoded<typeof snapshotFooterRecord>;

/** Control record: the version of the Raft protocol (KIP-853). */
export const kraftVersionRecord = message(
  { name: "KRaftVersionRecord", versions: "0", flexible: "0+" },
  {
    version: int16("0+"),
    kRaftVersion: int16("0+"),
  },
);
export type KRaftVersionRecord = Decoded<typeof kraftVersionRecord>;

/** Control record: the set of voters (KIP-853). */
export const votersRecord = message(
  { name: "VotersRecord", versions: "0", flexible: "0+" },
  {
    version: int16("0+"),
    voters: array("0+", {
      voterId: int32("0+", { entity: "brokerId" }),
      voterDirectoryId: uuid("0+"),
      endpoints: array("0+", {
        name: string("0+", { mapKey: true }),
        host: string("0+"),
        port: uint16("0+"),
      }),
      kRaftVersionFeature: struct("0+", {
        minSupportedVersion: int16("0+"),
        maxSupportedVersion: int16("0+"),
      }),
    }),
  },
);
export type VotersRecord = Decoded<typeof votersRecord>;

/** The `quorum-state` file: epoch, vote and leader, as JSON. */
export const quorumStateData = message(
  { name: "QuorumStateData", versions: "0-1", flexible: "0+" },
  {
    clusterId: string("0"),
    leaderId: int32("0+", { default: -1 }),
    leaderEpoch: int32("0+", { default: -1 }),
    votedId: int32("0+", { default: -1 }),
    votedDirectoryId: uuid("1+"),
    appliedOffset: int64("0"),
    currentVoters: array("0", {
      voterId: int32("0"),
    }, { nullable: "0" }),
  },
);
export type QuorumStateData = Decoded<typeof quorumStateData>;

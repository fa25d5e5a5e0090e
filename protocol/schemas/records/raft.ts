/**
 * Records.
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

/** LeaderChangeMessage. */
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

/** SnapshotHeaderRecord. */
export const snapshotHeaderRecord = message(
  { name: "SnapshotHeaderRecord", versions: "0", flexible: "0+" },
  {
    version: int16("0+"),
    lastContainedLogTimestamp: int64("0+"),
  },
);
export type SnapshotHeaderRecord = Decoded<typeof snapshotHeaderRecord>;

/** SnapshotFooterRecord. */
export const snapshotFooterRecord = message(
  { name: "SnapshotFooterRecord", versions: "0", flexible: "0+" },
  {
    version: int16("0+"),
  },
);
export type SnapshotFooterRecord = Decoded<typeof snapshotFooterRecord>;

/** KRaftVersionRecord. */
export const kraftVersionRecord = message(
  { name: "KRaftVersionRecord", versions: "0", flexible: "0+" },
  {
    version: int16("0+"),
    kRaftVersion: int16("0+"),
  },
);
export type KRaftVersionRecord = Decoded<typeof kraftVersionRecord>;

/** VotersRecord. */
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

/** QuorumStateData. */
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

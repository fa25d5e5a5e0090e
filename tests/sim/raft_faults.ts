/**
 * A quorum with one thing wrong: in its rules, or in what the disk does of what it is told. Each must be
 * noticed, or the simulation would not notice it in the real ones either.
 */

import {
  KRAFT_RULES,
  type RaftRules,
  reachedByMajority,
} from "../../broker/controller/raft_quorum.ts";
import type { Disk, DiskFile } from "../../storage/platform.ts";
import type { SimDisk } from "./sim_disk.ts";

/** What is wrong. */
export interface RaftFault {
  readonly rules?: RaftRules;
  readonly wrap?: (disk: SimDisk) => Disk;
  /** New leaders fall often, which brings it out. */
  readonly isHardOnLeaders?: boolean;
}

function wrongRules(rules: Partial<RaftRules>): RaftFault {
  return { rules: { ...KRAFT_RULES, ...rules } };
}

/** An object with some of its members replaced; the others keep their `this`. */
function withMembers<T extends object>(whole: T, members: Partial<T>): T {
  return new Proxy(whole, {
    get(target, key) {
      const value: unknown = Reflect.get(key in members ? members : target, key, target);
      return typeof value === "function" ? value.bind(key in members ? members : target) : value;
    },
  });
}

/** Files whose names fit are told to be on stable storage and are not. */
function unsynced(fits: (path: string) => boolean): RaftFault {
  return {
    wrap: (disk) =>
      withMembers<Disk>(disk, {
        open(path, mode): DiskFile {
          const file = disk.open(path, mode);
          return fits(path) ? withMembers(file, { sync: () => Promise.resolve() }) : file;
        },
        rename(from, to) {
          disk.rename(from, to);
        },
      }),
  };
}

/** By what is wrong. */
export const RAFT_FAULTS: Readonly<Record<string, RaftFault>> = {
  "a vote that is not synced": unsynced((path) => path.includes("quorum-state")),
  "a log that is not synced": unsynced((path) => path.endsWith(".log")),
  "a vote for a log that is behind": wrongRules({ isUpToDate: () => true }),
  "a second vote in an epoch": wrongRules({
    grantsVote: (question) => KRAFT_RULES.grantsVote({ ...question, votedFor: "nobody" }),
  }),
  "a pre-vote that disturbs a leader": wrongRules({
    grantsVote: (question) => KRAFT_RULES.grantsVote({ ...question, trustsLeader: false }),
  }),
  "a vote of one whose disk was replaced": wrongRules({
    grantsVote: (question) => KRAFT_RULES.grantsVote({ ...question, mayHaveForgotten: false }),
  }),
  "a commit of an earlier epoch by counting": {
    ...wrongRules({
      highWatermark: ({ offsets, current }) => Math.max(current, reachedByMajority(offsets)),
    }),
    isHardOnLeaders: true,
  },
  "a commit by one less than a majority": wrongRules({
    highWatermark: (state) =>
      KRAFT_RULES.highWatermark({ ...state, offsets: [...state.offsets, Infinity] }),
  }),
  "a follower that does not truncate": wrongRules({ truncates: false }),
  "a quorum of voters of the past": wrongRules({ votersInForce: ({ committed }) => committed }),
};

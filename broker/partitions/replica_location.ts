/**
 * In which log directory a replica's log is, or is to be: where the metadata says, and where it was found.
 *
 *     assigned     found with its topic id           answer
 *     not yet      nowhere                           new: it has never held a record
 *     not yet      in one directory                  there: a stop came before its place was written down
 *     not yet      in several                        refused
 *     in A         in A, or in A and others          A; the others are named, and kept
 *     in A         nowhere                           refused: its records are lost or out of reach
 *     in A, there  nowhere, but damaged and set aside  new: it is being filled by the leader (replica_repairs.ts)
 *     in A, there  in one other                      there: it was moved by hand while the broker was down
 *     in A, away   in others                         refused: they may be old copies
 *     in A, away   nowhere, and another node leads   new: what it held is there, and is fetched
 *     in A, away   in one other, and another leads   there: what it lacks is fetched
 *     somewhere    in one directory                  there: written by a release that did not say
 *
 * A replica is served only once the metadata says where it lies, and is made before that is written down.
 * So one that is assigned and not found held records that may have been acknowledged: a new log in its
 * place would lose them without a word. Where another node leads, the controller takes the replica out of the ISR when
 * it hears of its new directory, and the leader has what was acknowledged. A single log that is gone from a
 * directory that is there is refused all the same: nobody would have been told.
 *
 * Source: KIP-858 for the assignment; the refusals are ours, since Kafka makes such a log anew, empty.
 */

import { DirectoryId, type Uuid } from "../../protocol/types.ts";

/** A directory that holds something under the replica's name. */
export interface ReplicaCandidate<Directory> {
  readonly directory: Directory;
  /** Null when the topic that it belongs to cannot be read. */
  readonly topicId: Uuid | null;
}

/** What is known of a replica. */
export interface ReplicaSearch<Directory> {
  readonly topicId: Uuid;
  /** Id of the directory that the metadata names, or one of `DirectoryId`. */
  readonly assigned: Uuid;
  /** What lies under its name in the directories that can be used. */
  readonly found: readonly ReplicaCandidate<Directory>[];
  /** True when the metadata says that another node leads: it has what was acknowledged. */
  readonly isLedElsewhere: boolean;
  /** What it held was damaged and set aside; it is out of sync, and another node leads. */
  readonly isBegunAnew: boolean;
  /** The directory with this id, if it can be used. */
  readonly byId: (directoryId: Uuid) => Directory | undefined;
}

/** Where a replica's log is to be opened or made, or why not. */
export type ReplicaLocation<Directory> =
  | {
    readonly kind: "found";
    readonly directory: Directory;
    /** Hold another copy, which is not used. */
    readonly others: readonly Directory[];
  }
  | { readonly kind: "new" }
  | {
    readonly kind: "refused";
    readonly reason: string;
    /** True when its directory is away, with all that lies in it. */
    readonly isAway: boolean;
  };

/** Says where a replica's log is. */
export function locateReplica<Directory extends { readonly path: string }>(
  { topicId, assigned, found, isLedElsewhere, isBegunAnew, byId }: ReplicaSearch<Directory>,
): ReplicaLocation<Directory> {
  const exact = found.filter((candidate) => candidate.topicId === topicId);
  const unnamed = found.filter((candidate) => candidate.topicId === null);
  const copies = (exact.length > 0 ? exact : unnamed).map(({ directory }) => directory);
  const home = byId(assigned);
  if (home !== undefined && copies.includes(home)) {
    return { kind: "found", directory: home, others: copies.filter((one) => one !== home) };
  }
  if (copies.length > 1) {
    return refused(
      `it lies in ${copies.map(({ path }) => path).join(" and in ")}, and the metadata names ` +
        "neither; move the copies that are not wanted out of log.dirs and start again",
      false,
    );
  }
  const [only] = copies;
  const isNamed = !Object.values<Uuid>(DirectoryId).includes(assigned);
  // As a follower it is cut to what its leader has, however old it is; and it may be what was begun anew here.
  if (only !== undefined && (!isNamed || home !== undefined || isLedElsewhere)) {
    return { kind: "found", directory: only, others: [] };
  }
  if (only !== undefined) {
    return refused(
      `it belongs to the log directory with id ${assigned}, which is missing or offline, and what ` +
        `lies in ${only.path} may be an old copy; bring that directory back and start again`,
      false,
    );
  }
  if (assigned === DirectoryId.UNASSIGNED || isBegunAnew) return { kind: "new" };
  const isAway = assigned === DirectoryId.LOST || (isNamed && home === undefined);
  if (isAway && isLedElsewhere) return { kind: "new" };
  return refused(
    home !== undefined
      ? `its records should lie in ${home.path} and are gone; restore them from a backup and start ` +
        "again, or delete the topic"
      : (isNamed
        ? `it belongs to the log directory with id ${assigned}, which `
        : "its directory ") +
        "is missing or offline; bring that directory back and start again, or delete the topic if " +
        "its records are lost",
    isNamed && home === undefined,
  );
}

function refused(
  reason: string,
  isAway: boolean,
): { readonly kind: "refused"; readonly reason: string; readonly isAway: boolean } {
  return { kind: "refused", reason, isAway };
}

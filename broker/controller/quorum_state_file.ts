/**
 * The file `quorum-state` beside the metadata log: epoch, vote and leader, as one JSON object that Kafka's tools
 * read too. Replaced atomically, and on stable storage before anything in it is spoken of.
 *
 *     {"leaderId":1,"leaderEpoch":4,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}
 *
 * Version 0, which Kafka writes while its voters are static, has no directory and names the voters; it is read.
 *
 * Source: KIP-595, KIP-853 (version 1).
 */

import { type Uuid, ZERO_UUID } from "../../protocol/types.ts";
import { readSmallText, textBytes, writeFileAtomically } from "../../storage/checkpoint.ts";
import type { Disk } from "../../storage/platform.ts";
import type { QuorumState } from "./raft.ts";

const QUORUM_STATE_FILE = "quorum-state";
const QUORUM_STATE_VERSION = 1;
const NOBODY = -1;
/** Ours: Kafka passes over what it does not know. Left out when false. */
const CATCHING_UP = "weirIsCatchingUp";

function pathIn(directory: string): string {
  return `${directory}/${QUORUM_STATE_FILE}`;
}

/** What the file of the log in `directory` says; null when there is none. */
export function readQuorumState(
  disk: Disk,
  directory: string,
): QuorumState | "damaged" | null {
  const text = readSmallText(disk, pathIn(directory));
  return text === null ? null : parseQuorumState(text);
}

function parseQuorumState(text: string): QuorumState | "damaged" {
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch {
    return "damaged";
  }
  if (typeof found !== "object" || found === null) return "damaged";
  const fields = new Map(Object.entries(found));
  const { votedDirectoryId = ZERO_UUID } = Object.fromEntries(fields);
  const leaderId: unknown = fields.get("leaderId") ?? NOBODY;
  const leaderEpoch: unknown = fields.get("leaderEpoch");
  const votedId: unknown = fields.get("votedId") ?? NOBODY;
  if (!isInteger(leaderId) || !isInteger(leaderEpoch) || !isInteger(votedId)) return "damaged";
  const voted = { id: votedId, directoryId: String(votedDirectoryId) as Uuid };
  const isCatchingUp = fields.get(CATCHING_UP) === true;
  return { leaderId, leaderEpoch, voted: votedId < 0 ? null : voted, isCatchingUp };
}

function isInteger(value: unknown): value is number {
  return Number.isSafeInteger(value);
}

/** Replaces the file. Returns: when it is on stable storage. Errors: DiskError. */
export async function writeQuorumState(
  disk: Disk,
  directory: string,
  { leaderId, leaderEpoch, voted, isCatchingUp }: QuorumState,
): Promise<void> {
  const state = {
    leaderId,
    leaderEpoch,
    votedId: voted?.id ?? NOBODY,
    votedDirectoryId: voted?.directoryId ?? ZERO_UUID,
    data_version: QUORUM_STATE_VERSION,
    ...(isCatchingUp && { [CATCHING_UP]: true }),
  };
  await writeFileAtomically(disk, pathIn(directory), textBytes(JSON.stringify(state)));
}

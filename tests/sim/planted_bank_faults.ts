/**
 * Faults of transactions planted on purpose, each of which the simulated bank must notice (`bank_load.ts`). That a
 * verification does not outlive a marker is shown in `transactional_produce_test.ts`: here it takes hundreds of lives.
 */

import { GroupOffsets } from "../../broker/groups/group_offsets.ts";
import { GroupShard } from "../../broker/groups/group_shard.ts";
import { MarkerSender } from "../../broker/transactions/marker_sender.ts";
import { Transaction } from "../../broker/transactions/transaction.ts";
import { TransactionVerifier } from "../../broker/transactions/verifier.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { Offset } from "../../protocol/types.ts";
import { Log } from "../../storage/log.ts";
import { patched, type PlantedClusterFault } from "./planted_cluster_faults.ts";

/** Everything is verified, by nobody. */
function nobodyIsAsked(): () => void {
  return patched(TransactionVerifier.prototype, "verify", {
    value: () => Promise.resolve(new Map<string, ErrorCode>()),
  });
}

function offsetsOfAbortedTransactionsStand(): () => void {
  const complete = GroupOffsets.prototype.completeTransaction;
  return patched(GroupOffsets.prototype, "completeTransaction", {
    value(this: GroupOffsets, producerId: number) {
      complete.call(this, producerId, "commit");
    },
  });
}

/** The marker is written, and the coordinator of the groups does not look at it. */
function markersMeanNothingToGroups(): () => void {
  return patched(GroupOffsets.prototype, "completeTransaction", { value: () => {} });
}

/** Offsets of a transaction stand at once. */
function offsetsOfTransactionsDoNotWait(): () => void {
  return patched(GroupShard.prototype, "commitInTransaction", {
    value(
      this: GroupShard,
      entry: Parameters<GroupShard["commitInTransaction"]>[0],
      _transaction: unknown,
      offsets: Parameters<GroupShard["commitInTransaction"]>[2],
      onSettled: (error: ErrorCode) => void,
    ) {
      this.commitOffsets(entry, offsets, onSettled);
    },
  });
}

function openTransactionsAreRead(): () => void {
  return patched(Log.prototype, "lastStableOffset", {
    value: (highWatermark: Offset) => highWatermark,
  });
}

function abortedTransactionsAreNotTold(): () => void {
  return patched(Log.prototype, "abortedTransactions", { value: () => [] });
}

/** A transaction is over before its partitions have heard of it. */
function markersAreNotAwaited(): () => void {
  const send = MarkerSender.prototype.send;
  return patched(MarkerSender.prototype, "send", {
    value(this: MarkerSender, ending: Parameters<MarkerSender["send"]>[0]) {
      send.call(this, { ...ending, isWanted: () => false });
      ending.onDone();
    },
  });
}

/** Whoever names the transactional id may end its transaction, however old. */
function zombiesMayEnd(): () => void {
  const end = Transaction.prototype.end;
  return patched(Transaction.prototype, "end", {
    value(this: Transaction, request: Parameters<Transaction["end"]>[0]) {
      const { producerId, producerEpoch } = this.metadata;
      return end.call(this, { ...request, producerId, producerEpoch });
    },
  });
}

/** The faults by what they do. */
export const PLANTED_BANK_FAULTS: Readonly<Record<string, PlantedClusterFault>> = {
  "transactions that no coordinator is asked about": { nodes: 1, patch: nobodyIsAsked },
  "offsets of aborted transactions that stand": {
    nodes: 1,
    patch: offsetsOfAbortedTransactionsStand,
  },
  "markers that mean nothing to groups": { nodes: 1, patch: markersMeanNothingToGroups },
  "offsets of transactions that do not wait for the end": {
    nodes: 1,
    patch: offsetsOfTransactionsDoNotWait,
  },
  "read_committed readers of open transactions": { nodes: 1, patch: openTransactionsAreRead },
  "read_committed readers of aborted transactions": {
    nodes: 1,
    patch: abortedTransactionsAreNotTold,
  },
  "transactions that are over before their markers are written": {
    nodes: 1,
    patch: markersAreNotAwaited,
  },
  "zombies that may end transactions": { nodes: 1, firstSeed: 100, patch: zombiesMayEnd },
};

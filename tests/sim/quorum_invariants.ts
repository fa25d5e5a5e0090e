/**
 * What must hold of the quorum of a cluster at every moment, read from the brokers' own logs and machines.
 *
 *     node 1   [ 0·1 ][ 3·1 ][ 4·2 ]          an entry is named by base offset and epoch
 *     node 2   [ 0·1 ][ 3·1 ][ 5·1 ]          after 3·1 they part: one of them is of the past
 *                        └ committed: in nobody's log is anything else there, ever
 *
 * An epoch has one leader. An entry has the same bytes, and the same entry before it, wherever it lies (log
 * matching). Who begins to lead has all that is committed (leader completeness). What is committed never
 * changes. No high watermark goes back, and no epoch in which a node has taken part, whatever becomes of it.
 *
 * Looks at a node only where something about it has changed, and draws no chance.
 */

import assert from "node:assert/strict";
import type { Quorum } from "../../broker/controller/quorum.ts";
import { batches, readBatchHeader } from "../../protocol/record_batch.ts";
import { offset } from "../../protocol/types.ts";

/** A batch of the log of one node. */
interface Entry {
  readonly baseOffset: number;
  readonly epoch: number;
}

/** What every log that has an entry must agree on. */
interface Known {
  readonly crc: number;
  readonly lastOffset: number;
  /** Name of the entry before it; null where it came first behind a snapshot. */
  readonly before: string | null;
}

/** What was seen last of one process. */
interface Seen {
  readonly quorum: Quorum;
  highWatermark: number;
  endOffset: number;
  startOffset: number;
  lastEpoch: number;
  ledEpoch: number;
  /** Of its log, oldest first. */
  entries: Entry[];
  /** The next offset of the log to be read. */
  readOffset: number;
  /** Entries before this were compared with what is committed. */
  committedOffset: number;
}

const READ_BYTES = 1024 * 1024;

/** The invariants of one quorum. */
export class QuorumInvariants {
  /** How many entries were compared with those of another node. */
  comparedCount = 0;
  readonly #seen = new Map<number, Seen>();
  readonly #known = new Map<string, Known>();
  readonly #leaders = new Map<number, number>();
  /** Epoch of each committed entry, by its base offset. */
  readonly #committed = new Map<number, number>();
  #committedEnd = 0;
  /** The newest epoch in which each node has been heard by a leader. */
  readonly #spoken = new Map<number, number>();
  readonly #forgetful = new Set<number>();

  /** Epochs that had a leader. */
  get leaderCount(): number {
    return this.#leaders.size;
  }

  /** Looks at one node that may have changed. Errors: an assertion. */
  check(nodeId: number, quorum: Quorum): void {
    const { log, raft } = quorum;
    // It says itself that it cannot be read.
    if (log.offlineReason !== null) return;
    const seen = this.#seenOf(nodeId, quorum);
    const lastEpoch = log.leaderEpochs.latestEpoch;
    const isSameLog = seen.endOffset === log.endOffset && seen.lastEpoch === lastEpoch &&
      seen.startOffset === log.logStartOffset;
    if (!isSameLog) {
      this.#follow(nodeId, seen);
      seen.endOffset = log.endOffset;
      seen.startOffset = log.logStartOffset;
      seen.lastEpoch = lastEpoch;
    }
    const { highWatermark } = raft;
    if (highWatermark !== seen.highWatermark) {
      assert(
        highWatermark > seen.highWatermark,
        `metadata of node ${nodeId}: the high watermark went back from ${seen.highWatermark} to ${highWatermark}`,
      );
      seen.highWatermark = highWatermark;
    }
    if (seen.committedOffset < Math.min(highWatermark, seen.readOffset)) {
      this.#checkCommitted(nodeId, seen);
    }
    if (!raft.isLeader) return;
    if (seen.ledEpoch !== raft.epoch) this.#checkLeader(nodeId, seen, raft.epoch);
    for (const voter of raft.voters.voters) {
      const isNew = this.#spoken.get(voter.id) !== raft.epoch;
      if (isNew && raft.replicas!.endOffsetOf(voter) >= 0) this.#spoken.set(voter.id, raft.epoch);
    }
  }

  /** The disk of a node was replaced: what it had said it cannot know. */
  forget(nodeId: number): void {
    this.#forgetful.add(nodeId);
  }

  #seenOf(nodeId: number, quorum: Quorum): Seen {
    const known = this.#seen.get(nodeId);
    if (known?.quorum === quorum) return known;
    const spoken = this.#spoken.get(nodeId) ?? -1;
    assert(
      quorum.raft.epoch >= spoken || this.#forgetful.has(nodeId),
      `node ${nodeId} starts in epoch ${quorum.raft.epoch} of the quorum, and has taken part in ${spoken}`,
    );
    const seen: Seen = {
      quorum,
      highWatermark: -1,
      endOffset: -1,
      startOffset: -1,
      lastEpoch: -1,
      ledEpoch: -1,
      entries: [],
      readOffset: quorum.log.logStartOffset,
      committedOffset: 0,
    };
    this.#seen.set(nodeId, seen);
    return seen;
  }

  /** Reads what the log has got, and forgets what was cut from it. */
  #follow(nodeId: number, seen: Seen): void {
    const { log } = seen.quorum;
    const { entries } = seen;
    for (let last = entries.at(-1); last !== undefined; last = entries.at(-1)) {
      const isThere = last.baseOffset < log.endOffset &&
        log.leaderEpochs.epochForOffset(offset(last.baseOffset)) === last.epoch;
      if (isThere) break;
      entries.pop();
      seen.readOffset = last.baseOffset;
      assert(
        last.baseOffset >= seen.committedOffset || last.baseOffset < log.logStartOffset,
        `metadata of node ${nodeId}: cut to ${log.endOffset}, committed are ${seen.committedOffset}`,
      );
    }
    if (log.logStartOffset > seen.startOffset) {
      seen.entries = entries.filter(({ baseOffset }) => baseOffset >= log.logStartOffset);
      seen.readOffset = Math.max(seen.readOffset, log.logStartOffset);
    }
    while (seen.readOffset < log.endOffset) {
      const read = log.read(offset(seen.readOffset), { maxBytes: READ_BYTES, minOneMessage: true });
      // A log that cannot be read says so elsewhere.
      if (!("records" in read)) return;
      for (const at of batches(read.records)) {
        const { baseOffset, lastOffsetDelta, partitionLeaderEpoch: epoch, crc } = readBatchHeader(
          read.records,
          at,
        );
        const last = seen.entries.at(-1);
        const before = last === undefined ? null : nameOf(last);
        const lastOffset = baseOffset + lastOffsetDelta;
        this.#checkEntry(nodeId, nameOf({ baseOffset, epoch }), { crc, lastOffset, before });
        seen.entries.push({ baseOffset, epoch });
        seen.readOffset = lastOffset + 1;
      }
      read.release();
    }
  }

  #checkEntry(nodeId: number, name: string, entry: Known): void {
    const known = this.#known.get(name);
    if (known === undefined || (known.before === null && entry.before !== null)) {
      this.#known.set(name, entry);
    }
    if (known === undefined) return;
    this.comparedCount++;
    const isSame = known.crc === entry.crc && known.lastOffset === entry.lastOffset &&
      (known.before === null || entry.before === null || known.before === entry.before);
    if (!isSame) {
      assert.fail(
        `metadata of node ${nodeId}: entry ${name} is not what it is elsewhere: ` +
          `${JSON.stringify(entry)}, ${JSON.stringify(known)}`,
      );
    }
  }

  #checkCommitted(nodeId: number, seen: Seen): void {
    const end = Math.min(seen.highWatermark, seen.readOffset);
    for (let at = seen.entries.length - 1; at >= 0; at--) {
      const { baseOffset, epoch } = seen.entries[at]!;
      if (baseOffset < seen.committedOffset) break;
      if (baseOffset >= end) continue;
      const known = this.#committed.get(baseOffset);
      if (known === epoch) continue;
      const name = nameOf({ baseOffset, epoch });
      const where = `metadata of node ${nodeId}`;
      assert(
        known === undefined,
        `${where}: ${name} is committed, elsewhere it is of epoch ${known}`,
      );
      assert(
        baseOffset >= this.#committedEnd,
        `${where}: ${name} is committed where something else was, before ${this.#committedEnd}`,
      );
      this.#committed.set(baseOffset, epoch);
    }
    seen.committedOffset = end;
    this.#committedEnd = Math.max(this.#committedEnd, end);
  }

  #checkLeader(nodeId: number, seen: Seen, epoch: number): void {
    seen.ledEpoch = epoch;
    const leader = this.#leaders.get(epoch);
    assert(
      leader === undefined || leader === nodeId,
      `nodes ${leader} and ${nodeId} both lead epoch ${epoch} of the quorum`,
    );
    this.#leaders.set(epoch, nodeId);
    const entries = new Map(seen.entries.map((entry) => [entry.baseOffset, entry.epoch]));
    const { log } = seen.quorum;
    // Of what a failing disk does not let us read, the log knows the epoch all the same.
    const epochOf = (at: number) =>
      at >= seen.readOffset && at < log.endOffset
        ? Number(log.leaderEpochs.epochForOffset(offset(at)))
        : entries.get(at);
    for (const [baseOffset, committedEpoch] of this.#committed) {
      if (baseOffset < seen.startOffset || epochOf(baseOffset) === committedEpoch) continue;
      const name = nameOf({ baseOffset, epoch: committedEpoch });
      assert.fail(
        `node ${nodeId} leads epoch ${epoch} of the quorum without ${name}, a committed entry`,
      );
    }
  }
}

function nameOf({ baseOffset, epoch }: Entry): string {
  return `${baseOffset}·${epoch}`;
}

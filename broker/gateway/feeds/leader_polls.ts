/**
 * The long polls of one leader for all partitions of it that are at their tail.
 *
 *     busy ───→ round: one Fetch for all of them ──→ each partition takes its part ──┬─ records ──→ busy
 *     quiet ──→ round: likewise, it waits for long                                   └─ none ─────→ quiet
 *
 * Partitions in which something happens are asked for apart from those that are quiet, so that a round of a busy one
 * does not name a thousand others. A Fetch cannot be changed while it waits in the broker: a partition that comes
 * meanwhile is asked for beside it, over another connection, as far as there are free ones; then it waits for a round to
 * end, half a second at most. Invariant: a partition is in one round at a time, so its records come once and in order.
 */

import { throwUnlessOfCluster } from "./cluster_errors.ts";
import type { Clock } from "../../../storage/platform.ts";
import type { KafkaClient } from "../../client/kafka_client.ts";
import { type PartitionRead, type ReadOutcome, readPartitions } from "./partition_reads.ts";

/** Rounds at one time for one leader. */
const MAX_ROUNDS = 4;
/** Polls end at multiples of it, all at the same time, so that those of quiet partitions become one. */
const WAIT_MS = 500;
const MIN_WAIT_MS = 50;
/** How far the answers of one moment may lie apart. */
const TOGETHER_MS = 2;
/** Bounds what one turn of the event loop hands out. */
const ROUND_BYTES = 1024 * 1024;
const PARTITION_BYTES = 256 * 1024;

/** A partition that is to be read as long as somebody wants it. */
export interface Polled {
  /** False: it is asked for no more, and not told what a round brings that is under way. */
  readonly isPolled: boolean;
  /** What is to be read next; asked once for each round. */
  read(): PartitionRead;
  /** What a round brought; null where it failed. It is in the next round if it `isPolled` after this. */
  answered(outcome: ReadOutcome | null): void;
}

/** What polls of a leader need. */
export interface LeaderPollsOptions {
  readonly client: () => KafkaClient | null;
  readonly clock: Clock;
  readonly leaderId: number;
  readonly readCommitted: boolean;
  /** Told of each round, so that a stop can wait for it. */
  readonly track: (round: Promise<void>) => void;
}

/** Reads partitions of one leader at their tails. */
export class LeaderPolls {
  readonly #options: LeaderPollsOptions;
  /** Those that wait for a round: which had records in their last one, and the others. */
  readonly #busy = new Set<Polled>();
  readonly #quiet = new Set<Polled>();
  /** Which of the connections have a round under way. */
  readonly #slots: boolean[] = Array.from({ length: MAX_ROUNDS }, () => false);

  constructor(options: LeaderPollsOptions) {
    this.#options = options;
  }

  /** Reads a partition from now on. */
  add(polled: Polled): void {
    this.#quiet.add(polled);
    // Others that come in the same turn of the event loop share the round.
    queueMicrotask(() => this.#begin());
  }

  #begin(): void {
    for (;;) {
      const slot = this.#slots.indexOf(false);
      if (slot < 0 || this.#busy.size + this.#quiet.size === 0) return;
      // The last free connection is for all that wait.
      const isLast = !this.#slots.includes(false, slot + 1);
      const isApart = this.#busy.size > 0 && !isLast;
      const sets = isApart ? [this.#busy] : [this.#busy, this.#quiet];
      const wanted = sets.flatMap((set) => [...set]).filter(({ isPolled }) => isPolled);
      for (const set of sets) set.clear();
      if (wanted.length === 0) continue;
      this.#slots[slot] = true;
      this.#options.track(this.#round(slot, wanted));
    }
  }

  async #round(slot: number, wanted: readonly Polled[]): Promise<void> {
    const { client, clock, leaderId, readCommitted } = this.#options;
    const byRead = new Map(wanted.map((polled) => [polled.read(), polled]));
    let outcomes = new Map<PartitionRead, ReadOutcome>();
    try {
      const reached = client();
      if (reached !== null) {
        outcomes = await readPartitions(reached, [...byRead.keys()], {
          leaderId,
          channel: `feeds ${slot}`,
          readCommitted,
          maxWaitMs: waitMs(clock.monotonicMs()),
          maxBytes: ROUND_BYTES,
          partitionMaxBytes: PARTITION_BYTES,
        });
      }
    } catch (error) {
      throwUnlessOfCluster(error);
      // Whatever it was, each partition looks for its leader and tells what it finds.
    }
    let isQuiet = true;
    for (const [read, polled] of byRead) {
      const outcome = outcomes.get(read) ?? null;
      if (polled.isPolled) polled.answered(outcome);
      const hadRecords = outcome?.kind === "records" && outcome.records.length > 0;
      if (polled.isPolled) (hadRecords ? this.#busy : this.#quiet).add(polled);
      isQuiet &&= !hadRecords;
    }
    if (isQuiet) await clock.sleep(TOGETHER_MS);
    this.#slots[slot] = false;
    this.#begin();
  }
}

function waitMs(nowMs: number): number {
  const leftMs = WAIT_MS - nowMs % WAIT_MS;
  return Math.ceil(leftMs < MIN_WAIT_MS ? leftMs + WAIT_MS : leftMs);
}

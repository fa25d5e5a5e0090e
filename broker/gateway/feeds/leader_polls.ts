/**
 * The long polls of one leader for all partitions of it that are at their tail.
 *
 *     waiting ──→ round: one Fetch for all that wait ──→ each partition takes its part ──→ waiting
 *
 * A Fetch cannot be changed while it waits in the broker. A partition that comes meanwhile is asked for in a round of
 * its own beside it, over another connection, as far as there are free ones; then it waits for a round to end, half a
 * second at most. Invariant: a partition is in one round at a time, so its records come once and in order.
 */

import { throwUnlessOfCluster } from "./cluster_errors.ts";
import type { Clock } from "../../../storage/platform.ts";
import type { KafkaClient } from "../../client/kafka_client.ts";
import { type PartitionRead, type ReadOutcome, readPartitions } from "./partition_reads.ts";

/** Rounds at one time for one leader. */
const MAX_ROUNDS = 4;
const MAX_WAIT_MS = 500;
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
  readonly #waiting = new Set<Polled>();
  readonly #busy: boolean[] = Array.from({ length: MAX_ROUNDS }, () => false);

  constructor(options: LeaderPollsOptions) {
    this.#options = options;
  }

  /** Reads a partition from now on. */
  add(polled: Polled): void {
    this.#waiting.add(polled);
    // Others that come in the same turn of the event loop share the round.
    queueMicrotask(() => this.#begin());
  }

  #begin(): void {
    if (this.#waiting.size === 0) return;
    const slot = this.#busy.indexOf(false);
    if (slot < 0) return;
    const wanted = [...this.#waiting].filter(({ isPolled }) => isPolled);
    this.#waiting.clear();
    if (wanted.length === 0) return;
    this.#busy[slot] = true;
    this.#options.track(this.#round(slot, wanted));
  }

  async #round(slot: number, wanted: readonly Polled[]): Promise<void> {
    const { client, leaderId, readCommitted } = this.#options;
    const byRead = new Map(wanted.map((polled) => [polled.read(), polled]));
    let outcomes = new Map<PartitionRead, ReadOutcome>();
    try {
      const reached = client();
      if (reached !== null) {
        outcomes = await readPartitions(reached, [...byRead.keys()], {
          leaderId,
          channel: `feeds ${slot}`,
          readCommitted,
          maxWaitMs: MAX_WAIT_MS,
          maxBytes: ROUND_BYTES,
          partitionMaxBytes: PARTITION_BYTES,
        });
      }
    } catch (error) {
      throwUnlessOfCluster(error);
      // Whatever it was, each partition looks for its leader and tells what it finds.
    }
    const isEmpty = (read: PartitionRead) => {
      const outcome = outcomes.get(read);
      return outcome?.kind === "records" && outcome.records.length === 0;
    };
    // Who got nothing is first in the next answer, which may have no room for all.
    const inOrder = [...byRead].sort(([a], [b]) => Number(isEmpty(b)) - Number(isEmpty(a)));
    for (const [read, polled] of inOrder) {
      if (polled.isPolled) polled.answered(outcomes.get(read) ?? null);
      if (polled.isPolled) this.#waiting.add(polled);
    }
    this.#busy[slot] = false;
    this.#begin();
  }
}

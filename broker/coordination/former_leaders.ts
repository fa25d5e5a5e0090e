/**
 * Who led a partition of a coordinator's topic before this node does, and whether that broker may still take itself
 * for its leader: it may not have heard yet. Until it has, or cannot act on it any more, this node does not answer.
 *
 *     another broker led ──→ this node leads: in doubt ──┬─ the other one is fenced, or stops
 *                                                        ├─ it follows this node
 *                                                        └─ a session has gone by: its lease is over
 *
 * Pure: time is an argument. Source: decision 0050.
 */

import type { BrokerImage, ChangedPartition } from "../controller/metadata_image.ts";

/** A broker of which nothing is known. */
const UNKNOWN = -1;

/** What of the metadata says whether a broker may act. */
export type KnownBrokers = ReadonlyMap<
  number,
  Pick<BrokerImage, "fenced" | "inControlledShutdown">
>;

/** The last leaders besides this node, by partition. Shape: at most one for each partition of the topic. */
export class FormerLeaders {
  readonly #nodeId: number;
  readonly #sessionTimeoutMs: number;
  readonly #former = new Map<number, { readonly leaderId: number; readonly untilMs: number }>();

  constructor({ nodeId, sessionTimeoutMs }: {
    readonly nodeId: number;
    /** `broker.session.timeout.ms`, the same on all nodes. */
    readonly sessionTimeoutMs: number;
  }) {
    this.#nodeId = nodeId;
    this.#sessionTimeoutMs = sessionTimeoutMs;
  }

  /** Notes what has become known of a partition just now. */
  note({ before, after }: Pick<ChangedPartition, "before" | "after">, nowMs: number): void {
    if (before === null || before.leaderEpoch === after.leaderEpoch) return;
    // A snapshot may leave leaders out.
    const isGap = after.leaderEpoch > before.leaderEpoch + 1;
    const leaderId = isGap ? UNKNOWN : before.leader;
    if (leaderId === this.#nodeId || (leaderId < 0 && !isGap)) return;
    const untilMs = nowMs + this.#sessionTimeoutMs;
    this.#former.set(after.partition, { leaderId, untilMs });
  }

  /** True while another broker may act as the leader of a partition that this node leads. */
  mayAct(
    partition: number,
    { nowMs, brokers, isFollowedBy }: {
      readonly nowMs: number;
      readonly brokers: KnownBrokers;
      readonly isFollowedBy: (brokerId: number) => boolean;
    },
  ): boolean {
    const former = this.#former.get(partition);
    if (former === undefined) return false;
    const broker = brokers.get(former.leaderId);
    const isSilent = broker?.fenced === true || broker?.inControlledShutdown === true;
    if (nowMs < former.untilMs && !isSilent && !isFollowedBy(former.leaderId)) return true;
    this.#former.delete(partition);
    return false;
  }
}

/**
 * Why groups rebalance, and how often.
 *
 * Of a classic group a rebalance is a join phase: what happens while it lasts becomes part of it. Of a consumer group it
 * is a bump of the epoch.
 */

/** Every cause, and the types of groups that have it. */
export const REBALANCE_CAUSES = {
  member_joined: ["classic", "consumer"],
  member_left: ["classic", "consumer"],
  /** A member was silent for its session timeout. */
  session_expired: ["classic", "consumer"],
  /** A member did not do its part of a rebalance in its rebalance timeout. */
  rebalance_timeout: ["classic", "consumer"],
  subscription_changed: ["classic", "consumer"],
  /** Topics came, went or got partitions; clients of classic groups see that themselves, and their leader rejoins. */
  topics_changed: ["consumer"],
  leader_rejoined: ["classic"],
  static_member_replaced: ["classic"],
  /** The group was loaded with more members than group.max.size. */
  group_too_large: ["classic"],
  /** The log did not take the assignment. */
  write_failed: ["classic"],
} as const satisfies Record<string, readonly ("classic" | "consumer")[]>;

export type RebalanceCause = keyof typeof REBALANCE_CAUSES;

/** One rebalance: its cause, and the sentence that names who or what. */
export interface Rebalance {
  readonly cause: RebalanceCause;
  readonly reason: string;
}

/** The types of groups that rebalance. */
export type RebalancingType = (typeof REBALANCE_CAUSES)[RebalanceCause][number];

/** Rebalances since the start, by type of group and cause. */
export class RebalanceCounts {
  readonly #counts = new Map<RebalancingType, Map<RebalanceCause, number>>();
  total = 0;

  add(type: RebalancingType, cause: RebalanceCause): void {
    const own = this.#counts.get(type) ?? new Map<RebalanceCause, number>();
    this.#counts.set(type, own.set(cause, (own.get(cause) ?? 0) + 1));
    this.total += 1;
  }

  /** Every type with every cause that it has, also those that there has been none of. */
  *entries(): Generator<{
    readonly type: RebalancingType;
    readonly cause: RebalanceCause;
    readonly count: number;
  }> {
    for (const [cause, types] of Object.entries(REBALANCE_CAUSES)) {
      for (const type of types) {
        const known = cause as RebalanceCause;
        yield { type, cause: known, count: this.#counts.get(type)?.get(known) ?? 0 };
      }
    }
  }
}

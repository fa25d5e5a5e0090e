/**
 * Groups by type and state, and their members, counted in one pass over the groups.
 *
 * Every state that a type can be in is shown, also the empty ones, so that a series does not come and go.
 */

import type { ClassicGroupState } from "../groups/classic_group.ts";
import type { ConsumerGroupStateName } from "../groups/consumer_group.ts";
import { formatFamily, formatLabels, formatSample } from "./exposition.ts";

/** The states in which groups of each type are found; what is Dead is not listed. */
const STATES = {
  classic: ["Empty", "PreparingRebalance", "CompletingRebalance", "Stable"],
  consumer: ["Empty", "Assigning", "Reconciling", "Stable"],
} as const satisfies {
  readonly classic: readonly ClassicGroupState[];
  readonly consumer: readonly ConsumerGroupStateName[];
};

/** One group. */
export interface GroupSample {
  readonly type: keyof typeof STATES;
  readonly state: string;
  readonly memberCount: number;
}

/** Counts groups. */
export class GroupMeter {
  /** By the labels of the series. */
  readonly #groups = new Map<string, number>();
  readonly #members = new Map<string, number>();

  constructor() {
    for (const [type, states] of Object.entries(STATES)) {
      this.#members.set(formatLabels([["type", type]]), 0);
      for (const state of states) {
        this.#groups.set(formatLabels([["type", type], ["state", state]]), 0);
      }
    }
  }

  add({ type, state, memberCount }: GroupSample): void {
    count(this.#groups, formatLabels([["type", type], ["state", state]]), 1);
    count(this.#members, formatLabels([["type", type]]), memberCount);
  }

  /** Both families. */
  format(): string {
    return [
      formatFamily("weir_groups", "gauge", "Groups that this broker coordinates."),
      ...formatCounts("weir_groups", this.#groups),
      formatFamily("weir_group_members", "gauge", "Members of these groups."),
      ...formatCounts("weir_group_members", this.#members),
    ].join("");
  }
}

function count(counts: Map<string, number>, labels: string, more: number): void {
  counts.set(labels, (counts.get(labels) ?? 0) + more);
}

function formatCounts(name: string, counts: ReadonlyMap<string, number>): string[] {
  return [...counts].map(([labels, value]) => formatSample(name, labels, value));
}

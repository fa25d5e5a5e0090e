/** What a subscriber of a feed is, and what it is told. */

import type { FeedBatch } from "./feed_batch.ts";

/** Offsets that a subscriber will not see. */
export interface FeedGap {
  /**
   * `retention`: they were removed before they were read. `truncation`: a leader has lost them; those that were read at
   * `toOffset` and after it may be other ones now.
   */
  readonly reason: "retention" | "truncation";
  /** The offset that was to come next. */
  readonly fromOffset: number;
  /** The offset that comes next now: higher after retention, lower after truncation. */
  readonly toOffset: number;
}

/** Why nothing more comes. */
export interface FeedEnd {
  /**
   * `deleted`: the topic is gone, or another one has its name. `damaged`: the broker does not serve what comes next.
   * `unavailable`: this node serves no more; another one goes on at the same offset.
   */
  readonly reason: "deleted" | "damaged" | "unavailable";
  /** A sentence for people. */
  readonly detail: string;
}

/** Who reads a partition through a feed. Nothing here may throw. */
export interface FeedSubscriber {
  /**
   * Takes the first records of a batch, at once or never. Returns: how many. Fewer than all: it is read for by itself
   * from the next one on, once `resume` was called. A batch may have no records: then the position alone has moved.
   */
  take(batch: FeedBatch): number;
  /** Comes before the records after the gap. */
  gap(gap: FeedGap): void;
  /** Comes once, last; not after `close`. */
  ended(end: FeedEnd): void;
}

/**
 * What a shard of a coordinator needs of its partition of `__consumer_offsets` or `__transaction_state`, and
 * nothing more.
 *
 * Appends are told of in their order: the callback of an earlier append always comes first, so whoever
 * applies records when they are committed applies them in the order of the log.
 */

import type { ErrorCode } from "../../protocol/errors.ts";
import type { PartitionAppendOptions } from "../partitions/partition.ts";

/** What a read gives. `release` hands the buffer back; the bytes must not be used after it. */
export type CoordinatorLogRead =
  | { readonly error: typeof ErrorCode.NONE; readonly records: Uint8Array; release(): void }
  | { readonly error: ErrorCode; readonly message: string };

/** How a batch of a transaction, or its marker, is appended. */
export type TransactionalAppend = Pick<PartitionAppendOptions, "guard" | "transactionVersion">;

/** One partition of a coordinator's topic that this node leads. */
export interface CoordinatorLog {
  /** False once this node leads it no more, or under another epoch: what was read of it may be stale. */
  readonly isLed: boolean;
  /** True once a broker is known to follow this leader: it does not take itself for the leader any more. */
  isFollowedBy(brokerId: number): boolean;
  /** Offset of the first record. */
  readonly startOffset: number;
  /** Offset after the last record. */
  readonly endOffset: number;
  /**
   * Appends one batch, which belongs to the log from now on.
   *
   * Returns: whether the log has taken it; `onSettled` is called once, after the batch is committed (NONE: on
   * stable storage, as acks=all promises) or has failed, possibly before this returns.
   */
  append(
    batch: Uint8Array,
    onSettled: (error: ErrorCode) => void,
    transaction?: TransactionalAppend,
  ): boolean;
  /** Whole batches, from the one that holds `fromOffset`, at least one. */
  read(fromOffset: number, maxBytes: number): CoordinatorLogRead | Promise<CoordinatorLogRead>;
}

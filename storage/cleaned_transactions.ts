/**
 * What a cleaning knows of transactions while it walks through a log: which batches belong to aborted ones,
 * and which markers have nothing left to say.
 *
 *     aborted data  ──→ dropped at once
 *     its marker    ──→ kept as long as a batch of the transaction was met in this pass, even an empty one
 *     commit marker ──→ the same
 *     marker of a transaction without batches ──→ may go once its delete horizon has passed
 *
 * Source: Kafka's CleanedTransactionMetadata.
 */

import { controlRecordType } from "../protocol/control_records.ts";
import {
  batchSizeBytes,
  RECORD_BATCH_OVERHEAD,
  type RecordBatchHeader,
} from "../protocol/record_batch.ts";
import { RecordCursor } from "../protocol/record_cursor.ts";
import type { AbortedTransaction } from "./transaction_index.ts";

/** What the first record of a control batch says; null when the cleaner has left none. */
export type MarkerKind = "abort" | "commit" | "other" | null;

/** What the control batch at `at` says. Errors: WireError when its record is damaged. */
export function markerKind(bytes: Uint8Array, at: number, header: RecordBatchHeader): MarkerKind {
  if (header.recordCount === 0) return null;
  const cursor = new RecordCursor();
  cursor.reset(bytes, at + RECORD_BATCH_OVERHEAD, at + batchSizeBytes(bytes, at));
  cursor.next();
  const { keyStart, keyBytes } = cursor;
  const key = keyBytes < 0 ? null : bytes.subarray(keyStart, keyStart + keyBytes);
  const type = controlRecordType(key);
  return type === "abort" || type === "commit" ? type : "other";
}

/** What an aborted transaction is while its marker has not come. */
interface OngoingAbort {
  readonly transaction: AbortedTransaction;
  hasBatches: boolean;
}

/** What goes on from one segment of the log to the next. */
export interface TransactionsState {
  /** Producers of transactions that were not aborted and whose marker has not come. */
  readonly committed: readonly number[];
  readonly aborted: readonly OngoingAbort[];
}

/** Before the first segment. */
export const NO_TRANSACTIONS: TransactionsState = { committed: [], aborted: [] };

/** What is known of the transactions at one place of the log. */
export class CleanedTransactions {
  readonly #committed: Set<number>;
  readonly #aborted: Map<number, OngoingAbort>;
  /** Aborted transactions by their first offset, and the first of them that is not reached yet. */
  readonly #coming: readonly AbortedTransaction[];
  #next = 0;
  readonly #onAborted: (transaction: AbortedTransaction) => void;

  /**
   * `aborted` are those that overlap what is about to be walked through. `onAborted` is told of each whose
   * marker stays, in the order of the markers.
   */
  constructor(
    state: TransactionsState,
    aborted: readonly AbortedTransaction[],
    onAborted: (transaction: AbortedTransaction) => void,
  ) {
    this.#committed = new Set(state.committed);
    this.#aborted = new Map(
      state.aborted.map((ongoing) => [ongoing.transaction.producerId, { ...ongoing }]),
    );
    this.#coming = aborted.toSorted((a, b) => a.firstOffset - b.firstOffset);
    this.#onAborted = onAborted;
  }

  /** Takes note of a batch of data. Returns: true when it was aborted. */
  onBatch(producerId: number, lastOffset: number, isTransactional: boolean): boolean {
    this.#begin(lastOffset);
    if (!isTransactional) return false;
    const ongoing = this.#aborted.get(producerId);
    if (ongoing === undefined) {
      this.#committed.add(producerId);
      return false;
    }
    ongoing.hasBatches = true;
    return true;
  }

  /**
   * Takes note of a control batch, of which `kind` is the `markerKind`.
   * Returns: true when nothing of its transaction is left.
   */
  onMarker(producerId: number, lastOffset: number, kind: MarkerKind): boolean {
    this.#begin(lastOffset);
    if (kind === "commit") return !this.#committed.delete(producerId);
    if (kind !== "abort") return kind === null;
    const ongoing = this.#aborted.get(producerId);
    this.#aborted.delete(producerId);
    if (ongoing === undefined || !ongoing.hasBatches) return true;
    this.#onAborted(ongoing.transaction);
    return false;
  }

  /** The transactions that begin up to `offset` are ongoing from here on. */
  #begin(offset: number): void {
    for (; this.#next < this.#coming.length; this.#next++) {
      const transaction = this.#coming[this.#next]!;
      if (transaction.firstOffset > offset) return;
      if (this.#aborted.has(transaction.producerId)) continue;
      this.#aborted.set(transaction.producerId, { transaction, hasBatches: false });
    }
  }

  /** What the next segments need. */
  state(): TransactionsState {
    return { committed: [...this.#committed], aborted: [...this.#aborted.values()] };
  }
}

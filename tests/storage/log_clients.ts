/**
 * The clients of a partition under test: what they send, in which order, and what they send again.
 *
 * A producer knows its next sequence number from the batches that the log has taken; after a crash has cut
 * some, it is worked out anew from the model, as a client would by failing and starting over.
 */

import { buildBatch, type NewRecord } from "../../protocol/records.ts";
import type { SimRandom } from "../sim/sim_random.ts";
import type { LogModel, ModelBatch } from "./log_model.ts";

const MAX_SEQUENCE = 0x7fff_ffff;
const MAX_PRODUCERS = 4;

/** An idempotent producer. */
export interface ModelProducer {
  readonly id: number;
  readonly epoch: number;
  nextSequence: number;
  /** −1 when no transaction is open. */
  transactionFirst: number;
}

/** How the records of one partition look. */
export interface ClientHabits {
  /** Keys come from so few that compaction finds something to do; 0 for keys of any bytes. */
  readonly keyCount: number;
  readonly codecs: readonly (0 | 1 | 2 | 3 | 4)[];
  readonly valueBytes: readonly number[];
}

/** The clients of one partition. */
export class LogClients {
  readonly habits: ClientHabits;
  readonly #random: SimRandom;
  #producers: ModelProducer[] = [];
  #nextProducerId: number;

  constructor(random: SimRandom, habits: ClientHabits) {
    this.#random = random;
    this.habits = habits;
    this.#nextProducerId = 1000 * (1 + random.below(1000));
  }

  record(nowMs: number): NewRecord {
    const random = this.#random;
    const { keyCount, valueBytes } = this.habits;
    const isTombstone = keyCount > 0 && random.chance(0.15);
    const value = isTombstone ? null : random.bytes(random.pick(valueBytes));
    // Whole sectors of zeros must not be taken for a lost write while nothing was lost.
    if (random.chance(0.1)) value?.fill(0);
    return {
      key: keyCount > 0 ? new Uint8Array([random.below(keyCount)]) : random.bytes(random.below(6)),
      value,
      timestamp: nowMs + random.between(-20, 20),
    };
  }

  /** A batch of somebody's records. Null when the producer is busy with something else. */
  next(nowMs: number): { sent: Uint8Array; producer: ModelProducer | null } | null {
    const producer = this.#random.chance(0.5) ? this.#producer() : null;
    if (producer !== null && producer.transactionFirst >= 0) return null;
    return { sent: this.#build(nowMs, producer, false), producer };
  }

  /** The next batch of a transaction, or the marker that ends it. */
  nextTransactional(nowMs: number): { sent: Uint8Array; producer: ModelProducer } {
    const producer = this.#producer();
    if (producer.transactionFirst < 0 || this.#random.chance(0.6)) {
      return { sent: this.#build(nowMs, producer, true), producer };
    }
    const marker = new Uint8Array([0, 0, 0, this.#random.below(2)]);
    const sent = buildBatch({
      records: [{ key: marker, value: new Uint8Array(6), timestamp: nowMs }],
      producerId: producer.id,
      producerEpoch: producer.epoch,
      transactional: true,
      control: true,
    });
    return { sent, producer };
  }

  /** A client did not get its answer and sends its last batch again; null when there is none. */
  again(model: LogModel): { batch: ModelBatch; gap: Uint8Array } | null {
    if (this.#producers.length === 0) return null;
    const producer = this.#random.pick(this.#producers);
    const batch = model.batches.findLast(({ header }) =>
      header.producerId === producer.id && header.baseSequence >= 0
    );
    // The producers of deleted records may be forgotten.
    if (batch === undefined || batch.baseOffset < model.logStart) return null;
    const gap = buildBatch({
      records: [{ key: new Uint8Array([1]), value: null, timestamp: batch.header.maxTimestamp }],
      producerId: producer.id,
      producerEpoch: producer.epoch,
      baseSequence: (producer.nextSequence + 7) % 0x7fff_0000,
      transactional: producer.transactionFirst >= 0,
    });
    return { batch, gap };
  }

  /** The log has taken a batch. */
  taken(batch: ModelBatch, producer: ModelProducer | null): void {
    if (producer === null) return;
    if (batch.isControl) {
      producer.transactionFirst = -1;
      return;
    }
    producer.nextSequence = sequenceAfter(batch);
    if (batch.isTransactional && producer.transactionFirst < 0) {
      producer.transactionFirst = batch.baseOffset;
    }
  }

  /** The log may have lost some of what it had taken. */
  learn(model: LogModel): void {
    const known = new Set<ModelProducer>();
    for (const producer of this.#producers) {
      producer.transactionFirst = -1;
      for (const batch of model.batches) {
        if (batch.header.producerId !== producer.id) continue;
        this.taken(batch, producer);
        if (batch.isControl) continue;
        const goesOn = producer.transactionFirst >= 0 &&
          producer.transactionFirst < batch.baseOffset;
        // What is left of a transaction does not tell where it began.
        if (model.isMaybeForgotten(batch)) known.delete(producer);
        else if (!goesOn) known.add(producer);
      }
    }
    // One whose records are all gone starts anew under another id, as a client would.
    this.#producers = this.#producers.filter((producer) => known.has(producer));
  }

  #producer(): ModelProducer {
    const random = this.#random;
    if (this.#producers.length < MAX_PRODUCERS || random.chance(0.05)) {
      this.#producers.push({
        id: this.#nextProducerId++,
        epoch: 0,
        nextSequence: random.pick([0, 0, MAX_SEQUENCE - 1]),
        transactionFirst: -1,
      });
      if (this.#producers.length > 2 * MAX_PRODUCERS) {
        const idle = this.#producers.findIndex(({ transactionFirst }) => transactionFirst < 0);
        if (idle >= 0) this.#producers.splice(idle, 1);
      }
    }
    return random.pick(this.#producers);
  }

  #build(nowMs: number, producer: ModelProducer | null, transactional: boolean): Uint8Array {
    const count = this.#random.between(1, 5);
    return buildBatch({
      records: Array.from({ length: count }, () => this.record(nowMs)),
      compression: this.#random.pick(this.habits.codecs),
      transactional,
      ...(producer === null ? {} : {
        producerId: producer.id,
        producerEpoch: producer.epoch,
        baseSequence: producer.nextSequence,
      }),
    });
  }
}

function sequenceAfter({ header }: ModelBatch): number {
  const next = header.baseSequence + header.recordCount;
  return next > MAX_SEQUENCE ? next - MAX_SEQUENCE - 1 : next;
}

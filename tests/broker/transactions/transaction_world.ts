/**
 * The random life of one transactional id: producers that come, go on, are given up and come back as zombies; a log
 * that takes steps, refuses them, or leaves it open whether it has them; coordinators that are lost and load what the
 * log has. Beside it a model that knows only who was told what.
 *
 * What is checked, in the words of KIP-98 and KIP-890:
 * - with one producer id the epoch never goes back, in the log and in what producers are told;
 * - once a producer is told its epoch, none from before it gets anything accepted;
 * - a decision in the log never changes, and covers every partition that was accepted, and no other;
 * - a producer that is told of a commit has PrepareCommit in the log, and one of an abort PrepareAbort;
 * - what is loaded is what was in force.
 */

import assert from "node:assert/strict";
import {
  type Decision,
  EPOCH_BUMP_VERSION,
  type ProducerClaim,
  Transaction,
  type TransactionAnswer,
  type TransactionMetadata,
} from "../../../broker/transactions/transaction.ts";
import {
  decodeTransaction,
  encodeTransaction,
} from "../../../broker/transactions/transaction_records.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import type { SimRandom } from "../../sim/sim_random.ts";

const ID = "id";
const TIMEOUT_MS = 1_000;
/** The largest int16. */
const LAST_EPOCH = 32_767;

/** A program that uses the id. It does one thing after the other, and may do the last one again. */
interface Producer {
  /** The later a producer was told its epoch, the higher; −1 until then. */
  ordinal: number;
  claim: ProducerClaim | null;
  readonly version: number;
  /** Partitions that were accepted in its transaction. */
  accepted: Set<string>;
  /** Those that it asked for, whatever came of it. */
  asked: Set<string>;
  /** The EndTxn that it has heard nothing of. */
  unheard: { readonly isCommit: boolean; readonly claim: ProducerClaim } | null;
}

/** A step that is on its way into the log. */
interface Flight {
  readonly metadata: TransactionMetadata | null;
  readonly told: (answer: TransactionAnswer) => void;
}

/** What happened, for the tests that want to know that it did. */
export interface Seen {
  commits: number;
  aborts: number;
  fenced: number;
  timeOuts: number;
  freshIds: number;
  repeats: number;
  loads: number;
  tombstones: number;
}

/** One life. */
export class TransactionWorld {
  readonly #random: SimRandom;
  readonly seen: Seen = {
    commits: 0,
    aborts: 0,
    fenced: 0,
    timeOuts: 0,
    freshIds: 0,
    repeats: 0,
    loads: 0,
    tombstones: 0,
  };
  #nowMs = 1_000_000;
  #transaction: Transaction | null = null;
  /** What is in the log, as it is read from there, since the last tombstone. */
  #log: TransactionMetadata[] = [];
  #flight: Flight | null = null;
  readonly #producers: Producer[] = [];
  #nextProducerId = 100;
  #nextOrdinal = 0;
  /** The newest producer that was told its epoch. */
  #newest = -1;
  /** The highest epoch of each id that a producer was told. */
  readonly #told = new Map<number, number>();
  #clusterVersion: number;
  readonly #startsHigh: boolean;

  constructor(random: SimRandom) {
    this.#random = random;
    this.#clusterVersion = this.#pick([0, 1, 2, 2, 2]);
    this.#startsHigh = random.below(2) === 0;
  }

  /** Lives for some steps. Errors: AssertionError for what must not happen. */
  live(steps: number): void {
    for (let i = 0; i < steps; i++) {
      this.#nowMs += this.#random.below(20);
      this.#step();
      this.#checkLog();
    }
  }

  #step(): void {
    const what = this.#random.below(100);
    // A step that is in the log, or is not, is told of before much else happens.
    if (this.#flight !== null && what < 50) return this.#land();
    if (what < 8) return this.#begin();
    if (what < 40) return this.#add();
    if (what < 62) return this.#end();
    if (what < 70) return this.#again();
    if (what < 76) return this.#goOn();
    if (what < 90) return this.#complete();
    if (what < 94) return this.#timeOut();
    if (what < 96) return this.#expire();
    if (what < 97) this.#clusterVersion = this.#pick([0, 1, 2]);
    else if (what < 99) this.#crash();
  }

  // ---- producers ------------------------------------------------------------------------------------

  #begin(): void {
    const version = this.#pick([0, 2, 2]);
    const producer: Producer = {
      ordinal: -1,
      claim: null,
      version,
      accepted: new Set(),
      asked: new Set(),
      unheard: null,
    };
    this.#producers.push(producer);
    if (this.#producers.length > 4) this.#producers.shift();
    this.#init(producer, null);
  }

  /** KIP-360: a producer asks for its next epoch. */
  #goOn(): void {
    const producer = this.#anyProducer();
    if (producer !== null && producer.claim !== null) this.#init(producer, producer.claim);
  }

  #init(producer: Producer, expected: ProducerClaim | null): void {
    this.#transaction ??= this.#fresh();
    const before = this.#newest;
    this.#attempt(
      (freshProducerId) =>
        this.#transaction!.initProducerId({
          timeoutMs: TIMEOUT_MS,
          expected,
          freshProducerId,
          transactionVersion: this.#clusterVersion,
          nowMs: this.#nowMs,
        }),
      (answer) => {
        if (answer.error !== ErrorCode.NONE) return this.#refused(producer, answer.error);
        const isNew = expected === null || producer.ordinal < 0;
        if (isNew) producer.ordinal = this.#nextOrdinal++;
        else assert(producer.ordinal >= before, "a zombie got an epoch");
        this.#newest = Math.max(this.#newest, producer.ordinal);
        this.#tell(producer, answer, isNew);
      },
    );
  }

  #fresh(): Transaction {
    const producerId = this.#nextProducerId++;
    const nowMs = this.#nowMs;
    const created = Transaction.create(ID, { producerId, timeoutMs: TIMEOUT_MS, nowMs });
    if (!this.#startsHigh) return created;
    const metadata = { ...created.metadata, producerEpoch: LAST_EPOCH - 1 - this.#random.below(6) };
    this.#push(metadata);
    return new Transaction(ID, metadata);
  }

  #tell(producer: Producer, { producerId, producerEpoch }: ProducerClaim, isNew: boolean): void {
    assert(producerEpoch >= 0 && producerEpoch < LAST_EPOCH, "an epoch that could not be fenced");
    const before = this.#told.get(producerId);
    if (before === undefined && this.#told.size > 0) this.seen.freshIds++;
    assert(before === undefined || producerEpoch > before || (!isNew && producerEpoch === before));
    this.#told.set(producerId, producerEpoch);
    producer.claim = { producerId, producerEpoch };
    producer.accepted = new Set();
    producer.asked = new Set();
    producer.unheard = null;
  }

  #add(): void {
    const producer = this.#anyProducer();
    if (producer === null || producer.claim === null || this.#transaction === null) return;
    const { claim, version } = producer;
    if (producer.unheard !== null) return;
    const partitions = Array.from({ length: 1 + this.#random.below(3) }, () => ({
      topic: this.#pick(["a", "b"]),
      partition: this.#random.below(4),
    }));
    const newest = this.#newest;
    const names = partitions.map(({ topic, partition }) => `${topic}-${partition}`);
    for (const name of names) producer.asked.add(name);
    this.#attempt(
      () =>
        this.#transaction!.addPartitions({
          ...claim,
          partitions,
          transactionVersion: version,
          nowMs: this.#nowMs,
        }),
      ({ error }) => {
        if (error !== ErrorCode.NONE) return this.#refused(producer, error);
        assert(producer.ordinal >= newest, "a zombie's partitions were accepted");
        for (const name of names) producer.accepted.add(name);
      },
    );
  }

  #end(): void {
    const producer = this.#anyProducer();
    if (producer === null || producer.claim === null || producer.unheard !== null) return;
    producer.unheard = { isCommit: this.#random.below(2) === 0, claim: producer.claim };
    this.#sendEnd(producer);
  }

  /** An EndTxn of which nothing was heard comes again. */
  #again(): void {
    const producer = this.#anyProducer();
    if (producer !== null && producer.unheard !== null) {
      this.seen.repeats++;
      this.#sendEnd(producer);
    }
  }

  #sendEnd(producer: Producer): void {
    const { unheard, version, accepted, asked } = producer;
    if (unheard === null || this.#transaction === null) return;
    const newest = this.#newest;
    const { isCommit, claim } = unheard;
    // The answer may get lost.
    const isLost = this.#random.below(4) === 0;
    this.#attempt(
      (freshProducerId) =>
        this.#transaction!.end({
          ...claim,
          isCommit,
          transactionVersion: version,
          freshProducerId,
          nowMs: this.#nowMs,
        }),
      (answer) => {
        if (answer.error !== ErrorCode.NONE) return this.#refused(producer, answer.error);
        assert(producer.ordinal >= newest, "a zombie's decision was accepted");
        // Before version 2 the end of nothing cannot be told from the end of what came before it.
        const ownAsked = version >= EPOCH_BUMP_VERSION ? asked : null;
        this.#checkDecision(isCommit, accepted, ownAsked);
        if (isLost || producer.unheard !== unheard) return;
        if (isCommit) this.seen.commits++;
        else this.seen.aborts++;
        if (version >= EPOCH_BUMP_VERSION) this.#tell(producer, answer, true);
        producer.unheard = null;
        producer.accepted = new Set();
        producer.asked = new Set();
      },
    );
  }

  /** The last decision in the log is what the producer is told of, and has all its partitions. */
  #checkDecision(
    isCommit: boolean,
    accepted: ReadonlySet<string>,
    asked: ReadonlySet<string> | null,
  ): void {
    const decided = this.#log.findLast((one) => one.state.startsWith("Prepare"));
    assert(decided !== undefined, "told of a decision that is in no log");
    assert.equal(decided.state, isCommit ? "PrepareCommit" : "PrepareAbort");
    const partitions = new Set(
      [...decided.partitions].flatMap(([topic, numbers]) =>
        [...numbers].map((number) => `${topic}-${number}`)
      ),
    );
    for (const one of accepted) assert(partitions.has(one), "a partition was lost");
    for (const one of partitions) assert(asked?.has(one) !== false, "a partition of somebody else");
  }

  #refused(producer: Producer, error: ErrorCode): void {
    const isFinal = error === ErrorCode.PRODUCER_FENCED ||
      error === ErrorCode.INVALID_PRODUCER_ID_MAPPING;
    if (isFinal) this.seen.fenced++;
    // What it could not end, or was told is not so, it does not try for ever; sometimes it comes back as a zombie.
    const isGivenUp = isFinal || error === ErrorCode.INVALID_TXN_STATE;
    if (isGivenUp && this.#random.below(2) === 0) {
      const at = this.#producers.indexOf(producer);
      if (at >= 0) this.#producers.splice(at, 1);
    } else if (isGivenUp) producer.unheard = null;
  }

  // ---- the coordinator ------------------------------------------------------------------------------

  #attempt(
    decide: (freshProducerId: number | null) => Decision,
    told: (answer: TransactionAnswer) => void,
  ): void {
    let decision = decide(null);
    if (decision.kind === "needsProducerId") decision = decide(this.#nextProducerId++);
    if (decision.kind === "answer") return told(decision.answer);
    if (decision.kind === "append") this.#write(told);
  }

  #write(told: (answer: TransactionAnswer) => void): void {
    assert(this.#flight === null);
    this.#flight = { metadata: this.#transaction!.pending!.metadata, told };
  }

  /** The log says what became of a step. */
  #land(): void {
    const flight = this.#flight!;
    this.#flight = null;
    const transaction = this.#transaction!;
    const outcome = this.#random.below(20);
    if (outcome < 2) {
      flight.told(transaction.appended(ErrorCode.NOT_ENOUGH_REPLICAS).answer);
      this.#forgetBlank();
      return;
    }
    if (outcome === 2) {
      // In doubt: nothing may come of it until the log is loaded again.
      const isThere = this.#random.below(2) === 0;
      const { isInDoubt, answer } = transaction.appended(ErrorCode.NOT_LEADER_OR_FOLLOWER);
      assert(isInDoubt && transaction.pending !== null);
      if (isThere) this.#push(flight.metadata);
      flight.told(answer);
      this.#load();
      return;
    }
    this.#push(flight.metadata);
    const isShort = outcome === 3;
    const error = isShort ? ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND : ErrorCode.NONE;
    const { isApplied, answer } = transaction.appended(error);
    assert(isApplied);
    if (transaction.isDead) this.#forget();
    else this.#checkLoaded();
    flight.told(answer);
  }

  #complete(): void {
    const transaction = this.#transaction;
    if (transaction === null || transaction.pending !== null || !transaction.isEnding) return;
    transaction.complete(this.#nowMs);
    this.#write(() => {});
  }

  #timeOut(): void {
    const transaction = this.#transaction;
    if (transaction === null) return;
    if (this.#random.below(2) === 0) this.#nowMs += TIMEOUT_MS;
    const nowMs = this.#nowMs;
    if (!transaction.timeOut({ transactionVersion: this.#clusterVersion, nowMs })) return;
    this.seen.timeOuts++;
    this.#write(() => {});
  }

  #expire(): void {
    if (this.#transaction?.expire(this.#nowMs - 100) !== true) return;
    this.seen.tombstones++;
    this.#write(() => {});
  }

  /** The coordinator is lost, with what it had on its way. */
  #crash(): void {
    if (this.#transaction === null) return;
    if (this.#flight !== null && this.#random.below(2) === 0) this.#push(this.#flight.metadata);
    this.#flight = null;
    this.#load();
  }

  #load(): void {
    this.seen.loads++;
    const metadata = this.#log.at(-1) ?? null;
    this.#transaction = metadata === null ? null : new Transaction(ID, metadata);
    if (metadata === null) this.#forget();
  }

  /** The id is forgotten: whoever used it has to begin anew, and gets another producer id. */
  #forget(): void {
    this.#transaction = null;
    this.#newest = -1;
    for (const producer of this.#producers) producer.ordinal = -1;
  }

  #forgetBlank(): void {
    if (this.#transaction?.isBlank === true) this.#transaction = null;
  }

  // ---- the log --------------------------------------------------------------------------------------

  #push(metadata: TransactionMetadata | null): void {
    const record = decodeTransaction(encodeTransaction(ID, metadata, 2));
    assert(record.kind === "transaction" && record.transactionalId === ID);
    if (record.metadata === null) this.#log = [];
    else this.#log.push(record.metadata);
  }

  #checkLoaded(): void {
    const { lastProducerEpoch: _, ...metadata } = this.#transaction!.metadata;
    const { lastProducerEpoch: __, ...loaded } = this.#log.at(-1)!;
    assert.deepEqual(loaded, metadata);
  }

  #checkLog(): void {
    const [before, after] = this.#log.slice(-2);
    if (before === undefined || after === undefined) return;
    if (before.producerId === after.producerId) {
      assert(after.producerEpoch >= before.producerEpoch, "an epoch went back");
    }
    const follows = { PrepareCommit: "CompleteCommit", PrepareAbort: "CompleteAbort" } as const;
    if (before.state === "PrepareCommit" || before.state === "PrepareAbort") {
      assert.equal(after.state, follows[before.state], "a decision changed");
    }
    if (before.state === "Ongoing" && after.state !== "CompleteCommit") {
      for (const [topic, numbers] of before.partitions) {
        for (const number of numbers) assert(after.partitions.get(topic)?.has(number), "lost");
      }
    }
  }

  #anyProducer(): Producer | null {
    const { length } = this.#producers;
    return length === 0 ? null : this.#producers[this.#random.below(length)]!;
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#random.below(from.length)]!;
  }
}

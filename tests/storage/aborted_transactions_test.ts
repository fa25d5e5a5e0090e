/**
 * Random transactions on a log, and a consumer with read_committed that believes what the log says of them:
 * it must see what was committed and nothing that was aborted, whatever happens to segments and indexes.
 */

import { expect, test } from "bun:test";
import assert from "node:assert/strict";
import { ErrorCode } from "../../protocol/errors.ts";
import { buildBatch } from "../../protocol/records.ts";
import { offset } from "../../protocol/types.ts";
import { SimRandom, testSeeds } from "../sim/sim_random.ts";
import { Fixture } from "./log_fixture.ts";

const STEPS = 150;
const CONFIG = { segmentBytes: 1000, fileDeleteDelayMs: 10 };

interface Written {
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly producerId: number;
  readonly kind: "plain" | "transactional" | "abort" | "commit";
}

class TransactionRun {
  readonly counts: Record<string, number> = {};
  readonly #random: SimRandom;
  readonly #fixture: Fixture;
  /** Deleted ones too. */
  #written: Written[] = [];
  readonly #sequences = new Map<number, number>();

  private constructor(seed: number, fixture: Fixture) {
    this.#random = new SimRandom(seed);
    this.#fixture = fixture;
  }

  static async live(seed: number): Promise<Record<string, number>> {
    const run = new TransactionRun(seed, await Fixture.open(CONFIG));
    for (let step = 0; step < STEPS; step++) {
      await run.#step();
      if (step % 5 === 0) run.#check();
    }
    run.#check();
    return run.counts;
  }

  get #log() {
    return this.#fixture.log;
  }

  async #step(): Promise<void> {
    const choice = this.#random.below(100);
    if (choice < 55) this.#append();
    else if (choice < 75) this.#end();
    else if (choice < 80) this.#log.roll();
    else if (choice < 84) await this.#truncate();
    else if (choice < 90) await this.#deleteRecords();
    else await this.#restart();
  }

  #count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  #note(kind: Written["kind"], producerId: number, result: object): void {
    assert("baseOffset" in result && "lastOffset" in result, JSON.stringify(result));
    const { baseOffset, lastOffset } = result as Written;
    this.#written.push({ kind, producerId, baseOffset, lastOffset });
    this.#count(kind);
  }

  /** First offsets of the open transactions by producer. */
  #open(): Map<number, number> {
    const open = new Map<number, number>();
    for (const { kind, producerId, baseOffset } of this.#written) {
      if (kind === "abort" || kind === "commit") open.delete(producerId);
      else if (kind === "transactional" && !open.has(producerId)) open.set(producerId, baseOffset);
    }
    return open;
  }

  #append(): void {
    const random = this.#random;
    const producerId = random.below(6);
    const isPlain = producerId === 0;
    const sequence = this.#sequences.get(producerId) ?? 0;
    const count = random.between(1, 3);
    const result = this.#fixture.append(count, {
      valueBytes: random.pick([1, 100]),
      ...(!isPlain && {
        producerId,
        producerEpoch: 0,
        baseSequence: sequence,
        transactional: true,
      }),
    });
    this.#sequences.set(producerId, sequence + count);
    this.#note(isPlain ? "plain" : "transactional", producerId, result);
  }

  #end(): void {
    const producerId = this.#random.between(1, 5);
    const kind = this.#random.pick(["abort", "commit"] as const);
    const key = new Uint8Array([0, 0, 0, kind === "abort" ? 0 : 1]);
    const bytes = buildBatch({
      records: [{ key, value: new Uint8Array(6), timestamp: this.#fixture.clock.wallMs() }],
      producerId,
      producerEpoch: 0,
      transactional: true,
      control: true,
    });
    const options = { leaderEpoch: 0, origin: "coordinator" } as const;
    this.#note(kind, producerId, this.#log.appendAsLeader(bytes, options));
  }

  async #sync(): Promise<void> {
    await this.#fixture.clock.run(this.#log.whenSynced(this.#log.endOffset));
  }

  async #truncate(): Promise<void> {
    const target = this.#random.between(this.#log.logStartOffset, this.#log.endOffset);
    await this.#fixture.clock.run(this.#log.truncateTo(offset(target)));
    this.#written = this.#written.filter(({ lastOffset }) => lastOffset < this.#log.endOffset);
    for (const producerId of this.#sequences.keys()) this.#recount(producerId);
    this.#count("truncations");
  }

  #recount(producerId: number): void {
    let next = 0;
    for (const one of this.#written) {
      const isOurs = one.kind === "transactional" && one.producerId === producerId;
      if (isOurs) next += one.lastOffset - one.baseOffset + 1;
    }
    this.#sequences.set(producerId, next);
  }

  async #deleteRecords(): Promise<void> {
    await this.#sync();
    const { logStartOffset, endOffset } = this.#log;
    const upTo = this.#random.between(
      logStartOffset,
      Math.max(logStartOffset, endOffset - this.#random.below(30)),
    );
    expect(this.#log.deleteRecordsBefore(offset(upTo)).error).toBe(ErrorCode.NONE);
    await this.#fixture.clock.advance(20);
    this.#count("deletions");
  }

  async #restart(): Promise<void> {
    const { clock, disk, directory } = this.#fixture;
    await this.#sync();
    await clock.run(directory.checkpoint());
    if (this.#random.chance(0.5)) {
      disk.kill();
      clock.dropTimers();
      this.#count("kills");
    } else {
      await clock.run(directory.close());
      this.#count("clean restarts");
    }
    if (this.#random.chance(0.7)) this.#harmIndexes();
    await this.#fixture.reopen(CONFIG);
  }

  /** What people, copies and bad disks do to index files. */
  #harmIndexes(): void {
    const { disk } = this.#fixture;
    const paths = disk.files().filter((path) => path.endsWith(".txnindex"));
    for (const path of paths) {
      const choice = this.#random.below(5);
      if (choice === 0) continue;
      this.#count("indexes harmed");
      if (choice === 4) disk.remove(path);
      else if (choice === 1) {
        for (const suffix of [".index", ".timeindex", ".txnindex"]) {
          const sibling = path.replace(/\.txnindex$/, suffix);
          if (disk.exists(sibling)) disk.remove(sibling);
        }
      } else if (choice === 2) {
        const file = disk.open(path, "write");
        file.truncate(Math.max(0, file.sizeBytes - this.#random.between(1, 33)));
        file.close();
      } else if (disk.bytesOf(path).length > 0) {
        const file = disk.open(path, "write");
        file.write(0, new Uint8Array(34));
        file.close();
      }
    }
  }

  #check(): void {
    const log = this.#log;
    const open = this.#open();
    const oldest = Math.min(log.endOffset, ...open.values());
    const stable = log.lastStableOffset(log.endOffset);
    assert.equal(stable, Math.max(oldest, log.logStartOffset), "last stable offset");
    for (let i = 0; i < 6; i++) {
      const from = this.#random.between(log.logStartOffset, stable);
      const upTo = this.#random.between(from, stable);
      assert.deepEqual(this.#consume(from, upTo), this.#committed(from, upTo), `${from}–${upTo}`);
    }
  }

  /** What a consumer shows of the batches within the range, by the rules of Kafka's clients. */
  #consume(from: number, upTo: number): number[] {
    const aborted = this.#log.abortedTransactions(offset(from), offset(upTo))
      .toSorted((a, b) => a.firstOffset - b.firstOffset);
    const skipped = new Set<number>();
    const shown: number[] = [];
    for (const { kind, producerId, baseOffset, lastOffset } of this.#within(from, upTo)) {
      while (aborted.length > 0 && aborted[0]!.firstOffset <= lastOffset) {
        skipped.add(aborted.shift()!.producerId);
      }
      if (kind === "abort") skipped.delete(producerId);
      const isSkipped = kind === "transactional" && skipped.has(producerId);
      if ((kind === "transactional" || kind === "plain") && !isSkipped) shown.push(baseOffset);
    }
    return shown;
  }

  #within(from: number, upTo: number): Written[] {
    return this.#written.filter((one) => one.lastOffset >= from && one.lastOffset < upTo);
  }

  #committed(from: number, upTo: number): number[] {
    return this.#within(from, upTo).filter((batch) => {
      if (batch.kind === "plain") return true;
      if (batch.kind !== "transactional") return false;
      const end = this.#written.find((one) =>
        one.baseOffset > batch.baseOffset && one.producerId === batch.producerId &&
        (one.kind === "abort" || one.kind === "commit")
      );
      return end?.kind === "commit";
    }).map(({ baseOffset }) => baseOffset);
  }
}

test(
  "Log.abortedTransactions: a consumer sees what was committed, whatever becomes of the indexes",
  async () => {
    const sum: Record<string, number> = {};
    const seeds = testSeeds(60);
    for (const seed of seeds) {
      let counts: Record<string, number>;
      try {
        counts = await TransactionRun.live(seed);
      } catch (failure) {
        const hint = `WEIR_SEED=${seed} bun test tests/storage/aborted_transactions_test.ts`;
        throw new Error(`Seed ${seed} failed: ${hint}`, { cause: failure });
      }
      for (const [what, count] of Object.entries(counts)) sum[what] = (sum[what] ?? 0) + count;
    }
    if (seeds.length === 1) return;
    const happened = ["abort", "truncations", "deletions", "kills", "clean restarts"];
    for (const what of [...happened, "indexes harmed"]) {
      expect([what, sum[what]! > seeds.length]).toEqual([what, true]);
    }
  },
  120_000,
);

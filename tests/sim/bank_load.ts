/**
 * Who works at the bank of a simulated cluster, dies there and is replaced, and how its books are closed
 * (`bank_clients.ts`, `bank_ledger.ts`).
 */

import assert from "node:assert/strict";
import { BankLedger } from "./bank_ledger.ts";
import { LEDGER, REQUESTS, SimAuditor, SimTeller } from "./bank_clients.ts";
import { type ClientSurroundings, type SimAdmin, SimProducer } from "./cluster_clients.ts";
import type { HistoryEvent } from "./history.ts";
import type { SimRandom } from "./sim_random.ts";

/**
 * Until the last request is booked: transactions and sessions may have to run out first, and with a slow disk in the
 * cluster a transfer takes a second and a half, one after the other.
 */
const SETTLE_MS = 300_000;

/** Until all is booked that was asked for while no teller could work: sessions of members are long. */
const BOOK_MS = 600_000;

/** What a bank needs of its world. */
export interface BankWorld {
  readonly random: SimRandom;
  readonly replicationFactor: number;
  newClient(name: string): ClientSurroundings;
  spawn(work: Promise<void>): void;
  /** Waits, until the cluster is healed at the longest. */
  pass(ms: number): Promise<void>;
  readonly isHealed: () => boolean;
  within(limitMs: number, what: string, holds: () => boolean): Promise<void>;
  /** Waits until every node knows a topic. */
  known(topic: string): Promise<void>;
  trace(line: string): void;
}

/** What a bank has done. */
export interface BankCounts {
  readonly committed: number;
  readonly aborted: number;
  readonly audited: number;
  readonly deaths: number;
}

/** The clients of one bank. */
export class BankLoad {
  readonly #world: BankWorld;
  readonly #random: SimRandom;
  readonly #books = new BankLedger();
  readonly #requestPartitions: number;
  readonly #ledgerPartitions: number;
  /** Tellers are members of a group; otherwise each has its partition. */
  readonly #isGroup: boolean;
  readonly #customers: SimProducer[] = [];
  /** By partition, of a group all together; the newest last. */
  readonly #tellers: SimTeller[][] = [];
  readonly #gone: SimTeller[] = [];
  readonly #auditor: SimAuditor;
  #tellerCount = 0;
  #deathCount = 0;

  constructor(world: BankWorld) {
    this.#world = world;
    this.#random = world.random.fork("bank");
    this.#requestPartitions = this.#random.between(1, 3);
    this.#ledgerPartitions = this.#random.between(1, 3);
    this.#isGroup = this.#random.chance(0.5);
    this.#auditor = new SimAuditor(
      world.newClient("auditor"),
      this.#books,
      this.#ledgerPartitions,
    );
  }

  get counts(): BankCounts {
    const tellers = [...this.#tellers.flat(), ...this.#gone];
    return {
      committed: tellers.reduce((sum, { committedCount }) => sum + committedCount, 0),
      aborted: tellers.reduce((sum, { abortedCount }) => sum + abortedCount, 0),
      audited: this.#auditor.readCount,
      deaths: this.#deathCount,
    };
  }

  /** Opens: topics first, then everybody. */
  async open(admin: SimAdmin): Promise<void> {
    const { replicationFactor } = this.#world;
    await admin.createTopic(REQUESTS, this.#requestPartitions, replicationFactor);
    await admin.createTopic(LEDGER, this.#ledgerPartitions, replicationFactor);
    for (const topic of [REQUESTS, LEDGER]) await this.#world.known(topic);
    const partitions = Array.from({ length: this.#requestPartitions }, (_, at) => at);
    for (const partition of partitions) {
      this.#startCustomer(partition);
      if (partition === 0 || !this.#isGroup) this.#tellers.push([]);
      this.#startTeller(this.#isGroup ? 0 : partition);
    }
    this.#world.spawn(this.#auditor.run());
    this.#world.spawn(this.#dieNowAndThen());
  }

  #startCustomer(partition: number): void {
    const client = this.#world.newClient(`customer${partition}`);
    const customer = new SimProducer({ ...client, note: (event) => this.#note(event) }, {
      topic: REQUESTS,
      partitions: [partition],
      guarantee: "exactly once",
      isImpatient: false,
      thinkMs: this.#random.pick([200, 1_000, 3_000]),
      acks: -1,
    });
    this.#customers.push(customer);
    this.#world.spawn(customer.run());
  }

  #note(event: HistoryEvent): void {
    if (event.kind === "send") this.#books.sent(event.value);
    if (event.kind === "ack") this.#books.acknowledged(event.value);
  }

  #startTeller(partition: number): void {
    const client = this.#world.newClient(`teller${++this.#tellerCount}`);
    const teller = new SimTeller(client, {
      ledger: this.#books,
      partition: this.#isGroup ? null : partition,
      partitionCount: this.#ledgerPartitions,
    });
    teller.isCalm = this.#world.isHealed();
    this.#tellers[partition]!.push(teller);
    this.#world.spawn(Promise.race([teller.run(), client.process.died]));
  }

  /** A teller dies without a word, before or after the one that takes over begins. */
  replaceTeller(): void {
    const partition = this.#random.below(this.#tellers.length);
    const tellers = this.#tellers[partition]!;
    if (tellers.length > this.#mostTellers || this.#random.chance(0.7)) this.#kill(tellers);
    this.#startTeller(partition);
  }

  get #mostTellers(): number {
    return this.#isGroup ? this.#requestPartitions : 1;
  }

  #kill(tellers: SimTeller[]): void {
    const teller = tellers.shift();
    if (teller === undefined) return;
    this.#world.trace(`${teller.name} dies`);
    teller.surroundings.process.die("kill");
    this.#deathCount++;
    this.#gone.push(teller);
  }

  async #dieNowAndThen(): Promise<void> {
    while (!this.#world.isHealed()) {
      await this.#world.pass(this.#random.below(6_000));
      if (!this.#world.isHealed()) this.replaceTeller();
    }
  }

  /** Closes the books: everything that was asked for is booked, and nothing is held back. */
  async close(): Promise<void> {
    const { within } = this.#world;
    for (const tellers of this.#tellers) {
      while (tellers.length > this.#mostTellers) this.#kill(tellers);
      for (const teller of tellers) teller.isCalm = true;
    }
    for (const customer of this.#customers) customer.stop();
    await within(SETTLE_MS, "customers are answered", () => (
      this.#customers.every(({ isDone }) => isDone)
    ));
    await within(BOOK_MS, "every transfer is booked", () => this.#books.missing.length === 0);
    for (const teller of this.#tellers.flat()) teller.stop();
    let isAsking = false;
    let isAtEnd = false;
    const ask = async () => {
      isAsking = true;
      const found = await this.#auditor.behind();
      isAtEnd = found.size === 0;
      if (!isAtEnd) this.#world.trace(`behind: ${JSON.stringify([...found])}`);
      isAsking = false;
    };
    await within(SETTLE_MS, "the auditor reads to the end", () => {
      if (!isAtEnd && !isAsking) this.#world.spawn(ask());
      return isAtEnd;
    });
    this.#auditor.stop();
    assert.deepEqual(this.#books.end(), [], "the books are wrong");
  }
}

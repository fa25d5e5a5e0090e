/**
 * A bank in a simulated cluster: customers ask for transfers, tellers book them in transactions that hold the offsets
 * of what they read, and an auditor reads what is committed all the while (`bank_ledger.ts`).
 *
 *     customer ──→ requests ──teller: one transaction──→ ledger ──→ auditor (read_committed)
 *                                └──→ __consumer_offsets
 *
 * Tellers die in the midst of anything, and another one takes over under the same transactional id, at times while
 * the one before still lives; or they are members of a group, each with an id of its own, and what is left open is
 * ended by its time-out. They abort some transactions for no reason, and let some time out.
 */

import assert from "node:assert/strict";
import { Consumer } from "../../broker/client/consumer.ts";
import { fetchGroupOffsets } from "../../broker/client/group_member.ts";
import { listOffsets, SpecialTimestamp } from "../../broker/client/offsets.ts";
import type { BankLedger, Booking } from "./bank_ledger.ts";
import { type ClientSurroundings, SimClient } from "./cluster_clients.ts";
import { ConsumerMember } from "./consumer_member.ts";
import { TransactionalClient, TransactionLostError } from "./transactional_client.ts";

/** The topic that customers write to. */
export const REQUESTS = "requests";
/** The topic that tellers write to. */
export const LEDGER = "ledger";
const GROUP = "tellers";
/** Short, so that coordinators end what tellers leave behind. */
const TRANSACTION_TIMEOUT_MS = 8_000;
/** Requests of one transaction; more where a backlog is to be worked off. */
const MAX_REQUESTS = 4;
const MAX_CALM_REQUESTS = 20;

const TEXT = { encoder: new TextEncoder(), decoder: new TextDecoder() };

/** What a teller is given. */
export interface TellerOptions {
  readonly ledger: BankLedger;
  /** Of the requests; null for what a group gives it, whose members fence each other (KIP-447). */
  readonly partition: number | null;
  /** Of the ledger. */
  readonly partitionCount: number;
}

/** Books what comes in one partition. */
export class SimTeller extends SimClient {
  committedCount = 0;
  abortedCount = 0;
  /** Nothing goes wrong by its own doing any more. */
  isCalm = false;
  readonly #options: TellerOptions;
  readonly #producer: TransactionalClient;
  readonly #member: ConsumerMember | null;
  #attemptCount = 0;
  /** Of one transaction in calm times; fewer once one was lost, which may have been too long for its time-out. */
  #mostRequests = MAX_CALM_REQUESTS;

  constructor(surroundings: ClientSurroundings, options: TellerOptions) {
    super(surroundings);
    this.#options = options;
    const { partition } = options;
    this.#member = partition === null
      ? new ConsumerMember(this.client, GROUP, REQUESTS, this.name)
      : null;
    this.#producer = new TransactionalClient({
      client: this.client,
      transactionalId: partition === null ? this.name : `teller-${partition}`,
      // The next one may speak another version than the one before.
      transactionVersion: this.random.chance(0.5) ? 2 : 1,
      transactionTimeoutMs: TRANSACTION_TIMEOUT_MS,
      insist: (what, attempt) => this.insist(what, attempt),
    });
  }

  async run(): Promise<void> {
    const member = this.#member?.run(() => this.isStopping, (what, attempt) => (
      this.insist(what, attempt)
    ));
    await Promise.all([this.#produce(), member]);
    await this.client.close();
  }

  async #produce(): Promise<void> {
    while (!this.isStopping) {
      try {
        await this.#producer.init();
        await this.#work();
      } catch (error) {
        if (!(error instanceof TransactionLostError)) throw error;
        this.surroundings.trace(`${this.name}: ${error.message}`);
        this.#mostRequests = Math.max(1, this.#mostRequests >> 1);
        await this.pass(this.random.below(500));
      }
    }
  }

  /** From an epoch to its loss. */
  async #work(): Promise<void> {
    while (!this.isStopping) {
      const partitions = this.#member?.settle() ?? [this.#options.partition!];
      if (partitions.length === 0) {
        await this.pass(500);
        continue;
      }
      const places = partitions.map((partition) => ({ topic: REQUESTS, partition }));
      const committed = await this.insist(
        "offset",
        () => fetchGroupOffsets(this.client, GROUP, places),
      );
      const consumer = new Consumer(this.client, {
        readCommitted: true,
        onReset: () => assert.fail("requests are gone"),
      });
      consumer.assign(committed.map(({ offset, ...place }) => ({
        ...place,
        position: Math.max(0, offset),
      })));
      while (!this.isStopping && this.#member?.mustSettle !== true) {
        const polled = await this.insist("poll", () => consumer.poll());
        if (!await this.#transferAll(polled)) break;
      }
    }
  }

  /** Returns: whether all of it was committed. */
  async #transferAll(polled: Awaited<ReturnType<Consumer["poll"]>>): Promise<boolean> {
    const maxRequests = this.isCalm ? this.#mostRequests : MAX_REQUESTS;
    for (const { partition, records } of polled) {
      for (let at = 0; at < records.length; at += maxRequests) {
        if (this.isStopping || this.#member?.mustSettle === true) return false;
        const taken = records.slice(at, at + maxRequests);
        const values = taken.map(({ value }) => TEXT.decoder.decode(value!));
        const nextOffset = taken.at(-1)!.offset + 1;
        if (!await this.#transfer(values, partition, nextOffset)) return false;
      }
    }
    return true;
  }

  /** One transaction. Returns: whether it was committed. */
  async #transfer(
    requests: readonly string[],
    partition: number,
    nextOffset: number,
  ): Promise<boolean> {
    const { ledger } = this.#options;
    const attempt = `${this.name}/${++this.#attemptCount}`;
    ledger.begun(attempt, requests);
    for (const request of requests) await this.#book(attempt, request);
    const dice = this.isCalm ? 0.5 : this.random.uint32() / 2 ** 32;
    // It hangs for so long that somebody else takes over, or its transaction is ended.
    if (dice < 0.05) await this.pass(this.random.below(2 * TRANSACTION_TIMEOUT_MS));
    const next = { topic: REQUESTS, partition, offset: nextOffset };
    await this.#producer.sendOffset(GROUP, next, this.#member);
    if (dice > 0.95) await this.pass(this.random.below(2 * TRANSACTION_TIMEOUT_MS));
    if (dice < 0.2) {
      await this.#producer.end(false);
      ledger.ended(attempt, "aborted");
      this.abortedCount++;
      return false;
    }
    ledger.ended(attempt, "ending");
    await this.#producer.end(true);
    ledger.ended(attempt, "committed");
    this.committedCount++;
    return true;
  }

  async #book(attempt: string, request: string): Promise<void> {
    const { partitionCount } = this.#options;
    const [from, to] = [this.random.below(partitionCount), this.random.below(partitionCount)];
    const amount = this.random.between(1, 100);
    const isWithin = from === to;
    const debit: Booking = { attempt, request, leg: "debit", amount, isWithin };
    const credit: Booking = { ...debit, leg: "credit" };
    if (isWithin) return await this.#producer.send(LEDGER, from, [encode(debit), encode(credit)]);
    await this.#producer.send(LEDGER, from, [encode(debit)]);
    await this.#producer.send(LEDGER, to, [encode(credit)]);
  }
}

function encode(booking: Booking): Uint8Array {
  return TEXT.encoder.encode(JSON.stringify(booking));
}

/** Reads the ledger, of which it sees what is committed. */
export class SimAuditor extends SimClient {
  readCount = 0;
  readonly #ledger: BankLedger;
  readonly #partitions: readonly number[];
  readonly #consumer: Consumer;

  constructor(surroundings: ClientSurroundings, ledger: BankLedger, partitionCount: number) {
    super(surroundings);
    this.#ledger = ledger;
    this.#partitions = Array.from({ length: partitionCount }, (_, at) => at);
    this.#consumer = new Consumer(this.client, {
      readCommitted: true,
      onReset: () => assert.fail("the ledger is gone"),
    });
  }

  async run(): Promise<void> {
    this.#consumer.assign(this.#partitions.map((partition) => ({
      topic: LEDGER,
      partition,
      position: 0,
    })));
    while (!this.isStopping) {
      const polled = await this.insist("audit", () => this.#consumer.poll());
      for (const { partition, records } of polled) {
        const bookings = records.map(({ value }) => (
          JSON.parse(TEXT.decoder.decode(value!)) as Booking
        ));
        this.readCount += bookings.length;
        this.#ledger.read(partition, bookings);
      }
      assert.deepEqual(this.#ledger.violations, []);
    }
    await this.client.close();
  }

  /** Offsets that are held back, or not read yet, by partition: [position, last stable, high watermark]. */
  async behind(): Promise<Map<number, readonly [number, number, number]>> {
    const at = (readCommitted: boolean) =>
      this.insist(
        "ends",
        () =>
          listOffsets(this.client, LEDGER, this.#partitions, SpecialTimestamp.latest, {
            readCommitted,
          }),
      );
    const [stable, ends] = [await at(true), await at(false)];
    const found = new Map<number, readonly [number, number, number]>();
    for (const partition of this.#partitions) {
      const position = this.#consumer.position(LEDGER, partition);
      const [last, end] = [stable.get(partition)!.offset, ends.get(partition)!.offset];
      if (position < end || last < end) found.set(partition, [position, last, end]);
    }
    return found;
  }
}

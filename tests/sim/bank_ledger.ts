/**
 * What a bank's books must be like, whatever crashes: every transfer that was asked for is booked once, as a whole,
 * by a transaction that was committed, and nobody ever sees anything else.
 *
 *     attempt: open ──commit is sent──→ ending ──told so──→ committed
 *                └──abort is sent, its client gone──→ never to be seen
 *
 * A booking that is seen belongs to an attempt whose commit was sent: what was aborted, or left open, is never seen.
 * The two bookings of a transfer within one partition stand in one batch: its total is nothing at every read.
 */

/** A transfer, as it is booked: what goes from one account comes to the other. */
export interface Booking {
  readonly attempt: string;
  readonly request: string;
  readonly leg: "debit" | "credit";
  readonly amount: number;
  /** True when both bookings of the transfer lie in one batch. */
  readonly isWithin: boolean;
}

type Outcome = "open" | "ending" | "committed" | "aborted";

/** Takes what the clients of the bank say, and finds what cannot be. */
export class BankLedger {
  /** Requests by whether they were acknowledged. */
  readonly #requests = new Map<string, boolean>();
  /** Attempts with the requests that they book. */
  readonly #attempts = new Map<
    string,
    { outcome: Outcome; readonly requests: readonly string[] }
  >();
  /** Attempts in which a booking was seen, by request and leg. */
  readonly #seen = new Map<string, string>();
  readonly #totals = new Map<number, number>();
  readonly #violations: string[] = [];

  /** A request is about to be sent. */
  sent(request: string): void {
    this.#requests.set(request, false);
  }

  acknowledged(request: string): void {
    this.#requests.set(request, true);
  }

  /** A transaction is about to book these requests. */
  begun(attempt: string, requests: readonly string[]): void {
    this.#attempts.set(attempt, { outcome: "open", requests });
  }

  /** Its commit is about to be sent ("ending"), or what became of it is known. */
  ended(attempt: string, outcome: Exclude<Outcome, "open">): void {
    this.#attempts.get(attempt)!.outcome = outcome;
  }

  /** A read_committed reader saw these bookings of a partition, in the order of the log, in one read. */
  read(partition: number, bookings: readonly Booking[]): void {
    for (const { attempt, request, leg, amount, isWithin } of bookings) {
      const outcome = this.#attempts.get(attempt)?.outcome;
      if (outcome === undefined || outcome === "open" || outcome === "aborted") {
        this.#violations.push(`${attempt} was seen: it is ${outcome ?? "unknown"}`);
      }
      const key = `${request} ${leg}`;
      const before = this.#seen.get(key);
      if (before !== undefined) {
        this.#violations.push(`${key} was booked by ${before} and by ${attempt}`);
      }
      this.#seen.set(key, attempt);
      if (!isWithin) continue;
      const signed = leg === "debit" ? -amount : amount;
      this.#totals.set(partition, (this.#totals.get(partition) ?? 0) + signed);
    }
    const total = this.#totals.get(partition) ?? 0;
    if (total !== 0) this.#violations.push(`the total of partition ${partition} is ${total}`);
  }

  /** Of transfers that were asked for for certain, those that are not booked yet. */
  get missing(): string[] {
    const isBooked = (request: string) =>
      this.#seen.has(`${request} debit`) && this.#seen.has(`${request} credit`);
    return [...this.#requests].filter(([request, isAcknowledged]) => (
      isAcknowledged && !isBooked(request)
    )).map(([request]) => request);
  }

  /** What cannot be, by now. */
  get violations(): readonly string[] {
    return this.#violations;
  }

  /** The books are closed: everything was read. Returns: what cannot be. */
  end(): string[] {
    const found = [...this.#violations];
    for (const request of this.missing) found.push(`${request} is not booked`);
    for (const [attempt, { outcome, requests }] of this.#attempts) {
      const legs = requests.flatMap((request) => [`${request} debit`, `${request} credit`])
        .filter((key) => this.#seen.get(key) === attempt);
      if (legs.length > 0 && legs.length < 2 * requests.length) {
        found.push(`${attempt} is torn: ${legs.length} bookings of ${2 * requests.length}`);
      }
      if (outcome === "committed" && legs.length === 0) found.push(`${attempt} is lost`);
    }
    return found;
  }
}

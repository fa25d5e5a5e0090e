/**
 * What clients sent, were told and saw, and whether a log that keeps its promises can have caused it.
 *
 *     send ─→ ack │ (nothing: it may or may not be there)        commit ─→ ask ─→ answer
 *                 └─→ read, read, read … ─→ log (all that is there in the end, from the first offset on)
 *
 * Events are in the order in which they happened, as one observer sees it: simulator and real processes
 * alike. Looked for: what was acknowledged and is nowhere; what is there twice though its producer is
 * idempotent; what changed its place among the records of its producer; two values at one offset; a reader
 * that goes back or leaves out; a value that nobody sent; a commit that is gone. What was not acknowledged
 * may be there or not.
 *
 * For topics from which nothing is deleted and that hold no transactions: there, every offset holds a record.
 */

/** What a producer may expect of its records: each one once, at least once when answered, or nothing. */
export type Guarantee = "exactly once" | "at least once" | "none";

/** One thing that happened. `partition` names topic and partition; `value` is unique in its partition. */
export type HistoryEvent =
  /** A producer hands a record over for the first time. */
  | {
    readonly kind: "send";
    readonly producer: string;
    readonly guarantee: Guarantee;
    readonly partition: string;
    readonly value: string;
  }
  /** The broker says that it has it. `offset` is null where the answer named none (a duplicate). */
  | {
    readonly kind: "ack";
    readonly partition: string;
    readonly value: string;
    readonly offset: number | null;
  }
  /** `reader` is one run of one reader: from where it was positioned to where it lost the partition. */
  | {
    readonly kind: "read";
    readonly reader: string;
    readonly partition: string;
    readonly offset: number;
    readonly value: string;
  }
  /** The group's commit was acknowledged. */
  | {
    readonly kind: "commit";
    readonly group: string;
    readonly partition: string;
    readonly offset: number;
  }
  /** Somebody asks for the group's commits; `ask` names this question. */
  | { readonly kind: "ask"; readonly group: string; readonly ask: string }
  /** The answer; −1 is "none". */
  | {
    readonly kind: "answer";
    readonly ask: string;
    readonly partition: string;
    readonly offset: number;
  }
  /** At the end, a record of the log. */
  | {
    readonly kind: "log";
    readonly partition: string;
    readonly offset: number;
    readonly value: string;
  };

interface Sent {
  readonly producer: string;
  readonly guarantee: Guarantee;
  /** Its place among the records of its producer in this partition. */
  readonly order: number;
  acknowledgedAt: number | null;
  isAcknowledged: boolean;
  /** Offsets in the log of the end. */
  readonly offsets: number[];
}

/** More than so many problems of one history say nothing more. */
const MAX_PROBLEMS = 20;

/** One partition. */
class PartitionHistory {
  readonly sent = new Map<string, Sent>();
  readonly sentCounts = new Map<string, number>();
  /** By offset, whoever told of it first. */
  readonly values = new Map<number, string>();
  readonly log: { readonly offset: number; readonly value: string }[] = [];
  /** Offset that each reader read last. */
  readonly positions = new Map<string, number>();
  /** Highest offset that a reader was given. */
  highestRead = -1;
}

/** Reads a history. Returns: a sentence for each promise that was broken; none when it is clean. */
export function checkHistory(events: Iterable<HistoryEvent>): string[] {
  const check = new HistoryCheck();
  for (const event of events) check.take(event);
  return check.end();
}

/** The same, event by event, for histories that are checked as they grow. */
export class HistoryCheck {
  readonly problems: string[] = [];
  readonly #partitions = new Map<string, PartitionHistory>();
  /** Highest acknowledged commit, by group and partition. */
  readonly #commits = new Map<string, Map<string, number>>();
  readonly #asks = new Map<string, ReadonlyMap<string, number>>();

  take(event: HistoryEvent): void {
    switch (event.kind) {
      case "send":
        return this.#send(event);
      case "ack":
        return this.#ack(event);
      case "read":
        return this.#read(event);
      case "commit":
        return this.#commit(event.group, event.partition, event.offset);
      case "ask":
        this.#asks.set(event.ask, new Map(this.#commits.get(event.group)));
        return;
      case "answer":
        return this.#answer(event);
      case "log":
        this.#partition(event.partition).log.push(event);
        return this.#value(event.partition, event.offset, event.value, "the log holds");
    }
  }

  /** Nothing comes any more. Returns: all problems. */
  end(): string[] {
    for (const [name, partition] of this.#partitions) this.#endOf(name, partition);
    return this.problems;
  }

  #found(problem: string): void {
    if (this.problems.length < MAX_PROBLEMS) this.problems.push(problem);
  }

  #partition(name: string): PartitionHistory {
    let partition = this.#partitions.get(name);
    if (partition === undefined) this.#partitions.set(name, partition = new PartitionHistory());
    return partition;
  }

  #send({ partition: name, producer, guarantee, value }: HistoryEvent & { kind: "send" }): void {
    const partition = this.#partition(name);
    const order = partition.sentCounts.get(producer) ?? 0;
    partition.sentCounts.set(producer, order + 1);
    partition.sent.set(value, {
      producer,
      guarantee,
      order,
      acknowledgedAt: null,
      isAcknowledged: false,
      offsets: [],
    });
  }

  #ack({ partition: name, value, offset }: HistoryEvent & { kind: "ack" }): void {
    const sent = this.#partition(name).sent.get(value);
    if (sent === undefined) return this.#found(`${name}: ${value} acknowledged and never sent`);
    sent.isAcknowledged = true;
    if (offset === null) return;
    sent.acknowledgedAt = offset;
    // Of what is promised nothing, another record may take the place.
    if (sent.guarantee !== "none") this.#value(name, offset, value, "acknowledged was");
  }

  #read({ partition: name, reader, offset, value }: HistoryEvent & { kind: "read" }): void {
    const partition = this.#partition(name);
    const last = partition.positions.get(reader);
    if (last !== undefined && offset !== last + 1) {
      const what = offset <= last ? "went back" : "left out records";
      this.#found(`${name}: reader ${reader} ${what}: offset ${offset} after ${last}`);
    }
    partition.positions.set(reader, offset);
    partition.highestRead = Math.max(partition.highestRead, offset);
    this.#value(name, offset, value, `${reader} read`);
  }

  #value(name: string, offset: number, value: string, who: string): void {
    const partition = this.#partition(name);
    const known = partition.values.get(offset);
    if (known === undefined) {
      partition.values.set(offset, value);
      if (!partition.sent.has(value)) {
        this.#found(`${name}: ${who} ${value} at offset ${offset}, which nobody sent`);
      }
    } else if (known !== value) {
      this.#found(`${name}: two values at offset ${offset}: ${who} ${value}, before it ${known}`);
    }
  }

  #commit(group: string, partition: string, offset: number): void {
    let commits = this.#commits.get(group);
    if (commits === undefined) this.#commits.set(group, commits = new Map());
    commits.set(partition, Math.max(offset, commits.get(partition) ?? -1));
  }

  #answer({ ask, partition, offset }: HistoryEvent & { kind: "answer" }): void {
    const known = this.#asks.get(ask)?.get(partition) ?? -1;
    if (offset < known) {
      this.#found(`${partition}: commit of ${known} lost: ${ask} was answered ${offset}`);
    }
  }

  #endOf(name: string, partition: PartitionHistory): void {
    const orders = new Map<string, number>();
    for (const [index, { offset, value }] of partition.log.entries()) {
      const before = partition.log[index - 1];
      if (before !== undefined && offset !== before.offset + 1) {
        this.#found(`${name}: the log goes on at offset ${offset} after ${before.offset}`);
      }
      const sent = partition.sent.get(value);
      if (sent === undefined) continue;
      sent.offsets.push(offset);
      if (sent.guarantee !== "exactly once") continue;
      const order = orders.get(sent.producer) ?? -1;
      if (sent.offsets.length === 1 && sent.order < order) {
        this.#found(`${name}: ${value} of ${sent.producer} at offset ${offset} is out of order`);
      }
      orders.set(sent.producer, Math.max(order, sent.order));
    }
    for (const [value, sent] of partition.sent) this.#outcome(name, value, sent);
    const last = partition.log.at(-1)?.offset ?? -1;
    if (partition.highestRead > last) {
      this.#found(`${name}: offset ${partition.highestRead} was read, the log ends with ${last}`);
    }
  }

  #outcome(name: string, value: string, sent: Sent): void {
    const { guarantee, offsets, isAcknowledged, acknowledgedAt } = sent;
    if (guarantee === "exactly once" && offsets.length > 1) {
      this.#found(`${name}: ${value} is there ${offsets.length} times, at ${offsets.join(", ")}`);
    }
    if (guarantee === "none" || !isAcknowledged) return;
    if (offsets.length === 0) {
      const where = acknowledgedAt === null ? "" : ` at offset ${acknowledgedAt}`;
      this.#found(`${name}: ${value} was acknowledged${where} and is nowhere`);
    } else if (acknowledgedAt !== null && !offsets.includes(acknowledgedAt)) {
      this.#found(
        `${name}: ${value} was acknowledged at ${acknowledgedAt} and is at ${offsets.join(", ")}`,
      );
    }
  }
}

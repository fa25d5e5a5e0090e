/**
 * Tells partitions how a transaction ends: markers, in batches to the brokers that lead them, until all have them.
 *
 *     send(ending) ──by leader──► line of a broker ──one request at a time──► WriteTxnMarkers
 *                       ↑                                                          │
 *                       └── no leader, not reached, refused: after a backoff ◄─────┘
 *
 * What comes while a request is under way goes with the next one. A partition that is deleted needs no marker; one
 * whose log knows a newer epoch of the producer has no transaction of this one that were open.
 *
 * Invariants: of each ending every partition is in one line, in one request, or waits for its backoff, until it is
 * done; an ending that is given up (`isWanted`) is dropped where it stands. At most `MAX_PARTITIONS_PER_REQUEST`
 * partitions are in a request, so that none takes long.
 *
 * Source: KIP-98; Kafka's TransactionMarkerChannelManager.
 */

import { ErrorCode, errorName } from "../../protocol/errors.ts";
import type { Decoded, Encodable } from "../../protocol/schema.ts";
import type {
  writeTxnMarkersRequest,
  writeTxnMarkersResponse,
} from "../../protocol/schemas/write_txn_markers.ts";
import type { Clock, Logger } from "../../storage/platform.ts";
import type { MetadataImage } from "../controller/metadata_image.ts";
import { Deadlines } from "../deadlines.ts";
import { NetworkError } from "../network.ts";
import type { TransactionPartitions } from "./transaction.ts";

const MAX_PARTITIONS_PER_REQUEST = 1_000;
const FIRST_BACKOFF_MS = 10;
const MAX_BACKOFF_MS = 1_000;
/** Pieces that are sent again before the event loop is given back. */
const RETRIES_PER_TICK = 1_000;

type Request = Encodable<typeof writeTxnMarkersRequest>;
type Marker = Request["markers"][number];
type Answer = Decoded<typeof writeTxnMarkersResponse>;

/** The end of one transaction. */
export interface Ending {
  readonly transactionalId: string;
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly isCommit: boolean;
  readonly coordinatorEpoch: number;
  readonly transactionVersion: number;
  readonly partitions: TransactionPartitions;
  /** False once this node has no business with it any more. */
  readonly isWanted: () => boolean;
  /** Called once, when no partition lacks its marker. */
  readonly onDone: () => void;
}

/** What the sender is made of. */
export interface MarkerSenderOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly image: () => MetadataImage;
  /** Errors: rejects with NetworkError. */
  readonly send: (brokerId: number, request: Request) => Promise<Answer>;
}

/** An ending with what is left of it. */
interface Task {
  readonly ending: Ending;
  /** Partitions without a marker. */
  left: number;
  tries: number;
}

/** Some partitions of an ending that go together. */
interface Piece {
  readonly task: Task;
  readonly topics: ReadonlyMap<string, readonly number[]>;
  readonly size: number;
}

interface Line {
  waiting: Piece[];
  isSending: boolean;
}

/** Sends markers. */
export class MarkerSender {
  readonly #options: MarkerSenderOptions;
  /** By broker. */
  readonly #lines = new Map<number, Line>();
  readonly #retries: Deadlines<Piece>;
  #openCount = 0;
  #isStopped = false;

  constructor(options: MarkerSenderOptions) {
    this.#options = options;
    this.#retries = new Deadlines({
      clock: options.clock,
      perTick: RETRIES_PER_TICK,
      onDue: (piece) => this.#enqueue(piece),
    });
  }

  /** Transactions of which some partition lacks its marker, for metrics. */
  get openCount(): number {
    return this.#openCount;
  }

  /** Sends the markers of a transaction. `onDone` is called at once where it has no partitions. */
  send(ending: Ending): void {
    const topics = new Map<string, readonly number[]>();
    let size = 0;
    for (const [topic, numbers] of ending.partitions) {
      topics.set(topic, [...numbers]);
      size += numbers.size;
    }
    const task = { ending, left: size, tries: 0 };
    this.#openCount++;
    if (size === 0) this.#finish(task);
    else this.#enqueue({ task, topics, size });
  }

  /** Sends nothing any more. What is under way is settled by whoever carries it. */
  stop(): void {
    this.#isStopped = true;
    this.#retries.stop();
    this.#lines.clear();
  }

  /** Puts every partition of the piece into the line of the broker that leads it. */
  #enqueue(piece: Piece): void {
    const { task } = piece;
    if (!this.#isWanted(task)) return;
    const image = this.#options.image();
    const byLeader = new Map<number, Map<string, number[]>>();
    let gone = 0;
    for (const [name, numbers] of piece.topics) {
      const partitions = image.topicByName(name)?.partitions;
      for (const number of numbers) {
        const leader = partitions?.[number]?.leader;
        if (leader === undefined) gone++;
        else put(byLeader, leader, name, number);
      }
    }
    for (const [leader, topics] of byLeader) {
      for (const part of pieces(task, topics)) {
        if (leader < 0) this.#retryLater(part);
        else this.#toLine(leader, part);
      }
    }
    this.#written(task, gone);
  }

  #toLine(brokerId: number, piece: Piece): void {
    let line = this.#lines.get(brokerId);
    if (line === undefined) this.#lines.set(brokerId, line = { waiting: [], isSending: false });
    line.waiting.push(piece);
    if (!line.isSending) void this.#sendLine(brokerId, line);
  }

  async #sendLine(brokerId: number, line: Line): Promise<void> {
    line.isSending = true;
    while (line.waiting.length > 0 && !this.#isStopped) {
      const sent = takeSome(line).filter(({ task }) => this.#isWanted(task));
      if (sent.length === 0) continue;
      try {
        const answer = await this.#options.send(brokerId, { markers: sent.map(markerOf) });
        if (this.#isStopped) return;
        this.#answered(sent, answer);
      } catch (error) {
        if (!(error instanceof NetworkError)) throw error;
        for (const piece of sent) this.#retryLater(piece);
      }
    }
    line.isSending = false;
    if (this.#lines.get(brokerId) === line) this.#lines.delete(brokerId);
  }

  #answered(sent: readonly Piece[], answer: Answer): void {
    const errors = new Map<string, ErrorCode>();
    for (const { producerId, topics } of answer.markers) {
      for (const { name, partitions } of topics) {
        for (const { partitionIndex, errorCode } of partitions) {
          errors.set(`${producerId} ${partitionIndex} ${name}`, errorCode as ErrorCode);
        }
      }
    }
    for (const piece of sent) {
      const { task } = piece;
      const again = new Map<string, number[]>();
      let done = 0;
      for (const [topic, numbers] of piece.topics) {
        for (const number of numbers) {
          const error = errors.get(`${task.ending.producerId} ${number} ${topic}`);
          if (this.#isDone(task, { topic, number, error })) done++;
          else again.set(topic, [...again.get(topic) ?? [], number]);
        }
      }
      for (const rest of pieces(task, again)) this.#retryLater(rest);
      this.#written(task, done);
    }
  }

  #isDone(
    { ending }: Task,
    { topic, number, error }: {
      readonly topic: string;
      readonly number: number;
      readonly error: ErrorCode | undefined;
    },
  ): boolean {
    switch (error) {
      case ErrorCode.NONE:
        return true;
      case ErrorCode.INVALID_PRODUCER_EPOCH: {
        const { transactionalId, producerId, producerEpoch } = ending;
        this.#options.logger.warn("A partition knows a newer epoch than the marker's", {
          transactionalId,
          topic,
          partition: number,
          producerId,
          producerEpoch,
        });
        return true;
      }
      default:
        this.#options.logger.debug("A marker was refused; it is sent again", {
          transactionalId: ending.transactionalId,
          topic,
          partition: number,
          error: error === undefined ? "no answer" : errorName(error),
        });
        return false;
    }
  }

  #written(task: Task, count: number): void {
    task.left -= count;
    if (task.left === 0 && count > 0) this.#finish(task);
  }

  #finish({ ending }: Task): void {
    this.#openCount--;
    if (ending.isWanted()) ending.onDone();
  }

  /** Forgets the partitions of an ending that nobody wants any more. */
  #isWanted(task: Task): boolean {
    if (task.ending.isWanted()) return true;
    if (task.left > 0) this.#openCount--;
    task.left = 0;
    return false;
  }

  #retryLater(piece: Piece): void {
    if (this.#isStopped || !this.#isWanted(piece.task)) return;
    const { task } = piece;
    const backoffMs = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(task.tries++, 10));
    this.#retries.set(piece, this.#options.clock.monotonicMs() + backoffMs);
  }
}

function put(
  byLeader: Map<number, Map<string, number[]>>,
  leader: number,
  topic: string,
  partition: number,
): void {
  let topics = byLeader.get(leader);
  if (topics === undefined) byLeader.set(leader, topics = new Map());
  const numbers = topics.get(topic);
  if (numbers === undefined) topics.set(topic, [partition]);
  else numbers.push(partition);
}

/** The partitions in pieces that fit into a request each. */
function pieces(task: Task, topics: ReadonlyMap<string, readonly number[]>): Piece[] {
  const result: Piece[] = [];
  let part = new Map<string, readonly number[]>();
  let size = 0;
  const cut = () => {
    if (size > 0) result.push({ task, topics: part, size });
    part = new Map();
    size = 0;
  };
  for (const [topic, numbers] of topics) {
    for (let start = 0; start < numbers.length;) {
      const some = numbers.slice(start, start + MAX_PARTITIONS_PER_REQUEST - size);
      part.set(topic, some);
      size += some.length;
      start += some.length;
      if (size >= MAX_PARTITIONS_PER_REQUEST) cut();
    }
  }
  cut();
  return result;
}

/** The head of a line, as much as goes into one request. */
function takeSome(line: Line): Piece[] {
  let size = 0;
  let count = 0;
  for (const piece of line.waiting) {
    if (count > 0 && size + piece.size > MAX_PARTITIONS_PER_REQUEST) break;
    size += piece.size;
    count++;
  }
  const taken = line.waiting.slice(0, count);
  line.waiting = line.waiting.slice(count);
  return taken;
}

function markerOf({ task: { ending }, topics }: Piece): Marker {
  return {
    producerId: ending.producerId,
    producerEpoch: ending.producerEpoch,
    transactionResult: ending.isCommit,
    topics: [...topics].map(([name, partitionIndexes]) => ({ name, partitionIndexes })),
    coordinatorEpoch: ending.coordinatorEpoch,
    transactionVersion: ending.transactionVersion,
  };
}

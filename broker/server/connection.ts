/**
 * One client connection: frames in, answers out in the order of the requests, back-pressure both ways.
 *
 *     socket ─→ FrameSplitter ─→ frames ─→ admit (budget) ─→ handler ─→ requests, in order
 *       ↑ paused when barred                                     │ at once, or a promise
 *     socket ←───────────── Outbox ←── encode ready heads ←──────┘
 *
 * Two stages keep the order: a request takes its place in `#requests` when it is handed over, and its
 * answer leaves when all before it have left, however late or early its handler is done.
 *
 * Everything happens in wake-ups (bytes came, the socket drained, promises settled, the budget has room).
 * A wake-up handles what it may, encodes all answers that are ready into one buffer that the whole server
 * shares, writes once, and sets the budget right. The shared buffer is empty between wake-ups.
 *
 * A connection is *barred* from handling more while too many requests are in flight, too many bytes of
 * answers wait, or its share of the memory is used; while barred or in line for the budget it is not read,
 * so what a client that never reads can tie up is bounded, and TCP holds the sender back.
 *
 * Invariants: `heldBytes` = bytes received and not handed over (a part of a frame twice) + what requests in
 * flight were charged + bytes of answers that wait; the budget is charged exactly that after every wake-up; 0 after the end.
 */

import assert from "node:assert/strict";
import { WireError, type Writer } from "../../protocol/bytes.ts";
import { FRAME_LENGTH_BYTES, FrameSplitter } from "../../protocol/frame.ts";
import { encodeResponseHeader } from "../../protocol/headers.ts";
import type { Clock, Logger } from "../../storage/platform.ts";
import { type Answer, type ConnectionInfo, MIN_ANSWER_ROOM_BYTES } from "../apis/api.ts";
import { FrameMemory } from "../frame_memory.ts";
import type { Connection, ConnectionHandlers } from "../network.ts";
import {
  type Dispatcher,
  type RequestHome,
  type ServerRequest,
  UnknownApiError,
} from "./dispatch.ts";
import { describeFirstBytes } from "./first_bytes.ts";
import type { ServerLimits } from "./limits.ts";
import type { LogLimiter } from "./log_limiter.ts";
import { type BudgetMember, type MemoryBudget, SMALL_BYTES } from "./memory_budget.ts";
import type { CloseKind, ServerMetrics } from "./metrics.ts";
import { Outbox } from "./outbox.ts";

/** Encoded answers are handed to the socket when they reach this, within a wake-up. */
const SEND_BYTES = 64 * 1024;
/** Small requests come by the thousand in one read: after so many, other connections have their turn. */
const MAX_REQUESTS_PER_WAKE = 512;
/** Large ones take their time: so long may a wake-up go on handling them. */
const MAX_WAKE_MS = 4;
/** Requests between two looks at the clock. */
const REQUESTS_PER_LOOK = 8;
/** What a connection in line for the budget asks for when it only wants to read on. */
const READ_BYTES = 64 * 1024;
/** How many times `pressureStallMs` a request may take that others wait for. */
const PASS_STALLS = 10;
/** While stopping, a client that takes no byte of its answers for this long is not waited for. */
const DRAIN_STALL_MS = 500;
const NO_BYTES = new Uint8Array(0);
/** First bytes kept to tell what it was that did not speak Kafka. */
const FIRST_BYTES = 8;

/** A frame that has come whole. */
interface ReceivedFrame {
  readonly bytes: Uint8Array;
  /** Which it shares with others of its chunk; null where that is left to the collector. */
  readonly memory: FrameMemory | null;
}

/** What a connection needs of its server. */
export interface ConnectionHost {
  readonly limits: ServerLimits;
  readonly budget: MemoryBudget;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limitedLog: LogLimiter;
  readonly metrics: ServerMetrics;
  /** Shared by all connections; empty between wake-ups. */
  readonly writer: Writer;
  /** Asks for a call to `wake` once the promises that are settling now have settled. */
  wakeSoon(connection: ServerConnection): void;
  /** True when this turn of the loop has gone to connections for long enough. */
  readonly isTurnOver: boolean;
  /** A connection was at work for so long. */
  noteWork(ms: number): void;
  /** Asks for a call to `wake` in a later turn of the loop. */
  putOff(connection: ServerConnection): void;
  connectionEnded(connection: ServerConnection): void;
}

/** The server's side of one connection. */
export class ServerConnection implements ConnectionHandlers, RequestHome, BudgetMember {
  readonly info: ConnectionInfo;
  readonly #host: ConnectionHost;
  readonly #link: Connection;
  readonly #dispatcher: Dispatcher;
  readonly #splitter: FrameSplitter;
  readonly #outbox = new Outbox();
  /** Frames that wait to be handled, from `#frameHead` on. */
  readonly #frames: (ReceivedFrame | null)[] = [];
  #frameHead = 0;
  /** The next request, when its frame has been opened and the budget does not admit it yet. */
  #next: ServerRequest | null = null;
  /** Handed over, in order; from the head on they are answered. */
  readonly #requests: ServerRequest[] = [];
  /** Encoded, not all sent, and somebody wants to know when they are. */
  readonly #unsent: ServerRequest[] = [];
  /** The request that was admitted with the budget's pass. */
  #passRequest: ServerRequest | null = null;
  #abortListeners: Set<() => void> | null = null;
  #firstBytes: Uint8Array | null = NO_BYTES;

  #receivedBytes = 0;
  #requestBytes = 0;
  /** What the budget counts for this connection: `heldBytes` as of the last wake-up. */
  #chargedBytes = 0;
  #encodedBytes = 0;
  #sentBytes = 0;

  #passSinceMs = 0;
  #isReading = true;
  #isAborted = false;
  #isDraining = false;
  #drainSinceMs = 0;
  #isAwake = false;
  /** Set when the connection is to be closed as soon as all answers so far have left. */
  #lastWords: string | null = null;
  /** As of this wake-up: read once, and again after each answer. */
  #nowMs: number;
  #lastReadMs: number;
  #lastSentMs: number;

  constructor(
    host: ConnectionHost,
    link: Connection,
    info: ConnectionInfo,
    dispatcher: Dispatcher,
  ) {
    this.#host = host;
    this.#link = link;
    this.#dispatcher = dispatcher;
    this.info = info;
    this.#splitter = new FrameSplitter({ maxFrameBytes: host.limits.maxRequestBytes });
    this.#nowMs = this.#lastReadMs = this.#lastSentMs = host.clock.monotonicMs();
  }

  // What the budget asks.

  get heldBytes(): number {
    // The part of a frame lies in a buffer that may be twice as large.
    const pendingBytes = this.#isAborted ? 0 : this.#splitter.pendingBytes;
    return this.#receivedBytes + pendingBytes + this.#requestBytes + this.#outbox.bytes;
  }

  get wantedBytes(): number {
    if (this.#next !== null) return this.#extraCost(this.#next);
    return Math.min(READ_BYTES, this.#host.budget.limitBytes / 4);
  }

  get needy(): boolean {
    return (this.#next !== null || this.#splitter.pendingBytes > 0) && this.#mayHandle();
  }

  get hasUsedPass(): boolean {
    return this.#passRequest !== null;
  }

  onBudget(): void {
    this.#passSinceMs = this.#host.clock.monotonicMs();
    this.wake();
  }

  onShed(): void {
    this.#refuse("stalled", {
      error: `Cannot receive: ${this.#splitter.pendingBytes} bytes of a request hold memory, ` +
        "and the requests that others have begun stand still",
    });
  }

  // What the metrics show.

  /** Requests that have come whole and are not handed over. */
  get queuedCount(): number {
    return this.#frames.length - this.#frameHead + Number(this.#next !== null);
  }

  /** Requests that are handed over and not answered. */
  get inFlightCount(): number {
    return this.#requests.length;
  }

  // What handlers ask.

  get aborted(): boolean {
    return this.#isAborted;
  }

  get answerRoomBytes(): number {
    const { budget, limits, writer } = this.#host;
    const unsentBytes = this.#outbox.bytes + (this.#isAwake ? writer.length : 0);
    const share = limits.connectionShareBytes - this.#requestBytes - unsentBytes;
    const uncharged = this.heldBytes - this.#chargedBytes + (this.#isAwake ? writer.length : 0);
    const left = budget.limitBytes - budget.usedBytes - uncharged;
    return Math.max(Math.min(share, left), MIN_ANSWER_ROOM_BYTES);
  }

  onAbort(listener: () => void): () => void {
    if (this.#isAborted) {
      listener();
      return () => {};
    }
    const listeners = this.#abortListeners ??= new Set();
    // Wrapped, so that the same function registered twice is told twice.
    const entry = () => listener();
    listeners.add(entry);
    return () => listeners.delete(entry);
  }

  // What the socket tells.

  onData(bytes: Uint8Array): void {
    if (this.#isAborted) return;
    this.#lastReadMs = this.#host.clock.monotonicMs();
    this.#host.metrics.bytesIn(bytes.length);
    if (this.#firstBytes !== null) this.#keepFirst(bytes);
    this.#receivedBytes += bytes.length;
    const chunk = FrameMemory.of(bytes);
    chunk?.hold();
    try {
      for (const frame of this.#splitter.push(bytes)) {
        const memory = frame.buffer === bytes.buffer ? chunk : FrameMemory.ofFrame(frame);
        memory?.hold();
        this.#frames.push({ bytes: frame, memory });
        this.#firstBytes = null;
      }
      chunk?.letGo();
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      const found = this.#firstBytes === null ? null : describeFirstBytes(this.#firstBytes);
      // The frames before the bad one have come whole: they are handled, and answered if at once.
      this.wake();
      return this.#refuse("malformed", { error: found ?? error.message });
    }
    if (this.#host.isTurnOver) this.#putOff();
    else this.wake();
  }

  onDrain(): void {
    if (this.#isAborted || this.#outbox.bytes === 0) return;
    if (this.#host.isTurnOver) this.#host.putOff(this);
    else this.wake();
  }

  onClose(reason?: string): void {
    if (!this.#isAborted) this.#end();
    this.#host.logger.debug("Connection closed", { connection: this.info.id, reason });
  }

  // What the server asks.

  /** Closes it once everything in flight has been answered; nothing new is handled. */
  drain(): void {
    this.#isDraining = true;
    this.#drainSinceMs = this.#host.clock.monotonicMs();
    this.wake();
  }

  /** Closes a connection that is being drained when its client takes nothing. */
  sweepDrain(nowMs: number): void {
    if (this.#outbox.bytes === 0) return;
    if (nowMs - Math.max(this.#lastSentMs, this.#drainSinceMs) < DRAIN_STALL_MS) return;
    this.close("stopping", CLOSE_MESSAGES.stopping);
  }

  /** Ends it now: in-flight requests are told through their close signal. */
  close(kind: CloseKind, reason: string): void {
    if (this.#isAborted) return;
    if (this.#isAwake) this.#push();
    this.#host.metrics.connectionRefused(kind);
    this.#link.close(reason);
    this.#end();
  }

  /**
   * Closes the connection when it has stood still for too long. `isPressed`: others wait for memory.
   * Returns: true when it was closed and had the budget's pass, so that all the others stood still, too.
   */
  sweep(nowMs: number, isPressed: boolean): boolean {
    const { limits, budget } = this.#host;
    const stallMs = isPressed ? limits.pressureStallMs : limits.writeStallMs;
    if (this.#outbox.bytes > 0) {
      if (nowMs - this.#lastSentMs >= stallMs) this.#stopSending(stallMs);
      return false;
    }
    const hadPass = budget.holdsPass(this);
    if (isPressed && this.#isReading && this.#blocksOthers()) {
      const isSlow = hadPass && nowMs - this.#passSinceMs >= PASS_STALLS * stallMs;
      if (nowMs - this.#lastReadMs < stallMs && !isSlow) return false;
      this.#stopReceiving(isSlow ? "too slow" : `no byte for ${stallMs} ms`);
      return hadPass;
    }
    if (this.#requests.length > 0 || !this.#isReading) return false;
    const silentMs = nowMs - Math.max(this.#lastReadMs, this.#lastSentMs);
    if (silentMs >= limits.connectionsMaxIdleMs) this.close("idle", CLOSE_MESSAGES.idle);
    return false;
  }

  #stopSending(stallMs: number): void {
    this.#refuse("stalled", {
      error: `Cannot send: the client has read nothing for ${stallMs} ms, ` +
        `${this.#outbox.bytes} bytes wait`,
    });
  }

  #stopReceiving(found: string): void {
    this.#refuse("stalled", {
      error: `Cannot receive: ${found} after ${this.#splitter.pendingBytes} bytes of a request, ` +
        "while others wait for memory",
    });
  }

  /** True when it holds memory, or the budget's pass, that only more bytes from its client set free. */
  #blocksOthers(): boolean {
    const pending = this.#splitter.pendingBytes;
    return pending > SMALL_BYTES || (pending > 0 && this.#host.budget.holdsPass(this));
  }

  /** What has come is handled in a later turn: it is charged, and nothing more is read until then. */
  #putOff(): void {
    if (this.#isReading) {
      this.#isReading = false;
      this.#link.pause();
    }
    this.#settleBudget();
    this.#host.putOff(this);
  }

  /** Does all that can be done now. */
  wake(): void {
    if (this.#isAborted || this.#isAwake) return;
    this.#isAwake = true;
    const { writer } = this.#host;
    assert(writer.length === 0, "Cannot wake a connection: another one is awake");
    const startMs = this.#nowMs = this.#host.clock.monotonicMs();
    try {
      this.#push();
      this.#encodeReady();
      for (let handled = 0; this.#handleNext();) {
        this.#encodeReady();
        if (writer.length >= SEND_BYTES) this.#push();
        if (++handled === MAX_REQUESTS_PER_WAKE || this.#isLate(handled, startMs)) {
          // Others have their turn before the rest of what has been received.
          this.#host.putOff(this);
          break;
        }
      }
      this.#push();
    } finally {
      this.#isAwake = false;
      writer.reset();
      this.#host.noteWork(this.#host.clock.monotonicMs() - startMs);
    }
    if (this.#isAborted) return this.#leaveBudget();
    if (this.#isSilent()) return this.#closeSilent();
    this.#updateReading();
    this.#settleBudget();
  }

  #isLate(handled: number, startMs: number): boolean {
    return handled % REQUESTS_PER_LOOK === 0 &&
      this.#host.clock.monotonicMs() - startMs > MAX_WAKE_MS;
  }

  #closeSilent(): void {
    if (this.#lastWords !== null) this.close("refused_by_handler", this.#lastWords);
    else this.close("stopping", CLOSE_MESSAGES.stopping);
  }

  #isSilent(): boolean {
    if (this.#outbox.bytes > 0) return false;
    return this.#lastWords !== null || (this.#isDraining && this.#requests.length === 0);
  }

  #mayHandle(): boolean {
    if (this.#isAborted || this.#isDraining || this.#lastWords !== null) return false;
    const { limits } = this.#host;
    return this.#requests.length < limits.maxInFlightRequests &&
      this.#outbox.bytes < limits.maxQueuedAnswerBytes &&
      this.#requestBytes + this.#outbox.bytes < limits.connectionShareBytes;
  }

  /** Opens, admits and hands over the next request. Returns: false when there is none or it may not. */
  #handleNext(): boolean {
    if ((this.#next === null && this.#frames.length === 0) || !this.#mayHandle()) return false;
    const request = this.#next ?? this.#open();
    if (request === null) return false;
    const extra = this.#extraCost(request);
    const { budget } = this.#host;
    if (!budget.admits(this, this.heldBytes - this.#chargedBytes + extra)) {
      this.#next = request;
      budget.wait(this);
      return false;
    }
    this.#next = null;
    const frameBytes = request.requestBytes + FRAME_LENGTH_BYTES;
    this.#receivedBytes -= frameBytes;
    request.chargedBytes = frameBytes + extra;
    this.#requestBytes += request.chargedBytes;
    if (this.#passRequest === null && budget.holdsPass(this)) this.#passRequest = request;
    this.#handOver(request);
    return true;
  }

  #extraCost(request: ServerRequest): number {
    return Math.max(
      request.api.cost(request.requestBytes) - request.requestBytes - FRAME_LENGTH_BYTES,
      0,
    );
  }

  #open(): ServerRequest | null {
    const { bytes, memory } = this.#frames[this.#frameHead]!;
    this.#frames[this.#frameHead] = null;
    if (++this.#frameHead === this.#frames.length) {
      this.#frames.length = 0;
      this.#frameHead = 0;
    }
    try {
      const request = this.#dispatcher.open(bytes, this.info, this);
      if (request.api.isFrameFreed) request.memory = memory;
      else memory?.keep();
      return request;
    } catch (error) {
      if (error instanceof UnknownApiError) this.#refuse("unknown_api", { error: error.message });
      else if (error instanceof WireError) this.#refuse("malformed", { error: error.message });
      else throw error;
      return null;
    }
  }

  #handOver(request: ServerRequest): void {
    this.#requests.push(request);
    request.handedOverMs = this.#nowMs;
    const reader = request.reader!;
    request.reader = null;
    try {
      const result = request.api.handle(reader, request);
      if (result instanceof Promise) {
        result.then(
          (answer) => this.#settled(request, answer),
          (error) => this.#failed(request, error),
        );
      } else {
        request.answer = result;
        request.isReady = true;
      }
    } catch (error) {
      this.#failed(request, error);
    }
  }

  #settled(request: ServerRequest, answer: Answer): void {
    request.answer = answer;
    request.isReady = true;
    if (this.#isAborted) this.#drop(request);
    else if (this.#requests[0] === request) this.#host.wakeSoon(this);
  }

  #failed(request: ServerRequest, error: unknown): void {
    request.isReady = true;
    // What it has begun may go on.
    request.memory?.keep();
    if (this.#isAborted) return this.#drop(request);
    const fields = { api: request.apiKey, version: request.apiVersion };
    if (error instanceof WireError) {
      return this.#refuse("malformed", { ...fields, error: error.message });
    }
    this.#host.logger.error("Handler failed; closing the connection", {
      ...this.#describe(),
      ...fields,
      error,
    });
    this.close("handler_failed", "handler failed");
  }

  /** Writes the answers at the head that are ready into the shared buffer. */
  #encodeReady(): void {
    const requests = this.#requests;
    let count = 0;
    while (count < requests.length && requests[count]!.isReady && this.#lastWords === null) {
      const request = requests[count]!;
      if (request.answer !== null && !this.#encode(request, request.answer)) return;
      count++;
      request.answer = null;
      this.#requestBytes -= request.chargedBytes;
      request.chargedBytes = 0;
      request.endPosition = this.#encodedBytes;
      this.#lastWords = request.closeReason;
      if (request.isAwaited || request === this.#passRequest) this.#unsent.push(request);
      else request.finish();
    }
    if (count === 1) requests.shift();
    else if (count > 1) requests.splice(0, count);
  }

  #encode(request: ServerRequest, answer: object): boolean {
    const { writer, clock, metrics } = this.#host;
    let answerBytes: number;
    try {
      writer.beginSized();
      encodeResponseHeader(writer, request);
      request.api.encode(writer, request.apiVersion, answer);
      answerBytes = writer.endSized() + FRAME_LENGTH_BYTES;
    } catch (error) {
      this.#failed(request, new Error("Cannot encode the answer", { cause: error }));
      return false;
    }
    this.#encodedBytes += answerBytes;
    this.#nowMs = clock.monotonicMs();
    const durationMs = this.#nowMs - request.handedOverMs;
    metrics.requestAnswered(request.apiKey, request.requestBytes, answerBytes, durationMs);
    return true;
  }

  /** Moves encoded answers to the outbox and the outbox to the socket. */
  #push(): void {
    if (this.#isAborted) return;
    const { writer, metrics } = this.#host;
    const wasEmpty = this.#outbox.bytes === 0;
    if (writer.length > 0) this.#outbox.append(writer.chunks(), writer.length);
    if (this.#outbox.bytes > 0) {
      const sent = this.#outbox.send(this.#link);
      if (sent > 0 || wasEmpty) this.#lastSentMs = this.#nowMs;
      this.#sentBytes += sent;
      metrics.bytesOut(sent);
      if (this.#outbox.bytes > 0) this.#outbox.keep(writer);
    }
    writer.reset();
    while (this.#unsent.length > 0 && this.#unsent[0]!.endPosition <= this.#sentBytes) {
      this.#finish(this.#unsent.shift()!);
    }
  }

  #finish(request: ServerRequest): void {
    try {
      request.finish();
    } catch (error) {
      this.#host.logger.error("Callback after an answer failed", { ...this.#describe(), error });
    }
  }

  #updateReading(): void {
    const { budget } = this.#host;
    let read = this.#frames.length === 0 && this.#next === null && this.#mayHandle();
    if (read && !budget.admits(this, this.heldBytes - this.#chargedBytes)) {
      budget.wait(this);
      read = false;
    }
    if (read === this.#isReading) return;
    this.#isReading = read;
    if (!read) return this.#link.pause();
    // The time that it was held back does not count as its own silence.
    this.#lastReadMs = this.#host.clock.monotonicMs();
    this.#link.resume();
  }

  /** Sets the budget right. May let other connections go on: nothing of this wake-up is left to do. */
  #settleBudget(): void {
    const { budget } = this.#host;
    const held = this.heldBytes;
    const change = held - this.#chargedBytes;
    this.#chargedBytes = held;
    if (change > 0) budget.charge(change);
    else if (change < 0) budget.release(-change);
    const request = this.#passRequest;
    if (request !== null && request.isFinished) {
      this.#passRequest = null;
      budget.returnPass(this);
    }
  }

  #refuse(kind: CloseKind, fields: Readonly<Record<string, unknown>>): void {
    this.#host.limitedLog.warn(CLOSE_MESSAGES[kind], { ...this.#describe(), ...fields });
    this.close(kind, CLOSE_MESSAGES[kind]);
  }

  #describe(): Record<string, unknown> {
    return {
      connection: this.info.id,
      client: `${this.#link.remoteAddress}:${this.#link.remotePort}`,
      listener: this.info.listenerName,
    };
  }

  #keepFirst(bytes: Uint8Array): void {
    const kept = this.#firstBytes!;
    if (kept.length >= FIRST_BYTES) return;
    const first = new Uint8Array(Math.min(kept.length + bytes.length, FIRST_BYTES));
    first.set(kept);
    first.set(bytes.subarray(0, first.length - kept.length), kept.length);
    this.#firstBytes = first;
  }

  /** The connection is gone, whoever ended it: everything it held is given back. */
  #end(): void {
    this.#isAborted = true;
    this.#frames.length = 0;
    this.#frameHead = 0;
    this.#next = null;
    this.#receivedBytes = 0;
    this.#outbox.clear();
    for (const request of this.#unsent.splice(0)) this.#finish(request);
    // Handlers that are still at work keep what they were charged until they are done.
    for (const request of this.#requests.splice(0)) if (request.isReady) this.#drop(request);
    const listeners = this.#abortListeners;
    this.#abortListeners = null;
    if (listeners !== null) { for (const listener of listeners) this.#tellAborted(listener); }
    this.#host.connectionEnded(this);
    // Within a wake-up the shared buffer is in use: nobody else may be let on before its end.
    if (!this.#isAwake) this.#leaveBudget();
  }

  #leaveBudget(): void {
    this.#passRequest = null;
    this.#settleBudget();
    this.#host.budget.leave(this);
  }

  #tellAborted(listener: () => void): void {
    try {
      listener();
    } catch (error) {
      this.#host.logger.error("Listener of a closed connection failed", {
        ...this.#describe(),
        error,
      });
    }
  }

  /** Forgets a request whose answer nobody will read. */
  #drop(request: ServerRequest): void {
    request.answer = null;
    this.#requestBytes -= request.chargedBytes;
    request.chargedBytes = 0;
    this.#finish(request);
    if (!this.#isAwake) this.#settleBudget();
  }
}

const CLOSE_MESSAGES = {
  malformed: "Closed a connection that does not follow the protocol",
  unknown_api: "Closed a connection that asked for what is not served",
  handler_failed: "Closed a connection after a handler failed",
  too_many_connections: "Closed a new connection: too many are open",
  idle: "Closed an idle connection",
  stalled: "Closed a connection that stood still",
  refused_by_handler: "Closed a connection after an error",
  stopping: "Closed a connection while stopping",
} as const satisfies Record<CloseKind, string>;

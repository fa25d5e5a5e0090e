/**
 * One WebSocket: messages in, checked one by one, and what they begin.
 *
 * Bounds: the size of a message, subscriptions and partitions of a socket, requests in flight, bytes that wait in the
 * socket. Whoever sends what cannot be read is told so, and after some of it the socket is closed with a code; one that
 * asks and does not read the answers is cut off.
 */

import type { Clock, Logger } from "../../../storage/platform.ts";
import { WireError } from "../../../protocol/bytes.ts";
import type { KafkaClient } from "../../client/kafka_client.ts";
import { outgoingRecord } from "../../client/record_json.ts";
import { type Feeds, UnavailableError } from "../feeds/feeds.ts";
import type { GatewaySocket, SocketHandlers } from "../http_server.ts";
import { parseBinary } from "./frames.ts";
import {
  type AckMessage,
  type ClientMessage,
  clientMessage,
  type ErrorName,
  type ProduceMessage,
  type Protocol,
  type ServerMessage,
  type SubscribeMessage,
} from "./messages.ts";
import { newProducer, type Outgoing, produce, toldError } from "./producing.ts";
import {
  LimitError,
  SocketSubscription,
  type SubscriptionSession,
  TokenError,
} from "./socket_subscription.ts";

const MAX_SUBSCRIPTIONS = 100;
const MAX_PARTITIONS = 2000;
const MAX_IN_FLIGHT = 64;
/** Messages that cannot be read, after which the socket is closed. */
const MAX_BAD_MESSAGES = 10;
const MAX_DETAIL = 300;
/** A socket that has so much more to read than it is allowed, by its own asking, is cut off. */
const OVERFLOW_FACTOR = 8;

/** Codes with which a socket is closed. Source: RFC 6455, 7.4.1. */
export const CloseCode = { policy: 1008, tooLarge: 1009, restart: 1012 } as const;

/** What all sockets share. */
export interface SessionHost {
  readonly feeds: Feeds;
  readonly client: () => KafkaClient | null;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly version: string;
  readonly maxMessageBytes: number;
  /** Bytes that may wait in one socket. */
  readonly socketBufferBytes: number;
  /** True while all sockets together have more waiting than they should. */
  isFull(): boolean;
  /** Takes bytes of requests in flight into the bound of all sockets. Returns: false past it. */
  reserve(bytes: number): boolean;
  release(bytes: number): void;
  /** What waits in a socket has changed by so much. */
  noteBuffered(byBytes: number): void;
  track(work: Promise<void>): void;
  closed(session: Session): void;
}

/** What one client asks over one socket. */
export class Session implements SocketHandlers, SubscriptionSession {
  readonly socket: GatewaySocket;
  readonly protocol: Protocol;
  readonly #host: SessionHost;
  readonly #subscriptions = new Map<number, SocketSubscription>();
  #inFlight = 0;
  #badCount = 0;
  #bufferedBytes = 0;
  /** Of the message that is being dealt with. */
  #messageBytes = 0;
  #isClosed = false;

  constructor(socket: GatewaySocket, protocol: Protocol, host: SessionHost) {
    this.socket = socket;
    this.protocol = protocol;
    this.#host = host;
    const { version, maxMessageBytes } = host;
    this.tell({ type: "welcome", protocol, version, maxMessageBytes });
  }

  get feeds(): Feeds {
    return this.#host.feeds;
  }

  get clock(): Clock {
    return this.#host.clock;
  }

  get client(): () => KafkaClient | null {
    return this.#host.client;
  }

  onMessage(message: string | Uint8Array): void {
    if (this.#isClosed) return;
    const { maxMessageBytes, socketBufferBytes } = this.#host;
    if (message.length > maxMessageBytes) {
      const detail = `the message has more than ${maxMessageBytes} bytes`;
      this.#refuse("TOO_LARGE", detail);
      return this.#close(CloseCode.tooLarge, detail);
    }
    this.#noteBuffered();
    if (this.#bufferedBytes > OVERFLOW_FACTOR * socketBufferBytes) {
      this.socket.terminate();
      return;
    }
    this.#messageBytes = message.length;
    if (typeof message === "string") this.#onText(message);
    else this.#onBinary(message);
  }

  #onText(text: string): void {
    let parsed: unknown;
    try {
      parsed = JSON.parse(text);
    } catch (error) {
      return this.#bad(`it is not JSON (${(error as Error).message})`);
    }
    const checked = clientMessage.safeParse(parsed);
    if (!checked.success) {
      const issue = checked.error.issues[0]!;
      const path = issue.path.join(".");
      return this.#bad(path === "" ? issue.message : `field "${path}" is wrong (${issue.message})`);
    }
    this.#dispatch(checked.data);
  }

  #onBinary(bytes: Uint8Array): void {
    if (this.protocol !== "weir.v1.binary") {
      return this.#bad("it is binary, and the socket speaks weir.v1.json");
    }
    try {
      const { request, ...outgoing } = parseBinary(bytes, this.clock.wallMs());
      this.#answer({ request }, async () => await this.#produce(request, outgoing));
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#bad(error.message);
    }
  }

  #bad(found: string): void {
    const detail = `Cannot read the message: ${found}`.slice(0, MAX_DETAIL);
    this.#refuse("BAD_MESSAGE", detail);
    if (++this.#badCount >= MAX_BAD_MESSAGES) {
      this.#close(CloseCode.policy, `${MAX_BAD_MESSAGES} messages could not be read`);
    }
  }

  #dispatch(message: ClientMessage): void {
    switch (message.type) {
      case "subscribe":
        return this.#subscribe(message);
      case "credit":
        return this.#withSubscription(message.id, (it) => it.addCredits(message.records));
      case "unsubscribe":
        return this.#withSubscription(message.id, (it) => it.unsubscribe());
      case "ack":
        return this.#acknowledge(message);
      case "topic":
        return this.#answer(message, async () => {
          const { leaders } = await this.feeds.topic(message.topic);
          const { request, topic } = message;
          this.tell({ type: "topic", request, topic, partitions: leaders.length });
        });
      case "producer":
        return this.#answer(message, async () => {
          const { id, epoch } = await newProducer(this.#clientNow());
          this.tell({ type: "producer", request: message.request, id, epoch });
        });
      case "produce":
        return this.#produceJson(message);
      case "ping":
        return this.tell({
          type: "pong",
          ...(message.request !== undefined && { request: message.request }),
        });
    }
  }

  #subscribe(message: SubscribeMessage): void {
    const { id } = message;
    if (this.#subscriptions.has(id)) {
      return this.#refuse("LIMIT", `subscription ${id} is there already`, { id });
    }
    if (this.#subscriptions.size >= MAX_SUBSCRIPTIONS) {
      return this.#refuse("LIMIT", `a socket has at most ${MAX_SUBSCRIPTIONS} subscriptions`, {
        id,
      });
    }
    const subscription = new SocketSubscription(this, message);
    this.#subscriptions.set(id, subscription);
    this.#answer({ id }, async () => await subscription.begin());
  }

  #withSubscription(id: number, use: (subscription: SocketSubscription) => void): void {
    const subscription = this.#subscriptions.get(id);
    if (subscription !== undefined) return use(subscription);
    this.#refuse("NOT_FOUND", `there is no subscription ${id}`, { id });
  }

  #acknowledge({ id, request, offsets }: AckMessage): void {
    this.#withSubscription(id, (subscription) => {
      const about = { id, ...(request !== undefined && { request }) };
      this.#answer(about, async () => {
        await subscription.acknowledge(offsets.map(({ topic, partition, next }) => {
          return { topic, partition, offset: next };
        }));
        this.tell({ type: "acked", ...about });
      });
    });
  }

  #produceJson({ request, topic, records, partition, producer }: ProduceMessage): void {
    this.#answer({ request }, async () => {
      const nowMs = this.clock.wallMs();
      await this.#produce(request, {
        topic,
        records: records.map((record) => outgoingRecord(record, nowMs)),
        partition: partition ?? null,
        producer: producer ?? null,
      });
    });
  }

  async #produce(request: number, outgoing: Outgoing): Promise<void> {
    const { leaders } = await this.feeds.topic(outgoing.topic);
    const results = await produce(this.#clientNow(), outgoing, leaders.length);
    this.tell({ type: "produced", request, results });
  }

  #clientNow(): KafkaClient {
    const client = this.#host.client();
    if (client === null) throw new UnavailableError("this node does not serve now");
    return client;
  }

  /** Does what a message asks, and tells what hinders it. */
  #answer(
    about: { readonly request?: number; readonly id?: number },
    work: () => Promise<void>,
  ): void {
    const bytes = this.#messageBytes;
    const isTooMany = this.#inFlight >= MAX_IN_FLIGHT;
    if (isTooMany || !this.#host.reserve(bytes)) {
      const detail = isTooMany
        ? `a socket has at most ${MAX_IN_FLIGHT} requests in flight`
        : "the requests of all sockets together are too large; ask again later";
      return this.#refuse("LIMIT", detail, about, true);
    }
    this.#inFlight++;
    const told = async () => {
      try {
        await work();
      } catch (error) {
        this.#tellError(error, about);
      } finally {
        this.#inFlight--;
        this.#host.release(bytes);
      }
    };
    this.#host.track(told());
  }

  #tellError(error: unknown, about: { readonly request?: number; readonly id?: number }): void {
    if (error instanceof LimitError) return this.#refuse("LIMIT", error.message, about);
    if (error instanceof TokenError) return this.#refuse("BAD_TOKEN", error.message, about);
    try {
      this.tell({ type: "error", ...toldError(error), ...pick(about) });
    } catch {
      this.#host.logger.error("Cannot do what a WebSocket asks", { error });
      this.#refuse("REFUSED", "an error inside the broker; see its log", about);
    }
  }

  #refuse(
    code: ErrorName,
    detail: string,
    about: { readonly request?: number; readonly id?: number } = {},
    retriable = false,
  ): void {
    this.tell({ type: "error", code, detail, retriable, ...pick(about) });
  }

  tell(message: ServerMessage): void {
    this.send(JSON.stringify(message));
  }

  send(frame: string | Uint8Array): void {
    if (!this.#isClosed) this.socket.send(frame);
  }

  isFull(): boolean {
    const buffered = this.#noteBuffered();
    return buffered > this.#host.socketBufferBytes || (buffered > 0 && this.#host.isFull());
  }

  #noteBuffered(): number {
    const now = this.socket.bufferedBytes;
    if (now !== this.#bufferedBytes) this.#host.noteBuffered(now - this.#bufferedBytes);
    return this.#bufferedBytes = now;
  }

  addPartitions(count: number): void {
    let total = count;
    for (const { partitionCount } of this.#subscriptions.values()) total += partitionCount;
    if (total <= MAX_PARTITIONS) return;
    throw new LimitError(
      `a socket reads at most ${MAX_PARTITIONS} partitions, these would make ${total}`,
    );
  }

  forget(subscription: SocketSubscription): void {
    if (this.#subscriptions.get(subscription.id) === subscription) {
      this.#subscriptions.delete(subscription.id);
    }
  }

  track(work: Promise<void>): void {
    this.#host.track(work);
  }

  onDrain(): void {
    if (this.isFull()) return;
    for (const subscription of this.#subscriptions.values()) subscription.resume();
  }

  /** This node serves no more: the client goes on with another, or later. */
  restart(): void {
    this.#close(CloseCode.restart, "this node stops");
  }

  #close(code: number, reason: string): void {
    this.socket.close(code, reason);
    this.onClose();
  }

  onClose(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#host.noteBuffered(-this.#bufferedBytes);
    this.#bufferedBytes = 0;
    for (const subscription of [...this.#subscriptions.values()]) subscription.close();
    this.#host.closed(this);
  }
}

function pick(
  { request, id }: { readonly request?: number; readonly id?: number },
): { request?: number; id?: number } {
  return { ...(request !== undefined && { request }), ...(id !== undefined && { id }) };
}

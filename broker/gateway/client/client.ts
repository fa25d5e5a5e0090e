/**
 * The client of weir's WebSockets, for browsers, Node, Deno and Bun. It is served as one module at `/client.js`
 * (`client_app.ts`), so it imports types alone.
 *
 *     connect ──→ one socket at a time ──lost──→ backoff with jitter, next address ──→ one socket …
 *       ├─ subscriptions: each asks again with the tokens of what it has heard
 *       └─ lanes, one a partition: a batch in flight keeps its sequence, and is sent again until it is answered
 *
 * Invariants: a record is handed out if its offset is the next or later, so once and in order; the records here are at most
 * those that credits were given for.
 */

import type {
  Callbacks,
  connect as Connect,
  Connection,
  ConnectOptions,
  OutgoingRecord,
  SubscribeOptions,
  Subscription,
  WeirRecord,
  Written,
} from "./types.ts";

const FIRST_BACKOFF_MS = 100;
const OPEN_TIMEOUT_MS = 5000;
const PING_EVERY_MS = 10_000;
const SILENCE_MS = 25_000;
const MAX_BATCH_RECORDS = 500;
const MAX_BATCH_CHARACTERS = 256 * 1024;
const SEQUENCE_LIMIT = 2 ** 31;

// deno-lint-ignore no-explicit-any -- messages are looked at by their type
type Message = any;

/** One that waits for the answer with its number. */
interface Asked {
  readonly message: Message;
  readonly answered: (message: Message) => void;
}

class Client implements Connection {
  readonly #urls: readonly string[];
  readonly #options: ConnectOptions;
  readonly #subscriptions = new Map<number, ClientSubscription>();
  /** Asked again over each new socket until they are answered. */
  readonly #asked = new Map<number, Asked>();
  readonly #producer: ClientProducer;
  #socket: WebSocket | null = null;
  #isOpen = false;
  #isClosed = false;
  #nextRequest = 0;
  #tries = 0;
  #heardAtMs = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #pinger: ReturnType<typeof setInterval> | undefined;

  constructor(urls: readonly string[], options: ConnectOptions) {
    if (urls.length === 0) throw new Error("Cannot connect: no address is given");
    this.#urls = urls;
    this.#options = options;
    this.#producer = new ClientProducer(this, options.maxWaiting ?? 10_000);
    this.#open();
  }

  subscribe(options: SubscribeOptions, callbacks?: Callbacks): Subscription {
    let id = 1;
    while (this.#subscriptions.has(id)) id++;
    const subscription = new ClientSubscription(this, id, options, callbacks);
    this.#subscriptions.set(id, subscription);
    if (this.#isClosed) subscription.fail(new Error("Cannot subscribe: the connection was closed"));
    else if (this.#isOpen) subscription.ask();
    return subscription;
  }

  async produce(topic: string, record: OutgoingRecord): Promise<Written> {
    return await this.#producer.produce(topic, record);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const subscription of [...this.#subscriptions.values()]) subscription.close();
    this.#producer.fail(new Error("Cannot produce: the connection was closed"));
    clearTimeout(this.#timer);
    clearInterval(this.#pinger);
    this.#isOpen = false;
    this.#socket?.close(1000);
    this.#socket = null;
    this.#options.onState?.("closed", "close was called");
  }

  forget(id: number): void {
    this.#subscriptions.delete(id);
  }

  /** Sends, if a socket is open. */
  send(message: Message): void {
    if (this.#isOpen) this.#socket!.send(JSON.stringify(message));
  }

  /** Asks until there is an answer that is not to be tried again. */
  async ask(message: Message): Promise<Message> {
    const request = this.#nextRequest++;
    const answer = await new Promise<Message>((answered) => {
      this.#asked.set(request, { message: { ...message, request }, answered });
      this.#askNow(request);
    });
    if (answer.type === "error") throw new Error(`Cannot ${message.type}: ${answer.detail}`);
    return answer;
  }

  #askNow(request: number): void {
    const asked = this.#asked.get(request);
    if (asked !== undefined) this.send(asked.message);
  }

  /** Calls back later, unless the connection is closed by then. */
  later(tries: number, callback: () => void): void {
    setTimeout(() => {
      if (!this.#isClosed) callback();
    }, this.#backoffMs(tries));
  }

  /** With jitter: those who were cut off together do not come back together. */
  #backoffMs(tries: number): number {
    const longestMs = Math.min(FIRST_BACKOFF_MS * 2 ** tries, this.#options.maxBackoffMs ?? 5000);
    return longestMs * (0.2 + 0.8 * Math.random());
  }

  #open(): void {
    const Socket = this.#options.WebSocket ?? WebSocket;
    const socket = new Socket(this.#urls[this.#tries % this.#urls.length]!, "weir.v1.json");
    this.#socket = socket;
    this.#timer = setTimeout(() => this.#lost(socket, "it does not answer"), OPEN_TIMEOUT_MS);
    socket.onmessage = ({ data }) => {
      if (socket === this.#socket) this.#hear(JSON.parse(data));
    };
    socket.onclose = ({ code, reason }) => this.#lost(socket, `${code} ${reason}`);
    socket.onerror = () => this.#lost(socket, "it cannot be reached");
  }

  #lost(socket: WebSocket, detail: string): void {
    if (socket !== this.#socket || this.#isClosed) return;
    this.#socket = null;
    this.#isOpen = false;
    clearTimeout(this.#timer);
    clearInterval(this.#pinger);
    socket.close();
    this.#options.onState?.("lost", detail);
    // Each address is tried once before the waits get longer.
    const rounds = Math.floor(this.#tries++ / this.#urls.length);
    this.#timer = setTimeout(() => this.#open(), this.#backoffMs(rounds));
  }

  #hear(message: Message): void {
    this.#heardAtMs = Date.now();
    const { type, request, retriable } = message;
    if (type === "welcome") return this.#opened();
    if (request === undefined) return this.#subscriptions.get(message.id)?.hear(message);
    const asked = this.#asked.get(request);
    if (type === "error" && retriable) return this.later(3, () => this.#askNow(request));
    this.#asked.delete(request);
    asked?.answered(message);
  }

  #opened(): void {
    clearTimeout(this.#timer);
    this.#isOpen = true;
    this.#tries %= this.#urls.length;
    this.#options.onState?.("open", this.#socket!.url);
    this.#pinger = setInterval(() => {
      if (Date.now() - this.#heardAtMs > SILENCE_MS) this.#lost(this.#socket!, "it is silent");
      else this.send({ type: "ping" });
    }, PING_EVERY_MS);
    for (const subscription of this.#subscriptions.values()) subscription.ask();
    for (const request of this.#asked.keys()) this.#askNow(request);
  }
}

/** Where a partition is. */
interface Place {
  readonly next: number;
  readonly token: string;
}

/** A record that is not taken yet. */
interface Queued {
  readonly record: WeirRecord;
  /** Of the last one of a frame: where the partition is after it. */
  readonly after: Place | null;
}

class ClientSubscription implements Subscription {
  readonly begun: Promise<void>;
  readonly #client: Client;
  readonly #id: number;
  readonly #options: SubscribeOptions;
  readonly #callbacks: Callbacks | undefined;
  readonly #buffer: number;
  readonly #queue: Queued[] = [];
  /** By partition: after what was heard, and after what was taken. */
  readonly #heard = new Map<string, Place>();
  readonly #taken = new Map<string, Place>();
  readonly #acks = new Map<string, Message>();
  #isAcking = false;
  #begin!: () => void;
  #wake: (() => void) | null = null;
  /** Records that were taken and for which no credit was given since. */
  #unpaid = 0;
  #tries = 0;
  #isOver = false;
  #error: Error | null = null;

  constructor(client: Client, id: number, options: SubscribeOptions, callbacks?: Callbacks) {
    this.#client = client;
    this.#id = id;
    this.#options = options;
    this.#callbacks = callbacks;
    this.#buffer = options.buffer ?? 1000;
    this.begun = new Promise((resolve) => this.#begin = resolve);
    if (callbacks !== undefined) void this.#callBack(callbacks);
  }

  get tokens(): string[] {
    return [...this.#taken.values()].map(({ token }) => token);
  }

  ask(): void {
    const { topic, topics, resume, buffer: _, ...others } = this.#options;
    const known = [...this.#heard.values()].map(({ token }) => token);
    const tokens = known.length > 0 ? known : resume;
    this.#unpaid = 0;
    this.#client.send({
      type: "subscribe",
      id: this.#id,
      topics: topics ?? [{ topic }],
      ...others,
      ...(tokens !== undefined && this.#options.group === undefined && { resume: tokens }),
      credits: Math.max(this.#buffer - this.#queue.length, 0),
    });
  }

  ack({ topic, partition, offset }: WeirRecord): void {
    this.#acks.set(`${topic} ${partition}`, { topic, partition, next: offset + 1 });
    if (!this.#isAcking) void this.#sendAcks();
  }

  /** One message at a time, with all that came meanwhile. */
  async #sendAcks(): Promise<void> {
    this.#isAcking = true;
    while (this.#acks.size > 0 && !this.#isOver) {
      const offsets = [...this.#acks.values()];
      this.#acks.clear();
      // What is not committed comes again, here or with another member.
      await this.#client.ask({ type: "ack", id: this.#id, offsets }).catch(() => undefined);
    }
    this.#isAcking = false;
  }

  close(): void {
    if (this.#isOver) return;
    const offsets = [...this.#acks.values()];
    if (offsets.length > 0) this.#client.send({ type: "ack", id: this.#id, offsets });
    this.#client.send({ type: "unsubscribe", id: this.#id });
    this.#over(null);
  }

  fail(error: Error): void {
    if (this.#isOver) return;
    this.#over(error);
    this.#callbacks?.error?.(error);
  }

  #over(error: Error | null): void {
    this.#isOver = true;
    this.#error = error;
    this.#client.forget(this.#id);
    this.#begin();
    this.#wake?.();
  }

  hear(message: Message): void {
    const name = `${message.topic} ${message.partition}`;
    switch (message.type) {
      case "subscribed":
        return this.#subscribed(message.partitions);
      case "records":
        return this.#take(name, message);
      case "position":
        this.#heard.set(name, message);
        if (this.#queue.length === 0) this.#taken.set(name, message);
        return;
      case "gap": {
        const { type: _, id: __, ...gap } = message;
        const { token = "" } = this.#heard.get(name) ?? {};
        this.#heard.set(name, { next: gap.to, token });
        this.#callbacks?.gap?.(gap);
        return;
      }
      case "error":
      case "end":
        return this.#ended(message);
    }
  }

  #subscribed(partitions: readonly Message[]): void {
    this.#tries = 0;
    for (const { topic, partition, next, token } of partitions) {
      const name = `${topic} ${partition}`;
      // Those of a group may have been another member's meanwhile.
      if (this.#options.group !== undefined || !this.#heard.has(name)) {
        this.#heard.set(name, { next, token });
      }
      if (!this.#taken.has(name)) this.#taken.set(name, { next, token });
    }
    this.#begin();
  }

  #ended({ type, reason, detail, retriable }: Message): void {
    if (retriable === true || reason === "unavailable") {
      return this.#client.later(this.#tries++, () => {
        if (!this.#isOver) this.ask();
      });
    }
    const what = type === "error" ? "Cannot subscribe" : `The subscription is over (${reason})`;
    this.fail(new Error(`${what}: ${detail}`));
  }

  #take(name: string, { topic, partition, next, token, records }: Message): void {
    const from = this.#heard.get(name)?.next ?? 0;
    for (const [index, record] of records.entries()) {
      const after = index === records.length - 1 ? { next, token } : null;
      if (record.offset < from) this.#unpaid++;
      else this.#queue.push({ record: { topic, partition, ...record }, after });
    }
    if (next > from) this.#heard.set(name, { next, token });
    this.#wake?.();
  }

  async #nextQueued(): Promise<Queued | null> {
    while (this.#queue.length === 0 && !this.#isOver) {
      await new Promise<void>((resolve) => this.#wake = resolve);
      this.#wake = null;
    }
    const queued = this.#queue.shift() ?? null;
    if (queued === null && this.#error !== null) throw this.#error;
    return queued;
  }

  #done({ record: { topic, partition }, after }: Queued): void {
    if (after !== null) this.#taken.set(`${topic} ${partition}`, after);
    if (++this.#unpaid < Math.max(this.#buffer / 2, 1)) return;
    this.#client.send({ type: "credit", id: this.#id, records: this.#unpaid });
    this.#unpaid = 0;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<WeirRecord, void, void> {
    try {
      for (;;) {
        const queued = await this.#nextQueued();
        if (queued === null) return;
        yield queued.record;
        this.#done(queued);
      }
    } finally {
      this.close();
    }
  }

  async #callBack(callbacks: Callbacks): Promise<void> {
    try {
      for await (const record of this) await callbacks.record(record);
    } catch (error) {
      // What ended it was told by `fail`; what a callback throws ends it too.
      if (error !== this.#error) callbacks.error?.(error as Error);
    }
  }
}

interface Waiting {
  readonly record: Message;
  readonly characters: number;
  readonly resolve: (written: Written) => void;
  readonly reject: (error: Error) => void;
}

/** What goes to one partition: one batch at a time. */
interface Lane {
  readonly topic: string;
  readonly partition: number;
  readonly waiting: Waiting[];
  inFlight: readonly Waiting[];
}

/** A producer id, and how much of each partition was sent under it. */
interface Identity {
  readonly asked: Promise<{ readonly id: number; readonly epoch: number }>;
  readonly sequences: Map<Lane, number>;
}

class ClientProducer {
  readonly #client: Client;
  readonly #maxWaiting: number;
  readonly #partitionCounts = new Map<string, Promise<number>>();
  readonly #lanes = new Map<string, Lane>();
  #identity: Identity | null = null;
  #waitingCount = 0;
  #anywhere = 0;
  #failure: Error | null = null;

  constructor(client: Client, maxWaiting: number) {
    this.#client = client;
    this.#maxWaiting = maxWaiting;
  }

  async produce(topic: string, given: OutgoingRecord): Promise<Written> {
    if (this.#failure !== null) throw this.#failure;
    if (this.#waitingCount >= this.#maxWaiting) {
      throw new Error(`Cannot produce: ${this.#waitingCount} records wait to be written already`);
    }
    this.#waitingCount++;
    try {
      const { partition: asked, ...fields } = given;
      const record = { timestamp: Date.now(), ...fields };
      const characters = JSON.stringify(record).length;
      const partition = asked ?? this.#choose(given.key ?? null, await this.#countOf(topic));
      return await new Promise<Written>((resolve, reject) => {
        const lane = this.#laneOf(topic, partition);
        lane.waiting.push({ record, characters, resolve, reject });
        if (this.#failure !== null) return this.fail(this.#failure);
        // Others that come in the same turn go along.
        queueMicrotask(() => void this.#pump(lane));
      });
    } finally {
      this.#waitingCount--;
    }
  }

  fail(error: Error): void {
    this.#failure = error;
    for (const { inFlight, waiting } of this.#lanes.values()) {
      for (const { reject } of [...inFlight, ...waiting.splice(0)]) reject(error);
    }
  }

  #choose(key: string | null, count: number): number {
    if (key === null) return this.#anywhere++ % count;
    return partitionForKey(new TextEncoder().encode(key), count);
  }

  #laneOf(topic: string, partition: number): Lane {
    const name = `${topic} ${partition}`;
    let lane = this.#lanes.get(name);
    if (lane === undefined) {
      this.#lanes.set(name, lane = { topic, partition, waiting: [], inFlight: [] });
    }
    return lane;
  }

  async #countOf(topic: string): Promise<number> {
    let count = this.#partitionCounts.get(topic);
    if (count === undefined) {
      count = this.#client.ask({ type: "topic", topic }).then(({ partitions }) => partitions);
      this.#partitionCounts.set(topic, count);
      count.catch(() => this.#partitionCounts.delete(topic));
    }
    return await count;
  }

  async #pump(lane: Lane): Promise<void> {
    if (lane.inFlight.length > 0 || lane.waiting.length === 0) return;
    const { topic, partition } = lane;
    const batch = lane.inFlight = nextBatch(lane.waiting);
    const identity = this.#identity ??= {
      asked: this.#client.ask({ type: "producer" }),
      sequences: new Map(),
    };
    try {
      const { id, epoch } = await identity.asked;
      const sequence = identity.sequences.get(lane) ?? 0;
      const { results } = await this.#client.ask({
        type: "produce",
        topic,
        partition,
        producer: { id, epoch, sequence },
        records: batch.map(({ record }) => record),
      });
      identity.sequences.set(lane, (sequence + batch.length) % SEQUENCE_LIMIT);
      const { offset } = results[0];
      for (const [i, { resolve }] of batch.entries()) {
        resolve({ topic, partition, offset: offset < 0 ? -1 : offset + i });
      }
    } catch (error) {
      // It may be that the node does not know the producer any more: what comes next is another one's.
      if (this.#identity === identity) this.#identity = null;
      for (const { reject } of batch) reject(error as Error);
    }
    lane.inFlight = [];
    void this.#pump(lane);
  }
}

/** Takes out as many as fit into a message. */
function nextBatch(waiting: Waiting[]): Waiting[] {
  let characters = 0;
  let count = 0;
  for (const record of waiting) {
    characters += record.characters;
    if (count > 0 && (count >= MAX_BATCH_RECORDS || characters > MAX_BATCH_CHARACTERS)) break;
    count++;
  }
  return waiting.splice(0, count);
}

/**
 * The partition of a key as Kafka's clients choose it: MurmurHash2 with a seed of its own, as `protocol/murmur2.ts` has it,
 * which cannot be imported here.
 */
export function partitionForKey(key: Uint8Array, partitionCount: number): number {
  const multiply = (word: number) => Math.imul(word, 0x5bd1e995);
  const at = (index: number) => key[index] ?? 0;
  let hash = 0x9747b28c ^ key.length;
  let done = 0;
  for (; done + 4 <= key.length; done += 4) {
    const word = multiply(
      at(done) | (at(done + 1) << 8) | (at(done + 2) << 16) | (at(done + 3) << 24),
    );
    hash = multiply(hash) ^ multiply(word ^ (word >>> 24));
  }
  if (done < key.length) {
    hash = multiply(hash ^ (at(done) | (at(done + 1) << 8) | (at(done + 2) << 16)));
  }
  hash = multiply(hash ^ (hash >>> 13));
  return ((hash ^ (hash >>> 15)) & 0x7fff_ffff) % partitionCount;
}

/** Connects to a node, or the first of several that answers. */
export const connect: typeof Connect = (urls, options = {}) =>
  new Client(typeof urls === "string" ? [urls] : urls, options);

/**
 * What `/client.js` gives to a page or program: WebSockets of weir as subscriptions and produced records. This text is
 * served as `/client.d.ts`.
 *
 *     import { connect } from "https://broker.example:8080/client.js";
 *     const weir = connect("wss://broker.example:8080/ws");
 *     for await (const record of weir.subscribe({ topic: "orders", from: "earliest" })) console.log(record.value);
 *     await weir.produce("orders", { key: "17", value: { price: 3 } });
 */

/** A record as it comes. Bytes that are no UTF-8 are base64, under a name of their own. */
export interface WeirRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  /** ms since the epoch. */
  readonly timestamp: number;
  readonly key?: string | null;
  readonly keyBase64?: string;
  readonly value?: string | null;
  readonly valueBase64?: string;
  readonly headers: readonly {
    readonly key: string;
    readonly value?: string | null;
    readonly valueBase64?: string;
  }[];
}

/** A record as it is handed in. */
export interface OutgoingRecord {
  readonly key?: string | null;
  /** Text, or any JSON. */
  readonly value?: unknown;
  readonly valueBase64?: string;
  readonly headers?: Readonly<Record<string, string | null>>;
  /** Chosen by the key, as Kafka's clients do, when left out. */
  readonly partition?: number;
  readonly timestamp?: number;
}

/** Where a record was written; offset −1 where an earlier try did, and the node does not know where any more. */
export interface Written {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

/** Which records are wanted; see docs/websocket.md. */
export interface Filter {
  readonly key?: { readonly equals?: string; readonly prefix?: string };
  readonly headers?: Readonly<Record<string, string>>;
  readonly json?: readonly {
    readonly path: string;
    readonly is: "=" | "!=" | "<" | "<=" | ">" | ">=" | "exists";
    readonly value?: string | number | boolean | null;
  }[];
}

/** What is subscribed to; see docs/websocket.md for what each means. */
export interface SubscribeOptions {
  /** One topic, all partitions … */
  readonly topic?: string;
  /** … or several, or some of the partitions. */
  readonly topics?: readonly { readonly topic: string; readonly partitions?: readonly number[] }[];
  readonly from?:
    | "earliest"
    | "latest"
    | { readonly offset: number }
    | { readonly timestamp: number | string };
  /** `tokens` of an earlier subscription. */
  readonly resume?: readonly string[];
  readonly filter?: Filter;
  readonly delivery?: "all" | "latest" | "sample";
  readonly intervalMs?: number;
  readonly slow?: "wait" | "drop";
  readonly readUncommitted?: boolean;
  /** Reads as a member of a consumer group; `ack` what is dealt with. */
  readonly group?: string;
  /** Records that may be here and not taken. 1000 when left out. */
  readonly buffer?: number;
}

/** Called with what comes; a promise that is returned is waited for. */
export interface Callbacks {
  readonly record: (record: WeirRecord) => unknown;
  /** Records that will not come. */
  readonly gap?: (gap: Gap) => unknown;
  /** It is over, and not because `close` was called. */
  readonly error?: (error: Error) => unknown;
}

/** Records that were removed, or lost, before they were read. */
export interface Gap {
  readonly topic: string;
  readonly partition: number;
  readonly reason: "retention" | "truncation";
  readonly from: number;
  readonly to: number;
}

/** A subscription: the records one by one, for one reader. */
export interface Subscription extends AsyncIterable<WeirRecord> {
  /** Goes on after what was taken, here or elsewhere; one for each partition. */
  readonly tokens: readonly string[];
  /** Resolves when the node has begun to send. */
  readonly begun: Promise<void>;
  /** For a group: everything of the record's partition up to it is dealt with. */
  ack(record: WeirRecord): void;
  close(): void;
}

/** How a connection behaves. */
export interface ConnectOptions {
  /** What makes WebSockets, where there is no global `WebSocket`. */
  readonly WebSocket?: typeof WebSocket;
  /** The longest wait between two tries. 5000 when left out. Units: ms. */
  readonly maxBackoffMs?: number;
  /** Told what happens to the connection. */
  readonly onState?: (state: "open" | "lost" | "closed", detail: string) => unknown;
  /** Records that `produce` may hold until they are written. 10,000 when left out. */
  readonly maxWaiting?: number;
}

/** A connection, which opens anew by itself, to the next node where one is gone. */
export interface Connection {
  /** With callbacks they are called; without, the subscription is iterated. */
  subscribe(options: SubscribeOptions, callbacks?: Callbacks): Subscription;
  /** Resolves when it is written and synced, once, also when the connection was lost meanwhile. */
  produce(topic: string, record: OutgoingRecord): Promise<Written>;
  /** Ends everything. */
  close(): void;
}

/** Connects to a node, or the first of several that answers: `ws://host:port/ws`. */
export declare function connect(
  urls: string | readonly string[],
  options?: ConnectOptions,
): Connection;

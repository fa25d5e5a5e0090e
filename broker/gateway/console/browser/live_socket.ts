/**
 * Follows a topic over a WebSocket, by the client that this node serves to everybody at `/client.js`.
 *
 * What arrives is handed on a few times a second, however much it is: drawing each record by itself would be too slow for
 * a busy topic, and of one that is busier than that only the newest are drawn.
 */

import type { WeirRecord } from "../../client/types.ts";
import type { Message, MessageQuery } from "./message_query.ts";

const CLIENT = "/client.js";
const HAND_ON_MS = 100;
/** How long the node may take to begin. */
const BEGIN_MS = 3000;
const encoder = new TextEncoder();

/** As much of `/client.js` as is used here; `client.d.ts` beside it has all. */
interface Client {
  connect(address: string): {
    subscribe(
      options: unknown,
      callbacks: {
        readonly record: (record: WeirRecord) => void;
        readonly error: (error: Error) => void;
      },
    ): { readonly begun: Promise<void> };
    close(): void;
  };
}

/** Told how it goes, by whichever way the topic is followed. */
export interface Follower {
  /** Whatever is written from now on arrives. */
  readonly begun: () => void;
  /** Messages in their order, and how many there were, which may be more. */
  readonly arrive: (messages: readonly Message[], count: number) => void;
}

/**
 * Follows until `signal` is aborted, and hands on the newest `maxCount` messages of those that came at a time.
 * Returns: false where there is no such client, or the node did not begin, or the subscription failed: the caller follows
 * in another way.
 */
export async function followSocket(
  { topic, partition }: MessageQuery,
  signal: AbortSignal,
  { begun, arrive, maxCount }: Follower & { readonly maxCount: number },
): Promise<boolean> {
  const client = await loadClient();
  if (client === null || signal.aborted) return signal.aborted;
  let waiting: WeirRecord[] = [];
  let count = 0;
  const connection = client.connect(`${location.origin.replace(/^http/, "ws")}/ws`);
  const timer = setInterval(() => {
    if (count === 0) return;
    arrive(waiting.slice(-maxCount).map(messageOf), count);
    waiting = [];
    count = 0;
  }, HAND_ON_MS);
  try {
    return await new Promise<boolean>((resolve) => {
      let isOver = false;
      const end = (isDone: boolean) => {
        isOver = true;
        resolve(isDone);
      };
      const topics = [{ topic, ...(partition !== "" && { partitions: [Number(partition)] }) }];
      const subscription = connection.subscribe(
        { topics, from: "latest", readUncommitted: true },
        {
          record: (record) => {
            count++;
            waiting.push(record);
            if (waiting.length > 2 * maxCount) waiting = waiting.slice(-maxCount);
          },
          error: () => end(false),
        },
      );
      const giveUp = setTimeout(() => end(false), BEGIN_MS);
      // Resolves as well when it ends before it has begun.
      void subscription.begun.then(() => {
        clearTimeout(giveUp);
        if (!isOver) begun();
      });
      signal.addEventListener("abort", () => end(true), { once: true });
    });
  } finally {
    clearInterval(timer);
    connection.close();
  }
}

async function loadClient(): Promise<Client | null> {
  try {
    return await import(CLIENT);
  } catch {
    // A node that serves no WebSockets: the caller has another way.
    return null;
  }
}

function messageOf(record: WeirRecord): Message {
  return {
    record,
    keyBytes: bytesOf(record.key, record.keyBase64),
    valueBytes: bytesOf(record.value, record.valueBase64),
    isCut: false,
  };
}

function bytesOf(text: string | null | undefined, base64: string | undefined): number {
  if (base64 !== undefined) return atob(base64).length;
  return encoder.encode(text ?? "").length;
}

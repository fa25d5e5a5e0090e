/** What the message browser asks for, and how it says so to the node. No document needed. */

import type { WeirRecord } from "../../client/types.ts";

/** What the form says. */
export interface MessageQuery {
  readonly topic: string;
  readonly order: "newest" | "oldest" | "offset" | "time";
  readonly offset: string;
  /** As an input for a date and a time gives it, in the time of this place. */
  readonly time: string;
  readonly partition: string;
  readonly filter: string;
}

/** A record in a page. */
export interface Message {
  readonly record: WeirRecord;
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly isCut: boolean;
}

/** Where the next page begins. */
export type Cursor = readonly (readonly [partition: number, offset: number])[];

/** A page of records. */
export interface MessagePage {
  readonly records: readonly Message[];
  readonly cursor: Cursor;
  readonly isEnd: boolean;
  readonly scannedCount: number;
  readonly scannedBytes: number;
}

/** The address of a page; `cursor` is where the one before it ended. */
export function pageAddress(query: MessageQuery, cursor: Cursor | null, limit: number): string {
  const search = new URLSearchParams({ topic: query.topic, limit: String(limit) });
  search.set("direction", query.order === "newest" ? "backward" : "forward");
  if (query.partition !== "") search.set("partition", query.partition);
  if (query.filter !== "") search.set("q", query.filter);
  if (cursor !== null) search.set("cursor", cursorText(cursor));
  else if (query.order === "offset") search.set("from", query.offset === "" ? "0" : query.offset);
  else if (query.order === "time" && query.time !== "") {
    search.set("from", new Date(query.time).toISOString());
  }
  return `/console/api/records?${search}`;
}

/** The address of what comes after a place, oldest first: how the browser follows a topic. */
export function tailAddress(query: MessageQuery, cursor: Cursor | null, limit: number): string {
  const search = new URLSearchParams({
    topic: query.topic,
    limit: String(limit),
    direction: "forward",
  });
  if (query.partition !== "") search.set("partition", query.partition);
  if (query.filter !== "") search.set("q", query.filter);
  if (cursor === null) search.set("from", "end");
  else search.set("cursor", cursorText(cursor));
  return `/console/api/records?${search}`;
}

function cursorText(cursor: Cursor): string {
  return cursor.map(([partition, offset]) => `${partition}:${offset}`).join(",");
}

/** Key and value as text where they are, else as what they were sent as. */
export function textOf(
  text: string | null | undefined,
  base64: string | undefined,
): { readonly kind: "null" | "text" | "bytes"; readonly text: string } {
  if (base64 !== undefined) return { kind: "bytes", text: base64 };
  return text === null || text === undefined ? { kind: "null", text: "" } : { kind: "text", text };
}

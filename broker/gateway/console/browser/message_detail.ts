/** One message, open: its value as JSON, text or hex, its key, its headers, and ways to take them along. */

import type { WeirRecord } from "../../client/types.ts";
import { copyText, element, problemOf } from "./dom.ts";
import { type Message, textOf } from "./message_query.ts";
import { hexDump, jsonPieces, prettyJson } from "./show_value.ts";

/** A longer one is fetched when it is asked for. */
const FETCHED_AT_ONCE_BYTES = 256 * 1024;
const VIEWS = ["JSON", "Text", "Hex"] as const;
type View = (typeof VIEWS)[number];

/** The row below the one that was opened. */
export function messageDetail(message: Message): HTMLTableRowElement {
  const body = element("div", { class: "detailBody" });
  show(body, message.record, message);
  return element("tr", { class: "detail" }, element("td", { colspan: 5 }, body));
}

function show(body: HTMLElement, record: WeirRecord, message: Message): void {
  body.replaceChildren(
    places(record, message),
    ...(message.isCut ? [wholeLine(body, record, message)] : []),
    valueView("Value", record.value, record.valueBase64),
    ...(textOf(record.key, record.keyBase64).kind === "null"
      ? []
      : [valueView("Key", record.key, record.keyBase64)]),
    ...(record.headers.length === 0 ? [] : [headerView(record)]),
    actions(record),
  );
}

function places(record: WeirRecord, { keyBytes, valueBytes }: Message): HTMLElement {
  const { partition, offset, timestamp } = record;
  const rows: readonly (readonly [string, string])[] = [
    ["Partition", String(partition)],
    ["Offset", String(offset)],
    ["Timestamp", timestamp < 0 ? "none" : `${new Date(timestamp).toISOString()} (${timestamp})`],
    ["Size", `${valueBytes} bytes${keyBytes > 0 ? `, key ${keyBytes}` : ""}`],
  ];
  return element(
    "dl",
    { class: "pairs small" },
    ...rows.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]),
  );
}

/** What is there is only the beginning. */
function wholeLine(body: HTMLElement, record: WeirRecord, message: Message): HTMLElement {
  const button = element("button", { type: "button" }, "Show all of it");
  const line = element("p", { class: "status" }, "This is the beginning. ", button);
  const load = async () => {
    button.disabled = true;
    try {
      const response = await fetch(recordAddress(record, "json"));
      if (!response.ok) throw new Error(await problemOf(response));
      show(body, await response.json(), { ...message, isCut: false });
    } catch (error) {
      line.textContent = error instanceof Error ? error.message : String(error);
    }
  };
  button.addEventListener("click", () => void load());
  if (message.keyBytes + message.valueBytes <= FETCHED_AT_ONCE_BYTES) void load();
  return line;
}

/** Where one record is found, or the bytes of its key or value. */
export function recordAddress(
  { topic, partition, offset }: WeirRecord,
  as: "json" | "value" | "key",
): string {
  const search = new URLSearchParams({ topic, as });
  search.set("partition", String(partition));
  search.set("offset", String(offset));
  return `/console/api/record?${search}`;
}

function valueView(
  name: string,
  text: string | null | undefined,
  base64: string | undefined,
): HTMLElement {
  const value = textOf(text, base64);
  const title = element("h3", {}, name);
  if (value.kind === "null") {
    return element("div", {}, title, element("p", { class: "null" }, "null"));
  }
  const bytes = value.kind === "bytes"
    ? Uint8Array.from(atob(value.text), (character) => character.charCodeAt(0))
    : new TextEncoder().encode(value.text);
  const possible = VIEWS.filter((view) =>
    view === "Hex" ||
    (value.kind === "text" && (view === "Text" || prettyJson(value.text) !== null))
  );
  const pre = element("pre", { tabindex: 0, "aria-label": name });
  const buttons = possible.map((view) =>
    element("button", { type: "button", class: "plain" }, view)
  );
  const choose = (view: View) => {
    for (const [index, button] of buttons.entries()) {
      button.setAttribute("aria-pressed", String(possible[index] === view));
    }
    pre.classList.toggle("hex", view === "Hex");
    pre.replaceChildren(...viewOf(view, value.text, bytes));
  };
  for (const [index, button] of buttons.entries()) {
    button.addEventListener("click", () => choose(possible[index]!));
  }
  const copy = element("button", { type: "button", class: "plain" }, "Copy");
  copy.addEventListener("click", () => void copyText(pre.textContent ?? "", copy));
  choose(possible[0]!);
  return element("div", {}, element("div", { class: "bar viewBar" }, title, ...buttons, copy), pre);
}

function viewOf(view: View, text: string, bytes: Uint8Array): (Node | string)[] {
  switch (view) {
    case "JSON":
      return (jsonPieces(text) ?? []).map((piece) =>
        piece.kind === null ? piece.text : element("span", { class: piece.kind }, piece.text)
      );
    case "Text":
      return [text];
    case "Hex":
      return [hexDump(bytes)];
  }
}

function headerView({ headers }: WeirRecord): HTMLElement {
  const rows = headers.map(({ key, value, valueBase64 }) => {
    const shown = textOf(value, valueBase64);
    const text = shown.kind === "null"
      ? element("span", { class: "null" }, "null")
      : shown.kind === "bytes"
      ? `base64 ${shown.text}`
      : shown.text;
    return [element("dt", { class: "mono" }, key), element("dd", { class: "mono" }, text)];
  });
  return element(
    "div",
    {},
    element("h3", {}, "Headers"),
    element("dl", { class: "pairs" }, ...rows.flat()),
  );
}

function actions(record: WeirRecord): HTMLElement {
  const asJson = element("button", { type: "button", class: "plain" }, "Copy as JSON");
  asJson.addEventListener("click", () => void copyText(JSON.stringify(record), asJson));
  const here = new URLSearchParams({ order: "offset", offset: String(record.offset) });
  here.set("partition", String(record.partition));
  return element(
    "div",
    { class: "bar small" },
    asJson,
    element("a", { href: recordAddress(record, "value"), download: true }, "Save the value"),
    element("a", { href: `?${here}` }, "From here on"),
  );
}

/** The rows of the message browser, and the one or more of them that are open. */

import { element, need } from "./dom.ts";
import { messageDetail } from "./message_detail.ts";
import { type Message, textOf } from "./message_query.ts";
import { oneLine } from "./show_value.ts";

/** What the browser does with its rows. */
export interface MessageList {
  /** What is shown, from top to bottom. */
  readonly messages: readonly Message[];
  clear(): void;
  append(messages: readonly Message[]): void;
  /** Puts what came last on top, and takes rows beyond `maxRows` away at the bottom. */
  prepend(inOrder: readonly Message[], maxRows: number): void;
  /** Goes so many rows down, or up. */
  move(step: number): void;
}

/** Makes the rows of a frame; `filter` is what is searched for, which rows mark. */
export function messageList(frame: HTMLElement, filter: () => string): MessageList {
  const table = need<HTMLTableElement>("table", frame);
  const body = need<HTMLTableSectionElement>("tbody", table);
  let shown: Message[] = [];
  const known = new WeakMap<HTMLElement, Message>();

  const rowOf = (message: Message, isFresh: boolean): HTMLTableRowElement => {
    const row = makeRow(message, words(filter()));
    if (isFresh) row.classList.add("fresh");
    known.set(row, message);
    return row;
  };
  body.addEventListener("click", (event) => {
    if (!(event.target instanceof Element)) return;
    const row = event.target.closest<HTMLTableRowElement>("tr.record");
    // Whoever selects a text to copy it does not want the row opened.
    if (row === null || getSelection()?.isCollapsed === false) return;
    toggle(row, known.get(row)!);
  });
  return {
    get messages() {
      return shown;
    },
    clear() {
      shown = [];
      body.replaceChildren();
      table.hidden = true;
    },
    append(messages) {
      shown.push(...messages);
      body.append(...messages.map((message) => rowOf(message, false)));
      table.hidden = shown.length === 0;
    },
    prepend(inOrder, maxRows) {
      if (inOrder.length === 0) return;
      const newestFirst = inOrder.toReversed();
      shown = [...newestFirst, ...shown].slice(0, maxRows);
      body.prepend(...newestFirst.map((message) => rowOf(message, true)));
      for (const row of [...body.querySelectorAll("tr.record")].slice(maxRows)) {
        if (row.nextElementSibling?.matches(".detail")) row.nextElementSibling.remove();
        row.remove();
      }
      table.hidden = false;
    },
    move(step) {
      const buttons = [...body.querySelectorAll<HTMLElement>("tr.record button")];
      const at = buttons.indexOf(document.activeElement as HTMLElement);
      const to = at < 0 ? 0 : Math.min(Math.max(at + step, 0), buttons.length - 1);
      buttons[to]?.focus();
    },
  };
}

function toggle(row: HTMLTableRowElement, message: Message): void {
  const button = need("button", row);
  const next = row.nextElementSibling;
  const isOpen = next !== null && next.matches(".detail");
  button.setAttribute("aria-expanded", String(!isOpen));
  row.classList.toggle("open", !isOpen);
  if (isOpen) next.remove();
  else row.after(messageDetail(message));
}

function makeRow({ record, valueBytes }: Message, marked: readonly string[]): HTMLTableRowElement {
  const value = textOf(record.value, record.valueBase64);
  const key = textOf(record.key, record.keyBase64);
  const { partition, offset, timestamp } = record;
  const time = element(
    "button",
    {
      type: "button",
      "aria-expanded": "false",
      title: timestamp < 0 ? "no timestamp" : new Date(timestamp).toISOString(),
    },
    momentText(timestamp),
    unseen(`, message ${offset} of partition ${partition}`),
  );
  const valueCell = value.kind === "null"
    ? quiet("null")
    : value.kind === "bytes"
    ? quiet(`${valueBytes} bytes, no text`)
    : withMarks(oneLine(value.text), marked);
  const keyCell = key.kind === "null"
    ? quiet("null")
    : key.kind === "bytes"
    ? quiet("bytes")
    : withMarks(oneLine(key.text, 80), marked);
  return element(
    "tr",
    { class: "record" },
    element("td", { class: "cellTime nowrap" }, time),
    element("td", { class: "cellPartition num" }, String(partition)),
    element("td", { class: "cellOffset num" }, String(offset)),
    element("td", { class: "cellKey mono" }, keyCell),
    element("td", { class: "cellValue mono" }, valueCell),
  );
}

/** For those who hear the page. */
function unseen(text: string): HTMLElement {
  return element("span", { class: "unseen" }, text);
}

function quiet(text: string): HTMLElement {
  return element("span", { class: "null" }, text);
}

/** The words of a search that can be seen in a row. */
function words(filter: string): string[] {
  return [...filter.matchAll(/(?:^|\s)(?:(?:key|value):)?(?:"([^"]+)"|([^\s"$][^\s"]*))/g)]
    .map(([, quoted, plain]) => (quoted ?? plain ?? "").toLowerCase());
}

function withMarks(text: string, marked: readonly string[]): Node {
  const lower = text.toLowerCase();
  const parts = document.createDocumentFragment();
  let at = 0;
  while (at < text.length) {
    const next = marked
      .map((word) => ({ word, index: lower.indexOf(word, at) }))
      .filter(({ index }) => index >= 0)
      .sort((a, b) => a.index - b.index)[0];
    if (next === undefined) break;
    const end = next.index + next.word.length;
    parts.append(text.slice(at, next.index), element("mark", {}, text.slice(next.index, end)));
    at = end;
  }
  parts.append(text.slice(at));
  return parts;
}

/** The time of here; with the day where it is not today's. */
function momentText(timestamp: number): string {
  if (timestamp < 0) return "–";
  const moment = new Date(timestamp);
  const two = (value: number) => String(value).padStart(2, "0");
  const time = [moment.getHours(), moment.getMinutes(), moment.getSeconds()].map(two).join(":");
  const exact = `${time}.${String(moment.getMilliseconds()).padStart(3, "0")}`;
  if (moment.toDateString() === new Date().toDateString()) return exact;
  const day = [moment.getFullYear(), two(moment.getMonth() + 1), two(moment.getDate())].join("-");
  return `${day} ${time}`;
}

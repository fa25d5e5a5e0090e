/**
 * The message browser: asks for pages of records, shows them, follows the topic, opens one, saves what is shown.
 *
 * A search is many short requests, each of which the node ends by itself; it goes on until a page is full, the topic
 * ends, or somebody stops it. What is on screen is bounded, too: following drops the oldest.
 */

import { announce, element, need, problemOf } from "./dom.ts";
import { type Follower, followSocket } from "./live_socket.ts";
import { saveMessages } from "./message_export.ts";
import { type MessageList, messageList } from "./message_list.ts";
import {
  type Cursor,
  type Message,
  type MessagePage,
  type MessageQuery,
  pageAddress,
  tailAddress,
} from "./message_query.ts";
import { startProduce } from "./produce_form.ts";

const PAGE = 50;
const TAIL_PAGE = 200;
/** Rows that stay on screen while the topic is followed. */
const MAX_ROWS = 1000;
/** Time between two looks at the end of a topic. */
const TAIL_EVERY_MS = 500;
/** A search that has looked at so much asks whether to go on. */
const SEARCH_BYTES = 256 * 1024 * 1024;

const frame = need("[data-messages]");
const form = need<HTMLFormElement>("[data-query]", frame);
const statusLine = need("[data-status]", frame);
const fault = need("[data-fault]", frame);
const stopButton = need<HTMLButtonElement>("[data-stop]", frame);
const continueButton = need<HTMLButtonElement>("[data-continue]", frame);
const moreButton = need<HTMLButtonElement>("[data-more]", frame);
const liveButton = need<HTMLButtonElement>("[data-live]", frame);
const foot = need("[data-foot]", frame);
const empty = need("[data-empty]", frame);

const topic = frame.dataset["messages"] ?? "";
const list: MessageList = messageList(frame, () => query().filter);

/** What runs now; aborted when something else begins. */
let running = new AbortController();
let cursor: Cursor | null = null;
let isEnd = false;
let scannedCount = 0;
let scannedBytes = 0;
let isLive = false;

function query(): MessageQuery {
  const data = new FormData(form);
  const text = (name: string) => String(data.get(name) ?? "");
  return {
    topic,
    order: text("order") as MessageQuery["order"],
    offset: text("offset"),
    time: text("time"),
    partition: text("partition"),
    filter: text("q").trim(),
  };
}

/** Asks for one page. Errors: Error with what the node said; AbortError. */
async function ask(address: string, signal: AbortSignal): Promise<MessagePage> {
  const response = await fetch(address, { signal });
  if (!response.ok) throw new Error(await problemOf(response));
  return await response.json();
}

/** Starts over with what the form says. */
async function search(): Promise<void> {
  rememberQuery();
  list.clear();
  cursor = null;
  isEnd = false;
  scannedCount = scannedBytes = 0;
  await readOn(PAGE);
}

/** Shows so many more, and reads for them as long as it takes, or until stopped. */
async function readOn(wanted: number): Promise<void> {
  const { signal } = begin();
  const asked = query();
  const bytesBefore = scannedBytes;
  let left = wanted;
  stopButton.hidden = false;
  continueButton.hidden = true;
  try {
    while (left > 0 && !isEnd && scannedBytes - bytesBefore < SEARCH_BYTES) {
      const page = await ask(pageAddress(asked, cursor, left), signal);
      cursor = page.cursor;
      isEnd = page.isEnd;
      scannedCount += page.scannedCount;
      scannedBytes += page.scannedBytes;
      left -= page.records.length;
      list.append(page.records);
      tell(asked.filter === "" ? "" : "Searching … ");
    }
  } catch (error) {
    if (!signal.aborted) showFault(error);
  }
  // What began meanwhile has the buttons now.
  if (signal !== running.signal) return;
  stopButton.hidden = true;
  continueButton.hidden = isEnd || left === 0 || asked.filter === "";
  tell("");
}

/** Ends what runs, and begins something new. */
function begin(): AbortController {
  running.abort();
  running = new AbortController();
  fault.hidden = true;
  return running;
}

function showFault(error: unknown): void {
  fault.textContent = error instanceof Error ? error.message : String(error);
  fault.hidden = false;
}

/** Says how far it is. */
function tell(before: string): void {
  const { filter } = query();
  const count = list.messages.length;
  const found = `${number(count)} ${filter === "" ? "" : "matching "}message${
    count === 1 ? "" : "s"
  }`;
  const looked = filter === ""
    ? ""
    : `, of ${number(scannedCount)} looked at (${size(scannedBytes)})`;
  const end = !isEnd || isLive
    ? ""
    : query().order === "newest"
    ? ", back to the first"
    : ", up to the end";
  statusLine.textContent = before + found + looked + end;
  foot.hidden = count === 0;
  moreButton.hidden = isEnd || isLive;
  empty.hidden = count > 0 || isLive || !isEnd || filter !== "" || !fault.hidden;
}

const number = (value: number) => value.toLocaleString("en").replaceAll(",", "\u202f");
const size = (bytes: number) =>
  bytes < 1024 * 1024
    ? `${number(Math.ceil(bytes / 1024))} KiB`
    : `${(bytes / 1024 / 1024).toFixed(1)} MiB`;

/** Follows the topic from its end until stopped: over a WebSocket where that can be, else by asking again and again. */
async function follow(): Promise<void> {
  const { signal } = begin();
  const asked = query();
  let arrived = 0;
  statusLine.textContent = "Looking for the end of the topic …";
  empty.hidden = true;
  moreButton.hidden = true;
  const follower: Follower = {
    begun: () => {
      if (signal.aborted || arrived > 0) return;
      statusLine.textContent = "Following. New messages appear here.";
    },
    arrive: (messages, count) => {
      if (signal.aborted) return;
      arrived += count;
      list.prepend(messages, MAX_ROWS);
      statusLine.textContent = `Following: ${number(arrived)} arrived`;
      foot.hidden = false;
    },
  };
  // The filters of WebSockets are others than those of a search.
  const isPlain = asked.filter === "";
  if (isPlain && await followSocket(asked, signal, { ...follower, maxCount: MAX_ROWS })) return;
  await followPages(asked, signal, follower);
}

/** Asks for what has come since the page before, until stopped. */
async function followPages(
  asked: MessageQuery,
  signal: AbortSignal,
  { begun, arrive }: Follower,
): Promise<void> {
  let at: Cursor | null = null;
  while (!signal.aborted) {
    try {
      const page: MessagePage = await ask(tailAddress(asked, at, TAIL_PAGE), signal);
      at = page.cursor;
      fault.hidden = true;
      begun();
      if (page.records.length > 0) arrive(page.records, page.records.length);
      if (!page.isEnd) continue;
    } catch (error) {
      if (signal.aborted) return;
      // The topic is still there tomorrow: it is tried again for as long as somebody looks.
      showFault(error);
    }
    await pause(signal);
  }
}

/** Resolves after a moment, and not before somebody looks; at once when stopped. */
function pause(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const wake = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", wake);
      resolve();
    };
    setTimeout(() => {
      if (document.hidden) document.addEventListener("visibilitychange", wake);
      else wake();
    }, TAIL_EVERY_MS);
    signal.addEventListener("abort", wake, { once: true });
  });
}

function setLive(on: boolean): void {
  isLive = on;
  liveButton.setAttribute("aria-pressed", String(on));
  liveButton.textContent = on ? "Stop following" : "Live";
  announce(on ? "Following the topic" : "Not following any more");
  if (!on) {
    begin();
    tell("");
    return;
  }
  if (query().order !== "newest") {
    need<HTMLSelectElement>("[name=order]", form).value = "newest";
    showFields();
    list.clear();
  }
  void follow();
}

/** Puts what was asked into the address, so that it can be sent to somebody. */
function rememberQuery(): void {
  const { order, offset, time, partition, filter } = query();
  const search = new URLSearchParams();
  if (order !== "newest") search.set("order", order);
  if (order === "offset") search.set("offset", offset);
  if (order === "time" && time !== "") search.set("time", time);
  if (partition !== "") search.set("partition", partition);
  if (filter !== "") search.set("q", filter);
  const text = search.toString();
  history.replaceState(null, "", text === "" ? location.pathname : `?${text}`);
}

function fillForm(): void {
  for (const [name, value] of new URLSearchParams(location.search)) {
    const field = form.elements.namedItem(name);
    if (field instanceof HTMLInputElement || field instanceof HTMLSelectElement) {
      field.value = value;
    }
  }
  showFields();
}

function showFields(): void {
  const { order } = query();
  for (const field of form.querySelectorAll<HTMLElement>("[data-for]")) {
    field.hidden = field.dataset["for"] !== order;
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (isLive) setLive(false);
  void search();
});
form.addEventListener("change", (event) => {
  showFields();
  const isChoice = event.target instanceof HTMLSelectElement;
  if (isChoice && !["offset", "time"].includes(query().order)) form.requestSubmit();
});
stopButton.addEventListener("click", () => {
  begin();
  stopButton.hidden = true;
  continueButton.hidden = isEnd;
  tell("Stopped. ");
});
continueButton.addEventListener("click", () => void readOn(PAGE));
moreButton.addEventListener("click", () => void readOn(PAGE));
liveButton.addEventListener("click", () => setLive(!isLive));
for (const button of foot.querySelectorAll<HTMLButtonElement>("[data-export]")) {
  button.addEventListener("click", () => void save(button));
}

async function save(button: HTMLButtonElement): Promise<void> {
  button.disabled = true;
  try {
    const messages: readonly Message[] = list.messages;
    await saveMessages(topic, messages, button.dataset["export"] === "zip" ? "zip" : "ndjson");
    announce(`Saved ${messages.length} messages`);
  } catch (error) {
    showFault(error);
  }
  button.disabled = false;
}

document.addEventListener("keydown", (event) => {
  const { target } = event;
  const isTyping = target instanceof HTMLElement && target.matches("input, textarea, select");
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]") !== null) return;
  if (event.key === "j") list.move(1);
  else if (event.key === "k") list.move(-1);
  else if (event.key === "l") setLive(!isLive);
});

startProduce(topic, () => {
  if (!isLive) void search();
});
fillForm();
void search();
frame.append(element("span", { class: "unseen", "data-ready": true }));

/**
 * Strangers at the HTTP port: what is no HTTP, too large, half sent or never read gets an answer of its own kind or a
 * closed connection; a healthy client is served meanwhile, memory and open sockets stay within bounds.
 */

import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import type { Socket } from "bun";
import { eventually, type RunningBroker, startWeir } from "./harness.ts";

const MIB = 1024 * 1024;
/** Memory that an attack may cost, with garbage that is not collected yet. */
const GROWTH_BYTES = 200 * MIB;
/** The healthy client's answers must come within this; the machine may be busy. */
const PATIENCE_MS = 3_000;
/** How long an answer to nonsense may take. */
const ANSWER_MS = 5_000;

let broker: RunningBroker;
let startRss = 0;
let startFiles = 0;

const rssBytes = () =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${broker.pid}/status`, "utf8"))![1]) * 1024;

/** One connection that says what it is told. */
class Stranger {
  text = "";
  isClosed = false;
  #changed: (() => void) | null = null;
  #socket!: Socket;

  static async connect(isReading = true): Promise<Stranger> {
    const stranger = new Stranger();
    stranger.#socket = await Bun.connect({
      hostname: "127.0.0.1",
      port: broker.httpPort,
      socket: {
        data: (_, bytes) => stranger.#heard(bytes.toString("latin1")),
        close: () => stranger.#ended(),
        error: () => stranger.#ended(),
      },
    });
    if (!isReading) stranger.#socket.pause();
    return stranger;
  }

  #heard(text: string): void {
    this.text += text;
    this.#changed?.();
  }

  #ended(): void {
    this.isClosed = true;
    this.#changed?.();
  }

  say(bytes: string | Uint8Array): void {
    this.#socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
  }

  /** Waits until it was answered or the connection has ended. Returns: the status, 0 for none. */
  async answered(): Promise<number> {
    const timeout = setTimeout(() => this.#ended(), ANSWER_MS);
    while (!this.isClosed && !/^HTTP\/1\.1 \d+/.test(this.text)) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#changed = resolve;
      await promise;
    }
    clearTimeout(timeout);
    return Number(/^HTTP\/1\.1 (\d+)/.exec(this.text)?.[1] ?? 0);
  }

  close(): void {
    this.#socket.terminate();
  }
}

async function healthyMs(): Promise<number> {
  const startMs = performance.now();
  const response = await fetch(`http://127.0.0.1:${broker.httpPort}/healthz`);
  expect(await response.json()).toMatchObject({ status: "ok" });
  return performance.now() - startMs;
}

/** Open files of the broker, as the kernel counts them. */
function openFiles(): number {
  return readdirSync(`/proc/${broker.pid}/fd`).length;
}

beforeAll(async () => {
  broker = await startWeir();
  // What the first page of metrics takes is no stranger's doing.
  await (await fetch(`http://127.0.0.1:${broker.httpPort}/metrics`)).text();
  startRss = rssBytes();
  startFiles = openFiles();
});

afterEach(async () => {
  expect(await healthyMs()).toBeLessThan(PATIENCE_MS);
  expect(rssBytes() - startRss).toBeLessThan(GROWTH_BYTES);
});

afterAll(async () => {
  expect(await broker.stop()).toBe(0);
  expect(broker.output()).not.toContain("ERROR");
});

const NONSENSE: readonly (readonly [what: string, bytes: string])[] = [
  ["bytes that are no text", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"],
  ["a Kafka request", "\x00\x00\x00\x11\x00\x12\x00\x03\x00\x00\x00\x01\x00\x07abc1234\r\n\r\n"],
  ["a line that is no request", "hello there\r\n\r\n"],
  ["no version", "GET /healthz\r\n\r\n"],
  ["a version that is none", "GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n"],
  ["a header without a colon", "GET /nope HTTP/1.1\r\nHost x\r\n\r\n"],
  ["a header with a NUL", "GET /nope HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n"],
  [
    "two lengths",
    "POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
  ],
  ["a negative length", "POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"],
  [
    "chunks that are none",
    "POST /nope HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n",
  ],
  ["headers without end", `GET /healthz HTTP/1.1\r\nHost: x\r\nA: ${"a".repeat(2 * MIB)}`],
  ["headers by the thousand", `GET /nope HTTP/1.1\r\nHost: x\r\n${"A: b\r\n".repeat(20_000)}\r\n`],
  ["a path of a megabyte", `GET /${"a".repeat(MIB)} HTTP/1.1\r\nHost: x\r\n\r\n`],
  ["a body past the bound", `POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: ${2 ** 40}\r\n\r\n`],
];

test.each(NONSENSE)("HTTP: %s is refused or cut off, and breaks nothing", async (_, bytes) => {
  const stranger = await Stranger.connect();
  stranger.say(bytes);
  const status = await stranger.answered();
  // 0: closed, or still waiting for the rest; 505: of an HTTP that nobody speaks.
  const isRefused = status === 0 || (status >= 400 && status < 500) || status === 505;
  expect(isRefused, `answered ${status}`).toBeTrue();
  stranger.close();
});

const TRICKS = [
  "/../../../../etc/passwd",
  "/..%2f..%2f..%2fetc/passwd",
  "/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
  "//etc/passwd",
  "/healthz/../../etc/passwd",
  "/healthz%00",
  "/healthz%00/../../etc/passwd",
  "/\\..\\..\\etc\\passwd",
  "/%c0%ae%c0%ae/etc/passwd",
  "/%",
  "/%zz",
  "/healthz;/../etc/passwd",
  "/metrics/..;/healthz/x",
];

test.each(TRICKS)("HTTP: the path %s leads nowhere", async (path) => {
  const stranger = await Stranger.connect();
  stranger.say(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
  const status = await stranger.answered();
  expect(status).toBeWithin(400, 500);
  expect(stranger.text).not.toContain("root:");
  stranger.close();
});

test("HTTP: half a request on a thousand connections holds nobody up, and goes with them", async () => {
  const strangers = await Promise.all(Array.from({ length: 1000 }, () => Stranger.connect()));
  for (const stranger of strangers) stranger.say("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ");
  expect(await healthyMs()).toBeLessThan(PATIENCE_MS);
  expect(openFiles()).toBeGreaterThanOrEqual(startFiles + 1000);
  for (const stranger of strangers) stranger.close();
  const isClosed = () => openFiles() < startFiles + 50 || undefined;
  await eventually("all of them to be closed", isClosed, PATIENCE_MS);
});

test("HTTP: pages that nobody reads cost little, however many are asked for", async () => {
  const strangers = await Promise.all(Array.from({ length: 50 }, () => Stranger.connect(false)));
  const requests = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200);
  for (const stranger of strangers) stranger.say(requests);
  for (let turn = 0; turn < 50; turn++) {
    expect(await healthyMs()).toBeLessThan(PATIENCE_MS);
    expect(rssBytes() - startRss).toBeLessThan(GROWTH_BYTES);
  }
  for (const stranger of strangers) stranger.close();
});

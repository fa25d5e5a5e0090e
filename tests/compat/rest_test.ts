/** The REST API of a real process: what docs/http.md shows, bounds that only a socket shows, and thousands of topics. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Kafka, logLevel } from "kafkajs";
import {
  eventually,
  repositoryRoot,
  type RunningBroker,
  runProgram,
  startWeir,
} from "./harness.ts";

const MAX_STREAMS = 50;

let weir: RunningBroker;
let base: string;
beforeAll(async () => {
  const settings = {
    "weir.gateway.max.body.bytes": "1048576",
    "weir.gateway.max.streams": `${MAX_STREAMS}`,
  };
  // As the executable sets its runtime up (storage/runtime_bun.ts).
  const command = [
    "env",
    "BUN_JSC_forceRAMSize=134217728",
    process.execPath,
    join(repositoryRoot, "main.ts"),
  ];
  weir = await startWeir({ settings, command });
  base = `http://127.0.0.1:${weir.httpPort}`;
});
afterAll(async () => {
  await weir.stop();
});

/** Resident memory of the broker. Units: MiB. */
function residentMegabytes(): number {
  const status = readFileSync(`/proc/${weir.pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) / 1024;
}

/** What it comes down to once the garbage of what was done is collected, which takes seconds without work. */
async function settledMegabytes(): Promise<number> {
  let least = residentMegabytes();
  for (let i = 0; i < 20; i++) {
    await Bun.sleep(200);
    least = Math.min(least, residentMegabytes());
  }
  return least;
}

/** One example of the page: what is typed, and what comes out. */
interface Example {
  readonly line: number;
  readonly commands: string;
  readonly expected: string | null;
}

function examplesOf(page: string): Example[] {
  const blocks = [...page.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map((match) => ({
    language: match[1]!,
    text: match[2]!,
    line: page.slice(0, match.index).split("\n").length,
  }));
  return blocks.flatMap((block, i) => {
    if (block.language !== "sh") return [];
    const next = blocks[i + 1];
    const isAnswered = next !== undefined && next.language !== "sh";
    return [{ line: block.line, commands: block.text, expected: isAnswered ? next.text : null }];
  });
}

/** `…` stands for anything. */
function patternOf(expected: string): RegExp {
  const parts = expected.trim().split("…").map((part) =>
    part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")
  );
  return new RegExp(`^${parts.join("[^]*")}$`);
}

test("docs/http.md: every example does what the page says", async () => {
  const examples = examplesOf(readFileSync(join(repositoryRoot, "docs", "http.md"), "utf8"));
  expect(examples.length).toBeGreaterThan(15);
  // What one example sets the next ones use, so they are one script, with a mark after each.
  const mark = (line: number) => `\n=== ${line} ===\n`;
  const script = examples.map(({ line, commands }) =>
    `${commands}\nprintf '${mark(line).replaceAll("\n", "\\n")}'`
  );
  // A broker of its own, since the page begins with an empty one.
  const empty = await startWeir();
  const { code, stdout, stderr } = await runProgram(["bash", "-eu", "-c", script.join("\n")], {
    environment: { WEIR: `http://127.0.0.1:${empty.httpPort}` },
  });
  await empty.stop();
  let rest = stdout;
  for (const { line, expected } of examples) {
    const [output, after] = rest.split(mark(line)) as [string, string | undefined];
    if (after === undefined) {
      throw new Error(`The example at line ${line} failed: ${stdout}${stderr}`);
    }
    if (expected !== null) {
      expect({ line, output: output.trim() }).toEqual({
        line,
        output: expect.stringMatching(patternOf(expected)),
      });
    }
    rest = after;
  }
  expect(code).toBe(0);
}, 60_000);

async function clusterUrl(): Promise<string> {
  const { data: [cluster] } = await (await fetch(`${base}/v3/clusters`)).json() as {
    data: { cluster_id: string }[];
  };
  return `${base}/v3/clusters/${cluster!.cluster_id}`;
}

async function postJson(url: string, body: unknown): Promise<Response> {
  const headers = { "Content-Type": "application/json" };
  return await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
}

describe("bounds", () => {
  test("bodies: one that is too large is refused, whether it says so or not", async () => {
    const url = `${await clusterUrl()}/topics`;
    const large = { topic_name: "x".repeat(1024 * 1024) };
    expect((await postJson(url, large)).status).toBe(413);
    const chunked = await fetch(url, {
      method: "POST",
      body: new ReadableStream({
        pull(controller) {
          controller.enqueue(new TextEncoder().encode(" ".repeat(64 * 1024)));
        },
      }),
      headers: { "Content-Type": "application/json" },
    });
    expect(chunked.status).toBe(413);
  });

  test(
    "streams: those that upload without end and read no answers are held back, memory flat",
    async () => {
      const held = [await flood()];
      const before = await settledMegabytes();
      held.push(await flood());
      expect(await settledMegabytes() - before).toBeLessThan(60);
      for (const socket of held) socket.end();
    },
    120_000,
  );

  test(
    "streams: clients that do not read are held back, and those that are cut are noticed",
    async () => {
      const value = "x".repeat(90_000);
      const lines = Array.from({ length: 10 }, () => JSON.stringify({ value })).join("\n");
      for (let i = 0; i < 20; i++) {
        const headers = { "Content-Type": "application/x-ndjson" };
        const url = `${base}/api/topics/wide/records`;
        const sent = await fetch(url, { method: "POST", headers, body: lines });
        expect(sent.status).toBe(200);
      }
      const path = "/api/topics/wide/stream?from=earliest";
      const open = () => openPaused(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
      const sockets = await Promise.all(Array.from({ length: MAX_STREAMS / 2 }, open));
      const before = await settledMegabytes();
      sockets.push(...await Promise.all(Array.from({ length: MAX_STREAMS / 2 }, open)));
      expect(await settledMegabytes() - before).toBeLessThan(60);
      const another = async () => {
        const stopped = new AbortController();
        const { status } = await fetch(`${base}${path}`, { signal: stopped.signal });
        stopped.abort();
        return status;
      };
      expect(await another()).toBe(429);
      for (const socket of sockets) socket.end();
      await eventually("there is a slot", async () => (await another()) === 200 ? true : undefined);
    },
    60_000,
  );
});

/** A connection whose answers are not read. */
async function openPaused(text: string) {
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port: weir.httpPort,
    socket: { data() {} },
  });
  socket.pause();
  socket.write(text);
  return socket;
}

/** Sends records until the broker takes no more for seconds. */
async function flood() {
  const socket = await openPaused(
    "POST /api/topics/flood/records HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
  );
  const lines = `{}${" ".repeat(100)}\n`.repeat(50);
  const piece = `${lines.length.toString(16)}\r\n${lines}\r\n`.repeat(10);
  let pending = "";
  let sentBytes = 0;
  for (let refusedCount = 0; refusedCount < 150;) {
    if (sentBytes > 400e6) throw new Error("The broker takes whatever is sent");
    pending ||= piece;
    const taken = Math.max(socket.write(pending), 0);
    sentBytes += taken;
    pending = pending.slice(taken);
    refusedCount = taken === 0 ? refusedCount + 1 : 0;
    if (refusedCount > 0) await Bun.sleep(10);
  }
  return socket;
}

/** Time that the broker has had of the processors. Units: ms. */
function processorMs(): number {
  const fields = readFileSync(`/proc/${weir.pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

test("thousands of topics: a page, the whole list and one of them stay fast", async () => {
  const cluster = await clusterUrl();
  const admin = new Kafka({ brokers: [weir.bootstrap], logLevel: logLevel.ERROR }).admin();
  await admin.connect();
  for (let at = 0; at < 5000; at += 500) {
    const topics = Array.from(
      { length: 500 },
      (_, i) => ({ topic: `many-${at + i}`, numPartitions: 1 }),
    );
    await admin.createTopics({ topics, timeout: 60_000 });
  }
  await admin.disconnect();
  const bounds = { "/topics?page_size=100": 200, "/topics": 500, "/topics/many-2500": 50 };
  for (const [path, boundMs] of Object.entries(bounds)) {
    const startMs = processorMs();
    for (let i = 0; i < 10; i++) {
      const response = await fetch(`${cluster}${path}`);
      expect(response.status).toBe(200);
      await response.text();
    }
    // Others may be at work on this machine: what counts is what it takes of a processor.
    const tookMs = (processorMs() - startMs) / 10;
    console.log(`${path} with 5,000 topics: ${tookMs} ms`);
    expect(tookMs).toBeLessThan(boundMs);
  }
}, 180_000);

/** WebSockets of the real broker, with the client that it serves and with plain ones. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { Kafka, logLevel } from "kafkajs";
import type { connect as Connect, WeirRecord } from "../../broker/gateway/client/types.ts";
import { RealCluster } from "./cluster.ts";
import {
  eventually,
  repositoryRoot,
  type RunningBroker,
  runOk,
  scratchDirectory,
  startWeir,
} from "./harness.ts";

const isExternal = process.env["WEIR_COMPAT_BOOTSTRAP"] !== undefined;
const directory = scratchDirectory("websocket");
let broker: RunningBroker;
let connect: typeof Connect;

/** Restarts take the same ports. */
async function restart(): Promise<void> {
  const { dataDirectory, port, httpPort } = broker;
  await broker.kill();
  broker = await startWeir({ dataDirectory, port, httpPort });
}

const address = () => `ws://127.0.0.1:${broker.httpPort}/ws`;
const httpAddress = (path: string) => `http://127.0.0.1:${broker.httpPort}${path}`;

async function weir(...args: string[]): Promise<string> {
  const command = [process.execPath, join(repositoryRoot, "main.ts"), ...args];
  return await runOk([...command, "--bootstrap-server", broker.bootstrap]);
}

/** A plain WebSocket that notes what it hears. */
class Plain {
  readonly socket: WebSocket;
  // deno-lint-ignore no-explicit-any -- messages of every type
  readonly heard: any[] = [];
  readonly frames: Uint8Array[] = [];
  closed: { readonly code: number; readonly reason: string } | null = null;

  constructor(protocols: string | string[] = []) {
    this.socket = new WebSocket(address(), protocols);
    this.socket.binaryType = "arraybuffer";
    this.socket.onmessage = ({ data }) => {
      if (typeof data === "string") this.heard.push(JSON.parse(data));
      else this.frames.push(new Uint8Array(data));
    };
    this.socket.onclose = ({ code, reason }) => void (this.closed = { code, reason });
  }

  /** Waits for a message of a type, and takes it and those before it out. */
  // deno-lint-ignore no-explicit-any -- messages of every type
  async next(type: string): Promise<any> {
    return await eventually(`a message "${type}"`, () => {
      const at = this.heard.findIndex((message) => message.type === type);
      return at < 0 ? undefined : this.heard.splice(0, at + 1).at(-1);
    });
  }

  send(message: unknown): void {
    this.socket.send(JSON.stringify(message));
  }
}

beforeAll(async () => {
  if (isExternal) return;
  broker = await startWeir({ settings: { "group.initial.rebalance.delay.ms": "0" } });
  const path = join(directory, "client.js");
  await Bun.write(path, await (await fetch(httpAddress("/client.js"))).text());
  ({ connect } = await import(path));
}, 60_000);
afterAll(async () => {
  if (!isExternal) await broker.stop();
});

describe.skipIf(isExternal)("/client.js", () => {
  test("it is one module of a few kilobytes, with types", async () => {
    const response = await fetch(httpAddress("/client.js"));
    expect(response.headers.get("Content-Type")).toBe("text/javascript; charset=utf-8");
    expect(response.headers.get("Access-Control-Allow-Origin")).toBe("*");
    const text = await response.text();
    expect(text).not.toMatch(/^import /m);
    expect(Bun.gzipSync(text).length).toBeLessThan(5_000);
    const types = await (await fetch(httpAddress("/client.d.ts"))).text();
    expect(types).toContain("export declare function connect(");
  });

  test(
    "every record once and in order, through kill -9 and restart, over addresses of which one is dead",
    async () => {
      await weir("topic", "create", "orders", "-p", "3");
      const client = connect(["ws://127.0.0.1:1/ws", address()], { maxBackoffMs: 200 });
      const seen: WeirRecord[] = [];
      const errors: Error[] = [];
      const subscription = client.subscribe({ topic: "orders", from: "earliest", buffer: 7 }, {
        record: (record) => void seen.push(record),
        error: (error) => void errors.push(error),
      });
      await subscription.begun;
      const written: Promise<unknown>[] = [];
      for (let i = 0; i < 300; i++) {
        written.push(client.produce("orders", { key: `k${i % 10}`, value: { i } }));
        if (i % 100 === 50) void restart();
        await Bun.sleep(5);
        if (i % 100 === 99) await Promise.all(written);
      }
      await Promise.all(written);
      await eventually("all records", () => seen.length >= 300 || undefined);
      await Bun.sleep(100);
      expect(errors).toEqual([]);
      expect(seen).toHaveLength(300);
      for (let key = 0; key < 10; key++) {
        const numbers = seen.filter((it) => it.key === `k${key}`).map((it) =>
          JSON.parse(it.value!).i
        );
        expect(numbers).toEqual(Array.from({ length: 30 }, (_, i) => 10 * i + key));
      }
      for (const partition of [0, 1, 2]) {
        const offsets = seen.filter((it) => it.partition === partition).map(({ offset }) => offset);
        expect(offsets).toEqual(offsets.map((_, i) => i));
      }
      // Another reader goes on where this one was.
      const later = connect(address());
      const resumed = later.subscribe({ topic: "orders", resume: subscription.tokens });
      await resumed.begun;
      await later.produce("orders", { value: "the next" });
      for await (const { value } of resumed) {
        expect(value).toBe("the next");
        break;
      }
      client.close();
      later.close();
    },
    120_000,
  );

  test("a group: what is not acknowledged comes again, and goes on after what is", async () => {
    await weir("topic", "create", "jobs", "-p", "1");
    const client = connect(address());
    for (let i = 0; i < 6; i++) await client.produce("jobs", { value: `${i}` });
    const read = async (count: number, acknowledged: number) => {
      const member = connect(address());
      const values: string[] = [];
      const jobs = member.subscribe({ topic: "jobs", group: "workers", from: "earliest" });
      for await (const record of jobs) {
        if (values.push(record.value!) <= acknowledged) jobs.ack(record);
        if (values.length === count) break;
      }
      await Bun.sleep(200);
      member.close();
      return values;
    };
    expect(await read(4, 2)).toEqual(["0", "1", "2", "3"]);
    expect(await read(4, 0)).toEqual(["2", "3", "4", "5"]);
    client.close();
  }, 60_000);

  // Node has WebSocket without the flag from 22 on.
  const runtimes = [["node", ["--experimental-websocket"]], ["deno", ["run", "-A"]]] as const;
  for (const [runtime, flags] of runtimes) {
    const path = runtime === "deno"
      ? join(repositoryRoot, "node_modules", ".bin", "deno")
      : Bun.which(runtime) ?? "";
    test(`it runs in ${runtime}`, async () => {
      await weir("topic", "create", `from-${runtime}`);
      const script = join(directory, `${runtime}.mjs`);
      await Bun.write(
        script,
        `import { connect } from "./client.js";
         const client = connect(${JSON.stringify(address())});
         const subscription = client.subscribe({ topic: "from-${runtime}" });
         await subscription.begun;
         await client.produce("from-${runtime}", { key: "a", value: { b: 1 } });
         for await (const { key, value } of subscription) { console.log(key, value); break; }
         client.close();`,
      );
      await Bun.write(join(directory, "package.json"), '{"type":"module"}');
      expect(await runOk([path, ...flags, script])).toBe('a {"b":1}\n');
    }, 60_000);
  }
});

describe.skipIf(isExternal)("/ws", () => {
  test("origins: a page of another one is refused, our own and programs are let in", async () => {
    const upgrade = { Upgrade: "websocket", Connection: "Upgrade" };
    const ask = async (headers: Record<string, string>) =>
      await fetch(httpAddress("/ws"), { headers: { ...upgrade, ...headers } });
    const refused = await ask({ Origin: "https://evil.example" });
    expect(refused.status).toBe(403);
    expect(await refused.json()).toMatchObject({
      detail: expect.stringContaining("weir.gateway.allowed.origins"),
    });
    expect((await ask({ "Sec-WebSocket-Protocol": "mqtt" })).status).toBe(400);
    expect((await fetch(httpAddress("/ws"))).status).toBe(426);
  });

  test("messages that cannot be read: told, and after ten the socket is closed with 1008", async () => {
    const plain = new Plain();
    await plain.next("welcome");
    for (let i = 0; i < 10; i++) plain.socket.send(`{"type":`);
    expect(await plain.next("error")).toMatchObject({ code: "BAD_MESSAGE" });
    await eventually("the close", () => plain.closed ?? undefined);
    expect(plain.closed).toMatchObject({ code: 1008 });
  });

  test("a message that is too large: told, and the socket is closed with 1009", async () => {
    const plain = new Plain();
    await plain.next("welcome");
    plain.socket.send("x".repeat(1024 * 1024 + 1));
    expect(await plain.next("error")).toMatchObject({ code: "TOO_LARGE" });
    await eventually("the close", () => plain.closed ?? undefined);
    expect(plain.closed).toMatchObject({ code: 1009 });
  });

  test("binary: records come as bytes, and bytes are produced", async () => {
    await weir("topic", "create", "bytes");
    const plain = new Plain("weir.v1.binary");
    expect((await plain.next("welcome")).protocol).toBe("weir.v1.binary");
    plain.send({ type: "subscribe", id: 3, topics: [{ topic: "bytes" }], from: "earliest" });
    await plain.next("subscribed");
    // Kind 2, request 9, topic, no partition, no producer, 1 record: time 1 as 2, no key, value 255 and 0, no headers.
    const topic = [5, ...Buffer.from("bytes")];
    plain.socket.send(new Uint8Array([2, 9, ...topic, 0, 0, 1, 2, 0, 3, 255, 0, 0]));
    expect(await plain.next("produced")).toMatchObject({
      request: 9,
      results: [{ partition: 0, offset: 0, count: 1 }],
    });
    const frame = await eventually("a frame", () => plain.frames[0]);
    expect([...frame.subarray(0, 10)]).toEqual([1, 3, ...topic, 0, 1]);
    expect([...frame.subarray(-7)]).toEqual([0, 2, 0, 3, 255, 0, 0]);
    plain.socket.close();
  }, 30_000);

  test("stop: sockets are told with 1012 that the node restarts", async () => {
    const plain = new Plain();
    await plain.next("welcome");
    const { dataDirectory, port, httpPort } = broker;
    expect(await broker.stop()).toBe(0);
    await eventually("the close", () => plain.closed ?? undefined);
    expect(plain.closed).toMatchObject({ code: 1012 });
    broker = await startWeir({ dataDirectory, port, httpPort });
  }, 60_000);
});

describe.skipIf(isExternal)("/client.js in a cluster", () => {
  test(
    "a node stays dead: its clients go on with the others, every record once and in order",
    async () => {
      const cluster = await RealCluster.start({ nodes: 3, isProxied: false });
      try {
        await runOk([
          process.execPath,
          join(repositoryRoot, "main.ts"),
          ...["topic", "create", "orders", "-p", "3", "-r", "3"],
          ...["--bootstrap-server", cluster.bootstrap],
        ]);
        const urls = cluster.nodeIds.map((node) =>
          `ws://127.0.0.1:${cluster.node(node).httpPort}/ws`
        );
        // Each prefers another node; node 1 leads some partition, and dies.
        const clients = urls.map((_, at) =>
          connect([...urls.slice(at), ...urls.slice(0, at)], { maxBackoffMs: 300 })
        );
        const seen: WeirRecord[][] = clients.map(() => []);
        const errors: Error[] = [];
        await Promise.all(clients.map(async (client, at) => {
          const subscription = client.subscribe({ topic: "orders", from: "earliest" }, {
            record: (record) => void seen[at]!.push(record),
            error: (error) => void errors.push(error),
          });
          await subscription.begun;
        }));
        const written: Promise<unknown>[] = [];
        for (let i = 0; i < 200; i++) {
          written.push(clients[i % 3]!.produce("orders", { key: `${i % 3}`, value: { i } }));
          if (i === 80) await cluster.kill(1);
          await Bun.sleep(5);
        }
        await Promise.all(written);
        await eventually(
          "all records everywhere",
          () => seen.every((records) => records.length >= 200) || undefined,
        );
        expect(errors).toEqual([]);
        for (const records of seen) {
          expect(records).toHaveLength(200);
          for (const key of [0, 1, 2]) {
            const numbers = records.filter((it) => it.key === `${key}`)
              .map((it) => JSON.parse(it.value!).i);
            // A producer keeps the order of what it writes to a partition.
            expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, i) => 3 * i + key));
          }
        }
        for (const client of clients) client.close();
      } finally {
        await cluster.close();
      }
    },
    120_000,
  );
});

test.skipIf(isExternal)(
  "read committed: records of open and aborted transactions do not come",
  async () => {
    await weir("topic", "create", "ledger");
    const kafka = new Kafka({
      clientId: "t",
      brokers: [broker.bootstrap],
      logLevel: logLevel.NOTHING,
    });
    const producer = kafka.producer({
      transactionalId: "t",
      maxInFlightRequests: 1,
      idempotent: true,
    });
    await producer.connect();
    const plain = new Plain();
    await plain.next("welcome");
    const topics = [{ topic: "ledger" }];
    plain.send({ type: "subscribe", id: 1, topics, from: "earliest" });
    plain.send({ type: "subscribe", id: 2, topics, from: "earliest", readUncommitted: true });
    await plain.next("subscribed");
    const begin = async (value: string) => {
      const transaction = await producer.transaction();
      await transaction.send({ topic: "ledger", messages: [{ value }] });
      return transaction;
    };
    await (await begin("committed")).commit();
    await (await begin("aborted")).abort();
    await (await begin("committed, too")).commit();
    const values = (id: number, { heard } = plain) =>
      heard.filter((it) => it.type === "records" && it.id === id)
        .flatMap(({ records }) => records.map(({ value }: WeirRecord) => value));
    await eventually(
      "all of them",
      () => values(1).length === 2 && values(2).length === 3 || undefined,
    );
    expect(values(1)).toEqual(["committed", "committed, too"]);
    expect(values(2)).toEqual(["committed", "aborted", "committed, too"]);
    const late = new Plain();
    await late.next("welcome");
    late.send({ type: "subscribe", id: 1, topics, from: "earliest" });
    await eventually("the same", () => values(1, late).length === 2 || undefined);
    expect(values(1, late)).toEqual(["committed", "committed, too"]);
    await producer.disconnect();
    for (const { socket } of [plain, late]) socket.close();
  },
  60_000,
);

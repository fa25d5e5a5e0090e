/** WebSockets of strangers who mean no good: the real broker refuses them, stays small, and serves the others. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { residentBytes } from "../bench/broker_figures.ts";
import { eventually, repositoryRoot, type RunningBroker, runOk, startWeir } from "./harness.ts";

const isExternal = process.env["WEIR_COMPAT_BOOTSTRAP"] !== undefined;
const MIB = 1024 * 1024;
const TEXT = 1;
let broker: RunningBroker;
let witness: WebSocket;
let seenCount = 0;
let request = 0;

const HANDSHAKE =
  "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

beforeAll(async () => {
  if (isExternal) return;
  broker = await startWeir();
  await runOk([
    process.execPath,
    join(repositoryRoot, "main.ts"),
    ...["topic", "create", "orders", "--bootstrap-server", broker.bootstrap],
  ]);
  witness = new WebSocket(`ws://127.0.0.1:${broker.httpPort}/ws`);
  const subscribed = Promise.withResolvers<void>();
  witness.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "records") seenCount += message.records.length;
    // What is produced before that may be before its place.
    else if (message.type === "subscribed") subscribed.resolve();
  };
  await new Promise((resolve) => witness.onopen = resolve);
  witness.send(JSON.stringify({ type: "subscribe", id: 1, topics: [{ topic: "orders" }] }));
  await subscribed.promise;
  await produceAndSee(1);
}, 60_000);
afterAll(async () => {
  if (!isExternal) await broker.stop();
});

/** Others are unharmed: what is produced reaches the witness. */
async function produceAndSee(count: number, bytes = 10): Promise<void> {
  const expected = seenCount + count;
  const records = Array.from({ length: count }, () => ({ value: "x".repeat(bytes) }));
  const message = { type: "produce", request: request++, topic: "orders", records };
  witness.send(JSON.stringify(message));
  await eventually("the witness sees it", () => seenCount >= expected || undefined);
}

/** A connection that has sent bytes, and reads what comes unless it is paused. */
async function raw(bytes: string | Uint8Array = HANDSHAKE): Promise<Socket> {
  const socket = connect({ host: "127.0.0.1", port: broker.httpPort });
  socket.on("error", () => {});
  await new Promise<void>((resolve) => socket.once("connect", () => resolve()));
  socket.write(bytes);
  return socket;
}

/** A frame of a client, masked with zeros. */
function frame(payload: string | Uint8Array, opcode = TEXT): Uint8Array {
  const bytes = typeof payload === "string" ? new TextEncoder().encode(payload) : payload;
  const header = bytes.length < 126 ? [0x80 | opcode, 0x80 | bytes.length] : [
    0x80 | opcode,
    0xff,
    0,
    0,
    0,
    0,
    ...new Uint8Array(new Uint32Array([bytes.length]).buffer).toReversed(),
  ];
  return new Uint8Array([...header, 0, 0, 0, 0, ...bytes]);
}

const isClosed = (socket: Socket) =>
  eventually("the close", () => socket.closed || socket.destroyed || undefined);

test.skipIf(isExternal)(
  "frames that are none, too large or rubbish: the socket ends, the others go on",
  async () => {
    const rubbish = [
      new Uint8Array([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
      new Uint8Array([0x81, 0x05, 1, 2, 3, 4, 5]),
      new Uint8Array([0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
      frame(new Uint8Array([0xff, 0xfe, 0xfd])),
      frame("x".repeat(3 * MIB)),
      frame("x".repeat(MIB + 1)),
    ];
    for (const bytes of rubbish) {
      const socket = await raw();
      socket.resume();
      socket.write(bytes);
      await isClosed(socket);
    }
    for (const path of ["/ws/", "/ws/..", "/ws%00", "/../ws", "/ws?x=%ff"]) {
      const socket = await raw(HANDSHAKE.replace("/ws", path));
      let answer = "";
      socket.on("data", (chunk) => void (answer += chunk.toString("latin1")));
      await eventually(
        "an answer",
        () => answer.includes("HTTP/1.1 ") || socket.closed || undefined,
      );
      expect(answer).not.toMatch(/HTTP\/1\.1 5/);
      socket.destroy();
    }
    await produceAndSee(3);
  },
  60_000,
);

test.skipIf(isExternal)(
  "sockets that stop reading, flood or are half open: memory stays where it is",
  async () => {
    await produceAndSee(200, 1000);
    const before = residentBytes(broker.pid);
    const subscribe = frame(
      JSON.stringify({ type: "subscribe", id: 1, topics: [{ topic: "orders" }], from: "earliest" }),
    );
    const strangers: Socket[] = [];
    for (let i = 0; i < 100; i++) {
      const socket = await raw();
      socket.pause();
      socket.write(subscribe);
      strangers.push(socket);
    }
    // An upgrade that is never finished, and one whose frame is never finished.
    for (let i = 0; i < 500; i++) {
      strangers.push(await raw(HANDSHAKE.slice(0, 40)), await raw());
      strangers.at(-1)!.write(frame("x".repeat(100)).subarray(0, 50));
    }
    const flood = await raw();
    flood.pause();
    const pings = frame('{"type":"ping","request":1}');
    for (let i = 0; i < 50; i++) {
      flood.write(
        Buffer.concat(Array.from({ length: 2000 }, () => pings)),
      );
    }
    // 50 MB that 100 sockets do not read: what they hold is held once, and grows no more.
    const peakMib = async () => {
      let peak = 0;
      for (let i = 0; i < 50; i++) {
        await produceAndSee(500, 1000);
        peak = Math.max(peak, residentBytes(broker.pid) / MIB);
      }
      return peak;
    };
    const [first, second] = [await peakMib(), await peakMib()];
    expect(second).toBeLessThan(1.35 * first);
    expect(second - before / MIB).toBeLessThan(350);
    for (const socket of [...strangers, flood]) socket.destroy();
    await produceAndSee(3);
  },
  120_000,
);

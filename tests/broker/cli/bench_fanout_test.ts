import { expect, test } from "bun:test";
import {
  clientFrame,
  Opcode,
  upgradeRequest,
  type WebSocketMessage,
  WebSocketMessages,
} from "../../../broker/cli/bench_web_socket.ts";
import { SimRandom } from "../../sim/sim_random.ts";
import { ScriptedBroker } from "./scripted_broker.ts";
import { parsed, TestMachine } from "./test_io.ts";

const UPGRADED = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
const LOOK_MS = 5;
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytesOf = (words: string) => new TextEncoder().encode(words);

/** A frame of a server. */
function serverFrame(opcode: number, payload: Uint8Array): Uint8Array {
  const { length } = payload;
  const head = new Uint8Array(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  const view = new DataView(head.buffer);
  head[0] = 0x80 | opcode;
  head[1] = length < 126 ? length : length < 65_536 ? 126 : 127;
  if (head.length === 4) view.setUint16(2, length);
  if (head.length === 10) view.setBigUint64(2, BigInt(length));
  return new Uint8Array([...head, ...payload]);
}

/** What a scripted gateway does otherwise than a real one. */
interface Script {
  readonly status?: string;
  readonly refusal?: string;
  /** Of the records so many are not delivered. */
  readonly missing?: number;
}

/** WebSockets on port 8080 that tell how far the first partition of a topic has come; a look every 5 ms. */
class ScriptedGateway {
  /** Pongs that came. */
  pongs = 0;
  /** What each socket asked for. */
  readonly asked: string[] = [];

  constructor(machine: TestMachine, broker: ScriptedBroker, script: Script = {}) {
    machine.network.listen({ host: "127.0.0.1", port: 8080 }, (connection) => {
      const unsent: Uint8Array[] = [];
      let isOpen = true;
      const flush = () => {
        while (unsent.length > 0) {
          const taken = connection.write(unsent[0]!);
          if (taken < unsent[0]!.length) return void (unsent[0] = unsent[0]!.subarray(taken));
          unsent.shift();
        }
      };
      const send = (frame: Uint8Array) => {
        unsent.push(frame);
        flush();
      };
      const say = (message: object) => {
        send(serverFrame(Opcode.text, bytesOf(JSON.stringify(message))));
      };
      const end = () => broker.topics.get("bench")![0]!.endOffset;
      let told = 0;
      const look = () => {
        if (!isOpen) return;
        const next = Math.max(told, end() - (script.missing ?? 0));
        if (next > told) {
          say({ type: "records", id: 1, topic: "bench", partition: 0, next, records: [] });
        }
        told = next;
        machine.clock.timer(LOOK_MS, look);
      };
      let received = "";
      let isUpgraded = false;
      return {
        onData: (bytes) => {
          received += String.fromCharCode(...bytes);
          if (!isUpgraded) {
            const at = received.indexOf("\r\n\r\n");
            if (at < 0) return;
            isUpgraded = true;
            received = received.slice(at + 4);
            return send(bytesOf(script.status ?? UPGRADED));
          }
          if (received.charCodeAt(0) === 0x8a) {
            this.pongs++;
            received = received.slice(6);
            return;
          }
          if (!received.endsWith("}")) return;
          this.asked.push(received.slice(received.indexOf("{")));
          received = "";
          say({ type: "welcome", server: "scripted" });
          if (script.refusal !== undefined) {
            return say({ type: "error", code: "x", detail: script.refusal });
          }
          told = end();
          say({
            type: "subscribed",
            id: 1,
            partitions: [{ topic: "bench", partition: 0, next: told }],
          });
          send(serverFrame(Opcode.ping, new Uint8Array(0)));
          look();
        },
        onDrain: flush,
        onClose: () => void (isOpen = false),
      };
    });
  }
}

function world(script: Script = {}) {
  const machine = new TestMachine();
  const broker = new ScriptedBroker(machine);
  broker.create("bench", 1);
  const gateway = new ScriptedGateway(machine, broker, script);
  return { machine, broker, gateway };
}

async function expectNothingLeft(machine: TestMachine): Promise<void> {
  await machine.clock.advance(1000);
  expect(machine.clock.pendingTimers).toBe(0);
  expect(machine.network.openEnds).toBe(0);
}

const LINE = "bench fanout --subscribers 7 --rate 50 --seconds 2 --size 100";

test("bench fanout: counts what each subscriber gets, and times it from when it was due", async () => {
  const { machine, broker, gateway } = world();
  // What was there before is not delivered.
  await machine.succeed("bench produce --megabytes 1");
  const before = broker.topics.get("bench")![0]!.endOffset;
  broker.produceMs = 10;
  const [figures] = parsed(await machine.succeed(`${LINE} --json`));
  const sent = broker.topics.get("bench")![0]!.endOffset - before;
  expect(sent).toBeWithin(99, 103);
  expect(figures).toMatchObject({
    load: "fanout",
    topic: "bench",
    subscriberCount: 7,
    rate: 50,
    recordBytes: 100,
    acks: -1,
    sentCount: sent,
    deliveredCount: 7 * sent,
    leastCount: sent,
    mostCount: sent,
  });
  expect(figures.deliveriesPerSecond).toBeWithin(7 * 50 * 0.95, 7 * 50 * 1.05);
  // Due, sent at the next millisecond, 10 ms of work, the way there and back, and up to 5 ms until it is told.
  expect(figures.p50Ms).toBeWithin(10, 40);
  expect(gateway.pongs).toBe(7);
  expect(JSON.parse(gateway.asked[0]!)).toEqual({
    type: "subscribe",
    id: 1,
    topics: [{ topic: "bench", partitions: [0] }],
    from: "latest",
  });
  await expectNothingLeft(machine);
});

test("bench fanout: a broker that falls behind is not asked less, and the time tells", async () => {
  const { machine, broker } = world();
  broker.produceMs = 100;
  const [figures] = parsed(await machine.succeed(`${LINE} --json`));
  expect(figures.sentCount).toBeWithin(99, 103);
  expect(figures.maxMs).toBeWithin(7_800, 9_500);
});

test("bench fanout: records that do not come are waited for, and told", async () => {
  const { machine } = world({ missing: 3 });
  const { out, exitCode } = await machine.weir(LINE);
  expect(exitCode).toBe(0);
  expect(out).toMatch(
    /^fanout bench: 10\d records to 7 subscribers, [\d,]+ deliveries a second; p50 .* \(6\d\d in all, each got (9\d) to \1\)\n$/,
  );
  await expectNothingLeft(machine);
});

test("bench fanout: whoever stops it gets the figures so far", async () => {
  const { machine } = world();
  const stop = new AbortController();
  const flags = ["--subscribers", "7", "--rate", "50", "--seconds", "3600", "--json"];
  const running = machine.start(["bench", "fanout", ...flags], { stop });
  await machine.clock.advance(3000);
  stop.abort();
  const { exitCode, out } = await machine.clock.run(running);
  expect(exitCode).toBe(0);
  expect(parsed(out)[0].sentCount).toBeWithin(140, 152);
  await expectNothingLeft(machine);
});

const REFUSALS: readonly [string, Script, string][] = [
  ["an HTTP status", { status: "HTTP/1.1 403 Forbidden\r\n\r\n" }, '"HTTP/1.1 403 Forbidden"'],
  ["an error message", { refusal: "no such topic" }, "a WebSocket was refused: no such topic"],
];
for (const [name, script, found] of REFUSALS) {
  test(`bench fanout: ${name} ends it with 1`, async () => {
    const { machine } = world(script);
    const { exitCode, error } = await machine.weir(LINE);
    expect(exitCode).toBe(1);
    expect(error).toStartWith("Cannot fan out bench: ");
    expect(error).toContain(found);
    await expectNothingLeft(machine);
  });
}

test("WebSocketMessages.push: messages of every kind of length, however the stream is cut", () => {
  const random = new SimRandom(4);
  const below = (bound: number) => random.uint32() % bound;
  const sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000];
  for (let run = 0; run < 60; run++) {
    const payloads = Array.from({ length: 1 + below(4) }, () => {
      return new Uint8Array(sizes[below(sizes.length)]!).fill(below(256));
    });
    const frames = payloads.map((payload) => serverFrame(Opcode.text, payload));
    const bytes = new Uint8Array(Buffer.concat([bytesOf(UPGRADED), ...frames]));
    const cuts = Array.from({ length: below(9) }, () => below(bytes.length));
    const bounds = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
    const messages = new WebSocketMessages();
    const found: WebSocketMessage[] = [];
    bounds.slice(1).forEach((end, at) =>
      found.push(...messages.push(bytes.slice(bounds[at], end)))
    );
    expect(found.map(({ opcode }) => opcode)).toEqual([null, ...payloads.map(() => Opcode.text)]);
    const same = payloads.every((it, at) => Buffer.compare(it, found[at + 1]!.payload) === 0);
    expect(same).toBe(true);
  }
});

test("WebSocketMessages.push: fragments, masks and lengths beyond reason are refused", () => {
  for (
    const frame of [[0x01, 1, 65], [0x81, 0x81, 0, 0, 0, 0, 65], [
      0x81,
      127,
      0,
      0,
      1,
      0,
      0,
      0,
      0,
      0,
    ]]
  ) {
    const messages = new WebSocketMessages();
    expect([...messages.push(bytesOf(UPGRADED))]).toHaveLength(1);
    expect(() => [...messages.push(new Uint8Array(frame))]).toThrow("Cannot read WebSocket frame");
  }
  const endless = new WebSocketMessages();
  expect(() => [...endless.push(bytesOf("HTTP/1.1 101 ".padEnd(20_000, "x")))]).toThrow(
    "Cannot open a WebSocket",
  );
});

test("clientFrame, upgradeRequest: as the RFC has them", () => {
  expect([...clientFrame(Opcode.text, "Hello")]).toEqual([
    ...[0x81, 0x85, 0, 0, 0, 0],
    ...bytesOf("Hello"),
  ]);
  const long = clientFrame(Opcode.text, "x".repeat(300));
  expect([...long.subarray(0, 9)]).toEqual([0x81, 0xfe, 1, 44, 0, 0, 0, 0, 0x78]);
  const request = text(upgradeRequest({ host: "edge", port: 80 }, "/ws"));
  expect(request).toStartWith("GET /ws HTTP/1.1\r\nHost: edge:80\r\n");
  const key = /Sec-WebSocket-Key: (\S+)\r\n/.exec(request)![1]!;
  expect(atob(key)).toHaveLength(16);
});

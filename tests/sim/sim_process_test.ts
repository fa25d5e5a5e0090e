/** The simulated network between machines, and processes that pause and die. */

import { describe, expect, test } from "bun:test";
import type { Connection, ConnectionHandlers } from "../../broker/network.ts";
import { SimClock } from "./sim_clock.ts";
import { SimDisk } from "./sim_disk.ts";
import { SimNetwork } from "./sim_network.ts";
import { SimProcess } from "./sim_process.ts";
import { SimRandom } from "./sim_random.ts";

const [A, B] = ["10.0.0.1", "10.0.0.2"];
const PORT = 9092;

/** One end of a connection: what it was told. */
class End implements ConnectionHandlers {
  readonly received: number[] = [];
  closed: string | undefined | null = null;
  link!: Connection;
  onData(bytes: Uint8Array): void {
    this.received.push(...bytes);
  }
  onDrain(): void {}
  onClose(reason?: string): void {
    this.closed = reason;
  }
  send(...bytes: number[]): void {
    this.link.write(new Uint8Array(bytes));
  }
}

/** A process on A that is connected to one on B. */
async function pair() {
  const clock = new SimClock();
  const random = new SimRandom(5);
  const network = new SimNetwork({ clock, random, maxLatencyMs: 2 });
  const process = (host: string) =>
    new SimProcess({ clock, disk: new SimDisk({ random, clock }), network: network.host(host) });
  const [a, b] = [process(A), process(B)];
  const [near, far] = [new End(), new End()];
  const accept = (end: End) => (link: Connection) => {
    end.link = link;
    return end;
  };
  b.network.listen({ host: B, port: PORT }, accept(far));
  const connect = (end: End) => a.network.connect({ host: B, port: PORT }, accept(end));
  await clock.run(connect(near));
  return { clock, links: network.links, network, a, b, near, far, connect };
}

describe("SimLinks", () => {
  test("cut: what is sent into it comes once it is open, in order; the other way is open", async () => {
    const { clock, links, near, far } = await pair();
    links.cut(A, B);
    near.send(1);
    far.send(9);
    await clock.advance(1_000);
    near.send(2);
    await clock.advance(1_000);
    expect([near.received, far.received]).toEqual([[9], []]);
    links.mend(A, B);
    near.send(3);
    await clock.advance(10);
    expect(far.received).toEqual([1, 2, 3]);
  });

  test("cut: a connection is opened only once both ways are open", async () => {
    const { clock, links, connect } = await pair();
    links.cut(B, A);
    let isOpen = false;
    const opening = connect(new End()).then(() => isOpen = true);
    await clock.advance(5_000);
    expect(isOpen).toBe(false);
    links.heal();
    await clock.run(opening);
    links.cut(B, A);
    await expect(clock.run(connect(new End()))).rejects.toThrow("ETIMEDOUT");
  });

  test("slow: takes so much longer", async () => {
    const { clock, links, near, far } = await pair();
    links.slow(A, B, 500);
    near.send(1);
    await clock.advance(499);
    expect(far.received).toEqual([]);
    await clock.advance(3);
    expect(far.received).toEqual([1]);
  });
});

describe("SimConnection.breakHere", () => {
  test("the other side still gets what was under way", async () => {
    const { clock, network, near, far } = await pair();
    near.send(1, 2);
    network.connectionsOf(A)[0]!.breakHere();
    await clock.advance(10);
    expect([near.closed, far.received, far.closed]).toEqual(["ECONNRESET", [1, 2], "ECONNRESET"]);
  });
});

describe("SimProcess", () => {
  test("killed: its connections end, its timers never fire, its port is closed", async () => {
    const { clock, b, near, connect } = await pair();
    let hasFired = false;
    b.clock.timer(5, () => hasFired = true);
    b.die("kill");
    await clock.advance(100);
    expect([near.closed, hasFired]).toEqual([undefined, false]);
    await expect(clock.run(connect(new End()))).rejects.toThrow("ECONNREFUSED");
  });

  test("without power: nobody is told, until somebody writes to it once it is back", async () => {
    const { clock, links, b, near } = await pair();
    links.setPower(B, false);
    b.die("power cut");
    near.send(1);
    await clock.advance(60_000);
    expect(near.closed).toBeNull();
    links.setPower(B, true);
    near.send(2);
    await clock.advance(10);
    expect(near.closed).toBe("ECONNRESET");
  });

  test("dead: nothing that it sends arrives, what it awaits of its disk never comes", async () => {
    const { clock, b, near, far } = await pair();
    const file = b.disk.open("/file", "write");
    file.write(0, new Uint8Array(1));
    let isSynced = false;
    file.sync().then(() => isSynced = true, () => isSynced = true);
    b.die("kill");
    far.send(7);
    await clock.advance(1_000);
    expect([near.received, isSynced]).toEqual([[], false]);
    expect(() => b.disk.exists("/file")).toThrow("The process is dead");
  });

  test("paused: everything waits for it, and comes in order when it goes on", async () => {
    const { clock, b, near, far } = await pair();
    const told: string[] = [];
    const file = b.disk.open("/file", "write");
    b.clock.timer(5, () => void told.push("timer"));
    void file.sync().then(() => told.push("sync"));
    near.send(1);
    b.pause();
    await clock.advance(1_000);
    near.send(2);
    await clock.advance(1_000);
    expect([told, far.received]).toEqual([[], []]);
    b.resume();
    await clock.advance(10);
    expect([told.sort(), far.received]).toEqual([["sync", "timer"], [1, 2]]);
    near.send(3);
    await clock.advance(10);
    expect(far.received).toEqual([1, 2, 3]);
  });

  test("its wall clock is wrong by the skew of its machine", () => {
    const clock = new SimClock();
    const random = new SimRandom(1);
    const process = new SimProcess({
      clock,
      disk: new SimDisk({ random }),
      network: new SimNetwork({ clock, random }),
      wallSkewMs: () => -500,
    });
    expect(process.clock.wallMs() - clock.wallMs()).toBe(-500);
  });
});

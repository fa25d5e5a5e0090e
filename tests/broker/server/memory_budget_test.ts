import { describe, expect, test } from "bun:test";
import { type BudgetMember, MemoryBudget } from "../../../broker/server/memory_budget.ts";
import { pattern, requestFrame, World } from "./harness.ts";

const KIB = 1024;
const LIMIT = 1024 * KIB;

class Member implements BudgetMember {
  heldBytes = 100 * KIB;
  wantedBytes = 100 * KIB;
  needy = false;
  hasUsedPass = false;
  granted = 0;
  onGranted: (() => void) | null = null;
  onBudget(): void {
    this.granted++;
    this.onGranted?.();
  }
  onShed(): void {}
}

describe("MemoryBudget", () => {
  test("MemoryBudget: admits up to the limit and not past it", () => {
    const budget = new MemoryBudget(LIMIT);
    const member = new Member();
    budget.charge(LIMIT - 100 * KIB);
    expect(budget.admits(member, 100 * KIB)).toBe(true);
    expect(budget.admits(member, 100 * KIB + 1)).toBe(false);
  });

  test("MemoryBudget: who holds little goes on, always", () => {
    const budget = new MemoryBudget(LIMIT);
    const small = new Member();
    small.heldBytes = 1 * KIB;
    budget.charge(2 * LIMIT);
    expect(budget.admits(small, 15 * KIB)).toBe(true);
    expect(budget.admits(small, 16 * KIB)).toBe(false);
  });

  test("MemoryBudget: the line goes on in order and stops where the next does not fit", () => {
    const budget = new MemoryBudget(LIMIT);
    budget.charge(LIMIT);
    const members = [new Member(), new Member(), new Member()];
    members.forEach((member) => {
      member.onGranted = () => budget.charge(member.wantedBytes);
      budget.wait(member);
    });
    budget.release(99 * KIB);
    expect(members.map(({ granted }) => granted)).toEqual([0, 0, 0]);
    budget.release(150 * KIB);
    expect(members.map(({ granted }) => granted)).toEqual([1, 1, 0]);
    budget.release(100 * KIB);
    expect(members.map(({ granted }) => granted)).toEqual([1, 1, 1]);
  });

  test("MemoryBudget: a newcomer does not overtake the line", () => {
    const budget = new MemoryBudget(LIMIT);
    budget.charge(LIMIT - 50 * KIB);
    const first = new Member();
    budget.wait(first);
    expect(budget.admits(new Member(), 40 * KIB)).toBe(false);
    budget.leave(first);
    expect(budget.admits(new Member(), 40 * KIB)).toBe(true);
  });

  test("MemoryBudget: the one who is let on is admitted though others stand behind", () => {
    const budget = new MemoryBudget(LIMIT);
    budget.charge(LIMIT);
    const [first, second] = [new Member(), new Member()];
    let admitted = false;
    first.onGranted = () => {
      admitted = budget.admits(first, first.wantedBytes);
      if (admitted) budget.charge(first.wantedBytes);
    };
    budget.wait(first);
    budget.wait(second);
    budget.release(100 * KIB);
    expect(admitted).toBe(true);
    expect(second.granted).toBe(0);
  });

  test("MemoryBudget: one needy waiter at a time has the pass, in order", async () => {
    const budget = new MemoryBudget(LIMIT);
    budget.charge(2 * LIMIT);
    const [idle, first, second] = [new Member(), new Member(), new Member()];
    first.needy = second.needy = true;
    for (const member of [idle, first, second]) budget.wait(member);
    await Promise.resolve();
    expect([idle, first, second].map(({ granted }) => granted)).toEqual([0, 1, 0]);
    expect(budget.admits(first, 10 * LIMIT)).toBe(true);
    first.hasUsedPass = true;
    expect(budget.admits(first, 1)).toBe(false);
    expect(budget.admits(second, 1)).toBe(false);
    budget.returnPass(second);
    expect(budget.holdsPass(first)).toBe(true);
    budget.returnPass(first);
    await Promise.resolve();
    expect(budget.holdsPass(second)).toBe(true);
    expect(second.granted).toBe(1);
    budget.leave(second);
    expect(budget.waitingCount).toBe(1);
  });

  test("MemoryBudget: sheds the needy who hold the most, until the rest fits", () => {
    const budget = new MemoryBudget(LIMIT);
    const sizes = [200, 500, 900, 400, 2000].map((kib) => kib * KIB);
    const shed: number[] = [];
    for (const size of sizes) {
      const member = new Member();
      member.heldBytes = size;
      member.needy = size !== 2000 * KIB;
      member.onShed = () => {
        shed.push(size / KIB);
        budget.leave(member);
        budget.release(size);
      };
      budget.charge(size);
      if (member.needy) budget.wait(member);
    }
    budget.charge(-2000 * KIB);
    budget.shed();
    expect(shed).toEqual([900, 500]);
  });

  test("MemoryBudget: giving back more than was taken is our bug", () => {
    expect(() => new MemoryBudget(LIMIT).release(1)).toThrow("more given back than taken");
  });
});

const LIMITS = {
  memoryBudgetBytes: 256 * KIB,
  pressureStallMs: 2_000,
  connectionShareBytes: 10_000 * KIB,
};

describe("Server: byte budget", () => {
  test("Server: frames larger than the budget all come through, one by one", async () => {
    const world = new World({
      limits: LIMITS,
      network: { maxLatencyMs: 3, maxChunkBytes: 8 * KIB },
    });
    const clients = await Promise.all(Array.from({ length: 8 }, () => world.connect()));
    for (const client of clients) client.send(`now:ok ${"z".repeat(300 * KIB)}`, "now:next");
    let mostBytes = 0;
    for (let i = 0; i < 5_000 && clients.some(({ answers }) => answers.length < 2); i++) {
      await world.pass(1);
      mostBytes = Math.max(mostBytes, world.server.budget.usedBytes);
    }
    for (const client of clients) {
      expect(client.bodies.map((body) => body.trim().slice(0, 4)))
        .toEqual(["ok z", "next"]);
    }
    expect(mostBytes).toBeLessThan((256 + 2 * 300 + 8 * 2 * 16) * KIB);
    expect(world.metrics.refused).toEqual([]);
    expect(world.server.budget.usedBytes).toBe(0);
  });

  test("Server: an announced length reserves nothing", async () => {
    const world = new World({ limits: LIMITS });
    for (let i = 0; i < 50; i++) {
      const client = await world.connect();
      client.sendBytes(new Uint8Array([0x05, 0, 0, 0, 0, 22]));
    }
    await world.pass();
    expect(world.server.budget.usedBytes).toBe(2 * 50 * 6);
    const client = await world.connect();
    client.send("now:fine");
    await world.pass();
    expect(client.bodies).toEqual(["fine"]);
  });

  test("Server: while the budget is full small requests go on, and it recovers", async () => {
    const world = new World({ limits: LIMITS });
    world.script.costPerByte = 8;
    const hog = await world.connect();
    for (let i = 0; i < 4; i++) hog.send(`later:${i} ${"z".repeat(20 * KIB)}`);
    await world.pass();
    expect(world.script.handled.length).toBeLessThan(4);
    expect(world.server.budget.waitingCount).toBe(1);
    const small = await world.connect();
    small.send("now:heartbeat");
    await world.pass();
    expect(small.bodies).toEqual(["heartbeat"]);
    for (let i = 0; i < 10; i++) {
      for (const name of world.script.waiting) world.script.settle(name);
      await world.pass();
    }
    expect(hog.answers.length).toBe(4);
    expect(world.server.budget.usedBytes).toBe(0);
  });

  test("Server: requests that stop half-way are closed while others wait, and only then", async () => {
    const world = new World({ limits: LIMITS });
    const frame = requestFrame(1, pattern(200 * KIB));
    const stopped = [];
    for (let i = 0; i < 10; i++) {
      const client = await world.connect();
      client.sendBytes(frame.subarray(0, 100 * KIB));
      stopped.push(client);
    }
    await world.pass();
    const healthy = await world.connect();
    healthy.send(`now:ok ${"z".repeat(250 * KIB)}`);
    await world.pass(10_000);
    expect(healthy.bodies.length).toBe(1);
    expect(world.metrics.refused.every((kind) => kind === "stalled")).toBe(true);
    expect(world.metrics.refused.length).toBeGreaterThan(7);
    const pause = world.metrics.refused.length;
    await world.pass(60_000);
    expect(world.metrics.refused.length).toBe(pause);
  });

  test("Server: answers whose size is up to the broker keep within the memory that is left", async () => {
    const world = new World({
      limits: { memoryBudgetBytes: 4096 * KIB, connectionShareBytes: 1024 * KIB },
    });
    const clients = await Promise.all(Array.from({ length: 20 }, () => world.connect()));
    for (const client of clients) {
      client.link.pause();
      client.send("room:50000000", "room:50000000", "room:50000000");
    }
    await world.pass();
    expect(world.server.budget.usedBytes).toBeLessThan((4096 + 20 * 2 * 64) * KIB);
    for (const client of clients) client.link.resume();
    await world.pass(100);
    for (const client of clients) {
      expect(client.answers.length).toBe(3);
      for (const { body } of client.answers) expect(body.length).toBeGreaterThanOrEqual(64 * KIB);
    }
    expect(clients[0]!.answers[0]!.body.length).toBeGreaterThan(900 * KIB);
    expect(world.server.budget.usedBytes).toBe(0);
  });

  test("Server: while memory is nearly used up, clients that never read are closed early", async () => {
    const world = new World({
      limits: { ...LIMITS, memoryBudgetBytes: 1024 * KIB, writeStallMs: 30_000 },
    });
    const lone = await world.connect();
    lone.link.pause();
    lone.send(`big:${500 * KIB}`);
    await world.pass(5_000);
    expect(world.metrics.refused).toEqual([]);
    const second = await world.connect();
    second.link.pause();
    second.send(`big:${600 * KIB}`);
    expect(world.server.budget.waitingCount).toBe(0);
    await world.pass(5_000);
    expect(world.metrics.refused[0]).toBe("stalled");
    expect(world.server.budget.usedBytes).toBeLessThan(1024 * KIB);
  });

  test("Server: clients that never read are closed early while others wait", async () => {
    const world = new World({
      limits: { ...LIMITS, maxQueuedAnswerBytes: 100 * KIB, writeStallMs: 30_000 },
    });
    for (let i = 0; i < 5; i++) {
      const client = await world.connect();
      client.link.pause();
      client.send(`big:${150 * KIB}`);
    }
    await world.pass();
    const healthy = await world.connect();
    healthy.send(`now:ok ${"z".repeat(200 * KIB)}`);
    await world.pass(5_000);
    expect(healthy.bodies.length).toBe(1);
    expect(world.server.connectionCount).toBe(1);
    expect(world.server.budget.usedBytes).toBe(0);
  });
});

/** The commands that look at a cluster and change it, against four brokers in memory and on virtual time. */

import { afterEach, beforeEach, expect, test } from "bun:test";
import type { Broker } from "../../../broker/broker.ts";
import { SimDisk } from "../../sim/sim_disk.ts";
import { startedBroker } from "./started_broker.ts";
import { TestMachine } from "./test_io.ts";

const host = (id: number) => `10.0.0.${id}`;
const FIRST = `${host(1)}:9093`;

let machine: TestMachine;
let brokers: Map<number, Broker>;

async function start(id: number, roles = "broker,controller"): Promise<void> {
  const { clock, network, random } = machine;
  const disk = new SimDisk({ random: random.fork(`disk ${id}`), clock, capacityBytes: 1e12 });
  const listeners = [
    ...roles.includes("broker") ? [`PLAINTEXT://${host(id)}:9092`] : [],
    ...roles.includes("controller") ? [`CONTROLLER://${host(id)}:9093`] : [],
  ];
  const broker = await startedBroker(machine, {
    name: `broker ${id}`,
    disk,
    network: network.host(host(id)),
    settings: {
      "node.id": String(id),
      "process.roles": roles,
      "listeners": listeners.join(","),
      "controller.listener.names": "CONTROLLER",
      "controller.quorum.bootstrap.servers": FIRST,
      "min.insync.replicas": "2",
      "leader.imbalance.check.interval.seconds": "1",
    },
  });
  brokers.set(id, broker);
}

beforeEach(async () => {
  machine = new TestMachine();
  brokers = new Map();
  machine.env["WEIR_BOOTSTRAP"] = `${host(1)}:9092`;
  for (const id of [1, 2, 3]) await start(id);
  await start(4, "broker");
  await machine.clock.advance(1_000);
});
afterEach(async () => {
  await machine.clock.run(Promise.all([...brokers.values()].map((broker) => broker.stop())));
});

const weir = (line: string) => machine.weir(line);
const succeed = (line: string) => machine.succeed(line);

async function json(line: string) {
  const out = await succeed(`${line} --json`);
  return out.split("\n").filter((text) => text !== "").map((text) => JSON.parse(text));
}

async function statuses(line = "cluster quorum"): Promise<Record<number, string>> {
  const [{ replicas }] = await json(line);
  return Object.fromEntries(
    replicas.map(({ node, status }: { node: number; status: string }) => [node, status]),
  );
}

test("cluster quorum: leader, voters and observers, with what they have", async () => {
  const [quorum] = await json("cluster quorum");
  expect(quorum).toMatchObject({ leaderId: 1, leaderEpoch: 1 });
  expect(quorum.replicas).toHaveLength(4);
  expect(quorum.replicas[0]).toMatchObject({
    node: 1,
    status: "leader",
    lag: 0,
    endpoints: ["CONTROLLER://10.0.0.1:9093"],
  });
  expect(quorum.replicas.slice(1).map(({ status }: { status: string }) => status)).toEqual(
    ["observer", "observer", "observer"],
  );
  const text = await succeed("cluster quorum");
  expect(text).toStartWith("Leader 1, epoch 1, high watermark ");
  expect(text).toContain("1 voter, 3 observers\nNODE  STATUS ");
});

test("cluster add-controller: one that follows is made a voter, others are told what to do", async () => {
  for (const id of [2, 3]) await succeed(`cluster add-controller ${id}`);
  expect(await statuses()).toEqual({ 1: "leader", 2: "follower", 3: "follower", 4: "observer" });
  expect((await weir("cluster add-controller 2")).error).toBe(
    "Cannot add controller 2: node 2 votes already\n",
  );
  expect((await weir("cluster add-controller 4")).error).toContain(
    "node 4 is not registered as a controller",
  );
  expect((await weir("cluster add-controller 9")).error).toContain(
    "node 9 does not follow the metadata; start it with process.roles=controller",
  );
});

test("cluster quorum, remove-controller: asked of any controller at its own listener", async () => {
  for (const id of [2, 3]) await succeed(`cluster add-controller ${id}`);
  machine.env["WEIR_BOOTSTRAP"] = `${host(2)}:9093`;
  expect(await statuses()).toEqual({ 1: "leader", 2: "follower", 3: "follower", 4: "observer" });
  await succeed("cluster remove-controller 3");
  expect(await statuses()).toEqual({ 1: "leader", 2: "follower", 3: "observer", 4: "observer" });
  expect((await weir("cluster remove-controller 3")).error).toBe(
    "Cannot remove controller 3: node 3 has no vote; those that have: 1, 2\n",
  );
});

test("cluster quorum: a sentence where nobody leads", async () => {
  await succeed("cluster add-controller 2");
  await machine.clock.run(brokers.get(2)!.stop());
  brokers.delete(2);
  await machine.clock.advance(5_000);
  const { exitCode, error } = await weir("cluster quorum");
  expect(exitCode).toBe(1);
  expect(error).toBe(
    "Cannot describe the quorum: no controller leads, or it does not answer; a majority of the voters " +
      "must run and reach each other\n",
  );
});

test("cluster drain: others lead what the broker led, and go on doing so", async () => {
  await succeed("topic create orders -p 6 -r 3");
  await machine.clock.advance(1_000);
  const leaders = async () => {
    const [{ partitions }] = await json("topic describe orders");
    return partitions.map(({ leader }: { leader: number }) => leader);
  };
  expect(await leaders()).toContain(2);
  const planned = await json("cluster drain 2 --dry-run");
  expect(await leaders()).toContain(2);
  const [drained] = await json("cluster drain 2");
  expect(drained).toMatchObject({ node: 2, moved: planned.length, leads: 0, votes: false });
  expect(drained.replicas).toBeGreaterThan(0);
  await machine.clock.advance(4_000);
  expect(await leaders()).not.toContain(2);
});

test("cluster drain: refused where a partition would be below min.insync.replicas", async () => {
  await succeed("topic create thin -p 4 -r 2");
  await machine.clock.advance(1_000);
  const { exitCode, error } = await weir("cluster drain 2");
  expect(exitCode).toBe(1);
  expect(error).toMatch(
    /^Cannot drain broker 2: thin-\d would have 1 in-sync replicas, and needs 2; /,
  );
});

test("cluster drain --reassign: others hold all that the broker held, and nothing new comes", async () => {
  await succeed("topic create orders -p 6 -r 3");
  await succeed("topic create thin -p 4 -r 1");
  await machine.clock.advance(1_000);
  const [drained] = await json("cluster drain 2 --reassign --at-once 3");
  expect(drained).toMatchObject({ node: 2, leads: 0, replicas: 0 });
  await succeed("topic create later -p 6 -r 3");
  for (const topic of ["orders", "thin", "later"]) {
    const [{ partitions }] = await json(`topic describe ${topic}`);
    for (const { replicas } of partitions) expect(replicas).not.toContain(2);
  }
  // With that one cordoned there are two left for three replicas.
  expect((await weir("cluster drain 3 --reassign")).error).toContain(
    "has 3 replicas, and there are 2 other brokers for them",
  );
});

import { beforeEach, describe, expect, test } from "bun:test";
import type { RegistrationRequest } from "../../../broker/controller/broker_registrations.ts";
import type { HeartbeatReply } from "../../../broker/controller/controller.ts";
import { errorName } from "../../../protocol/errors.ts";
import { DirectoryId } from "../../../protocol/types.ts";
import { ClusterHarness, SESSION_MS, uuid } from "./cluster_harness.ts";

let cluster: ClusterHarness;
beforeEach(async () => {
  cluster = await ClusterHarness.start();
});

const state = (id: number) => {
  const { fenced, inControlledShutdown } = cluster.image.brokers.get(id)!;
  return fenced ? "fenced" : inControlledShutdown ? "shutting down" : "up";
};
const reply = (answer: unknown) => {
  const { isCaughtUp, isFenced, shouldShutDown } = answer as HeartbeatReply;
  return { isCaughtUp, isFenced, shouldShutDown };
};

describe("Controller.brokerRegistration", () => {
  const refusals: readonly [string, object, string][] = [
    ["of another cluster", { clusterId: "another" }, "INCONSISTENT_CLUSTER_ID"],
    ["without directories", { logDirs: [] }, "INVALID_REGISTRATION"],
    ["with a reserved directory", { logDirs: [DirectoryId.LOST] }, "INVALID_REGISTRATION"],
    [
      "with a directory twice",
      { logDirs: [uuid("dir", 9), uuid("dir", 9)] },
      "INVALID_REGISTRATION",
    ],
    ["with a directory of another broker", { logDirs: [uuid("dir", 1)] }, "INVALID_REGISTRATION"],
    ["that knows no feature", { features: new Map() }, "UNSUPPORTED_VERSION"],
    [
      "that is too old",
      {
        features: new Map([
          ["metadata.version", { lowest: 1, highest: 29 }],
          ["eligible.leader.replicas.version", { lowest: 0, highest: 1 }],
        ]),
      },
      "UNSUPPORTED_VERSION",
    ],
    [
      "that lacks a feature in force",
      { features: new Map([["metadata.version", { lowest: 1, highest: 30 }]]) },
      "UNSUPPORTED_VERSION",
    ],
  ];
  test.each(refusals)("a broker %s is refused", async (_, more, error) => {
    expect(errorName((await cluster.register(4, more)).error)).toBe(error);
    expect(cluster.image.brokers.has(4)).toBe(false);
  });

  test("a broker is fenced until it has applied its own registration", async () => {
    const registered = await cluster.register(4);
    expect(state(4)).toBe("fenced");
    const epoch = "brokerEpoch" in registered ? registered.brokerEpoch : NaN;
    expect(cluster.image.brokers.get(4)!.epoch).toBe(epoch);
    expect(reply(await cluster.beat(4, { metadataOffset: epoch - 1 }))).toEqual({
      isCaughtUp: false,
      isFenced: true,
      shouldShutDown: false,
    });
    expect(state(4)).toBe("fenced");
    expect(reply(await cluster.beat(4, { metadataOffset: epoch, wantFence: true })).isFenced)
      .toBe(true);
    expect(reply(await cluster.beat(4, { metadataOffset: epoch }))).toEqual({
      isCaughtUp: true,
      isFenced: false,
      shouldShutDown: false,
    });
    expect(state(4)).toBe("up");
  });

  test("a broker has not caught up until it knows what it does not lead any more", async () => {
    await cluster.makeTopic("moving", [[2, 1]]);
    const before = cluster.image.offset;
    expect(reply(await cluster.beat(2, { metadataOffset: before })).isCaughtUp).toBe(true);
    await cluster.controller.alterPartitionReassignments(
      [{ topic: "moving", partition: 0, replicas: [1] }],
      { allowReplicationFactorChange: true },
    );
    expect(cluster.partition("moving").leader).toBe(1);
    expect(reply(await cluster.beat(2, { metadataOffset: before })).isCaughtUp).toBe(false);
    const after = cluster.image.offset;
    expect(reply(await cluster.beat(2, { metadataOffset: after })).isCaughtUp).toBe(true);
    // Others lead what they led.
    expect(reply(await cluster.beat(3, { metadataOffset: before })).isCaughtUp).toBe(true);
  });

  test("another one of the same id is refused while the first is heard", async () => {
    const others: Partial<RegistrationRequest>[] = [
      { previousBrokerEpoch: -1 },
      { previousBrokerEpoch: cluster.epochs.get(2)! - 1 },
      { logDirs: [uuid("dsk", 2)] },
    ];
    for (const other of others) {
      expect(errorName((await cluster.register(2, other)).error))
        .toBe("DUPLICATE_BROKER_REGISTRATION");
    }
    const unknown = others[0]!;
    await cluster.pass(SESSION_MS - 1000, [1, 3]);
    expect(errorName((await cluster.register(2, unknown)).error))
      .toBe("DUPLICATE_BROKER_REGISTRATION");
    await cluster.pass(3000, [1, 3]);
    const before = cluster.epochs.get(2)!;
    expect((await cluster.register(2, unknown)).error).toBe(0);
    expect(cluster.epochs.get(2)!).toBeGreaterThan(before);
  });

  test("one that holds the directories of the first and knows its epoch takes its place at once", async () => {
    await cluster.makeTopic("led", [[2, 1, 3]]);
    const before = cluster.epochs.get(2)!;
    const logDirs = [uuid("dsk", 2), uuid("dir", 2)];
    expect((await cluster.register(2, { logDirs })).error).toBe(0);
    expect(cluster.epochs.get(2)!).toBeGreaterThan(before);
    expect(state(2)).toBe("fenced");
    expect(cluster.partition("led")).toMatchObject({ leader: 1, isr: [1, 3] });
  });

  test("the same incarnation keeps its epoch and its state", async () => {
    const again = await cluster.controller.brokerRegistration(cluster.request(2));
    expect(again).toEqual({ error: 0, brokerEpoch: cluster.epochs.get(2)! });
    expect(state(2)).toBe("up");
  });

  test("a restart leaves the ISR, and keeps the right to lead where it was clean", async () => {
    await cluster.makeTopic("clean", [[2]]);
    await cluster.makeTopic("spread", [[2, 1, 3]]);
    await cluster.silence(2);
    expect(cluster.partition("clean")).toMatchObject({ leader: -1, isr: [], elr: [2] });
    expect(cluster.partition("spread")).toMatchObject({ leader: 1, isr: [1, 3], elr: [] });
    await cluster.join(2);
    expect(cluster.partition("clean")).toMatchObject({
      leader: 2,
      isr: [2],
      elr: [],
      leaderRecoveryState: 0,
    });
  });

  test("an unclean restart loses the right to lead, but where nobody else is known", async () => {
    await cluster.makeTopic("two", [[2, 3]], { "min.insync.replicas": "2" });
    await cluster.silence(3);
    expect(cluster.partition("two")).toMatchObject({ leader: 2, isr: [2], elr: [3] });
    await cluster.silence(2);
    expect(cluster.partition("two")).toMatchObject({ leader: -1, isr: [], elr: [2, 3] });
    await cluster.join(3, { previousBrokerEpoch: -1 });
    expect(cluster.partition("two")).toMatchObject({ leader: -1, isr: [], elr: [2] });
    await cluster.join(2, { previousBrokerEpoch: -1 });
    expect(cluster.partition("two")).toMatchObject({
      leader: 2,
      isr: [2],
      elr: [],
      lastKnownElr: [],
      leaderRecoveryState: 1,
    });
  });
});

describe("Controller.brokerHeartbeat", () => {
  test("a silent broker is fenced after its session, and what it led is led by others", async () => {
    await cluster.makeTopic("t", [[2, 3, 1]]);
    await cluster.pass(SESSION_MS - 1000, [1, 3]);
    expect(state(2)).toBe("up");
    const { leaderEpoch } = cluster.partition("t");
    await cluster.pass(3000, [1, 3]);
    expect(state(2)).toBe("fenced");
    expect(cluster.partition("t") as object).toMatchObject({
      leader: 3,
      isr: [3, 1],
      leaderEpoch: leaderEpoch + 1,
    });
    const warned = cluster.harness.logger.lines.filter(({ level }) => level === "warn");
    expect(warned.map(({ message }) => message).join()).toContain("session has timed out");
  });

  test("every silent broker is fenced, and the last one leaves nobody", async () => {
    await cluster.makeTopic("t", [[2, 3, 1]]);
    await cluster.pass(3 * SESSION_MS, []);
    expect([1, 2, 3].map(state)).toEqual(["fenced", "fenced", "fenced"]);
    expect(cluster.partition("t")).toMatchObject({ leader: -1, isr: [] });
    expect(cluster.partition("t").elr.length).toBe(1);
  });

  test("a controller that stood still fences nobody", async () => {
    cluster.harness.clock.work(10 * SESSION_MS);
    await cluster.pass(SESSION_MS - 2000, []);
    expect([1, 2, 3].map(state)).toEqual(["up", "up", "up"]);
    await cluster.pass(4000, []);
    expect([1, 2, 3].map(state)).toEqual(["fenced", "fenced", "fenced"]);
  });

  test("a new controller gives every broker a whole session", async () => {
    await cluster.pass(SESSION_MS - 2000, []);
    await cluster.harness.crashAndReopen();
    await cluster.pass(SESSION_MS - 1000, []);
    expect([1, 2, 3].map(state)).toEqual(["up", "up", "up"]);
    await cluster.pass(3000, []);
    expect([1, 2, 3].map(state)).toEqual(["fenced", "fenced", "fenced"]);
  });

  test("a heartbeat of another incarnation does not count", async () => {
    const stale = await cluster.controller.brokerHeartbeat({
      brokerId: 2,
      brokerEpoch: cluster.epochs.get(2)! - 1,
      metadataOffset: 1000,
      wantFence: true,
      wantShutDown: false,
      offlineLogDirs: [],
      cordonedLogDirs: null,
    });
    expect(errorName(stale.error)).toBe("STALE_BROKER_EPOCH");
    expect(state(2)).toBe("up");
  });

  test("a broker shuts down once it leads nothing and the others know it", async () => {
    await cluster.makeTopic("t", [[2, 3, 1]]);
    const known = cluster.image.offset;
    expect(reply(await cluster.beat(2, { wantShutDown: true }))).toEqual({
      isCaughtUp: true,
      isFenced: false,
      shouldShutDown: false,
    });
    expect(state(2)).toBe("shutting down");
    expect(cluster.partition("t")).toMatchObject({ leader: 3, isr: [3, 1] });
    // The others have applied nothing of it.
    for (const id of [1, 3]) await cluster.beat(id, { metadataOffset: known });
    expect(reply(await cluster.beat(2, { wantShutDown: true })).shouldShutDown).toBe(false);
    await cluster.beat(1);
    expect(reply(await cluster.beat(2, { wantShutDown: true })).shouldShutDown).toBe(false);
    await cluster.beat(3);
    expect(reply(await cluster.beat(2, { wantShutDown: true }))).toEqual({
      isCaughtUp: true,
      isFenced: true,
      shouldShutDown: true,
    });
    expect(state(2)).toBe("fenced");
  });

  test("a broker that leads what only it has waits, and one that leads nothing does not", async () => {
    expect(reply(await cluster.beat(1, { wantShutDown: true })).shouldShutDown).toBe(true);
    await cluster.makeTopic("t", [[2]]);
    expect(reply(await cluster.beat(2, { wantShutDown: true })).shouldShutDown).toBe(false);
    expect(cluster.partition("t")).toMatchObject({ leader: -1, isr: [], elr: [2] });
  });

  test("a broker that shuts down gets no new partitions", async () => {
    await cluster.makeTopic("t", [[2, 3, 1]]);
    await cluster.beat(2, { wantShutDown: true });
    const [made] = await cluster.controller.createTopics([{
      name: "u",
      partitionCount: 30,
      replicationFactor: 2,
      assignments: [],
      configs: [],
    }]);
    expect(made!.error).toBe(0);
    const holders = cluster.image.topicByName("u")!.partitions.flatMap(({ replicas }) => replicas);
    expect(new Set(holders)).toEqual(new Set([1, 3]));
  });

  test("what lies in a directory that is offline is led by others", async () => {
    await cluster.join(4, { logDirs: [uuid("dir", 4), uuid("dir", 5)] });
    await cluster.makeTopic("a", [[4, 1]]);
    await cluster.makeTopic("b", [[4, 1]]);
    await cluster.makeTopic("alone", [[4]]);
    const assign = (topic: string, directoryId: ReturnType<typeof uuid>) =>
      cluster.controller.assignReplicasToDirs(4, [
        { topicId: cluster.image.topicByName(topic)!.id, partition: 0, directoryId },
      ]);
    await assign("a", uuid("dir", 4));
    await assign("b", uuid("dir", 5));
    await assign("alone", uuid("dir", 5));
    await cluster.beat(4, { offlineLogDirs: [uuid("dir", 5), uuid("dir", 77)] });
    expect(cluster.image.brokers.get(4)!.logDirs).toEqual([uuid("dir", 4)]);
    expect(cluster.partition("a")).toMatchObject({ leader: 4, isr: [4, 1] });
    expect(cluster.partition("b")).toMatchObject({ leader: 1, isr: [1] });
    // Nor does it lead there again when it is unfenced anew.
    await cluster.beat(4, { wantFence: true });
    await cluster.beat(1, { wantFence: true });
    expect(cluster.partition("b")).toMatchObject({ leader: -1, elr: [1] });
    await cluster.beat(4);
    expect(cluster.partition("b")).toMatchObject({ leader: -1, elr: [1] });
    expect(cluster.partition("alone")).toMatchObject({ leader: -1, isr: [], elr: [4] });
    await cluster.beat(1);
    expect(cluster.partition("b")).toMatchObject({ leader: 1, isr: [1] });
    // It begins anew elsewhere, with nothing in it: nothing to lead with.
    await assign("b", uuid("dir", 4));
    await cluster.silence(1);
    expect(cluster.partition("b")).toMatchObject({ leader: -1, elr: [1] });
  });

  test("a replica that begins anew, with nothing in it, is not eligible any more", async () => {
    await cluster.makeTopic("t", [[2, 3]], { "min.insync.replicas": "2" });
    const assign = (directoryId: ReturnType<typeof uuid>) =>
      cluster.controller.assignReplicasToDirs(2, [
        { topicId: cluster.image.topicByName("t")!.id, partition: 0, directoryId },
      ]);
    await assign(uuid("dir", 2));
    await cluster.beat(3, { wantFence: true });
    await cluster.silence(2);
    expect(cluster.partition("t")).toMatchObject({ leader: -1, isr: [], elr: [2, 3] });
    await cluster.join(2, { logDirs: [uuid("dir", 22)] });
    expect(cluster.partition("t")).toMatchObject({ leader: -1, elr: [2, 3] });
    await assign(uuid("dir", 22));
    expect(cluster.partition("t")).toMatchObject({ leader: -1, isr: [], elr: [3] });
    await cluster.beat(3);
    expect(cluster.partition("t")).toMatchObject({ leader: 3, isr: [3], elr: [] });
  });
});

describe("Controller.unregisterBroker", () => {
  test("a broker that is not there is refused", async () => {
    const outcome = await cluster.controller.unregisterBroker(7);
    expect(errorName(outcome.error)).toBe("BROKER_ID_NOT_REGISTERED");
  });

  test("a broker leads nothing afterwards, and its heartbeats are refused", async () => {
    await cluster.makeTopic("t", [[2, 3, 1]]);
    expect((await cluster.controller.unregisterBroker(2)).error).toBe(0);
    expect(cluster.image.brokers.has(2)).toBe(false);
    expect(cluster.partition("t")).toMatchObject({ leader: 3, isr: [3, 1], replicas: [2, 3, 1] });
    expect(errorName((await cluster.beat(2)).error)).toBe("STALE_BROKER_EPOCH");
    await cluster.pass(2 * SESSION_MS, [1, 3]);
  });
});

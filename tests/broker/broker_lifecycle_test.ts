/** Brokers that register and send heartbeats, against a real controller behind its real handlers. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Api, RequestContext } from "../../broker/apis/api.ts";
import { brokerHeartbeatApi } from "../../broker/apis/broker_heartbeat.ts";
import { brokerRegistrationApi } from "../../broker/apis/broker_registration.ts";
import { BrokerLifecycle, type BrokerLifecycleOptions } from "../../broker/broker_lifecycle.ts";
import { SUPPORTED_FEATURES } from "../../broker/controller/feature_changes.ts";
import { BrokerState } from "../../broker/lifecycle_machine.ts";
import { NetworkError } from "../../broker/network.ts";
import { ApiKey } from "../../protocol/api_keys.ts";
import { Reader, Writer } from "../../protocol/bytes.ts";
import { codec } from "../../protocol/compile.ts";
import type { Uuid } from "../../protocol/types.ts";
import { ClusterHarness, uuid } from "./controller/cluster_harness.ts";
import { CLUSTER_ID } from "./controller/harness.ts";

const SESSION_MS = 1_500;
const INTERVAL_MS = 300;

let cluster: ClusterHarness;
/** False for a controller that nobody can reach. */
let isReachable: boolean;
let calls: number[];
const lives: Life[] = [];

/** Through bytes, as another node's request would come. */
function channel(): BrokerLifecycleOptions["channel"] {
  const subsystems = { controller: cluster.controller };
  const apis = new Map<number, Api>([
    [ApiKey.BrokerRegistration, brokerRegistrationApi(subsystems)],
    [ApiKey.BrokerHeartbeat, brokerHeartbeatApi(subsystems)],
  ]);
  return {
    async call(call, body, { timeoutMs }) {
      calls.push(call.key);
      await cluster.harness.clock.sleep(isReachable ? 1 : Math.min(timeoutMs, 1_000));
      if (!isReachable) throw new NetworkError("nobody answers", "ETIMEDOUT");
      const apiVersion = call.highest;
      const request = new Writer();
      codec(call.request, apiVersion).encode(request, body);
      const api = apis.get(call.key)!;
      const context = { apiKey: call.key, apiVersion } as RequestContext;
      const answer = await api.handle(new Reader(request.finish()), context);
      const response = new Writer();
      api.encode(response, apiVersion, answer!);
      return codec(call.response, apiVersion).decode(new Reader(response.finish()));
    },
  };
}

/** A directory of a broker, and what has become of it. */
interface TestDirectory {
  readonly directoryId: Uuid;
  offlineReason: string | null;
  isCordoned: boolean;
}

interface Life {
  readonly lifecycle: BrokerLifecycle;
  readonly failures: string[];
  readonly directories: TestDirectory[];
  /** What a clean stop would leave word of. */
  notedEpoch: number;
}

function live(
  nodeId: number,
  { clusterId = CLUSTER_ID, previousBrokerEpoch = -1, isReady = true }: {
    clusterId?: string;
    previousBrokerEpoch?: number;
    isReady?: boolean;
  } = {},
): Life {
  const { clock, random, logger, controller } = cluster.harness;
  const directories = ["dir", "more"].map((kind) => ({
    directoryId: uuid(kind, nodeId),
    offlineReason: null,
    isCordoned: false,
  }));
  const failures: string[] = [];
  const lifecycle = new BrokerLifecycle({
    nodeId,
    clock,
    random: random.fork(`life ${nodeId} ${clock.monotonicMs()}`),
    logger,
    settings: {
      heartbeatIntervalMs: INTERVAL_MS,
      sessionTimeoutMs: SESSION_MS,
      registrationTimeoutMs: 60_000,
      directoryTimeoutMs: 30_000,
    },
    announcement: {
      endpoints: [{ name: "PLAINTEXT", host: `host${nodeId}`, port: 9092, securityProtocol: 0 }],
      features: SUPPORTED_FEATURES,
      rack: null,
    },
    channel: channel(),
    controller,
    logDirectories: {
      clusterId,
      noteBrokerEpoch: (epoch) => void (life.notedEpoch = epoch),
      online: () => directories.filter(({ offlineReason }) => offlineReason === null) as never,
      states: () => directories.map((directory) => ({ ...directory, directory })) as never,
    },
    previousBrokerEpoch: () => previousBrokerEpoch,
    onFailure: (message) => void failures.push(message),
  });
  const life: Life = { lifecycle, failures, directories, notedEpoch: -1 };
  lifecycle.start();
  if (isReady) lifecycle.setReady();
  lives.push(life);
  return life;
}

const pass = (ms: number) => cluster.harness.clock.advance(ms);
const brokerOf = (nodeId: number) => cluster.image.brokers.get(nodeId);

const run = <T>(promise: Promise<T>) => cluster.harness.clock.run(promise);

beforeEach(async () => {
  calls = [];
  isReachable = true;
  cluster = await ClusterHarness.start({
    brokers: 0,
    flags: { "broker.session.timeout.ms": String(SESSION_MS) },
  });
});
afterEach(async () => {
  isReachable = true;
  for (const { lifecycle } of lives.splice(0)) await run(lifecycle.stop());
});

describe("BrokerLifecycle", () => {
  test("registers fenced, and is unfenced once it can serve", async () => {
    const { lifecycle } = live(1, { isReady: false });
    await run(lifecycle.caughtUp);
    expect([brokerOf(1)!.epoch, brokerOf(1)!.fenced]).toEqual([lifecycle.brokerEpoch, true]);
    await pass(5_000);
    expect(brokerOf(1)!.fenced).toBe(true);
    expect([lifecycle.state as number, lifecycle.fencedReason]).toEqual([
      BrokerState.recovery,
      "the broker is fenced",
    ]);
    lifecycle.setReady();
    const beforeMs = cluster.harness.clock.monotonicMs();
    await run(lifecycle.unfenced);
    expect(brokerOf(1)!.fenced).toBe(false);
    expect(cluster.harness.clock.monotonicMs() - beforeMs).toBeLessThan(20);
    expect([lifecycle.state as number, lifecycle.fencedReason]).toEqual([
      BrokerState.running,
      null,
    ]);
  });

  test("two requests are enough from the start until it takes part", async () => {
    await run(live(1).lifecycle.unfenced);
    expect(calls).toEqual([ApiKey.BrokerRegistration, ApiKey.BrokerHeartbeat]);
  });

  test("keeps trying while no controller answers, and says so once", async () => {
    isReachable = false;
    const { lifecycle } = live(1);
    await pass(50_000);
    expect(calls.length).toBeGreaterThan(1);
    expect(lifecycle.fencedReason).toBe(
      "the broker is fenced: it has not been able to register (nobody answers)",
    );
    isReachable = true;
    await run(lifecycle.unfenced);
    const warned = cluster.harness.logger.lines.filter(({ level }) => level === "warn");
    expect(warned.filter(({ message }) => message.includes("does not take"))).toHaveLength(1);
  });

  test("gives up when no controller takes it within the time for that", async () => {
    isReachable = false;
    const { lifecycle, failures } = live(1);
    const failed = lifecycle.unfenced.catch((failure: Error) => failure.message);
    await pass(61_000);
    expect(failures).toHaveLength(1);
    expect(failures[0]).toContain("initial.broker.registration.timeout.ms");
    expect(await failed).toBe(failures[0]!);
  });

  test("is fenced by silence, knows it, and comes back when it is heard again", async () => {
    const { lifecycle } = live(1);
    await pass(1_000);
    isReachable = false;
    await pass(2 * SESSION_MS);
    expect(brokerOf(1)!.fenced).toBe(true);
    expect(lifecycle.fencedReason).toMatch(/no controller has answered for 3\.\d s/);
    isReachable = true;
    await pass(2_000);
    expect([brokerOf(1)!.fenced, lifecycle.fencedReason]).toEqual([false, null]);
  });

  test("a new incarnation waits until the session of the one before is over", async () => {
    const first = live(1);
    await pass(1_000);
    await run(first.lifecycle.stop());
    const second = live(1);
    await pass(500);
    expect(second.lifecycle.brokerEpoch).toBe(-1);
    expect(second.lifecycle.fencedReason).toContain("DUPLICATE_BROKER_REGISTRATION");
    await pass(3 * SESSION_MS);
    expect(brokerOf(1)!.fenced).toBe(false);
    expect(second.lifecycle.brokerEpoch).toBeGreaterThan(first.lifecycle.brokerEpoch);
    expect(second.failures).toEqual([]);
  });

  test("registers anew when it was taken out of the cluster", async () => {
    const life = live(1);
    await pass(1_000);
    const before = life.lifecycle.brokerEpoch;
    await run(cluster.controller.unregisterBroker(1));
    await pass(2_000);
    expect(life.lifecycle.brokerEpoch).toBeGreaterThan(before);
    expect(life.notedEpoch).toBe(life.lifecycle.brokerEpoch);
    expect(brokerOf(1)!.fenced).toBe(false);
  });

  test("says under which epoch nothing was lost, and stays eligible by that alone", async () => {
    for (const isClean of [true, false]) {
      cluster = await ClusterHarness.start({
        brokers: 0,
        flags: { "broker.session.timeout.ms": String(SESSION_MS) },
      });
      const [one, two] = [live(1), live(2)];
      await pass(1_000);
      await run(cluster.makeTopic("a", [[1, 2]], { "min.insync.replicas": "2" }));
      for (const { lifecycle } of [one, two]) await run(lifecycle.stop());
      await pass(3 * SESSION_MS);
      expect(cluster.partition("a")).toMatchObject({ leader: -1, isr: [], elr: [1, 2] });
      live(1, { previousBrokerEpoch: isClean ? one.notedEpoch : -1, isReady: false });
      await pass(1_000);
      expect(cluster.partition("a").elr).toEqual(isClean ? [1, 2] : [2]);
    }
  });

  test("is let go once others lead what it led", async () => {
    const [one, two] = [live(1), live(2)];
    await pass(1_000);
    await run(cluster.makeTopic("a", [[1, 2]]));
    await pass(500);
    expect(cluster.partition("a").leader).toBe(1);
    const beforeMs = cluster.harness.clock.monotonicMs();
    await run(one.lifecycle.controlledShutdown({ timeoutMs: 10_000 }));
    // The other one has to have heard of it, which its next heartbeat shows.
    expect(cluster.harness.clock.monotonicMs() - beforeMs).toBeLessThan(2 * INTERVAL_MS);
    expect([cluster.partition("a").leader, brokerOf(1)!.fenced]).toEqual([2, true]);
    expect(one.lifecycle.state as number).toBe(BrokerState.shuttingDown);
    await run(two.lifecycle.stop());
    const count = calls.length;
    await pass(5_000);
    expect(calls.length).toBe(count);
  });

  test("goes at once where there is nobody to lead instead", async () => {
    const { lifecycle } = live(1);
    await pass(1_000);
    const before = [cluster.harness.clock.monotonicMs(), cluster.image.offset];
    await run(lifecycle.controlledShutdown({ timeoutMs: 10_000 }));
    expect([cluster.harness.clock.monotonicMs(), cluster.image.offset]).toEqual(before);
  });

  test("goes after a second when the controller is gone, at once when it was already", async () => {
    for (const goneMs of [0, 2 * SESSION_MS]) {
      isReachable = true;
      const [one] = [live(1), live(2)];
      await pass(4 * SESSION_MS);
      isReachable = false;
      await pass(goneMs);
      const beforeMs = cluster.harness.clock.monotonicMs();
      await run(one.lifecycle.controlledShutdown({ timeoutMs: 10_000 }));
      const tookMs = cluster.harness.clock.monotonicMs() - beforeMs;
      if (goneMs === 0) expect(tookMs).toBeWithin(1_000 - INTERVAL_MS - 1, 1_001);
      else expect(tookMs).toBe(0);
      for (const { lifecycle } of lives.splice(0)) await run(lifecycle.stop());
    }
  });

  test("a cluster that is not its own refuses it for good", async () => {
    const { lifecycle, failures } = live(1, { clusterId: "another cluster" });
    await pass(1_000);
    expect(failures.join()).toContain("INCONSISTENT_CLUSTER_ID");
    const count = calls.length;
    await pass(5_000);
    expect([calls.length, lifecycle.brokerEpoch]).toEqual([count, -1]);
  });

  test("tells of directories that failed, and of those that take no new partitions", async () => {
    const { lifecycle, directories } = live(1);
    await pass(1_000);
    directories[0]!.isCordoned = true;
    lifecycle.directoriesChanged();
    await pass(10);
    expect(brokerOf(1)!.cordonedLogDirs).toEqual([uuid("dir", 1)]);
    directories[1]!.offlineReason = "EIO";
    lifecycle.directoriesChanged();
    await pass(10);
    expect(brokerOf(1)!.logDirs).toEqual([uuid("dir", 1)]);
    directories[0]!.isCordoned = false;
    lifecycle.directoriesChanged();
    await pass(10);
    expect(brokerOf(1)!.cordonedLogDirs).toEqual([]);
    const { offset } = cluster.image;
    await pass(5_000);
    expect(cluster.image.offset).toBe(offset);
  });

  test("gives up when nobody hears in time of a directory that failed", async () => {
    const { lifecycle, directories, failures } = live(1);
    await pass(1_000);
    isReachable = false;
    directories[1]!.offlineReason = "EIO";
    lifecycle.directoriesChanged();
    await pass(29_000);
    expect(failures).toEqual([]);
    await pass(2_000);
    expect(failures.join()).toContain("log.dir.failure.timeout.ms");
  });

  test("leaves no timer behind", async () => {
    const { lifecycle } = live(1);
    await pass(1_000);
    await run(lifecycle.stop());
    calls = [];
    await pass(5_000);
    expect(calls).toEqual([]);
  });
});

/** Brokers that register and send heartbeats, against a real controller behind its real handlers. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Api, RequestContext } from "../../broker/apis/api.ts";
import { brokerHeartbeatApi } from "../../broker/apis/broker_heartbeat.ts";
import { brokerRegistrationApi } from "../../broker/apis/broker_registration.ts";
import { BrokerLifecycle, type ControllerCalls } from "../../broker/broker_lifecycle.ts";
import { SUPPORTED_FEATURES } from "../../broker/controller/feature_changes.ts";
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
let isReachable: boolean;
let calls: number[];
const closes: (() => void)[] = [];

/** Through bytes, as another node's request would come. */
function channel(): ControllerCalls {
  const subsystems = { controller: cluster.controller };
  const apis = new Map<number, Api>([
    [ApiKey.BrokerRegistration, brokerRegistrationApi(subsystems)],
    [ApiKey.BrokerHeartbeat, brokerHeartbeatApi(subsystems)],
  ]);
  return {
    async call(call, body) {
      await cluster.harness.clock.sleep(1);
      if (!isReachable) throw new NetworkError("nobody answers", "ETIMEDOUT");
      calls.push(call.key);
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

interface Life {
  readonly lifecycle: BrokerLifecycle;
  readonly refusals: string[];
}

function live(
  nodeId: number,
  { incarnation = 0, clusterId = CLUSTER_ID, offline = [] }: {
    incarnation?: number;
    clusterId?: string;
    offline?: readonly Uuid[];
  } = {},
): Life {
  const refusals: string[] = [];
  const { clock, random, logger, controller } = cluster.harness;
  const lifecycle = new BrokerLifecycle({
    nodeId,
    clusterId,
    incarnationId: uuid("life", nodeId, incarnation),
    clock,
    random: random.fork(`life${nodeId}`),
    logger,
    channel: channel(),
    heartbeatIntervalMs: () => INTERVAL_MS,
    announcement: () => ({
      endpoints: [{ name: "PLAINTEXT", host: `host${nodeId}`, port: 9092, securityProtocol: 0 }],
      features: SUPPORTED_FEATURES,
      rack: null,
      logDirs: [uuid("dir", nodeId), uuid("more", nodeId)],
    }),
    metadataOffset: () => controller.image().offset,
    offlineLogDirs: () => offline,
    cordonedLogDirs: () => [],
    onRefused: (message) => void refusals.push(message),
  });
  lifecycle.start();
  closes.push(() => lifecycle.close());
  return { lifecycle, refusals };
}

const pass = (ms: number) => cluster.harness.clock.advance(ms);
const brokerOf = (nodeId: number) => cluster.image.brokers.get(nodeId);

beforeEach(async () => {
  calls = [];
  isReachable = true;
  cluster = await ClusterHarness.start({
    brokers: 0,
    flags: { "broker.session.timeout.ms": String(SESSION_MS) },
  });
});
afterEach(() => {
  for (const close of closes.splice(0)) close();
});

describe("BrokerLifecycle", () => {
  test("registers fenced, and is unfenced once everything is in place", async () => {
    const { lifecycle } = live(1);
    await cluster.harness.clock.run(lifecycle.whenRegistered());
    expect([brokerOf(1)!.epoch, brokerOf(1)!.fenced]).toEqual([lifecycle.brokerEpoch, true]);
    await pass(5_000);
    expect([brokerOf(1)!.fenced, lifecycle.isFenced]).toEqual([true, true]);
    lifecycle.setReady();
    const beforeMs = cluster.harness.clock.monotonicMs();
    await cluster.harness.clock.run(lifecycle.whenUnfenced());
    expect(brokerOf(1)!.fenced).toBe(false);
    expect(cluster.harness.clock.monotonicMs() - beforeMs).toBeLessThan(INTERVAL_MS);
  });

  test("is fenced by silence, and comes back when it is heard again", async () => {
    const { lifecycle } = live(1);
    lifecycle.setReady();
    await pass(1_000);
    isReachable = false;
    await pass(2 * SESSION_MS);
    expect(brokerOf(1)!.fenced).toBe(true);
    isReachable = true;
    await pass(1_000);
    expect([brokerOf(1)!.fenced, lifecycle.isFenced]).toEqual([false, false]);
  });

  test("a new incarnation waits until the session of the one before is over", async () => {
    const first = live(1);
    first.lifecycle.setReady();
    await pass(1_000);
    first.lifecycle.close();
    const second = live(1, { incarnation: 1 });
    second.lifecycle.setReady();
    await pass(500);
    expect(second.lifecycle.brokerEpoch).toBe(-1);
    await pass(3 * SESSION_MS);
    expect([brokerOf(1)!.fenced, brokerOf(1)!.incarnationId])
      .toEqual([false, uuid("life", 1, 1)]);
    expect(second.refusals).toEqual([]);
  });

  test("registers anew when it was taken out of the cluster", async () => {
    const { lifecycle } = live(1);
    lifecycle.setReady();
    await pass(1_000);
    const before = lifecycle.brokerEpoch;
    await cluster.harness.clock.run(cluster.controller.unregisterBroker(1));
    await pass(2_000);
    expect(lifecycle.brokerEpoch).toBeGreaterThan(before);
    expect(brokerOf(1)!.fenced).toBe(false);
  });

  test("is let go once others lead what it led", async () => {
    const [one, two] = [live(1), live(2)];
    for (const { lifecycle } of [one, two]) lifecycle.setReady();
    await pass(1_000);
    await cluster.harness.clock.run(cluster.makeTopic("a", [[1, 2]]));
    await pass(500);
    expect(cluster.partition("a").leader).toBe(1);
    const isLetGo = await cluster.harness.clock.run(one.lifecycle.shutDown(10_000));
    expect(isLetGo).toBe(true);
    expect([cluster.partition("a").leader, brokerOf(1)!.fenced]).toEqual([2, true]);
    const count = calls.length;
    one.lifecycle.close();
    two.lifecycle.close();
    await pass(5_000);
    expect(calls.length - count).toBeLessThanOrEqual(1);
  });

  test("goes without leave when the controller is not to be reached in time", async () => {
    const { lifecycle } = live(1);
    lifecycle.setReady();
    await pass(1_000);
    isReachable = false;
    expect(await cluster.harness.clock.run(lifecycle.shutDown(2_000))).toBe(false);
  });

  test("a cluster that is not its own refuses it for good", async () => {
    const { lifecycle, refusals } = live(1, { clusterId: "another cluster" });
    await cluster.harness.clock.run(lifecycle.whenRegistered());
    expect(refusals.join()).toContain("INCONSISTENT_CLUSTER_ID");
    const count = calls.length;
    await pass(5_000);
    expect(calls.length).toBe(count);
  });

  test("tells of directories that failed", async () => {
    const offline: Uuid[] = [];
    const { lifecycle } = live(1, { offline });
    lifecycle.setReady();
    await pass(1_000);
    offline.push(uuid("more", 1));
    lifecycle.hurry();
    await pass(10);
    expect(brokerOf(1)!.logDirs).toEqual([uuid("dir", 1)]);
  });

  test("leaves no timer behind", async () => {
    const { lifecycle } = live(1);
    await pass(1_000);
    lifecycle.close();
    calls = [];
    await pass(5_000);
    expect(calls).toEqual([]);
  });
});

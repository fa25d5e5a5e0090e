/**
 * How long Produce and Fetch take in the broker, from the decoded frame to the encoded answer: no sockets.
 *
 *     bun tests/bench/produce_bench.ts          the table, on a real disk in a temporary directory
 *
 * `produce_bench_test.ts` runs it with a handful of rounds on a simulated disk, so that it cannot rot.
 */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import type { Api } from "../../broker/apis/api.ts";
import { fetchApi } from "../../broker/apis/fetch.ts";
import { produceApi } from "../../broker/apis/produce.ts";
import { Config } from "../../broker/config/config.ts";
import { controllerSettings } from "../../broker/controller/config_rules.ts";
import { Controller } from "../../broker/controller/controller.ts";
import { FetchSessions } from "../../broker/partitions/fetch_session.ts";
import { ReplicaManager } from "../../broker/partitions/replica_manager.ts";
import { Reader, Writer } from "../../protocol/bytes.ts";
import { codec } from "../../protocol/compile.ts";
import { fetchRequest } from "../../protocol/schemas/fetch.ts";
import { produceRequest } from "../../protocol/schemas/produce.ts";
import { LogDirectories } from "../../storage/log_directories.ts";
import type { Clock, Disk, Random } from "../../storage/platform.ts";
import { bunClock, bunDisk, bunRandom } from "../../storage/platform_bun.ts";
import { CLUSTER_ID, newTopic, NODE_ID, openMetadataLog } from "../broker/controller/harness.ts";
import { type LiveBroker, liveBroker, type LiveBrokerOptions } from "../broker/live_broker.ts";
import { batch, NO_PEERS, TestContext } from "../broker/partitions/harness.ts";
import { NO_VERIFIER } from "../broker/transactions/scripted_coordinator.ts";
import { SimLogger } from "../sim/sim_logger.ts";
import { SimWorkers } from "../sim/sim_workers.ts";

/** One row: microseconds for a request, and the bytes of its records. */
export interface DataTimes {
  readonly name: string;
  readonly us: number;
  readonly bytes: number;
}

const TOPIC = "bench";
const PRODUCE_VERSION = 12;
const FETCH_VERSION = 12;
/** Frames made ahead, since the log writes offsets into the bytes that it is given. */
const FRAMES = 50;

interface Node {
  readonly produce: Api;
  readonly fetch: Api;
  stop(): Promise<void>;
}

async function startNode(
  { disk, clock, random, path }: {
    readonly disk: Disk;
    readonly clock: Clock;
    readonly random: Random;
    readonly path: string;
  },
): Promise<Node> {
  const logger = new SimLogger();
  const config = Config.load({});
  disk.makeDirectory(`${path}/metadata`);
  const controller = await Controller.start({
    disk,
    clock,
    logger,
    log: await openMetadataLog(disk, clock, logger, `${path}/metadata`),
    nodeId: NODE_ID,
    clusterId: CLUSTER_ID,
    random,
    settings: controllerSettings(config),
    onFailure: (message) => assert.fail(message),
  });
  const workers = new SimWorkers({ disk, clock, logger });
  const logDirectories = await LogDirectories.open({
    disk,
    clock,
    random,
    logger,
    workers,
    paths: [`${path}/data`],
    metadataPath: `${path}/data`,
    clusterId: CLUSTER_ID,
    nodeId: NODE_ID,
  });
  const ids = { nodeId: NODE_ID, clusterId: CLUSTER_ID };
  const options = { ...ids, clock, random, logger, config, controller, logDirectories, workers };
  const { lifecycle, channel } = await registered(options);
  const replicaManager = new ReplicaManager({
    ...options,
    peers: NO_PEERS,
    proposeIsr: () => {},
  });
  replicaManager.start();
  await controller.createTopics([newTopic(TOPIC)]);
  await replicaManager.settled();
  const fetchSessions = new FetchSessions({ clock, random, slots: 10, evictionMs: 1000 });
  return {
    produce: produceApi({ replicaManager, config, transactionVerifier: NO_VERIFIER }),
    fetch: fetchApi({
      nodeId: NODE_ID,
      controller,
      replicaSelector: () => null,
      replicaManager,
      fetchSessions,
      fetchMaxBytes: () => 1 << 26,
    }),
    async stop() {
      await replicaManager.close();
      channel.close();
      await lifecycle.stop();
      controller.stop();
      await logDirectories.close();
    },
  };
}

/** A broker that takes part. */
async function registered(options: LiveBrokerOptions): Promise<LiveBroker> {
  const broker = liveBroker(options);
  broker.lifecycle.start();
  broker.lifecycle.setReady();
  await broker.lifecycle.unfenced;
  return broker;
}

async function answered(api: Api, frame: Uint8Array, version: number): Promise<number> {
  const context = new TestContext(api.key, version, null);
  const given = api.handle(new Reader(frame), context);
  const answer = given instanceof Promise ? await given : given;
  const writer = new Writer();
  api.encode(writer, version, answer!);
  const { length } = writer;
  context.sent();
  return length;
}

function produceFrame(records: Uint8Array, acks: number): Uint8Array {
  const writer = new Writer();
  codec(produceRequest, PRODUCE_VERSION).encode(writer, {
    transactionalId: null,
    acks,
    timeoutMs: 30_000,
    topicData: [{ name: TOPIC, partitionData: [{ index: 0, records }] }],
  } as never);
  return writer.finish();
}

function fetchFrame(fetchOffset: number): Uint8Array {
  const writer = new Writer();
  codec(fetchRequest, FETCH_VERSION).encode(writer, {
    replicaId: -1,
    maxWaitMs: 0,
    minBytes: 1,
    maxBytes: 1 << 26,
    isolationLevel: 0,
    sessionId: 0,
    sessionEpoch: -1,
    forgottenTopicsData: [],
    rackId: "",
    topics: [{
      topic: TOPIC,
      partitions: [{ partition: 0, fetchOffset, partitionMaxBytes: 1 << 20 }],
    }],
  } as never);
  return writer.finish();
}

const LOADS = [
  { name: "produce 1 × 100 B, acks=1", count: 1, valueBytes: 100, acks: 1 },
  { name: "produce 10 × 100 B, acks=1", count: 10, valueBytes: 100, acks: 1 },
  { name: "produce 100 × 1 KiB, acks=1", count: 100, valueBytes: 1024, acks: 1 },
  { name: "produce 1 × 100 B, acks=all, 50 in flight", count: 1, valueBytes: 100, acks: -1 },
] as const;

/** Times each load. Returns: a row for each, and two for fetches. */
export async function produceBench(
  { rounds, ...platform }:
    & { readonly rounds: number }
    & Parameters<typeof startNode>[0],
): Promise<DataTimes[]> {
  const node = await startNode(platform);
  const rows: DataTimes[] = [];
  for (const { name, acks, ...shape } of LOADS) {
    const records = batch(shape.count, { valueBytes: shape.valueBytes });
    let spentMs = 0;
    for (let done = 0; done < rounds; done += FRAMES) {
      const frames = Array.from({ length: FRAMES }, () => produceFrame(records, acks));
      const startMs = performance.now();
      if (acks === -1) {
        await Promise.all(frames.map((frame) => answered(node.produce, frame, PRODUCE_VERSION)));
      } else for (const frame of frames) void answered(node.produce, frame, PRODUCE_VERSION);
      spentMs += performance.now() - startMs;
      // Lets syncs in flight come in, outside of what is measured.
      await Promise.resolve();
    }
    const count = Math.ceil(rounds / FRAMES) * FRAMES;
    rows.push({ name, us: 1000 * spentMs / count, bytes: records.length });
  }
  for (
    const [name, frame] of [["catching up, 1 MiB", fetchFrame(0)], ["of nothing", null]] as const
  ) {
    const request = frame ?? fetchFrame(Math.ceil(rounds / FRAMES) * FRAMES * 112);
    const startMs = performance.now();
    let bytes = 0;
    for (let done = 0; done < rounds; done++) {
      bytes = await answered(node.fetch, request, FETCH_VERSION);
    }
    rows.push({ name: `fetch ${name}`, us: 1000 * (performance.now() - startMs) / rounds, bytes });
  }
  await node.stop();
  return rows;
}

if (import.meta.main) {
  const path = mkdtempSync(`${tmpdir()}/weir-produce-bench-`);
  try {
    const platform = { disk: bunDisk(), clock: bunClock(), random: bunRandom(), path };
    for (const { name, us, bytes } of await produceBench({ rounds: 2000, ...platform })) {
      const megabytes = bytes / us;
      console.log(
        `${name.padEnd(44)} ${us.toFixed(2).padStart(9)} µs ${
          megabytes.toFixed(0).padStart(7)
        } MB/s`,
      );
    }
  } finally {
    rmSync(path, { recursive: true });
  }
}

/** The quorum over the wire: real drivers, handlers and connections on a simulated network. */

import { expect, test } from "bun:test";
import { apiVersionsApi } from "../../../broker/apis/api_versions.ts";
import { quorumApis } from "../../../broker/apis/index.ts";
import type { MetadataRecord } from "../../../broker/controller/metadata_records.ts";
import type { MetadataBatch } from "../../../broker/controller/metadata_replay.ts";
import { PeerTransport } from "../../../broker/controller/peer_transport.ts";
import {
  DEFAULT_RAFT_SETTINGS,
  METADATA_TOPIC,
  Quorum,
} from "../../../broker/controller/quorum.ts";
import { votersRecord } from "../../../broker/controller/raft.ts";
import { type Voter, VoterSet } from "../../../broker/controller/raft_voters.ts";
import { Peers } from "../../../broker/peers/peers.ts";
import { Server } from "../../../broker/server/server.ts";
import { buildControlBatch } from "../../../protocol/control_records.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { offset, type Uuid, ZERO_UUID } from "../../../protocol/types.ts";
import type { Log } from "../../../storage/log.ts";
import { ProcessClock } from "../../sim/process_clock.ts";
import { SimClock } from "../../sim/sim_clock.ts";
import { SimDisk } from "../../sim/sim_disk.ts";
import { SimLogger } from "../../sim/sim_logger.ts";
import { SimNetwork } from "../../sim/sim_network.ts";
import { SimRandom } from "../../sim/sim_random.ts";
import { CLUSTER_ID, openMetadataLog } from "./harness.ts";

const DIRECTORY = `/data/${METADATA_TOPIC}-0`;

const directoryOf = (id: number) => `${id}`.padStart(21, "D") + "A" as Uuid;

function voterOf(id: number, directoryId = directoryOf(id)): Voter {
  const endpoints = [{ name: "CONTROLLER", host: `10.0.0.${id}`, port: 9093 }];
  return { id, directoryId, endpoints, minKraftVersion: 0, maxKraftVersion: 1 };
}

/** Nodes on one network. */
class Net {
  readonly clock = new SimClock();
  readonly network = new SimNetwork({
    clock: this.clock,
    random: new SimRandom(3),
    maxLatencyMs: 2,
  });
  readonly nodes: Node[];

  private constructor(count: number) {
    this.nodes = Array.from({ length: count }, (_, i) => new Node(this, i + 1));
  }

  /** With static voters, or with the first `voterCount` as what a directory was formatted with. */
  static async start(
    count: number,
    { voterCount = 0, clusterIds = [] as string[], isFounded = false } = {},
  ) {
    const net = new Net(count);
    for (const [i, node] of net.nodes.entries()) {
      node.clusterId = clusterIds[i] ?? CLUSTER_ID;
      const ids = net.nodes.slice(0, voterCount || count).map(({ id }) => id);
      if (isFounded) {
        node.bootstrapIds = [1];
        await node.format({});
      } else {
        await node.format(
          voterCount === 0
            ? { staticVoters: new VoterSet(ids.map((id) => voterOf(id, ZERO_UUID))) }
            : { firstVoters: new VoterSet(ids.map((id) => voterOf(id))) },
        );
      }
      await node.start();
    }
    return net;
  }

  get leader(): Node | undefined {
    return this.nodes.find(({ quorum }) => quorum?.isLeader === true);
  }

  async until(isSo: () => boolean, limitMs = 10_000): Promise<number> {
    const startMs = this.clock.monotonicMs();
    while (!isSo()) {
      if (this.clock.monotonicMs() - startMs > limitMs) {
        const states = this.nodes.map(({ id, quorum }) =>
          quorum === null ? `${id} down` : `${id} ${quorum.raft.role} ${quorum.raft.epoch}`
        );
        throw new Error(`not within ${limitMs} ms: ${states.join(", ")}`);
      }
      await this.clock.advance(5);
    }
    return this.clock.monotonicMs() - startMs;
  }

  async stop(): Promise<void> {
    for (const node of this.nodes) await node.stop();
  }
}

class Node {
  readonly net: Net;
  readonly id: number;
  readonly disk: SimDisk;
  readonly logger = new SimLogger();
  quorum: Quorum | null = null;
  log!: Log;
  clusterId = CLUSTER_ID;
  values: number[] = [];
  snapshots = 0;
  failures: string[] = [];
  bootstrapIds = [1, 2, 3];
  #staticVoters = new VoterSet([]);
  #clock!: ProcessClock;
  #stops: (() => unknown)[] = [];
  #starts = 0;

  constructor(net: Net, id: number) {
    this.net = net;
    this.id = id;
    this.disk = new SimDisk({ random: new SimRandom(id), clock: net.clock });
  }

  async format(
    { staticVoters, firstVoters }: { staticVoters?: VoterSet; firstVoters?: VoterSet },
  ): Promise<void> {
    this.#staticVoters = staticVoters ?? this.#staticVoters;
    this.disk.makeDirectory(DIRECTORY);
    if (firstVoters !== undefined) this.plantSnapshot(0, 0, firstVoters);
    for (const path of ["/", "/data"]) await this.net.clock.run(this.disk.syncDirectory(path));
  }

  plantSnapshot(endOffset: number, epoch: number, voters: VoterSet): void {
    const records = [
      { type: "snapshotHeader", message: { version: 0, lastContainedLogTimestamp: 0 } },
      { type: "kraftVersion", message: { version: 0, kRaftVersion: 1 } },
      votersRecord(voters),
      { type: "snapshotFooter", message: { version: 0 } },
    ] as const;
    const parts = records.map((record) => buildControlBatch({ records: [record], timestamp: 0 }));
    const name = `${`${endOffset}`.padStart(20, "0")}-${`${epoch}`.padStart(10, "0")}.checkpoint`;
    this.disk.plant(`${DIRECTORY}/${name}`, Buffer.concat(parts));
  }

  async start(): Promise<void> {
    const { clock: shared, network } = this.net;
    const clock = this.#clock = new ProcessClock(shared);
    const { disk, logger, id } = this;
    this.log = await shared.run(openMetadataLog(disk, clock, logger));
    const random = new SimRandom(id * 100 + this.#starts++);
    const host = network.host(`10.0.0.${id}`);
    const peers = new Peers({
      network: host,
      clock,
      random,
      clientId: `node-${id}`,
      softwareVersion: "1.0",
    });
    this.values = [];
    const { clusterId } = this;
    const quorum = await shared.run(Quorum.start({
      disk,
      clock,
      logger,
      random,
      log: this.log,
      nodeId: id,
      directoryId: directoryOf(id),
      membership: {
        staticVoters: this.#staticVoters,
        bootstrapServers: this.bootstrapIds.map((other) => ({
          host: `10.0.0.${other}`,
          port: 9093,
        })),
        endpoints: voterOf(id).endpoints,
        settings: { ...DEFAULT_RAFT_SETTINGS, fetchSnapshotMaxBytes: 50 },
        transport: new PeerTransport({ peers, clusterId, requestTimeoutMs: 2_000 }),
      },
    }, {
      handleCommit: (batch) => this.#heard(batch),
      handleSnapshot: (batches) => {
        this.snapshots++;
        this.values = [];
        for (const batch of batches) this.#heard(batch);
      },
      handleReplayed() {},
      handleLeaderChange() {},
      handleFailure: (message) => this.failures.push(message),
    }));
    this.quorum = quorum;
    const supported = new Map([["kraft.version", { lowest: 0, highest: 1 }]]);
    const features = () => ({ epoch: 0, finalized: new Map<string, number>(), supported });
    const apis = quorumApis({ clusterId, controller: { quorum } });
    const served = () => apis;
    apis.push(apiVersionsApi({ clusterId, nodeId: id, features, served }));
    const server = new Server({ network: host, clock, logger, apis });
    server.listen({ name: "CONTROLLER", host: `10.0.0.${id}`, port: 9093 });
    this.#stops = [() => server.stop({ deadlineMs: 0 }), () => peers.close()];
  }

  #heard({ records }: MetadataBatch): void {
    for (const record of records) {
      if (record.type === "ProducerIdsRecord") this.values.push(record.value.nextProducerId);
    }
  }

  async write(value: number) {
    const record: MetadataRecord = {
      type: "ProducerIdsRecord",
      value: { brokerId: this.id, brokerEpoch: 0, nextProducerId: value },
    };
    const appended = this.quorum!.append(this.quorum!.prepare([record]));
    if (!("committed" in appended)) return appended;
    return await this.net.clock.run(appended.committed);
  }

  /** The process ends; its connections break. */
  async stop(): Promise<void> {
    if (this.quorum === null) return;
    this.quorum.stop();
    this.quorum = null;
    for (const stop of this.#stops.splice(0)) await this.net.clock.run(Promise.resolve(stop()));
    this.#clock.die();
    this.disk.kill();
  }
}

test("Quorum: three nodes elect one, commit over the wire, and replace it within half a second", async () => {
  const net = await Net.start(3);
  await net.until(() => net.leader !== undefined);
  const first = net.leader!;
  expect(await first.write(1)).toEqual({ error: ErrorCode.NONE });
  await net.until(() => net.nodes.every(({ values }) => values.includes(1)));
  await first.stop();
  const tookMs = await net.until(() => net.leader !== undefined);
  expect(tookMs).toBeLessThan(500);
  expect(await net.leader!.write(2)).toEqual({ error: ErrorCode.NONE });
  await first.start();
  await net.until(() => net.nodes.every(({ values }) => String(values) === "1,2"));
  expect(net.nodes.flatMap(({ failures }) => failures)).toEqual([]);
  await net.stop();
});

test("Quorum.shutDown: the lead is handed over at once", async () => {
  const net = await Net.start(3);
  await net.until(() => net.leader !== undefined);
  const first = net.leader!;
  await net.clock.run(first.quorum!.shutDown(2_000));
  const tookMs = await net.until(() => net.leader !== undefined);
  expect(tookMs).toBeLessThan(100);
  expect(net.leader).not.toBe(first);
  await net.stop();
});

test("Quorum: a node of another cluster is not heard", async () => {
  const net = await Net.start(3, { clusterIds: [CLUSTER_ID, CLUSTER_ID, "other"] });
  await net.until(() => net.leader !== undefined);
  expect(net.leader!.id).not.toBe(3);
  expect(await net.leader!.write(1)).toEqual({ error: ErrorCode.NONE });
  await net.clock.advance(10_000);
  const [, , other] = net.nodes;
  expect(other!.quorum!.leaderId).toBe(-1);
  expect(other!.log.endOffset as number).toBe(0);
  await net.stop();
});

test("Quorum: an observer follows, becomes a voter, and the leader takes itself out", async () => {
  const net = await Net.start(3, { voterCount: 1 });
  const [one, two, three] = net.nodes as [Node, Node, Node];
  expect(await one.write(1)).toEqual({ error: ErrorCode.NONE });
  await net.until(() => net.nodes.every(({ values }) => values.includes(1)));
  for (const node of [two, three]) {
    const request = { voter: voterOf(node.id), timeoutMs: 5_000, ackWhenCommitted: true };
    const added = await net.clock.run(one.quorum!.addVoter(request));
    expect(added).toEqual({ kind: "voterChange", error: ErrorCode.NONE, message: null });
  }
  const isLevel = () =>
    one.quorum!.describe()!.voters.every(({ endOffset }) => endOffset === one.log.endOffset);
  await net.until(isLevel);
  const described = one.quorum!.describe()!;
  expect(described.voters.map(({ key, endOffset }) => [key.id, endOffset])).toEqual(
    [1, 2, 3].map((id) => [id, one.log.endOffset as number]),
  );
  expect(described.observers).toEqual([]);
  expect(described.voters.every(({ lastCaughtUpMs }) => lastCaughtUpMs > 0)).toBe(true);
  const removed = await net.clock.run(one.quorum!.removeVoter({ voter: voterOf(1) }));
  expect(removed.error).toBe(ErrorCode.NONE);
  await net.until(() => net.leader !== undefined && net.leader !== one);
  expect(await net.leader!.write(2)).toEqual({ error: ErrorCode.NONE });
  await net.until(() => net.nodes.every(({ values }) => values.includes(2)));
  expect(net.leader!.quorum!.raft.voters.ids).toEqual([2, 3]);
  await net.stop();
});

test("Quorum: a node that is told of itself alone founds a quorum that others join", async () => {
  const net = await Net.start(2, { isFounded: true });
  const [one, two] = net.nodes as [Node, Node];
  expect(one.quorum!.kraftVersion).toBe(1);
  expect(one.quorum!.raft.voters.voters).toEqual([voterOf(1)]);
  expect(await one.write(1)).toEqual({ error: ErrorCode.NONE });
  await net.until(() => two.values.includes(1));
  const request = { voter: voterOf(2), timeoutMs: 5_000, ackWhenCommitted: true };
  const added = await net.clock.run(one.quorum!.addVoter(request));
  expect(added.error).toBe(ErrorCode.NONE);
  await one.stop();
  await one.start();
  await net.until(() => net.leader !== undefined);
  expect(net.leader!.quorum!.raft.voters.ids).toEqual([1, 2]);
  await net.stop();
});

test("Quorum: who lacks what the log does not have any more fetches the snapshot", async () => {
  const net = await Net.start(3, { voterCount: 2 });
  const [one, two, three] = net.nodes as [Node, Node, Node];
  await three.stop();
  await net.until(() => net.leader !== undefined);
  for (const value of [1, 2, 3]) await net.leader!.write(value);
  const voters = new VoterSet([voterOf(1), voterOf(2)]);
  await net.until(() => one.values.length === 3 && two.values.length === 3);
  for (const node of [one, two]) {
    const { log, quorum } = node;
    const endOffset = offset(log.endOffset);
    node.plantSnapshot(endOffset, quorum!.raft.epoch, voters);
    expect(log.deleteRecordsBefore(endOffset).error).toBe(ErrorCode.NONE);
    quorum!.noteSnapshot({ offset: endOffset, epoch: quorum!.raft.epoch }, endOffset);
  }
  await three.start();
  expect(await net.leader!.write(4)).toEqual({ error: ErrorCode.NONE });
  await net.until(() => three.values.includes(4));
  expect(three.snapshots).toBe(1);
  expect(three.log.logStartOffset).toBe(net.leader!.log.logStartOffset);
  expect(three.quorum!.raft.voters.ids).toEqual([1, 2]);
  // What it has taken over is what it starts from.
  await three.stop();
  await three.start();
  await net.until(() => three.values.includes(4));
  expect(three.snapshots).toBe(1);
  await net.stop();
});

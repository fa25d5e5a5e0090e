/**
 * A random life of one replicated partition over three nodes: the real partitions, logs, fetchers and ISR changes,
 * a real controller, and links and disks that do what links and disks do.
 *
 *     seed ──→ producers, readers, faults for some seconds ──→ heal ──→ all in sync in bounded virtual time
 *
 * Processes are killed, power is lost (of all nodes at once, too) with what was not synced, a disk is replaced by
 * an empty one while all replicas are in sync, links are cut, also in one direction, requests come late, metadata
 * comes late.
 *
 * What must hold: nothing that was acknowledged with acks=all is lost; no offset that anybody has read or had
 * acknowledged has two values; the end of the partition as leaders tell it does not go back from epoch to
 * epoch; logs are the same below the high watermarks that their nodes know.
 */

import assert from "node:assert/strict";
import { drainMicrotasks } from "bun:jsc";
import { Config } from "../../broker/config/config.ts";
import { controllerSettings } from "../../broker/controller/config_rules.ts";
import { Controller } from "../../broker/controller/controller.ts";
import { controllerApis } from "../../broker/apis/index.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { batches } from "../../protocol/record_batch.ts";
import { buildBatch, readRecords } from "../../protocol/records.ts";
import type { Decoded, Encodable, Message } from "../../protocol/schema.ts";
import { fetchRequest, fetchResponse } from "../../protocol/schemas/fetch.ts";
import { listOffsetsRequest, listOffsetsResponse } from "../../protocol/schemas/list_offsets.ts";
import { produceRequest, produceResponse } from "../../protocol/schemas/produce.ts";
import { DiskError } from "../../storage/platform.ts";
import { offset } from "../../protocol/types.ts";
import { type Call, call } from "../../broker/peers/call.ts";
import { NetworkError } from "../../broker/network.ts";
import type { Partition } from "../../broker/partitions/partition.ts";
import {
  CLUSTER_ID,
  CONTROLLER_ID,
  newTopic,
  openMetadataLog,
} from "../broker/controller/harness.ts";
import { METADATA_TOPIC } from "../../broker/controller/quorum.ts";
import { ReplicationLinks } from "./replication_links.ts";
import { ReplicationNode } from "./replication_node.ts";
import { SimClock } from "./sim_clock.ts";
import { SimDisk } from "./sim_disk.ts";
import { SimLogger, TracedLogger } from "./sim_logger.ts";
import { SimRandom } from "./sim_random.ts";

const TOPIC = "t";
/** Other partitions, with records that nobody checks: they share the fetchers. */
const OTHERS = "others";
const OTHER_COUNT = 4;
const NODES = [1, 2, 3];
const SESSION_MS = 1500;
/** After the heal, until every replica is in sync. Virtual ms. */
const HEAL_MS = 60_000;
/** A follower may have to be filled anew, in segments so small that each batch begins one. */
const FILL_MS = 240_000;
const PRODUCE = call(0, produceRequest, produceResponse, { highest: 12 });
const FETCH = call(1, fetchRequest, fetchResponse, { highest: 12 });
const LIST_OFFSETS = call(2, listOffsetsRequest, listOffsetsResponse);
const ROOM = { maxDecompressedBytes: 1_000_000 };
/** Clients are no node. */
const CLIENT = 9;

/** How a world is made. */
export interface ReplicationWorldOptions {
  readonly seed: number;
  /** Virtual seconds of faults. */
  readonly steps: number;
  readonly trace?: (line: string) => void;
}

/** What worlds have seen. */
export interface ReplicationCounts {
  acknowledged: number;
  refused: number;
  read: number;
  faults: number;
  leaderEpochs: number;
  truncations: number;
  virtualMs: number;
}

/** The world. */
export class ReplicationWorld {
  readonly #clock = new SimClock();
  readonly #random: SimRandom;
  readonly #logger: TracedLogger;
  readonly #trace: (line: string) => void;
  readonly #steps: number;
  readonly #nodes: ReplicationNode[] = [];
  #links!: ReplicationLinks;
  #controller!: Controller;
  #isOver = false;
  /** A disk was replaced, and not everything is whole again as far as is known. */
  #isDiskLost = false;
  #failure: unknown = null;
  #nextValue = 0;
  /** What anybody has read or had acknowledged. */
  readonly #values = new Map<number, string>();
  readonly #acknowledged = new Map<number, string>();
  /** The furthest end that leaders have told, by epoch. */
  readonly #ends = new Map<number, number>();
  readonly counts: ReplicationCounts = {
    acknowledged: 0,
    refused: 0,
    read: 0,
    faults: 0,
    leaderEpochs: 0,
    truncations: 0,
    virtualMs: 0,
  };

  private constructor({ seed, steps, trace = () => {} }: ReplicationWorldOptions) {
    this.#random = new SimRandom(seed);
    this.#steps = steps;
    this.#trace = (line) => trace(`${this.#clock.monotonicMs().toFixed(0)} ${line}`);
    this.#logger = new TracedLogger((line) => {
      if (line.includes("Truncating")) this.counts.truncations++;
      this.#trace(line);
    });
  }

  /** Lives one life. Errors: what did not hold. */
  static async run(options: ReplicationWorldOptions): Promise<ReplicationCounts> {
    const world = new ReplicationWorld(options);
    const life = world.#live();
    life.catch(() => {});
    let isDone = false;
    life.then(() => isDone = true, () => isDone = true);
    while (!isDone) {
      drainMicrotasks();
      if (world.#failure !== null) throw world.#failure;
      if (isDone) break;
      if (!world.#clock.step()) await Promise.resolve();
    }
    await life;
    return world.counts;
  }

  async #live(): Promise<void> {
    await this.#startController();
    for (const nodeId of NODES) {
      const node = new ReplicationNode({
        nodeId,
        clock: this.#clock,
        random: this.#random.fork(`node ${nodeId}`),
        logger: this.#logger,
        controller: this.#controller,
        links: this.#links,
      });
      this.#nodes.push(node);
      this.#keepUp(node);
    }
    await this.#until("all nodes up", () => this.#activeCount() === NODES.length);
    const configs = [{ name: "min.insync.replicas", value: "2" }];
    const topic = newTopic(TOPIC, { replicationFactor: 3, configs });
    const [made] = await this.#controller.createTopics([topic]);
    assert.equal(made?.error, ErrorCode.NONE);
    await this.#controller.createTopics([
      newTopic(OTHERS, { replicationFactor: 3, partitionCount: OTHER_COUNT }),
    ]);
    this.#background(() => this.#produceToOthers());
    for (let i = 0; i < 3; i++) this.#background(() => this.#produce());
    for (let i = 0; i < 2; i++) this.#background(() => this.#read());
    this.#background(() => this.#askForEnd());
    this.#background(() => this.#compareLogs());
    for (let step = 0; step < this.#steps; step++) {
      await this.#clock.sleep(200 + this.#random.below(1600));
      this.#fault();
    }
    await this.#heal();
    this.#isOver = true;
    this.#checkAcknowledged();
    this.counts.leaderEpochs = this.#image()!.leaderEpoch;
    this.counts.virtualMs = this.#clock.monotonicMs();
  }

  async #startController(): Promise<void> {
    const random = this.#random.fork("controller");
    const disk = new SimDisk({ random, clock: this.#clock, capacityBytes: 1e9 });
    disk.makeDirectory(`/data/${METADATA_TOPIC}-0`);
    for (const path of ["/", "/data"]) await disk.syncDirectory(path);
    const config = Config.load({
      flags: {
        "broker.session.timeout.ms": String(SESSION_MS),
        "leader.imbalance.check.interval.seconds": "3",
      },
    });
    const controller = this.#controller = await Controller.start({
      disk,
      clock: this.#clock,
      logger: this.#logger,
      log: await openMetadataLog(disk, this.#clock, new SimLogger()),
      nodeId: CONTROLLER_ID,
      clusterId: CLUSTER_ID,
      random,
      settings: controllerSettings(config),
      onFailure: (message) => assert.fail(message),
    });
    const handlers = controllerApis({
      clusterId: CLUSTER_ID,
      nodeId: CONTROLLER_ID,
      config,
      controller,
    });
    this.#links = new ReplicationLinks({
      clock: this.#clock,
      random: this.#random.fork("links"),
      handler: (nodeId, key) =>
        nodeId === 0
          ? handlers.find((api) => api.key === key)
          : this.#nodes.find((node) => node.nodeId === nodeId)?.running?.apis.get(key),
    });
  }

  #background(work: () => Promise<void>): void {
    void work().catch((failure: unknown) => this.#failure ??= failure);
  }

  /** Starts a node; what dies on the way is nobody's failure. */
  #keepUp(node: ReplicationNode): void {
    this.#background(() =>
      node.start().catch((failure: unknown) => {
        if (!(failure instanceof DiskError && failure.code === "EOWNERDEAD")) throw failure;
      })
    );
  }

  #image() {
    return this.#controller.image().topicByName(TOPIC)?.partitions[0];
  }

  #activeCount(): number {
    let count = 0;
    for (const { fenced } of this.#controller.image().brokers.values()) if (!fenced) count++;
    return count;
  }

  #areAllInSync(): boolean {
    return [...this.#controller.image().topics()].every(({ partitions }) =>
      partitions.every(({ isr }) => isr.length === NODES.length)
    );
  }

  async #until(what: string, isSo: () => boolean, limitMs = HEAL_MS): Promise<void> {
    const untilMs = this.#clock.monotonicMs() + limitMs;
    while (!isSo()) {
      if (this.#failure !== null) throw this.#failure;
      if (this.#clock.monotonicMs() > untilMs) {
        const found = this.#nodes.map((node) => node.describe(TOPIC)).join("; ");
        const image = JSON.stringify(this.#image());
        assert.fail(`${what}: not within ${limitMs} ms; ${image}; ${found}`);
      }
      await this.#clock.sleep(20);
    }
  }

  // ── faults ──────────────────────────────────────────────────────────────────────────────────────

  #fault(): void {
    const random = this.#random;
    const node = random.pick(this.#nodes);
    this.counts.faults++;
    switch (random.below(8)) {
      case 0:
        return this.#crash(node, "kill", random.pick([50, 500, 3000]));
      case 1:
        return this.#crash(node, "power cut", random.pick([50, 500, 3000]));
      case 2:
        for (const one of this.#nodes) this.#crash(one, "power cut", random.pick([50, 500, 3000]));
        return;
      case 3:
        return this.#cutLink(random.pick([0, ...NODES]), random.pick([0, ...NODES]));
      case 4:
        // From everybody, in one direction.
        for (const other of [0, ...NODES]) {
          if (random.chance(0.5)) this.#cutLink(node.nodeId, other);
          else this.#cutLink(other, node.nodeId);
        }
        return;
      case 5:
        this.#links.lateShare = random.pick([0, 0.02, 0.1]);
        this.#links.maxDelayMs = random.pick([1, 5, 50, 300]);
        return;
      case 6:
        this.#trace("links are well");
        return this.#links.heal();
      case 7:
        return this.#wipe(node);
    }
  }

  #crash(node: ReplicationNode, how: "kill" | "power cut", downMs: number): void {
    if (node.isDown) return;
    // One that restarts uncleanly is taken for one that may have lost something: with a lost disk, one too many.
    if (this.#isDiskLost && !this.#areAllInSync()) return;
    this.#isDiskLost = false;
    this.#trace(`node ${node.nodeId}: ${how}, for ${downMs} ms`);
    node.die(how);
    this.#clock.timer(downMs, () => this.#keepUp(node));
  }

  #cutLink(from: number, to: number): void {
    if (from === to) return;
    this.#trace(`cut ${from} > ${to}`);
    this.#links.cut(from, to);
  }

  /** One copy of three: the others are known to have everything, and are up. */
  #wipe(node: ReplicationNode): void {
    const isUp = this.#nodes.every(({ running }) => running !== null);
    if (!isUp || !this.#areAllInSync()) return;
    this.#trace(`node ${node.nodeId}: wiped`);
    this.#isDiskLost = true;
    node.die("power cut");
    node.wipe();
    this.#clock.timer(this.#random.pick([50, 3000]), () => this.#keepUp(node));
  }

  async #heal(): Promise<void> {
    this.#trace("healing");
    this.#links.heal();
    await this.#until(
      "all nodes up",
      () =>
        this.#activeCount() === NODES.length &&
        this.#nodes.every(({ running }) => running !== null),
    );
    await this.#until("all replicas in sync", () => this.#areAllInSync(), FILL_MS);
    const before = this.counts.acknowledged;
    await this.#until("acknowledgements", () => this.counts.acknowledged > before + 10);
    this.#isOver = true;
    await this.#clock.sleep(3000);
    await this.#until("the same high watermark", () => {
      const partitions = this.#nodes.map((node) => node.partition(TOPIC)!);
      const [first] = partitions;
      return partitions.every(({ highWatermark, log }) =>
        highWatermark === first!.highWatermark && log.endOffset === highWatermark
      );
    });
  }

  // ── clients ─────────────────────────────────────────────────────────────────────────────────────

  async #ask<Q extends Message, A extends Message>(
    node: ReplicationNode,
    what: Call<Q, A>,
    body: Encodable<Q>,
  ): Promise<Decoded<A> | null> {
    const to = { host: String(node.nodeId), port: 9092 };
    const channel = String(this.#nextValue++);
    try {
      return await this.#links.peersOf(CLIENT).send(to, what, body, { timeoutMs: 3000, channel });
    } catch (failure) {
      if (failure instanceof NetworkError) return null;
      throw failure;
    }
  }

  /** A node that believes to lead; of two, any. */
  async #leader(): Promise<ReplicationNode> {
    for (;;) {
      const leaders = this.#nodes.filter((node) => node.leads(TOPIC));
      if (leaders.length > 0) return this.#random.pick(leaders);
      await this.#clock.sleep(20);
    }
  }

  async #produce(): Promise<void> {
    while (!this.#isOver) {
      await this.#clock.sleep(this.#random.below(30));
      const node = await this.#leader();
      const values = Array.from(
        { length: 1 + this.#random.below(3) },
        () => `v${this.#nextValue++}`,
      );
      const acks = this.#random.chance(0.7) ? -1 : 1;
      const records = buildBatch({
        records: values.map((value) => ({
          key: null,
          value: new TextEncoder().encode(value),
          timestamp: this.#clock.wallMs(),
        })),
      });
      const answer = await this.#ask(node, PRODUCE, {
        acks,
        timeoutMs: 1000,
        topicData: [{ name: TOPIC, partitionData: [{ index: 0, records }] }],
      });
      const found = answer?.responses[0]?.partitionResponses[0];
      if (found === undefined || found.errorCode !== ErrorCode.NONE) this.counts.refused++;
      else if (acks === -1) {
        for (const [i, value] of values.entries()) {
          this.#see(found.baseOffset + i, value, `acknowledged by node ${node.nodeId}`);
          this.#acknowledged.set(found.baseOffset + i, value);
        }
        this.counts.acknowledged++;
      }
    }
  }

  async #produceToOthers(): Promise<void> {
    while (!this.#isOver) {
      await this.#clock.sleep(this.#random.below(20));
      const records = buildBatch({
        records: [{ key: null, value: new Uint8Array(20), timestamp: this.#clock.wallMs() }],
      });
      const index = this.#random.below(OTHER_COUNT);
      this.#background(async () => {
        await this.#ask(this.#random.pick(this.#nodes), PRODUCE, {
          acks: this.#random.pick([1, -1]),
          timeoutMs: 1000,
          topicData: [{ name: OTHERS, partitionData: [{ index, records }] }],
        });
      });
    }
  }

  #see(at: number, value: string, how: string): void {
    const known = this.#values.get(at);
    if (known === undefined) this.#values.set(at, value);
    else assert.equal(value, known, `offset ${at} has two values, now ${how}`);
  }

  /** Of a leader, or of any node for a reader in its rack. */
  async #read(): Promise<void> {
    while (!this.#isOver) {
      await this.#clock.sleep(this.#random.below(60));
      const isNear = this.#random.chance(0.5);
      const node = isNear ? this.#random.pick(this.#nodes) : await this.#leader();
      const end = Math.max(0, ...this.#values.keys());
      const fetchOffset = Math.max(0, end - this.#random.pick([0, 5, 50]));
      const answer = await this.#ask(node, FETCH, {
        maxWaitMs: this.#random.pick([0, 100]),
        minBytes: 1,
        maxBytes: 2000,
        rackId: isNear ? `rack${node.nodeId}` : "",
        topics: [{
          topic: TOPIC,
          partitions: [{ partition: 0, fetchOffset, partitionMaxBytes: 2000 }],
        }],
      });
      const found = answer?.responses[0]?.partitions[0];
      if (found === undefined || found.errorCode !== ErrorCode.NONE) continue;
      for (const [at, value] of recordsOf(found.records ?? new Uint8Array(0))) {
        if (at < fetchOffset) continue;
        assert(at < found.highWatermark, "read beyond the high watermark");
        this.#see(at, value, `read from node ${node.nodeId}`);
        this.counts.read++;
      }
    }
  }

  async #askForEnd(): Promise<void> {
    while (!this.#isOver) {
      await this.#clock.sleep(this.#random.below(100));
      const node = await this.#leader();
      const told = new Map(this.#ends);
      const answer = await this.#ask(node, LIST_OFFSETS, {
        replicaId: -1,
        isolationLevel: 0,
        timeoutMs: 500,
        topics: [{ name: TOPIC, partitions: [{ partitionIndex: 0, timestamp: -1 }] }],
      });
      const found = answer?.topics[0]?.partitions[0];
      if (found === undefined || found.errorCode !== ErrorCode.NONE) continue;
      const { leaderEpoch: epoch, offset: end } = found;
      for (const [before, furthest] of told) {
        if (before <= epoch) {
          assert(
            end >= furthest,
            `the end went back to ${end}, in epoch ${before} it was ${furthest}`,
          );
        }
      }
      this.#ends.set(epoch, Math.max(end, this.#ends.get(epoch) ?? 0));
    }
  }

  // ── invariants ──────────────────────────────────────────────────────────────────────────────────

  async #compareLogs(): Promise<void> {
    while (!this.#isOver) {
      await this.#clock.sleep(250);
      const logs: Map<number, string>[] = [];
      for (const node of this.#nodes) {
        const partition = node.partition(TOPIC);
        if (partition !== null) logs.push(committedOf(partition, this.#random.pick([0, 100])));
      }
      for (const log of logs) {
        for (const [at, value] of log) this.#see(at, value, "below a high watermark");
      }
    }
  }

  #checkAcknowledged(): void {
    for (const node of this.#nodes) {
      const log = committedOf(node.partition(TOPIC)!, Infinity);
      for (const [at, value] of this.#acknowledged) {
        assert.equal(log.get(at), value, `offset ${at} was acknowledged, node ${node.nodeId}`);
      }
    }
  }
}

/** The last `count` committed records and more; all for Infinity. */
function committedOf({ log, highWatermark }: Partition, count: number): Map<number, string> {
  const found = new Map<number, string>();
  let at: number = Math.max(log.logStartOffset, highWatermark - count);
  while (at < highWatermark) {
    const read = log.read(offset(at), {
      maxBytes: 100_000,
      minOneMessage: true,
      upToOffset: highWatermark,
    });
    if (!("records" in read) || read.records.length === 0) break;
    for (const [one, value] of recordsOf(read.records)) found.set(one, value);
    at = read.nextOffset;
    read.release();
  }
  return found;
}

function recordsOf(bytes: Uint8Array): [number, string][] {
  const found: [number, string][] = [];
  for (const position of batches(bytes)) {
    for (const { offset: at, value } of readRecords(bytes, position, ROOM)) {
      found.push([at, new TextDecoder().decode(value!)]);
    }
  }
  return found;
}

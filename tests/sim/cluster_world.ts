/**
 * A random life of a cluster: real brokers on simulated machines, clients that speak the protocol to them, on
 * one virtual clock and from one seed.
 *
 *     seed → mix of faults ──→ clients and faults for some seconds ──→ heal ──→ progress in bounded time
 *                                                                        └──→ the history is clean
 *
 * Machines are killed, lose their power and what was not synced with it, are stopped, restarted one after
 * another, paused; disks are slow, fill up and fail; links are cut, also in one direction, slow, and lose
 * their connections; wall clocks jump. After every event the invariants of `cluster_invariants.ts` hold. Once
 * everything is healed each partition takes records, each consumer reads them, every replica is in sync,
 * within bounded virtual time; and what the clients noted is what logs with their promises can have caused.
 *
 * A promise that is settled by another thread would come in real time: there is none in a simulated broker.
 */

import assert from "node:assert/strict";
import { drainMicrotasks } from "bun:jsc";
import { isReassigning } from "../../broker/controller/partition_changes.ts";
import type { Disk } from "../../storage/platform.ts";
import { BankLoad } from "./bank_load.ts";
import {
  type ClientSurroundings,
  SimAdmin,
  SimMember,
  SimProducer,
  SimReader,
} from "./cluster_clients.ts";
import { SimReconfigurer } from "./cluster_reconfigurer.ts";
import { type Fault, FAULTS, isWhole } from "./cluster_faults.ts";
import { ClusterInvariants } from "./cluster_invariants.ts";
import { ClusterNode } from "./cluster_node.ts";
import { HistoryCheck, type HistoryEvent } from "./history.ts";
import { SimClock } from "./sim_clock.ts";
import { SimDisk } from "./sim_disk.ts";
import { TracedLogger } from "./sim_logger.ts";
import { SimNetwork } from "./sim_network.ts";
import { SimProcess } from "./sim_process.ts";
import { SimRandom } from "./sim_random.ts";

const CLUSTER_ID = "simulatedcluster000000";
const KAFKA_PORT = 9092;
const CONTROLLER_PORT = 9093;
const TOPIC = "orders";
/** A segment ends with its tenth index entry. */
const SMALL_SEGMENTS = { "log.index.size.max.bytes": "80", "log.index.interval.bytes": "300" };
const GROUP = "readers";
const GROUP_PARTITIONS = 2;
/** A life has come to nothing when it takes longer than this. Virtual ms. */
const MAX_LIFE_MS = 3_600_000;
/** Rejected promises that nobody awaited are told of in turns of the real loop: one in so many events. */
const EVENTS_A_TURN = 5_000;
const SCAN_EVERY_MS = 500;
/** After the heal, how long until every node serves and every replica is in sync. */
const HEAL_MS = 120_000;
/** And from then on, how long until each producer has got an acknowledgement. */
const PROGRESS_MS = 30_000;
/** How long a group may take until it has read everything: a session may have to run out. */
const CATCH_UP_MS = 180_000;

/** How large a world is. */
export interface ClusterSize {
  readonly nodes: number;
  /** Three, or as many as there are nodes, when left out. */
  readonly replicationFactor?: number;
}

/** Mostly three nodes, each of which has everything. */
export function mixedSize(index: number): ClusterSize {
  if (index % 10 === 0) return { nodes: 5 };
  return index % 10 === 5 ? { nodes: 3, replicationFactor: 1 } : { nodes: 3 };
}

/** How a world is made. */
export interface ClusterWorldOptions extends Partial<ClusterSize> {
  readonly seed: number;
  /** Virtual seconds of faults. */
  readonly steps: number;
  /** Whether replicas move and voters change; by seed when left out. */
  readonly isReconfigured?: boolean;
  /** Whether one of the disks is replaced by an empty one; by seed when left out. */
  readonly isWiped?: boolean;
  /** Whether a bank works there, instead of the usual clients. */
  readonly hasBank?: boolean;
  /** The only faults there are; a mix by seed when left out. */
  readonly faults?: readonly string[];
  /** How long the healed cluster may take until all is in sync; two minutes when left out. */
  readonly healMs?: number;
  /** Wraps the disks, so that a test can plant a fault in what the brokers do with them. */
  readonly wrap?: (disk: SimDisk) => Disk;
  /** Told what happens, line by line. */
  readonly trace?: (line: string) => void;
}

/** What worlds have seen, for summaries and for tests of the tests. */
export interface ClusterCounts {
  events: number;
  virtualMs: number;
  starts: number;
  faults: number;
  sent: number;
  acknowledged: number;
  givenUp: number;
  read: number;
  commits: number;
  joins: number;
  topics: number;
  comparedBatches: number;
  /** Epochs of the quorum that had a leader. */
  elections: number;
  reassignments: number;
  voterChanges: number;
  /** Transactions of the bank. */
  transfers: number;
  abortedTransfers: number;
  audited: number;
  tellerDeaths: number;
}

/** One seed. */
export class ClusterWorld {
  readonly clock = new SimClock();
  readonly random: SimRandom;
  readonly network: SimNetwork;
  readonly nodes: ClusterNode[] = [];
  readonly counts: ClusterCounts = {
    events: 0,
    virtualMs: 0,
    starts: 0,
    faults: 0,
    sent: 0,
    acknowledged: 0,
    givenUp: 0,
    read: 0,
    commits: 0,
    joins: 0,
    topics: 0,
    comparedBatches: 0,
    elections: 0,
    reassignments: 0,
    voterChanges: 0,
    transfers: 0,
    abortedTransfers: 0,
    audited: 0,
    tellerDeaths: 0,
  };
  readonly #options: ClusterWorldOptions;
  readonly #invariants = new ClusterInvariants();
  readonly #history = new HistoryCheck();
  readonly #partitions: readonly number[];
  readonly #producers: SimProducer[] = [];
  readonly #members: SimMember[] = [];
  /** Members that there ever were. */
  #memberCount = 0;
  readonly #readers: SimReader[] = [];
  /** Null where nobody changes the cluster. */
  readonly #reconfigurer: SimReconfigurer | null;
  readonly #clientHosts: string[] = [];
  /** Null where there is none. */
  readonly #bank: BankLoad | null;
  readonly #healed = new AbortController();
  /** What clients and faults are at; each ends by itself once told to. */
  readonly #running: Promise<void>[] = [];
  #failure: { readonly cause: unknown } | null = null;
  #scannedMs = 0;
  /** Nobody changes the cluster any more. */
  #isSettled = false;

  private constructor(options: ClusterWorldOptions) {
    this.#options = options;
    this.random = new SimRandom(options.seed);
    const networkRandom = this.random.fork("network");
    this.network = new SimNetwork({
      clock: this.clock,
      random: networkRandom,
      maxLatencyMs: networkRandom.pick([1, 3, 20]),
      maxChunkBytes: networkRandom.pick([null, null, null, null, null, 300]),
      partialWrites: networkRandom.chance(0.1),
    });
    this.#partitions = Array.from({ length: this.random.between(1, 3) }, (_, at) => at);
    const count = options.nodes ?? 1;
    for (let nodeId = 1; nodeId <= count; nodeId++) this.nodes.push(this.#newNode(nodeId, count));
    this.#reconfigurer = this.#newReconfigurer();
    this.#bank = options.hasBank === true ? this.#newBank() : null;
  }

  /** Lives through one seed. Errors: an assertion where something does not hold. */
  static async run(options: ClusterWorldOptions): Promise<ClusterCounts> {
    const world = new ClusterWorld(options);
    await world.#drive(world.#live());
    return world.counts;
  }

  /** Says what happens, with the time. */
  readonly trace = (line: string): void => {
    const { trace } = this.#options;
    if (trace !== undefined) trace(`${this.clock.monotonicMs().toFixed(3)} ${line}`);
  };

  /** Waits, until the cluster is healed at the longest: what faults began ends then. */
  readonly pass = (ms: number): Promise<void> => this.clock.sleep(ms, this.#healed.signal);

  /** Addresses of the machines that clients run on. */
  get clientHosts(): readonly string[] {
    return this.#clientHosts;
  }

  /** Lets something run beside the rest; its failure is that of the world. */
  spawn(work: Promise<void>): void {
    this.#running.push(work.catch((failure: unknown) => this.fail(failure)));
  }

  /** Ends the world with what must not happen. */
  fail(failure: unknown): void {
    this.#failure ??= { cause: failure };
  }

  // ── the loop ────────────────────────────────────────────────────────────────────────────────────

  async #drive(life: Promise<void>): Promise<void> {
    let isOver = false;
    life.then(() => isOver = true, (failure: unknown) => this.fail(failure));
    drainMicrotasks();
    while (!isOver) {
      if (this.counts.events % EVENTS_A_TURN === 0) await Bun.sleep(0);
      if (this.#failure !== null) throw this.#failure.cause;
      if (isOver) break;
      assert(this.clock.step(MAX_LIFE_MS), "nothing is left to happen, and the life is not over");
      drainMicrotasks();
      this.counts.events++;
      this.#check();
    }
    this.counts.virtualMs = Math.round(this.clock.monotonicMs());
    this.counts.comparedBatches = this.#invariants.comparedCount;
    this.counts.reassignments = this.#reconfigurer?.reassignedCount ?? 0;
    this.counts.voterChanges = this.#reconfigurer?.voterChangeCount ?? 0;
    this.counts.elections = this.#invariants.quorum.leaderCount;
    for (const node of this.nodes) this.counts.starts += node.starts;
  }

  #check(): void {
    this.#invariants.check(this.nodes);
    const nowMs = this.clock.monotonicMs();
    if (nowMs - this.#scannedMs < SCAN_EVERY_MS) return;
    this.#scannedMs = nowMs;
    this.#invariants.scan(this.nodes);
  }

  /** What is not as it should be, in a line. */
  #state(): string {
    const words: string[] = [];
    for (const { nodeId, broker, isBusy } of this.nodes) {
      const controller = broker?.subsystems.controller;
      const image = controller?.image();
      const what = controller === undefined ? "does not serve" : `at ${image!.offset}`;
      words.push(`node ${nodeId} ${what}${isBusy ? ", busy" : ""}`);
      for (const partition of broker?.subsystems.replicaManager.partitions() ?? []) {
        const { isr, replicas, leader, leaderEpoch } = partition.image;
        if (isr.length === replicas.length) continue;
        const { endOffset, syncedOffset, offlineReason } = partition.log;
        words.push(
          `${nodeId}: ${partition.topic}-${partition.partition} led by ${leader} (${leaderEpoch}), isr ` +
            `${isr.join()} of ${replicas.join()}, ends at ${endOffset}, synced ${syncedOffset}, high ` +
            `watermark ${partition.highWatermark}` +
            (offlineReason === null ? "" : `, offline: ${offlineReason}`),
        );
      }
    }
    return words.join("; ");
  }

  /** Waits until something holds. Errors: when it does not in time. */
  async #within(limitMs: number, what: string, holds: () => boolean): Promise<void> {
    const untilMs = this.clock.monotonicMs() + limitMs;
    while (!holds()) {
      assert(
        this.clock.monotonicMs() < untilMs,
        `not within ${limitMs} ms: ${what}; ${this.#state()}`,
      );
      await this.clock.sleep(100);
    }
  }

  // ── machines ────────────────────────────────────────────────────────────────────────────────────

  get #replicationFactor(): number {
    return this.#options.replicationFactor ?? Math.min(3, this.#options.nodes ?? 1);
  }

  #newNode(nodeId: number, count: number): ClusterNode {
    const random = this.random.fork(`node${nodeId}`);
    const { trace } = this;
    const node: ClusterNode = new ClusterNode({
      nodeId,
      host: hostOf(nodeId),
      settings: { ...this.#settings(), ...addressSettings(nodeId, count) },
      clock: this.clock,
      network: this.network,
      random,
      wrap: this.#options.wrap ?? ((disk) => disk),
      logger: new TracedLogger(
        this.#options.trace === undefined ? null : (line) => trace(`node ${nodeId}:${line}`),
        // One that dies in the midst of a call may find anything.
        (bug) => node.isDead || this.fail(bug),
      ),
      trace,
      maxSyncMs: random.pick([1, 3, 20]),
      pass: this.pass,
      fail: (failure) => this.fail(failure),
    });
    return node;
  }

  /** The same for all nodes. */
  #settings(): Record<string, string> {
    const random = this.random.fork("settings");
    const replicationFactor = String(this.#replicationFactor);
    return {
      "weir.cluster.id": CLUSTER_ID,
      "group.initial.rebalance.delay.ms": "500",
      "offsets.topic.num.partitions": String(GROUP_PARTITIONS),
      "offsets.topic.replication.factor": replicationFactor,
      "default.replication.factor": replicationFactor,
      "transaction.state.log.num.partitions": String(GROUP_PARTITIONS),
      "transaction.state.log.replication.factor": replicationFactor,
      "transaction.state.log.min.isr": this.#replicationFactor > 2 ? "2" : "1",
      "min.insync.replicas": this.#replicationFactor > 2 ? "2" : "1",
      // Commits are compacted while they are made, and what was closed is read again.
      ...(random.chance(0.5) && SMALL_SEGMENTS),
      "replica.lag.time.max.ms": random.pick(["5000", "10000", "30000"]),
      "log.cleaner.backoff.ms": random.pick(["1000", "15000"]),
      "log.cleaner.min.cleanable.ratio": random.pick(["0.1", "0.5"]),
      // Leaderships move while nobody is fenced.
      "leader.imbalance.check.interval.seconds": random.pick(["2", "300"]),
      "log.retention.check.interval.ms": random.pick(["1000", "300000"]),
    };
  }

  /** A client's machine with its process. */
  #newClient(name: string): ClientSurroundings {
    const random = this.random.fork(name);
    const host = `10.0.1.${this.#clientHosts.length + 1}`;
    this.#clientHosts.push(host);
    return {
      name,
      process: new SimProcess({
        clock: this.clock,
        disk: new SimDisk({ random }),
        network: this.network.host(host),
      }),
      random,
      bootstrap: this.nodes.map((node) => ({ host: node.host, port: KAFKA_PORT })),
      note: (event) => this.#note(event),
      trace: (line) => this.trace(line),
    };
  }

  #newReconfigurer(): SimReconfigurer | null {
    const random = this.random.fork("reconfigured");
    const isReconfigured = this.#options.isReconfigured ?? random.chance(0.5);
    if (this.nodes.length < 2 || !isReconfigured) return null;
    return new SimReconfigurer(this.#newClient("reconfigurer"), {
      topic: TOPIC,
      partitions: this.#partitions,
      groupPartitions: Array.from({ length: GROUP_PARTITIONS }, (_, at) => at),
      replicationFactor: this.#replicationFactor,
      nodeIds: this.nodes.map(({ nodeId }) => nodeId),
      controllerOf: (nodeId) => ({ host: hostOf(nodeId), port: CONTROLLER_PORT }),
      hasDynamicVoters: random.chance(0.5),
    });
  }

  #newBank(): BankLoad {
    return new BankLoad({
      random: this.random,
      replicationFactor: this.#replicationFactor,
      newClient: (name) => this.#newClient(name),
      spawn: (work) => this.spawn(work),
      pass: this.pass,
      isHealed: () => this.#healed.signal.aborted,
      within: (limitMs, what, holds) => this.#within(limitMs, what, holds),
      known: (topic) => this.#known(topic),
      trace: this.trace,
    });
  }

  #note(event: HistoryEvent): void {
    if (event.kind === "send") this.counts.sent++;
    if (this.#options.trace !== undefined) this.trace(JSON.stringify(event));
    this.#history.take(event);
  }

  // ── a life ──────────────────────────────────────────────────────────────────────────────────────

  async #live(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.start()));
    const admin = new SimAdmin(this.#newClient("admin"));
    await admin.createTopic(TOPIC, this.#partitions.length, this.#replicationFactor);
    await this.#known(TOPIC);
    if (this.#bank === null) this.#startClients();
    else await this.#bank.open(admin);
    this.spawn(admin.run(() => this.random.between(1, this.#replicationFactor)));
    if (this.#reconfigurer !== null) {
      this.spawn(this.#reconfigurer.run().then(() => void (this.#isSettled = true)));
    }
    await this.#faults();
    await this.#heal();
    const mayWipe = this.#options.isWiped ?? this.random.chance(0.3);
    if (this.#replicationFactor > 2 && mayWipe) await this.#wipeOne();
    if (this.#bank === null) {
      await this.#progress();
      await this.#end(admin);
    } else await this.#closeBank(this.#bank, admin);
    this.#invariants.scan(this.nodes);
    await this.#stopAll();
  }

  /** Whoever made it may use it at once; another broker hears of it a moment later. */
  async #known(topic: string): Promise<void> {
    await this.#within(
      HEAL_MS,
      `every node knows ${topic}`,
      () =>
        this.nodes.every(({ broker }) =>
          broker?.subsystems.controller.image().topicByName(topic) !== undefined
        ),
    );
  }

  async #closeBank(bank: BankLoad, admin: SimAdmin): Promise<void> {
    this.trace("close");
    admin.stop();
    await bank.close();
    await Promise.all(this.#running);
    const { committed, aborted, audited, deaths } = bank.counts;
    this.counts.transfers = committed;
    this.counts.abortedTransfers = aborted;
    this.counts.audited = audited;
    this.counts.tellerDeaths = deaths;
  }

  #startClients(): void {
    const { random } = this;
    const partitions = this.#partitions;
    const start = (
      name: string,
      options: Partial<ConstructorParameters<typeof SimProducer>[1]>,
    ) => {
      const producer = new SimProducer(this.#newClient(name), {
        topic: TOPIC,
        partitions,
        guarantee: "exactly once",
        isImpatient: false,
        thinkMs: random.pick([200, 1_000, 3_000]),
        acks: -1,
        ...options,
      });
      this.#producers.push(producer);
      this.spawn(producer.run());
    };
    start("idempotent", {});
    start("impatient", { partitions: [random.pick(partitions)], isImpatient: true });
    start("plain", { guarantee: "at least once", partitions: [random.pick(partitions)] });
    start("careless", { guarantee: "none", acks: 1, partitions: [random.pick(partitions)] });
    this.#memberCount = random.between(1, 3);
    for (let i = 1; i <= this.#memberCount; i++) this.#startMember(`member${i}`);
    const reader = new SimReader(this.#newClient("reader"), TOPIC, partitions);
    this.#readers.push(reader);
    this.spawn(reader.run());
  }

  #startMember(name: string): void {
    const client = this.#newClient(name);
    const member = new SimMember(client, GROUP, TOPIC);
    this.#members.push(member);
    this.spawn(Promise.race([member.run(), client.process.died]));
  }

  /** A member of the group dies without a word; another one takes its place. */
  replaceMember(): void {
    if (this.#bank !== null) return this.#bank.replaceTeller();
    const at = this.random.below(this.#members.length);
    const member = this.#members[at]!;
    if (member.surroundings.process.isDead) return;
    this.trace(`${member.name} dies`);
    member.surroundings.process.die("kill");
    this.#countMember(member);
    this.#members.splice(at, 1);
    this.#startMember(`member${++this.#memberCount}`);
  }

  async #faults(): Promise<void> {
    const { random } = this;
    const mix = Object.keys(FAULTS).filter((name) => FAULTS[name]!.isOnlyAsked !== true);
    const names = this.#options.faults ?? mix.filter(() => random.chance(0.5));
    const faults = names.map((name): readonly [string, Fault] => [name, FAULTS[name]!])
      .filter(([, { minNodes }]) => this.nodes.length >= minNodes);
    const untilMs = this.clock.monotonicMs() + this.#options.steps * 1_000;
    const pauseMs = random.pick([500, 2_000, 6_000]);
    while (this.clock.monotonicMs() < untilMs) {
      await this.clock.sleep(random.below(pauseMs));
      if (faults.length === 0) continue;
      const [name, fault] = random.pick(faults);
      this.trace(`fault: ${name}`);
      this.counts.faults++;
      this.spawn(fault.happen(this));
    }
  }

  async #heal(): Promise<void> {
    this.trace("heal");
    this.#healed.abort();
    for (const producer of this.#producers) producer.isCalm = true;
    this.network.links.heal();
    for (const node of this.nodes) {
      node.mend();
      node.resume();
    }
    // What faults had begun comes to its end: a restart that waits, a link that is cut for a while.
    await this.#within(
      HEAL_MS,
      "every node serves",
      () => this.nodes.every((node) => node.isUp && !node.isBusy),
    );
    if (this.#reconfigurer !== null) {
      this.#reconfigurer.stop();
      await this.#within(HEAL_MS, "the cluster is as it was", () => this.#isSettled);
    }
    this.network.links.heal();
    for (const node of this.nodes) {
      node.mend();
      if (node.mayFail) await node.crash("kill", 100);
    }
    await this.#within(
      this.#options.healMs ?? HEAL_MS,
      "every replica is in sync, and none is known to be damaged",
      () => this.#isInSync() && isWhole(this),
    );
  }

  /** Every node serves, knows the newest image, and has every partition that it should have in sync. */
  #isInSync(): boolean {
    const images = this.nodes.map((node) => node.broker?.subsystems.controller.image());
    if (images.some((image) => image === undefined)) return false;
    if (new Set(images.map((image) => image!.offset)).size > 1) return false;
    const topics = [...images[0]!.topics()];
    return topics.flatMap(({ partitions }) => partitions).every((partition) =>
      partition.leader >= 0 && partition.isr.length === partition.replicas.length &&
      !isReassigning(partition)
    );
  }

  /** A node that lost its disk comes back with an empty one, while everything goes on. */
  async #wipeOne(): Promise<void> {
    const node = this.random.pick(this.nodes);
    this.#invariants.quorum.forget(node.nodeId);
    await node.wipe(this.random.below(10_000));
    await this.#within(HEAL_MS, "what was wiped is in sync again", () => this.#isInSync());
  }

  async #progress(): Promise<void> {
    this.trace("progress");
    const sinceMs = this.clock.monotonicMs();
    await this.#within(
      PROGRESS_MS,
      "every producer gets acknowledgements",
      () =>
        this.#producers.every(({ acknowledgedMs }) =>
          acknowledgedMs.size > 0 && [...acknowledgedMs.values()].every((atMs) => atMs > sinceMs)
        ),
    );
  }

  async #end(admin: SimAdmin): Promise<void> {
    this.trace("end");
    for (const producer of this.#producers) producer.stop();
    admin.stop();
    const looker = new SimAdmin(this.#newClient("looker"));
    await this.#within(
      PROGRESS_MS,
      "every producer gets its last acknowledgements",
      () => this.#producers.every(({ isDone }) => isDone),
    );
    const ends = await looker.endOffsets(TOPIC, this.#partitions);
    this.trace(`ends: ${[...ends].join(" ")}`);
    const isRead = (reader: { readonly positions: ReadonlyMap<number, number> }) =>
      [...ends].every(([partition, end]) => (reader.positions.get(partition) ?? 0) >= end);
    await this.#within(
      CATCH_UP_MS,
      "the reader reads to the end",
      () => this.#readers.every((reader) => isRead(reader)),
    );
    const untilMs = this.clock.monotonicMs() + CATCH_UP_MS;
    for (;;) {
      const committed = await looker.committed(GROUP, TOPIC, this.#partitions);
      if (committed.every(({ partition, offset }) => offset >= ends.get(partition)!)) break;
      assert(
        this.clock.monotonicMs() < untilMs,
        `the group does not get to the end: ${
          committed.map(({ partition, offset }) => `${partition}: ${offset}`).join(", ")
        }`,
      );
      await this.clock.sleep(1_000);
    }
    for (const client of [...this.#members, ...this.#readers]) client.stop();
    await Promise.all(this.#running);
    await looker.noteLog(TOPIC, this.#partitions);
    await looker.client.close();
    this.#count(admin);
    assert.deepEqual(this.#history.end(), [], "the history is not clean");
  }

  #count(admin: SimAdmin): void {
    for (const { acknowledgedCount, givenUpCount } of this.#producers) {
      this.counts.acknowledged += acknowledgedCount;
      this.counts.givenUp += givenUpCount;
    }
    for (const member of this.#members) this.#countMember(member);
    for (const { readCount } of this.#readers) this.counts.read += readCount;
    this.counts.topics += admin.createdCount + admin.deletedCount;
  }

  #countMember({ commitCount, joinCount, readCount }: SimMember): void {
    this.counts.commits += commitCount;
    this.counts.joins += joinCount;
    this.counts.read += readCount;
  }

  /** A stop leaves nothing behind. */
  async #stopAll(): Promise<void> {
    for (const node of this.nodes) {
      await node.stop();
      assert.deepEqual(node.leftovers, { timers: 0, handles: 0 }, `left by node ${node.nodeId}`);
    }
  }
}

function hostOf(nodeId: number): string {
  return `10.0.0.${nodeId}`;
}

/** Where a node listens and, of several, whom it votes with. */
function addressSettings(nodeId: number, count: number): Record<string, string> {
  const kafka = `PLAINTEXT://${hostOf(nodeId)}:${KAFKA_PORT}`;
  if (count === 1) return { "node.id": String(nodeId), listeners: kafka };
  const voters = Array.from({ length: count }, (_, at) => (
    `${at + 1}@${hostOf(at + 1)}:${CONTROLLER_PORT}`
  ));
  return {
    "node.id": String(nodeId),
    "process.roles": "broker,controller",
    listeners: `${kafka},CONTROLLER://${hostOf(nodeId)}:${CONTROLLER_PORT}`,
    "controller.listener.names": "CONTROLLER",
    "controller.quorum.voters": voters.join(","),
  };
}

/**
 * A quorum on virtual time: three to five nodes with the real driver, log and disk files, over a network that
 * loses, delays, doubles and reorders, with nodes that crash, lose what they had not synced, or come back with an
 * empty disk, and with voters that change meanwhile.
 *
 *     turmoil ──→ healed: progress within a bound ──→ one link cut: nobody stirs ──→ healed: all logs agree
 *
 * What must hold after every event: an epoch has one leader; an entry of the log is named by its offset and
 * epoch, with the same bytes and the same entry before it wherever it lies; whoever leads has all that is
 * committed; the high watermark of no node goes back; what is committed stays, and reaches every listener in the
 * same order. At the end: what was acknowledged is there.
 */

import assert from "node:assert/strict";
import { drainMicrotasks } from "bun:jsc";
import type { MetadataRecord } from "../../broker/controller/metadata_records.ts";
import type { MetadataBatch } from "../../broker/controller/metadata_replay.ts";
import {
  DEFAULT_RAFT_SETTINGS,
  METADATA_TOPIC,
  Quorum,
  type QuorumTransport,
} from "../../broker/controller/quorum.ts";
import { votersRecord } from "../../broker/controller/raft.ts";
import type { Destination, RaftReply, RaftRequest } from "../../broker/controller/raft_messages.ts";
import {
  majorityOf,
  type OffsetAndEpoch,
  type RaftRules,
} from "../../broker/controller/raft_quorum.ts";
import { type Voter, VoterSet } from "../../broker/controller/raft_voters.ts";
import { snapshotPath } from "../../broker/controller/snapshot_files.ts";
import { NetworkError } from "../../broker/network.ts";
import { buildControlBatch, type NewControlRecord } from "../../protocol/control_records.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { batches, computeCrc, readBatchHeader } from "../../protocol/record_batch.ts";
import { offset, type Uuid, ZERO_UUID } from "../../protocol/types.ts";
import type { Log } from "../../storage/log.ts";
import type { Disk } from "../../storage/platform.ts";
import { randomUuid } from "../../storage/random_uuid.ts";
import { openMetadataLog } from "../broker/controller/harness.ts";
import { ProcessClock } from "./process_clock.ts";
import { SimClock } from "./sim_clock.ts";
import { SimDisk } from "./sim_disk.ts";
import { SimLogger } from "./sim_logger.ts";
import { SimRandom } from "./sim_random.ts";

const DIRECTORY = `/data/${METADATA_TOPIC}-0`;
const SETTINGS = DEFAULT_RAFT_SETTINGS;
/** Without faults there must be a leader, and a commit, within this. */
const PROGRESS_MS = 20_000;
/** How long one follower is cut off from the leader while nobody may stir. */
const CALM_MS = 12_000;
const MAX_DELAY_MS = 40;
const SHUTDOWN_MS = 2_000;

/** How a world is made. */
export interface RaftWorldOptions {
  readonly seed: number;
  /** Things that happen while there are faults. */
  readonly steps: number;
  readonly trace?: (line: string) => void;
  readonly rules?: RaftRules;
  /**
   * Every other new leader loses its power before it can do much, and followers get a batch at a time; one in ten,
   * and in every other world, when left out.
   */
  readonly isHardOnLeaders?: boolean;
  /** Puts faults into a node's disk. */
  readonly wrap?: (disk: SimDisk) => Disk;
}

/** What the worlds have seen. */
export interface RaftCounts {
  leaders: number;
  commits: number;
  crashes: number;
  wipes: number;
  cuts: number;
  voterChanges: number;
  /** Times that static voters went over into the log. */
  upgrades: number;
  truncations: number;
  snapshots: number;
  /** Snapshots that a replica has fetched. */
  installs: number;
  virtualSeconds: number;
}

/** Counts of nothing. */
export function noRaftCounts(): RaftCounts {
  return {
    leaders: 0,
    commits: 0,
    crashes: 0,
    wipes: 0,
    cuts: 0,
    voterChanges: 0,
    upgrades: 0,
    truncations: 0,
    snapshots: 0,
    installs: 0,
    virtualSeconds: 0,
  };
}

/** One batch of a log, by its place. */
interface Entry {
  readonly crc: number;
  readonly lastOffset: number;
  /** The batch before it. */
  readonly before: string;
}

const nameOf = (baseOffset: number, epoch: number) => `${baseOffset}@${epoch}`;

/** Nodes, a network and a client. */
export class RaftWorld {
  readonly clock = new SimClock();
  readonly random: SimRandom;
  readonly options: RaftWorldOptions;
  readonly counts = noRaftCounts();
  readonly nodes: Node[];
  /** Batches come one by one in some worlds, so that a replica may have a part of what it lacks. */
  readonly fetchMaxBytes: number;
  /** The network delays, loses and doubles. */
  hasFaults = true;
  /** `from>to` of links that are cut. */
  readonly #cuts = new Set<string>();
  /** Somebody was asked to write static voters into the log. */
  #isUpgraded = false;
  readonly #leaders = new Map<number, number>();
  /** When the newest epoch with a leader began, and its number. */
  #newestElection = { epoch: -1, atMs: -Infinity };
  readonly #entries = new Map<string, Entry>();
  /** Base offset → name of the entry there. */
  readonly #committed = new Map<number, string>();
  #committedEnd = 0;
  /** What each offset gave to a listener. */
  readonly #delivered = new Map<number, number>();
  readonly #acknowledged = new Map<number, number>();
  #nextValue = 1;
  #failure: unknown = null;
  /** When the last node that shuts down has ended. */
  #endedMs = 0;

  private constructor(options: RaftWorldOptions) {
    this.options = options;
    this.random = new SimRandom(options.seed).fork("raft world");
    const count = this.random.pick([3, 3, 4, 5]);
    this.fetchMaxBytes = options.isHardOnLeaders === true || this.random.chance(0.5)
      ? 1
      : SETTINGS.fetchMaxBytes;
    this.nodes = Array.from({ length: count }, (_, i) => new Node(this, i + 1));
  }

  /** Lives one life. Errors: what does not hold. */
  static async run(options: RaftWorldOptions): Promise<RaftCounts> {
    const world = new RaftWorld(options);
    await world.#live();
    world.counts.virtualSeconds = Math.round(world.clock.monotonicMs() / 1000);
    return world.counts;
  }

  async #live(): Promise<void> {
    const isDynamic = this.random.chance(0.7);
    const voters = new VoterSet(
      this.nodes.slice(0, isDynamic ? 3 : undefined).map((node) => (
        isDynamic ? node.voter : { ...node.voter, directoryId: ZERO_UUID }
      )),
    );
    for (const node of this.nodes) {
      node.staticVoters = isDynamic ? new VoterSet([]) : voters;
      await node.format(isDynamic ? voters : null);
      await node.start();
    }
    // Static voters have to be there when the cluster is born: one that was not may be one that has forgotten.
    if (!isDynamic) {
      this.hasFaults = false;
      await this.#expectProgress();
      this.hasFaults = true;
    }
    for (let step = 0; step < this.options.steps; step++) {
      await this.#advance(this.random.pick([5, 50, 300, 1_500]));
      await this.#disturb(isDynamic);
    }
    await this.#heal();
    await this.#expectProgress();
    await this.#expectCalm();
    await this.#expectProgress();
    await this.#checkEnd();
    for (const node of this.nodes) node.stop();
  }

  async #disturb(isDynamic: boolean): Promise<void> {
    const draw = this.random.below(100);
    const node = this.random.pick(this.nodes);
    if (draw < 41) this.write();
    else if (draw < 45) this.#snapshot(node);
    else if (draw < 55) await this.#crash(node);
    else if (draw < 63) {
      if (!node.isUp) await node.start();
    } else if (draw < 75) this.#cut(node);
    else if (draw < 84) this.#cuts.clear();
    else if (draw < 86) this.#shutDown(node);
    else if ((isDynamic || this.#isUpgraded) && draw < 95) this.#changeVoters();
    else if (!isDynamic && draw < 92) this.#upgradeVoters();
    // What a replaced disk means is not known while the voters go over into the log.
    else if (draw < 97 && !this.#isUpgraded) {
      await (isDynamic ? this.#wipe(node) : this.#wipeStatic(node));
    }
  }

  /** Time passes, event by event, and all is looked at after each. */
  async #advance(byMs: number): Promise<void> {
    const untilMs = this.clock.monotonicMs() + byMs;
    do {
      await this.#settle();
      this.#check();
    } while (this.clock.step(untilMs));
    this.clock.work(Math.max(untilMs - this.clock.monotonicMs(), 0));
  }

  async #settle(): Promise<void> {
    for (let i = 0; i < 3; i++) {
      drainMicrotasks();
      await Promise.resolve();
    }
    if (this.#failure !== null) throw this.#failure;
  }

  note(line: string): void {
    this.options.trace?.(`${this.clock.monotonicMs().toFixed(1)} ${line}`);
  }

  fail(failure: unknown): void {
    this.#failure ??= failure;
  }

  // ── what happens ────────────────────────────────────────────────────────────────────────────────

  /** A client writes one record by whoever believes to lead. */
  write(): void {
    const leader = this.random.pick(this.nodes.filter(({ quorum }) => quorum?.isLeader === true));
    const quorum = leader?.quorum;
    if (quorum === undefined || quorum === null) return;
    const value = this.#nextValue++;
    const record: MetadataRecord = {
      type: "ProducerIdsRecord",
      value: { brokerId: leader.id, brokerEpoch: 0, nextProducerId: value },
    };
    const prepared = quorum.prepare([record]);
    const appended = quorum.append(prepared);
    if (!("committed" in appended)) return;
    this.note(`n${leader.id} writes ${value} at ${prepared.batch.baseOffset}`);
    void appended.committed.then(({ error }) => {
      if (error !== ErrorCode.NONE) return;
      this.counts.commits++;
      this.#acknowledged.set(prepared.batch.baseOffset, value);
    });
  }

  /** A node writes down what is committed, and lets go of the records before. */
  #snapshot(node: Node): void {
    const { quorum, log } = node;
    if (quorum === null || log === null) return;
    const { highWatermark } = quorum;
    const last = [...node.entries].findLast(([baseOffset]) => baseOffset < highWatermark);
    if (last === undefined || highWatermark <= log.logStartOffset) return;
    const id = { offset: highWatermark, epoch: Number(last[1].split("@")[1]) };
    this.counts.snapshots++;
    this.note(`n${node.id} takes a snapshot up to ${id.offset}`);
    node.plantSnapshot(id, quorum.controlRecordsBefore(highWatermark));
    log.deleteRecordsBefore(highWatermark);
    quorum.noteSnapshot(id, log.logStartOffset);
  }

  async #crash(node: Node): Promise<void> {
    if (!node.isUp) return;
    this.counts.crashes++;
    const isPowerCut = this.random.chance(0.6);
    this.note(`n${node.id} ${isPowerCut ? "loses power" : "is killed"}`);
    node.stop();
    if (isPowerCut) node.disk.crash();
    else {
      node.disk.kill();
      node.hangUp();
    }
    if (this.random.chance(0.5)) await node.start();
  }

  /** A new leader may lose its power while only some have what it has written. */
  #strike(node: Node): void {
    if (!this.random.chance(this.options.isHardOnLeaders === true ? 0.6 : 0.1)) return;
    const { incarnation } = node;
    this.clock.timer(this.random.below(120), () => {
      if (node.incarnation !== incarnation || !this.hasFaults) return;
      this.counts.crashes++;
      this.note(`n${node.id} loses power soon after its election`);
      node.stop();
      node.disk.crash();
    });
  }

  #cut(node: Node): void {
    this.counts.cuts++;
    const others = this.nodes.filter((other) => other !== node);
    const isWhole = this.random.chance(0.4);
    for (const other of isWhole ? others : [this.random.pick(others)]) {
      const direction = this.random.below(3);
      if (direction !== 0) this.#cuts.add(`${node.id}>${other.id}`);
      if (direction !== 1) this.#cuts.add(`${other.id}>${node.id}`);
    }
    this.note(`cut ${[...this.#cuts].join(" ")}`);
  }

  /** A disk is replaced: the node is another voter from now on. */
  async #wipe(node: Node): Promise<void> {
    // One copy is what a quorum of three can lose for good, while nothing else changes.
    const leader = this.nodes.find(({ quorum }) => quorum?.isLeader === true);
    const isQuiet = leader !== undefined &&
      this.nodes.every(({ quorum }) =>
        quorum !== null && quorum.raft.voterHistory.latestOffset < quorum.highWatermark &&
        String(quorum.raft.voters.ids) === String(leader.quorum!.raft.voters.ids)
      );
    const isEnough = isQuiet && leader.quorum!.raft.voters.size >= 3;
    if (!isEnough || this.nodes.some(({ isWiped }) => isWiped)) return;
    this.counts.wipes++;
    this.note(`n${node.id} is wiped`);
    node.stop();
    node.wipe();
    await node.format(null);
    await node.start();
  }

  /** The same where voters have no directory: it is the same voter still, and must not act as if it knew. */
  async #wipeStatic(node: Node): Promise<void> {
    // One disk at a time: what the last one has lost is there again.
    const areWhole = this.nodes.every(({ isWiped, quorum }) =>
      !isWiped || quorum?.raft.isCatchingUp === false
    );
    if (!areWhole || this.#committedEnd === 0 || !node.isUp) return;
    this.counts.wipes++;
    this.note(`n${node.id} is wiped`);
    node.stop();
    node.wipe();
    await node.format(null);
    await node.start();
  }

  /** The node hands over what it leads, and ends as nodes do that are told to. */
  #shutDown(node: Node): void {
    const { quorum, incarnation } = node;
    if (quorum === null) return;
    this.note(`n${node.id} shuts down`);
    this.#endedMs = this.clock.monotonicMs() + SHUTDOWN_MS;
    void quorum.shutDown(SHUTDOWN_MS / 2).then(() => {
      if (node.incarnation !== incarnation) return;
      node.stop();
      node.disk.kill();
      node.hangUp();
    }).catch((failure: unknown) => this.fail(failure));
  }

  /** Static voters are to be written into the log. Whatever the answer, they may be from now on. */
  #upgradeVoters(): void {
    const leader = this.nodes.find(({ quorum }) => quorum?.isLeader === true);
    const areWhole = this.nodes.every(({ isWiped, quorum }) =>
      !isWiped || quorum?.raft.isCatchingUp === false
    );
    if (leader === undefined || !areWhole || this.#cuts.size > 0) return;
    this.#isUpgraded = true;
    this.note(`n${leader.id} is to write the voters down`);
    void leader.quorum!.upgradeVoters().then(({ error }) => {
      this.note(`voters written down: ${error}`);
      if (error === ErrorCode.NONE) this.counts.upgrades++;
    });
  }

  #changeVoters(): void {
    const leader = this.nodes.find(({ quorum }) => quorum?.isLeader === true);
    if (leader === undefined) return;
    const { voters } = leader.quorum!.raft;
    // A voter whose disk is gone has to go first: else a majority might count on it.
    const lost = this.nodes.find((node) =>
      voters.get(node.id) !== undefined && !voters.has(node.key)
    );
    const node = lost ?? this.random.pick(this.nodes);
    const known = voters.get(node.id);
    const { quorum } = leader;
    const answered = known === undefined
      ? quorum!.addVoter({ voter: node.voter, timeoutMs: 5_000, ackWhenCommitted: true })
      : quorum!.removeVoter({ voter: known });
    this.note(`n${leader.id} is to ${known === undefined ? "add" : "remove"} n${node.id}`);
    void answered.then(({ error }) => {
      this.note(`voter change: ${error}`);
      if (error === ErrorCode.NONE) this.counts.voterChanges++;
    });
  }

  // ── the network ─────────────────────────────────────────────────────────────────────────────────

  /** Carries one request and its answer, or not. */
  async carry(from: Node, to: Destination, request: RaftRequest): Promise<RaftReply> {
    const target = this.nodes.find(({ port }) => port === to.port)!;
    const sender = from.incarnation;
    const { clock } = this;
    const timeoutMs = SETTINGS.requestTimeoutMs;
    const late = clock.sleep(timeoutMs).then(() => {
      throw new NetworkError("late", "ETIMEDOUT");
    });
    late.catch(() => {});
    const there = async (): Promise<RaftReply> => {
      await this.#pass(from.id, target.id);
      if (!target.isUp) throw new NetworkError("refused", "ECONNREFUSED");
      const { quorum } = target;
      if (request.kind === "probe") {
        return { kind: "probe", error: ErrorCode.NONE, minKraftVersion: 0, maxKraftVersion: 1 };
      }
      if (this.hasFaults && this.random.chance(0.05)) {
        void clock.sleep(this.random.below(400)).then(() => target.quorum?.handle(request));
      }
      const reply = await Promise.race([quorum!.handle(request), target.whenHungUp()]);
      await this.#pass(target.id, from.id);
      if (reply === null) throw new NetworkError("the process has ended", "ECONNRESET");
      return reply;
    };
    const reply = await Promise.race([there(), late]);
    // Who has crashed meanwhile hears nothing.
    if (from.incarnation !== sender) await new Promise<never>(() => {});
    return reply;
  }

  async #pass(from: number, to: number): Promise<void> {
    const slowMs = this.hasFaults && this.random.chance(0.05) ? 600 : MAX_DELAY_MS;
    await this.clock.sleep(this.hasFaults ? this.random.below(slowMs) : this.random.below(3));
    const isLost = this.hasFaults && this.random.chance(0.02);
    if (isLost || this.#cuts.has(`${from}>${to}`)) await new Promise<never>(() => {});
  }

  // ── what must hold ──────────────────────────────────────────────────────────────────────────────

  #check(): void {
    for (const node of this.nodes) {
      const { quorum } = node;
      if (quorum === null || !node.isUp) continue;
      const { raft } = quorum;
      node.readEntries((baseOffset, epoch, entry) =>
        this.#noteEntry(node, baseOffset, epoch, entry)
      );
      assert(
        raft.highWatermark >= node.highWatermark,
        `n${node.id}: the high watermark went from ${node.highWatermark} to ${raft.highWatermark}`,
      );
      if (raft.isLeader) this.#checkLeader(node);
      if (raft.highWatermark > node.highWatermark) this.#checkCommitted(node, raft.highWatermark);
      node.highWatermark = raft.highWatermark;
    }
  }

  #noteEntry(node: Node, baseOffset: number, epoch: number, entry: Entry): void {
    const name = nameOf(baseOffset, epoch);
    const known = this.#entries.get(name);
    if (known === undefined || known.before === "") this.#entries.set(name, entry);
    if (known !== undefined) {
      // What comes first behind a snapshot has nothing before it.
      const isFirst = entry.before === "" || known.before === "";
      const before = isFirst ? known.before : entry.before;
      const text = `n${node.id}: another entry ${name} than elsewhere`;
      assert.deepEqual({ ...entry, before }, known, text);
    }
  }

  #checkLeader(node: Node): void {
    const { raft } = node.quorum!;
    const { epoch } = raft;
    const nowMs = this.clock.monotonicMs();
    const later = this.#newestElection;
    if (later.epoch > epoch) {
      assert(
        raft.leadershipConfirmedMs(nowMs) <= later.atMs,
        `n${node.id} is certain to have led epoch ${epoch} alone after epoch ${later.epoch} began`,
      );
    }
    const known = this.#leaders.get(epoch);
    if (known === node.id) return;
    assert(known === undefined, `n${known} and n${node.id} both lead epoch ${epoch}`);
    this.#leaders.set(epoch, node.id);
    if (later.epoch < epoch) this.#newestElection = { epoch, atMs: nowMs };
    this.counts.leaders++;
    this.note(`n${node.id} leads epoch ${epoch}`);
    if (this.hasFaults) this.#strike(node);
    for (const [baseOffset, name] of this.#committed) {
      if (baseOffset < node.log!.logStartOffset) continue;
      const found = node.entryAt(baseOffset);
      assert.equal(found, name, `n${node.id} leads epoch ${epoch} without a committed entry`);
    }
  }

  #checkCommitted(node: Node, highWatermark: number): void {
    const end = Math.min(highWatermark, node.log!.endOffset);
    for (const [baseOffset, name] of node.entries) {
      if (baseOffset >= end || baseOffset < node.highWatermark) continue;
      const known = this.#committed.get(baseOffset);
      if (known === undefined) {
        assert(baseOffset >= this.#committedEnd, `n${node.id}: ${name} was committed late`);
        this.#committed.set(baseOffset, name);
        this.#committedEnd = this.#entries.get(name)!.lastOffset + 1;
      } else assert.equal(name, known, `n${node.id}: what is committed at ${baseOffset} changed`);
    }
  }

  /** A listener hears of a commit. */
  heard(node: Node, batch: MetadataBatch): void {
    const [record] = batch.records;
    assert(record?.type === "ProducerIdsRecord");
    const value = record.value.nextProducerId;
    assert(batch.baseOffset > node.heardOffset, `n${node.id} heard of ${batch.baseOffset} again`);
    node.heardOffset = batch.lastOffset;
    const known = this.#delivered.get(batch.baseOffset) ?? value;
    assert.equal(value, known, `n${node.id}: another value at ${batch.baseOffset} than elsewhere`);
    this.#delivered.set(batch.baseOffset, value);
  }

  async #heal(): Promise<void> {
    this.note("healed");
    this.hasFaults = false;
    this.#cuts.clear();
    await this.#advance(Math.max(this.#endedMs - this.clock.monotonicMs(), 0));
    for (const node of this.nodes) if (!node.isUp) await node.start();
  }

  async #expectProgress(): Promise<void> {
    const before = this.counts.commits;
    const untilMs = this.clock.monotonicMs() + PROGRESS_MS;
    while (this.clock.monotonicMs() < untilMs) {
      if (this.counts.commits === before) this.write();
      await this.#advance(100);
      const isDone = this.counts.commits > before &&
        this.nodes.every(({ quorum }) => quorum!.highWatermark >= this.#committedEnd);
      if (isDone) return;
    }
    const states = this.nodes.map(({ id, quorum }) => {
      const { role, epoch, highWatermark, log, voters } = quorum!.raft;
      return `n${id} ${role} ${epoch} hw=${highWatermark} end=${log.endOffset} of ${voters.ids}`;
    });
    assert.fail(`no progress in ${PROGRESS_MS} ms: ${states.join(", ")}`);
  }

  /** One follower and the leader do not hear of each other: that is no reason for another leader. */
  async #expectCalm(): Promise<void> {
    const leader = this.nodes.find(({ quorum }) => quorum!.isLeader);
    // It may just have taken itself out.
    if (leader === undefined) return;
    const { epoch, voters } = leader.quorum!.raft;
    // It leads until its own removal is committed, and goes then.
    if (!voters.has(leader.key)) return;
    const followers = this.nodes.filter((node) => node !== leader && voters.has(node.key));
    // The leader needs a majority without it; a voter whose disk is gone is none.
    if (followers.length < majorityOf(voters.size)) return;
    const node = this.random.pick(followers);
    this.#cuts.add(
      this.random.chance(0.5) ? `${node.id}>${leader.id}` : `${leader.id}>${node.id}`,
    );
    this.note(`calm: cut ${[...this.#cuts].join(" ")}`);
    await this.#advance(CALM_MS);
    this.#cuts.clear();
    await this.#advance(CALM_MS / 2);
    const { raft } = leader.quorum!;
    assert(
      raft.isLeader && raft.epoch === epoch,
      `n${leader.id} led epoch ${epoch} and was deposed by n${node.id}, which alone was cut off`,
    );
  }

  async #checkEnd(): Promise<void> {
    for (const [at, value] of this.#acknowledged) {
      assert.equal(
        this.#delivered.get(at),
        value,
        `${value} at ${at} was acknowledged and is gone`,
      );
    }
    // A leader that has removed itself may just have gone.
    const untilMs = this.clock.monotonicMs() + PROGRESS_MS;
    const lost = () => this.nodes.find(({ quorum }) => quorum!.leaderId <= 0);
    while (lost() !== undefined && this.clock.monotonicMs() < untilMs) await this.#advance(100);
    assert(lost() === undefined, `n${lost()?.id} knows no leader`);
  }
}

/** A machine with a disk, on which the driver runs or not. */
class Node {
  readonly id: number;
  readonly port: number;
  readonly #world: RaftWorld;
  disk: SimDisk;
  directoryId: Uuid;
  staticVoters = new VoterSet([]);
  isWiped = false;
  incarnation = 0;
  log: Log | null = null;
  quorum: Quorum | null = null;
  highWatermark = 0;
  heardOffset = -1;
  /** Base offset → name, of the log as it is, in order. */
  readonly entries = new Map<number, string>();
  #readOffset = 0;
  #clock: ProcessClock | null = null;
  #hangUps: (() => void)[] = [];

  constructor(world: RaftWorld, id: number) {
    this.#world = world;
    this.id = id;
    this.port = 9000 + id;
    this.directoryId = randomUuid(world.random.fork(`directory ${id}`));
    this.disk = this.#newDisk();
  }

  #newDisk(): SimDisk {
    const random = this.#world.random.fork(`disk ${this.id} ${this.directoryId}`);
    return new SimDisk({ random, clock: this.#world.clock, maxSyncMs: 20 });
  }

  get isUp(): boolean {
    return this.quorum !== null;
  }

  get key() {
    return { id: this.id, directoryId: this.directoryId };
  }

  get voter(): Voter {
    return {
      ...this.key,
      endpoints: [{ name: "CONTROLLER", host: `host${this.id}`, port: this.port }],
      minKraftVersion: 0,
      maxKraftVersion: 1,
    };
  }

  /** Makes the directory, with the first voters as `kafka-storage format` writes them. */
  async format(voters: VoterSet | null): Promise<void> {
    this.disk.makeDirectory(DIRECTORY);
    if (voters !== null) {
      const message = { version: 0, kRaftVersion: 1 };
      const quorum = [{ type: "kraftVersion", message } as const, votersRecord(voters)];
      this.plantSnapshot({ offset: 0, epoch: 0 }, quorum);
    }
    for (const path of ["/", "/data", DIRECTORY]) {
      await this.#world.clock.run(this.disk.syncDirectory(path));
    }
  }

  plantSnapshot(id: OffsetAndEpoch, quorum: readonly NewControlRecord[]): void {
    const records: NewControlRecord[] = [
      { type: "snapshotHeader", message: { version: 0, lastContainedLogTimestamp: 0 } },
      ...quorum,
      { type: "snapshotFooter", message: { version: 0 } },
    ];
    const parts = records.map((record) => buildControlBatch({ records: [record], timestamp: 0 }));
    this.disk.plant(snapshotPath(DIRECTORY, id), Buffer.concat(parts));
  }

  wipe(): void {
    this.isWiped = true;
    this.incarnation++;
    const random = this.#world.random.fork(`directory ${this.id} ${this.incarnation}`);
    this.directoryId = randomUuid(random);
    this.disk = this.#newDisk();
    this.highWatermark = 0;
    this.heardOffset = -1;
  }

  async start(): Promise<void> {
    const world = this.#world;
    const clock = new ProcessClock(world.clock);
    this.#clock = clock;
    const incarnation = ++this.incarnation;
    const disk = world.options.wrap?.(this.disk) ?? this.disk;
    const logger = new SimLogger();
    const log = await world.clock.run(openMetadataLog(disk, clock, logger, DIRECTORY));
    this.log = log;
    this.entries.clear();
    this.#readOffset = log.logStartOffset;
    // What is known to be committed is learnt anew.
    this.highWatermark = 0;
    this.heardOffset = -1;
    const isSame = () => this.incarnation === incarnation && this.isUp;
    // Of the last process.
    this.#hangUps = [];
    const transport: QuorumTransport = {
      send: (to, _channel, request) => world.carry(this, to, request),
    };
    const quorum = await world.clock.run(Quorum.start({
      disk,
      clock,
      logger,
      log,
      nodeId: this.id,
      directoryId: this.directoryId,
      random: world.random.fork(`quorum ${this.id} ${incarnation}`),
      membership: {
        staticVoters: this.staticVoters,
        bootstrapServers: world.nodes.map(({ id, port }) => ({ host: `host${id}`, port })),
        endpoints: this.voter.endpoints,
        settings: { ...SETTINGS, fetchMaxBytes: world.fetchMaxBytes },
        transport,
        ...(world.options.rules && { rules: world.options.rules }),
      },
    }, {
      handleCommit: (batch) => {
        try {
          world.heard(this, batch);
        } catch (failure) {
          world.fail(failure);
        }
      },
      handleSnapshot: () => {
        world.counts.installs++;
        // A snapshot here says nothing but how far it goes.
        this.heardOffset = log.logStartOffset - 1;
        this.entries.clear();
        this.#readOffset = log.logStartOffset;
      },
      handleReplayed() {},
      handleLeaderChange() {},
      handleFailure: (message) => {
        if (isSame()) world.fail(new Error(`n${this.id} has failed: ${message}`));
      },
    }));
    this.quorum = quorum;
    world.note(`n${this.id} starts: ${quorum.raft.role} ${quorum.raft.epoch} end=${log.endOffset}`);
  }

  /** Resolves when the process has ended on a machine that goes on. */
  whenHungUp(): Promise<null> {
    return new Promise((resolve) => this.#hangUps.push(() => resolve(null)));
  }

  hangUp(): void {
    for (const tell of this.#hangUps.splice(0)) tell();
  }

  stop(): void {
    this.quorum?.stop();
    this.#clock?.die();
    this.quorum = null;
    this.log = null;
    this.incarnation++;
  }

  /** Names of the entries at `baseOffset`; undefined for none. */
  entryAt(baseOffset: number): string | undefined {
    return this.entries.get(baseOffset);
  }

  /** Looks at what the log has got since the last time. */
  readEntries(visit: (baseOffset: number, epoch: number, entry: Entry) => void): void {
    const log = this.log!;
    if (log.logStartOffset > this.#readOffset) {
      this.entries.clear();
      this.#readOffset = log.logStartOffset;
    }
    // What was cut may be there anew by now, of another epoch.
    const isThere = (baseOffset: number, name: string) =>
      baseOffset < log.endOffset &&
      nameOf(baseOffset, log.leaderEpochs.epochForOffset(baseOffset)) === name;
    const known = [...this.entries];
    let kept = known.length;
    while (kept > 0 && known[kept - 1]![0] >= log.logStartOffset && !isThere(...known[kept - 1]!)) {
      kept--;
    }
    if (kept < known.length) {
      this.#world.counts.truncations++;
      for (const [baseOffset] of known.slice(kept)) this.entries.delete(baseOffset);
      this.#readOffset = known[kept]![0];
    }
    while (this.#readOffset < log.endOffset) {
      const read = log.read(offset(this.#readOffset), { maxBytes: 1 << 20, minOneMessage: true });
      if (!("records" in read)) return;
      for (const at of batches(read.records)) {
        const header = readBatchHeader(read.records, at);
        const { baseOffset, lastOffsetDelta, partitionLeaderEpoch } = header;
        const entry = {
          crc: computeCrc(read.records, at),
          lastOffset: baseOffset + lastOffsetDelta,
          before: [...this.entries.values()].at(-1) ?? "",
        };
        visit(baseOffset, partitionLeaderEpoch, entry);
        this.entries.set(baseOffset, nameOf(baseOffset, partitionLeaderEpoch));
        this.#readOffset = entry.lastOffset + 1;
      }
      read.release();
    }
  }
}

/**
 * Raft machines side by side with logs in memory, moved by commands and traced line by line. Chance is fixed:
 * a replica's draws are its id times 100, so replica 1 is the first whose election timeout ends.
 */

import assert from "node:assert/strict";
import {
  type LogChange,
  type QuorumState,
  Raft,
  type RaftMessage,
  type Ready,
} from "../../../broker/controller/raft.ts";
import type {
  FetchedBatch,
  QuorumChange,
  RaftAnswer,
  RaftDecision,
  RaftRequest,
} from "../../../broker/controller/raft_messages.ts";
import { type Voter, VoterHistory, VoterSet } from "../../../broker/controller/raft_voters.ts";
import type { NewControlRecord } from "../../../protocol/control_records.ts";
import { ErrorCode, errorName } from "../../../protocol/errors.ts";
import { type Uuid, ZERO_UUID } from "../../../protocol/types.ts";
import type { Random } from "../../../storage/platform.ts";
import { votersOf } from "../../../broker/controller/metadata_replay.ts";
import type { Command } from "../../transcripts/transcript.ts";

const SETTINGS = {
  electionTimeoutMs: 1_000,
  electionBackoffMaxMs: 1_000,
  fetchTimeoutMs: 2_000,
  retryBackoffMs: 20,
  requestTimeoutMs: 2_000,
  fetchMaxWaitMs: 500,
  fetchMaxBytes: 1_000,
  fetchSnapshotMaxBytes: 10,
};
const FIRST_PORT = 9000;
const MAX_DELIVERIES = 500;

/** One record, alone in its batch. */
interface Entry {
  readonly epoch: number;
  readonly text: string;
  readonly changes: readonly QuorumChange[];
}

interface Letter {
  readonly from: number;
  readonly to: number;
  readonly deliver: (isLost: boolean) => void;
}

const directoryOf = (id: number) => `${id}`.padStart(21, "D") + "A" as Uuid;

function voterOf(id: number): Voter {
  return {
    id,
    directoryId: directoryOf(id),
    endpoints: [{ name: "CONTROLLER", host: "host", port: FIRST_PORT + id }],
    minKraftVersion: 0,
    maxKraftVersion: 1,
  };
}

/** Replicas and what lies between them. */
export class RaftBench {
  nowMs = 0;
  lines: string[] = [];
  readonly replicas = new Map<number, Replica>();
  letters: Letter[] = [];

  /** Runs one command. Returns: what came of it. */
  run({ name, words, options }: Command): string[] {
    this.lines = [];
    const ids = words.map(Number);
    const [id = 0, more = 0] = ids;
    switch (name) {
      case "quorum":
        this.#begin(ids.filter(Number.isFinite), words.includes("dynamic"));
        break;
      case "observer":
        this.replicas.set(id, new Replica(this, id, [], false));
        this.#of(id).start();
        break;
      case "advance":
        this.#advance(id);
        break;
      case "run":
        this.#deliver(options.get("only")?.split(",").map(Number) ?? null);
        break;
      case "lose":
        for (const letter of this.letters.splice(0)) letter.deliver(true);
        break;
      case "write":
        for (let i = 0; i < more; i++) this.#of(id).write();
        break;
      case "hold":
        this.#of(id).holdsSync = true;
        break;
      case "sync":
        this.#of(id).release();
        break;
      case "down":
        this.#of(id).end();
        break;
      case "wipe":
        this.#of(id).wipe();
        break;
      case "up":
        this.#of(id).start();
        break;
      case "shutdown":
        this.#of(id).step((raft) => raft.shutDown(this.nowMs));
        break;
      case "snapshot":
        this.#of(id).snapshot(more);
        break;
      case "add":
        this.#of(id).change((raft, handle) => {
          const voter = voterOf(more);
          const request = { voter, timeoutMs: 5_000, ackWhenCommitted: true };
          raft.addVoter(handle, request, this.nowMs);
        });
        break;
      case "upgrade":
        this.#of(id).change((raft, handle) => raft.upgradeVoters(handle, this.nowMs));
        break;
      case "remove":
        this.#of(id).change((raft, handle) => {
          raft.removeVoter(handle, { voter: voterOf(more) }, this.nowMs);
        });
        break;
      case "state":
        for (const replica of this.replicas.values()) this.lines.push(replica.describe());
        break;
      default:
        assert.fail(`no command ${name}`);
    }
    return this.lines;
  }

  #of(id: number): Replica {
    return this.replicas.get(id)!;
  }

  #begin(ids: readonly number[], isDynamic: boolean): void {
    this.nowMs = 0;
    this.replicas.clear();
    this.letters = [];
    for (const id of ids) this.replicas.set(id, new Replica(this, id, ids, isDynamic));
    for (const replica of this.replicas.values()) replica.start();
  }

  #advance(byMs: number): void {
    const untilMs = this.nowMs + byMs;
    for (;;) {
      const due = [...this.replicas.values()].filter(({ deadlineMs }) => deadlineMs <= untilMs)
        .sort((a, b) => a.deadlineMs - b.deadlineMs)[0];
      if (due === undefined) break;
      this.nowMs = Math.max(this.nowMs, due.deadlineMs);
      due.step((raft) => raft.tick(this.nowMs));
    }
    this.nowMs = untilMs;
  }

  #deliver(only: readonly number[] | null): void {
    for (let count = 0; this.letters.length > 0; count++) {
      assert(count < MAX_DELIVERIES, "messages without end");
      const letter = this.letters.shift()!;
      const isLost = only !== null && !(only.includes(letter.from) && only.includes(letter.to));
      letter.deliver(isLost);
    }
  }
}

/** One replica: a machine, a log in memory, and what of it would survive. */
class Replica {
  readonly id: number;
  readonly #bench: RaftBench;
  readonly #staticVoters: VoterSet;
  readonly #firstVoters: VoterSet | null;
  #raft: Raft | null = null;
  #entries: Entry[] = [];
  #startOffset = 0;
  #snapshot: { offset: number; epoch: number } | null = null;
  #syncedOffset = 0;
  #quorumState: QuorumState | null = null;
  holdsSync = false;
  #shownRole = "";
  #nextHandle = 1;
  readonly #handles = new Map<number, (decision: RaftDecision) => void>();
  #waiting: (() => void)[] = [];

  constructor(bench: RaftBench, id: number, voterIds: readonly number[], isDynamic: boolean) {
    this.#bench = bench;
    this.id = id;
    const voters = new VoterSet(voterIds.map(voterOf));
    this.#firstVoters = isDynamic ? voters : null;
    this.#staticVoters = isDynamic ? new VoterSet([]) : new VoterSet(
      voters.voters.map((voter) => ({ ...voter, directoryId: ZERO_UUID })),
    );
  }

  get deadlineMs(): number {
    return this.#raft?.nextDeadlineMs ?? Infinity;
  }

  get #endOffset(): number {
    return this.#startOffset + this.#entries.length;
  }

  start(): void {
    const voters = new VoterHistory(this.#staticVoters);
    if (this.#firstVoters !== null) {
      voters.noteKraftVersion(-1, 1);
      voters.noteVoters(-1, this.#firstVoters);
    }
    for (const { changes } of this.#entries) {
      for (const change of changes) {
        if (change.kind === "voters") voters.noteVoters(change.offset, change.voters);
        else voters.noteKraftVersion(change.offset, change.version);
      }
    }
    const epochs = this.#entries.flatMap(({ epoch }, i) =>
      this.#entries[i - 1]?.epoch === epoch ? [] : [{ epoch, startOffset: this.#startOffset + i }]
    );
    const random: Random = { uint32: () => this.id * 100, fork: () => random };
    const bootstrapServers = [...this.#bench.replicas.keys()].map((id) => (
      { host: "host", port: FIRST_PORT + id }
    ));
    this.#raft = new Raft({
      self: { id: this.id, directoryId: directoryOf(this.id) },
      endpoints: voterOf(this.id).endpoints,
      random,
      settings: SETTINGS,
      log: {
        startOffset: this.#startOffset,
        endOffset: this.#endOffset,
        epochs,
        snapshotId: this.#snapshot,
      },
      voters,
      quorumState: this.#quorumState,
      highWatermark: this.#startOffset,
      bootstrapServers,
    });
    this.step((raft) => raft.start(this.#bench.nowMs));
  }

  end(): void {
    this.#raft = null;
    this.#shownRole = "";
    this.#entries.length = this.#syncedOffset - this.#startOffset;
    this.holdsSync = false;
    this.#handles.clear();
    // Connections break with the process.
    for (const refuse of this.#waiting.splice(0)) refuse();
  }

  /** Its disk is replaced by an empty one. */
  wipe(): void {
    this.end();
    this.#entries = [];
    this.#startOffset = 0;
    this.#syncedOffset = 0;
    this.#snapshot = null;
    this.#quorumState = null;
  }

  step(event: (raft: Raft) => void): void {
    if (this.#raft === null) return;
    event(this.#raft);
    for (let ready = this.#raft.take(); ready !== null; ready = this.#raft.take()) {
      this.#workOff(this.#raft, ready);
    }
  }

  #say(line: string): void {
    this.#bench.lines.push(`${this.id}: ${line}`);
  }

  #workOff(raft: Raft, { quorumState, logChanges, highWatermark, leader, messages }: Ready): void {
    if (raft.role !== this.#shownRole) {
      this.#say(`${this.#shownRole || "start"} -> ${raft.role}, epoch ${raft.epoch}`);
      this.#shownRole = raft.role;
    }
    if (quorumState !== null) {
      this.#quorumState = quorumState;
      const { leaderId, leaderEpoch, voted } = quorumState;
      this.#say(`stores epoch=${leaderEpoch} leader=${leaderId} voted=${voted?.id ?? "-"}`);
    }
    for (const change of logChanges) this.#changeLog(change);
    if (highWatermark !== null) this.#say(`committed up to ${highWatermark}`);
    if (leader !== null) this.#say(`leader is ${leader.leaderId} in epoch ${leader.leaderEpoch}`);
    for (const message of messages) this.#send(raft, message);
    this.#sync();
  }

  #changeLog(change: LogChange): void {
    switch (change.kind) {
      case "truncate":
        this.#entries.length = change.endOffset - this.#startOffset;
        this.#syncedOffset = Math.min(this.#syncedOffset, change.endOffset);
        return this.#say(`cuts its log at ${change.endOffset}`);
      case "append": {
        const entries = JSON.parse(new TextDecoder().decode(change.records)) as Entry[];
        for (const entry of entries) this.#append(revive(entry));
        return;
      }
      case "appendControl":
        for (const record of change.records) {
          const { text, changes } = describeControl(record, this.#endOffset);
          this.#append({ epoch: change.epoch, text, changes });
        }
        return;
      case "writeSnapshot":
        return this.#say(`takes bytes ${change.position}.. of snapshot ${change.id.offset}`);
      case "installSnapshot":
        this.#snapshot = change.id;
        this.#startOffset = change.id.offset;
        this.#entries = [];
        this.#syncedOffset = change.id.offset;
        this.#say(`installs snapshot ${change.id.offset}@${change.id.epoch}`);
        this.#raft!.snapshotInstalled(
          change.id,
          { voters: null, kraftVersion: 0 },
          this.#bench.nowMs,
        );
    }
  }

  #append(entry: Entry): void {
    this.#say(`appends ${this.#endOffset}@${entry.epoch} ${entry.text}`);
    this.#entries.push(entry);
  }

  #sync(): void {
    if (this.holdsSync || this.#syncedOffset === this.#endOffset) return;
    this.#syncedOffset = this.#endOffset;
    this.step((raft) => raft.synced(this.#syncedOffset, this.#bench.nowMs));
  }

  release(): void {
    this.holdsSync = false;
    this.#sync();
  }

  write(): void {
    const raft = this.#raft!;
    if (!raft.isLeader) return this.#say("does not lead");
    this.#append({ epoch: raft.epoch, text: "record", changes: [] });
    this.step(() => raft.appended(this.#endOffset, this.#bench.nowMs));
    this.#sync();
  }

  /** A snapshot of all before `endOffset`; the log begins there from now on. */
  snapshot(endOffset: number): void {
    const epoch = this.#entries[endOffset - 1 - this.#startOffset]!.epoch;
    this.#entries.splice(0, endOffset - this.#startOffset);
    this.#startOffset = endOffset;
    this.#snapshot = { offset: endOffset, epoch };
    this.step((raft) => raft.snapshotTaken({ offset: endOffset, epoch }, endOffset));
  }

  change(event: (raft: Raft, handle: number) => void): void {
    const handle = this.#nextHandle++;
    this.#handles.set(handle, (decision) => {
      assert(decision.kind === "voterChange");
      this.#say(`voter change: ${errorName(decision.error)} ${decision.message ?? ""}`.trimEnd());
    });
    this.step((raft) => event(raft, handle));
  }

  #send(raft: Raft, message: RaftMessage): void {
    if (message.kind === "failure") return this.#say(`fails: ${message.message}`);
    if (message.kind === "answer") {
      const resolve = this.#handles.get(message.handle);
      this.#handles.delete(message.handle);
      resolve?.(message.decision);
      return;
    }
    const { requestId, request } = message;
    const to = message.to.port - FIRST_PORT;
    const arrow = `${this.id} -> ${to}`;
    const isSame = () => this.#raft === raft;
    this.#bench.letters.push({
      from: this.id,
      to,
      deliver: (isLost) => {
        const target = this.#bench.replicas.get(to)!;
        const isRefused = target.#raft === null;
        if (isLost || isRefused) {
          this.#bench.lines.push(
            `${arrow}: ${formatRequest(request)} ${isLost ? "LOST" : "REFUSED"}`,
          );
          const { nowMs } = this.#bench;
          if (isSame()) this.step(() => raft.failed(requestId, { isRefused }, nowMs));
          return;
        }
        this.#bench.lines.push(`${arrow}: ${formatRequest(request)}`);
        const refuse = () => {
          this.#bench.letters.push({
            from: to,
            to: this.id,
            deliver: () => {
              if (!isSame()) return;
              this.#bench.lines.push(`${to} -> ${this.id}: connection lost`);
              const { nowMs } = this.#bench;
              this.step(() => raft.failed(requestId, { isRefused: true }, nowMs));
            },
          });
        };
        target.#waiting.push(refuse);
        target.receive(request, (answer) => {
          target.#waiting = target.#waiting.filter((other) => other !== refuse);
          this.#bench.letters.push({
            from: to,
            to: this.id,
            deliver: (isAnswerLost) => {
              if (!isSame()) return;
              const { nowMs } = this.#bench;
              const text = `${to} -> ${this.id}: ${formatAnswer(answer)}`;
              this.#bench.lines.push(isAnswerLost ? `${text} LOST` : text);
              if (isAnswerLost) {
                this.step(() => raft.failed(requestId, { isRefused: false }, nowMs));
              } else this.step(() => raft.answered(requestId, answer, nowMs));
            },
          });
        });
      },
    });
  }

  receive(request: RaftRequest, answered: (answer: RaftAnswer) => void): void {
    if (request.kind === "probe") {
      answered({ kind: "probe", error: ErrorCode.NONE, minKraftVersion: 0, maxKraftVersion: 1 });
      return;
    }
    const handle = this.#nextHandle++;
    this.#handles.set(handle, (decision) => answered(this.#materialize(decision)));
    const { nowMs } = this.#bench;
    this.step((raft) => {
      switch (request.kind) {
        case "vote":
          return raft.vote(handle, request, nowMs);
        case "beginQuorumEpoch":
          return raft.beginQuorumEpoch(handle, request, nowMs);
        case "endQuorumEpoch":
          return raft.endQuorumEpoch(handle, request, nowMs);
        case "fetch":
          return raft.fetch(handle, request, nowMs);
        case "fetchSnapshot":
          return raft.fetchSnapshot(handle, request, nowMs);
        case "updateVoter":
          return raft.updateVoter(handle, request, nowMs);
      }
    });
  }

  #materialize(decision: RaftDecision): RaftAnswer {
    assert(decision.kind !== "voterChange");
    if (decision.kind === "fetchSnapshot") {
      return { ...decision, sizeBytes: 20, bytes: new Uint8Array(10) };
    }
    if (decision.kind !== "fetch") return decision;
    const from = decision.readFrom ?? this.#endOffset;
    const entries = this.#entries.slice(from - this.#startOffset);
    const batches: FetchedBatch[] = entries.map(({ epoch, changes }, i) => (
      { baseOffset: from + i, lastOffset: from + i, epoch, changes }
    ));
    return { ...decision, records: new TextEncoder().encode(JSON.stringify(entries)), batches };
  }

  describe(): string {
    const raft = this.#raft;
    const log = this.#entries.map(({ epoch, text }) => `${epoch}${text === "record" ? "" : "*"}`);
    const bounds = `log ${this.#startOffset}:[${log.join(" ")}] synced=${this.#syncedOffset}`;
    if (raft === null) return `${this.id}: down, ${bounds}`;
    return `${this.id}: ${raft.role} epoch=${raft.epoch} leader=${raft.leaderId} ` +
      `voters=${raft.voters.ids.join(",")} committed=${raft.highWatermark} ${bounds}`;
  }
}

function revive(entry: Entry): Entry {
  const changes = entry.changes.map((change) =>
    change.kind === "voters" ? { ...change, voters: new VoterSet(change.voters.voters) } : change
  );
  return { ...entry, changes };
}

function describeControl(record: NewControlRecord, offset: number): Omit<Entry, "epoch"> {
  if (record.type === "voters") {
    const voters = votersOf(record.message as Parameters<typeof votersOf>[0]);
    return {
      text: `voters ${voters.ids.join(",")}`,
      changes: [{ kind: "voters", offset, voters }],
    };
  }
  if (record.type !== "kraftVersion") return { text: record.type, changes: [] };
  const version = record.message.kRaftVersion;
  return { text: `kraft.version ${version}`, changes: [{ kind: "kraftVersion", offset, version }] };
}

function formatRequest(request: RaftRequest): string {
  switch (request.kind) {
    case "vote": {
      const { candidateEpoch, last, isPreVote } = request;
      const what = isPreVote ? "pre-vote?" : "vote?";
      return `${what} epoch=${candidateEpoch} end=${last.offset}@${last.epoch}`;
    }
    case "beginQuorumEpoch":
      return `begins epoch ${request.leaderEpoch}`;
    case "endQuorumEpoch": {
      const ids = request.preferredCandidates.map(({ id }) => id);
      return `ends epoch ${request.leaderEpoch}, then ${ids.join(",")}`;
    }
    case "fetch":
      return `fetch from ${request.last.offset}@${request.last.epoch} epoch=${request.currentLeaderEpoch}`;
    case "fetchSnapshot":
      return `fetch snapshot ${request.snapshotId.offset} from byte ${request.position}`;
    case "updateVoter":
    case "probe":
      return request.kind;
  }
}

function formatAnswer(answer: RaftAnswer): string {
  if (answer.kind === "probe") return "probe answered";
  const { error, leaderId, leaderEpoch } = answer;
  const head = `${errorName(error)} epoch=${leaderEpoch} leader=${leaderId}`;
  if (error !== ErrorCode.NONE) return head;
  switch (answer.kind) {
    case "vote":
      return `${answer.isGranted ? "granted" : "rejected"} epoch=${leaderEpoch} leader=${leaderId}`;
    case "fetch": {
      const { diverging, snapshotId, highWatermark, batches } = answer;
      if (diverging !== null) return `diverges at ${diverging.offset}@${diverging.epoch}`;
      if (snapshotId !== null) return `see snapshot ${snapshotId.offset}@${snapshotId.epoch}`;
      return `${batches.length} records, committed up to ${highWatermark}`;
    }
    case "fetchSnapshot":
      return `bytes ${answer.position}..${
        answer.position + answer.bytes.length
      } of ${answer.sizeBytes}`;
    case "beginQuorumEpoch":
    case "endQuorumEpoch":
    case "updateVoter":
      return head;
  }
}

/**
 * The replicated log of metadata, `__cluster_metadata-0`: who may write, and what is committed.
 *
 * Today a quorum of one: this node votes for itself, so its epoch begins as soon as that vote is on
 * stable storage, and a record is committed as soon as it is. Above this file nothing knows that: the
 * controller appends, hears of commits and of leadership, and never looks at the log. Raft slips in here,
 * between `append` and the commit.
 *
 *     append(records) ──→ log ──sync──→ high watermark ──→ handleCommit(batch), then the append's promise
 *
 * Invariants: nothing is handed to the listener before it is on stable storage; batches reach it in the
 * order of their offsets, each once, first those replayed at start; the promise of an append resolves
 * after the listener has heard of it.
 *
 * Files: the segments of the log, and `quorum-state`, one JSON object as Kafka writes it, replaced
 * atomically and synced before the epoch in it is used.
 *
 * Source: KIP-595 (Raft over Kafka's log), KIP-853 (quorum-state version 1, voters).
 */

import assert from "node:assert/strict";
import { WireError } from "../../protocol/bytes.ts";
import { buildControlBatch } from "../../protocol/control_records.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { buildBatch } from "../../protocol/records.ts";
import {
  type LeaderEpoch,
  leaderEpoch,
  type Offset,
  offset,
  ZERO_UUID,
} from "../../protocol/types.ts";
import { readSmallText, textBytes, writeFileAtomically } from "../../storage/checkpoint.ts";
import type { Log } from "../../storage/log.ts";
import { DEFAULT_LOG_CONFIG, type LogConfig } from "../../storage/log_config.ts";
import { type Clock, type Disk, DiskError, type Logger } from "../../storage/platform.ts";
import {
  decodeMetadataRecord,
  encodeMetadataRecord,
  type MetadataRecord,
} from "./metadata_records.ts";
import { MAX_METADATA_BATCH_BYTES, type MetadataBatch, replayMetadata } from "./metadata_replay.ts";

const QUORUM_STATE_FILE = "quorum-state";
const QUORUM_STATE_VERSION = 1;
const LEADER_CHANGE_VERSION = 0;
const MAX_PENDING_APPENDS = 1000;

/** Name of the metadata log's topic; it has one partition and is in no image. */
export const METADATA_TOPIC = "__cluster_metadata";

/** How the metadata log is kept: whole, until snapshots take the place of its start. */
export const METADATA_LOG_CONFIG: LogConfig = {
  ...DEFAULT_LOG_CONFIG,
  maxMessageBytes: MAX_METADATA_BATCH_BYTES,
  retentionMs: -1,
  retentionBytes: -1,
};

/** What the quorum tells the one who keeps the image. Calls never overlap. */
export interface QuorumListener {
  /** A batch is committed: on stable storage of a majority. */
  handleCommit(batch: MetadataBatch): void;
  /** Everything in the log was handed over and nothing was written yet. Throws what makes it unusable. */
  handleReplayed(): void;
  /** Everything committed before `leaderEpoch` has been handed over; −1 is "no leader is known". */
  handleLeaderChange(leaderId: number, leaderEpoch: LeaderEpoch): void;
  /** The log cannot be written any more; nothing will be committed until a restart. */
  handleFailure(message: string): void;
}

/** How an append ended. */
export type CommitOutcome =
  | { readonly error: typeof ErrorCode.NONE }
  | { readonly error: ErrorCode; readonly message: string };

/** Records on their way into the log. */
export interface PreparedBatch {
  readonly batch: MetadataBatch;
  /** The encoded records. */
  readonly values: readonly Uint8Array[];
}

/** An append that was taken in, or not. */
export type AppendOutcome =
  | {
    readonly error: typeof ErrorCode.NONE;
    /** Resolves when the batch is committed, after `handleCommit`, or when it never will be. */
    readonly committed: Promise<CommitOutcome>;
  }
  | { readonly error: ErrorCode; readonly message: string };

/** What the quorum needs. */
export interface QuorumOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The log of `__cluster_metadata-0`, opened with `METADATA_LOG_CONFIG`. */
  readonly log: Log;
  readonly nodeId: number;
}

interface PendingAppend {
  readonly lastOffset: Offset;
  /** Null for the control record at the start of an epoch. */
  readonly batch: MetadataBatch | null;
  readonly resolve: (outcome: CommitOutcome) => void;
}

/** The replicated log of metadata. */
export class Quorum {
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #log: Log;
  readonly #nodeId: number;
  #listener: QuorumListener | null = null;
  #leaderEpoch: LeaderEpoch = leaderEpoch(-1);
  /** Set for good once nothing can be written any more. */
  #failure: { readonly error: ErrorCode; readonly message: string } | null = null;
  /** In order of offsets. */
  readonly #pending: PendingAppend[] = [];
  #stopListening: () => void = () => {};

  private constructor(options: QuorumOptions) {
    this.#disk = options.disk;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#log = options.log;
    this.#nodeId = options.nodeId;
  }

  /**
   * Replays the log into `listener`, in bounded memory, and begins a new epoch with this node as its leader.
   * A log that cannot be used is left as it was found.
   *
   * Returns: when the new epoch, and so all that was replayed, is on stable storage.
   * Errors: DiskError, also for a damaged batch; WireError when a record of the log cannot be read, or
   * others have a vote.
   */
  static async start(options: QuorumOptions, listener: QuorumListener): Promise<Quorum> {
    const quorum = new Quorum(options);
    const { disk, log, nodeId } = options;
    const handleCommit = (batch: MetadataBatch) => listener.handleCommit(batch);
    const voterIds = replayMetadata({ disk, log, handleCommit }) ?? [nodeId];
    if (voterIds.length !== 1 || voterIds[0] !== nodeId) {
      throw new WireError(
        `Cannot use the metadata log: its quorum has the voters ${voterIds.join(", ")}, and this ` +
          `version runs node ${nodeId} as the only one; remove the others from the quorum with the ` +
          "version that wrote it, or leave the directory to that version",
      );
    }
    listener.handleReplayed();
    await quorum.#becomeLeader();
    quorum.#listener = listener;
    listener.handleLeaderChange(quorum.#nodeId, quorum.#leaderEpoch);
    return quorum;
  }

  /** Node that leads the quorum; −1 when none is known. */
  get leaderId(): number {
    return this.#nodeId;
  }
  get leaderEpoch(): LeaderEpoch {
    return this.#leaderEpoch;
  }
  get isLeader(): boolean {
    return this.#failure === null;
  }
  /** The first offset that is not committed yet. */
  get highWatermark(): Offset {
    return this.#log.syncedOffset;
  }
  get logEndOffset(): Offset {
    return this.#log.endOffset;
  }

  /**
   * Encodes records as the batch that they would be if they were appended next.
   *
   * What is in the batch was decoded from what will be written, so what is applied now and what a replay
   * gives cannot differ.
   */
  prepare(records: readonly MetadataRecord[]): PreparedBatch {
    assert(records.length > 0, "a batch of nothing");
    const values = records.map(encodeMetadataRecord);
    const baseOffset = this.#log.endOffset;
    const batch: MetadataBatch = {
      baseOffset,
      lastOffset: offset(baseOffset + records.length - 1),
      leaderEpoch: this.#leaderEpoch,
      timestampMs: this.#clock.wallMs(),
      records: values.map(decodeMetadataRecord),
    };
    return { batch, values };
  }

  /**
   * Writes a batch that was prepared just now: all of its records are committed, or none is.
   *
   * Synchronous up to the log, so the order of appends is the order of calls.
   */
  append({ batch, values }: PreparedBatch): AppendOutcome {
    assert(this.#listener !== null, "append before the start");
    if (this.#failure !== null) return this.#failure;
    if (this.#pending.length >= MAX_PENDING_APPENDS) {
      return {
        error: ErrorCode.REQUEST_TIMED_OUT,
        message: `The controller has ${MAX_PENDING_APPENDS} changes in flight; try again later.`,
      };
    }
    const written = this.#write(buildBatch({
      records: values.map((value) => ({ key: null, value, timestamp: batch.timestampMs })),
      partitionLeaderEpoch: batch.leaderEpoch,
    }));
    if (typeof written === "string") {
      return { error: ErrorCode.KAFKA_STORAGE_ERROR, message: written };
    }
    assert(written.lastOffset === batch.lastOffset, "another append between prepare and append");
    const { promise, resolve } = Promise.withResolvers<CommitOutcome>();
    this.#pending.push({ lastOffset: batch.lastOffset, batch, resolve });
    this.#log.sync();
    return { error: ErrorCode.NONE, committed: promise };
  }

  /** Stops committing; what was not committed until now is answered as not done. The log stays open. */
  stop(): void {
    this.#stopListening();
    this.#end(ErrorCode.NOT_CONTROLLER, "The controller is shutting down.");
  }

  #write(bytes: Uint8Array): { baseOffset: Offset; lastOffset: Offset } | string {
    const result = this.#log.appendAsLeader(bytes, {
      leaderEpoch: this.#leaderEpoch,
      origin: "raft",
    });
    if ("baseOffset" in result) {
      return { baseOffset: result.baseOffset, lastOffset: result.lastOffset };
    }
    return `Cannot write to ${METADATA_TOPIC}: ${result.message}`;
  }

  async #becomeLeader(): Promise<void> {
    const lastEpoch = Math.max(this.#readQuorumState(), this.#log.leaderEpochs.latestEpoch, 0);
    this.#leaderEpoch = leaderEpoch(lastEpoch + 1);
    const state = {
      leaderId: this.#nodeId,
      leaderEpoch: this.#leaderEpoch,
      votedId: -1,
      votedDirectoryId: ZERO_UUID,
      data_version: QUORUM_STATE_VERSION,
    };
    const path = this.#quorumStatePath();
    await writeFileAtomically(this.#disk, path, textBytes(JSON.stringify(state)));
    const stopSynced = this.#log.onSynced(() => this.#handleSynced());
    const stopOffline = this.#log.onOffline((reason) => this.#fail(reason));
    this.#stopListening = () => {
      stopSynced();
      stopOffline();
    };
    const voter = { voterId: this.#nodeId };
    const written = this.#write(buildControlBatch({
      records: [{
        type: "leaderChange",
        message: {
          version: LEADER_CHANGE_VERSION,
          leaderId: this.#nodeId,
          voters: [voter],
          grantingVoters: [voter],
        },
      }],
      partitionLeaderEpoch: this.#leaderEpoch,
      timestamp: this.#clock.wallMs(),
    }));
    if (typeof written === "string") throw new DiskError(written, "EIO");
    const { promise, resolve } = Promise.withResolvers<CommitOutcome>();
    this.#pending.push({ lastOffset: written.lastOffset, batch: null, resolve });
    this.#log.sync();
    const outcome = await promise;
    if (outcome.error !== ErrorCode.NONE) throw new DiskError(outcome.message, "EIO");
  }

  #quorumStatePath(): string {
    return `${this.#log.directory}/${QUORUM_STATE_FILE}`;
  }

  /**
   * The epoch that `quorum-state` names, −1 for none.
   *
   * A file that cannot be read is no reason to stay down: the only vote it could hold is our own for
   * ourselves, and the log knows the last epoch in which anything was written.
   */
  #readQuorumState(): number {
    const path = this.#quorumStatePath();
    const text = readSmallText(this.#disk, path);
    if (text === null) return -1;
    try {
      const state: unknown = JSON.parse(text);
      if (typeof state === "object" && state !== null && "leaderEpoch" in state) {
        if (Number.isSafeInteger(state.leaderEpoch)) return state.leaderEpoch as number;
      }
    } catch {
      // Falls through to the warning.
    }
    this.#logger.warn("The quorum state file is damaged; its epoch is taken from the log", {
      path,
    });
    return -1;
  }

  #handleSynced(): void {
    while (this.#pending.length > 0) {
      const { lastOffset, batch, resolve } = this.#pending[0]!;
      // What was appended during the sync that has just ended has asked for the next one.
      if (lastOffset >= this.#log.syncedOffset) return;
      this.#pending.shift();
      if (batch !== null) this.#listener!.handleCommit(batch);
      resolve({ error: ErrorCode.NONE });
    }
  }

  #fail(message: string): void {
    if (this.#failure !== null) return;
    this.#listener?.handleFailure(message);
    this.#end(ErrorCode.KAFKA_STORAGE_ERROR, message);
  }

  #end(error: ErrorCode, message: string): void {
    this.#failure = { error, message };
    for (const { resolve } of this.#pending.splice(0)) resolve({ error, message });
  }
}

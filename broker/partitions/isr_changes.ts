/**
 * Asks the controller for other in-sync replicas, for all partitions that this node leads (AlterPartition).
 *
 *     propose(a) ──→ sent ─────────────────→ answered: written, refused, fenced
 *     propose(b), propose(c) … meanwhile ──→ sent together, once that one is answered
 *                                └──→ lost: again, until it is answered or the partition's epoch has moved
 *
 * A request that got lost may still be done, even after the one that was sent in its place was refused: its
 * bytes may lie before a controller that was stopped for a while. So a refusal is believed at once only where
 * every request before it was answered; else the proposal stays, and with it all that it holds back, until such a
 * request has had its time.
 *
 * Invariants: one request is under way; a proposal that is not its partition's any more is not sent again.
 *
 * Source: KIP-497, Kafka's DefaultAlterPartitionManager.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode, errorName } from "../../protocol/errors.ts";
import {
  alterPartitionRequest,
  type AlterPartitionResponse,
  alterPartitionResponse,
} from "../../protocol/schemas/alter_partition.ts";
import { leaderEpoch, type Uuid } from "../../protocol/types.ts";
import type { Clock, Logger } from "../../storage/platform.ts";
import type { ControllerChannel } from "../controller/controller_channel.ts";
import { NetworkError } from "../network.ts";
import { call } from "../peers/call.ts";
import type { IsrOutcome, Partition } from "./partition.ts";
import type { IsrProposal } from "./replica_set.ts";

/** With the incarnations of the members: before, a replica that had restarted could join. */
const ALTER_PARTITION = call(
  ApiKey.AlterPartition,
  alterPartitionRequest,
  alterPartitionResponse,
  { lowest: 3 },
);
const TIMEOUT_MS = 5_000;
const RETRY_MS = 50;
/** How long a request that got lost may still be done. */
const LOST_REQUEST_MS = 10_000;
/** Partitions in one request. */
const MAX_BATCH = 1000;
/** Changes of one answer that are told one by one. */
const MAX_TOLD = 8;
/** Where a lost election is over, the leader says so with the first ISR that it asks for. */
const RECOVERED = 0;

type PartitionAnswer = AlterPartitionResponse["topics"][number]["partitions"][number];

/** What the changes are sent with. */
export interface IsrChangesOptions {
  readonly nodeId: number;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly channel: Pick<ControllerChannel, "call">;
  /** The epoch of this node's registration. */
  readonly brokerEpoch: () => number;
}

interface Pending {
  readonly partition: Partition;
  proposal: IsrProposal;
  isSent: boolean;
  /** When it was last sent without an answer. */
  lostAtMs: number;
}

/** A proposal that was answered for good. */
interface Settled {
  readonly partition: Partition;
  readonly proposal: IsrProposal;
  readonly error: ErrorCode;
}

/** The changes that this node has asked for. */
export class IsrChanges {
  readonly #options: IsrChangesOptions;
  readonly #pending = new Map<Partition, Pending>();
  readonly #closing = new AbortController();
  #sending: Promise<void> | null = null;

  constructor(options: IsrChangesOptions) {
    this.#options = options;
  }

  /** Sends a proposal; `Partition.isrAnswered` hears what became of it. */
  propose(partition: Partition, proposal: IsrProposal): void {
    if (this.#closing.signal.aborted) return;
    this.#pending.set(partition, {
      partition,
      proposal,
      isSent: false,
      lostAtMs: -Infinity,
    });
    this.#sending ??= this.#send().finally(() => {
      this.#sending = null;
    });
  }

  /** Sends nothing any more. Returns: when nothing is under way. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#pending.clear();
    await this.#sending;
  }

  async #send(): Promise<void> {
    // What else this turn of the loop proposes goes along.
    await Promise.resolve();
    for (;;) {
      for (const [partition, { proposal }] of this.#pending) {
        if (partition.replicas?.proposal !== proposal) this.#pending.delete(partition);
      }
      if (this.#pending.size === 0) return;
      const batch = [...this.#pending.values()].slice(0, MAX_BATCH);
      for (const pending of batch) {
        // One that was sent before may still be done as it was.
        if (!pending.isSent) pending.proposal = pending.partition.widenProposal(pending.proposal);
        pending.isSent = true;
      }
      if (!await this.#sendBatch(batch)) {
        await this.#options.clock.sleep(RETRY_MS, this.#closing.signal);
      }
    }
  }

  /** Returns: false when some of it has to be sent again. */
  async #sendBatch(batch: readonly Pending[]): Promise<boolean> {
    const { channel, clock, logger } = this.#options;
    let answer: AlterPartitionResponse;
    try {
      answer = await channel.call(ALTER_PARTITION, this.#request(batch), { timeoutMs: TIMEOUT_MS });
    } catch (failure) {
      if (!(failure instanceof NetworkError)) throw failure;
      for (const pending of batch) pending.lostAtMs = clock.monotonicMs();
      return false;
    }
    if (answer.errorCode !== ErrorCode.NONE) {
      logger.warn("The controller does not change in-sync replicas", {
        error: errorName(answer.errorCode),
      });
      return false;
    }
    const answers = new Map<string, PartitionAnswer>();
    for (const { topicId, partitions } of answer.topics) {
      for (const one of partitions) answers.set(keyOf(topicId, one.partitionIndex), one);
    }
    const settled: Settled[] = [];
    for (const pending of batch) {
      const { topicId, partition } = pending.partition;
      const found = answers.get(keyOf(topicId, partition));
      const one = found === undefined ? null : this.#settle(pending, found);
      if (one !== null) settled.push(one);
    }
    this.#tell(settled);
    return settled.length === batch.length;
  }

  /** An election over thousands of partitions needs no line for each. */
  #tell(settled: readonly Settled[]): void {
    const { logger } = this.#options;
    for (const isChanged of [true, false]) {
      const all = settled.filter((one) => (one.error === ErrorCode.NONE) === isChanged);
      const text = `In-sync replicas are ${isChanged ? "changed" : "not changed"}`;
      for (const { partition: { log }, proposal, error } of all.slice(0, MAX_TOLD)) {
        const isr = proposal.isr.map(({ brokerId }) => brokerId);
        logger.info(text, { partition: log.name, isr, error: errorName(error) });
      }
      if (all.length > MAX_TOLD) logger.info(text, { partitionsBeside: all.length - MAX_TOLD });
    }
  }

  #request(batch: readonly Pending[]) {
    const topics = new Map<Uuid, Pending[]>();
    for (const pending of batch) {
      const { topicId } = pending.partition;
      const known = topics.get(topicId);
      if (known === undefined) topics.set(topicId, [pending]);
      else known.push(pending);
    }
    return {
      brokerId: this.#options.nodeId,
      brokerEpoch: this.#options.brokerEpoch(),
      topics: [...topics].map(([topicId, partitions]) => ({
        topicId,
        partitions: partitions.map(({ partition, proposal }) => ({
          partitionIndex: partition.partition,
          leaderEpoch: proposal.leaderEpoch,
          newIsrWithEpochs: proposal.isr,
          leaderRecoveryState: RECOVERED,
          partitionEpoch: proposal.partitionEpoch,
        })),
      })),
    };
  }

  /** Null when it has to be sent again. */
  #settle(pending: Pending, answer: PartitionAnswer): Settled | null {
    const { partition, proposal, lostAtMs } = pending;
    const outcome = outcomeOf(answer);
    if (outcome === null) return null;
    const nowMs = this.#options.clock.monotonicMs();
    if (outcome.kind === "refused" && nowMs - lostAtMs < LOST_REQUEST_MS) return null;
    if (this.#pending.get(partition) === pending) this.#pending.delete(partition);
    partition.isrAnswered(proposal, outcome);
    return { partition, proposal, error: answer.errorCode as ErrorCode };
  }
}

/** Null where it has to be sent again. */
function outcomeOf(answer: PartitionAnswer): IsrOutcome | null {
  switch (answer.errorCode) {
    case ErrorCode.NONE:
      return {
        kind: "written",
        state: {
          leader: answer.leaderId,
          leaderEpoch: leaderEpoch(answer.leaderEpoch),
          isr: answer.isr,
          leaderRecoveryState: answer.leaderRecoveryState,
          partitionEpoch: answer.partitionEpoch,
        },
      };
    case ErrorCode.INELIGIBLE_REPLICA:
    case ErrorCode.INVALID_REQUEST:
    case ErrorCode.OPERATION_NOT_ATTEMPTED:
      return { kind: "refused" };
    case ErrorCode.FENCED_LEADER_EPOCH:
    case ErrorCode.NEW_LEADER_ELECTED:
      return { kind: "fenced" };
    case ErrorCode.INVALID_UPDATE_VERSION:
    case ErrorCode.UNKNOWN_TOPIC_ID:
    case ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
      return { kind: "unknown" };
    default:
      return null;
  }
}

function keyOf(topicId: Uuid, partition: number): string {
  return `${topicId}/${partition}`;
}

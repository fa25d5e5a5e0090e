/**
 * Makes a controller a voter without anybody asking for it (`controller.quorum.auto.join.enable`): it asks the leader
 * itself, as soon as it follows. Where the voters name this node with another directory, that was its old disk: it is
 * taken out first.
 *
 *     no vote ──→ named with another directory? ── yes ──→ RemoveRaftVoter ──→ again
 *                                               └─ no ───→ AddRaftVoter ─────→ again, until it is a voter
 *
 * Invariants: one request at a time is under way; nothing is sent after `close`, nor where `kraft.version` is 0.
 *
 * Source: KIP-1186.
 */

import { ErrorCode, errorName } from "../../protocol/errors.ts";
import { type Uuid, ZERO_UUID } from "../../protocol/types.ts";
import type { Clock, Logger, Timer } from "../../storage/platform.ts";
import { NetworkError } from "../network.ts";
import { ControllerCalls } from "./controller_calls.ts";
import type { ControllerChannel } from "./controller_channel.ts";
import { isSameReplica, type VoterEndpoint, type VoterSet } from "./raft_voters.ts";

/** What it needs. */
export interface AutoJoinOptions {
  readonly nodeId: number;
  /** Of the metadata log. */
  readonly directoryId: Uuid;
  readonly endpoints: readonly VoterEndpoint[];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly channel: Pick<ControllerChannel, "call">;
  /** The quorum, as this node knows it. */
  readonly quorum: () => {
    readonly voters: VoterSet;
    readonly kraftVersion: number;
    readonly leaderId: number;
  };
  /** Time between two looks. Units: ms. */
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

/** Asks for a vote until this controller has one. */
export class AutoJoin {
  readonly #options: AutoJoinOptions;
  #timer: Timer | null = null;
  #request: Promise<void> | null = null;
  #isClosed = false;

  constructor(options: AutoJoinOptions) {
    this.#options = options;
    this.#lookLater();
  }

  /** Sends nothing any more. Returns: when the request under way has ended, which its channel sees to. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.#request;
  }

  #lookLater(): void {
    if (this.#isClosed) return;
    const { clock, intervalMs } = this.#options;
    this.#timer = clock.timer(intervalMs, () => {
      this.#request = this.#look().then(() => this.#lookLater());
    });
  }

  async #look(): Promise<void> {
    const { nodeId, directoryId, quorum } = this.#options;
    const { voters, kraftVersion, leaderId } = quorum();
    if (kraftVersion < 1 || leaderId === -1 || leaderId === nodeId) return;
    const named = voters.get(nodeId);
    if (named === undefined) await this.#add();
    else if (
      named.directoryId !== ZERO_UUID && !isSameReplica(named, { id: nodeId, directoryId })
    ) await this.#remove(named.directoryId);
  }

  async #add(): Promise<void> {
    const { nodeId, directoryId, endpoints, channel, timeoutMs } = this.#options;
    await this.#ask(
      "Cannot get a vote in the quorum yet",
      () =>
        channel.call(ControllerCalls.addRaftVoter, {
          clusterId: null,
          timeoutMs,
          voterId: nodeId,
          voterDirectoryId: directoryId,
          listeners: endpoints,
          ackWhenCommitted: false,
        }, { timeoutMs }),
    );
  }

  async #remove(oldDirectoryId: Uuid): Promise<void> {
    const { nodeId, channel, timeoutMs, logger } = this.#options;
    logger.info("The vote of this node belongs to a directory that it has no more", {
      oldDirectoryId,
    });
    await this.#ask(
      "Cannot take the vote of the old directory away yet",
      () =>
        channel.call(ControllerCalls.removeRaftVoter, {
          clusterId: null,
          voterId: nodeId,
          voterDirectoryId: oldDirectoryId,
        }, { timeoutMs }),
    );
  }

  async #ask(
    problem: string,
    request: () => Promise<{ readonly errorCode: number; readonly errorMessage: string | null }>,
  ): Promise<void> {
    const { logger } = this.#options;
    try {
      const { errorCode, errorMessage } = await request();
      if (errorCode === ErrorCode.NONE) return;
      logger.info(problem, { error: errorName(errorCode as ErrorCode), reason: errorMessage });
    } catch (failure) {
      if (!(failure instanceof NetworkError)) throw failure;
      logger.debug(problem, { reason: failure.message });
    }
  }
}

/**
 * Tells the controller in which log directory each replica lies, many in one batch.
 *
 *     assign(a) ──→ sent alone ─────────────→ answered
 *     assign(b), assign(c) … meanwhile ──→ sent together, once that one is answered
 *
 * Each batch is a commit of the metadata, which every node then applies, and news to fetchers. So where many
 * replicas are made a batch waits a little for more of them: a millisecond for each that the one before had.
 */

import { ErrorCode } from "../../protocol/errors.ts";
import type { Clock } from "../../storage/platform.ts";
import type { Controller } from "../controller/controller.ts";
import type { DirectoryAssignment } from "../controller/directory_assignments.ts";

/** The most in one batch. */
const MAX_BATCH = 2000;
const MAX_LINGER_MS = 100;

interface Waiting {
  readonly assignment: DirectoryAssignment;
  readonly answer: (error: ErrorCode) => void;
}

/** Assigns the replicas of one node to its log directories. */
export class DirectoryAssigner {
  readonly #controller: Pick<Controller, "assignReplicasToDirs">;
  readonly #nodeId: number;
  readonly #clock: Clock;
  #waiting: Waiting[] = [];
  #isSending = false;

  constructor(
    { controller, nodeId, clock }: {
      readonly controller: Pick<Controller, "assignReplicasToDirs">;
      readonly nodeId: number;
      readonly clock: Clock;
    },
  ) {
    this.#controller = controller;
    this.#clock = clock;
    this.#nodeId = nodeId;
  }

  /** Resolves with NONE once the metadata durably says so, or with why it does not. */
  assign(assignment: DirectoryAssignment): Promise<ErrorCode> {
    return new Promise((answer) => {
      this.#waiting.push({ assignment, answer });
      if (!this.#isSending) void this.#send();
    });
  }

  async #send(): Promise<void> {
    this.#isSending = true;
    // What else this turn of the loop assigns goes along.
    await Promise.resolve();
    let lingerMs = 0;
    while (this.#waiting.length > 0) {
      if (lingerMs > 1) await this.#clock.sleep(lingerMs);
      const batch = this.#waiting.splice(0, MAX_BATCH);
      const results = await this.#controller.assignReplicasToDirs(
        this.#nodeId,
        batch.map(({ assignment }) => assignment),
      );
      for (const [i, { answer }] of batch.entries()) {
        answer(results[i]?.error ?? ErrorCode.UNKNOWN_SERVER_ERROR);
      }
      lingerMs = Math.min(batch.length, MAX_LINGER_MS);
    }
    this.#isSending = false;
  }
}

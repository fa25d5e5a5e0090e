/**
 * Tells the controller in which log directory each replica lies, many in one batch.
 *
 *     assign(a) ──→ sent alone ─────────────→ answered
 *     assign(b), assign(c) … meanwhile ──→ sent together, once that one is answered
 */

import { ErrorCode } from "../../protocol/errors.ts";
import type { Controller } from "../controller/controller.ts";
import type { DirectoryAssignment } from "../controller/directory_assignments.ts";

/** The most in one batch. */
const MAX_BATCH = 2000;

interface Waiting {
  readonly assignment: DirectoryAssignment;
  readonly answer: (error: ErrorCode) => void;
}

/** Assigns the replicas of one node to its log directories. */
export class DirectoryAssigner {
  readonly #controller: Pick<Controller, "assignReplicasToDirs">;
  readonly #nodeId: number;
  #waiting: Waiting[] = [];
  #isSending = false;

  constructor(
    { controller, nodeId }: {
      readonly controller: Pick<Controller, "assignReplicasToDirs">;
      readonly nodeId: number;
    },
  ) {
    this.#controller = controller;
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
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, MAX_BATCH);
      const results = await this.#controller.assignReplicasToDirs(
        this.#nodeId,
        batch.map(({ assignment }) => assignment),
      );
      for (const [i, { answer }] of batch.entries()) {
        answer(results[i]?.error ?? ErrorCode.UNKNOWN_SERVER_ERROR);
      }
    }
    this.#isSending = false;
  }
}

/**
 * A member of a consumer group that a socket's subscription reads as: it joins, is given partitions, gives them up when
 * the members share them anew, and joins again, until it is closed. What was sent and not acknowledged comes again,
 * here or with another member: at least once.
 */

import type { Clock } from "../../../storage/platform.ts";
import type { GroupOffset } from "../../client/group_member.ts";
import { GroupMember } from "../../client/group_member.ts";
import type { KafkaClient } from "../../client/kafka_client.ts";

/** How long a member may not notice that it has to join again. */
const LOOK_EVERY_MS = 100;
const SESSION_TIMEOUT_MS = 15_000;
const REBALANCE_TIMEOUT_MS = 15_000;

/** What a reader needs. */
export interface GroupReaderOptions {
  readonly client: KafkaClient;
  readonly clock: Clock;
  readonly groupId: string;
  readonly topic: string;
  /** Partitions are this member's now, with the offsets that are committed; −1 for none. */
  readonly assigned: (partitions: readonly GroupOffset[]) => Promise<void>;
  readonly revoked: () => void;
  /** It cannot go on. */
  readonly failed: (error: unknown) => void;
}

/** Reads as a member of a group. */
export class GroupReader {
  readonly #options: GroupReaderOptions;
  /** A join is answered when all members have joined: their heartbeats must not wait behind it. */
  readonly #client: KafkaClient;
  readonly #member: GroupMember;
  readonly #closing = new AbortController();
  readonly #cutOff = new AbortController();
  #isJoining = false;

  constructor(options: GroupReaderOptions) {
    this.#options = options;
    const { client, groupId, topic } = options;
    this.#client = client.fork(this.#cutOff.signal);
    this.#member = new GroupMember(this.#client, {
      groupId,
      topic,
      sessionTimeoutMs: SESSION_TIMEOUT_MS,
      rebalanceTimeoutMs: REBALANCE_TIMEOUT_MS,
    });
  }

  /** Reads until `close`. Never rejects. */
  async run(): Promise<void> {
    const { clock, assigned, revoked, failed } = this.#options;
    try {
      while (!this.#closing.signal.aborted) {
        this.#isJoining = true;
        const partitions = await this.#member.join();
        this.#isJoining = false;
        const committed = partitions.length === 0 ? [] : await this.#member.committed(partitions);
        if (this.#closing.signal.aborted) break;
        await assigned(committed);
        while (!this.#member.mustRejoin && !this.#closing.signal.aborted) {
          await clock.sleep(LOOK_EVERY_MS, this.#closing.signal);
        }
        if (!this.#closing.signal.aborted) revoked();
      }
    } catch (error) {
      if (!this.#closing.signal.aborted) failed(error);
    }
    // The others need not wait for the session to run out.
    await this.#member.leave().catch(() => undefined);
    await this.#client.close();
  }

  /** Commits. Does nothing where the partitions are another member's by now. Errors: those of the client. */
  async commit(offsets: readonly GroupOffset[]): Promise<void> {
    await this.#member.commit(offsets);
  }

  /** Ends `run`. */
  close(): void {
    this.#closing.abort();
    if (!this.#isJoining) return;
    // Whether it joined is not known: the group finds out by its silence.
    this.#cutOff.abort();
    void this.#client.close();
  }
}

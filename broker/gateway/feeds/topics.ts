/**
 * Topics as feeds see them: the id of a name and the leaders of its partitions. What was asked a moment ago is not asked
 * again: thousands may subscribe to one topic at once.
 */

import { ErrorCode } from "../../../protocol/errors.ts";
import type { Uuid } from "../../../protocol/types.ts";
import type { Clock } from "../../../storage/platform.ts";
import { type KafkaClient, type Leader, throwOnError } from "../../client/kafka_client.ts";

/** How old an answer may be where nothing has gone wrong since. */
const MAX_AGE_MS = 1000;
const MAX_TOPICS = 1000;

/** Nobody leads, as far as is known. */
export const NOBODY: Leader = { leaderId: -1, leaderEpoch: -1 };

/** A topic as a broker described it. */
export interface FoundTopic {
  readonly name: string;
  readonly topicId: Uuid;
  /** Shape: by partition. */
  readonly leaders: readonly Leader[];
}

interface Known {
  readonly askedAtMs: number;
  readonly found: Promise<FoundTopic | null>;
}

/** Looks topics up. */
export class Topics {
  readonly #clock: Clock;
  readonly #known = new Map<string, Known>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * A topic; null when there is none of that name. With `sinceMs`, as it was at that time or later.
   * Errors: rejects with KafkaError or NetworkError.
   */
  async find(client: KafkaClient, name: string, sinceMs = -Infinity): Promise<FoundTopic | null> {
    const nowMs = this.#clock.monotonicMs();
    const known = this.#known.get(name);
    if (known !== undefined && known.askedAtMs >= Math.max(sinceMs, nowMs - MAX_AGE_MS)) {
      return await known.found;
    }
    const asked = { askedAtMs: nowMs, found: ask(client, name) };
    this.#known.delete(name);
    this.#known.set(name, asked);
    // The oldest goes.
    for (const old of this.#known.keys()) {
      if (this.#known.size <= MAX_TOPICS) break;
      this.#known.delete(old);
    }
    try {
      return await asked.found;
    } catch (error) {
      if (this.#known.get(name) === asked) this.#known.delete(name);
      throw error;
    }
  }
}

async function ask(client: KafkaClient, name: string): Promise<FoundTopic | null> {
  const { topics } = await client.metadata([name]);
  const found = topics.find((topic) => topic.name === name);
  const code = found?.errorCode ?? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
  const isNone = code === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION ||
    code === ErrorCode.INVALID_TOPIC_EXCEPTION;
  if (found === undefined || isNone) return null;
  throwOnError(code);
  const leaders: Leader[] = Array.from({ length: found.partitions.length }, () => NOBODY);
  for (const { partitionIndex, leaderId, leaderEpoch } of found.partitions) {
    leaders[partitionIndex] = { leaderId, leaderEpoch };
  }
  return { name, topicId: found.topicId, leaders };
}

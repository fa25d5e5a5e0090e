/**
 * How fast replicas that are not in sync are filled, so that clients keep their share of disk and network (KIP-73).
 *
 *     bytes moved ──→ debt, which is paid off at the rate ──→ more than a second's worth: nothing is moved
 *
 * Only replicas that the topic names count (`leader.replication.throttled.replicas` and the follower's like), as
 * the tools that move partitions write them down; one that is in sync is never held up.
 */

/** Debt of at most so much time is no reason to wait. */
const BURST_MS = 1000;
/** With a rate of 0 nothing moves until there is another: this is how often that is looked for. */
const STOPPED_MS = 1000;

/** One direction of a broker. */
export class ReplicationThrottle {
  readonly #bytesPerSecond: () => number;
  #debtBytes = 0;
  #atMs = 0;

  constructor(bytesPerSecond: () => number) {
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** Bytes have been moved. */
  note(byteCount: number, nowMs: number): void {
    this.#pay(nowMs);
    this.#debtBytes += byteCount;
  }

  /** How long until more may be moved; 0 for now. */
  waitMs(nowMs: number): number {
    this.#pay(nowMs);
    const rate = this.#bytesPerSecond();
    if (rate === 0) return STOPPED_MS;
    return Math.max(0, Math.ceil(this.#debtBytes / rate * 1000 - BURST_MS));
  }

  #pay(nowMs: number): void {
    const paid = this.#bytesPerSecond() * (nowMs - this.#atMs) / 1000;
    this.#debtBytes = Math.max(0, this.#debtBytes - paid);
    this.#atMs = nowMs;
  }
}

/** True where a topic's list names the replica: `*`, or `partition:broker` pairs. */
export function isThrottledReplica(list: string, partition: number, brokerId: number): boolean {
  if (list === "") return false;
  if (list === "*") return true;
  return list.split(",").some((pair) => pair.trim() === `${partition}:${brokerId}`);
}

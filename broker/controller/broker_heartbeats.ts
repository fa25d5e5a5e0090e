/**
 * Which brokers are alive, as the active controller hears of it: the one piece of its state that is in no
 * log. A node that becomes active starts with a new one, in which every broker has a whole session.
 *
 *                 register                     heartbeat, caught up
 *     (unknown) ───────────→ fenced ─────────────────────────────────→ unfenced
 *                              ↑ ↑    no heartbeat for a session, or it asks    │
 *                              │ └──────────────────────────────────────────────┤
 *                              │                                      asks to shut down, leads something
 *                              │  nothing is led any more, and every            ↓
 *                              └──── other broker knows it ──────── controlled shutdown
 *
 * Who is fenced is in the image; here is when a broker was heard of last, and how far it had got then.
 *
 * Time goes by only while somebody looks: when the looks themselves were away for long (this process was
 * stopped, a machine slept), no broker could be heard, and each gets a whole session again.
 *
 * Pure: time is an argument. Source: Kafka's BrokerHeartbeatManager; KIP-631.
 */

import assert from "node:assert/strict";
import type { BrokerImage } from "./metadata_image.ts";

/** Looks in a session, by which the end of one is found. */
const CHECKS_A_SESSION = 16;
/** Looks that may be missed before it is taken that this process had stood still. */
const CHECKS_MISSED = 6;

/** Where a broker stands, or is to stand after a heartbeat. */
export type BrokerState = "fenced" | "unfenced" | "controlledShutdown" | "shutdownNow";

/** What a broker says of itself. */
export interface Heartbeat {
  readonly brokerId: number;
  /** How much of the metadata it has applied. */
  readonly metadataOffset: number;
  readonly wantFence: boolean;
  readonly wantShutDown: boolean;
}

/** What the next state of a broker rests on besides its heartbeat. */
export interface HeartbeatContext {
  readonly broker: BrokerImage;
  /** True when the broker leads a partition; asked only where it matters. */
  readonly hasLeaderships: () => boolean;
}

interface Session {
  /** False for an incarnation of this very node that ended with the process before this one. */
  isHeard: boolean;
  lastContactMs: number;
  metadataOffset: number;
  /** What the others must have applied before the broker may go; −1 unless it shuts down. */
  shutdownOffset: number;
  /** Where something that it led was last given to another broker; the newest of the metadata while not known. */
  takenOffset: number;
}

/** The sessions of all registered brokers. */
export class BrokerHeartbeats {
  readonly #sessionTimeoutMs: number;
  readonly #sessions = new Map<number, Session>();
  #lastCheckMs: number;

  constructor({ sessionTimeoutMs, nowMs, newestOffset, brokerIds, nodeId }: {
    readonly sessionTimeoutMs: number;
    readonly nowMs: number;
    /** Where the metadata ends. */
    readonly newestOffset: number;
    readonly brokerIds: Iterable<number>;
    /** This node: what is registered of it may be an incarnation before this process. */
    readonly nodeId: number;
  }) {
    this.#sessionTimeoutMs = sessionTimeoutMs;
    this.#lastCheckMs = nowMs;
    for (const id of brokerIds) {
      this.register(id, nowMs);
      const session = this.#session(id);
      session.isHeard = id !== nodeId;
      session.takenOffset = newestOffset;
    }
  }

  /** How long to wait between two looks for sessions that have ended. */
  get checkIntervalMs(): number {
    return Math.max(1, this.#sessionTimeoutMs / CHECKS_A_SESSION);
  }

  /** Starts a session; of the one before it nothing is left. */
  register(brokerId: number, nowMs: number): void {
    this.#sessions.set(brokerId, {
      isHeard: true,
      lastContactMs: nowMs,
      metadataOffset: -1,
      shutdownOffset: -1,
      takenOffset: -1,
    });
  }

  /** Notes that something which a broker led is led by another one, or by nobody, from this offset on. */
  noteTaken(brokerId: number, takenOffset: number): void {
    const session = this.#sessions.get(brokerId);
    if (session !== undefined) session.takenOffset = takenOffset;
  }

  /** True when a broker that has applied so much knows itself, and of all that it does not lead any more. */
  isCaughtUp({ id, epoch }: BrokerImage, metadataOffset: number): boolean {
    return metadataOffset >= Math.max(epoch, this.#session(id).takenOffset);
  }

  /** Forgets a broker. */
  remove(brokerId: number): void {
    this.#sessions.delete(brokerId);
  }

  /** True when an unfenced broker was heard of within its session. */
  hasValidSession({ id, fenced }: BrokerImage, nowMs: number): boolean {
    const session = this.#sessions.get(id);
    if (session === undefined || fenced || !session.isHeard) return false;
    return session.lastContactMs + this.#sessionTimeoutMs >= nowMs;
  }

  /**
   * The state that a heartbeat leads to. The session goes on; the state is for the caller to write down.
   *
   * Returns: the state as it is, and as it is to be.
   */
  handle(
    heartbeat: Heartbeat,
    context: HeartbeatContext,
    nowMs: number,
    isActive: (brokerId: number) => boolean,
  ): { readonly current: BrokerState; readonly next: BrokerState } {
    const session = this.#session(heartbeat.brokerId);
    const current = context.broker.fenced
      ? "fenced"
      : session.shutdownOffset >= 0
      ? "controlledShutdown"
      : "unfenced";
    session.isHeard = true;
    session.lastContactMs = nowMs;
    session.metadataOffset = heartbeat.metadataOffset;
    const next = this.#next(current, session, heartbeat, context, isActive);
    if (next === "fenced" || next === "shutdownNow") session.shutdownOffset = -1;
    return { current, next };
  }

  /**
   * Notes the end of the batch that took the last leaderships from a broker that shuts down, or of what was
   * newest then. Only the first one counts.
   */
  noteControlledShutdown(brokerId: number, lastOffset: number): void {
    const session = this.#session(brokerId);
    if (session.shutdownOffset < 0) session.shutdownOffset = lastOffset;
  }

  /** The unfenced broker whose session ended longest ago; null when there is none. */
  staleBroker(brokers: Iterable<BrokerImage>, nowMs: number): number | null {
    this.#forgiveStandstill(nowMs);
    let stale: number | null = null;
    let oldestMs = nowMs - this.#sessionTimeoutMs;
    for (const { id, fenced } of brokers) {
      const lastContactMs = this.#sessions.get(id)?.lastContactMs ?? nowMs;
      if (fenced || lastContactMs >= oldestMs) continue;
      stale = id;
      oldestMs = lastContactMs;
    }
    return stale;
  }

  #forgiveStandstill(nowMs: number): void {
    const awayMs = nowMs - this.#lastCheckMs;
    this.#lastCheckMs = nowMs;
    if (awayMs <= CHECKS_MISSED * this.checkIntervalMs) return;
    for (const session of this.#sessions.values()) {
      session.lastContactMs = Math.max(session.lastContactMs, nowMs);
    }
  }

  #session(brokerId: number): Session {
    const session = this.#sessions.get(brokerId);
    assert(session !== undefined, `no session of broker ${brokerId}, which is registered`);
    return session;
  }

  #next(
    current: BrokerState,
    session: Session,
    { metadataOffset, wantFence, wantShutDown }: Heartbeat,
    { broker, hasLeaderships }: HeartbeatContext,
    isActive: (brokerId: number) => boolean,
  ): BrokerState {
    if (current === "fenced") {
      if (wantShutDown) return "shutdownNow";
      // It must know its own registration, and all that came before: what it leads rests on that.
      return !wantFence && metadataOffset >= broker.epoch ? "unfenced" : "fenced";
    }
    if (current === "controlledShutdown") {
      if (hasLeaderships()) return "controlledShutdown";
      return session.shutdownOffset <= this.#lowestOffset(isActive)
        ? "shutdownNow"
        : "controlledShutdown";
    }
    if (wantFence) return wantShutDown ? "shutdownNow" : "fenced";
    if (!wantShutDown) return "unfenced";
    return hasLeaderships() ? "controlledShutdown" : "shutdownNow";
  }

  /** How far the slowest of the brokers has got that take part. */
  #lowestOffset(isActive: (brokerId: number) => boolean): number {
    let lowest = Infinity;
    for (const [id, { metadataOffset, shutdownOffset }] of this.#sessions) {
      if (shutdownOffset < 0 && isActive(id)) lowest = Math.min(lowest, metadataOffset);
    }
    return lowest;
  }
}

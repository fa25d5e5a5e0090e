/**
 * For how long a broker may act on what it knows of the cluster without hearing of it again.
 *
 *     broker      sends a heartbeat ├────── lease ──────┤
 *     controller     certainly leads ├ … ┤ answers, "caught up"
 *     the next one        elected at the earliest ├──────── session, then fences ────────┤
 *
 * An answer gives a lease when the broker knew, as it asked, all that was taken from it, and when the controller was
 * certain not long ago that no other one had been elected. The lease counts from when the broker asked. So when any
 * controller fences it for its silence, the lease is over. Where something is taken from a broker that is not fenced,
 * whoever has it now waits for a session, or until that broker is known to know.
 *
 * The parts of a session here leave a fifteenth for clocks that run apart. All nodes need the same
 * `broker.session.timeout.ms`.
 *
 * Source: decision 0050.
 */

const LEASE_PART = 3 / 5;
const UNCONFIRMED_PART = 1 / 3;

/** How long a lease is. */
export function leaseMs(sessionTimeoutMs: number): number {
  return sessionTimeoutMs * LEASE_PART;
}

/** How long ago a controller must have been certain that it is the only one, to give a lease. */
export function mayBeUnconfirmedMs(sessionTimeoutMs: number): number {
  return sessionTimeoutMs * UNCONFIRMED_PART;
}

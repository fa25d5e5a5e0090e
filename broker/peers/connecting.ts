/** Opening a connection within a time: the network itself may let one wait for minutes. */

import type { Clock } from "../../storage/platform.ts";
import { type Connection, type Endpoint, type Network, NetworkError } from "../network.ts";

/** Where to, and how long it may take. */
export interface Connecting {
  readonly network: Network;
  readonly clock: Clock;
  readonly endpoint: Endpoint;
  readonly timeoutMs: number;
}

/**
 * Connects. `stopped` gives it up when it is aborted, and is aborted when this is over. Returns: null when the other side
 * did not accept in time; what comes of it later is closed. Errors: rejects with NetworkError when it is refused.
 */
export async function connectWithin(
  { network, clock, endpoint, timeoutMs }: Connecting,
  accept: Parameters<Network["connect"]>[1],
  stopped = new AbortController(),
): Promise<Connection | null> {
  const connecting = network.connect(endpoint, accept);
  const connection = await Promise.race([
    connecting,
    clock.sleep(timeoutMs, stopped.signal).then(() => null),
  ]).finally(() => stopped.abort());
  if (connection === null) connecting.then((late) => late.close(), () => undefined);
  return connection;
}

/** What is said then. */
export function notAccepted({ host, port }: Endpoint, timeoutMs: number): NetworkError {
  return new NetworkError(
    `${host}:${port} did not accept a connection within ${timeoutMs} ms`,
    "ETIMEDOUT",
  );
}

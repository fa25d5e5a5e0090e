/** What the server counts, as an interface: telemetry implements it. Called on the hot path, so cheap. */

/** Why the server ended a connection. */
export type CloseKind =
  | "malformed"
  | "unknown_api"
  | "handler_failed"
  | "too_many_connections"
  | "idle"
  | "stalled"
  | "refused_by_handler"
  | "stopping";

/** Counters and histograms of the server. */
export interface ServerMetrics {
  connectionOpened(listenerName: string): void;
  connectionClosed(listenerName: string): void;
  /** Called when the server itself ended a connection. */
  connectionRefused(kind: CloseKind): void;
  bytesIn(bytes: number): void;
  bytesOut(bytes: number): void;
  /** Called when the answer has been made; `durationMs` counts from the handing over to the handler. */
  requestAnswered(
    apiKey: number,
    requestBytes: number,
    answerBytes: number,
    durationMs: number,
  ): void;
}

/** Counts nothing. */
export const noServerMetrics: ServerMetrics = {
  connectionOpened() {},
  connectionClosed() {},
  connectionRefused() {},
  bytesIn() {},
  bytesOut() {},
  requestAnswered() {},
};

/**
 * Requests that did not come in a frame of their own: inside an Envelope, or from this very node.
 *
 * They go through the same handlers, and their answers through the same codecs, as those of clients, so that it
 * makes no difference where a request was made. What an answer holds by reference is copied before `onSent`.
 */

import assert from "node:assert/strict";
import { type Reader, Writer } from "../../protocol/bytes.ts";
import { encodeResponseHeader } from "../../protocol/headers.ts";
import type { Api, CloseSignal, ConnectionInfo, RequestContext } from "../apis/api.ts";

/** Where a request came from, and what its answer may be like. */
export interface InnerRequest {
  readonly apiVersion: number;
  readonly correlationId: number;
  readonly clientId: string | null;
  readonly connection: ConnectionInfo;
  readonly closed: CloseSignal;
  readonly answerRoomBytes: number;
  closeConnection(reason: string): void;
}

/** An answer as its handler gave it, and as it would go over the wire. */
export interface InnerAnswer {
  readonly answer: object;
  /** Header and body. */
  readonly bytes: Uint8Array;
}

/**
 * Hands a request over whose body begins at the reader's position.
 * Errors: WireError when the body does not follow the protocol.
 */
export async function handleInner(
  api: Api,
  reader: Reader,
  request: InnerRequest,
): Promise<InnerAnswer> {
  const callbacks: (() => void)[] = [];
  const context: RequestContext = {
    apiKey: api.key,
    apiVersion: request.apiVersion,
    correlationId: request.correlationId,
    clientId: request.clientId,
    connection: request.connection,
    closed: request.closed,
    requestBytes: reader.remaining,
    answerRoomBytes: request.answerRoomBytes,
    onSent: (callback) => callbacks.push(callback),
    closeConnection: (reason) => request.closeConnection(reason),
  };
  try {
    const answer = await api.handle(reader, context);
    assert(answer !== null, "only Produce leaves a request without an answer");
    const writer = new Writer();
    encodeResponseHeader(writer, context);
    api.encode(writer, request.apiVersion, answer);
    return { answer, bytes: writer.finish() };
  } finally {
    for (const callback of callbacks) callback();
  }
}

/** True when an answer, or one of its parts, has this error code. */
export function holdsError(answer: unknown, code: number): boolean {
  if (typeof answer !== "object" || answer === null || answer instanceof Uint8Array) return false;
  if ("errorCode" in answer && answer.errorCode === code) return true;
  return Object.values(answer).some((part) => holdsError(part, code));
}

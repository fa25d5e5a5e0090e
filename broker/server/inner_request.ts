/**
 * Requests that did not come in a frame of their own: inside an Envelope, or from this very node.
 *
 * They go through the same handlers, and their answers through the same codecs, as those of clients, so that it
 * makes no difference where a request was made. What an answer holds by reference is copied before `onSent`.
 */

import assert from "node:assert/strict";
import { Reader, Writer } from "../../protocol/bytes.ts";
import { codec } from "../../protocol/compile.ts";
import { decodeResponseHeader, encodeResponseHeader } from "../../protocol/headers.ts";
import type { Decoded, Encodable, Message } from "../../protocol/schema.ts";
import type { Api, CloseSignal, ConnectionInfo, RequestContext } from "../apis/api.ts";
import type { Call } from "../peers/call.ts";

/** Requests that this node makes of itself came over no listener. */
const OWN_CONNECTION: ConnectionInfo = {
  id: 0,
  remoteAddress: "",
  listenerName: "",
  advertisedHost: "",
  advertisedPort: 0,
  clientSoftwareName: null,
  clientSoftwareVersion: null,
};
const NEVER_CLOSED: CloseSignal = { aborted: false, onAbort: () => () => {} };

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

/** Makes a request of this very node, at the highest version that its handler serves. */
export async function handleOwn<Q extends Message, A extends Message>(
  api: Api,
  call: Call<Q, A>,
  body: Encodable<Q>,
  clientId: string,
): Promise<Decoded<A>> {
  const apiVersion = Math.min(call.highest, api.versions.highest);
  const writer = new Writer();
  codec(call.request, apiVersion).encode(writer, body);
  const { bytes } = await handleInner(api, new Reader(writer.finish()), {
    apiVersion,
    correlationId: 0,
    clientId,
    connection: OWN_CONNECTION,
    closed: NEVER_CLOSED,
    answerRoomBytes: Infinity,
    closeConnection: () => {},
  });
  const reader = new Reader(bytes);
  decodeResponseHeader(reader, { apiKey: call.key, apiVersion, correlationId: 0 });
  return codec(call.response, apiVersion).decode(reader);
}

/** True when an answer, or one of its parts, has this error code. */
export function holdsError(answer: unknown, code: number): boolean {
  if (typeof answer !== "object" || answer === null || answer instanceof Uint8Array) return false;
  if ("errorCode" in answer && answer.errorCode === code) return true;
  return Object.values(answer).some((part) => holdsError(part, code));
}

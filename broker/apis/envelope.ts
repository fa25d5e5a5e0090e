/**
 * Envelope (key 58), version 0: a client's request that another node passes on to the active controller
 * (KIP-590).
 *
 * The answer holds the embedded answer, made for the embedded request's version and correlation id. NOT_CONTROLLER
 * in any part of it becomes the Envelope's own, so that the other node looks for the controller anew and the
 * client hears nothing of it. INVALID_REQUEST is for what is not to be forwarded, UNSUPPORTED_VERSION for what
 * cannot be read.
 *
 * Gaps: whoever reaches the listener may send it, and the principal is read and not used, since nobody is
 * authenticated yet.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { Reader, WireError } from "../../protocol/bytes.ts";
import { codec } from "../../protocol/compile.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { decodeRequestHeader, type RequestHead } from "../../protocol/headers.ts";
import {
  type EnvelopeRequest,
  envelopeRequest,
  envelopeResponse,
} from "../../protocol/schemas/envelope.ts";
import { defaultPrincipalData } from "../../protocol/schemas/records/principal.ts";
import type { Controller } from "../controller/controller.ts";
import { type Api, type ConnectionInfo, defineApi, type RequestContext } from "./api.ts";
import { handleInner, holdsError } from "../server/inner_request.ts";

const PRINCIPAL_VERSION = 0;
const IPV4_BYTES = 4;
const IPV6_BYTES = 16;

interface Subsystems {
  readonly controller: Controller;
  /** The APIs of the same listener; asked at each request. */
  served(): readonly Api[];
}

/** Answers Envelope. */
export function envelopeApi({ controller, served }: Subsystems): Api {
  return defineApi({
    key: ApiKey.Envelope,
    request: envelopeRequest,
    response: envelopeResponse,
    versions: { lowest: 0, highest: 0 },
    async handle(request, context) {
      if (!controller.isActive) return { errorCode: ErrorCode.NOT_CONTROLLER };
      const opened = open(request, served());
      if ("error" in opened) return { errorCode: opened.error };
      const inner = await handle(opened, context);
      if (inner === null) return { errorCode: ErrorCode.UNSUPPORTED_VERSION };
      const hasMoved = holdsError(inner.answer, ErrorCode.NOT_CONTROLLER);
      if (hasMoved) return { errorCode: ErrorCode.NOT_CONTROLLER };
      return { errorCode: ErrorCode.NONE, responseData: inner.bytes };
    },
  });
}

interface Opened {
  readonly api: Api;
  readonly head: RequestHead;
  /** At the body. */
  readonly reader: Reader;
  readonly remoteAddress: string;
}

/** What is in an envelope, or why it is not to be opened. */
function open(
  { requestData, requestPrincipal, clientHostAddress }: EnvelopeRequest,
  served: readonly Api[],
): Opened | { readonly error: ErrorCode } {
  if (!isPrincipal(requestPrincipal)) return { error: ErrorCode.PRINCIPAL_DESERIALIZATION_FAILURE };
  const remoteAddress = formatAddressBytes(clientHostAddress);
  if (remoteAddress === null) return { error: ErrorCode.INVALID_REQUEST };
  const reader = new Reader(requestData);
  const head = orNull(() => decodeRequestHeader(reader));
  if (head === null) return { error: ErrorCode.UNSUPPORTED_VERSION };
  const api = served.find(({ key }) => key === head.apiKey);
  if (api === undefined || !api.isForwarded) return { error: ErrorCode.INVALID_REQUEST };
  const { lowest, highest } = api.versions;
  if (head.apiVersion < lowest || head.apiVersion > highest) {
    return { error: ErrorCode.UNSUPPORTED_VERSION };
  }
  return { api, head, reader, remoteAddress };
}

/** Returns: null for a body that cannot be read. */
async function handle({ api, head, reader, remoteAddress }: Opened, context: RequestContext) {
  const connection: ConnectionInfo = {
    ...context.connection,
    remoteAddress,
    clientSoftwareName: null,
    clientSoftwareVersion: null,
  };
  try {
    return await handleInner(api, reader, {
      ...head,
      connection,
      closed: context.closed,
      answerRoomBytes: context.answerRoomBytes,
      closeConnection: (reason) => context.closeConnection(reason),
    });
  } catch (error) {
    if (error instanceof WireError) return null;
    throw error;
  }
}

function isPrincipal(bytes: Uint8Array | null): boolean {
  if (bytes === null) return false;
  const reader = new Reader(bytes);
  return orNull(() => {
    if (reader.int16() !== PRINCIPAL_VERSION) return null;
    return codec(defaultPrincipalData, PRINCIPAL_VERSION).decode(reader);
  }) !== null;
}

function orNull<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (error instanceof WireError) return null;
    throw error;
  }
}

function formatAddressBytes(bytes: Uint8Array): string | null {
  if (bytes.length === IPV4_BYTES) return bytes.join(".");
  if (bytes.length !== IPV6_BYTES) return null;
  const groups: string[] = [];
  for (let at = 0; at < IPV6_BYTES; at += 2) {
    groups.push((bytes[at]! << 8 | bytes[at + 1]!).toString(16));
  }
  return groups.join(":");
}

/**
 * From a frame to a request that knows its API: header, key, version.
 *
 * What is refused, and how (as Kafka 4 does; one log line each):
 * - ApiVersions in a version that is not known: an answer in version 0 with UNSUPPORTED_VERSION and the
 *   range that is (KIP-511), so that a client from the future can come down to it;
 * - any other unknown key or version, a header that ends early: the connection is closed, since nobody
 *   can say in which form the client would read an error.
 */

import { Reader, WireError, type Writer } from "../../protocol/bytes.ts";
import { ApiKey, apiName } from "../../protocol/api_keys.ts";
import { codec } from "../../protocol/compile.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { decodeRequestHeader } from "../../protocol/headers.ts";
import { apiVersionsResponse } from "../../protocol/schemas/api_versions.ts";
import type { Answer, Api, CloseSignal, ConnectionInfo, RequestContext } from "../apis/api.ts";
import type { FrameMemory } from "../frame_memory.ts";

/** Bytes of key, version and correlation id, which stand first in every request. */
const HEADER_START_BYTES = 8;

/** A request that is not for this broker: its connection is closed. */
export class UnknownApiError extends Error {
  override name = "UnknownApiError";
}

/** The connection, as its requests see it. */
export interface RequestHome extends CloseSignal {
  readonly answerRoomBytes: number;
}

/** One request from its frame until its answer has left. Given to the handler as its context. */
export class ServerRequest implements RequestContext {
  readonly api: Api;
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly correlationId: number;
  readonly clientId: string | null;
  readonly connection: ConnectionInfo;
  readonly closed: RequestHome;
  readonly requestBytes: number;
  /** At the body; null once handled, so that a waiting request does not keep the frame. */
  reader: Reader | null;
  /** Of its frame, where that is given back after the answer. */
  memory: FrameMemory | null = null;
  /** Bytes that the memory budget counts for it. */
  chargedBytes = 0;
  handedOverMs = 0;
  isReady = false;
  answer: Answer = null;
  closeReason: string | null = null;
  /** Where its answer ends in the stream of all answers of the connection. */
  endPosition = 0;
  #callbacks: (() => void)[] | null = null;
  #finished = false;

  constructor(
    api: Api,
    header: { apiKey: number; apiVersion: number; correlationId: number; clientId: string | null },
    reader: Reader,
    connection: ConnectionInfo,
    closed: RequestHome,
  ) {
    this.api = api;
    this.apiKey = header.apiKey;
    this.apiVersion = header.apiVersion;
    this.correlationId = header.correlationId;
    this.clientId = header.clientId;
    this.connection = connection;
    this.closed = closed;
    this.requestBytes = reader.end;
    this.reader = reader;
  }

  get answerRoomBytes(): number {
    return this.closed.answerRoomBytes;
  }

  onSent(callback: () => void): void {
    if (this.#finished) callback();
    else if (this.#callbacks === null) this.#callbacks = [callback];
    else this.#callbacks.push(callback);
  }

  closeConnection(reason: string): void {
    this.closeReason ??= reason;
  }

  /** True when somebody wants to be told that the answer has left. */
  get isAwaited(): boolean {
    return this.#callbacks !== null;
  }

  get isFinished(): boolean {
    return this.#finished;
  }

  /** Gives the memory of the frame back and runs the callbacks; later calls do nothing. */
  finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    this.memory?.letGo();
    const callbacks = this.#callbacks;
    this.#callbacks = null;
    if (callbacks !== null) { for (const callback of callbacks) callback(); }
  }
}

/** Answers ApiVersions in a version that is not known, in version 0. */
function unsupportedApiVersions(served: Api): Api {
  const versionZero = codec(apiVersionsResponse, 0);
  const { lowest, highest } = served.advertised;
  const answer = {
    errorCode: ErrorCode.UNSUPPORTED_VERSION,
    apiKeys: [{ apiKey: ApiKey.ApiVersions, minVersion: lowest, maxVersion: highest }],
  };
  return {
    key: ApiKey.ApiVersions,
    versions: served.versions,
    advertised: served.advertised,
    isForwarded: false,
    isFrameFreed: false,
    cost: (frameBytes) => frameBytes,
    handle: () => answer,
    encode: (writer: Writer) => versionZero.encode(writer, answer),
  };
}

/** Knows the APIs that are served on a listener. */
export class Dispatcher {
  /** By key. */
  readonly #apis: (Api | undefined)[] = [];
  readonly #unsupportedApiVersions: Api | null;

  constructor(apis: readonly Api[]) {
    for (const api of apis) this.#apis[api.key] = api;
    const apiVersions = this.#apis[ApiKey.ApiVersions];
    this.#unsupportedApiVersions = apiVersions === undefined
      ? null
      : unsupportedApiVersions(apiVersions);
  }

  /**
   * Reads the header of a frame.
   *
   * Errors: WireError when the header is cut short, UnknownApiError when nobody serves it.
   */
  open(frame: Uint8Array, connection: ConnectionInfo, closed: RequestHome): ServerRequest {
    if (frame.length < HEADER_START_BYTES) {
      throw new WireError(`Cannot read request header: the frame has only ${frame.length} bytes`);
    }
    const apiKey = (frame[0]! << 24 >> 16) | frame[1]!;
    const apiVersion = (frame[2]! << 24 >> 16) | frame[3]!;
    const api = apiKey < 0 ? undefined : this.#apis[apiKey];
    if (api === undefined) {
      throw new UnknownApiError(`Cannot serve ${name(apiKey)}: it is not implemented`);
    }
    if (apiVersion < api.versions.lowest || apiVersion > api.versions.highest) {
      if (apiKey === ApiKey.ApiVersions) return this.#downgrade(frame, connection, closed);
      throw new UnknownApiError(
        `Cannot serve ${name(apiKey)} version ${apiVersion}: ` +
          `versions ${api.versions.lowest} to ${api.versions.highest} are served`,
      );
    }
    const reader = new Reader(frame);
    const header = decodeRequestHeader(reader);
    return new ServerRequest(api, header, reader, connection, closed);
  }

  #downgrade(frame: Uint8Array, connection: ConnectionInfo, closed: RequestHome): ServerRequest {
    const reader = new Reader(frame);
    reader.int32();
    const header = {
      apiKey: ApiKey.ApiVersions,
      apiVersion: 0,
      correlationId: reader.int32(),
      clientId: null,
    };
    return new ServerRequest(this.#unsupportedApiVersions!, header, reader, connection, closed);
  }
}

function name(apiKey: number): string {
  return `${apiName(apiKey)} (API key ${apiKey})`;
}

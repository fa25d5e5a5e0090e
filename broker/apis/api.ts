/**
 * What one Kafka API is to the server: a key, the versions served, what a request may cost, a handler.
 *
 * A handler file exports a function that takes the subsystems it needs and returns an `Api`:
 *
 *     export function heartbeatApi(subsystems: { groupCoordinator: GroupCoordinator }): Api {
 *       return defineApi({
 *         key: ApiKey.Heartbeat,
 *         request: heartbeatRequest,
 *         response: heartbeatResponse,
 *         versions: { lowest: 0, highest: 4 },
 *         handle(request, context) { return { throttleTimeMs: 0, errorCode: … }; },
 *       });
 *     }
 *
 * Rules that the server keeps and that a handler relies on:
 *
 * - The requests of one connection are handed over in the order in which they came. Later ones are
 *   handed over while earlier ones still wait, so what must happen in order happens before the first
 *   `await`. The answers leave in the order of the requests whatever the handlers do.
 * - A handler that can answer at once returns the value, not a promise: the hot path has no promises.
 * - Byte fields of a decoded request are views into the received bytes, which live as long as the view:
 *   a subsystem that keeps some of them past the answer copies them. Those of an API that says `isFrameFreed` are gone
 *   after the answer.
 * - What an answer holds by reference (record bytes) must not change until `onSent` calls back.
 */

import { Reader, WireError, Writer } from "../../protocol/bytes.ts";
import { type Codec, codec } from "../../protocol/compile.ts";
import type { Decoded, Encodable, Message } from "../../protocol/schema.ts";

/** What is known of the connection that a request came over. */
export interface ConnectionInfo {
  /** Counts up from 1 in one process; never used twice. */
  readonly id: number;
  readonly remoteAddress: string;
  readonly listenerName: string;
  /** Host to name to this client as this broker's own: never a wildcard. */
  readonly advertisedHost: string;
  readonly advertisedPort: number;
  /** From ApiVersions v3+ (KIP-511); null until the client said. */
  clientSoftwareName: string | null;
  clientSoftwareVersion: string | null;
}

/** Tells that the connection is gone, so that nobody waits for the answer any more. */
export interface CloseSignal {
  readonly aborted: boolean;
  /** Calls `listener` once when the connection closes. Returns: a function that takes it back. */
  onAbort(listener: () => void): () => void;
}

/** What a handler knows of its request besides the body. */
export interface RequestContext {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly correlationId: number;
  readonly clientId: string | null;
  readonly connection: ConnectionInfo;
  readonly closed: CloseSignal;
  /** Bytes of the request's frame. */
  readonly requestBytes: number;
  /**
   * How large an answer there is memory for now, at least `MIN_ANSWER_ROOM_BYTES`. An answer whose size is
   * up to the broker (Fetch) keeps within it, but for what the protocol demands.
   */
  readonly answerRoomBytes: number;
  /** Calls back exactly once: after the answer has left, or when the connection closed before. */
  onSent(callback: () => void): void;
  /** Ends the connection once the answers before this one have left (acks=0 with an error, as Kafka does). */
  closeConnection(reason: string): void;
}

/** Answers up to this size are always made: without records nobody gets on. */
export const MIN_ANSWER_ROOM_BYTES = 64 * 1024;

/** Closed range of versions. */
export interface VersionSpan {
  readonly lowest: number;
  readonly highest: number;
}

/** An answer of a handler, its type erased: `encode` of the same Api knows it. */
export type Answer = object | null;

/** One API as the server drives it. */
export interface Api {
  readonly key: number;
  /** The versions that are served. */
  readonly versions: VersionSpan;
  /** The versions that ApiVersions answers: those served unless a client's quirk needs more (Produce). */
  readonly advertised: VersionSpan;
  /** True for what only the active controller can do: other nodes send it there in an Envelope (KIP-590). */
  readonly isForwarded: boolean;
  /** True where nothing of a request is looked at after its answer: its memory is given back then, not collected later. */
  readonly isFrameFreed: boolean;
  /** Memory that a request may take from its arrival until its answer has left, its frame included. */
  cost(frameBytes: number): number;
  /**
   * Decodes the body and handles it. Returns null where no answer is to be sent.
   *
   * Errors: WireError when the body does not follow the protocol.
   */
  handle(reader: Reader, context: RequestContext): Answer | Promise<Answer>;
  /** Writes the body of the answer. */
  encode(writer: Writer, apiVersion: number, answer: object): void;
}

/** What a handler file says of its API. */
export interface ApiDefinition<Req extends Message, Res extends Message> {
  readonly key: number;
  readonly request: Req;
  readonly response: Res;
  readonly versions: VersionSpan;
  readonly advertised?: VersionSpan;
  readonly isForwarded?: true;
  readonly isFrameFreed?: true;
  /** Where the default, `DECODED_BYTES_PER_FRAME_BYTE` times the frame, is far off. */
  readonly cost?: (frameBytes: number) => number;
  readonly handle: (
    request: Decoded<Req>,
    context: RequestContext,
  ) => Encodable<Res> | null | Promise<Encodable<Res> | null>;
}

/** Objects that come out of decoding arrays of small elements take about this many times their bytes. */
export const DECODED_BYTES_PER_FRAME_BYTE = 8;

function defaultCost(frameBytes: number): number {
  return DECODED_BYTES_PER_FRAME_BYTE * frameBytes;
}

/** Ties a handler to its messages. Codecs are compiled when a version is first seen. */
export function defineApi<Req extends Message, Res extends Message>(
  definition: ApiDefinition<Req, Res>,
): Api {
  const { key, request, response, versions, handle } = definition;
  const decoders: (Codec<Req> | undefined)[] = [];
  const encoders: (Codec<Res> | undefined)[] = [];
  return {
    key,
    versions,
    advertised: definition.advertised ?? versions,
    isForwarded: definition.isForwarded ?? false,
    isFrameFreed: definition.isFrameFreed ?? false,
    cost: definition.cost ?? defaultCost,
    handle(reader, context) {
      const version = context.apiVersion;
      const decoder = decoders[version] ??= codec(request, version);
      const body = decoder.decode(reader);
      if (reader.remaining > 0) {
        throw new WireError(
          `Cannot read ${request.name} version ${version}: ${reader.remaining} bytes follow its end`,
        );
      }
      return handle(body, context) as Answer | Promise<Answer>;
    },
    encode(writer, version, answer) {
      const encoder = encoders[version] ??= codec(response, version);
      encoder.encode(writer, answer as Encodable<Res>);
    },
  };
}

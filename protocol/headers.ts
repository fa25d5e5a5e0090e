/**
 * Request and response headers.
 *
 * Which version of a header goes with a request follows from the request: flexible versions have
 * the flexible header (request header 2, response header 1), others request header 1 and response
 * header 0. One exception: the *response* header of ApiVersions is always version 0, since a client
 * that asks which versions there are cannot know yet what the answer looks like. One byte more
 * there made librdkafka allocate 34 GB.
 *
 * The first 8 bytes of every request header are the same in all versions, so the key and version
 * can be read before the rest is understood.
 *
 * Source: KIP-482, KIP-511.
 */

import { type Reader, WireError, type Writer } from "./bytes.ts";
import { codec, inRange } from "./compile.ts";
import { ApiKey, apiName } from "./api_keys.ts";
import { requestHeader, responseHeader } from "./schemas/header.ts";
import { requestByApiKey } from "./schemas/index.ts";

/** What stands before the body of a request. */
export interface RequestHead {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly correlationId: number;
  readonly clientId: string | null;
}

/**
 * Version of the request header that goes with a request. Returns 1 for a key that is not known,
 * and for a version above the known ones what the highest known one has.
 */
export function requestHeaderVersion(apiKey: number, apiVersion: number): 1 | 2 {
  const request = requestByApiKey.get(apiKey);
  return request !== undefined && inRange(request.flexible, apiVersion) ? 2 : 1;
}

/** Version of the response header that goes with a request. */
export function responseHeaderVersion(apiKey: number, apiVersion: number): 0 | 1 {
  if (apiKey === ApiKey.ApiVersions) return 0;
  return requestHeaderVersion(apiKey, apiVersion) === 2 ? 1 : 0;
}

/**
 * Reads the header of a request and leaves the reader at the body.
 * Errors: WireError. Whether key and version are served is not asked here.
 */
export function decodeRequestHeader(reader: Reader): RequestHead {
  const at = reader.take(4);
  const apiKey = reader.dataView.getInt16(at);
  const apiVersion = reader.dataView.getInt16(at + 2);
  reader.position = at;
  const version = requestHeaderVersion(apiKey, apiVersion);
  const head = codec(requestHeader, version).decode(reader);
  return {
    apiKey,
    apiVersion,
    correlationId: head.correlationId,
    clientId: head.clientId,
  };
}

/** Writes the header of a request; the client's side. Errors: WireError. */
export function encodeRequestHeader(writer: Writer, head: RequestHead): void {
  const version = requestHeaderVersion(head.apiKey, head.apiVersion);
  codec(requestHeader, version).encode(writer, {
    requestApiKey: head.apiKey,
    requestApiVersion: head.apiVersion,
    correlationId: head.correlationId,
    clientId: head.clientId,
  });
}

/** Writes the header of the answer to a request. */
export function encodeResponseHeader(
  writer: Writer,
  request: Pick<RequestHead, "apiKey" | "apiVersion" | "correlationId">,
): void {
  const version = responseHeaderVersion(request.apiKey, request.apiVersion);
  codec(responseHeader, version).encode(writer, { correlationId: request.correlationId });
}

/**
 * Reads the header of the answer to a request and leaves the reader at the body; the client's side.
 * Errors: WireError, also when it answers another request.
 */
export function decodeResponseHeader(
  reader: Reader,
  request: Pick<RequestHead, "apiKey" | "apiVersion" | "correlationId">,
): void {
  const version = responseHeaderVersion(request.apiKey, request.apiVersion);
  const { correlationId } = codec(responseHeader, version).decode(reader);
  if (correlationId !== request.correlationId) {
    throw new WireError(
      `Cannot read answer to ${apiName(request.apiKey)}: correlation id is ${correlationId}, ` +
        `not ${request.correlationId}`,
    );
  }
}

/**
 * What clients send, read with bounds: on one body, on its nesting, and on the bytes of all that are here at once.
 *
 *     request ──→ wait for room ──→ chunks, counted ──→ text ──→ nesting checked ──→ JSON
 *
 * A body whose room is not there waits unread, so that TCP holds its sender back.
 */

import { ProblemError } from "../problem.ts";
import { ByteRoom } from "../../client/byte_room.ts";

/** How deep values may lie in each other: past that, writing them out again would exhaust the stack. */
export const MAX_DEPTH = 200;
/** Bodies are held twice while they are read: as bytes, and as text. */
const decoder = new TextDecoder("utf-8", { fatal: true });

/** Bounds on bodies. */
export interface BodyBounds {
  readonly maxBytes: number;
  readonly room: ByteRoom;
}

/** Errors: ProblemError (415) for a type that is none of those allowed; one that is left out is allowed. */
export function checkContentType(request: Request, allowed: readonly string[]): void {
  const given = request.headers.get("Content-Type");
  const [type = ""] = (given ?? "").split(";").map((part) => part.trim().toLowerCase());
  if (type === "" || allowed.includes(type)) return;
  throw new ProblemError(
    415,
    `Cannot read a body of type ${type.slice(0, 100)}: send ${allowed.join(" or ")}`,
  );
}

/** Reads a body that is JSON and hands it to `use`, as `withBody`. Errors: ProblemError (400, 413, 415). */
export async function withJson<T>(
  request: Request,
  bounds: BodyBounds,
  use: (body: unknown) => Promise<T>,
): Promise<T> {
  checkContentType(request, ["application/json"]);
  return await withBody(request, bounds, async (bytes) => await use(parseJson(bytes)));
}

/** Reads the whole body and hands it to `use`; its room is given back after that. Errors: ProblemError (413). */
export async function withBody<T>(
  request: Request,
  { maxBytes, room }: BodyBounds,
  use: (bytes: Uint8Array) => T | Promise<T>,
): Promise<T> {
  const announced = Number(request.headers.get("Content-Length") ?? maxBytes);
  if (announced > maxBytes) throw tooLarge(maxBytes);
  const heldBytes = Math.min(announced, maxBytes);
  await room.take(heldBytes);
  try {
    return await use(await allBytes(request, maxBytes));
  } finally {
    room.giveBack(heldBytes);
  }
}

async function allBytes(request: Request, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let byteCount = 0;
  for await (const chunk of request.body ?? []) {
    byteCount += chunk.length;
    if (byteCount > maxBytes) throw tooLarge(maxBytes);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** The error of a body, or of a value in a stream, that is larger than allowed. */
export function tooLarge(maxBytes: number): ProblemError {
  return new ProblemError(
    413,
    `Cannot read the body: it is larger than ${maxBytes} bytes (weir.gateway.max.body.bytes)`,
  );
}

/** One JSON value. Errors: ProblemError (400). */
export function parseJson(bytes: Uint8Array): unknown {
  if (depthOf(bytes) > MAX_DEPTH) {
    throw new ProblemError(400, `Cannot read JSON: values lie more than ${MAX_DEPTH} deep`);
  }
  try {
    return JSON.parse(decoder.decode(bytes));
  } catch (cause) {
    throw new ProblemError(400, `Cannot read JSON: ${(cause as Error).message.slice(0, 200)}`);
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** How deep brackets and braces lie in each other, outside of texts. */
function depthOf(bytes: Uint8Array): number {
  let depth = 0;
  let deepest = 0;
  let inText = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (inText) {
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) inText = false;
    } else if (byte === QUOTE) inText = true;
    // Brackets and braces differ from each other by one bit: [ 5B, { 7B, ] 5D, } 7D.
    else if ((byte & 0xdf) === 0x5b) deepest = Math.max(deepest, ++depth);
    else if ((byte & 0xdf) === 0x5d) depth--;
  }
  return deepest;
}

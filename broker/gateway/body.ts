/**
 * What clients send, read with bounds: on one body, on its nesting, and on the bytes of all that are here at once.
 *
 *     request ──→ chunks, counted (held_bytes.ts) ──→ text ──→ nesting checked ──→ JSON
 */

import { ProblemError } from "./problem.ts";
import { type BodyBounds, HeldBytes, tooLarge } from "./held_bytes.ts";

/** How deep values may lie in each other: past that, writing them out again would exhaust the stack. */
export const MAX_DEPTH = 200;
const decoder = new TextDecoder("utf-8", { fatal: true });

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

/**
 * Reads the whole body and hands it to `use`; its room is given back after that.
 * Errors: ProblemError (413, 503); those of `use`.
 */
export async function withBody<T>(
  request: Request,
  bounds: BodyBounds,
  use: (bytes: Uint8Array) => T | Promise<T>,
): Promise<T> {
  const announcedBytes = Number(request.headers.get("Content-Length") ?? 0);
  if (announcedBytes > bounds.maxBytes) throw tooLarge(bounds.maxBytes);
  const held = new HeldBytes(bounds);
  try {
    for await (const chunk of request.body ?? []) held.add(chunk);
  } catch (error) {
    held.drop();
    throw error;
  }
  const { bytes, release } = held.end();
  try {
    return await use(bytes);
  } finally {
    release();
  }
}

/** The pieces of a body; whoever cancels its reader ends them. */
export async function* piecesOf(
  reader: Pick<ReadableStreamDefaultReader<Uint8Array>, "read">,
): AsyncGenerator<Uint8Array, void, void> {
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
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

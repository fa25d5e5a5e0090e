/**
 * Bytes as a text that somebody keeps and hands in again: base64url of them and of their CRC-32C (4 B). The checksum is
 * against slips of the hand; it gives no right to anything.
 */

import { crc32c } from "../../protocol/crc32c.ts";

const SUM_BYTES = 4;

/** The text of bytes. */
export function formatChecked(content: Uint8Array): string {
  const bytes = new Uint8Array(content.length + SUM_BYTES);
  bytes.set(content);
  new DataView(bytes.buffer).setUint32(content.length, crc32c(content));
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}

/** The bytes in a text. Errors: what `refuse` makes of what was found. */
export function parseChecked(
  text: string,
  refuse: (found: string, cause?: unknown) => Error,
): Uint8Array {
  let bytes: Uint8Array;
  try {
    bytes = Uint8Array.fromBase64(text, { alphabet: "base64url" });
  } catch (cause) {
    throw refuse("it is not base64url", cause);
  }
  const end = bytes.length - SUM_BYTES;
  if (end < 1) throw refuse("it is too short");
  const sum = new DataView(bytes.buffer, bytes.byteOffset).getUint32(end);
  if (sum !== crc32c(bytes, 0, 0, end)) throw refuse("its checksum does not fit");
  return bytes.subarray(0, end);
}

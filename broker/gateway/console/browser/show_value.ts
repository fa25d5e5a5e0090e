/** Bytes as people read them: pretty JSON with its parts told apart, text, or hex. No document needed. */

/** A piece of pretty JSON; `kind` is null for what only holds it together. */
export interface JsonPiece {
  readonly text: string;
  readonly kind: "jsonKey" | "jsonString" | "jsonNumber" | "jsonWord" | null;
}

const PIECES =
  /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|\b(true|false|null)\b|([^"\d\-tfn]+|.)/gs;

/** Pretty JSON in pieces; null for a text that is none, or no object, array or text in itself. */
export function jsonPieces(text: string): JsonPiece[] | null {
  const pretty = prettyJson(text);
  if (pretty === null) return null;
  const pieces: JsonPiece[] = [];
  for (const [whole, string, colon, number, word] of pretty.matchAll(PIECES)) {
    if (string !== undefined) {
      pieces.push({ text: string, kind: colon === undefined ? "jsonString" : "jsonKey" });
      if (colon !== undefined) pieces.push({ text: colon, kind: null });
      continue;
    }
    const kind = number !== undefined ? "jsonNumber" : word !== undefined ? "jsonWord" : null;
    pieces.push({ text: whole, kind });
  }
  return pieces;
}

/**
 * JSON with two spaces a level; null for what is none. It goes by the text, so that numbers keep all of their digits:
 * read as numbers, large ids would be rounded.
 */
export function prettyJson(text: string): string | null {
  const trimmed = text.trim();
  if (!/^[[{]/.test(trimmed)) return null;
  try {
    JSON.parse(trimmed);
  } catch {
    return null;
  }
  let pretty = "";
  let depth = 0;
  const newLine = () => `\n${"  ".repeat(depth)}`;
  for (const [token] of trimmed.matchAll(/"(?:[^"\\]|\\.)*"|[[\]{},:]|[^\s[\]{},:"]+/g)) {
    switch (token) {
      case "{":
      case "[":
        depth++;
        pretty += token + newLine();
        break;
      case "}":
      case "]":
        depth--;
        // Nothing in it: it stays on its line.
        pretty = /[[{]\s*$/.test(pretty) ? pretty.trimEnd() + token : pretty + newLine() + token;
        break;
      case ",":
        pretty += token + newLine();
        break;
      case ":":
        pretty += ": ";
        break;
      default:
        pretty += token;
    }
  }
  return pretty;
}

const ROW_BYTES = 16;

/** Offset, bytes, and what of them is printable, sixteen a line. */
export function hexDump(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += ROW_BYTES) {
    const row = bytes.subarray(at, at + ROW_BYTES);
    const hex = [...row].map((byte) => byte.toString(16).padStart(2, "0"));
    const halves = [hex.slice(0, 8).join(" "), hex.slice(8).join(" ")].join("  ");
    const text = [...row].map((byte) =>
      byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "."
    );
    lines.push(`${at.toString(16).padStart(8, "0")}  ${halves.padEnd(48)}  ${text.join("")}`);
  }
  return lines.join("\n");
}

/** A value on one line, as long as a line of the list may be. */
export function oneLine(text: string, maxLength = 400): string {
  return text.slice(0, maxLength).replaceAll(/\s+/g, " ");
}

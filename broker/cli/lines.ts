/**
 * Cuts standard input into lines, byte for byte.
 *
 * A line ends with LF, which is not part of it; CR stays, so that a file with CRLF comes back as it was. Bytes
 * after the last LF are a line too. What is held is one unfinished line of at most `maxLineBytes`.
 */

import { CliError } from "./io.ts";

const LF = 0x0a;

/** Gives the lines of each chunk at a time. Errors: CliError for a line that is too long. */
export async function* linesOf(
  input: AsyncIterable<Uint8Array>,
  maxLineBytes: number,
): AsyncGenerator<Uint8Array[], void, void> {
  let held: Uint8Array[] = [];
  let heldBytes = 0;
  let lineCount = 0;
  for await (const chunk of input) {
    const lines: Uint8Array[] = [];
    let start = 0;
    for (let at = chunk.indexOf(LF); at >= 0; at = chunk.indexOf(LF, start)) {
      const tail = chunk.subarray(start, at);
      if (heldBytes === 0) lines.push(tail);
      else {
        lines.push(Buffer.concat([...held, tail]));
        held = [];
        heldBytes = 0;
      }
      start = at + 1;
    }
    lineCount += lines.length;
    if (start < chunk.length) {
      held.push(chunk.subarray(start));
      heldBytes += chunk.length - start;
    }
    if (heldBytes > maxLineBytes) {
      throw new CliError(
        `line ${lineCount + 1} is longer than ${maxLineBytes} bytes; is the input text?`,
      );
    }
    if (lines.length > 0) yield lines;
  }
  if (heldBytes > 0) yield [Buffer.concat(held)];
}

/**
 * How `weir produce` reads a line: as the value, as key and value, or as one JSON object (`client/record_json.ts`) such as
 * `weir consume --json` prints, so that the one can be piped into the other.
 */

import { ClientError } from "../client/client_error.ts";
import type { OutgoingRecord } from "../client/producer.ts";
import { parseRecord } from "../client/record_json.ts";

/** Names of the formats. */
export const INPUT_FORMATS = ["lines", "key-value", "ndjson"] as const;
export type InputFormat = (typeof INPUT_FORMATS)[number];

/** Turns a line into a record; `nowMs` is the time of a record that has none. Errors: ClientError. */
export type LineReader = (line: Uint8Array, nowMs: number) => OutgoingRecord;

const utf8Encoder = new TextEncoder();

/** The reader for a format. Errors: ClientError when the separator is empty. */
export function lineReader(format: InputFormat, keySeparator: string): LineReader {
  switch (format) {
    case "lines":
      return (value, timestamp) => ({ key: null, value, timestamp });
    case "key-value":
      return keyValueReader(keySeparator);
    case "ndjson":
      return parseRecord;
  }
}

function keyValueReader(keySeparator: string): LineReader {
  const separator = utf8Encoder.encode(keySeparator);
  if (separator.length === 0) throw new ClientError("the key separator is empty");
  return (line, timestamp) => {
    const at = Buffer.from(line.buffer, line.byteOffset, line.length).indexOf(separator);
    if (at < 0) throw new ClientError(`the line has no "${keySeparator}" between key and value`);
    return {
      key: line.subarray(0, at),
      value: line.subarray(at + separator.length),
      timestamp,
    };
  };
}

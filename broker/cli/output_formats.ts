/** How `weir consume` prints a record: its value, a template, or one JSON object. */

import type { KafkaRecord } from "../../protocol/records.ts";
import type { TopicPartition } from "../../protocol/types.ts";
import { formatRecord } from "../client/record_json.ts";
import { UsageError } from "./io.ts";

const utf8Encoder = new TextEncoder();
const NOTHING = new Uint8Array(0);
const ESCAPES: Readonly<Record<string, string>> = {
  n: "\n",
  t: "\t",
  r: "\r",
  "0": "\0",
  "\\": "\\",
};

/** Gives the bytes to print for a record, in pieces. */
export type RecordPrinter = (record: KafkaRecord, origin: TopicPartition) => Uint8Array[];

/**
 * The printer for `value`, `json` or a template.
 *
 * In a template %k is the key, %v the value, %t the topic, %T the timestamp in ms, %p the partition, %o the offset,
 * %h the headers as key=value,…, %% a percent sign; \n, \t, \r, \0 and \\ are escapes. Null prints as nothing.
 * Errors: UsageError for an unknown placeholder.
 */
export function recordPrinter(format: string, separator: string): RecordPrinter {
  const end = utf8Encoder.encode(unescape(separator));
  if (format === "value") return ({ value }) => [value ?? NOTHING, end];
  if (format === "json") {
    return (record, origin) => [utf8Encoder.encode(`${formatRecord(record, origin)}\n`)];
  }
  if (!format.includes("%")) {
    throw new UsageError(
      `Cannot use --format "${format}": it must be value, json, or a template with a placeholder ` +
        "such as %k or %v",
    );
  }
  const parts = parseTemplate(format);
  return (record, origin) => [...parts.map((part) => part(record, origin)), end];
}

function unescape(text: string): string {
  return text.replace(/\\([ntr0\\])/g, (_, letter: string) => ESCAPES[letter]!);
}

type Part = (record: KafkaRecord, origin: TopicPartition) => Uint8Array;

const number = (value: number) => utf8Encoder.encode(String(value));

const PLACEHOLDERS: Readonly<Record<string, Part>> = {
  k: ({ key }) => key ?? NOTHING,
  v: ({ value }) => value ?? NOTHING,
  t: (_record, { topic }) => utf8Encoder.encode(topic),
  T: ({ timestamp }) => number(timestamp),
  p: (_record, { partition }) => number(partition),
  o: ({ offset }) => number(offset),
  h: ({ headers }) =>
    Buffer.concat(
      headers.flatMap(({ key, value }, i) => [
        utf8Encoder.encode(`${i === 0 ? "" : ","}${key}=`),
        value ?? NOTHING,
      ]),
    ),
  "%": () => utf8Encoder.encode("%"),
};

function parseTemplate(template: string): Part[] {
  return template.split(/(%.?)/s).filter((piece) => piece !== "").map((piece) => {
    if (!piece.startsWith("%")) {
      const literal = utf8Encoder.encode(unescape(piece));
      return () => literal;
    }
    const part = PLACEHOLDERS[piece.slice(1)];
    if (part !== undefined) return part;
    throw new UsageError(
      `Cannot use --format "${template}": "${piece}" is none of ` +
        Object.keys(PLACEHOLDERS).map((letter) => `%${letter}`).join(", "),
    );
  });
}

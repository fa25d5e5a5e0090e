/**
 * Offsets of a group as a file: what `weir group reset-offsets` reads with `--from-file` and writes with `--export`.
 *
 * One line a partition, as Kafka's `kafka-consumer-groups` reads and writes them; it puts long names in quotes, and the
 * group in front where it was asked for several:
 *
 *     orders,0,1200
 *     "a-topic-with-a-name-that-is-longer-than-24",3,77
 *     billing,orders,1,1180
 *
 * Nothing is taken of a file that has something wrong in any line.
 */

import { formatTopicPartition } from "../../protocol/types.ts";
import type { GroupOffset } from "../client/group_member.ts";
import { CliError, type CliIo } from "./io.ts";

/** More than a million lines; what is read is held. */
const MAX_FILE_BYTES = 64 * 1024 * 1024;
/** A line of so many fields has the group in front. */
const FIELDS_WITH_GROUP = 4;
const FIELDS = 3;
const FORM = "a line is topic,partition,offset or group,topic,partition,offset";
/** A field in quotes, with a quote in it doubled, or one without. */
const FIELD = /^(?:"((?:[^"]|"")*)"|([^",]*))(,|$)/;

/** An offset that a file gives a partition. */
export interface FileOffset extends GroupOffset {
  /** File and line, for errors. */
  readonly place: string;
}

/** The text of a file. Errors: CliError, DiskError. */
export function readOffsetsFile({ disk }: CliIo, path: string): string {
  if (!disk.exists(path)) throw new CliError(`there is no file ${path}`);
  const file = disk.open(path, "read");
  try {
    if (file.sizeBytes > MAX_FILE_BYTES) {
      throw new CliError(`${path} has ${file.sizeBytes} bytes, more than ${MAX_FILE_BYTES}`);
    }
    const bytes = new Uint8Array(file.sizeBytes);
    return new TextDecoder().decode(bytes.subarray(0, file.read(0, bytes)));
  } finally {
    file.close();
  }
}

/** The offsets that a file has for a group; lines of other groups are passed over. Errors: CliError. */
export function parseOffsets(text: string, path: string, groupId: string): FileOffset[] {
  const offsets = new Map<string, FileOffset>();
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === "") continue;
    const place = `${path} line ${i + 1}`;
    const fields = fieldsOf(line);
    if (fields === null || fields.length < FIELDS || fields.length > FIELDS_WITH_GROUP) {
      throw new CliError(`${place} is "${line}"; ${FORM}`);
    }
    const [topic, partition, offset] = fields.slice(-FIELDS) as [string, string, string];
    const parsed = {
      topic,
      partition: numberOf("partition", partition, place),
      offset: numberOf("offset", offset, place),
      place,
    };
    if (topic === "") throw new CliError(`${place} names no topic; ${FORM}`);
    if (fields.length === FIELDS_WITH_GROUP && fields[0] !== groupId) continue;
    const key = formatTopicPartition(topic, parsed.partition);
    const before = offsets.get(key);
    if (before !== undefined) {
      throw new CliError(`${place} names ${key} again, after ${before.place}; one of them must go`);
    }
    offsets.set(key, parsed);
  }
  if (offsets.size === 0) throw new CliError(`${path} has no offsets of group ${groupId}; ${FORM}`);
  return [...offsets.values()];
}

/** Null for a line that is no CSV. */
function fieldsOf(line: string): string[] | null {
  const fields: string[] = [];
  for (let rest = line;;) {
    const match = FIELD.exec(rest);
    if (match === null) return null;
    const [whole, quoted, bare, end] = match;
    fields.push(quoted === undefined ? bare!.trim() : quoted.replaceAll('""', '"'));
    if (end === "") return fields;
    rest = rest.slice(whole.length);
  }
}

function numberOf(name: string, text: string, place: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value;
  throw new CliError(
    `${place} has the ${name} "${text}", it must be a whole number of 0 or more; ${FORM}`,
  );
}

/** The lines of a file. No topic has a name that needs quotes. */
export function formatOffsets(offsets: readonly GroupOffset[]): string {
  const lines = offsets.map(({ topic, partition, offset }) => `${topic},${partition},${offset}\n`);
  return lines.join("");
}

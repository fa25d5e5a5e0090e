/**
 * Where a reader of a topic is, in all its partitions, as a text that it can hand to any node of the cluster: nothing of
 * it is kept in a process.
 *
 *     version int8 = 2 | topic id 16 B | count varint | (partition varint | offset varlong | leader epoch varint)…, as
 *     `checked_text.ts`
 *
 * As the tokens of single partitions (`feeds/resume_token.ts`, version 1): another topic under the same name is told apart
 * by its id, a leader that has lost what was read by the epoch.
 */

import { formatUuid, parseUuid, Reader, WireError, Writer } from "../../../protocol/bytes.ts";
import type { Uuid } from "../../../protocol/types.ts";
import { formatChecked, parseChecked } from "../checked_text.ts";
import { ProblemError } from "../problem.ts";

const VERSION = 2;
/** Partitions that one token can name. */
export const MAX_POSITIONS = 256;
/** No token is longer: each partition takes at most 5 + 10 + 5 bytes. */
export const MAX_TOKEN_LENGTH = Math.ceil((1 + 16 + 5 + 20 * MAX_POSITIONS + 4) / 3) * 4;

/** A place in a partition. */
export interface Position {
  /** Offset that comes next. */
  readonly offset: number;
  /** Leader epoch of the record before it; −1 where it is not known. */
  readonly leaderEpoch: number;
}

/** Places in a topic. */
export interface Positions {
  readonly topicId: Uuid;
  readonly byPartition: ReadonlyMap<number, Position>;
}

/** The text of places. */
export function formatPositions({ topicId, byPartition }: Positions): string {
  const writer = new Writer();
  writer.int8(VERSION);
  writer.raw(parseUuid(topicId));
  writer.varint(byPartition.size);
  for (const [partition, { offset, leaderEpoch }] of byPartition) {
    writer.varint(partition);
    writer.varlong(offset);
    writer.varint(leaderEpoch);
  }
  return formatChecked(writer.finish());
}

/** The places in a text. Errors: ProblemError (400) for a text that is no token of this version. */
export function parsePositions(text: string): Positions {
  try {
    return decode(new Reader(parseChecked(text, refused)));
  } catch (cause) {
    if (cause instanceof WireError) throw refused("it cannot be read");
    throw cause;
  }
}

function decode(reader: Reader): Positions {
  if (reader.int8() !== VERSION) throw refused("it is of another version");
  const topicId = formatUuid(reader.view(16));
  const count = reader.varint();
  if (count < 0 || count > MAX_POSITIONS) throw refused("it names too many partitions");
  const byPartition = new Map<number, Position>();
  for (let i = 0; i < count; i++) {
    const partition = reader.varint();
    const position = { offset: reader.varlong(), leaderEpoch: reader.varint() };
    if (partition < 0 || position.offset < 0) throw refused("its fields are out of bounds");
    byPartition.set(partition, position);
  }
  if (reader.remaining > 0) throw refused("it is longer than what it says");
  return { topicId, byPartition };
}

function refused(found: string): ProblemError {
  return new ProblemError(400, `Cannot go on: this is no token of a stream or a page: ${found}`);
}

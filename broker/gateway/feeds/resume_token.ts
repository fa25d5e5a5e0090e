/**
 * Where a reader of a partition is, as a text that it can hand to any node of the cluster: nothing of it is kept in a
 * process. Another topic under the same name is told apart by the topic's id, a leader that has lost what was read by the
 * epoch.
 *
 *     version int8 = 1 | topic id 16 B | partition varint | offset int64 | leader epoch varint, as `checked_text.ts`
 */

import { formatUuid, parseUuid, Reader, WireError, Writer } from "../../../protocol/bytes.ts";
import type { Uuid } from "../../../protocol/types.ts";
import { ClientError } from "../../client/client_error.ts";
import { formatChecked, parseChecked } from "../checked_text.ts";

const VERSION = 1;
const MAX_TEXT = 64;

/** A place to go on at. */
export interface ResumePoint {
  readonly topicId: Uuid;
  readonly partition: number;
  /** Offset that comes next. */
  readonly offset: number;
  /** Leader epoch of the record before it; −1 where it is not known. */
  readonly leaderEpoch: number;
}

/** The text of a place. */
export function formatResumeToken(
  { topicId, partition, offset, leaderEpoch }: ResumePoint,
): string {
  const writer = new Writer();
  writer.int8(VERSION);
  writer.raw(parseUuid(topicId));
  writer.varint(partition);
  writer.int64(offset);
  writer.varint(leaderEpoch);
  return formatChecked(writer.finish());
}

/** The place in a text. Errors: ClientError for a text that is no token of this version. */
export function parseResumeToken(text: string): ResumePoint {
  const refuse = (found: string, cause?: unknown) =>
    new ClientError(`Cannot resume: "${text.slice(0, MAX_TEXT)}" ${found}`, { cause });
  if (text.length > MAX_TEXT) throw refuse("is longer than a resume token");
  const content = parseChecked(
    text,
    (found, cause) => refuse(`is no resume token: ${found}`, cause),
  );
  const reader = new Reader(content);
  try {
    const version = reader.int8();
    if (version !== VERSION) {
      throw refuse(`is a resume token of version ${version}, this node knows ${VERSION}`);
    }
    const topicId = formatUuid(reader.view(16));
    const point = {
      topicId,
      partition: reader.varint(),
      offset: reader.int64(),
      leaderEpoch: reader.varint(),
    };
    if (reader.remaining > 0 || point.partition < 0 || point.offset < 0 || point.leaderEpoch < -1) {
      throw refuse("is no resume token: its fields are out of bounds");
    }
    return point;
  } catch (cause) {
    if (cause instanceof WireError) throw refuse("is no resume token", cause);
    throw cause;
  }
}

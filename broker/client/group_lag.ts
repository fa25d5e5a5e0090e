/**
 * How far a group is behind, in records and in time.
 *
 * In records: the end offset less the committed one, as Kafka's tools count it. In time: how long ago the first record
 * that the group has not consumed was written, as its own timestamp says. No request tells the time of an offset, so that
 * record is fetched: of each partition that lags one batch, and nothing of those that do not.
 */

import { ErrorCode } from "../../protocol/errors.ts";
import {
  batches,
  isControl,
  isCrcValid,
  readAttributes,
  readLastOffset,
} from "../../protocol/record_batch.ts";
import { type KafkaRecord, readRecords } from "../../protocol/records.ts";
import { formatTopicPartition, type TopicPartition } from "../../protocol/types.ts";
import type { BrokerConnection } from "../peers/broker_connection.ts";
import { Calls } from "./calls.ts";
import { type KafkaClient, throwOnError } from "./kafka_client.ts";
import { listOffsets, SpecialTimestamp } from "./offsets.ts";

/** How many batches are asked for, and held, at a time. */
const FETCHES_AT_ONCE = 8;
/** Markers of transactions and batches that compaction has emptied, which are passed over before giving up. */
const MAX_BATCHES = 16;
const MAX_DECOMPRESSED_BYTES = 256 * 1024 * 1024;

const NO_BYTES = new Uint8Array(0);

/** A partition that a group has not read to its end. */
export interface Lagging extends TopicPartition {
  readonly committedOffset: number;
  readonly endOffset: number;
}

/** End offsets by `formatTopicPartition`; partitions that are gone, or that nobody leads, are left out. */
export async function endOffsets(
  client: KafkaClient,
  places: readonly TopicPartition[],
): Promise<Map<string, number>> {
  const ends = new Map<string, number>();
  for (const [topic, wanted] of Map.groupBy(places, (place) => place.topic)) {
    const { topics: [found] } = await client.retry(() => client.metadata([topic]));
    if (found?.errorCode !== ErrorCode.NONE) continue;
    const led = new Set(
      found.partitions.filter(({ leaderId }) => leaderId >= 0).map((it) => it.partitionIndex),
    );
    const numbers = wanted.map(({ partition }) => partition).filter((it) => led.has(it));
    const offsets = await listOffsets(client, topic, numbers, SpecialTimestamp.latest);
    for (const [partition, { offset }] of offsets) {
      ends.set(formatTopicPartition(topic, partition), offset);
    }
  }
  return ends;
}

/**
 * Timestamps of the first records that are not consumed, by `formatTopicPartition`. Units: ms since the epoch.
 *
 * Left out: partitions where none was found, because all that is left are markers of transactions, the record has no
 * timestamp, or it is damaged.
 */
export async function unreadSince(
  client: KafkaClient,
  lagging: readonly Lagging[],
): Promise<Map<string, number>> {
  const found = new Map<string, number | null>();
  for (const [topic, wanted] of Map.groupBy(lagging, (place) => place.topic)) {
    await client.retry(async () => {
      const leaders = new Map(
        (await client.leaders(topic)).map(({ partition, leaderId }) => [partition, leaderId]),
      );
      // What an attempt before this one has read stays.
      const rest = wanted
        .filter(({ partition }) => !found.has(formatTopicPartition(topic, partition)))
        .values();
      const readRest = async () => {
        for (const place of rest) {
          const { partition } = place;
          const connection = await client.broker(leaders.get(partition) ?? -1);
          const timestamp = await firstTimestamp(client, connection, place);
          found.set(formatTopicPartition(topic, partition), timestamp);
        }
      };
      await Promise.all(Array.from({ length: FETCHES_AT_ONCE }, readRest));
    });
  }
  return new Map([...found].flatMap(([name, timestamp]) => (
    timestamp === null ? [] : [[name, timestamp]]
  )));
}

/** The time of the first record from the committed offset on; null where it is not to be found. */
async function firstTimestamp(
  client: KafkaClient,
  connection: BrokerConnection,
  { topic, partition, committedOffset, endOffset }: Lagging,
): Promise<number | null> {
  let offset = committedOffset;
  for (let count = 0; count < MAX_BATCHES && offset < endOffset; count++) {
    const answer = await connection.request(Calls.fetch, {
      replicaId: -1,
      maxWaitMs: 0,
      minBytes: 0,
      // A broker answers with one whole batch all the same (KIP-74).
      maxBytes: 1,
      isolationLevel: 0,
      topics: [{
        topic,
        partitions: [{ partition, fetchOffset: offset, partitionMaxBytes: 1 }],
      }],
      forgottenTopicsData: [],
    });
    throwOnError(answer.errorCode);
    const { errorCode, records } = answer.responses[0]!.partitions[0]!;
    if (errorCode === ErrorCode.CORRUPT_MESSAGE) return null;
    if (errorCode === ErrorCode.OFFSET_OUT_OF_RANGE) {
      // Retention has overtaken the group: it goes on with the first record that is left.
      const starts = await listOffsets(client, topic, [partition], SpecialTimestamp.earliest);
      const start = starts.get(partition)!.offset;
      if (start <= offset) return null;
      offset = start;
      continue;
    }
    throwOnError(errorCode);
    const { record, nextOffset } = readFirst(records ?? NO_BYTES, offset);
    if (record !== null) return record.timestamp < 0 ? null : record.timestamp;
    if (nextOffset === offset) return null;
    offset = nextOffset;
  }
  return null;
}

/** The first record from an offset on; where there is none, `nextOffset` is behind what was read, unless it is damaged. */
function readFirst(
  bytes: Uint8Array,
  offset: number,
): { readonly record: KafkaRecord | null; readonly nextOffset: number } {
  let nextOffset = offset;
  for (const at of batches(bytes)) {
    if (!isCrcValid(bytes, at)) break;
    const records = isControl(readAttributes(bytes, at))
      ? []
      : readRecords(bytes, at, { maxDecompressedBytes: MAX_DECOMPRESSED_BYTES });
    const record = records.find((it) => it.offset >= offset);
    if (record !== undefined) return { record, nextOffset };
    nextOffset = Math.max(nextOffset, readLastOffset(bytes, at) + 1);
  }
  return { record: null, nextOffset };
}

/**
 * The stories of batches: sizes, compression, times, and offsets found by time.
 *
 * Compressed bytes differ from library to library, so that what is fetched is compared record by record.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { CompressionCodec } from "../../protocol/compression.ts";
import { hasLogAppendTime, readBatchHeader, sealCrc } from "../../protocol/record_batch.ts";
import { buildBatch, type NewRecord, readRecords } from "../../protocol/records.ts";
import {
  deleteRecordsRequest,
  deleteRecordsResponse,
} from "../../protocol/schemas/delete_records.ts";
import { fetchRequest, fetchResponse } from "../../protocol/schemas/fetch.ts";
import {
  incrementalAlterConfigsRequest,
  incrementalAlterConfigsResponse,
} from "../../protocol/schemas/incremental_alter_configs.ts";
import { listOffsetsRequest, listOffsetsResponse } from "../../protocol/schemas/list_offsets.ts";
import {
  bytesOf,
  idOf,
  listOffsets,
  makeTopic,
  produce,
  type State,
  type Step,
  step,
  type Story,
  topicOf,
} from "./differential_steps.ts";

const MINUTE_MS = 60_000;
const T0 = 1_700_000_000_000;
const CODECS = Object.entries(CompressionCodec);
const TYPES = ["uncompressed", "gzip", "snappy", "lz4", "zstd", "producer"];
const FIRST_MAX_TIMESTAMP_VERSION = 7;

/** Records at these times, relative to now. */
function at(...offsetsMs: readonly number[]): NewRecord[] {
  const nowMs = Date.now();
  return offsetsMs.map((offsetMs) => ({
    key: bytesOf("k"),
    value: bytesOf("v"),
    timestamp: nowMs + offsetMs,
  }));
}

function timed(...timestamps: readonly number[]): NewRecord[] {
  return timestamps.map((timestamp) => ({ key: null, value: bytesOf("value"), timestamp }));
}

/** A value that no codec makes smaller. */
function noise(byteCount: number): Uint8Array {
  let state = 1;
  return Uint8Array.from({ length: byteCount }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state >>> 16;
  });
}

/** A batch that claims to carry the broker's time. */
function stamped(maxTimestamp: number): Uint8Array {
  const batch = buildBatch({
    records: at(0, -1000),
    timestampType: "LogAppendTime",
    maxTimestamp,
  });
  sealCrc(batch, 0);
  return batch;
}

/** Everything that a consumer sees of the log; times of the broker are left out. */
function readAll(title: string): Step {
  return step(title, fetchRequest, fetchResponse, (state) => ({
    maxWaitMs: 0,
    minBytes: 0,
    maxBytes: 1 << 24,
    sessionEpoch: -1,
    topics: [{
      topic: topicOf(state),
      topicId: idOf(state),
      partitions: [{
        partition: 0,
        fetchOffset: 0,
        currentLeaderEpoch: -1,
        lastFetchedEpoch: -1,
        partitionMaxBytes: 1 << 24,
      }],
    }],
    forgottenTopicsData: [],
  }), {
    pick: ({ responses }) => responses[0]!.partitions.map(({ records }) => seen(records!)),
  });
}

function seen(records: Uint8Array): unknown[] {
  const batches: unknown[] = [];
  for (let at = 0; at < records.length;) {
    const header = readBatchHeader(records, at);
    const isStamped = hasLogAppendTime(header.attributes);
    const { attributes, producerId, producerEpoch, baseSequence, lastOffsetDelta } = header;
    batches.push({
      attributes,
      producerId,
      producerEpoch,
      baseSequence,
      lastOffsetDelta,
      maxTimestamp: isStamped ? 0 : relative(header.maxTimestamp),
      records: readRecords(records, at, { maxDecompressedBytes: 1 << 26 }).map((record) => ({
        offset: record.offset,
        time: isStamped ? 0 : relative(record.timestamp),
        value: record.value?.length,
        headers: record.headers.map(({ key }) => key),
      })),
    });
    at += 12 + header.batchLength;
  }
  return batches;
}

/** Times near now differ from side to side by the moments in between. */
function relative(timestamp: number): number | string {
  return Math.abs(timestamp - Date.now()) < 10 * MINUTE_MS ? "near now" : timestamp;
}

function setConfig(name: string, value: string): Step {
  return step(
    `set ${name}=${value}`,
    incrementalAlterConfigsRequest,
    incrementalAlterConfigsResponse,
    (state) => ({
      resources: [{
        resourceType: 2,
        resourceName: topicOf(state),
        configs: [{ name, configOperation: 0, value }],
      }],
      validateOnly: false,
    }),
    { compare: false, settleMs: 1500 },
  );
}

function deleteBefore(offset: number): Step {
  return step(`delete before ${offset}`, deleteRecordsRequest, deleteRecordsResponse, (state) => ({
    topics: [{ name: topicOf(state), partitions: [{ partitionIndex: 0, offset }] }],
    timeoutMs: 5000,
  }), { compare: false });
}

/** ListOffsets of which only the offset is compared: the time is the broker's. */
function findOffset(
  title: string,
  timestamp: (state: State) => number,
  isolationLevel = 0,
): Step {
  return step(
    title,
    listOffsetsRequest,
    listOffsetsResponse,
    (state, version) =>
      timestamp(state) === -3 && version < FIRST_MAX_TIMESTAMP_VERSION ? null : ({
        replicaId: -1,
        isolationLevel: version < 2 ? 0 : isolationLevel,
        topics: [{
          name: topicOf(state),
          partitions: [{
            partitionIndex: 0,
            currentLeaderEpoch: -1,
            timestamp: timestamp(state),
          }],
        }],
        timeoutMs: 1000,
      }),
    {
      pick: ({ topics }) =>
        topics[0]!.partitions.map(({ errorCode, offset, leaderEpoch }) => (
          { errorCode, offset, leaderEpoch }
        )),
    },
  );
}

/** A topic that keeps records of long ago. */
const topicFor = (configs: Record<string, string>) =>
  makeTopic({ "retention.ms": "-1", ...configs });

const PRODUCER = { producerId: 9001, producerEpoch: 0 };
const headers = [{ key: "trace", value: bytesOf("1") }, { key: "empty", value: null }];

/** To be played on weir and on Apache Kafka. */
export const batchStories: readonly Story[] = [
  ...TYPES.map((
    type,
  ): Story => [`stores batches as compression.type=${type} says`, ApiKey.Produce, [
    ...topicFor({ "compression.type": type }),
    ...CODECS.map(([name, compression], index) =>
      produce(name, () =>
        buildBatch({
          records: timed(T0 + 5, T0, -1).map((record) => ({ ...record, headers })),
          compression,
          ...PRODUCER,
          baseSequence: 3 * index,
        }))
    ),
    produce(
      "a duplicate",
      () => buildBatch({ records: timed(T0, T0, T0), ...PRODUCER, baseSequence: 12 }),
      {
        compare: false,
      },
    ),
    readAll("what a consumer sees"),
  ], 7]),
  ["bounds sizes before and after compression", ApiKey.Produce, [
    ...topicFor({
      "max.message.bytes": "1000",
      "compression.type": "uncompressed",
    }),
    ...[931, 932, 3000].map((bytes) =>
      produce(
        `${bytes} bytes as they are`,
        () => buildBatch({ records: [{ key: null, value: new Uint8Array(bytes), timestamp: T0 }] }),
      )
    ),
    ...[900, 5000].map((bytes) =>
      produce(`${bytes} bytes out of gzip`, () =>
        buildBatch({
          records: [{ key: null, value: new Uint8Array(bytes), timestamp: T0 }],
          compression: CompressionCodec.gzip,
        }))
    ),
    setConfig("compression.type", "gzip"),
    ...[900, 5000].map((bytes) =>
      produce(
        `${bytes} bytes into gzip`,
        () => buildBatch({ records: [{ key: null, value: new Uint8Array(bytes), timestamp: T0 }] }),
      )
    ),
    setConfig("max.message.bytes", "2000000"),
    setConfig("segment.bytes", "1048576"),
    setConfig("compression.type", "producer"),
    ...[1_000_000, 1_100_000].map((bytes) =>
      produce(
        `${bytes} bytes for a segment of 1 MiB`,
        () => buildBatch({ records: [{ key: null, value: noise(bytes), timestamp: T0 }] }),
      )
    ),
  ]],
  ["bounds times, record by record", ApiKey.Produce, [
    ...topicFor({
      "message.timestamp.before.max.ms": String(5 * MINUTE_MS),
      "message.timestamp.after.max.ms": String(2 * MINUTE_MS),
    }),
    ...CODECS.flatMap(([name, compression]) => [
      produce(
        `${name}: within`,
        () => buildBatch({ records: at(-4 * MINUTE_MS, 0, MINUTE_MS), compression }),
      ),
      produce(`${name}: one too old, one too new`, () =>
        buildBatch({
          records: at(0, -6 * MINUTE_MS, 0, 3 * MINUTE_MS),
          compression,
        })),
    ]),
    produce("no times", () => buildBatch({ records: timed(-1, -1) })),
    produce("no time and a time", () => buildBatch({ records: [...timed(-1), ...at(0)] })),
    produce("claims the broker's time", () => stamped(Date.now())),
    produce("claims no time of the broker", () => stamped(-1)),
    produce("a largest time that lies", () => buildBatch({ records: at(0), maxTimestamp: 5 })),
    setConfig("cleanup.policy", "compact"),
    produce("without keys, and too old", () =>
      buildBatch({
        records: [...at(0, -6 * MINUTE_MS), ...timed(T0), ...at(0)].map((record, index) => (
          index === 0 ? { ...record, key: null } : record
        )),
      })),
    produce(
      "one without a key",
      () => buildBatch({ records: [...at(0), { ...at(0)[0]!, key: null }, ...at(0)] }),
    ),
    readAll("what was taken"),
  ], 7],
  ["stamps batches with the broker's time, compressed anew or not", ApiKey.Produce, [
    ...topicFor({ "message.timestamp.type": "LogAppendTime", "compression.type": "lz4" }),
    ...CODECS.map(([name, compression]) =>
      produce(name, () => buildBatch({ records: timed(T0, 5, -1), compression }))
    ),
    produce("far in the future", () => buildBatch({ records: timed(T0 * 3) })),
    produce("claims the broker's time", () => stamped(Date.now())),
    produce("claims no time of the broker", () => stamped(-1)),
    setConfig("message.timestamp.type", "CreateTime"),
    produce("with its own time again", () => buildBatch({ records: timed(T0, 5) })),
    readAll("what a consumer sees"),
  ], 7],
  ["finds offsets within batches, in any order of times", ApiKey.ListOffsets, [
    ...topicFor({ "index.interval.bytes": "0" }),
    ...CODECS.map(([name, compression], index) =>
      produce(
        `fill ${name}`,
        () =>
          buildBatch({
            records: timed(...[30, 10, 20, 50].map((time) => T0 + 100 * index + time)),
            compression,
          }),
        { compare: false },
      )
    ),
    produce("fill with old times", () => buildBatch({ records: timed(T0 + 5, T0 + 60) }), {
      compare: false,
    }),
    produce("fill without times", () => buildBatch({ records: timed(-1, -1) }), {
      compare: false,
    }),
    ...[0, 10, 11, 30, 31, 50, 51, 110, 151, 231, 349, 430, 450, 451].map((time) =>
      listOffsets(`from ${time}`, T0 + time)
    ),
    findOffset("committed only", () => T0 + 31, 1),
    findOffset("the largest", () => -3),
    findOffset("the largest that is committed", () => -3, 1),
    deleteBefore(2),
    listOffsets("after a deletion, from 0", T0),
    listOffsets("after a deletion, from 30", T0 + 30),
    deleteBefore(17),
    listOffsets("after the next, from 430", T0 + 430),
    listOffsets("after the next, from 435", T0 + 435),
    listOffsets("after the next, from 440", T0 + 440),
    listOffsets("the start", -2),
  ]],
  ["finds offsets by the broker's time, and by both in one log", ApiKey.ListOffsets, [
    ...topicFor({ "message.timestamp.type": "LogAppendTime" }),
    produce("fill", () => buildBatch({ records: timed(T0, T0 + 1) }), { compare: false }),
    produce(
      "fill in gzip",
      () => buildBatch({ records: timed(T0, T0 + 1), compression: CompressionCodec.gzip }),
      {
        compare: false,
      },
    ),
    findOffset("long ago", () => T0),
    findOffset("to come", () => Date.now() + MINUTE_MS),
    setConfig("message.timestamp.type", "CreateTime"),
    produce("fill with its own time", () => buildBatch({ records: timed(T0, T0 + 1) }), {
      compare: false,
    }),
    findOffset("long ago, again", () => T0 + 1),
    produce("fill ahead", () => buildBatch({ records: at(MINUTE_MS, 2 * MINUTE_MS) }), {
      compare: false,
    }),
    findOffset("a little ahead", () => Date.now() + MINUTE_MS / 2),
    findOffset("the largest", () => -3),
  ]],
];

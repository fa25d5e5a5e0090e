/**
 * Records of a topic, a page at a time, newest first or oldest first over all partitions.
 *
 * Partitions are read side by side in windows of offsets, which grow while they are small, and merged by time. Within a
 * partition the order is that of the offsets, whatever the timestamps say: a record counts as no younger (forward: no
 * older) than the one before it. What a page does not show is read again for the next one, so nothing is kept here
 * between two pages; a cursor, an offset for each partition, says where the next one begins.
 *
 * A page ends when it is full, at the end of the topic, or when its budget of time and bytes is spent. A search over a
 * large topic is therefore many short requests, each of which makes progress, and it ends when nobody asks for more.
 */

import type { KafkaRecord } from "../../../protocol/records.ts";
import type { TopicPartition } from "../../../protocol/types.ts";
import { ClientError } from "../../client/client_error.ts";
import { Consumer } from "../../client/consumer.ts";
import type { KafkaClient } from "../../client/kafka_client.ts";
import { listOffsets, type Place, resolvePlace, SpecialTimestamp } from "../../client/offsets.ts";
import { formatRecord } from "../../client/record_json.ts";
import { TimeSlice } from "../../time_slice.ts";
import type { RecordFilter } from "./record_filter.ts";

/** How long a page may be worked on, and how much it may read, before it is answered as it is. */
const BUDGET_MS = 400;
const BUDGET_BYTES = 16 * 1024 * 1024;
/** Offsets of a partition that are read at once: at first, and at most. */
const FIRST_WINDOW = 4;
const LAST_WINDOW = 4096;
/** A round that read more lets the window shrink. */
const ROUND_BYTES = 2 * 1024 * 1024;
/** Of one partition no more is held; a window that turns out to hold more is given up for a smaller one. */
const WINDOW_BYTES = 4 * 1024 * 1024;
/** What the console asks for at a time: no more than can be decoded in one go. */
const ANSWER_BYTES = 256 * 1024;
const PARTITION_BYTES = 128 * 1024;
/** How long records are looked at before others have a turn, and how many between two looks at the clock. */
const SLICE_MS = 4;
const LOOK_EVERY = 16;
/** Of a key or a value, so much is in a page; the whole is asked for by itself. */
const SHOWN_BYTES = 4096;
/** Polls that bring nothing, after which the rest of a window is taken for empty. */
const EMPTY_POLLS = 3;

/** How the console's consumers read. */
const BOUNDS = {
  answerBytes: ANSWER_BYTES,
  partitionBytes: PARTITION_BYTES,
  maxWaitMs: 0,
  readsAhead: false,
};

/** What is asked for. */
export interface RecordPageRequest {
  readonly topic: string;
  /** All of the topic when empty. */
  readonly partitions: readonly number[];
  /** Backward: newest first. */
  readonly direction: "backward" | "forward";
  /** Where to begin: before it when backward. */
  readonly from: Place | ReadonlyMap<number, number>;
  readonly limit: number;
  readonly filter: RecordFilter | null;
  readonly readCommitted: boolean;
  /** Aborted: nobody waits for the page any more. */
  readonly signal: AbortSignal;
}

/** A record as it is shown in a page. */
export interface ShownRecord extends TopicPartition {
  readonly record: KafkaRecord;
  readonly keyBytes: number;
  readonly valueBytes: number;
  /** True where key or value is longer than what is shown. */
  readonly isCut: boolean;
}

/** A page. */
export interface RecordPage {
  readonly records: readonly ShownRecord[];
  /** Partition and offset: what the next page begins with. */
  readonly cursor: readonly (readonly [partition: number, offset: number])[];
  /** True where there is no more in this direction. */
  readonly isEnd: boolean;
  readonly scannedCount: number;
  readonly scannedBytes: number;
}

interface Candidate extends ShownRecord {
  /** Its time, but never against the order of the offsets. */
  readonly order: number;
}

/** One partition on its way. */
interface Lane {
  readonly partition: number;
  /** Where the page began. */
  readonly begin: number;
  /** The first offset (backward), or the one after the last (forward). */
  readonly edge: number;
  /** How far it has been read: all between it and `begin` has. */
  reached: number;
  order: number;
  readonly found: Candidate[];
}

/** A range of one partition, and what of it is here. */
interface Window {
  readonly lane: Lane;
  readonly startOffset: number;
  readonly endOffset: number;
  readonly records: KafkaRecord[];
  bytes: number;
}

/** Reads one page. Errors: ClientError, KafkaError, NetworkError. */
export async function readPage(
  client: KafkaClient,
  request: RecordPageRequest,
): Promise<RecordPage> {
  return await new PageReader(client, request).read();
}

class PageReader {
  readonly #client: KafkaClient;
  readonly #request: RecordPageRequest;
  readonly #isBackward: boolean;
  readonly #deadlineMs: number;
  readonly #slice: TimeSlice;
  #lanes: Lane[] = [];
  #scannedCount = 0;
  #scannedBytes = 0;

  constructor(client: KafkaClient, request: RecordPageRequest) {
    this.#client = client;
    this.#request = request;
    this.#isBackward = request.direction === "backward";
    this.#slice = new TimeSlice(client.clock, SLICE_MS);
    this.#deadlineMs = client.clock.monotonicMs() + BUDGET_MS;
  }

  async read(): Promise<RecordPage> {
    this.#lanes = await this.#openLanes();
    let window = Math.max(FIRST_WINDOW, Math.ceil(this.#request.limit / this.#lanes.length));
    for (let hasProgress = false;;) {
      const lanes = this.#lanesToExtend();
      if (lanes.length === 0 || this.#request.signal.aborted) break;
      const before = this.#scannedBytes;
      const isWhole = await this.#readRound(lanes, window);
      hasProgress ||= lanes.some(({ begin, reached }) => begin !== reached);
      // A page that got nowhere would be asked for again and again.
      if (this.#isSpent && hasProgress) break;
      const isHeavy = this.#scannedBytes - before > ROUND_BYTES;
      window = !isWhole ? window >> 2 : isHeavy ? window >> 1 : Math.min(2 * window, LAST_WINDOW);
      window = Math.max(1, window);
    }
    return this.#page();
  }

  get #isSpent(): boolean {
    return this.#scannedBytes >= BUDGET_BYTES ||
      this.#client.clock.monotonicMs() >= this.#deadlineMs;
  }

  async #openLanes(): Promise<Lane[]> {
    const { topic, partitions: wanted, from } = this.#request;
    const known = (await this.#client.leaders(topic)).map(({ partition }) => partition);
    const missing = wanted.find((partition) => !known.includes(partition));
    if (missing !== undefined) {
      throw new ClientError(
        `topic ${topic} has no partition ${missing}, it has 0 to ${known.length - 1}`,
      );
    }
    const partitions = wanted.length === 0 ? known : wanted;
    const at = async (timestamp: number) =>
      await listOffsets(this.#client, topic, partitions, timestamp);
    const starts = await at(SpecialTimestamp.earliest);
    const ends = await at(SpecialTimestamp.latest);
    const places = "kind" in from
      ? await resolvePlace(this.#client, topic, partitions, from)
      : from;
    return partitions.map((partition) => {
      const start = starts.get(partition)?.offset ?? 0;
      const end = ends.get(partition)?.offset ?? 0;
      const unset = this.#isBackward ? end : start;
      const begin = Math.min(Math.max(places.get(partition) ?? unset, start), end);
      return {
        partition,
        begin,
        edge: this.#isBackward ? start : end,
        reached: begin,
        order: this.#isBackward ? Infinity : -Infinity,
        found: [],
      };
    });
  }

  /** Those that may hold a record that belongs into the page and has not been read. */
  #lanesToExtend(): Lane[] {
    const open = this.#lanes.filter(({ reached, edge }) => reached !== edge);
    const last = this.#merged()[this.#request.limit - 1];
    if (last === undefined) return open;
    return open.filter(({ order }) => this.#isBackward ? order > last.order : order < last.order);
  }

  /** All that was found, in the order of the page. */
  #merged(): Candidate[] {
    const sign = this.#isBackward ? -1 : 1;
    return this.#lanes.flatMap(({ found }) => found).sort((a, b) =>
      sign * (a.order - b.order || a.partition - b.partition || a.record.offset - b.record.offset)
    );
  }

  /** Reads so many offsets of each lane. Returns: false where some were too large for that, and have stayed as they were. */
  async #readRound(lanes: readonly Lane[], size: number): Promise<boolean> {
    const windows = lanes.map((lane): Window => ({
      lane,
      startOffset: this.#isBackward ? Math.max(lane.edge, lane.reached - size) : lane.reached,
      endOffset: this.#isBackward ? lane.reached : Math.min(lane.edge, lane.reached + size),
      records: [],
      bytes: 0,
    }));
    const { topic, readCommitted } = this.#request;
    const consumer = new Consumer(this.#client, {
      readCommitted,
      onReset: () => undefined,
      ...BOUNDS,
    });
    consumer.assign(windows.map(({ lane, startOffset }) => ({
      topic,
      partition: lane.partition,
      position: startOffset,
    })));
    const open = new Map(windows.map((window) => [window.lane.partition, window]));
    let isWhole = true;
    for (let emptyPolls = 0; open.size > 0 && emptyPolls < EMPTY_POLLS;) {
      const polled = await consumer.poll();
      if (this.#slice.isOver) await this.#slice.next();
      if (this.#request.signal.aborted) return true;
      emptyPolls = polled.length === 0 ? emptyPolls + 1 : 0;
      for (const { partition, records, nextOffset } of polled) {
        const window = open.get(partition);
        if (window === undefined) continue;
        this.#gather(window, records);
        const isTooLarge = size > 1 && window.bytes > WINDOW_BYTES;
        if (nextOffset < window.endOffset && !isTooLarge) continue;
        open.delete(partition);
        consumer.finish(topic, partition);
        isWhole &&= !isTooLarge;
        if (!isTooLarge) await this.#lookThrough(window);
      }
    }
    // What a window was to hold is not there any more, or never was.
    for (const window of open.values()) await this.#lookThrough(window);
    return isWhole;
  }

  #gather(window: Window, records: readonly KafkaRecord[]): void {
    for (const record of records) {
      if (record.offset >= window.endOffset) break;
      window.records.push(record);
      window.bytes += sizeOf(record);
      this.#scannedBytes += sizeOf(record);
    }
  }

  /** Everything of a window is here. */
  async #lookThrough({ lane, records, startOffset, endOffset }: Window): Promise<void> {
    this.#scannedCount += records.length;
    const inPageOrder = this.#isBackward ? records.toReversed() : records;
    for (const [index, record] of inPageOrder.entries()) {
      this.#look(lane, record);
      if (index % LOOK_EVERY === 0 && this.#slice.isOver) await this.#slice.next();
    }
    lane.reached = this.#isBackward ? startOffset : endOffset;
  }

  #look(lane: Lane, record: KafkaRecord): void {
    const bound = this.#isBackward ? Math.min : Math.max;
    lane.order = bound(lane.order, record.timestamp);
    const { filter, topic, limit } = this.#request;
    // More than a page holds of one partition would not be shown.
    if (lane.found.length >= limit || (filter !== null && !filter(record))) return;
    lane.found.push({ ...shown(record, { topic, partition: lane.partition }), order: lane.order });
  }

  #page(): RecordPage {
    const merged = this.#merged();
    const records = merged.slice(0, this.#request.limit);
    const left = new Set(merged.slice(this.#request.limit));
    const cursor = this.#lanes.map((lane) => {
      const { partition, found, begin, reached } = lane;
      const isFull = found.length >= this.#request.limit;
      if (!isFull && !found.some((candidate) => left.has(candidate))) {
        return [partition, reached] as const;
      }
      const last = found.findLast((candidate) => !left.has(candidate));
      if (last === undefined) return [partition, begin] as const;
      const { offset } = last.record;
      return [partition, this.#isBackward ? offset : offset + 1] as const;
    });
    const edges = new Map(this.#lanes.map(({ partition, edge }) => [partition, edge]));
    return {
      records,
      cursor,
      isEnd: cursor.every(([partition, offset]) => edges.get(partition) === offset),
      scannedCount: this.#scannedCount,
      scannedBytes: this.#scannedBytes,
    };
  }
}

function sizeOf({ key, value }: KafkaRecord): number {
  return (key?.length ?? 0) + (value?.length ?? 0);
}

/** The record with no more of its key and value than a page shows, in bytes of their own. */
function shown(record: KafkaRecord, place: TopicPartition): ShownRecord {
  const keyBytes = record.key?.length ?? 0;
  const valueBytes = record.value?.length ?? 0;
  return {
    ...place,
    record: { ...record, key: cut(record.key), value: cut(record.value) },
    keyBytes,
    valueBytes,
    isCut: keyBytes > SHOWN_BYTES || valueBytes > SHOWN_BYTES,
  };
}

/** The first bytes, not ending within a character. A copy: the batch that they lie in is not kept for them. */
function cut(bytes: Uint8Array | null): Uint8Array | null {
  if (bytes === null || bytes.length <= SHOWN_BYTES) return bytes?.slice() ?? null;
  let end = SHOWN_BYTES;
  while (end > SHOWN_BYTES - 4 && (bytes[end]! & 0xc0) === 0x80) end--;
  return bytes.slice(0, end);
}

/** A page as JSON: records in the form that all of weir uses, and what the console needs beside it. */
export function formatPage(page: RecordPage): string {
  const records = page.records.map((it) =>
    `{"record":${formatRecord(it.record, it)},"keyBytes":${it.keyBytes},` +
    `"valueBytes":${it.valueBytes},"isCut":${it.isCut}}`
  );
  const { cursor, isEnd, scannedCount, scannedBytes } = page;
  const rest = JSON.stringify({ cursor, isEnd, scannedCount, scannedBytes });
  return `{"records":[${records.join(",")}],${rest.slice(1)}`;
}

/** One record, whole. Returns: null where there is none at that offset. Errors: as `readPage`. */
export async function readRecord(
  client: KafkaClient,
  { topic, partition, offset }: TopicPartition & { readonly offset: number },
): Promise<KafkaRecord | null> {
  const consumer = new Consumer(client, {
    readCommitted: false,
    onReset: () => undefined,
    ...BOUNDS,
  });
  consumer.assign([{ topic, partition, position: offset }]);
  const polled = await consumer.poll();
  const [record] = polled.flatMap(({ records }) => records);
  return record?.offset === offset ? record : null;
}

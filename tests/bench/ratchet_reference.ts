/**
 * The least that a broker could do for the loads of `ratchet.ts`: what weir is measured against.
 *
 *     bun tests/bench/ratchet_reference.ts DIRECTORY PARTITIONS        prints the port that it listens on
 *
 * Takes in length-prefixed frames, checks each batch's CRC, writes its offset into it, appends it to a file and answers;
 * hands out the bytes of a file from an offset on, and holds a Fetch at the end until something is appended. All batches
 * of a partition must be as large as its first one. Of a connection the first request is decoded, and later ones are known
 * by their places. Nothing on the way of Produce and Fetch is weir's code: what makes that slower does not move this.
 */

import { crc32c } from "@node-rs/crc32";
import { fdatasync, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { firstDifference } from "../../broker/cli/bench_frames.ts";
import { ApiKey } from "../../protocol/api_keys.ts";
import { Reader, Writer } from "../../protocol/bytes.ts";
import { codec } from "../../protocol/compile.ts";
import {
  decodeRequestHeader,
  encodeResponseHeader,
  type RequestHead,
} from "../../protocol/headers.ts";
import type { Encodable, Message } from "../../protocol/schema.ts";
import { apiVersionsResponse } from "../../protocol/schemas/api_versions.ts";
import { fetchRequest, fetchResponse } from "../../protocol/schemas/fetch.ts";
import { listOffsetsRequest, listOffsetsResponse } from "../../protocol/schemas/list_offsets.ts";
import { metadataRequest, metadataResponse } from "../../protocol/schemas/metadata.ts";
import { produceRequest, produceResponse } from "../../protocol/schemas/produce.ts";

const HOST = "127.0.0.1";
const NODE_ID = 1;
/** One version of each, the highest at which the load tool speaks. */
const VERSIONS: ReadonlyMap<number, number> = new Map([
  [ApiKey.Produce, 12],
  [ApiKey.Fetch, 12],
  [ApiKey.ListOffsets, 9],
  [ApiKey.Metadata, 12],
  [ApiKey.ApiVersions, 3],
]);
const LENGTH_BYTES = 4;
/** Where things stand in a batch. */
const BATCH_CRC_AT = 17;
const BATCH_CRC_FROM = 21;
const BATCH_LAST_OFFSET_DELTA_AT = 23;
const MAX_VARINT_BYTES = 5;
const NOTHING = new Uint8Array(0);

type Socket = Bun.Socket<ReferenceConnection>;

/** One partition: a file of batches of one size. */
class ReferenceLog {
  readonly file: number;
  batchBytes = 0;
  recordsInBatch = 0;
  batchCount = 0;
  /** Fetches at the end. */
  waiting: ReferenceConnection[] = [];
  /** Answers that wait for a sync that has not begun. */
  #unsynced: (() => void)[] = [];
  #isSyncing = false;

  constructor(path: string) {
    this.file = openSync(path, "w+");
  }

  get endOffset(): number {
    return this.batchCount * this.recordsInBatch;
  }

  /** Calls back once all that is written by now is on disk; a sync that is under way does not count. */
  sync(onSynced: () => void): void {
    this.#unsynced.push(onSynced);
    if (!this.#isSyncing) this.#beginSync();
  }

  #beginSync(): void {
    const covered = this.#unsynced;
    this.#unsynced = [];
    this.#isSyncing = true;
    fdatasync(this.file, (error) => {
      if (error) throw error;
      this.#isSyncing = false;
      if (this.#unsynced.length > 0) this.#beginSync();
      for (const onSynced of covered) onSynced();
    });
  }
}

/** All partitions, by topic and number. */
class ReferenceLogs {
  readonly #directory: string;
  readonly #logs = new Map<string, ReferenceLog>();
  readonly partitionCount: number;
  port = 0;

  constructor(directory: string, partitionCount: number) {
    this.#directory = directory;
    this.partitionCount = partitionCount;
  }

  get(topic: string, partition: number): ReferenceLog {
    const name = `${topic}-${partition}`;
    let log = this.#logs.get(name);
    if (log === undefined) {
      this.#logs.set(name, log = new ReferenceLog(join(this.#directory, `${name}.log`)));
    }
    return log;
  }
}

/** What is known of the Produce requests of a connection from the first of them. */
interface ProducePlaces {
  readonly log: ReferenceLog;
  readonly batchAt: number;
  readonly isSynced: boolean;
  /** The answer with its length; the offset is written into a copy. */
  readonly answer: Uint8Array;
  readonly answerOffsetAt: number;
}

/** What is known of its Fetch requests. */
interface FetchPlaces {
  readonly log: ReferenceLog;
  readonly offsetAt: number;
  /** What stands before the length of the records, behind the answer's own length. */
  readonly head: Uint8Array;
  readonly tailBytes: number;
  readonly maxBytes: number;
}

/** One client. */
class ReferenceConnection {
  readonly #logs: ReferenceLogs;
  readonly #socket: Socket;
  #held = NOTHING;
  #heldBytes = 0;
  #owed: Uint8Array[] = [];
  #produce: ProducePlaces | null = null;
  #fetch: FetchPlaces | null = null;
  #fetchOffset = 0;
  /** The answer to a Fetch. */
  #room = NOTHING;
  /** Of the batches that the chunk brought so far. */
  #offsets: number[] = [];

  constructor(logs: ReferenceLogs, socket: Socket) {
    this.#logs = logs;
    this.#socket = socket;
  }

  onData(chunk: Uint8Array): void {
    let bytes = chunk;
    if (this.#heldBytes > 0) {
      this.#hold(chunk);
      const needed = this.#frameBytes(this.#held, 0, this.#heldBytes);
      if (this.#heldBytes < needed) return;
      bytes = this.#held.subarray(0, this.#heldBytes);
      this.#held = NOTHING;
      this.#heldBytes = 0;
    }
    let at = 0;
    for (;;) {
      const needed = this.#frameBytes(bytes, at, bytes.length);
      if (bytes.length - at < needed) break;
      this.#onFrame(bytes.subarray(at + LENGTH_BYTES, at + needed));
      at += needed;
    }
    if (at < bytes.length) this.#hold(bytes.subarray(at));
    this.#answerProduces();
  }

  onDrain(): void {
    const owed = this.#owed;
    this.#owed = [];
    for (const bytes of owed) this.#write(bytes);
  }

  onClose(): void {
    const log = this.#fetch?.log;
    if (log !== undefined) log.waiting = log.waiting.filter((waiting) => waiting !== this);
  }

  /** Answers the Fetch that waits. */
  onAppend(): void {
    this.#answerFetch(this.#fetch!);
  }

  #frameBytes(bytes: Uint8Array, at: number, end: number): number {
    if (end - at < LENGTH_BYTES) return LENGTH_BYTES;
    return LENGTH_BYTES +
      ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!);
  }

  #hold(bytes: Uint8Array): void {
    const whole = this.#heldBytes + bytes.length;
    if (whole > this.#held.length) {
      const frame = this.#frameBytes(bytes, 0, this.#heldBytes === 0 ? bytes.length : 0);
      const grown = new Uint8Array(Math.max(2 * whole, frame));
      grown.set(this.#held.subarray(0, this.#heldBytes));
      this.#held = grown;
    }
    this.#held.set(bytes, this.#heldBytes);
    this.#heldBytes = whole;
  }

  #onFrame(frame: Uint8Array): void {
    const apiKey = (frame[0]! << 8) | frame[1]!;
    if (apiKey === ApiKey.Produce) this.#onProduce(frame);
    else if (apiKey === ApiKey.Fetch) this.#onFetch(frame);
    else this.#write(answerOther(this.#logs, frame));
  }

  #onProduce(frame: Uint8Array): void {
    const places = this.#produce ??= producePlaces(this.#logs, frame);
    const { log, batchAt } = places;
    const view = new DataView(frame.buffer, frame.byteOffset + batchAt, log.batchBytes);
    const checked = frame.subarray(batchAt + BATCH_CRC_FROM, batchAt + log.batchBytes);
    if (crc32c(checked) !== view.getUint32(BATCH_CRC_AT)) throw new Error("a batch is damaged");
    const offset = log.endOffset;
    view.setBigInt64(0, BigInt(offset));
    const batch = frame.subarray(batchAt, batchAt + log.batchBytes);
    writeSync(log.file, batch, 0, batch.length, log.batchCount * log.batchBytes);
    log.batchCount++;
    this.#offsets.push(offset);
  }

  /** Answers what one chunk brought, and whoever waits for it. */
  #answerProduces(): void {
    if (this.#offsets.length === 0) return;
    const places = this.#produce!;
    const offsets = this.#offsets;
    this.#offsets = [];
    if (places.isSynced) places.log.sync(() => this.#writeAnswers(places, offsets));
    else this.#writeAnswers(places, offsets);
    const { waiting } = places.log;
    if (waiting.length === 0) return;
    places.log.waiting = [];
    for (const connection of waiting) connection.onAppend();
  }

  #writeAnswers({ answer, answerOffsetAt }: ProducePlaces, offsets: readonly number[]): void {
    const block = new Uint8Array(offsets.length * answer.length);
    const view = new DataView(block.buffer);
    for (const [index, offset] of offsets.entries()) {
      const at = index * answer.length;
      block.set(answer, at);
      view.setBigInt64(at + answerOffsetAt, BigInt(offset));
    }
    this.#write(block);
  }

  #onFetch(frame: Uint8Array): void {
    const places = this.#fetch ??= fetchPlaces(this.#logs, frame);
    const view = new DataView(frame.buffer, frame.byteOffset + places.offsetAt);
    this.#fetchOffset = Number(view.getBigInt64(0));
    if (this.#fetchOffset >= places.log.endOffset) places.log.waiting.push(this);
    else this.#answerFetch(places);
  }

  #answerFetch({ log, head, tailBytes, maxBytes }: FetchPlaces): void {
    const { batchBytes, batchCount, recordsInBatch, file } = log;
    const first = Math.floor(this.#fetchOffset / recordsInBatch);
    const count = Math.min(batchCount - first, Math.max(1, Math.floor(maxBytes / batchBytes)));
    const recordsBytes = count * batchBytes;
    const buffer = this.#answerRoom(head.length + MAX_VARINT_BYTES + recordsBytes + tailBytes);
    buffer.set(head, LENGTH_BYTES);
    let at = LENGTH_BYTES + head.length;
    for (let rest = recordsBytes + 1; rest > 0; rest = Math.floor(rest / 128)) {
      buffer[at++] = rest < 128 ? rest : rest % 128 | 0x80;
    }
    readSync(file, buffer, at, recordsBytes, first * batchBytes);
    const end = at + recordsBytes + tailBytes;
    buffer.fill(0, at + recordsBytes, end);
    new DataView(buffer.buffer).setInt32(0, end - LENGTH_BYTES);
    this.#write(buffer.subarray(0, end));
  }

  /** A client that asks has the whole answer before this one. */
  #answerRoom(bytes: number): Uint8Array {
    const needed = LENGTH_BYTES + bytes;
    if (this.#room.length < needed) this.#room = new Uint8Array(needed);
    return this.#room;
  }

  #write(bytes: Uint8Array): void {
    if (this.#owed.length > 0) return void this.#owed.push(bytes);
    const taken = Math.max(0, this.#socket.write(bytes));
    if (taken < bytes.length) this.#owed.push(bytes.subarray(taken));
  }
}

function producePlaces(logs: ReferenceLogs, frame: Uint8Array): ProducePlaces {
  const reader = new Reader(frame);
  const head = decodeRequestHeader(reader);
  const { acks, topicData } = codec(produceRequest, head.apiVersion).decode(reader);
  const { name, partitionData } = topicData[0]!;
  const { index, records } = partitionData[0]!;
  const log = logs.get(name, index);
  const batchAt = records!.byteOffset - frame.byteOffset;
  const view = new DataView(frame.buffer, records!.byteOffset);
  if (log.batchCount > 0 && log.batchBytes !== records!.length) {
    throw new Error(`${name}-${index} holds batches of ${log.batchBytes} bytes and no others`);
  }
  log.batchBytes = records!.length;
  log.recordsInBatch = view.getInt32(BATCH_LAST_OFFSET_DELTA_AT) + 1;
  const answer = (baseOffset: number) =>
    encodeAnswer(head, produceResponse, {
      responses: [{ name, partitionResponses: [{ index, errorCode: 0, baseOffset }] }],
    });
  const answerOffsetAt = firstDifference(answer(0), answer(-1));
  return { log, batchAt, isSynced: acks === -1, answer: answer(0), answerOffsetAt };
}

function fetchPlaces(logs: ReferenceLogs, frame: Uint8Array): FetchPlaces {
  const reader = new Reader(frame);
  const head = decodeRequestHeader(reader);
  const bodyAt = reader.position;
  const requests = codec(fetchRequest, head.apiVersion);
  const request = requests.decode(reader);
  const { topic, partitions } = request.topics[0]!;
  const asked = partitions[0]!;
  const bodyWith = (fetchOffset: number) => {
    const writer = new Writer();
    const changed = [{ topic, partitions: [{ ...asked, fetchOffset }] }];
    requests.encode(writer, { ...request, topics: changed });
    return writer.finish();
  };
  const answerWith = (recordsBytes: number) =>
    encodeAnswer(head, fetchResponse, {
      responses: [{
        topic,
        partitions: [{
          partitionIndex: asked.partition,
          errorCode: 0,
          highWatermark: 0,
          abortedTransactions: null,
          records: new Uint8Array(recordsBytes),
        }],
      }],
    }).subarray(LENGTH_BYTES);
  const one = answerWith(1);
  const headBytes = firstDifference(one, answerWith(2));
  return {
    log: logs.get(topic, asked.partition),
    offsetAt: bodyAt + firstDifference(bodyWith(0), bodyWith(-1)),
    head: one.subarray(0, headBytes),
    tailBytes: one.length - headBytes - 2,
    maxBytes: request.maxBytes,
  };
}

/** Answers what comes before a load: which versions, which partitions, which offsets. */
function answerOther(logs: ReferenceLogs, frame: Uint8Array): Uint8Array {
  const reader = new Reader(frame);
  const head = decodeRequestHeader(reader);
  if (head.apiKey === ApiKey.ApiVersions) {
    const apiKeys = [...VERSIONS].map(([apiKey, version]) => ({
      apiKey,
      minVersion: apiKey === ApiKey.ApiVersions ? 0 : version,
      maxVersion: version,
    }));
    return encodeAnswer(head, apiVersionsResponse, { errorCode: 0, apiKeys });
  }
  if (head.apiKey === ApiKey.Metadata) {
    const { topics } = codec(metadataRequest, head.apiVersion).decode(reader);
    return encodeAnswer(head, metadataResponse, {
      brokers: [{ nodeId: NODE_ID, host: HOST, port: logs.port }],
      controllerId: NODE_ID,
      topics: (topics ?? []).map(({ name }) => ({
        errorCode: 0,
        name,
        partitions: Array.from({ length: logs.partitionCount }, (_, partitionIndex) => ({
          errorCode: 0,
          partitionIndex,
          leaderId: NODE_ID,
          replicaNodes: [NODE_ID],
          isrNodes: [NODE_ID],
          offlineReplicas: [],
        })),
      })),
    });
  }
  if (head.apiKey !== ApiKey.ListOffsets) throw new Error(`API ${head.apiKey} is not served`);
  const { topics } = codec(listOffsetsRequest, head.apiVersion).decode(reader);
  return encodeAnswer(head, listOffsetsResponse, {
    topics: topics.map(({ name, partitions }) => ({
      name,
      partitions: partitions.map(({ partitionIndex, timestamp }) => ({
        partitionIndex,
        errorCode: 0,
        timestamp: -1,
        offset: timestamp === -1 ? logs.get(name, partitionIndex).endOffset : 0,
      })),
    })),
  });
}

/** An answer with its length and header. */
function encodeAnswer<A extends Message>(
  head: RequestHead,
  response: A,
  value: Encodable<A>,
): Uint8Array {
  const writer = new Writer();
  writer.beginSized();
  encodeResponseHeader(writer, head);
  codec(response, head.apiVersion).encode(writer, value);
  writer.endSized();
  return writer.finish();
}

function serve(directory: string, partitionCount: number): void {
  const logs = new ReferenceLogs(directory, partitionCount);
  const listener = Bun.listen<ReferenceConnection>({
    hostname: HOST,
    port: 0,
    socket: {
      open(socket) {
        socket.setNoDelay(true);
        socket.data = new ReferenceConnection(logs, socket);
      },
      data(socket, { buffer, byteOffset, byteLength }) {
        socket.data.onData(new Uint8Array(buffer, byteOffset, byteLength));
      },
      drain: (socket) => socket.data.onDrain(),
      close: (socket) => socket.data.onClose(),
    },
  });
  logs.port = listener.port;
  console.log(listener.port);
}

if (import.meta.main) {
  const [directory, partitions] = process.argv.slice(2) as [string, string];
  serve(directory, Number(partitions));
}

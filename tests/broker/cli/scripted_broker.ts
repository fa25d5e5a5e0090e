/**
 * The other side of the client: a small Kafka in memory, which answers by the protocol and misbehaves on request.
 *
 * It is no model of weir: the client has to work with any broker, so its tests need one that can be told to lose a
 * connection after it has written, to move a leader, or to answer with any error.
 */

import { ApiKey } from "../../../protocol/api_keys.ts";
import { Reader, Writer } from "../../../protocol/bytes.ts";
import { codec } from "../../../protocol/compile.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { FrameSplitter } from "../../../protocol/frame.ts";
import { decodeRequestHeader, encodeResponseHeader } from "../../../protocol/headers.ts";
import {
  isCrcValid,
  patchAsLeader,
  readBatchHeader,
  readLastOffset,
} from "../../../protocol/record_batch.ts";
import { type KafkaRecord, readRecords } from "../../../protocol/records.ts";
import type { Decoded, Encodable, Message } from "../../../protocol/schema.ts";
import type { apiVersionsResponse } from "../../../protocol/schemas/api_versions.ts";
import { ZERO_UUID } from "../../../protocol/types.ts";
import { Calls } from "../../../broker/client/calls.ts";
import type { Call } from "../../../broker/peers/call.ts";
import type { Connection } from "../../../broker/network.ts";
import type { TestMachine } from "./test_io.ts";

const NODE_ID = 1;

/** What to do with the next request of an API, instead of the ordinary. */
export type Fault =
  /** Answer with this code, and do nothing else. */
  | { readonly kind: "error"; readonly code: number }
  /** Do what was asked, then drop the connection without an answer. */
  | { readonly kind: "cutAfter" }
  /** Drop the connection at once. */
  | { readonly kind: "cutBefore" }
  /** Answer neither this nor anything after it on the connection. */
  | { readonly kind: "silence" };

interface Partition {
  batches: Uint8Array[];
  endOffset: number;
  startOffset: number;
  /** Last base sequence and its offset by producer id, for duplicates. */
  readonly sequences: Map<number, { next: number; offsets: Map<number, number> }>;
}

/** One broker with one node id. */
export class ScriptedBroker {
  readonly topics = new Map<string, Partition[]>();
  readonly committed = new Map<string, number>();
  readonly #faults = new Map<number, Fault[]>();
  /** API keys of the requests, in order. */
  readonly seen: number[] = [];
  /** Largest number of Produce requests that were waiting for their answer. */
  mostInFlight = 0;
  /** How long a Produce takes. */
  produceMs = 0;
  autoCreate = true;
  readonly #machine: TestMachine;
  #inFlight = 0;
  readonly #connections = new Set<Connection>();
  #members = 0;
  #producerId = 76;

  constructor(machine: TestMachine) {
    this.#machine = machine;
    machine.network.listen({ host: "127.0.0.1", port: 9092 }, (connection) => {
      this.#connections.add(connection);
      const splitter = new FrameSplitter({ maxFrameBytes: 64 * 1024 * 1024 });
      let turn = Promise.resolve();
      return {
        onData: (bytes) => {
          for (const frame of splitter.push(bytes)) {
            const copy = Uint8Array.from(frame);
            const produces = new Reader(copy).int16() === ApiKey.Produce;
            if (produces) this.mostInFlight = Math.max(this.mostInFlight, ++this.#inFlight);
            turn = turn.then(async () => {
              await this.#serve(connection, copy);
              if (produces) this.#inFlight--;
            });
          }
        },
        onDrain: () => this.#flush(connection),
        onClose: () => void this.#connections.delete(connection),
      };
    });
  }

  /** Makes a topic. */
  create(name: string, partitionCount: number): void {
    this.topics.set(
      name,
      Array.from({ length: partitionCount }, () => ({
        batches: [],
        endOffset: 0,
        startOffset: 0,
        sequences: new Map(),
      })),
    );
  }

  /** The next requests of an API meet these, one each. */
  fault(apiKey: number, ...faults: Fault[]): void {
    this.#faults.set(apiKey, [...this.#faults.get(apiKey) ?? [], ...faults]);
  }

  /** Ends every connection. */
  cutAll(): void {
    for (const connection of this.#connections) connection.close();
  }

  /** Every record of a partition. */
  records(topic: string, partition = 0): KafkaRecord[] {
    return this.topics.get(topic)![partition]!.batches.flatMap((bytes) =>
      readRecords(bytes, 0, { maxDecompressedBytes: 100_000_000 })
    );
  }

  readonly #unsent = new Map<Connection, Uint8Array[]>();

  #send(connection: Connection, chunks: readonly Uint8Array[]): void {
    const queue = this.#unsent.get(connection) ?? [];
    queue.push(...chunks.map((chunk) => Uint8Array.from(chunk)));
    this.#unsent.set(connection, queue);
    this.#flush(connection);
  }

  #flush(connection: Connection): void {
    const queue = this.#unsent.get(connection) ?? [];
    while (queue.length > 0) {
      const taken = connection.write(queue[0]!);
      if (taken < queue[0]!.length) {
        queue[0] = queue[0]!.subarray(taken);
        return;
      }
      queue.shift();
    }
  }

  async #serve(connection: Connection, frame: Uint8Array): Promise<void> {
    const reader = new Reader(frame);
    const head = decodeRequestHeader(reader);
    this.seen.push(head.apiKey);
    const call = Object.values(Calls).find(({ key }) => key === head.apiKey) as
      | Call<Message, Message>
      | undefined;
    if (call === undefined) throw new Error(`nobody asked for API ${head.apiKey}`);
    const request = codec(call.request, head.apiVersion).decode(reader);
    const fault = this.#faults.get(head.apiKey)?.shift();
    if (fault?.kind === "cutBefore") return connection.close();
    if (fault?.kind === "silence") return new Promise(() => undefined);
    if (head.apiKey === ApiKey.Produce) await this.#machine.clock.sleep(this.produceMs);
    const code = fault?.kind === "error" ? fault.code : ErrorCode.NONE;
    if (head.apiKey === ApiKey.Fetch) await this.#awaitRecords(request as never);
    const answer = this.#answer(head.apiKey, request as never, code);
    if (fault?.kind === "cutAfter") return connection.close();
    if (answer === null) return;
    const writer = new Writer();
    encodeResponseHeader(writer, head);
    codec(call.response, head.apiVersion).encode(writer, answer as never);
    const length = new Writer(4);
    length.int32(writer.length);
    this.#send(connection, [length.finish(), ...writer.chunks()]);
  }

  #answer(apiKey: number, request: never, code: number): unknown {
    switch (apiKey) {
      case ApiKey.ApiVersions:
        return this.#apiVersions(code);
      case ApiKey.Metadata:
        return this.#metadata(request, code);
      case ApiKey.CreateTopics:
        return this.#createTopics(request, code);
      case ApiKey.InitProducerId:
        return {
          errorCode: code,
          producerId: ++this.#producerId,
          producerEpoch: 0,
          throttleTimeMs: 0,
        };
      case ApiKey.Produce:
        return this.#produce(request, code);
      case ApiKey.Fetch:
        return this.#fetch(request, code);
      case ApiKey.ListOffsets:
        return this.#listOffsets(request, code);
      case ApiKey.FindCoordinator:
        return this.#findCoordinator(request, code);
      default:
        return this.#groupAnswer(apiKey, request, code);
    }
  }

  #apiVersions(code: number): Encodable<typeof apiVersionsResponse> {
    return {
      errorCode: code,
      throttleTimeMs: 0,
      apiKeys: Object.values(Calls).map(({ key, lowest, highest }) => ({
        apiKey: key,
        minVersion: lowest,
        maxVersion: highest,
      })),
    };
  }

  #metadata(
    request: Decoded<typeof Calls.metadata.request>,
    code: number,
  ): Encodable<typeof Calls.metadata.response> {
    const names = request.topics?.map(({ name }) => name!) ?? [...this.topics.keys()];
    return {
      brokers: [{ nodeId: NODE_ID, host: "127.0.0.1", port: 9092 }],
      clusterId: "scripted",
      controllerId: NODE_ID,
      topics: names.map((name) => {
        if (!this.topics.has(name) && request.allowAutoTopicCreation && this.autoCreate) {
          this.create(name, 1);
        }
        const partitions = this.topics.get(name);
        return {
          errorCode: code ||
            (partitions === undefined ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION : ErrorCode.NONE),
          name,
          topicId: ZERO_UUID,
          isInternal: name.startsWith("__"),
          partitions: (partitions ?? []).map((_, partitionIndex) => ({
            errorCode: ErrorCode.NONE,
            partitionIndex,
            leaderId: NODE_ID,
            replicaNodes: [NODE_ID],
            isrNodes: [NODE_ID],
            offlineReplicas: [],
          })),
        };
      }),
    };
  }

  #createTopics(
    request: Decoded<typeof Calls.createTopics.request>,
    code: number,
  ): Encodable<typeof Calls.createTopics.response> {
    return {
      topics: request.topics.map(({ name, numPartitions }) => {
        const exists = this.topics.has(name);
        if (!exists && code === ErrorCode.NONE && !request.validateOnly) {
          this.create(name, numPartitions === -1 ? 1 : numPartitions);
        }
        return {
          name,
          errorCode: code || (exists ? ErrorCode.TOPIC_ALREADY_EXISTS : ErrorCode.NONE),
          errorMessage: null,
        };
      }),
    };
  }

  #produce(
    request: Decoded<typeof Calls.produce.request>,
    code: number,
  ): Encodable<typeof Calls.produce.response> | null {
    const responses = request.topicData.map(({ name, partitionData }) => ({
      name,
      partitionResponses: partitionData.map(({ index, records }) => ({
        index,
        ...(code === ErrorCode.NONE
          ? this.#append(name, index, records!)
          : { errorCode: code, baseOffset: -1 }),
      })),
    }));
    return request.acks === 0 ? null : { responses };
  }

  /** Appends with Kafka's rule of sequences: the next one, or one that was seen before. */
  #append(name: string, index: number, bytes: Uint8Array) {
    const partition = this.topics.get(name)?.[index];
    if (partition === undefined) {
      return { errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, baseOffset: -1 };
    }
    if (!isCrcValid(bytes, 0)) return { errorCode: ErrorCode.CORRUPT_MESSAGE, baseOffset: -1 };
    const { producerId, baseSequence, recordCount } = readBatchHeader(bytes, 0);
    if (producerId >= 0) {
      const known = partition.sequences.get(producerId) ?? { next: 0, offsets: new Map() };
      partition.sequences.set(producerId, known);
      const before = known.offsets.get(baseSequence);
      if (before !== undefined) return { errorCode: ErrorCode.NONE, baseOffset: before };
      if (baseSequence !== known.next) {
        return { errorCode: ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, baseOffset: -1 };
      }
      known.next += recordCount;
      known.offsets.set(baseSequence, partition.endOffset);
    }
    const own = Uint8Array.from(bytes);
    const baseOffset = partition.endOffset;
    patchAsLeader(own, 0, { baseOffset, partitionLeaderEpoch: 0 });
    partition.batches.push(own);
    partition.endOffset = readLastOffset(own, 0) + 1;
    return { errorCode: ErrorCode.NONE, baseOffset };
  }

  /** A fetch that finds nothing waits for its time, as the protocol says. */
  async #awaitRecords(request: Decoded<typeof Calls.fetch.request>): Promise<void> {
    const any = request.topics.some(({ topic, partitions }) =>
      partitions.some(({ partition, fetchOffset }) =>
        this.topics.get(topic)![partition]!.endOffset !== fetchOffset
      )
    );
    if (!any) await this.#machine.clock.sleep(request.maxWaitMs);
  }

  #fetch(
    request: Decoded<typeof Calls.fetch.request>,
    code: number,
  ): Encodable<typeof Calls.fetch.response> {
    return {
      errorCode: ErrorCode.NONE,
      responses: request.topics.map(({ topic, partitions }) => ({
        topic,
        partitions: partitions.map(({ partition: partitionIndex, fetchOffset }) => {
          const partition = this.topics.get(topic)![partitionIndex]!;
          const outside = fetchOffset < partition.startOffset || fetchOffset > partition.endOffset;
          const wanted = partition.batches.filter((bytes) =>
            readLastOffset(bytes, 0) >= fetchOffset
          );
          return {
            partitionIndex,
            errorCode: code || (outside ? ErrorCode.OFFSET_OUT_OF_RANGE : ErrorCode.NONE),
            highWatermark: partition.endOffset,
            abortedTransactions: null,
            // Two batches at a time, so that reading takes several rounds.
            records: Buffer.concat(code || outside ? [] : wanted.slice(0, 2)),
          };
        }),
      })),
    };
  }

  #listOffsets(
    request: Decoded<typeof Calls.listOffsets.request>,
    code: number,
  ): Encodable<typeof Calls.listOffsets.response> {
    return {
      topics: request.topics.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map(({ partitionIndex, timestamp }) => {
          const { startOffset, endOffset } = this.topics.get(name)![partitionIndex]!;
          const found = this.records(name, partitionIndex).find((it) => it.timestamp >= timestamp);
          const offset = timestamp === -1
            ? endOffset
            : timestamp === -2
            ? startOffset
            : found?.offset ?? -1;
          return { partitionIndex, errorCode: code, timestamp: found?.timestamp ?? -1, offset };
        }),
      })),
    };
  }

  #findCoordinator(
    request: Decoded<typeof Calls.findCoordinator.request>,
    code: number,
  ): Encodable<typeof Calls.findCoordinator.response> {
    const node = { nodeId: NODE_ID, host: "127.0.0.1", port: 9092 };
    return {
      errorCode: 0,
      errorMessage: null,
      nodeId: 0,
      host: "",
      port: 0,
      coordinators: request.coordinatorKeys.map((key) => ({
        key,
        ...node,
        errorCode: code,
        errorMessage: null,
      })),
    } as never;
  }

  /** A group that has one member at most, whose own assignment it is given. */
  #groupAnswer(apiKey: number, request: never, code: number): unknown {
    switch (apiKey) {
      case ApiKey.JoinGroup: {
        const { memberId, protocols } = request as Decoded<typeof Calls.joinGroup.request>;
        if (memberId === "" && code === ErrorCode.NONE) {
          const errorCode = ErrorCode.MEMBER_ID_REQUIRED;
          return { ...NO_JOIN, errorCode, memberId: `m${++this.#members}` };
        }
        const members = [{ memberId, metadata: protocols[0]!.metadata }];
        const joined = { protocolName: "range", leader: memberId, memberId, members };
        return { ...NO_JOIN, errorCode: code, generationId: 1, ...joined };
      }
      case ApiKey.SyncGroup: {
        const { assignments } = request as Decoded<typeof Calls.syncGroup.request>;
        return { errorCode: code, assignment: assignments[0]?.assignment ?? new Uint8Array(0) };
      }
      case ApiKey.OffsetFetch: {
        const { groups } = request as Decoded<typeof Calls.offsetFetch.request>;
        return { topics: [], groups: groups.map((group) => this.#offsetsOf(group)) };
      }
      case ApiKey.OffsetCommit:
        return this.#commit(request, code);
      default:
        return { errorCode: code, members: [] };
    }
  }

  #offsetsOf(group: Decoded<typeof Calls.offsetFetch.request>["groups"][number]) {
    const topics = (group.topics ?? []).map(({ name, partitionIndexes }) => ({
      name,
      partitions: partitionIndexes.map((partitionIndex) => ({
        partitionIndex,
        committedOffset: this.committed.get(`${group.groupId} ${name}-${partitionIndex}`) ?? -1,
        metadata: "",
        errorCode: 0,
      })),
    }));
    return { groupId: group.groupId, topics, errorCode: 0 };
  }

  #commit(
    request: Decoded<typeof Calls.offsetCommit.request>,
    code: number,
  ): Encodable<typeof Calls.offsetCommit.response> {
    return {
      topics: request.topics.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map(({ partitionIndex, committedOffset }) => {
          const key = `${request.groupId} ${name}-${partitionIndex}`;
          if (code === ErrorCode.NONE) this.committed.set(key, committedOffset);
          return { partitionIndex, errorCode: code };
        }),
      })),
    };
  }
}

const NO_JOIN = {
  throttleTimeMs: 0,
  generationId: -1,
  protocolType: "consumer",
  protocolName: "",
  leader: "",
  memberId: "",
  members: [],
};

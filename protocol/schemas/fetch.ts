/**
 * Fetch (key 1): reads record batches; for consumers, followers, and voters that follow the
 * metadata log.
 *
 * Versions:
 *   4    isolationLevel, lastStableOffset, abortedTransactions; batches v2 (KIP-98)
 *   5    logStartOffset of follower and leader (KIP-107)
 *   6    may answer KAFKA_STORAGE_ERROR (KIP-112)
 *   7    fetch sessions: sessionId, sessionEpoch, forgottenTopicsData (KIP-227)
 *   8    a throttled client gets its answer before the wait (KIP-219)
 *   9    currentLeaderEpoch fences (KIP-320)
 *   10   zstd (KIP-110)
 *   11   rackId, preferredReadReplica: read from the nearest replica (KIP-392)
 *   12   flexible (KIP-482); lastFetchedEpoch, divergingEpoch, snapshotId, clusterId (KIP-595)
 *   13   topic ids instead of names (KIP-516)
 *   14   may answer OFFSET_MOVED_TO_TIERED_STORAGE (KIP-405)
 *   15   replicaState instead of replicaId (KIP-903)
 *   16   nodeEndpoints: the answer names the new leader (KIP-951)
 *   17   replicaDirectoryId of the voter (KIP-853)
 *   18   highWatermark that the follower knows (KIP-1166)
 */

import { INT64_MAX } from "../bytes.ts";
import {
  array,
  type Decoded,
  int16,
  int32,
  int64,
  int8,
  message,
  records,
  string,
  struct,
  uuid,
} from "../schema.ts";

/** Request of Fetch. */
export const fetchRequest = message(
  { name: "FetchRequest", apiKey: 1, versions: "4-18", flexible: "12+" },
  {
    clusterId: string("12+", {
      nullable: "12+",
      default: null,
      tag: 0,
      tagged: "12+",
      ignorable: true,
    }),
    replicaId: int32("0-14", { default: -1, entity: "brokerId" }),
    replicaState: struct("15+", {
      replicaId: int32("15+", { default: -1, entity: "brokerId" }),
      replicaEpoch: int64("15+", { default: -1 }),
    }, { tag: 1, tagged: "15+" }),
    maxWaitMs: int32("0+"),
    minBytes: int32("0+"),
    maxBytes: int32("3+", { default: 0x7fffffff, ignorable: true }),
    isolationLevel: int8("4+", { default: 0, ignorable: true }),
    sessionId: int32("7+", { default: 0, ignorable: true }),
    sessionEpoch: int32("7+", { default: -1, ignorable: true }),
    topics: array("0+", {
      topic: string("0-12", { ignorable: true, entity: "topicName" }),
      topicId: uuid("13+", { ignorable: true }),
      partitions: array("0+", {
        partition: int32("0+"),
        currentLeaderEpoch: int32("9+", { default: -1, ignorable: true }),
        fetchOffset: int64("0+"),
        lastFetchedEpoch: int32("12+", { default: -1 }),
        logStartOffset: int64("5+", { default: -1, ignorable: true }),
        partitionMaxBytes: int32("0+"),
        replicaDirectoryId: uuid("17+", { tag: 0, tagged: "17+", ignorable: true }),
        highWatermark: int64("18+", { default: INT64_MAX, tag: 1, tagged: "18+", ignorable: true }),
      }),
    }),
    forgottenTopicsData: array("7+", {
      topic: string("7-12", { ignorable: true, entity: "topicName" }),
      topicId: uuid("13+", { ignorable: true }),
      partitions: array("7+", "int32"),
    }),
    rackId: string("11+", { default: "", ignorable: true }),
  },
);
export type FetchRequest = Decoded<typeof fetchRequest>;

/** Answer of Fetch. */
export const fetchResponse = message(
  { name: "FetchResponse", apiKey: 1, versions: "4-18", flexible: "12+" },
  {
    throttleTimeMs: int32("1+", { ignorable: true }),
    errorCode: int16("7+", { ignorable: true }),
    sessionId: int32("7+", { default: 0 }),
    responses: array("0+", {
      topic: string("0-12", { ignorable: true, entity: "topicName" }),
      topicId: uuid("13+", { ignorable: true }),
      partitions: array("0+", {
        partitionIndex: int32("0+"),
        errorCode: int16("0+"),
        highWatermark: int64("0+"),
        lastStableOffset: int64("4+", { default: -1, ignorable: true }),
        logStartOffset: int64("5+", { default: -1, ignorable: true }),
        divergingEpoch: struct("12+", {
          epoch: int32("12+", { default: -1 }),
          endOffset: int64("12+", { default: -1 }),
        }, { tag: 0, tagged: "12+" }),
        currentLeader: struct("12+", {
          leaderId: int32("12+", { default: -1, entity: "brokerId" }),
          leaderEpoch: int32("12+", { default: -1 }),
        }, { tag: 1, tagged: "12+" }),
        snapshotId: struct("12+", {
          endOffset: int64("0+", { default: -1 }),
          epoch: int32("0+", { default: -1 }),
        }, { tag: 2, tagged: "12+" }),
        abortedTransactions: array("4+", {
          producerId: int64("4+", { entity: "producerId" }),
          firstOffset: int64("4+"),
        }, { nullable: "4+", ignorable: true }),
        preferredReadReplica: int32("11+", { default: -1, entity: "brokerId" }),
        records: records("0+", { nullable: "0+" }),
      }),
    }),
    nodeEndpoints: array("16+", {
      nodeId: int32("16+", { entity: "brokerId", mapKey: true }),
      host: string("16+"),
      port: int32("16+"),
      rack: string("16+", { nullable: "16+", default: null }),
    }, { tag: 0, tagged: "16+" }),
  },
);
export type FetchResponse = Decoded<typeof fetchResponse>;

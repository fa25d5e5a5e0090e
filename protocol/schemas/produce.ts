/**
 * Produce (key 0): appends record batches to partitions.
 *
 * Versions:
 *   3    record batches v2, transactional id (KIP-98)
 *   4    may answer KAFKA_STORAGE_ERROR (KIP-112)
 *   5    logStartOffset in the answer, by which a producer tells lost records from deleted ones
 *   6    a throttled client gets its answer before the wait (KIP-219)
 *   7    zstd (KIP-110)
 *   8    which records were refused and why: recordErrors, errorMessage (KIP-467)
 *   9    flexible (KIP-482)
 *   10   the answer names the new leader: currentLeader, nodeEndpoints (KIP-951)
 *   11   may answer TRANSACTION_ABORTABLE (KIP-890)
 *   12   adds its partitions to the transaction by itself (KIP-890)
 *   13   topic ids instead of names (KIP-516)
 */

import {
  array,
  type Decoded,
  int16,
  int32,
  int64,
  message,
  records,
  string,
  struct,
  uuid,
} from "../schema.ts";

/** Request of Produce. */
export const produceRequest = message(
  { name: "ProduceRequest", apiKey: 0, versions: "3-13", flexible: "9+" },
  {
    transactionalId: string("3+", { nullable: "3+", default: null, entity: "transactionalId" }),
    acks: int16("0+"),
    timeoutMs: int32("0+"),
    topicData: array("0+", {
      name: string("0-12", { ignorable: true, entity: "topicName", mapKey: true }),
      topicId: uuid("13+", { ignorable: true, mapKey: true }),
      partitionData: array("0+", {
        index: int32("0+"),
        records: records("0+", { nullable: "0+" }),
      }),
    }),
  },
);
export type ProduceRequest = Decoded<typeof produceRequest>;

/** Answer of Produce. */
export const produceResponse = message(
  { name: "ProduceResponse", apiKey: 0, versions: "3-13", flexible: "9+" },
  {
    responses: array("0+", {
      name: string("0-12", { ignorable: true, entity: "topicName", mapKey: true }),
      topicId: uuid("13+", { ignorable: true, mapKey: true }),
      partitionResponses: array("0+", {
        index: int32("0+"),
        errorCode: int16("0+"),
        baseOffset: int64("0+"),
        logAppendTimeMs: int64("2+", { default: -1, ignorable: true }),
        logStartOffset: int64("5+", { default: -1, ignorable: true }),
        recordErrors: array("8+", {
          batchIndex: int32("8+"),
          batchIndexErrorMessage: string("8+", { nullable: "8+", default: null }),
        }, { ignorable: true }),
        errorMessage: string("8+", { nullable: "8+", default: null, ignorable: true }),
        currentLeader: struct("10+", {
          leaderId: int32("10+", { default: -1, entity: "brokerId" }),
          leaderEpoch: int32("10+", { default: -1 }),
        }, { tag: 0, tagged: "10+" }),
      }),
    }),
    throttleTimeMs: int32("1+", { default: 0, ignorable: true }),
    nodeEndpoints: array("10+", {
      nodeId: int32("10+", { entity: "brokerId", mapKey: true }),
      host: string("10+"),
      port: int32("10+"),
      rack: string("10+", { nullable: "10+", default: null }),
    }, { tag: 0, tagged: "10+" }),
  },
);
export type ProduceResponse = Decoded<typeof produceResponse>;

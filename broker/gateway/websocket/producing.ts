/**
 * Records that come over a socket, written through the Kafka client with acks=all.
 *
 * With the client's own producer id and sequence a batch may be sent again, over this node or another: the partition's
 * leader knows what it has. Without, a try whose answer was lost is not made again here, since it may have succeeded.
 */

import { ErrorCode, errorName, isRetriable } from "../../../protocol/errors.ts";
import { partitionForKey } from "../../../protocol/murmur2.ts";
import { buildBatch } from "../../../protocol/records.ts";
import type { TopicPartition } from "../../../protocol/types.ts";
import { Calls } from "../../client/calls.ts";
import { ClientError } from "../../client/client_error.ts";
import { type KafkaClient, KafkaError, throwOnError } from "../../client/kafka_client.ts";
import type { OutgoingRecord } from "../../client/producer.ts";
import { UnavailableError } from "../feeds/feeds.ts";
import { NetworkError } from "../../network.ts";

const CHANNEL = "produce";
/** How long the broker may wait for its replicas. */
const ACKS_TIMEOUT_MS = 30_000;

/** A batch's place in what one producer sends to one partition. */
export interface ProducerPlace {
  readonly id: number;
  readonly epoch: number;
  readonly sequence: number;
}

/** A producer id. */
export interface ProducerIdentity {
  readonly id: number;
  readonly epoch: number;
}

/** Records of one message. */
export interface Outgoing {
  readonly topic: string;
  readonly partition: number | null;
  readonly producer: ProducerPlace | null;
  readonly records: readonly OutgoingRecord[];
}

/** Where a run of records was written; offset −1 where an earlier try did, and it is not known where. */
export interface Written {
  readonly partition: number;
  readonly offset: number;
  readonly count: number;
}

/** A producer id of the cluster. Errors: rejects with KafkaError or NetworkError. */
export async function newProducer(client: KafkaClient): Promise<ProducerIdentity> {
  return await client.retry(async () => {
    const connection = await client.any();
    const body = { transactionalId: null, transactionTimeoutMs: 60_000 };
    const answer = await connection.request(Calls.initProducerId, body);
    throwOnError(answer.errorCode);
    return { id: answer.producerId, epoch: answer.producerEpoch };
  });
}

/** Writes the records. Errors: rejects with ClientError, KafkaError or NetworkError. */
export async function produce(
  client: KafkaClient,
  { topic, partition, producer, records }: Outgoing,
  partitionCount: number,
): Promise<Written[]> {
  if (producer !== null && partition === null) {
    throw new ClientError("a batch of a producer names its partition");
  }
  const anywhere = client.random.uint32() % Math.max(partitionCount, 1);
  const byPartition = Map.groupBy(records, (record) => {
    const chosen = partition ?? record.partition ??
      (record.key === null ? anywhere : partitionForKey(record.key, partitionCount));
    if (chosen < partitionCount) return chosen;
    throw new ClientError(
      `partition ${chosen} does not exist; topic ${topic} has partitions 0 to ${
        partitionCount - 1
      }`,
    );
  });
  return await Promise.all([...byPartition].map(async ([chosen, batch]) => ({
    partition: chosen,
    offset: await write(client, { topic, partition: chosen }, producer, batch),
    count: batch.length,
  })));
}

async function write(
  client: KafkaClient,
  { topic, partition }: TopicPartition,
  producer: ProducerPlace | null,
  records: readonly OutgoingRecord[],
): Promise<number> {
  const bytes = buildBatch({
    records,
    ...(producer !== null && {
      producerId: producer.id,
      producerEpoch: producer.epoch,
      baseSequence: producer.sequence,
    }),
  });
  return await client.retry(async () => {
    const leaders = await client.leaders(topic);
    const leaderId = leaders.find((found) => found.partition === partition)?.leaderId ?? -1;
    const connection = await client.broker(leaderId, CHANNEL);
    const answer = await connection.request(Calls.produce, {
      acks: -1,
      timeoutMs: ACKS_TIMEOUT_MS,
      topicData: [{ name: topic, partitionData: [{ index: partition, records: bytes }] }],
    }).catch((error) => {
      throw producer === null ? mayBeWritten(error) : error;
    });
    const answered = answer.responses[0]?.partitionResponses[0];
    if (answered === undefined) {
      throw new NetworkError("The broker's answer leaves the partition out", "EPROTO");
    }
    const { errorCode, recordErrors, errorMessage, baseOffset } = answered;
    if (errorCode === ErrorCode.DUPLICATE_SEQUENCE_NUMBER) return -1;
    if (producer === null && errorCode === ErrorCode.REQUEST_TIMED_OUT) {
      throw mayBeWritten(new KafkaError(errorCode));
    }
    throwOnError(errorCode, recordErrors[0]?.batchIndexErrorMessage ?? errorMessage);
    return baseOffset;
  });
}

/** What is not tried again by itself. */
class UnknownOutcome extends ClientError {}

function mayBeWritten(cause: Error): Error {
  return new UnknownOutcome(
    `the answer is lost (${cause.message}): the records may be written or not; with a producer's sequence ` +
      "they can be sent again and are written once",
    { cause },
  );
}

/** What a client is told of an error. */
export interface ToldError {
  readonly code: "NOT_FOUND" | "UNAVAILABLE" | "REFUSED";
  readonly detail: string;
  readonly kafka?: string;
  readonly retriable: boolean;
}

/** Puts an error of the Kafka client into the words of the protocol. */
export function toldError(error: unknown): ToldError {
  if (error instanceof UnknownOutcome || error instanceof UnavailableError) {
    return { code: "UNAVAILABLE", detail: error.message, retriable: true };
  }
  if (error instanceof KafkaError) {
    const retriable = isRetriable(error.code);
    const code = retriable ? "UNAVAILABLE" : "REFUSED";
    return { code, detail: error.message, kafka: errorName(error.code), retriable };
  }
  if (error instanceof NetworkError) {
    return { code: "UNAVAILABLE", detail: error.message, retriable: true };
  }
  if (error instanceof ClientError) {
    return { code: "NOT_FOUND", detail: error.message, retriable: false };
  }
  throw error;
}

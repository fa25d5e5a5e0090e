/** Where a load goes: the partitions of a topic, who leads them, and what is said when a broker refuses. */

import { ErrorCode } from "../../protocol/errors.ts";
import type { Message } from "../../protocol/schema.ts";
import { ClientError } from "../client/client_error.ts";
import { type KafkaClient, KafkaError, UnknownTopicError } from "../client/kafka_client.ts";
import { listOffsets, SpecialTimestamp } from "../client/offsets.ts";
import { createTopic } from "../client/topics.ts";
import type { Endpoint } from "../network.ts";
import type { Call } from "../peers/call.ts";
import type { CliIo } from "./io.ts";
import { plural } from "./output.ts";

/** How many a topic gets that is made for a load. */
const NEW_TOPIC_PARTITIONS = 6;

/** A partition under load. */
export interface LoadPartition {
  readonly partition: number;
  readonly endpoint: Endpoint;
  /** At which the request of the load is made there. */
  readonly version: number;
}

/** Which partitions are loaded. */
export interface TargetOptions {
  readonly topic: string;
  /** The first so many; all of them where it is left out. */
  readonly partitions?: number;
  /** The load's request. */
  readonly call: Call<Message, Message>;
}

/** The partitions of a topic. Errors: KafkaError, NetworkError; ClientError where there are too few. */
export async function findPartitions(
  client: KafkaClient,
  { topic, partitions, call }: TargetOptions,
): Promise<LoadPartition[]> {
  const found = await client.retry(async () => {
    const leaders = await client.leaders(topic);
    return await Promise.all(
      leaders.slice(0, partitions).map(async ({ partition, leaderId }) => {
        const broker = await client.broker(leaderId);
        return { partition, endpoint: broker.endpoint, version: broker.version(call) };
      }),
    );
  });
  if (partitions !== undefined && found.length < partitions) {
    throw new ClientError(
      `topic ${topic} has ${plural(found.length, "partition")}, not ${partitions}; ` +
        `choose --partitions ${found.length}, or another --topic`,
    );
  }
  return found;
}

/** The same of a topic that is made where it is missing, which is said. Errors: those of `findPartitions`. */
export async function findOrMakePartitions(
  io: CliIo,
  client: KafkaClient,
  options: TargetOptions,
): Promise<LoadPartition[]> {
  const found = await findPartitions(client, options).catch((error: unknown) => {
    if (!(error instanceof UnknownTopicError)) throw error;
    return null;
  });
  const partitions = found ?? await makePartitions(io, client, options);
  // A leader may be named before it knows: of a topic that was just made, none knows yet.
  const numbers = partitions.map(({ partition }) => partition);
  await listOffsets(client, options.topic, numbers, SpecialTimestamp.latest);
  return partitions;
}

async function makePartitions(
  io: CliIo,
  client: KafkaClient,
  options: TargetOptions,
): Promise<LoadPartition[]> {
  const { topic, partitions = NEW_TOPIC_PARTITIONS } = options;
  await createTopic(client, { name: topic, partitions, configs: [], validateOnly: false });
  io.writeError(`Made topic ${topic} with ${plural(partitions, "partition")}.\n`);
  // Brokers hear of it one after the other.
  return await client.retry(async () => {
    try {
      return await findPartitions(client, options);
    } catch (error) {
      if (!(error instanceof UnknownTopicError)) throw error;
      throw new KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    }
  });
}

const ADVICE: ReadonlyMap<number, string> = new Map([
  [ErrorCode.MESSAGE_TOO_LARGE, "make --records or --size smaller"],
  [ErrorCode.RECORD_LIST_TOO_LARGE, "make --records or --size smaller"],
  [ErrorCode.NOT_LEADER_OR_FOLLOWER, "another broker leads it by now: start again"],
  [ErrorCode.NOT_ENOUGH_REPLICAS, "start the brokers that hold its replicas, or choose --acks 1"],
  [ErrorCode.OFFSET_OUT_OF_RANGE, "its old records were deleted meanwhile: start again"],
  [ErrorCode.TOPIC_AUTHORIZATION_FAILED, "choose a --topic that you may use"],
]);

/** What ends a load: the code with which a broker answers for a partition. */
export function refusal(partition: number, code: number): ClientError {
  const advice = ADVICE.get(code) ?? `"weir topic describe" shows how it is`;
  return new ClientError(`partition ${partition}: ${new KafkaError(code).message}; ${advice}`);
}

/**
 * The controller as a broker uses it: it reads the image that this node keeps, and asks for changes wherever the
 * active controller is. In domain values; what goes over the wire stays in here.
 *
 * A controller that does not answer in time is an error of the answer like any other: REQUEST_TIMED_OUT.
 */

import { ErrorCode, errorMessage } from "../../protocol/errors.ts";
import { NetworkError } from "../network.ts";
import type { Controller, ImageListener, ProducerIdBlock } from "./controller.ts";
import { ControllerCalls } from "./controller_calls.ts";
import type { ControllerChannel } from "./controller_channel.ts";
import type { DirectoryAssigned, DirectoryAssignment } from "./directory_assignments.ts";
import type { MetadataImage } from "./metadata_image.ts";
import type { NewTopic, Refusal } from "./topic_changes.ts";

/** What it is made of. */
export interface RemoteControllerOptions {
  readonly controller: Pick<Controller, "image" | "subscribe">;
  readonly channel: ControllerChannel;
  /** How long the active controller is looked for. */
  readonly timeoutMs: () => number;
}

/** A topic that was asked for. */
export type TopicMade =
  | { readonly name: string; readonly error: typeof ErrorCode.NONE }
  | (Refusal & { readonly name: string });

/** Makes topics. */
export interface TopicMaker {
  createTopics(topics: readonly NewTopic[]): Promise<readonly TopicMade[]>;
}

/** The controller, wherever it is. */
export class RemoteController implements TopicMaker {
  readonly #options: RemoteControllerOptions;

  constructor(options: RemoteControllerOptions) {
    this.#options = options;
  }

  /** The committed state of the cluster, as far as this node has heard. */
  image(): MetadataImage {
    return this.#options.controller.image();
  }

  /** As `Controller.subscribe`. */
  subscribe(listener: ImageListener): () => void {
    return this.#options.controller.subscribe(listener);
  }

  /** Makes topics. Returns: when that is committed, which this node need not have heard yet. */
  async createTopics(topics: readonly NewTopic[]): Promise<readonly TopicMade[]> {
    const timeoutMs = this.#options.timeoutMs();
    const answer = await orRefusal(this.#options.channel.call(ControllerCalls.createTopics, {
      topics: topics.map(({ name, partitionCount, replicationFactor, assignments, configs }) => ({
        name,
        numPartitions: partitionCount,
        replicationFactor,
        assignments: assignments.map(({ partition, replicas }) => (
          { partitionIndex: partition, brokerIds: [...replicas] }
        )),
        configs: configs.map(({ name, value }) => ({ name, value })),
      })),
      timeoutMs,
      validateOnly: false,
    }, { timeoutMs }));
    if ("error" in answer) return topics.map(({ name }) => ({ name, ...answer }));
    return answer.topics.map(({ name, errorCode, errorMessage }) => (
      errorCode === ErrorCode.NONE
        ? { name, error: ErrorCode.NONE }
        : { name, error: errorCode as ErrorCode, message: errorMessage ?? "" }
    ));
  }

  /**
   * As `Controller.allocateProducerIds`. Errors: COORDINATOR_LOAD_IN_PROGRESS where there are none now, as Kafka's
   * broker answers: clients of every age try again.
   */
  async allocateProducerIds(brokerId: number): Promise<ProducerIdBlock> {
    const answer = await orRefusal(this.#options.channel.call(
      ControllerCalls.allocateProducerIds,
      { brokerId, brokerEpoch: this.#epochOf(brokerId) },
      { timeoutMs: this.#options.timeoutMs() },
    ));
    if ("error" in answer) return noProducerIds(answer.message);
    const { errorCode, producerIdStart, producerIdLen } = answer;
    if (errorCode !== ErrorCode.NONE) return noProducerIds(errorMessage(errorCode as ErrorCode));
    return { error: ErrorCode.NONE, firstProducerId: producerIdStart, count: producerIdLen };
  }

  /** As `Controller.assignReplicasToDirs`. Shape: a replica is named at most once. */
  async assignReplicasToDirs(
    brokerId: number,
    assignments: readonly DirectoryAssignment[],
  ): Promise<readonly DirectoryAssigned[]> {
    const answer = await orRefusal(this.#options.channel.call(
      ControllerCalls.assignReplicasToDirs,
      { brokerId, brokerEpoch: this.#epochOf(brokerId), directories: byDirectory(assignments) },
      { timeoutMs: this.#options.timeoutMs() },
    ));
    const refused = "error" in answer ? answer.error : answer.errorCode as ErrorCode;
    const errors = new Map<string, ErrorCode>();
    for (const { topics } of "error" in answer ? [] : answer.directories) {
      for (const { topicId, partitions } of topics) {
        for (const { partitionIndex, errorCode } of partitions) {
          errors.set(`${topicId} ${partitionIndex}`, errorCode as ErrorCode);
        }
      }
    }
    return assignments.map((assignment) => ({
      assignment,
      error: refused !== ErrorCode.NONE
        ? refused
        : errors.get(`${assignment.topicId} ${assignment.partition}`) ??
          ErrorCode.UNKNOWN_SERVER_ERROR,
    }));
  }

  #epochOf(brokerId: number): number {
    return this.image().brokers.get(brokerId)?.epoch ?? -1;
  }
}

function noProducerIds(message: string): Refusal {
  return { error: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, message };
}

/** The wire's form: by directory, then by topic. */
function byDirectory(assignments: readonly DirectoryAssignment[]) {
  const directories = Map.groupBy(assignments, ({ directoryId }) => directoryId);
  return [...directories].map(([id, inDirectory]) => ({
    id,
    topics: [...Map.groupBy(inDirectory, ({ topicId }) => topicId)].map(([topicId, ofTopic]) => ({
      topicId,
      partitions: ofTopic.map(({ partition }) => ({ partitionIndex: partition })),
    })),
  }));
}

async function orRefusal<T>(answer: Promise<T>): Promise<T | Refusal> {
  try {
    return await answer;
  } catch (failure) {
    if (!(failure instanceof NetworkError)) throw failure;
    return { error: ErrorCode.REQUEST_TIMED_OUT, message: failure.message };
  }
}

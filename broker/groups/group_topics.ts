/**
 * The topics of the cluster as consumer groups see them: how many partitions, and a hash that changes when the
 * partitions or their racks do.
 *
 * The racks and the hash of a topic are kept as long as the metadata has the topic's object; changes of brokers drop them all.
 *
 * Source: Kafka 4.1's `computeTopicHash` and `computeGroupHash`: XXH3 over a magic byte, topic id, name, partition
 * count, and for each partition its number and sorted racks, little endian, texts in UTF-16 with their length after
 * them.
 */

import { parseUuid } from "../../protocol/bytes.ts";
import { xxh3 } from "../../protocol/xxh3.ts";
import type { Uuid } from "../../protocol/types.ts";
import type { MetadataChanges, MetadataImage, TopicImage } from "../controller/metadata_image.ts";
import { compareText } from "./assignors/assignor.ts";

/** What the machine of a consumer group needs of the cluster's topics. */
export interface GroupTopics {
  /** Offset of the metadata that brought the newest topic. */
  readonly newestTopicVersion: number;
  /** Grows when any topic comes, goes, or gets other partitions or racks. */
  readonly changeCount: number;
  topicByName(name: string): GroupTopic | undefined;
  topicById(id: Uuid): GroupTopic | undefined;
  /** The racks of the brokers that have a replica of a partition, sorted; empty where there is no such partition. */
  racksOf(topicId: Uuid, partition: number): readonly string[];
  /** The hash of what these topics are like; topics that do not exist do not count. */
  hashOf(names: Iterable<string>): bigint;
}

/** One topic. */
export interface GroupTopic {
  readonly id: Uuid;
  readonly name: string;
  readonly partitionCount: number;
}

/** What is found out of a topic when it is asked for. */
interface TopicRacks {
  /** By partition. */
  readonly racks: readonly (readonly string[])[];
  readonly hash: bigint;
}

/** The topics of the newest metadata image. */
export class ImageTopics implements GroupTopics {
  readonly #image: () => MetadataImage;
  #found = new WeakMap<TopicImage, TopicRacks>();
  newestTopicVersion = 0;
  changeCount = 0;

  constructor(image: () => MetadataImage) {
    this.#image = image;
  }

  /** Takes note of what the metadata has become. */
  follow({ offset }: MetadataImage, changes: MetadataChanges): void {
    if (changes.createdTopics.length > 0) this.newestTopicVersion = offset;
    if (changes.changedBrokers.length > 0) this.#found = new WeakMap();
    const isOther = changes.createdTopics.length > 0 || changes.deletedTopics.length > 0 ||
      changes.changedBrokers.length > 0 ||
      changes.changedPartitions.some(({ before, after }) =>
        before === null || before.replicas !== after.replicas
      );
    if (isOther) this.changeCount += 1;
  }

  topicByName(name: string): GroupTopic | undefined {
    return groupTopic(this.#image().topicByName(name));
  }

  topicById(id: Uuid): GroupTopic | undefined {
    return groupTopic(this.#image().topicById(id));
  }

  hashOf(names: Iterable<string>): bigint {
    const hashes: bigint[] = [];
    for (const name of [...names].sort(compareText)) {
      const topic = this.#image().topicByName(name);
      if (topic !== undefined) hashes.push(this.#racksOfTopic(topic).hash);
    }
    return combinedHash(hashes);
  }

  racksOf(topicId: Uuid, partition: number): readonly string[] {
    const topic = this.#image().topicById(topicId);
    return topic === undefined ? [] : this.#racksOfTopic(topic).racks[partition] ?? [];
  }

  #racksOfTopic(topic: TopicImage): TopicRacks {
    let found = this.#found.get(topic);
    if (found === undefined) {
      const { brokers } = this.#image();
      const racks = topic.partitions.map(({ replicas }) =>
        replicas.flatMap((id) => brokers.get(id)?.rack ?? []).sort(compareText)
      );
      const racksOf = (partition: number) => racks[partition]!;
      const hash = topicHash({ ...topic, partitionCount: racks.length, racksOf });
      this.#found.set(topic, found = { racks, hash });
    }
    return found;
  }
}

function groupTopic(topic: TopicImage | undefined): GroupTopic | undefined {
  if (topic === undefined) return undefined;
  return { id: topic.id, name: topic.name, partitionCount: topic.partitions.length };
}

/** The hash of one topic. */
export function topicHash({ id, name, partitionCount, racksOf }: GroupTopic & {
  /** The racks of a partition's replicas, sorted. */
  readonly racksOf: (partition: number) => readonly string[];
}): bigint {
  const bytes = new LittleEndian();
  bytes.int8(0);
  const { buffer, byteOffset } = parseUuid(id);
  const idView = new DataView(buffer, byteOffset);
  bytes.int64(idView.getBigInt64(0));
  bytes.int64(idView.getBigInt64(8));
  bytes.text(name);
  bytes.int32(partitionCount);
  for (let partition = 0; partition < partitionCount; partition++) {
    bytes.int32(partition);
    for (const rack of racksOf(partition)) {
      bytes.int32(rack.length);
      bytes.text(rack);
    }
  }
  return xxh3(bytes.finish());
}

/** The hash of many topics, from theirs in the order of their names; 0 for none. */
export function combinedHash(hashes: readonly bigint[]): bigint {
  if (hashes.length === 0) return 0n;
  const bytes = new LittleEndian();
  for (const hash of hashes) bytes.int64(hash);
  return xxh3(bytes.finish());
}

/** Bytes in the order in which Kafka's hash library takes them. */
class LittleEndian {
  #view = new DataView(new ArrayBuffer(1024));
  #length = 0;

  int8(value: number): void {
    const at = this.#reserve(1);
    this.#view.setInt8(at, value);
  }

  int32(value: number): void {
    const at = this.#reserve(4);
    this.#view.setInt32(at, value, true);
  }

  int64(value: bigint): void {
    const at = this.#reserve(8);
    this.#view.setBigInt64(at, value, true);
  }

  text(value: string): void {
    for (let i = 0; i < value.length; i++) {
      const at = this.#reserve(2);
      this.#view.setUint16(at, value.charCodeAt(i), true);
    }
    this.int32(value.length);
  }

  finish(): Uint8Array {
    return new Uint8Array(this.#view.buffer, 0, this.#length);
  }

  #reserve(bytes: number): number {
    const at = this.#length;
    this.#length += bytes;
    if (this.#length > this.#view.byteLength) {
      const grown = new Uint8Array(2 * this.#length);
      grown.set(new Uint8Array(this.#view.buffer, 0, at));
      this.#view = new DataView(grown.buffer);
    }
    return at;
  }
}

/**
 * What lay in the log directories at the start and has not been opened since: replicas under their names,
 * and copies of replicas on their way to another directory.
 *
 *     found ──locate──→ the directory to open, or none          what is not the replica's own is kept aside
 *       └── a copy in the directory that the metadata names ──→ its move is completed first
 *
 * Nothing is deleted here but what a move that was decided has left: the metadata names the directory of the
 * copy, and the copy is there.
 */

import { formatTopicPartition, type TopicPartition, type Uuid } from "../../protocol/types.ts";
import type { LogDirectories, PlacedFuture } from "../../storage/log_directories.ts";
import { type LogDirectory } from "../../storage/log_directory.ts";
import { parsePartitionName } from "../../storage/partition_names.ts";
import { DiskError, type Logger } from "../../storage/platform.ts";
import type { MetadataImage } from "../controller/metadata_image.ts";
import { METADATA_TOPIC } from "../controller/quorum.ts";
import { locateReplica, type ReplicaCandidate, type ReplicaLocation } from "./replica_location.ts";

/** A replica that is looked for. */
export interface WantedReplica extends TopicPartition {
  readonly topicId: Uuid;
  /** Id of the directory that the metadata names, or one of `DirectoryId`. */
  readonly assigned: Uuid;
  readonly isLedElsewhere: boolean;
  /** The metadata says that what lies here is nobody's any more: it was damaged. */
  readonly isGivenUp: boolean;
  /** What it held was damaged and set aside; it is out of sync, and another node leads. */
  readonly isBegunAnew: boolean;
}

/** What was found at the start. */
export class FoundReplicas {
  readonly #directories: LogDirectories;
  readonly #logger: Logger;
  /** By `topic-partition`. */
  readonly #replicas = new Map<string, ReplicaCandidate<LogDirectory>[]>();
  readonly #copies = new Map<string, PlacedFuture[]>();

  /** Looks into every directory that can be used. */
  constructor(directories: LogDirectories, logger: Logger) {
    this.#directories = directories;
    this.#logger = logger;
    for (const { topicPartition, topicId, directory } of directories.found()) {
      addTo(this.#replicas, nameOf(topicPartition), { directory, topicId });
    }
    for (const copy of directories.foundFutures()) {
      addTo(this.#copies, nameOf(copy.topicPartition), copy);
    }
  }

  /** Says where a replica's log is to be opened or made, or why not. */
  locate(wanted: WantedReplica): ReplicaLocation<LogDirectory> {
    const { topic, partition } = wanted;
    return locateReplica({
      ...wanted,
      found: this.#replicas.get(formatTopicPartition(topic, partition)) ?? [],
      byId: (directoryId) => this.#directories.byId(directoryId),
    });
  }

  /**
   * Completes a move that an earlier run had written into the metadata, and not yet on the disks: the copy is
   * the replica, and its source goes. Errors: DiskError.
   */
  async completeMove(wanted: WantedReplica): Promise<void> {
    const { topicId, assigned } = wanted;
    const name = nameOf(wanted);
    const home = this.#directories.byId(assigned);
    const copies = this.#copies.get(name) ?? [];
    const copy = copies.find((one) => one.directory === home && one.topicId === topicId);
    const replicas = this.#replicas.get(name) ?? [];
    const isThere = ({ directory, topicId: id }: ReplicaCandidate<LogDirectory>) =>
      directory === home && (id === topicId || id === null);
    if (home === undefined || copy === undefined || replicas.some(isThere)) return;
    for (const { directory, topicId: id } of replicas) {
      if (id === topicId) await this.#tryOn(directory, () => directory.deleteUnopened(wanted, id));
      else if (directory === home) await directory.setAside(wanted);
    }
    await home.promoteFound(copy);
    this.#logger.info("Partition has moved: an earlier run had not completed it", {
      partition: name,
      to: home.path,
    });
    const isLeft = ({ directory, topicId: id }: ReplicaCandidate<LogDirectory>) =>
      directory !== home && id !== topicId;
    this.#replicas.set(name, [...replicas.filter(isLeft), { directory: home, topicId }]);
    this.#copies.set(name, copies.filter((one) => one !== copy));
  }

  /** A damaged replica makes room for one that is filled by the leader. Errors: DiskError. */
  async setDamagedAside(wanted: WantedReplica): Promise<void> {
    const name = nameOf(wanted);
    for (const directory of this.#directories.online()) {
      await directory.setDamagedAside(wanted, wanted.topicId);
    }
    const replicas = this.#replicas.get(name) ?? [];
    for (const { directory, topicId } of replicas) {
      if (topicId === null) await directory.setAside(wanted);
    }
    const isOther = ({ topicId }: ReplicaCandidate<LogDirectory>) =>
      topicId !== null && topicId !== wanted.topicId;
    keepIn(this.#replicas, name, replicas.filter(isOther));
  }

  /**
   * What lies under the same name and is not the replica's: that of another topic, one that was deleted and
   * the process ended before its directory was moved away, or one that the metadata has lost; or a copy of
   * the same that somebody made. Neither must come back in its place nor be deleted on a guess.
   * Errors: DiskError of the directory that is to be used.
   */
  async setOthersAside(wanted: WantedReplica, used: LogDirectory): Promise<void> {
    for (const { directory, topicId } of this.#replicas.get(nameOf(wanted)) ?? []) {
      const isForerunner = topicId !== null && topicId !== wanted.topicId;
      if (directory === used) {
        if (isForerunner) await directory.setAside(wanted);
      } else if (!isForerunner) await this.#tryOn(directory, () => directory.setAside(wanted));
    }
  }

  /** The replica is open. Returns: its copies on their way to other directories. */
  take({ topic, partition, topicId }: WantedReplica, used: LogDirectory): PlacedFuture[] {
    const name = formatTopicPartition(topic, partition);
    this.#replicas.delete(name);
    const copies = this.#copies.get(name) ?? [];
    this.#copies.delete(name);
    return copies.filter((copy) => copy.topicId === topicId && copy.directory !== used);
  }

  /** Removes what lies here of a partition whose topic was deleted before it was opened. */
  async delete(topicPartition: TopicPartition, topicId: Uuid): Promise<void> {
    const name = nameOf(topicPartition);
    const copies = this.#copies.get(name) ?? [];
    for (const copy of copies) {
      if (copy.topicId !== topicId) continue;
      await this.#tryOn(copy.directory, () => copy.directory.deleteFound(copy));
    }
    keepIn(this.#copies, name, copies.filter((copy) => copy.topicId !== topicId));
    const replicas = this.#replicas.get(name) ?? [];
    keepIn(this.#replicas, name, replicas.filter((replica) => replica.topicId !== topicId));
  }

  /** Partitions on disk that no topic owns: kept, and named once. */
  reportStrays(image: MetadataImage): void {
    const strays: string[] = [];
    const isOwned = (name: string, topicId: Uuid | null) => {
      const { topic, partition } = parsePartitionName(name)!;
      const owner = image.topicByName(topic);
      return topic === METADATA_TOPIC || owner?.partitions[partition] !== undefined &&
          (topicId === null || owner.id === topicId);
    };
    for (const [name, candidates] of this.#replicas) {
      for (const { directory, topicId } of candidates) {
        if (!isOwned(name, topicId)) strays.push(`${directory.path}/${name}`);
      }
    }
    for (const [partition, copies] of this.#copies) {
      for (const { directory, topicId, name } of copies) {
        if (!isOwned(partition, topicId)) strays.push(`${directory.path}/${name}`);
      }
    }
    if (strays.length === 0) return;
    this.#logger.warn(
      "Partitions on disk belong to no topic of this cluster; they are kept and not served",
      { count: strays.length, first: strays.slice(0, 5) },
    );
  }

  /** What one disk cannot do is no reason not to serve what lies on another. */
  async #tryOn({ path }: LogDirectory, act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      const found = failure.message;
      this.#logger.warn("Old copy of a partition stays where it is", { path, found });
    }
  }
}

function nameOf({ topic, partition }: TopicPartition): string {
  return formatTopicPartition(topic, partition);
}

function addTo<T>(lists: Map<string, T[]>, name: string, value: T): void {
  const list = lists.get(name);
  if (list === undefined) lists.set(name, [value]);
  else list.push(value);
}

function keepIn<T>(lists: Map<string, T[]>, name: string, values: T[]): void {
  if (values.length === 0) lists.delete(name);
  else lists.set(name, values);
}

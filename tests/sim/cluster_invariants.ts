/**
 * What must hold in a cluster at every moment, whoever is down, cut off or late.
 *
 * Looked at after every event (`check`), in the brokers as they are: a partition has one leader an epoch, and
 * it is in sync; the high watermark of a leader never goes back; a leader holds everything that was ever
 * committed, and so does a replica that the newest image has in sync, whatever it drops; a controller epoch has one active controller; one node answers for a group; two nodes whose images
 * end at the same offset have the same image; the Raft invariants of `quorum_invariants.ts`. Now and then
 * (`scan`): of what is committed, every node has the same batches.
 *
 * Draws no chance; a scan reads the logs as a consumer would. A node that has had no turn since it was looked at
 * is as it was; of one that had, what has not moved costs a comparison.
 */

import assert from "node:assert/strict";
import type { Broker } from "../../broker/broker.ts";
import {
  GROUP_METADATA_TOPIC,
  TRANSACTION_STATE_TOPIC,
} from "../../broker/controller/internal_topics.ts";
import type { MetadataImage } from "../../broker/controller/metadata_image.ts";
import type { Partition } from "../../broker/partitions/partition.ts";
import { batches, readBatchHeader } from "../../protocol/record_batch.ts";
import { offset } from "../../protocol/types.ts";
import { QuorumInvariants } from "./quorum_invariants.ts";

/** A node as the invariants see it. */
export interface WatchedNode {
  readonly nodeId: number;
  /** Null while no process serves. */
  readonly broker: Broker | null;
  /** How often its process has had its turn: without one, nothing of it changes. */
  readonly turns: number;
}

/** What of a node was looked at last. */
interface Look {
  readonly broker: Broker;
  turns: number;
  partitions: readonly Partition[];
  /** What was seen of each of them. */
  seen: readonly Seen[];
}

/** What was seen of one partition object of one process. */
interface Seen {
  leaderEpoch: number;
  highWatermark: number;
  /** Committed batches before this were compared. */
  scannedOffset: number;
  /** Where its log ended last; Infinity before it was looked at. */
  endOffset: number;
}

/** What is known of one partition of the cluster. */
interface Committed {
  readonly name: string;
  /** Who leads it in each epoch. */
  readonly leaders: Map<number, number>;
  /** The highest high watermark that a leader had. */
  highWatermark: number;
  /** Checksum of each committed batch by its base offset, and its last offset. */
  readonly batches: Map<number, { readonly crc: number; readonly lastOffset: number }>;
}

/** The topics each of whose partitions has one coordinator, and who that may be on a node. */
const COORDINATED = [
  {
    topic: GROUP_METADATA_TOPIC,
    what: "groups",
    coordinatorOf: ({ subsystems }: Broker) => subsystems.groupCoordinator,
  },
  {
    topic: TRANSACTION_STATE_TOPIC,
    what: "transactions",
    coordinatorOf: ({ subsystems }: Broker) => subsystems.transactionCoordinator,
  },
] as const;

const READ_BYTES = 1024 * 1024;

/** The invariants of one life of a cluster. */
export class ClusterInvariants {
  /** How many committed batches were compared. */
  comparedCount = 0;
  readonly quorum = new QuorumInvariants();
  readonly #looks = new Map<number, Look>();
  readonly #seen = new Map<Partition, Seen>();
  readonly #committed = new Map<string, Committed>();
  readonly #controllers = new Map<number, number>();
  /** The image that a node had last, and what it is like, by offset. */
  readonly #images = new Map<number, MetadataImage>();
  readonly #digests = new Map<number, { readonly nodeId: number; readonly text: string }>();
  /** Partitions of each coordinated topic, as far as any image had them. */
  readonly #coordinatedCounts = COORDINATED.map(() => 0);

  /** After every event. */
  check(nodes: readonly WatchedNode[]): void {
    let hasChanged = false;
    for (const node of nodes) {
      const { nodeId, broker, turns } = node;
      if (broker === null) continue;
      let look = this.#looks.get(nodeId);
      if (look?.turns === turns && look.broker === broker) continue;
      hasChanged = true;
      if (look?.broker !== broker) {
        look = { broker, turns, partitions: [], seen: [] };
        this.#looks.set(nodeId, look);
      }
      look.turns = turns;
      this.#checkNode(nodeId, look);
    }
    if (hasChanged && nodes.length > 1) this.#checkCoordinators(nodes);
  }

  #checkNode(nodeId: number, look: Look): void {
    const { controller, replicaManager } = look.broker.subsystems;
    const image = controller.image();
    if (this.#images.get(nodeId) !== image) this.#checkImage(nodeId, image);
    const partitions = replicaManager.partitions();
    if (look.partitions !== partitions) {
      look.partitions = partitions;
      look.seen = partitions.map((partition) => this.#seenOf(partition));
    }
    for (let at = 0; at < partitions.length; at++) {
      const partition = partitions[at]!;
      const seen = look.seen[at]!;
      if (partition.isLeader) this.#checkLeader(nodeId, partition, seen);
      const { endOffset } = partition.log;
      if (endOffset === seen.endOffset) continue;
      if (endOffset < seen.endOffset) this.#checkDrop(nodeId, look.broker, partition);
      seen.endOffset = endOffset;
    }
    this.quorum.check(nodeId, controller.quorum);
    if (controller.isActive) this.#checkController(nodeId, controller.controllerEpoch);
  }

  #checkCoordinators(nodes: readonly WatchedNode[]): void {
    for (let at = 0; at < COORDINATED.length; at++) {
      const count = this.#coordinatedCounts[at]!;
      for (let partition = 0; partition < count; partition++) {
        checkOneAnswers(nodes, COORDINATED[at]!, partition);
      }
    }
  }

  /** Compares what has been committed since the last scan. */
  scan(nodes: readonly WatchedNode[]): void {
    const alive = new Set<Partition>();
    for (const { nodeId, broker } of nodes) {
      for (const partition of broker?.subsystems.replicaManager.partitions() ?? []) {
        this.#scanPartition(nodeId, partition);
        alive.add(partition);
      }
    }
    for (const partition of this.#seen.keys()) {
      if (!alive.has(partition)) this.#seen.delete(partition);
    }
  }

  #committedOf({ topicId, topic, partition }: Partition): Committed {
    const key = `${topicId}-${partition}`;
    let committed = this.#committed.get(key);
    if (committed === undefined) {
      const name = `${topic}-${partition}`;
      committed = { name, leaders: new Map(), highWatermark: 0, batches: new Map() };
      this.#committed.set(key, committed);
    }
    return committed;
  }

  #seenOf(partition: Partition): Seen {
    let seen = this.#seen.get(partition);
    if (seen === undefined) {
      seen = { leaderEpoch: -1, highWatermark: 0, scannedOffset: 0, endOffset: Infinity };
      this.#seen.set(partition, seen);
    }
    return seen;
  }

  #checkLeader(nodeId: number, partition: Partition, seen: Seen): void {
    const { highWatermark, leaderEpoch } = partition;
    if (seen.highWatermark === highWatermark && seen.leaderEpoch === leaderEpoch) return;
    const committed = this.#committedOf(partition);
    const where = `${committed.name} on node ${nodeId}, leader epoch ${leaderEpoch}`;
    assert(
      leaderEpoch > seen.leaderEpoch || highWatermark >= seen.highWatermark,
      `${where}: the high watermark went back from ${seen.highWatermark} to ${highWatermark}`,
    );
    const leader = committed.leaders.get(leaderEpoch);
    assert(leader === undefined || leader === nodeId, `${where}: node ${leader} leads it too`);
    const newestEpoch = Math.max(leaderEpoch, ...committed.leaders.keys());
    committed.leaders.set(leaderEpoch, nodeId);
    const { endOffset, offlineReason } = partition.log;
    if (leaderEpoch === newestEpoch && offlineReason === null) {
      assert(
        endOffset >= committed.highWatermark,
        `${where}: it ends at ${endOffset}, and ${committed.highWatermark} records are committed`,
      );
    }
    committed.highWatermark = Math.max(committed.highWatermark, highWatermark);
    seen.highWatermark = highWatermark;
    seen.leaderEpoch = leaderEpoch;
  }

  /** A log has become shorter, or was not there before: it must not matter to what is committed. */
  #checkDrop(nodeId: number, { subsystems }: Broker, partition: Partition): void {
    const { log, topicId } = partition;
    const newest = [...this.#images.values()].reduce((a, b) => b.offset > a.offset ? b : a);
    const state = newest.topicById(topicId)?.partitions[partition.partition];
    const registered = newest.brokers.get(nodeId)?.epoch;
    const [directory] = subsystems.replicaManager.logDirectories.online();
    // What it had in an earlier life was another one's.
    const isIncarnation = directory !== undefined && directory.brokerEpoch === registered;
    if (log.offlineReason !== null || !isIncarnation || !state?.isr.includes(nodeId)) return;
    const { name, highWatermark } = this.#committedOf(partition);
    assert(
      log.endOffset >= highWatermark,
      `${name} on node ${nodeId}, which is in sync (${state.isr.join()}), ends at ${log.endOffset}, and ` +
        `${highWatermark} records are committed`,
    );
  }

  #checkController(nodeId: number, epoch: number): void {
    const known = this.#controllers.get(epoch);
    assert(
      known === undefined || known === nodeId,
      `nodes ${known} and ${nodeId} are both the active controller of epoch ${epoch}`,
    );
    this.#controllers.set(epoch, nodeId);
  }

  #checkImage(nodeId: number, image: MetadataImage): void {
    this.#images.set(nodeId, image);
    for (const { name, partitions } of image.topics()) {
      for (const { partition, leader, isr } of partitions) {
        if (leader < 0 || isr.includes(leader)) continue;
        assert.fail(
          `${name}-${partition} in the image of node ${nodeId} at ${image.offset}: ` +
            `${leader} leads it, and [${isr}] are in sync`,
        );
      }
    }
    for (const [at, { topic }] of COORDINATED.entries()) {
      const count = image.topicByName(topic)?.partitions.length ?? 0;
      this.#coordinatedCounts[at] = Math.max(this.#coordinatedCounts[at]!, count);
    }
    const text = digest(image);
    const known = this.#digests.get(image.offset);
    if (known === undefined) {
      this.#digests.set(image.offset, { nodeId, text });
      return;
    }
    assert.equal(
      text,
      known.text,
      `the images of nodes ${known.nodeId} and ${nodeId} at offset ${image.offset} differ`,
    );
  }

  #scanPartition(nodeId: number, partition: Partition): void {
    const seen = this.#seenOf(partition);
    const { log, highWatermark } = partition;
    // Each node compacts for itself.
    if (log.config.cleanupPolicy.includes("compact")) return;
    const committed = this.#committedOf(partition);
    seen.scannedOffset = Math.max(seen.scannedOffset, log.logStartOffset);
    while (seen.scannedOffset < highWatermark) {
      const read = log.read(offset(seen.scannedOffset), {
        maxBytes: READ_BYTES,
        minOneMessage: true,
        upToOffset: highWatermark,
      });
      // A log that cannot be read says so elsewhere.
      if (!("records" in read)) return;
      try {
        const before = seen.scannedOffset;
        for (const at of batches(read.records)) {
          const { baseOffset, lastOffsetDelta, crc } = readBatchHeader(read.records, at);
          const lastOffset = baseOffset + lastOffsetDelta;
          this.#compare(nodeId, committed, baseOffset, { crc, lastOffset });
          seen.scannedOffset = lastOffset + 1;
        }
        if (seen.scannedOffset === before) return;
      } finally {
        read.release();
      }
    }
  }

  #compare(
    nodeId: number,
    committed: Committed,
    baseOffset: number,
    batch: { readonly crc: number; readonly lastOffset: number },
  ): void {
    this.comparedCount++;
    const known = committed.batches.get(baseOffset);
    if (known === undefined) committed.batches.set(baseOffset, batch);
    else {
      assert.deepEqual(
        batch,
        known,
        `${committed.name}: node ${nodeId} has another batch at offset ${baseOffset}`,
      );
    }
  }
}

/** Of topics of images, which are replaced and never changed. */
const texts = new WeakMap<object, string>();

function textOf(topic: object): string {
  let text = texts.get(topic);
  if (text === undefined) texts.set(topic, text = JSON.stringify(topic));
  return text;
}

/** All that an image says, in an order that does not depend on how it came about. */
function digest(image: MetadataImage): string {
  const topics = [...image.topics()].sort((a, b) => a.name < b.name ? -1 : 1).map(textOf);
  const brokers = [...image.brokers.values()]
    .sort((a, b) => a.id - b.id)
    .map((broker) => ({ ...broker, features: [...broker.features].sort() }));
  const controllers = [...image.controllers.values()]
    .sort((a, b) => a.id - b.id)
    .map((controller) => ({ ...controller, features: [...controller.features].sort() }));
  const configs = [...image.parts().configs.entries()]
    .map(([name, values]) => [name, [...values].sort()] as const)
    .sort(([a], [b]) => a < b ? -1 : 1);
  const { provenance, nextProducerId } = image;
  return JSON.stringify({
    provenance,
    topics,
    brokers,
    controllers,
    configs,
    features: [...image.features].sort(),
    nextProducerId,
  });
}

/** Of a partition of a coordinator's topic no two nodes answer at a time. */
function checkOneAnswers(
  nodes: readonly WatchedNode[],
  { topic, what, coordinatorOf }: typeof COORDINATED[number],
  partition: number,
): void {
  let answering: number | null = null;
  for (const { nodeId, broker } of nodes) {
    if (broker === null || !coordinatorOf(broker).answersFor(partition)) continue;
    if (answering !== null) {
      assert.fail(
        `nodes ${answering} and ${nodeId} both answer for the ${what} of ${topic}-${partition}`,
      );
    }
    answering = nodeId;
  }
}

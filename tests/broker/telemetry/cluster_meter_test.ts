import { expect, test } from "bun:test";
import { MetadataDelta, MetadataImage } from "../../../broker/controller/metadata_image.ts";
import { imageChanges } from "../../../broker/controller/image_changes.ts";
import {
  decodeMetadataRecord,
  encodeMetadataRecord,
  type MetadataRecord,
} from "../../../broker/controller/metadata_records.ts";
import { ClusterMeter } from "../../../broker/telemetry/cluster_meter.ts";
import { replicationSample } from "../../../broker/telemetry/cluster_metrics.ts";
import { leaderEpoch, offset, timestampMs, type Uuid } from "../../../protocol/types.ts";
import { randomUuid } from "../../../storage/random_uuid.ts";
import { SimRandom } from "../../sim/sim_random.ts";

const NODE = 1;

function replay(image: MetadataImage, records: readonly MetadataRecord[]) {
  const delta = new MetadataDelta(image);
  for (const [i, record] of records.entries()) {
    const at = offset(image.offset + 1 + i);
    delta.replay(decodeMetadataRecord(encodeMetadataRecord(record)), at);
  }
  return delta.apply({
    offset: offset(image.offset + records.length),
    leaderEpoch: leaderEpoch(1),
    timestampMs: timestampMs(1),
  });
}

/** The slow way: looks at everything. */
function scan(image: MetadataImage) {
  const all = [...image.topics()].flatMap(({ partitions }) => partitions);
  return {
    partitionCount: all.length,
    offlineCount: all.filter(({ leader }) => leader === -1).length,
    imbalanceCount: all.filter(({ leader, replicas }) => leader >= 0 && leader !== replicas[0])
      .length,
    reassigningCount:
      all.filter(({ addingReplicas, removingReplicas }) =>
        addingReplicas.length > 0 || removingReplicas.length > 0
      ).length,
  };
}

function countsOf(
  { partitionCount, offlineCount, imbalanceCount, reassigningCount }: ClusterMeter,
) {
  return { partitionCount, offlineCount, imbalanceCount, reassigningCount };
}

/** Something happens to a cluster. */
function happen(image: MetadataImage, random: SimRandom): MetadataRecord[] {
  const topics = [...image.topics()];
  if (topics.length === 0 || random.chance(0.2)) {
    const topicId = randomUuid(random);
    const count = 1 + random.below(4);
    return [
      { type: "TopicRecord", value: { name: `t${image.offset}`, topicId } },
      ...Array.from({ length: count }, (_, i) => partitionRecord(topicId, i, random)),
    ];
  }
  const topic = random.pick(topics);
  if (random.chance(0.1)) return [{ type: "RemoveTopicRecord", value: { topicId: topic.id } }];
  if (random.chance(0.1)) return [partitionRecord(topic.id, topic.partitions.length, random)];
  const { partition: partitionId } = random.pick(topic.partitions);
  const value = {
    partitionId,
    topicId: topic.id,
    ...random.chance(0.5) && { leader: random.pick([-1, 1, 2, 3]) },
    ...random.chance(0.5) && { isr: [1, 2, 3].slice(random.below(3)) },
    ...random.chance(0.3) && { addingReplicas: random.chance(0.5) ? [4] : [] },
    ...random.chance(0.3) && { removingReplicas: random.chance(0.5) ? [2] : [] },
  };
  return [{ type: "PartitionChangeRecord", value }];
}

function partitionRecord(topicId: Uuid, partitionId: number, random: SimRandom): MetadataRecord {
  const value = {
    partitionId,
    topicId,
    replicas: random.pick([[1, 2, 3], [2, 3, 1]]),
    isr: [1, 2, 3],
    removingReplicas: [],
    addingReplicas: [],
    leader: random.pick([1, 2]),
    leaderEpoch: 0,
    partitionEpoch: 0,
    directories: [],
  };
  return { type: "PartitionRecord", value };
}

test("ClusterMeter: counts what a look at everything would find, after every change", () => {
  const random = new SimRandom(11);
  for (let round = 0; round < 40; round++) {
    let image = MetadataImage.empty("cluster");
    const meter = new ClusterMeter(NODE);
    // The image that the meter has heard of: what comes as a snapshot is known by its outcome alone.
    let known = image;
    for (let step = 0; step < 60; step++) {
      const next = replay(image, happen(image, random));
      const isMissed = known !== image || random.chance(0.2);
      image = next.image;
      if (isMissed && random.chance(0.7)) continue;
      meter.note(image, isMissed ? imageChanges(known, image) : next.changes);
      known = image;
      expect(countsOf(meter)).toEqual(scan(image));
    }
  }
});

test("ClusterMeter: elections, and what this node's ISRs lose and win", () => {
  const id = randomUuid(new SimRandom(1));
  const meter = new ClusterMeter(NODE);
  let image = MetadataImage.empty("cluster");
  const then = (...records: MetadataRecord[]) => {
    const next = replay(image, records);
    image = next.image;
    meter.note(image, next.changes);
    const { leaderElections, uncleanLeaderElections, isrShrinks, isrExpands } = meter;
    return [leaderElections, uncleanLeaderElections, isrShrinks, isrExpands];
  };
  const change = (details: object): MetadataRecord => ({
    type: "PartitionChangeRecord",
    value: { partitionId: 0, topicId: id, ...details },
  });
  expect(then(
    { type: "TopicRecord", value: { name: "t", topicId: id } },
    {
      type: "PartitionRecord",
      value: {
        partitionId: 0,
        topicId: id,
        replicas: [1, 2, 3],
        isr: [1, 2, 3],
        removingReplicas: [],
        addingReplicas: [],
        leader: 1,
        leaderEpoch: 0,
        partitionEpoch: 0,
        directories: [],
      },
    },
  )).toEqual([0, 0, 0, 0]);
  expect(then(change({ isr: [1, 2] }))).toEqual([0, 0, 1, 0]);
  expect(then(change({ isr: [1, 2, 3] }))).toEqual([0, 0, 1, 1]);
  // With another leader the ISR is the election's, not this node's.
  expect(then(change({ leader: 2, isr: [2] }))).toEqual([1, 0, 1, 1]);
  expect(then(change({ isr: [2, 1] }))).toEqual([1, 0, 1, 1]);
  expect(then(change({ leader: -1 }))).toEqual([1, 0, 1, 1]);
  expect(then(change({ leader: 3, isr: [3] }))).toEqual([2, 1, 1, 1]);
});

test("replicationSample: what is led, what lacks replicas, and who is furthest behind", () => {
  const partition = (
    isLeader: boolean,
    isr: readonly number[],
    { followerLag = 0, addingReplicas = [] as number[], effectiveMinIsr = 2 } = {},
  ) => ({
    isLeader,
    followerLag,
    effectiveMinIsr,
    image: { replicas: [1, 2, 3, ...addingReplicas], isr, addingReplicas },
  });
  expect(replicationSample([
    partition(true, [1, 2, 3]),
    partition(true, [1, 2]),
    partition(true, [1]),
    // On its way, and not missing.
    partition(true, [1, 2, 3], { addingReplicas: [4] }),
    partition(false, [2], { followerLag: 12 }),
    partition(false, [2], { followerLag: 7 }),
  ])).toEqual({
    held: 6,
    led: 4,
    underReplicated: 2,
    underMinIsr: 1,
    atMinIsr: 1,
    maxLag: 12,
  });
});

import { expect, test } from "bun:test";
import { electionsOf } from "../../../broker/controller/leader_election.ts";
import { MetadataDelta, MetadataImage } from "../../../broker/controller/metadata_image.ts";
import {
  decodeMetadataRecord,
  encodeMetadataRecord,
  type MetadataRecord,
} from "../../../broker/controller/metadata_records.ts";
import { leaderEpoch, offset, timestampMs, type Uuid } from "../../../protocol/types.ts";

const ID = "yoa67tGYTPyLLJ8LeHt66Q" as Uuid;
const asRead = (record: MetadataRecord) => decodeMetadataRecord(encodeMetadataRecord(record));

interface Replicas {
  readonly leader: number;
  readonly isr: readonly number[];
  readonly elr?: readonly number[];
}

function imageOf({ leader, isr, elr = [] }: Replicas, ...more: readonly MetadataRecord[]) {
  const delta = new MetadataDelta(MetadataImage.empty("cluster"));
  const partition = {
    partitionId: 0,
    topicId: ID,
    replicas: [1, 2, 3],
    isr,
    removingReplicas: [],
    addingReplicas: [],
    leader,
    leaderEpoch: 5,
    partitionEpoch: 7,
    directories: [],
    eligibleLeaderReplicas: elr,
    lastKnownElr: elr,
  };
  const records: MetadataRecord[] = [
    { type: "TopicRecord", value: { name: "orders", topicId: ID } },
    { type: "PartitionRecord", value: partition },
    ...more,
  ];
  for (const [at, record] of records.entries()) delta.replay(asRead(record), offset(at));
  const provenance = {
    offset: offset(9),
    leaderEpoch: leaderEpoch(1),
    timestampMs: timestampMs(1),
  };
  return delta.apply(provenance).image;
}

const cases: readonly [string, Replicas, object][] = [
  ["one of the ISR leads", { leader: -1, isr: [2, 1] }, { leader: 1, isr: [2, 1], leaderEpoch: 6 }],
  ["one that had left the ISR leads alone", { leader: -1, isr: [], elr: [1, 3] }, {
    leader: 1,
    isr: [1],
    elr: [3],
    lastKnownElr: [3],
    leaderEpoch: 6,
  }],
  ["one that lacks records does not lead", { leader: -1, isr: [2], elr: [3] }, {
    leader: -1,
    leaderEpoch: 5,
  }],
  ["a leader stays", { leader: 2, isr: [1, 2] }, { leader: 2, leaderEpoch: 5 }],
];
test.each(cases)("electionsOf: %s", (_, replicas, expected) => {
  const records = electionsOf(imageOf(replicas), 1);
  const after = imageOf(replicas, ...records).topicByName("orders")!.partitions[0]!;
  expect(after as object).toMatchObject(expected);
});

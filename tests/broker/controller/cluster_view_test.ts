import { expect, test } from "bun:test";
import {
  controllerFor,
  reachableBrokers,
  viewPartition,
} from "../../../broker/controller/cluster_view.ts";
import {
  MetadataDelta,
  type MetadataImage,
  MetadataImage as Image,
} from "../../../broker/controller/metadata_image.ts";
import {
  decodeMetadataRecord,
  encodeMetadataRecord,
  type MetadataRecord,
} from "../../../broker/controller/metadata_records.ts";
import { leaderEpoch, offset, timestampMs, type Uuid } from "../../../protocol/types.ts";

const ID = "yoa67tGYTPyLLJ8LeHt66Q" as Uuid;
const register = (brokerId: number, listener: string, fenced: boolean): MetadataRecord => ({
  type: "RegisterBrokerRecord",
  value: {
    brokerId,
    incarnationId: ID,
    brokerEpoch: brokerId,
    endPoints: [{ name: listener, host: `host${brokerId}`, port: 9092, securityProtocol: 0 }],
    features: [],
    rack: null,
    fenced,
    logDirs: [ID],
  },
});

/** 1 is this node, 2 is fenced, 3 has another listener, 4 is fine. */
function cluster(leader: number): MetadataImage {
  const delta = new MetadataDelta(Image.empty("cluster"));
  const records: MetadataRecord[] = [
    register(1, "PLAINTEXT", false),
    register(2, "PLAINTEXT", true),
    register(3, "INTERNAL", false),
    register(4, "PLAINTEXT", false),
    { type: "TopicRecord", value: { name: "orders", topicId: ID } },
    {
      type: "PartitionRecord",
      value: {
        partitionId: 0,
        topicId: ID,
        replicas: [1, 2, 3, 4],
        isr: [1, 3, 4],
        removingReplicas: [],
        addingReplicas: [],
        leader,
        leaderEpoch: 5,
        partitionEpoch: 7,
        directories: [],
      },
    },
  ];
  for (const [i, record] of records.entries()) {
    delta.replay(decodeMetadataRecord(encodeMetadataRecord(record)), offset(i));
  }
  return delta.apply({
    offset: offset(records.length - 1),
    leaderEpoch: leaderEpoch(1),
    timestampMs: timestampMs(1),
  }).image;
}

const viewer = {
  nodeId: 1,
  listenerName: "PLAINTEXT",
  advertisedHost: "reached.example",
  advertisedPort: 1,
};

test("reachableBrokers: this node as it was reached, others as registered on the same listener", () => {
  const brokers = reachableBrokers(cluster(1), viewer);
  expect([...brokers.values()].map(({ id, host, port }) => [id, host, port])).toEqual([
    [1, "reached.example", 1],
    [4, "host4", 9092],
  ]);
  const all = reachableBrokers(cluster(1), viewer, { includeFenced: true });
  expect([...all.values()].map(({ id, fenced }) => [id, fenced])).toEqual([
    [1, false],
    [2, true],
    [4, false],
  ]);
});

const leaders: readonly [number, string, number, number][] = [
  [4, "reachable", 0, 4],
  [2, "fenced", 5, -1],
  [3, "on another listener", 72, -1],
  [-1, "nobody", 5, -1],
  [9, "not registered", 5, -1],
];
test.each(leaders)("viewPartition: leader %p, %s", (leader, _, errorCode, leaderId) => {
  const image = cluster(leader);
  const partition = image.topicByName("orders")!.partitions[0]!;
  const view = viewPartition(image, partition, reachableBrokers(image, viewer));
  expect(view as object).toEqual({
    errorCode,
    partitionIndex: 0,
    leaderId,
    leaderEpoch: 5,
    replicaNodes: [1, 2, 3, 4],
    isrNodes: [1, 3, 4],
    offlineReplicas: [2, 3],
  });
});

test("controllerFor: the controller if the client can reach it, else a broker that forwards", () => {
  const brokers = reachableBrokers(cluster(1), viewer);
  expect(controllerFor(4, brokers)).toBe(4);
  expect(controllerFor(2, brokers)).toBe(1);
  expect(controllerFor(-1, new Map())).toBe(-1);
});

import { expect, test } from "bun:test";
import {
  decodeMetadataRecord,
  encodeMetadataRecord,
  type MetadataRecord,
} from "../../../broker/controller/metadata_records.ts";
import { WireError } from "../../../protocol/bytes.ts";
import type { Uuid } from "../../../protocol/types.ts";

const TOPIC_ID = "yoa67tGYTPyLLJ8LeHt66Q" as Uuid;

test("encodeMetadataRecord: the frame is frame version, type, version, body", () => {
  const bytes = encodeMetadataRecord({
    type: "FeatureLevelRecord",
    value: { name: "group.version", featureLevel: 1 },
  });
  // Kafka's own record of this value is 20 bytes long, by dump-log.
  expect(bytes.toHex()).toBe(
    `010c00${"0e"}${new TextEncoder().encode("group.version").toHex()}000100`,
  );
  expect(bytes.length).toBe(20);
});

const records: readonly MetadataRecord[] = [
  { type: "TopicRecord", value: { name: "orders", topicId: TOPIC_ID } },
  { type: "RemoveTopicRecord", value: { topicId: TOPIC_ID } },
  {
    type: "PartitionRecord",
    value: {
      partitionId: 3,
      topicId: TOPIC_ID,
      replicas: [1, 2],
      isr: [1],
      removingReplicas: [],
      addingReplicas: [],
      leader: 1,
      leaderEpoch: 0,
      partitionEpoch: 0,
      directories: [TOPIC_ID, TOPIC_ID],
      eligibleLeaderReplicas: [2],
    },
  },
  {
    type: "ConfigRecord",
    value: { resourceType: 2, resourceName: "orders", name: "retention.ms", value: null },
  },
  { type: "ProducerIdsRecord", value: { brokerId: 1, brokerEpoch: 7, nextProducerId: 2000 } },
];
test.each(records.map((record) => [record.type, record] as const))(
  "decodeMetadataRecord: %s comes back",
  (_, record) => {
    const decoded = decodeMetadataRecord(encodeMetadataRecord(record));
    expect(decoded.type).toBe(record.type);
    expect(decoded.value as object).toMatchObject(record.value);
  },
);

const refused: readonly [string, string, string][] = [
  ["frame version", "020900", "frame version 2"],
  ["unknown type", "016300", "type 99 is unknown"],
  ["version", "010963", "version 99 is above 0"],
  ["a record cut short", "010900aabb", "are left"],
  ["nothing", "", "are left"],
];
test.each(refused)("decodeMetadataRecord: another %s is a WireError", (_, hex, text) => {
  expect(() => decodeMetadataRecord(Uint8Array.fromHex(hex))).toThrow(WireError);
  expect(() => decodeMetadataRecord(Uint8Array.fromHex(hex))).toThrow(text);
});

test("decodeMetadataRecord: bytes left over are a WireError", () => {
  const bytes = encodeMetadataRecord({ type: "RemoveTopicRecord", value: { topicId: TOPIC_ID } });
  expect(() => decodeMetadataRecord(new Uint8Array([...bytes, 0]))).toThrow(
    "1 bytes are left over",
  );
});

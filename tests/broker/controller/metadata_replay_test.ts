/** A metadata log as Apache Kafka leaves it: snapshots in place of its start, voters, records of all kinds. */

import { expect, test } from "bun:test";
import { Config } from "../../../broker/config/config.ts";
import { controllerSettings } from "../../../broker/controller/config_rules.ts";
import { Controller } from "../../../broker/controller/controller.ts";
import {
  encodeMetadataRecord,
  type MetadataRecord,
} from "../../../broker/controller/metadata_records.ts";
import { METADATA_TOPIC } from "../../../broker/controller/quorum.ts";
import { buildControlBatch } from "../../../protocol/control_records.ts";
import { buildBatch } from "../../../protocol/records.ts";
import { type Uuid, ZERO_UUID } from "../../../protocol/types.ts";
import { SimClock } from "../../sim/sim_clock.ts";
import { SimDisk } from "../../sim/sim_disk.ts";
import { SimLogger } from "../../sim/sim_logger.ts";
import { SimRandom } from "../../sim/sim_random.ts";
import { CLUSTER_ID, NODE_ID, openMetadataLog } from "./harness.ts";

const DIRECTORY = `/data/${METADATA_TOPIC}-0`;
const ID = "yoa67tGYTPyLLJ8LeHt66Q" as Uuid;
const OTHER_ID = "zoa67tGYTPyLLJ8LeHt66Q" as Uuid;
const EPOCH = 3;
const FEATURES: MetadataRecord = {
  type: "FeatureLevelRecord",
  value: { name: "metadata.version", featureLevel: 30 },
};

type Files = Readonly<Record<string, Uint8Array>>;

const topic = (name: string, topicId: Uuid): MetadataRecord => (
  { type: "TopicRecord", value: { name, topicId } }
);

function batchOf(baseOffset: number, ...records: readonly MetadataRecord[]): Uint8Array {
  return buildBatch({
    baseOffset,
    partitionLeaderEpoch: EPOCH,
    records: records.map((record) => (
      { key: null, value: encodeMetadataRecord(record), timestamp: 1 }
    )),
  });
}

function voters(baseOffset: number, ...ids: readonly number[]): Uint8Array {
  const message = {
    version: 0,
    voters: ids.map((voterId) => ({
      voterId,
      voterDirectoryId: ZERO_UUID,
      endpoints: [],
      kRaftVersionFeature: { minSupportedVersion: 0, maxSupportedVersion: 1 },
    })),
  };
  const records = [{ type: "voters", message }] as const;
  return buildControlBatch({ baseOffset, partitionLeaderEpoch: EPOCH, records, timestamp: 1 });
}

function leaderChange(baseOffset: number, ...ids: readonly number[]): Uint8Array {
  const [leaderId] = ids as [number];
  const named = ids.map((voterId) => ({ voterId }));
  const message = { version: 0, leaderId, voters: named, grantingVoters: named };
  const records = [{ type: "leaderChange", message }] as const;
  return buildControlBatch({ baseOffset, partitionLeaderEpoch: EPOCH, records, timestamp: 1 });
}

/** A snapshot file; its offsets are its own. */
function snapshotOf(
  records: readonly MetadataRecord[],
  { hasFooter = true, voterIds = [NODE_ID] } = {},
): Uint8Array {
  const header = { version: 0, lastContainedLogTimestamp: 1 };
  const parts = [
    buildControlBatch({ records: [{ type: "snapshotHeader", message: header }], timestamp: 1 }),
    voters(1, ...voterIds),
    ...records.map((record, i) => batchOf(2 + i, record)),
  ];
  if (hasFooter) {
    const footer = [{ type: "snapshotFooter", message: { version: 0 } }] as const;
    const baseOffset = 2 + records.length;
    parts.push(buildControlBatch({ baseOffset, records: footer, timestamp: 1 }));
  }
  return Buffer.concat(parts);
}

const logName = (baseOffset: number) => `${String(baseOffset).padStart(20, "0")}.log`;
const snapshotName = (endOffset: number) =>
  `${String(endOffset).padStart(20, "0")}-${String(EPOCH).padStart(10, "0")}.checkpoint`;

async function startOn(files: Files) {
  const disk = new SimDisk({ random: new SimRandom(1) });
  const [clock, logger] = [new SimClock(), new SimLogger()];
  disk.makeDirectory(DIRECTORY);
  for (const [name, bytes] of Object.entries(files)) disk.plant(`${DIRECTORY}/${name}`, bytes);
  const log = await openMetadataLog(disk, clock, logger);
  const starting = Controller.start({
    disk,
    clock,
    logger,
    log,
    nodeId: NODE_ID,
    clusterId: CLUSTER_ID,
    random: new SimRandom(2),
    settings: controllerSettings(Config.load({})),
    onFailure: (message) => expect.unreachable(message),
  });
  return { disk, logger, log, starting };
}

/** A log from 5000 on; what lies before 5002 is in the snapshot, and would fail if it came twice. */
const LOG: Files = {
  [logName(5000)]: Buffer.concat([
    batchOf(5000, topic("orders", ID), { type: "RemoveTopicRecord", value: { topicId: OTHER_ID } }),
    batchOf(5002, topic("later", OTHER_ID)),
  ]),
};
const SNAPSHOT = snapshotOf([FEATURES, topic("orders", ID)]);

test("Controller.start: goes on from the newest snapshot that the log continues", async () => {
  const { starting } = await startOn({
    ...LOG,
    [snapshotName(5000)]: snapshotOf([FEATURES, topic("stale", OTHER_ID)]),
    [snapshotName(5002)]: SNAPSHOT,
    [snapshotName(9000)]: snapshotOf([FEATURES, topic("never", ID)]),
    "00000000000000005003-0000000003.checkpoint.part": new Uint8Array(5),
  });
  const image = (await starting).image();
  expect([...image.topics()].map(({ name }) => name).toSorted()).toEqual(["later", "orders"]);
  expect(image.offset as number).toBe(5002);
  expect(image.features.get("metadata.version")).toBe(30);
});

test("Controller.start: a log that holds nothing past its snapshot", async () => {
  const { starting } = await startOn({
    [logName(5000)]: LOG[logName(5000)]!.subarray(0, 0),
    [snapshotName(5000)]: SNAPSHOT,
  });
  const image = (await starting).image();
  expect([...image.topics()].map(({ name }) => name)).toEqual(["orders"]);
  expect(image.offset as number).toBe(4999);
});

const flipped = Uint8Array.from(SNAPSHOT);
flipped[flipped.length - 90]! ^= 1;
const unusable: readonly [string, Files, string][] = [
  ["no snapshot", {}, "no snapshot holds what lies before it"],
  ["a snapshot without a footer", {
    [snapshotName(5002)]: snapshotOf([FEATURES], { hasFooter: false }),
  }, "is incomplete"],
  ["a snapshot cut short", { [snapshotName(5002)]: SNAPSHOT.subarray(0, -1) }, "damaged at byte"],
  ["a flipped bit in the snapshot", { [snapshotName(5002)]: flipped }, "damaged at byte"],
  ["voters in the snapshot", {
    [snapshotName(5002)]: snapshotOf([FEATURES], { voterIds: [1, 2, 3] }),
  }, "has the voters 1, 2, 3"],
];
test("Controller.start: a damaged snapshot is passed over where the log goes on from the one before it", async () => {
  const older = snapshotOf([FEATURES, topic("stale", OTHER_ID)]);
  const { starting, logger } = await startOn({
    ...LOG,
    [snapshotName(5000)]: older,
    [snapshotName(5002)]: flipped,
  });
  const image = (await starting).image();
  expect([...image.topics()].map(({ name }) => name).toSorted()).toEqual(["later", "orders"]);
  expect(JSON.stringify(logger.lines)).toContain("A snapshot of the metadata is damaged");
});

test("Controller.start: a damaged snapshot is passed over where the log has its first record", async () => {
  const { starting } = await startOn({
    [logName(0)]: Buffer.concat([batchOf(0, FEATURES), batchOf(1, topic("orders", ID))]),
    [snapshotName(2)]: flipped,
  });
  const image = (await starting).image();
  expect([...image.topics()].map(({ name }) => name)).toEqual(["orders"]);
});

test.each(unusable)(
  "Controller.start: %s is told, and nothing is written",
  async (_, more, text) => {
    await expectUntouched({ ...LOG, ...more }, text);
  },
);

async function expectUntouched(files: Files, text: string): Promise<void> {
  const { disk, log, starting } = await startOn(files);
  const before = Buffer.from(disk.bytesOf(log.directory + `/${Object.keys(files)[0]}`));
  await expect(starting).rejects.toThrow(text);
  expect(disk.bytesOf(log.directory + `/${Object.keys(files)[0]}`)).toEqual(before);
  expect(disk.exists(`${DIRECTORY}/quorum-state`)).toBe(false);
}

const acl = (id: Uuid): MetadataRecord => ({
  type: "AccessControlEntryRecord",
  value: {
    id,
    resourceType: 2,
    resourceName: "orders",
    patternType: 3,
    principal: "User:alice",
    host: "*",
    operation: 3,
    permissionType: 3,
  },
});
const removal = (id: Uuid): MetadataRecord => (
  { type: "RemoveAccessControlEntryRecord", value: { id } }
);
const quota: MetadataRecord = {
  type: "ClientQuotaRecord",
  value: {
    entity: [{ entityType: "user", entityName: "alice" }],
    key: "producer_byte_rate",
    value: 1,
    remove: false,
  },
};

const refused: readonly [string, readonly Uint8Array[], string][] = [
  ["voters in the log", [batchOf(0, FEATURES), voters(1, 1, 4)], "has the voters 1, 4"],
  ["a quorum of another node", [leaderChange(0, 100), batchOf(1, FEATURES)], "the voters 100, and"],
  [
    "access control entries",
    [batchOf(0, FEATURES, acl(ID), acl(OTHER_ID), removal(ID))],
    "holds 1 access",
  ],
  ["a version that is not known", [
    batchOf(0, {
      type: "FeatureLevelRecord",
      value: { name: "metadata.version", featureLevel: 29 },
    }),
  ], "at metadata.version 29"],
];
test.each(refused)(
  "Controller.start: %s: refused, and nothing is written",
  async (_, parts, text) => {
    await expectUntouched({ [logName(0)]: Buffer.concat(parts) }, text);
  },
);

test("Controller.start: what has no effect here is told once, and is no reason to stay down", async () => {
  const { starting, logger } = await startOn({
    [logName(0)]: Buffer.concat([
      leaderChange(0, 1, 2),
      voters(1, NODE_ID),
      batchOf(2, FEATURES, quota, quota, acl(ID), removal(ID)),
      batchOf(7, { type: "ZkMigrationStateRecord", value: { zkMigrationState: 0 } }),
      batchOf(8, { type: "UnregisterControllerRecord", value: { controllerId: 2 } }),
    ]),
  });
  expect((await starting).image().offset as number).toBe(8);
  const told = logger.lines.filter(({ message }) => message.includes("without effect"));
  expect(told.map(({ fields }) => fields as unknown)).toEqual([{ types: ["ClientQuotaRecord"] }]);
});

/** Kafka's own dump-log reads what the controller wrote to a real disk. Needs ../shared and a JDK. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Config } from "../../../broker/config/config.ts";
import { controllerSettings } from "../../../broker/controller/config_rules.ts";
import { Controller } from "../../../broker/controller/controller.ts";
import { MetadataSnapshots } from "../../../broker/controller/metadata_snapshots.ts";
import { listSnapshots } from "../../../broker/controller/snapshot_files.ts";
import type { CreatedTopic } from "../../../broker/controller/topic_changes.ts";
import { bunClock, bunDisk, bunRandom } from "../../../storage/platform_bun.ts";
import { eventually, KAFKA } from "../../compat/harness.ts";
import { SimLogger } from "../../sim/sim_logger.ts";
import {
  CLUSTER_ID,
  DIRECTORY_ID,
  newTopic,
  NODE_ID,
  openMetadataLog,
  registerBroker,
} from "./harness.ts";

const INSTALLED = join(
  process.env.PEERS_HOME ?? join(process.env.HOME ?? "/", ".cache/peers"),
  "kafka/lib",
);
const isThere = existsSync(KAFKA) && existsSync(join(INSTALLED, ".stamp"));
const skipped = isThere ? "" : " (skipped: Apache Kafka's tools are not installed)";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "weir-metadata-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

async function writeLog(path: string): Promise<void> {
  const [disk, clock, logger] = [bunDisk(), bunClock(), new SimLogger()];
  for (let start = 0; start < 2; start++) {
    const log = await openMetadataLog(disk, clock, logger, path);
    const controller = await Controller.start({
      disk,
      clock,
      logger,
      log,
      nodeId: NODE_ID,
      clusterId: CLUSTER_ID,
      random: bunRandom(),
      settings: controllerSettings(Config.load({})),
      onFailure: (message) => expect(message).toBe(""),
    });
    const brokerEpoch = await registerBroker(controller, {
      brokerId: NODE_ID,
      random: bunRandom(),
      rack: "r1",
    });
    const configs = [{ name: "retention.ms", value: "77" }];
    const [made] = await controller.createTopics([
      newTopic("orders", { partitionCount: 2, configs }),
    ]);
    const { topicId } = made as CreatedTopic;
    await controller.assignReplicasToDirs(NODE_ID, [
      { topicId, partition: 0, directoryId: DIRECTORY_ID },
    ]);
    await controller.brokerHeartbeat({
      brokerId: NODE_ID,
      brokerEpoch,
      metadataOffset: controller.image().offset,
      wantFence: false,
      wantShutDown: false,
      offlineLogDirs: [],
      cordonedLogDirs: [topicId],
    });
    await controller.createPartitions([{ name: "orders", partitionCount: 3, assignments: null }]);
    await controller.allocateProducerIds(NODE_ID);
    await controller.deleteTopics([{ name: "orders" }]);
    const snapshots = new MetadataSnapshots({
      disk,
      clock,
      logger,
      log,
      settings: { maxBytesBetween: 1, maxIntervalMs: 0, retentionBytes: -1, retentionMs: -1 },
      image: () => controller.image(),
      quorumBefore: (endOffset) => controller.quorum.controlRecordsBefore(endOffset),
      onChange: () => {},
      noteFailure: (failure) => expect(failure).toBeNull(),
    });
    snapshots.noteCommitted();
    await eventually("a snapshot", () => Promise.resolve(listSnapshots(disk, path)[start]));
    await snapshots.stop();
    controller.stop();
    await log.close();
  }
}

async function dump(file: string): Promise<string> {
  const tool = ["tool", "dump-log", "--cluster-metadata-decoder", "--files", file];
  const process = Bun.spawn([KAFKA, ...tool]);
  const text = await new Response(process.stdout).text();
  expect(await process.exited).toBe(0);
  expect(text).not.toContain("isvalid: false");
  return text;
}

function typesIn(text: string): string[] {
  return [
    ...text.matchAll(/(?:"type":"([A-Z_]+)"|(LeaderChange|SnapshotHeader|SnapshotFooter)[: ])/g),
  ]
    .map((match) => (match[1] ?? match[2])!);
}

test.skipIf(!isThere)(
  `Controller: Kafka's dump-log reads every record of the metadata log${skipped}`,
  async () => {
    const path = join(directory, "__cluster_metadata-0");
    await writeLog(path);
    const text = await dump(join(path, "00000000000000000000.log"));
    const types = typesIn(text);
    const session = [
      "REGISTER_BROKER_RECORD",
      "BROKER_REGISTRATION_CHANGE_RECORD",
      "TOPIC_RECORD",
      "CONFIG_RECORD",
      "PARTITION_RECORD",
      "PARTITION_RECORD",
      "PARTITION_CHANGE_RECORD",
      "BROKER_REGISTRATION_CHANGE_RECORD",
      "PARTITION_RECORD",
      "PRODUCER_IDS_RECORD",
      "REMOVE_TOPIC_RECORD",
    ];
    expect(types).toEqual([
      "LeaderChange",
      "FEATURE_LEVEL_RECORD",
      "FEATURE_LEVEL_RECORD",
      "CONFIG_RECORD",
      "FEATURE_LEVEL_RECORD",
      "FEATURE_LEVEL_RECORD",
      ...session,
      "LeaderChange",
      ...session,
    ]);
    expect(text).toContain(
      'LeaderChange: {"version":0,"leaderId":1,"voters":[{"voterId":1}],"grantingVoters":[{"voterId":1}]}',
    );
    expect(text).toContain(`"isr":[1],"removingReplicas":[],"addingReplicas":[],"leader":1,`);
    expect(text).toContain(`"directories":["${DIRECTORY_ID}"]`);
    const newest = listSnapshots(bunDisk(), path).at(-1)!;
    expect(typesIn(await dump(newest.path))).toEqual([
      "SnapshotHeader",
      "FEATURE_LEVEL_RECORD",
      "FEATURE_LEVEL_RECORD",
      "FEATURE_LEVEL_RECORD",
      "FEATURE_LEVEL_RECORD",
      "REGISTER_BROKER_RECORD",
      "CONFIG_RECORD",
      "PRODUCER_IDS_RECORD",
      "SnapshotFooter",
    ]);
  },
  60_000,
);

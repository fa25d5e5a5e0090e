/** Snapshots of the metadata: what is in them, when they are written, and what a crash or a bad disk leaves. */

import { describe, expect, test } from "bun:test";
import { imageRecords } from "../../../broker/controller/image_records.ts";
import { MetadataDelta, MetadataImage } from "../../../broker/controller/metadata_image.ts";
import {
  decodeMetadataRecord,
  encodeMetadataRecord,
} from "../../../broker/controller/metadata_records.ts";
import {
  MetadataSnapshots,
  type MetadataSnapshotsOptions,
  type SnapshotSettings,
} from "../../../broker/controller/metadata_snapshots.ts";
import { METADATA_TOPIC } from "../../../broker/controller/quorum.ts";
import { listSnapshots } from "../../../broker/controller/snapshot_files.ts";
import { offset } from "../../../protocol/types.ts";
import type { Disk } from "../../../storage/platform.ts";
import { ProcessDisk } from "../../sim/process_disk.ts";
import { SimRandom } from "../../sim/sim_random.ts";
import { CLUSTER_ID, Harness, newTopic, NODE_ID } from "./harness.ts";
import { imageText } from "./image_text.ts";

const DIRECTORY = `/data/${METADATA_TOPIC}-0`;
const NEVER: SnapshotSettings = {
  maxBytesBetween: Infinity,
  maxIntervalMs: 1e9,
  retentionBytes: -1,
  retentionMs: -1,
};
const EVERY_KB: SnapshotSettings = { ...NEVER, maxBytesBetween: 1000 };

/** Snapshots of a harness's controller, written as its changes are committed. */
function snapshotsOf(
  harness: Harness,
  settings: SnapshotSettings,
  { disk = harness.disk, ...more }: Partial<MetadataSnapshotsOptions> & { disk?: Disk } = {},
): MetadataSnapshots {
  const { clock, logger, log, controller } = harness;
  const snapshots = new MetadataSnapshots({
    disk,
    clock,
    logger,
    log,
    settings,
    image: () => controller.image(),
    quorumBefore: () => [],
    onChange: () => {},
    noteFailure: () => {},
    ...more,
  });
  controller.subscribe(() => snapshots.noteCommitted());
  return snapshots;
}

async function change(harness: Harness, random: SimRandom): Promise<void> {
  const { controller } = harness;
  const name = `topic${random.below(20)}`;
  switch (random.below(6)) {
    case 0:
      await controller.deleteTopics([{ name }]);
      return;
    case 1:
      await controller.createPartitions([{ name, partitionCount: 4, assignments: null }]);
      return;
    case 2:
      await controller.incrementalAlterConfigs([{
        resource: { type: "topic", name },
        operations: [{ name: "retention.ms", operation: "set", value: `${random.below(9) + 1}` }],
      }]);
      return;
    case 3:
      await controller.allocateProducerIds(NODE_ID);
      return;
    case 4:
      await controller.alterConfigs([{
        resource: { type: "broker", name: "" },
        configs: [{ name: "log.retention.ms", value: `${random.below(9) + 1}` }],
      }]);
      return;
    default:
      await controller.createTopics([newTopic(name, { partitionCount: 1 + random.below(3) })]);
  }
}

function withController(image: MetadataImage): MetadataImage {
  const delta = new MetadataDelta(image);
  const [broker] = image.brokers.values();
  const { incarnationId, endpoints: endPoints } = broker!;
  const features = [{ name: "kraft.version", minSupportedVersion: 0, maxSupportedVersion: 1 }];
  const value = { controllerId: 7, incarnationId, zkMigrationReady: false, endPoints, features };
  const record = encodeMetadataRecord({ type: "RegisterControllerRecord", value });
  delta.replay(decodeMetadataRecord(record), image.offset);
  return delta.apply(image.provenance).image;
}

function replayed(image: MetadataImage, random: SimRandom): MetadataImage {
  let next = MetadataImage.empty(CLUSTER_ID);
  let delta = new MetadataDelta(next);
  const apply = () => {
    ({ image: next } = delta.apply(image.provenance));
    delta = new MetadataDelta(next);
  };
  for (const record of imageRecords(image)) {
    if (random.chance(0.1)) apply();
    delta.replay(decodeMetadataRecord(encodeMetadataRecord(record)), image.offset);
  }
  apply();
  return next;
}

describe("imageRecords:", () => {
  test("applied in any batches they give an equal image", async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = new SimRandom(seed);
      const harness = await Harness.start({ seed, others: [{ id: 2, rack: "r" }] });
      for (let i = 0; i < 60; i++) await change(harness, random);
      const image = withController(harness.controller.image());
      expect(imageText(replayed(image, random)), `seed ${seed}`).toBe(imageText(image));
    }
  });
});

describe("MetadataSnapshots:", () => {
  test("a start finds what was committed, whichever call of the disk a snapshot dies at", async () => {
    let died = 0;
    for (let calls = 0; calls < 40; calls++) {
      for (const end of ["kill", "crash"] as const) {
        const harness = await Harness.start({ seed: calls + 1 });
        const process = new ProcessDisk(harness.disk);
        const snapshots = snapshotsOf(harness, EVERY_KB, { disk: process });
        const random = new SimRandom(calls);
        process.dieAt(calls);
        for (let i = 0; i < 60; i++) await change(harness, random);
        await harness.clock.advance(10);
        died += Number(process.isDead);
        const before = imageText(harness.controller.image());
        harness.controller.stop();
        void snapshots.stop();
        harness.disk[end]();
        await harness.open();
        const again = snapshotsOf(harness, EVERY_KB);
        expect(imageText(harness.controller.image()), `${end} at ${calls}`).toBe(before);
        await again.stop();
        expect(harness.disk.names(DIRECTORY).filter((name) => name.includes("part"))).toEqual([]);
      }
    }
    expect(died).toBeGreaterThan(20);
  });

  test("log and snapshots stay below a bound, and two snapshots and what follows them are kept", async () => {
    const harness = await Harness.start();
    const settings = { ...EVERY_KB, retentionBytes: 20_000 };
    const changes: [number, number][] = [];
    let snapshots = snapshotsOf(harness, settings, {
      onChange: ({ offset: end }, logStartOffset) => changes.push([end, logStartOffset]),
    });
    const random = new SimRandom(3);
    for (let i = 0; i < 2000; i++) {
      await change(harness, random);
      if (i % 20 === 0) await harness.clock.advance(1);
    }
    await harness.clock.advance(100);
    const files = listSnapshots(harness.disk, DIRECTORY);
    expect(files.length).toBeGreaterThanOrEqual(2);
    expect(harness.log.logStartOffset).toBe(offset(files[0]!.offset));
    expect(changes.at(-1)).toEqual([files.at(-1)!.offset, files[0]!.offset]);
    await snapshots.stop();
    const before = imageText(harness.controller.image());
    await harness.crashAndReopen();
    expect(imageText(harness.controller.image())).toBe(before);
    snapshots = snapshotsOf(harness, settings);
    await snapshots.stop();
  });

  test("are written after a time when there was a change, and not when there was none", async () => {
    const harness = await Harness.start();
    const snapshots = snapshotsOf(harness, { ...NEVER, maxIntervalMs: 60_000 });
    await harness.controller.createTopics([newTopic("a")]);
    await harness.clock.advance(60_100);
    const [only] = listSnapshots(harness.disk, DIRECTORY);
    expect(only!.offset).toBe(harness.controller.image().offset + 1);
    await harness.clock.advance(600_000);
    expect(listSnapshots(harness.disk, DIRECTORY)).toEqual([only!]);
    await harness.controller.createTopics([newTopic("b")]);
    await harness.clock.advance(60_100);
    expect(listSnapshots(harness.disk, DIRECTORY)).toHaveLength(2);
    await snapshots.stop();
  });

  test("a stop writes one where much came since the newest, from which the next start goes on", async () => {
    const harness = await Harness.start();
    const stop = async (settings = NEVER) => {
      const stopped = snapshotsOf(harness, settings).stop();
      await harness.clock.advance(100);
      await stopped;
      return listSnapshots(harness.disk, DIRECTORY);
    };
    await harness.controller.createTopics([newTopic("a", { partitionCount: 400 })]);
    expect(await stop()).toEqual([]);
    await harness.controller.createTopics([newTopic("b", { partitionCount: 100 })]);
    const [only] = await stop();
    expect(only!.offset).toBe(harness.controller.image().offset + 1);
    await harness.controller.createTopics([newTopic("c")]);
    expect(await stop()).toEqual([only!]);
    const before = imageText(harness.controller.image());
    await harness.crashAndReopen();
    expect(imageText(harness.controller.image())).toBe(before);
  });

  test("a stop does not wait for one that takes long", async () => {
    const harness = await Harness.start();
    await harness.controller.createTopics([newTopic("a", { partitionCount: 2_000 })]);
    const { clock } = harness;
    const snapshots = snapshotsOf(harness, NEVER, {
      clock: {
        monotonicMs: () => clock.monotonicMs(),
        wallMs: () => clock.wallMs(),
        timer: (delayMs, callback) => clock.timer(delayMs, callback),
        sleep: () => clock.sleep(1_500),
      },
    });
    const stopped = snapshots.stop();
    await clock.advance(2_000);
    await stopped;
    expect(listSnapshots(harness.disk, DIRECTORY)).toEqual([]);
  });

  for (const code of ["ENOSPC", "EIO"] as const) {
    test(`a disk that says ${code} costs a snapshot and nothing else, and it is tried again`, async () => {
      const harness = await Harness.start();
      const failures: unknown[] = [];
      const snapshots = snapshotsOf(harness, EVERY_KB, {
        noteFailure: (failure) => failures.push(failure),
      });
      harness.disk.faults.write = (path) => path.endsWith(".part") ? code : null;
      const random = new SimRandom(1);
      for (let i = 0; i < 60; i++) await change(harness, random);
      await harness.clock.advance(1_000);
      expect(failures).toHaveLength(1);
      expect(listSnapshots(harness.disk, DIRECTORY)).toEqual([]);
      expect(harness.failures).toEqual([]);
      harness.disk.faults = {};
      await harness.clock.advance(61_000);
      expect(listSnapshots(harness.disk, DIRECTORY)).toHaveLength(1);
      await snapshots.stop();
    });
  }
});

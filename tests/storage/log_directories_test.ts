import { describe, expect, test } from "bun:test";
import type { Uuid } from "../../protocol/types.ts";
import { textBytes } from "../../storage/checkpoint.ts";
import { LogDirectories, type LogDirectoriesOptions } from "../../storage/log_directories.ts";
import { DEFAULT_LOG_CONFIG } from "../../storage/log.ts";
import { MountedDisks } from "../sim/mounted_disks.ts";
import { SimClock } from "../sim/sim_clock.ts";
import { SimDisk } from "../sim/sim_disk.ts";
import { SimLogger } from "../sim/sim_logger.ts";
import { SimRandom } from "../sim/sim_random.ts";
import { SimWorkers } from "../sim/sim_workers.ts";

const GIB = 1024 ** 3;
const TOPIC_ID = "z1yHB6PEQAmy_Ty2vmsQRA" as Uuid;

class World {
  readonly clock = new SimClock();
  readonly logger = new SimLogger();
  readonly random = new SimRandom(1);
  readonly disks: MountedDisks;

  constructor(mounts: Readonly<Record<string, number>>) {
    const root = new SimDisk({ random: this.random.fork("root") });
    this.disks = new MountedDisks({ random: this.random.fork("disks"), root, mounts });
  }

  open(over: Partial<LogDirectoriesOptions> = {}): Promise<LogDirectories> {
    const { disks: disk, clock, random, logger } = this;
    return LogDirectories.open({
      disk,
      clock,
      random,
      logger,
      workers: new SimWorkers({ disk, clock, logger }),
      paths: ["/a", "/b"],
      metadataPath: "/a",
      nodeId: 1,
      ...over,
    });
  }
}

function paths(directories: LogDirectories): string[] {
  return directories.online().map(({ path }) => path);
}

describe("LogDirectories.open", () => {
  test("gives every directory an id of its own and one cluster, and finds both again", async () => {
    const world = new World({ "/a": GIB, "/b": GIB });
    const first = await world.open();
    const ids = first.online().map(({ directoryId }) => directoryId);
    expect(new Set(ids).size).toBe(2);
    expect(new Set(first.online().map(({ clusterId }) => clusterId))).toEqual(
      new Set([first.clusterId]),
    );
    await first.close();
    const second = await world.open();
    expect(second.online().map(({ directoryId }) => directoryId)).toEqual(ids);
    expect(second.online().every(({ hadCleanShutdown }) => hadCleanShutdown)).toBe(true);
    expect(second.clusterId).toBe(first.clusterId);
  });

  test("a directory that is added later joins the cluster of the others", async () => {
    const world = new World({ "/a": GIB, "/b": GIB });
    const alone = await world.open({ paths: ["/b"], metadataPath: "/b" });
    await alone.close();
    const both = await world.open();
    expect(both.clusterId).toBe(alone.clusterId);
    expect(both.online()[0]!.clusterId).toBe(alone.clusterId);
  });

  test("one that fails is offline, and only its own", async () => {
    const world = new World({ "/a": GIB, "/b": GIB });
    await (await world.open()).close();
    world.disks.fail("/b");
    const directories = await world.open();
    expect(paths(directories)).toEqual(["/a"]);
    expect(directories.offlineCount).toBe(1);
    expect(directories.states()[1]).toMatchObject({ path: "/b", directory: null });
    expect(directories.states()[1]!.offlineReason).toContain("Cannot use log directory /b");
    await directories.close();
    world.disks.mend("/b");
    // It was not touched meanwhile: its clean stop still counts.
    const mended = await world.open();
    expect(mended.online().map(({ hadCleanShutdown }) => hadCleanShutdown)).toEqual([true, true]);
  });

  const refusals: readonly (readonly [string, (world: World) => unknown, string])[] = [
    ["the one of the metadata log fails", (world) => world.disks.fail("/a"), "log directory /a"],
    [
      "all of them fail",
      (world) => ["/a", "/b"].forEach((path) => world.disks.fail(path)),
      "log directory /a",
    ],
    [
      "one is of another cluster",
      (world) =>
        world.disks.at("/b").plant(
          "/b/meta.properties",
          textBytes("version=1\nnode.id=1\ncluster.id=elsewhere\n"),
        ),
      "/b: it belongs to the cluster elsewhere, not",
    ],
    [
      "one is of another node",
      (world) =>
        world.disks.at("/b").plant(
          "/b/meta.properties",
          textBytes(
            new TextDecoder().decode(world.disks.at("/b").bytesOf("/b/meta.properties"))
              .replace("node.id=1", "node.id=2"),
          ),
        ),
      "/b: it belongs to node 2, not 1",
    ],
    [
      "one is in use",
      (world) => world.disks.lock("/b/.lock"),
      "/b: another process is using it",
    ],
  ];
  for (const [title, arrange, message] of refusals) {
    test(`refuses when ${title}, and lets go of the others`, async () => {
      const world = new World({ "/a": GIB, "/b": GIB });
      await (await world.open()).close();
      await arrange(world);
      const opening = world.open();
      expect(opening).rejects.toThrow(message);
      await opening.catch(() => {});
      world.disks.mend("/a");
      expect(world.disks.lock("/a/.lock")).not.toBeNull();
    });
  }

  test("a failure while it runs is told once, and leaves the others", async () => {
    const world = new World({ "/a": GIB, "/b": GIB });
    const directories = await world.open();
    const told: string[] = [];
    directories.onOffline(({ path }) => told.push(path));
    const [a, b] = directories.online();
    const topicPartition = { topic: "t", partition: 0 };
    const log = await b!.createLog(topicPartition, TOPIC_ID, DEFAULT_LOG_CONFIG);
    world.disks.fail("/b");
    expect(log.read(0 as never, { maxBytes: 1, minOneMessage: true })).toMatchObject({ error: 0 });
    log.updateHighWatermark(0 as never);
    await b!.checkpoint();
    await b!.checkpoint();
    expect(told).toEqual(["/b"]);
    expect(log.offlineReason).not.toBeNull();
    expect(paths(directories)).toEqual(["/a"]);
    expect(directories.byId(b!.directoryId)).toBeUndefined();
    expect(directories.byId(a!.directoryId)).toBe(a!);
    await directories.close();
    expect(world.disks.exists("/a/.kafka_cleanshutdown")).toBe(true);
    world.disks.mend("/b");
    expect(world.disks.exists("/b/.kafka_cleanshutdown")).toBe(false);
  });
});

describe("LogDirectories.place", () => {
  function placed(directories: LogDirectories, count: number): Record<string, number> {
    const counts: Record<string, number> = {};
    for (let i = 0; i < count; i++) {
      const { path } = directories.place();
      counts[path] = (counts[path] ?? 0) + 1;
    }
    return counts;
  }

  test("the most free bytes first; many at once are spread", async () => {
    const world = new World({ "/a": 10 * GIB, "/b": 40 * GIB });
    const directories = await world.open();
    expect(placed(directories, 1)).toEqual({ "/b": 1 });
    // 30 GiB more are 120 partitions more.
    const counts = placed(directories, 319);
    expect(counts["/b"]! + 1 - counts["/a"]!).toBeGreaterThanOrEqual(119);
    expect(counts["/b"]! + 1 - counts["/a"]!).toBeLessThanOrEqual(121);
  });

  test("equal disks get equal shares", async () => {
    const world = new World({ "/a": GIB, "/b": GIB });
    expect(placed(await world.open(), 10)).toEqual({ "/a": 5, "/b": 5 });
  });

  test("not where it is cordoned, offline or down to the reserve", async () => {
    const world = new World({ "/a": GIB, "/b": 3 * GIB, "/c": 2 * GIB });
    const cordoned = new Set<string>();
    const directories = await world.open({
      paths: ["/a", "/b", "/c"],
      isCordoned: (path) => cordoned.has(path),
      reserveBytes: 1024,
    });
    expect(directories.place().path).toBe("/b");
    cordoned.add("/b");
    expect(directories.place().path).toBe("/c");
    world.disks.at("/c").capacityBytes = 1024;
    expect(directories.place().path).toBe("/a");
    // There is no other: metadata and groups must still get on.
    world.disks.at("/a").capacityBytes = 1024;
    expect(directories.place().path).not.toBe("/b");
    // A partition that somebody put on this node by hand must lie somewhere.
    cordoned.add("/a").add("/c");
    expect(directories.place().path).toBe("/b");
  });
});

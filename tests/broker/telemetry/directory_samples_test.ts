/** What is told of disks, failed ones among them. */

import { expect, test } from "bun:test";
import { directorySamples, integritySample } from "../../../broker/telemetry/broker_samples.ts";
import { LogDirectories } from "../../../storage/log_directories.ts";
import { MountedDisks } from "../../sim/mounted_disks.ts";
import { SimClock } from "../../sim/sim_clock.ts";
import { SimDisk } from "../../sim/sim_disk.ts";
import { SimLogger } from "../../sim/sim_logger.ts";
import { SimRandom } from "../../sim/sim_random.ts";
import { SimWorkers } from "../../sim/sim_workers.ts";

class World {
  readonly clock = new SimClock();
  readonly disks: MountedDisks;
  readonly #random = new SimRandom(1);

  constructor() {
    const random = this.#random;
    const root = new SimDisk({ random: random.fork("root") });
    const mounts = { "/a": 1000_000, "/b": 2000_000 };
    this.disks = new MountedDisks({ random: random.fork("disks"), root, mounts });
  }

  async open(): Promise<LogDirectories> {
    const { clock, disks: disk } = this;
    const logger = new SimLogger();
    return await clock.run(LogDirectories.open({
      disk,
      clock,
      random: this.#random,
      logger,
      workers: new SimWorkers({ disk, clock, logger }),
      paths: ["/a", "/b"],
      metadataPath: "/a",
      nodeId: 1,
    }));
  }
}

test("directorySamples: size and room of each disk; none of one that failed, and no error", async () => {
  const world = new World();
  const directories = await world.open();
  const [a, b] = directorySamples(directories);
  expect(a).toMatchObject({ path: "/a", isOffline: false, totalBytes: 1000_000, arrivingCount: 0 });
  expect(b).toMatchObject({ path: "/b", isOffline: false, totalBytes: 2000_000 });
  expect(a!.usableBytes).toBeWithin(900_000, 1000_000);
  world.disks.fail("/b");
  // The disk does not answer any more, which nobody has noticed yet.
  const failed = directorySamples(directories)[1];
  expect(failed).toMatchObject({ isOffline: false, totalBytes: 0, usableBytes: 0 });
  await world.clock.run(directories.close());
  const later = await world.open();
  expect(directorySamples(later)).toMatchObject([
    { path: "/a", isOffline: false, totalBytes: 1000_000 },
    { path: "/b", isOffline: true, totalBytes: 0, usableBytes: 0, arrivingCount: 0 },
  ]);
  await world.clock.run(later.close());
});

test("integritySample: says that a directory was never checked, whatever the others were", async () => {
  const world = new World();
  const directories = await world.open();
  expect(integritySample(directories)).toEqual({
    damagedPlaceCount: 0,
    scrubbedBytes: 0,
    rebuiltIndexCount: 0,
    lastPassMs: -1,
  });
  await world.clock.run(directories.close());
});

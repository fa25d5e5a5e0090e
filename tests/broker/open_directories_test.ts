import { describe, expect, test } from "bun:test";
import { Config } from "../../broker/config/config.ts";
import { controllerSettings } from "../../broker/controller/config_rules.ts";
import { openLogDirectories, openMetadataLog } from "../../broker/open_directories.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import type { Uuid } from "../../protocol/types.ts";
import { DEFAULT_LOG_CONFIG } from "../../storage/log.ts";
import type { LogDirectories } from "../../storage/log_directories.ts";
import { ProducerTable } from "../../storage/producer_table.ts";
import { SimClock } from "../sim/sim_clock.ts";
import { SimDisk } from "../sim/sim_disk.ts";
import { SimLogger } from "../sim/sim_logger.ts";
import { SimRandom } from "../sim/sim_random.ts";
import { SimWorkers } from "../sim/sim_workers.ts";

const TOPIC_ID = "z1yHB6PEQAmy_Ty2vmsQRA" as Uuid;

class World {
  readonly clock = new SimClock();
  readonly logger = new SimLogger();
  readonly random = new SimRandom(1);
  readonly disk = new SimDisk({ random: this.random.fork("disk"), capacityBytes: 1e9 });

  async open(flags: Readonly<Record<string, string>>): Promise<LogDirectories> {
    const { disk, clock, random, logger } = this;
    return await this.clock.run(openLogDirectories({
      config: Config.load({ flags }),
      disk,
      clock,
      random,
      logger,
      workers: new SimWorkers({ disk, clock, logger }),
      producerTable: new ProducerTable(),
    }));
  }

  /** Starts and stops with these settings; a partition `t-0` lies in the last of the directories. */
  async live(flags: Readonly<Record<string, string>>): Promise<void> {
    const directories = await this.open(flags);
    await this.clock.run(openMetadataLog(Config.load({ flags }), directories));
    const last = directories.online().at(-1)!;
    await this.clock.run(
      last.createLog({ topic: "t", partition: 0 }, TOPIC_ID, DEFAULT_LOG_CONFIG),
    );
    await this.clock.run(directories.close());
  }
}

describe("openLogDirectories: the metadata log", () => {
  test("lies in the first directory, or where metadata.log.dir says", async () => {
    const world = new World();
    await world.live({ "log.dirs": "/a,/b" });
    expect(world.disk.exists("/a/__cluster_metadata-0")).toBe(true);
    await world.live({ "log.dirs": "/a,/b" });
    const other = new World();
    await other.live({ "log.dirs": "/a,/b", "metadata.log.dir": "/m" });
    expect(other.disk.exists("/m/__cluster_metadata-0")).toBe(true);
    expect(other.disk.exists("/a/__cluster_metadata-0")).toBe(false);
    // Nothing else is put there.
    const directories = await other.open({ "log.dirs": "/a,/b", "metadata.log.dir": "/m" });
    expect(directories.online().map(({ path }) => path)).toEqual(["/a", "/b"]);
    const within = new World();
    await within.live({ "log.dirs": "/a,/b", "metadata.log.dir": "/b" });
    expect(within.disk.exists("/b/__cluster_metadata-0")).toBe(true);
  });

  test("is not begun anew where the settings look for it in another place", async () => {
    const world = new World();
    await world.live({ "log.dirs": "/a,/b" });
    const opening = world.open({ "log.dirs": "/b,/a" });
    expect(opening).rejects.toThrow(
      "the metadata log lies in /a, and is looked for in /b; set metadata.log.dir=/a",
    );
    await opening.catch(() => {});
    // The refusal has let go of both.
    await world.live({ "log.dirs": "/b,/a", "metadata.log.dir": "/a" });
  });

  test("is not begun anew where partitions lie without it", async () => {
    const world = new World();
    await world.live({ "log.dirs": "/a,/b" });
    world.disk.removeDirectory("/a");
    const opening = world.open({ "log.dirs": "/a,/b" });
    expect(opening).rejects.toThrow("there is no metadata log in /a, and /b holds 1 partitions");
    await opening.catch(() => {});
  });
});

test("openLogDirectories: paths are absolute, as tools name them; cordons may be either", async () => {
  const world = new World();
  for (const cordoned of ["./x", "/x", "*"]) {
    const flags = { "log.dirs": "./x", "cordoned.log.dirs": cordoned };
    const directories = await world.open(flags);
    expect(directories.states()).toMatchObject([{ path: "/x", isCordoned: true }]);
    await world.clock.run(directories.close());
  }
});

test("Config: log.dirs and cordoned.log.dirs that contradict themselves", () => {
  const load = (flags: Readonly<Record<string, string>>) => () => Config.load({ flags });
  expect(load({ "log.dirs": "/a,/b,/a" })).toThrow("Cannot use log.dirs: it names /a twice");
  expect(load({ "log.dirs": "/a,/b", "cordoned.log.dirs": "/c" }))
    .toThrow("All entries in cordoned.log.dirs must be present in log.dirs");
  expect(load({ "log.dirs": "./a", "cordoned.log.dirs": "/srv/a" })).not.toThrow();
});

test("cordoned.log.dirs: an unknown directory is refused while the broker runs, too", () => {
  const { configRules } = controllerSettings(Config.load({ flags: { "log.dirs": "/a,/b" } }));
  const refuse = (broker: string, value: string) => {
    const values = new Map([["cordoned.log.dirs", value]]);
    return configRules.refuse({ type: "broker", name: broker }, values, new Set(values.keys()));
  };
  expect(refuse("1", "/a,/c,/d")).toEqual({
    error: ErrorCode.INVALID_REQUEST,
    message: "All entries in cordoned.log.dirs must be present in log.dirs or log.dir. " +
      "Missing entries: /c, /d",
  });
  expect(["/a", "/a,/b", "*", ""].map((value) => refuse("1", value))).toEqual([
    null,
    null,
    null,
    null,
  ]);
  expect(refuse("2", "/c")).toBeNull();
});

/** A log directory on a simulated disk, for tests. */

import { buildBatch, type NewBatch } from "../../protocol/records.ts";
import { METADATA_TOPIC_ID } from "../../protocol/types.ts";
import {
  type AppendResult,
  DEFAULT_LOG_CONFIG,
  type Log,
  type LogConfig,
} from "../../storage/log.ts";
import { LogDirectory, type LogDirectoryOptions } from "../../storage/log_directory.ts";
import type { Job, Workers } from "../../storage/workers.ts";
import { ProcessDisk } from "../sim/process_disk.ts";
import { SimClock } from "../sim/sim_clock.ts";
import { SimDisk } from "../sim/sim_disk.ts";
import { SimLogger } from "../sim/sim_logger.ts";
import { SimRandom } from "../sim/sim_random.ts";
import { SimWorkers } from "../sim/sim_workers.ts";

export const ORDERS = { topic: "orders", partition: 0 };
export const ORDERS_PATH = "/data/orders-0";

/** Disk, clock, logger and a directory on them. Syncs take a microtask. */
export class Fixture {
  readonly random: SimRandom;
  readonly clock = new SimClock();
  readonly disk: SimDisk;
  readonly logger = new SimLogger();
  directory!: LogDirectory;
  log!: Log;

  constructor(seed = 1) {
    this.random = new SimRandom(seed);
    this.disk = new SimDisk({
      random: this.random.fork("disk"),
      wallMs: () => this.clock.wallMs(),
    });
  }

  static async open(
    config: Partial<LogConfig> = {},
    options: Partial<LogDirectoryOptions> = {},
    seed = 1,
  ): Promise<Fixture> {
    const fixture = new Fixture(seed);
    await fixture.reopen(config, options);
    return fixture;
  }

  async reopen(
    config: Partial<LogConfig> = {},
    options: Partial<LogDirectoryOptions> = {},
  ): Promise<Log> {
    this.directory = await this.openDirectory(options);
    this.log = await this.directory.createLog(ORDERS, METADATA_TOPIC_ID, {
      ...DEFAULT_LOG_CONFIG,
      ...config,
    });
    return this.log;
  }

  openDirectory(options: Partial<LogDirectoryOptions> = {}): Promise<LogDirectory> {
    const { disk, clock, random, logger } = this;
    return LogDirectory.open({
      disk,
      clock,
      random,
      logger,
      workers: new SimWorkers({ disk, clock, logger, delayMs: 0 }),
      path: "/data",
      nodeId: 1,
      ...options,
    });
  }

  /** Appends one batch of `count` records as a client. */
  append(
    count = 1,
    over: Partial<NewBatch> & { valueBytes?: number; leaderEpoch?: number } = {},
  ): AppendResult {
    const timestamp = this.clock.wallMs();
    const records = Array.from({ length: count }, () => ({
      key: new Uint8Array([1]),
      value: new Uint8Array(over.valueBytes ?? 10).fill(7),
      timestamp,
    }));
    return this.log.appendAsLeader(buildBatch({ records, ...over }), {
      leaderEpoch: over.leaderEpoch ?? 0,
      origin: "client",
    });
  }

  /** Path of one of the log's files. */
  path(baseOffset: number, suffix = ".log"): string {
    return `${ORDERS_PATH}/${String(baseOffset).padStart(20, "0")}${suffix}`;
  }
}

/** Workers that remember the names of the jobs that they were asked for. */
export function counting(workers: Workers): {
  readonly workers: Workers;
  readonly names: string[];
} {
  const names: string[] = [];
  return {
    names,
    workers: {
      run(job: Job<unknown, unknown>, input, options) {
        names.push(job.name);
        return workers.run(job, input, options);
      },
      close: () => workers.close(),
    } as Workers,
  };
}

/** Works on the disk as a process that may die of it (`ProcessDisk.dieAt`). Returns: whether it died. */
export async function untilDeath(
  fixture: Fixture,
  work: (disk: ProcessDisk) => Promise<void>,
): Promise<boolean> {
  const died = Promise.withResolvers<void>();
  const disk = new ProcessDisk(fixture.disk, died.resolve);
  const working = work(disk);
  await Promise.race([working, died.promise]).catch(() => died.promise);
  working.catch(() => {});
  return disk.isDead;
}

/** From the settings to a running cleaner over all log directories. */

import { Cleaner, type CleanerSettings } from "../storage/cleaner.ts";
import type { LogDirectories } from "../storage/log_directories.ts";
import type { Clock, Logger, Random } from "../storage/platform.ts";
import type { Workers } from "../storage/workers.ts";
import type { Config } from "./config/config.ts";

/** As Kafka demands: less would take a pass for a few thousand keys. */
const MIN_DEDUPE_BUFFER_BYTES = 1024 * 1024;
const MIN_LOAD_FACTOR = 0.1;
const MAX_LOAD_FACTOR = 0.95;
/** A backoff of 0 would look at the logs all the time. */
const MIN_BACKOFF_MS = 100;

/** What the cleaner is started with. */
export interface LogCleanerOptions {
  readonly config: Config;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly workers: Workers;
  readonly logDirectories: LogDirectories;
}

/** Starts the cleaner. It looks at its settings anew each time that it looks for logs. */
export function startCleaner(options: LogCleanerOptions): Cleaner {
  const { config, logDirectories, random, logger } = options;
  const cleaner = new Cleaner({
    ...options,
    random: random.fork("cleaner"),
    logger: logger.child("cleaner"),
    directories: () => logDirectories.online(),
    settings: () => cleanerSettings(config),
  });
  cleaner.start();
  return cleaner;
}

function cleanerSettings(config: Config): CleanerSettings {
  const loadFactor = config.number("log.cleaner.io.buffer.load.factor");
  const maxBytesPerSecond = config.number("log.cleaner.io.max.bytes.per.second");
  const isLimited = maxBytesPerSecond > 0 && maxBytesPerSecond < Number.MAX_SAFE_INTEGER;
  return {
    isEnabled: config.boolean("log.cleaner.enable"),
    backoffMs: Math.max(MIN_BACKOFF_MS, config.number("log.cleaner.backoff.ms")),
    dedupeBufferBytes: Math.max(
      MIN_DEDUPE_BUFFER_BYTES,
      config.number("log.cleaner.dedupe.buffer.size"),
    ),
    loadFactor: Math.min(MAX_LOAD_FACTOR, Math.max(MIN_LOAD_FACTOR, loadFactor)),
    ioBufferBytes: config.number("log.cleaner.io.buffer.size"),
    maxBytesPerSecond: isLimited ? maxBytesPerSecond : Infinity,
    reserveBytes: config.number("weir.disk.reserve.bytes"),
  };
}

/** The files of a log directory as the store has left them, to be damaged and opened again. */

import { METADATA_TOPIC_ID, offset } from "../../protocol/types.ts";
import type { Log, LogConfig } from "../../storage/log.ts";
import { DEFAULT_LOG_CONFIG } from "../../storage/log_config.ts";
import { LogDirectory } from "../../storage/log_directory.ts";
import { SimClock } from "../sim/sim_clock.ts";
import { SimDisk } from "../sim/sim_disk.ts";
import { SimLogger } from "../sim/sim_logger.ts";
import { SimRandom } from "../sim/sim_random.ts";
import { SimWorkers } from "../sim/sim_workers.ts";
import { LogClients } from "../storage/log_clients.ts";
import { LogModel, ModelBatch } from "../storage/log_model.ts";

export const PATH = "/data";
export const ORDERS = { topic: "orders", partition: 0 };
export const ORDERS_PATH = `${PATH}/orders-0`;

const BATCHES = 40;
const CHECKPOINT_MS = 5000;

/** Files by path, and what is in them. */
export interface StoreImage {
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly config: LogConfig;
  readonly model: LogModel;
  readonly isClean: boolean;
}

/** A log directory that is open on a simulated disk. */
export interface OpenStore {
  readonly clock: SimClock;
  readonly disk: SimDisk;
  readonly directory: LogDirectory;
}

/** Opens the directory of a disk. Errors: LogDirectoryError, DiskError. */
export async function openStore(disk: SimDisk): Promise<OpenStore> {
  const clock = new SimClock();
  const logger = new SimLogger();
  const directory = await clock.run(LogDirectory.open({
    disk,
    clock,
    random: new SimRandom(1),
    logger,
    workers: new SimWorkers({ disk, clock, logger }),
    path: PATH,
    nodeId: 1,
    clusterId: "fuzzed",
    producerIdExpirationMs: Number.MAX_SAFE_INTEGER,
    checkpointMs: CHECKPOINT_MS,
  }));
  return { clock, disk, directory };
}

/** Opens the log of `ORDERS`. Errors: LogDirectoryError, DiskError. */
export async function openOrders({ clock, directory }: OpenStore, config: LogConfig): Promise<Log> {
  return await clock.run(directory.createLog(ORDERS, METADATA_TOPIC_ID, config));
}

/** A disk on which the files lie. */
export function plant(files: ReadonlyMap<string, Uint8Array>, random: SimRandom): SimDisk {
  const disk = new SimDisk({ random });
  for (const [path, bytes] of files) disk.plant(path, bytes);
  return disk;
}

/** Lets the store write a log of several segments, and ends its process. */
export async function makeImage(seed: number): Promise<StoreImage> {
  const random = new SimRandom(seed);
  const config: LogConfig = {
    ...DEFAULT_LOG_CONFIG,
    segmentBytes: random.pick([1500, 4000, 1_000_000]),
    indexIntervalBytes: random.pick([1, 200]),
    messageTimestampAfterMaxMs: Number.MAX_SAFE_INTEGER,
  };
  const store = await openStore(new SimDisk({ random: random.fork("disk") }));
  const log = await openOrders(store, config);
  const model = new LogModel();
  const clients = new LogClients(random.fork("clients"), {
    keyCount: 0,
    codecs: [0, 0, 1, 4],
    valueBytes: [0, 20, 100, 700],
  });
  const isClean = random.chance(0.5);
  // After a crash everything is scanned, or what lies past a recovery point.
  const checkpointAt = random.pick([0, BATCHES / 2, BATCHES + 1]);
  for (let i = 0; i < BATCHES; i++) {
    if (i === checkpointAt) await settle(store, log);
    append(log, model, clients, { nowMs: store.clock.wallMs(), epoch: Math.floor(i / 10) });
  }
  if (random.chance(0.3)) {
    log.deleteRecordsBefore(offset(model.batches[random.below(10)]!.baseOffset));
    model.logStart = log.logStartOffset;
  }
  if (isClean) await store.clock.run(store.directory.close());
  else store.disk.kill();
  const files = new Map(store.disk.files().map((path) => [path, store.disk.bytesOf(path)]));
  return { files, config, model, isClean };
}

async function settle({ clock, directory }: OpenStore, log: Log): Promise<void> {
  await clock.run(log.whenSynced(log.endOffset));
  await clock.advance(10);
  await clock.run(directory.checkpoint());
}

function append(
  log: Log,
  model: LogModel,
  clients: LogClients,
  { nowMs, epoch }: { readonly nowMs: number; readonly epoch: number },
): void {
  const next = clients.next(nowMs) ?? clients.nextTransactional(nowMs);
  const bytes = next.sent.slice();
  const origin = (bytes[22]! & 0x20) !== 0 ? "coordinator" : "client";
  const result = log.appendAsLeader(bytes, { leaderEpoch: epoch, origin });
  if (!("baseOffset" in result)) return;
  const { sent, producer } = next;
  const batch = new ModelBatch({
    baseOffset: result.baseOffset,
    epoch,
    sent,
    bytes,
    logAppendTimeMs: -1,
  });
  model.append(batch);
  clients.taken(batch, producer);
}

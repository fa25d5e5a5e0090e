/**
 * Damaged files under the store: whatever their bytes, it opens or says why not, within bounded work.
 *
 *     files of a log that the store has written ──mutate one or two──→ open ──→ hold against the twin
 *
 * Of segments the longest valid prefix is kept, and what is cut was never followed by anything whole, or was
 * a write that never came. What is judged damage is not touched. Indexes are never believed over the log.
 */

import assert from "node:assert/strict";
import { WireError } from "../../protocol/bytes.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { offset } from "../../protocol/types.ts";
import type { Log } from "../../storage/log.ts";
import { LogDirectoryError } from "../../storage/directory_meta.ts";
import type { SimDisk } from "../sim/sim_disk.ts";
import { SimRandom } from "../sim/sim_random.ts";
import { mutate } from "./mutations.ts";
import {
  anyBatchPast,
  batchAt,
  hasLostSector,
  longestPrefix,
  type TwinBatch,
} from "./segment_twin.ts";
import {
  makeImage,
  openOrders,
  openStore,
  ORDERS_PATH,
  PATH,
  plant,
  type StoreImage,
} from "./store_image.ts";

const IMAGES = 24;
/** Reads of the disk that a start, and a look at everything, may take. Files here are some 20 KB. */
const MAX_READS = 20_000;
const MAX_OFFSETS_READ = 400;
const CLEAN_SHUTDOWN = `${PATH}/.kafka_cleanshutdown`;
const RECOVERY_POINTS = `${PATH}/recovery-point-offset-checkpoint`;

const images = new Map<number, StoreImage>();

async function image(seed: number): Promise<StoreImage> {
  const number = seed % IMAGES;
  const known = images.get(number);
  if (known !== undefined) return known;
  const made = await makeImage(number);
  images.set(number, made);
  return made;
}

/** What one round has done. */
export interface FuzzOutcome {
  readonly outcome: "online" | "offline" | "refused";
  readonly what: string;
}

/** A start on damaged files. */
interface Round {
  readonly image: StoreImage;
  readonly random: SimRandom;
  readonly files: Map<string, Uint8Array>;
  readonly disk: SimDisk;
  readonly isClean: boolean;
}

/** What is damaged, and what must hold of the log once it is open. */
interface Target {
  isMeant(path: string): boolean;
  /** Errors: an assertion. `log` is null where the directory or the log was refused. */
  check(round: Round, log: Log | null): void;
  /** True when lookups must answer too. */
  readonly hasLookups?: boolean;
}

const isLog = (path: string) => path.endsWith(".log");
const isSnapshot = (path: string) => path.endsWith(".snapshot");
const isIndex = (path: string) => /\.(index|timeindex|txnindex)$/.test(path);

/** By name. */
export const TARGETS: Readonly<Record<string, Target>> = {
  segments: { isMeant: isLog, check: checkSegments },
  indexes: {
    isMeant: isIndex,
    hasLookups: true,
    check(round, log) {
      checkRecords(round, log);
    },
  },
  snapshots: {
    isMeant: isSnapshot,
    check(round, log) {
      checkRecords(round, log);
      if (round.image.model.logStart > 0) return;
      const { open } = round.image.model.transactions(0);
      const stable = Math.min(log!.endOffset, ...open.values());
      assert.equal(log!.lastStableOffset(log!.endOffset), stable);
    },
  },
  checkpoints: {
    isMeant: (path) =>
      !isLog(path) && !isIndex(path) && !isSnapshot(path) && !path.endsWith("/.lock"),
    check(round, log) {
      checkUntouched(round);
      if (log === null || log.offlineReason !== null) return;
      assert.equal(log.endOffset, round.image.model.end);
      checkReads(log);
    },
  },
};

/** One round. Errors: an assertion, or whatever the store lets through. */
export async function fuzzRound(target: string, seed: number): Promise<FuzzOutcome> {
  const { isMeant, ...checks } = TARGETS[target]!;
  const random = new SimRandom(seed);
  const from = await image(seed);
  const files = new Map(from.files);
  const meant = [...files.keys()].filter(isMeant);
  const isClean = random.chance(0.2) ? !from.isClean : from.isClean;
  files.delete(CLEAN_SHUTDOWN);
  if (isClean) files.set(CLEAN_SHUTDOWN, from.files.get(CLEAN_SHUTDOWN) ?? new Uint8Array(0));
  if (random.chance(0.5)) files.delete(RECOVERY_POINTS);
  const done: string[] = [];
  for (let count = random.pick([1, 1, 2]); count > 0; count--) {
    const path = random.pick(meant);
    const bytes = files.get(path);
    if (bytes === undefined) continue;
    const mutated = mutate(bytes, random);
    if (!isLog(path) && random.chance(0.1)) files.delete(path);
    else files.set(path, mutated.bytes);
    done.push(`${path}: ${mutated.what}`);
  }
  const disk = plant(files, random.fork("disk"));
  const round = { image: from, random, files, disk, isClean: files.has(CLEAN_SHUTDOWN) };
  const what = `${done.join("; ")}; ${round.isClean ? "clean" : "after a crash"}`;
  try {
    return { outcome: await start(round, checks), what };
  } catch (cause) {
    throw new Error(`${what}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

async function start(
  round: Round,
  { check, hasLookups = false }: Omit<Target, "isMeant">,
): Promise<FuzzOutcome["outcome"]> {
  const { disk, image: { config } } = round;
  try {
    const store = await openStore(disk);
    const log = await openOrders(store, config);
    assert.equal(store.directory.offlineReason, null, "the whole directory is offline");
    check(round, log);
    if (hasLookups) await store.clock.run(checkLookups(log));
    assert(disk.calls.read < MAX_READS, `${disk.calls.read} reads`);
    await store.clock.run(store.directory.close());
    return log.offlineReason === null ? "online" : "offline";
  } catch (failure) {
    if (!(failure instanceof LogDirectoryError)) throw failure;
    check(round, null);
    return "refused";
  }
}

// ── what must hold ────────────────────────────────────────────────────────────────────────────────

/** No segment has been changed or removed. */
function checkUntouched({ files, disk }: Round): void {
  for (const [path, bytes] of files) {
    if (!isLog(path)) continue;
    assert(disk.exists(path), `${path} is gone`);
    assert(Buffer.compare(disk.bytesOf(path), bytes) === 0, `${path} is changed`);
  }
}

/** The segments are whole: whatever lies beside them, everything in them is served. */
function checkRecords(round: Round, log: Log | null): void {
  const { image: { model } } = round;
  checkUntouched(round);
  assert.equal(log?.offlineReason, null);
  assert.equal(log.endOffset, model.end);
  let next: number = log.logStartOffset;
  while (next < log.endOffset) {
    const read = log.read(offset(next), { maxBytes: 1, minOneMessage: true });
    assert("records" in read && read.records.length > 0, `offset ${next} cannot be read`);
    next = model.compare(read.records, next);
    read.release();
  }
}

/** Lookups answer, though perhaps not what they would have; a damaged list of transactions says so. */
async function checkLookups(log: Log): Promise<void> {
  for (const timestampMs of [0, Date.UTC(2026, 0, 1), Date.UTC(2030, 0, 1)]) {
    const found = await log.offsetForTimestamp(timestampMs);
    if (found !== null) assert(found.timestampMs >= timestampMs);
  }
  await log.maxTimestampOffset();
  try {
    log.abortedTransactions(log.logStartOffset, log.endOffset);
  } catch (failure) {
    if (!(failure instanceof WireError)) throw failure;
  }
}

/** Offsets are served, or are said to be damaged; never does the log stop answering. */
function checkReads(log: Log): void {
  // A base offset is not under the checksum: where it lies, the log seems to be millions long.
  const step = Math.ceil((log.endOffset - log.logStartOffset) / MAX_OFFSETS_READ);
  for (let at: number = log.logStartOffset; at < log.endOffset; at += step) {
    const read = log.read(offset(at), { maxBytes: 500, minOneMessage: true });
    if ("records" in read) {
      checkBatches(read.records, at);
      read.release();
    } else assert.equal(read.error, ErrorCode.CORRUPT_MESSAGE, read.message);
  }
  assert.equal(log.offlineReason, null);
}

/** Whole batches with checksums that fit, from the one that holds `from` on. */
function checkBatches(records: Uint8Array, from: number): void {
  let next = from;
  for (let at = 0; at < records.length;) {
    const batch = batchAt(records, at);
    assert(batch !== null, `what is served at ${from} is no batch at byte ${at}`);
    assert(batch.lastOffset >= next, `what is served at ${from} goes back to ${batch.lastOffset}`);
    next = batch.lastOffset + 1;
    at += batch.sizeBytes;
  }
}

function checkSegments(round: Round, log: Log | null): void {
  assert(log !== null);
  const isOnline = log.offlineReason === null;
  if (round.isClean) checkUntouched(round);
  else if (!isOnline) checkCuts(round);
  if (isOnline) checkReads(log);
  if (round.isClean || round.files.has(RECOVERY_POINTS)) return;
  const { kept, end, cuts } = judge(round);
  if (!isOnline) {
    const isShort = end < round.image.model.logStart;
    const isDamaged = isShort ||
      cuts.some(({ bytes, position, expected }) =>
        anyBatchPast(bytes, position, expected) !== null
      );
    assert(isDamaged, `offline for no reason: ${log.offlineReason}`);
    return;
  }
  assert.equal(log.endOffset, end, "the longest valid prefix");
  for (const { bytes, position, expected } of cuts) {
    const next = anyBatchPast(bytes, position, expected);
    const isLost = next === null || hasLostSector(bytes, position, next.position);
    assert(isLost, `bytes ${position} to ${next?.position} are cut, and a whole batch followed`);
  }
  checkKept(log, kept);
}

/** One segment is damaged: of the others no more is gone than a torn tail. */
function checkCuts({ files, disk }: Round): void {
  for (const [path, bytes] of files) {
    if (!isLog(path)) continue;
    const left = disk.bytesOf(path);
    assert(Buffer.compare(left, bytes.subarray(0, left.length)) === 0, `${path} is changed`);
    const next = anyBatchPast(bytes, left.length, 0);
    if (left.length === bytes.length || next === null) continue;
    const isLost = hasLostSector(bytes, left.length, next.position);
    assert(isLost, `bytes ${left.length} to ${next.position} of ${path} are cut`);
  }
}

interface Cut {
  readonly bytes: Uint8Array;
  readonly position: number;
  readonly expected: number;
}

/** What a recovery that checks everything must keep. */
function judge({ files }: Round): { kept: Uint8Array[]; end: number; cuts: Cut[] } {
  const paths = [...files.keys()].filter(isLog).sort();
  const baseOf = (path: string) => Number(path.slice(ORDERS_PATH.length + 1, -".log".length));
  const kept: Uint8Array[] = [];
  const cuts: Cut[] = [];
  let end = baseOf(paths[0]!);
  for (const path of paths) {
    if (baseOf(path) !== end) break;
    const bytes = files.get(path)!;
    const prefix = longestPrefix(bytes, end);
    const last: TwinBatch | undefined = prefix.at(-1);
    const position = last === undefined ? 0 : last.position + last.sizeBytes;
    end = last === undefined ? end : last.lastOffset + 1;
    kept.push(bytes.subarray(0, position));
    if (position < bytes.length) cuts.push({ bytes, position, expected: end });
  }
  return { kept, end, cuts };
}

function checkKept(log: Log, kept: readonly Uint8Array[]): void {
  const whole = Buffer.concat(kept);
  const served: Uint8Array[] = [];
  let next: number = log.segments[0]!.baseOffset;
  if (next < log.logStartOffset) return;
  while (next < log.endOffset) {
    const read = log.read(offset(next), { maxBytes: 10_000, minOneMessage: true });
    assert("records" in read && read.records.length > 0, `offset ${next} cannot be read`);
    served.push(read.records.slice());
    next = read.nextOffset;
    read.release();
  }
  assert(Buffer.compare(Buffer.concat(served), whole) === 0, "other bytes are served than kept");
}

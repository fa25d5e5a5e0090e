/**
 * What a simulated disk knows of a file or of a directory: what the process sees, what is on stable
 * storage, and the changes in between, in their order.
 *
 *     current ──changes, oldest first──→ settled one by one by a sync ──→ stable
 *                    └── at a crash: file by file kept, lost or torn; of names the first few, as in a journal
 *
 * A file is torn sector by sector: each sector, and the size, end up as they were after some moment of
 * their own, so that a size may have grown over bytes that never came (they read as zeros), as ext4 with
 * data=ordered and xfs allow between two syncs. Changes whose sync had failed are doomed: the page cache
 * holds them and takes them for clean, and a later sync makes them stable by chance alone.
 */

import type { SimRandom } from "./sim_random.ts";

/** What a torn write is torn into. */
export const SECTOR_BYTES = 512;

/** A change of a file's content. */
export type Change =
  | {
    readonly kind: "write";
    readonly position: number;
    readonly bytes: Uint8Array;
    doomed: boolean;
  }
  | { readonly kind: "truncate"; readonly sizeBytes: number; doomed: boolean };

/** Bytes that grow; what was never written reads as zeros. */
export class Content {
  bytes = new Uint8Array(0);
  sizeBytes = 0;

  write(position: number, bytes: Uint8Array): void {
    const end = position + bytes.length;
    if (end > this.bytes.length) {
      const grown = new Uint8Array(Math.max(end, 2 * this.bytes.length));
      grown.set(this.bytes.subarray(0, this.sizeBytes));
      this.bytes = grown;
    }
    this.bytes.set(bytes, position);
    this.sizeBytes = Math.max(this.sizeBytes, end);
  }

  truncate(sizeBytes: number): void {
    if (sizeBytes > this.sizeBytes) return this.write(sizeBytes, new Uint8Array(0));
    this.bytes.fill(0, sizeBytes, this.sizeBytes);
    this.sizeBytes = sizeBytes;
  }

  apply(change: Change): void {
    if (change.kind === "write") this.write(change.position, change.bytes);
    else this.truncate(change.sizeBytes);
  }

  copy(): Content {
    const copy = new Content();
    copy.bytes = this.bytes.slice(0, this.sizeBytes);
    copy.sizeBytes = this.sizeBytes;
    return copy;
  }
}

/** A list of changes of which the oldest have settled. Marks stay valid while others settle. */
class Pending<T> {
  changes: T[] = [];
  #settledCount = 0;

  /** What is pending now, for `take`. */
  get mark(): number {
    return this.#settledCount + this.changes.length;
  }

  /** The pending changes up to `mark`, oldest first; an overlapping sync may have taken some of them. */
  upTo(mark: number): T[] {
    return this.changes.slice(0, Math.max(0, mark - this.#settledCount));
  }

  take(mark: number): T[] {
    const taken = this.changes.splice(0, Math.max(0, mark - this.#settledCount));
    this.#settledCount += taken.length;
    return taken;
  }

  clear(): void {
    this.take(Infinity);
  }
}

/** A file. */
export class FileNode {
  readonly kind = "file";
  modifiedMs = 0;
  current = new Content();
  stable = new Content();
  readonly pending = new Pending<Change>();

  change(change: Change): void {
    this.current.apply(change);
    this.pending.changes.push(change);
  }

  /** A sync has ended: what was pending at `mark` is stable, but for what an earlier one had dropped. */
  settle(mark: number, random: SimRandom): void {
    const taken = this.pending.take(mark);
    const isDoomed = taken.some(({ doomed }) => doomed);
    const kept = isDoomed ? sectorsWritten(taken) : new Map<number, boolean>();
    for (const change of taken) {
      if (change.doomed) applyByChance(this.stable, change, { random, kept });
      else this.stable.apply(change);
    }
  }

  /** True while the page cache shows what a sync that failed has dropped. */
  get hasDropped(): boolean {
    return this.pending.changes.some(({ doomed }) => doomed);
  }

  /** A sync has failed. */
  doom(mark: number): void {
    for (const change of this.pending.upTo(mark)) change.doomed = true;
  }

  /** Power is lost. */
  crash(random: SimRandom): void {
    const { changes } = this.pending;
    const fate = random.below(3);
    if (fate === 1) { for (const change of changes) this.stable.apply(change); }
    if (fate === 2) this.#tear(random);
    this.pending.clear();
    this.current = this.stable.copy();
  }

  #tear(random: SimRandom): void {
    const { stable } = this;
    const { changes } = this.pending;
    const sizes = [stable.sizeBytes];
    for (const change of changes) {
      const end = change.kind === "write"
        ? change.position + change.bytes.length
        : change.sizeBytes;
      sizes.push(change.kind === "write" ? Math.max(sizes.at(-1)!, end) : end);
    }
    const reached = new Map<number, number>();
    function reachedBy(sector: number): number {
      const known = reached.get(sector);
      if (known !== undefined) return known;
      const count = random.pick([0, changes.length, random.between(0, changes.length)]);
      reached.set(sector, count);
      return count;
    }
    for (const [index, change] of changes.entries()) {
      const isWrite = change.kind === "write";
      const from = isWrite ? change.position : change.sizeBytes;
      const to = isWrite ? change.position + change.bytes.length : stable.sizeBytes;
      for (let at = from; at < to;) {
        const end = Math.min(to, sectorEnd(at));
        if (reachedBy(Math.floor(at / SECTOR_BYTES)) > index) {
          const bytes = isWrite
            ? change.bytes.subarray(at - from, end - from)
            : new Uint8Array(end - at);
          stable.write(at, bytes);
        }
        at = end;
      }
    }
    stable.truncate(sizes[random.below(sizes.length)]!);
  }
}

/** Sectors that go to the disk as the page cache has them, with whatever else lies in them. */
function sectorsWritten(changes: readonly Change[]): Map<number, boolean> {
  const sectors = new Map<number, boolean>();
  for (const change of changes) {
    if (change.doomed || change.kind === "truncate") continue;
    const end = change.position + change.bytes.length;
    for (let at = change.position; at < end; at = sectorEnd(at)) {
      sectors.set(Math.floor(at / SECTOR_BYTES), true);
    }
  }
  return sectors;
}

function sectorEnd(position: number): number {
  return (Math.floor(position / SECTOR_BYTES) + 1) * SECTOR_BYTES;
}

/** A change that no sync takes along any more. `kept` says of sectors whether they came through all the same. */
function applyByChance(
  content: Content,
  change: Change,
  { random, kept }: { readonly random: SimRandom; readonly kept: Map<number, boolean> },
): void {
  const likelihood = random.pick([0, 0.5, 1]);
  if (change.kind === "truncate") {
    if (likelihood === 1) content.apply(change);
    return;
  }
  const { position, bytes } = change;
  for (let at = position; at < position + bytes.length;) {
    const end = Math.min(sectorEnd(at), position + bytes.length);
    const sector = Math.floor(at / SECTOR_BYTES);
    if (!kept.has(sector)) kept.set(sector, random.chance(likelihood));
    if (kept.get(sector)!) content.write(at, bytes.subarray(at - position, end - position));
    at = end;
  }
}

/** A file or a directory. */
export type Node = FileNode | DirectoryNode;

/** A change of the names in one directory. */
export type NameChange =
  | { readonly kind: "put"; readonly name: string; readonly node: Node }
  | { readonly kind: "rename"; readonly from: string; readonly to: string }
  | { readonly kind: "remove"; readonly name: string };

/** A directory: its names, each of a node. */
export class DirectoryNode {
  readonly kind = "directory";
  current = new Map<string, Node>();
  readonly stable = new Map<string, Node>();
  readonly pending = new Pending<NameChange>();

  change(change: NameChange): void {
    applyName(this.current, change);
    this.pending.changes.push(change);
  }

  /** A sync has ended: the names that were pending at `mark` are stable. */
  settle(mark: number): void {
    for (const change of this.pending.take(mark)) applyName(this.stable, change);
  }

  /** Power is lost: the oldest of the pending changes survive, and so down the tree. */
  crash(random: SimRandom): void {
    const kept = random.below(this.pending.changes.length + 1);
    for (const change of this.pending.changes.slice(0, kept)) applyName(this.stable, change);
    this.pending.clear();
    this.current = new Map(this.stable);
    for (const node of this.stable.values()) node.crash(random);
  }
}

function applyName(names: Map<string, Node>, change: NameChange): void {
  if (change.kind === "put") {
    names.set(change.name, change.node);
    return;
  }
  const source = change.kind === "rename" ? change.from : change.name;
  const node = names.get(source);
  if (node === undefined) return;
  names.delete(source);
  if (change.kind === "rename") names.set(change.to, node);
}

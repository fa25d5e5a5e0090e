/**
 * Who may vote, and since which offset: a set of voters is in force from where it stands in the log, committed
 * or not, and goes again when the log is cut there.
 *
 *     static voters ─┬─ Voters{1} at 0 ──── Voters{1,2} at 14 ──── end of the log
 *                    └─ for a log that names none (kraft.version 0)
 *
 * A voter is a node id and the id of the directory that its log lies in (KIP-853): a node whose disk was
 * replaced is another voter. Static voters have no directory; any of the node's will do.
 */

import { type Uuid, ZERO_UUID } from "../../protocol/types.ts";

/** A replica of the log: a node, and the directory of its log. */
export interface ReplicaKey {
  readonly id: number;
  /** Zero where it is not known. */
  readonly directoryId: Uuid;
}

/** Where a node listens. */
export interface VoterEndpoint {
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

/** One voter. */
export interface Voter extends ReplicaKey {
  readonly endpoints: readonly VoterEndpoint[];
  readonly minKraftVersion: number;
  readonly maxKraftVersion: number;
}

/** True when `replica` is the voter `voter`: the same node, and the same directory where that is known. */
export function isSameReplica(voter: ReplicaKey, replica: ReplicaKey): boolean {
  if (voter.id !== replica.id) return false;
  return voter.directoryId === ZERO_UUID || voter.directoryId === replica.directoryId;
}

/** Text form, for messages and as a key of maps. */
export function formatReplica({ id, directoryId }: ReplicaKey): string {
  return directoryId === ZERO_UUID ? `${id}` : `${id}@${directoryId}`;
}

/** A set of voters; never changed, only replaced. */
export class VoterSet {
  /** In the order of their ids. */
  readonly voters: readonly Voter[];

  constructor(voters: Iterable<Voter>) {
    this.voters = [...voters].sort((a, b) => a.id - b.id);
  }

  get size(): number {
    return this.voters.length;
  }

  get ids(): number[] {
    return this.voters.map(({ id }) => id);
  }

  get(id: number): Voter | undefined {
    return this.voters.find((voter) => voter.id === id);
  }

  has(replica: ReplicaKey): boolean {
    const voter = this.get(replica.id);
    return voter !== undefined && isSameReplica(voter, replica);
  }

  isOnly(replica: ReplicaKey): boolean {
    return this.size === 1 && this.has(replica);
  }

  /** With one more; null when the node is in it already. */
  plus(voter: Voter): VoterSet | null {
    return this.get(voter.id) === undefined ? new VoterSet([...this.voters, voter]) : null;
  }

  /** With one less; null when that is not in it, or is the last one. */
  minus({ id, directoryId }: ReplicaKey): VoterSet | null {
    const voter = this.get(id);
    if (voter === undefined || voter.directoryId !== directoryId || this.size === 1) return null;
    return new VoterSet(this.voters.filter((other) => other !== voter));
  }

  /** With other endpoints or versions of one that is in it; null when it is not. */
  updated(voter: Voter): VoterSet | null {
    if (!this.has(voter)) return null;
    return new VoterSet(this.voters.map((other) => other.id === voter.id ? voter : other));
  }

  /** Whether `voter` is in it and looks otherwise there. */
  needsUpdate(voter: Voter): boolean {
    const known = this.get(voter.id);
    return known !== undefined && isSameReplica(known, voter) && !isEqual(known, voter);
  }
}

function isEqual(a: Voter, b: Voter): boolean {
  return a.directoryId === b.directoryId && a.minKraftVersion === b.minKraftVersion &&
    a.maxKraftVersion === b.maxKraftVersion && a.endpoints.length === b.endpoints.length &&
    a.endpoints.every(({ name, host, port }) =>
      b.endpoints.some((one) => one.name === name && one.host === host && one.port === port)
    );
}

interface Entry<T> {
  /** −1 for what holds without standing in the log. */
  readonly offset: number;
  readonly value: T;
}

/** A value that the log names anew from time to time. */
class History<T> {
  #entries: Entry<T>[];

  constructor(value: T) {
    this.#entries = [{ offset: -1, value }];
  }

  get last(): Entry<T> {
    return this.#entries.at(-1)!;
  }

  /** What is in force at the end of the records before `endOffset`. */
  before(endOffset: number): T {
    return this.#entries.findLast(({ offset }) => offset < endOffset)!.value;
  }

  add(offset: number, value: T): void {
    this.#entries.push({ offset, value });
  }

  truncateFromEnd(endOffset: number): void {
    this.#entries = this.#entries.filter(({ offset }) => offset < endOffset);
  }

  /** Keeps what was in force at `offset`, and what came later. */
  truncateFromStart(offset: number): void {
    const first = this.#entries.findLastIndex((entry) => entry.offset < offset);
    this.#entries.splice(0, first);
    this.#entries[0] = { ...this.#entries[0]!, offset: -1 };
  }
}

/** The voters and the `kraft.version` of a log, by offset. */
export class VoterHistory {
  #voters: History<VoterSet>;
  #kraftVersions = new History(0);

  /** `staticVoters` are those of the configuration, in force until the log names others. */
  constructor(staticVoters: VoterSet) {
    this.#voters = new History(staticVoters);
  }

  /** Those named last. */
  get latest(): VoterSet {
    return this.#voters.last.value;
  }

  /** Where those named last stand; −1 when they are static or come from a snapshot. */
  get latestOffset(): number {
    return this.#voters.last.offset;
  }

  get kraftVersion(): number {
    return this.#kraftVersions.last.value;
  }

  /** Voters at the end of the records before `endOffset`. */
  votersBefore(endOffset: number): VoterSet {
    return this.#voters.before(endOffset);
  }

  kraftVersionBefore(endOffset: number): number {
    return this.#kraftVersions.before(endOffset);
  }

  noteVoters(offset: number, voters: VoterSet): void {
    this.#voters.add(offset, voters);
  }

  noteKraftVersion(offset: number, version: number): void {
    this.#kraftVersions.add(offset, version);
  }

  /** The log was cut: what stood at or past `endOffset` never was. */
  truncateFromEnd(endOffset: number): void {
    this.#voters.truncateFromEnd(endOffset);
    this.#kraftVersions.truncateFromEnd(endOffset);
  }

  /** A snapshot holds what lies before `startOffset`. */
  truncateFromStart(startOffset: number): void {
    this.#voters.truncateFromStart(startOffset);
    this.#kraftVersions.truncateFromStart(startOffset);
  }

  /** The whole log was replaced by a snapshot with these voters. */
  restart(voters: VoterSet, kraftVersion: number): void {
    this.#voters = new History(voters);
    this.#kraftVersions = new History(kraftVersion);
  }
}

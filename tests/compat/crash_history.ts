/**
 * What must hold of the history that crash_client.py tells, and of what is in the logs in the end.
 *
 * Each partition is sent the numbers 0, 1, 2 … by one idempotent producer: whatever happens to the broker, number
 * n lies at offset n, for everybody and for good. What may be gone is what the topic's settings delete.
 */

import { expect } from "bun:test";

/** A record's key is its number modulo this, as in crash_client.py. */
const KEYS = 50;

/** A record as it was acknowledged or read. */
export type Row = readonly [partition: number, offset: number, number: number];

/** What the client prints at its end; see crash_client.py. */
export interface Report {
  readonly acknowledged: Readonly<Record<string, readonly Row[]>>;
  readonly sent: Readonly<Record<string, readonly number[]>>;
  readonly failed: readonly unknown[];
  readonly fatal: readonly string[];
  readonly seen: Readonly<Record<string, readonly Row[]>>;
  readonly group: readonly Row[];
  readonly commits: readonly (readonly [what: string, partition: number, offset: number])[];
  /** Times in which nothing of a partition was acknowledged. Units: `start` in s since 1970. */
  readonly silences: readonly (readonly [
    topic: string,
    partition: number,
    start: number,
    seconds: number,
  ])[];
}

/** Every number lies at its offset: nothing was moved, and no offset ever had two values. */
export function expectNumbersAtOffsets(rows: readonly Row[]): void {
  expect(rows.find(([, offset, number]) => offset !== number)).toBeUndefined();
}

/** Offsets of a partition, in the order in which they were read. */
function offsetsOf(rows: readonly Row[], partition: number): number[] {
  return rows.filter((row) => row[0] === partition).map(([, offset]) => offset);
}

/** From the first offset that is there, every number up to the last one sent, once. Returns: the first offsets. */
export function expectRowOfAll(rows: readonly Row[], sent: readonly number[]): number[] {
  return sent.map((count, partition) => {
    const offsets = offsetsOf(rows, partition);
    const startOffset = offsets[0] ?? count;
    const jump = offsets.findIndex((offset, index) => offset !== startOffset + index);
    expect({ partition, jump, endOffset: startOffset + offsets.length })
      .toEqual({ partition, jump: -1, endOffset: count });
    return startOffset;
  });
}

/** In order, and of each key at least the last number that was sent. Returns: how many records were left out. */
export function expectLatestOfEachKey(rows: readonly Row[], sent: readonly number[]): number {
  for (const [partition, count] of sent.entries()) {
    const offsets = offsetsOf(rows, partition);
    const back = offsets.findIndex((offset, index) => offset <= (offsets[index - 1] ?? -1));
    const known = new Set(offsets);
    const lost = Array.from({ length: Math.min(KEYS, count) }, (_, index) => count - 1 - index)
      .filter((number) => !known.has(number));
    expect({ partition, back, lost }).toEqual({ partition, back: -1, lost: [] });
  }
  return sent.reduce((sum, count) => sum + count, 0) - rows.length;
}

/** A reader that follows a topic is given nothing twice and nothing out of order. */
export function expectForwardReading(rows: readonly Row[]): void {
  const last = new Map<number, number>();
  const back = rows.find(([partition, offset]) => {
    const isBack = offset <= (last.get(partition) ?? -1);
    last.set(partition, offset);
    return isBack;
  });
  expect(back).toBeUndefined();
}

/** Once a commit was answered, no answer tells of an earlier one. */
export function expectCommitsOnlyGrow(commits: Report["commits"]): void {
  const latest = new Map<number, number>();
  const back = commits.find(([, partition, offset]) => {
    if (offset < (latest.get(partition) ?? -1)) return true;
    latest.set(partition, offset);
    return false;
  });
  expect({ back, latest: [...latest] }).toEqual({ back: undefined, latest: [...latest] });
}

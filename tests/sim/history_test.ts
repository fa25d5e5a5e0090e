/** Good histories are found clean, and each kind of bad one is named. */

import { describe, expect, test } from "bun:test";
import { checkHistory, type Guarantee, type HistoryEvent } from "./history.ts";

const P = "orders-0";

function sends(values: string, guarantee: Guarantee = "exactly once"): HistoryEvent[] {
  return [...values].map((value) => ({
    kind: "send",
    producer: "p",
    guarantee,
    partition: P,
    value,
  }));
}
const acks = (values: string, from = 0): HistoryEvent[] =>
  [...values].map((value, at) => ({ kind: "ack", partition: P, value, offset: from + at }));
const log = (values: string, from = 0): HistoryEvent[] =>
  [...values].map((value, at) => ({ kind: "log", partition: P, offset: from + at, value }));
const reads = (values: string, from = 0, reader = "r"): HistoryEvent[] =>
  [...values].map((value, at) => ({
    kind: "read",
    reader,
    partition: P,
    offset: from + at,
    value,
  }));
const commit = (offset: number): HistoryEvent => ({
  kind: "commit",
  group: "g",
  partition: P,
  offset,
});
const ask = (name: string): HistoryEvent => ({ kind: "ask", group: "g", ask: name });
const answer = (name: string, offset: number): HistoryEvent => ({
  kind: "answer",
  ask: name,
  partition: P,
  offset,
});

const GOOD: Readonly<Record<string, HistoryEvent[]>> = {
  "nothing at all": [],
  "all sent, acknowledged, read and there": [
    ...sends("abc"),
    ...acks("abc"),
    ...reads("abc"),
    ...log("abc"),
  ],
  "what was not acknowledged is there": [...sends("abc"), ...acks("ab"), ...log("abc")],
  "what was not acknowledged is not there": [...sends("abc"), ...acks("ab"), ...log("ab")],
  "a duplicate's acknowledgement names no offset": [
    ...sends("a"),
    { kind: "ack", partition: P, value: "a", offset: null },
    ...log("a"),
  ],
  "a retry without idempotence is there twice": [
    ...sends("ab", "at least once"),
    ...log("aba"),
  ],
  "what is promised nothing is lost, and another record is at its offset": [
    ...sends("ab", "none"),
    ...acks("a"),
    ...log("b"),
  ],
  "a reader begins anew at its commit": [
    ...sends("abc"),
    ...reads("abc"),
    ...reads("bc", 1, "r2"),
    ...log("abc"),
  ],
  "a commit that came while somebody asked is not in the answer": [
    commit(1),
    ask("q"),
    commit(2),
    answer("q", 1),
  ],
  "a log whose start is not at zero": [...sends("b"), ...acks("b", 7), ...log("b", 7)],
};

const BAD: Readonly<Record<string, readonly [HistoryEvent[], RegExp]>> = {
  "acknowledged, never seen": [
    [...sends("abc"), ...acks("abc"), ...log("ab")],
    /c was acknowledged at offset 2 and is nowhere/,
  ],
  "acknowledged without idempotence, never seen": [
    [...sends("abc", "at least once"), ...acks("abc"), ...log("ab")],
    /c was acknowledged at offset 2 and is nowhere/,
  ],
  "acknowledged as a duplicate, never seen": [
    [...sends("a"), { kind: "ack", partition: P, value: "a", offset: null }],
    /a was acknowledged and is nowhere/,
  ],
  "acknowledged here, found there": [
    [...sends("ab", "at least once"), ...acks("b"), ...log("ab")],
    /two values at offset 0/,
  ],
  "twice under idempotence": [
    [...sends("ab"), ...acks("ab"), ...log("abb")],
    /b is there 2 times, at 1, 2/,
  ],
  "out of order": [[...sends("abc"), ...log("acb")], /b of p at offset 2 is out of order/],
  "two values at one offset, seen by two readers": [
    [...sends("abc"), ...reads("ab"), ...reads("ac", 0, "s"), ...log("ab")],
    /two values at offset 1: s read c, before it b/,
  ],
  "read, and gone at the end": [
    [...sends("abc"), ...reads("abc"), ...log("ab")],
    /offset 2 was read, the log ends with 1/,
  ],
  "a poll that goes back": [
    [...sends("abc"), ...reads("ab"), ...reads("b", 1), ...log("abc")],
    /reader r went back: offset 1 after 1/,
  ],
  "a poll that leaves out": [
    [...sends("abc"), ...reads("a"), ...reads("c", 2), ...log("abc")],
    /reader r left out records: offset 2 after 0/,
  ],
  "a hole in the log": [
    [...sends("abc"), ...log("a"), ...log("c", 2)],
    /goes on at offset 2 after 0/,
  ],
  "a value that nobody sent": [[...log("x")], /x at offset 0, which nobody sent/],
  "an acknowledgement of what nobody sent": [[...acks("x")], /x acknowledged and never sent/],
  "a lost commit": [
    [commit(5), ask("q"), answer("q", 3)],
    /commit of 5 lost: q was answered 3/,
  ],
  "a commit that is gone": [[commit(5), ask("q"), answer("q", -1)], /commit of 5 lost/],
};

describe("checkHistory: clean", () => {
  for (const [name, events] of Object.entries(GOOD)) {
    test(name, () => expect(checkHistory(events)).toEqual([]));
  }
});

describe("checkHistory: finds", () => {
  for (const [name, [events, problem]] of Object.entries(BAD)) {
    test(name, () => expect(checkHistory(events).join("\n")).toMatch(problem));
  }
});

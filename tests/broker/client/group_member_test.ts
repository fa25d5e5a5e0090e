import { expect, test } from "bun:test";
import {
  assignRanges,
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
} from "../../../broker/client/group_member.ts";
import { WireError } from "../../../protocol/bytes.ts";

function assigned(members: Record<string, string[]>, counts: Record<string, number>) {
  const subscriptions = Object.entries(members).map(([memberId, topics]) => ({ memberId, topics }));
  const result = assignRanges(subscriptions, new Map(Object.entries(counts)));
  return Object.fromEntries(
    [...result].map(([memberId, partitions]) => [
      memberId,
      partitions.map(({ topic, partition }) => `${topic}${partition}`).join(" "),
    ]),
  );
}

// The examples of Kafka's RangeAssignor documentation, and its edges.
test.each([
  [{ c0: ["t", "u"], c1: ["t", "u"] }, { t: 3, u: 3 }, { c0: "t0 t1 u0 u1", c1: "t2 u2" }],
  [{ b: ["t"], a: ["t"], c: ["t"] }, { t: 7 }, { a: "t0 t1 t2", b: "t3 t4", c: "t5 t6" }],
  [{ a: ["t"], b: ["t"], c: ["t"] }, { t: 2 }, { a: "t0", b: "t1", c: "" }],
  [{ a: ["t"], b: ["u"] }, { t: 2, u: 2 }, { a: "t0 t1", b: "u0 u1" }],
  [{ a: ["t"] }, { t: 0 }, { a: "" }],
  [{ a: ["t"] }, {}, { a: "" }],
])("assignRanges: %p over %p", (members, counts, expected) => {
  expect(assigned(members, counts as Record<string, number>)).toEqual(expected);
});

test("assignRanges: every partition goes to exactly one member", () => {
  for (let memberCount = 1; memberCount < 9; memberCount++) {
    for (let partitionCount = 0; partitionCount < 20; partitionCount++) {
      const members = Object.fromEntries(
        Array.from({ length: memberCount }, (_, i) => [`m${i}`, ["t"]]),
      );
      const all = Object.values(assigned(members, { t: partitionCount }))
        .flatMap((list) => list.split(" ")).filter((it) => it !== "");
      expect(all.sort()).toEqual(Array.from({ length: partitionCount }, (_, i) => `t${i}`).sort());
    }
  }
});

test("decodeAssignment: gives back what was encoded, and nothing for no bytes", () => {
  const partitions = [{ topic: "a", partition: 1 }, { topic: "b", partition: 0 }];
  expect(decodeAssignment(encodeAssignment(partitions))).toEqual(partitions);
  expect(decodeAssignment(new Uint8Array(0))).toEqual([]);
});

test("decodeSubscription: reads versions of the future by what it knows, cuts are a WireError", () => {
  const bytes = encodeSubscription(["a", "bb"]);
  expect(decodeSubscription(bytes)).toEqual(["a", "bb"]);
  for (let at = 0; at < bytes.length; at++) {
    expect(() => decodeSubscription(bytes.subarray(0, at))).toThrow(WireError);
  }
});

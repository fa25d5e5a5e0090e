import { expect, test } from "bun:test";
import {
  locateReplica,
  type ReplicaCandidate,
} from "../../../broker/partitions/replica_location.ts";
import { DirectoryId, type Uuid } from "../../../protocol/types.ts";

const A = { path: "/a", id: "aaaaaaaaaaaaaaaaaaaaaa" as Uuid };
const B = { path: "/b", id: "bbbbbbbbbbbbbbbbbbbbbb" as Uuid };
const AWAY = "cccccccccccccccccccccc" as Uuid;
const TOPIC = "tttttttttttttttttttttt" as Uuid;
const OTHER = "oooooooooooooooooooooo" as Uuid;

type Found = readonly (readonly [typeof A, Uuid | null])[];

function locate(
  assigned: Uuid,
  found: Found,
  isLedElsewhere: boolean,
  isBegunAnew = false,
): string {
  const candidates: ReplicaCandidate<typeof A>[] = found.map(([directory, topicId]) => (
    { directory, topicId }
  ));
  const location = locateReplica({
    topicId: TOPIC,
    assigned,
    found: candidates,
    isLedElsewhere,
    isBegunAnew,
    byId: (id) => [A, B].find((directory) => directory.id === id),
  });
  if (location.kind !== "found") return location.kind;
  const others = location.others.map(({ path }) => path).join();
  return others === "" ? location.directory.path : `${location.directory.path} not ${others}`;
}

const { UNASSIGNED, MIGRATING, LOST } = DirectoryId;

const cases: readonly (readonly [string, Uuid, Found, string])[] = [
  ["never placed", UNASSIGNED, [], "new"],
  ["never placed, beside another topic of its name", UNASSIGNED, [[A, OTHER]], "new"],
  ["made, and not written down", UNASSIGNED, [[B, TOPIC]], "/b"],
  ["made, without its topic's id", UNASSIGNED, [[B, null]], "/b"],
  ["two copies and no word", UNASSIGNED, [[A, TOPIC], [B, TOPIC]], "refused"],
  ["where it should be", A.id, [[A, TOPIC]], "/a"],
  ["where it should be, and a copy", A.id, [[A, TOPIC], [B, TOPIC]], "/a not /b"],
  ["where it should be, its id unread", A.id, [[A, null]], "/a"],
  ["the copy whose id is read wins", UNASSIGNED, [[A, null], [B, TOPIC]], "/b"],
  ["gone from a directory that is there", A.id, [], "refused"],
  ["gone, and another topic in its place", A.id, [[A, OTHER]], "refused"],
  ["moved by hand", A.id, [[B, TOPIC]], "/b"],
  ["its directory is away", AWAY, [], "refused"],
  ["its directory is away, an old copy is there", AWAY, [[B, TOPIC]], "refused"],
  ["its directory is away, two copies are there", AWAY, [[A, TOPIC], [B, TOPIC]], "refused"],
  ["nobody said where, found", MIGRATING, [[A, TOPIC]], "/a"],
  ["nobody said where, not found", MIGRATING, [], "refused"],
  ["lost, found", LOST, [[A, TOPIC]], "/a"],
  ["lost, not found", LOST, [], "refused"],
];

for (const [title, assigned, found, expected] of cases) {
  test(`locateReplica: ${title}: ${expected}`, () => {
    expect(locate(assigned, found, false)).toBe(expected);
  });
  const isAway = assigned === AWAY || assigned === LOST;
  const [only] = found;
  const asFollower = isAway && found.length < 2 ? only?.[0].path ?? "new" : expected;
  test(`locateReplica: ${title}, led elsewhere: ${asFollower}`, () => {
    expect(locate(assigned, found, true)).toBe(asFollower);
  });
}

test("locateReplica: gone from where it was, since it was damaged: it is begun anew where another leads", () => {
  expect(locate(A.id, [], true, true)).toBe("new");
  expect(locate(LOST, [], true, true)).toBe("new");
  expect(locate(A.id, [[A, TOPIC]], true, true)).toBe("/a");
});

import { expect, test } from "bun:test";
import { combinedHash, topicHash } from "../../../broker/groups/group_topics.ts";
import type { Uuid } from "../../../protocol/types.ts";

function uuid(high: bigint, low: bigint): Uuid {
  const bytes = new DataView(new ArrayBuffer(16));
  bytes.setBigInt64(0, high);
  bytes.setBigInt64(8, low);
  return new Uint8Array(bytes.buffer)
    .toBase64({ alphabet: "base64url", omitPadding: true }) as Uuid;
}

// Computed with the steps of Kafka's Utils.computeTopicHash by the hash library that Kafka has.
test.each<[string, bigint, bigint, number, string[][], bigint]>([
  ["a", 1n, 2n, 1, [[]], -4984864069450367815n],
  [
    "orders",
    0x0123456789abcdefn,
    -0x123456789abcdf0n,
    3,
    [["r1", "r2"], ["r2"]],
    -3553852224298264517n,
  ],
  [
    "Ünï-✓",
    -1n,
    5n,
    10,
    [["eu-west-1a", "eu-west-1b", "eu-west-1c"]],
    -4244284030164215488n,
  ],
  ["big", 7n, 8n, 2000, [["a", "b", "c"], []], 4088188574024529724n],
])(
  "topicHash: %s has the hash that Kafka writes",
  (name, high, low, partitionCount, racks, hash) => {
    const racksOf = (partition: number) => racks[partition % racks.length]!;
    expect(topicHash({ id: uuid(high, low), name, partitionCount, racksOf })).toBe(hash);
  },
);

test.each([
  [0, 0n],
  [1, -4072596861322023719n],
  [2, 6474677130954818427n],
  [40, -8206696101380364437n],
  [200, -6784067509512140777n],
])("combinedHash: of %p topics it is what Kafka's library gives", (length, hash) => {
  const hashes = Array.from(
    { length },
    (_, index) => BigInt.asIntN(64, BigInt(index) * 0x9e3779b97f4a7c15n),
  );
  expect(combinedHash(hashes)).toBe(hash);
});

import { expect, test } from "bun:test";
import { ClientError } from "../../../../broker/client/client_error.ts";
import {
  formatResumeToken,
  parseResumeToken,
} from "../../../../broker/gateway/feeds/resume_token.ts";
import type { Uuid } from "../../../../protocol/types.ts";
import { SimRandom } from "../../../sim/sim_random.ts";

const topicId = "dGhlIHRvcGljJ3MgaWQuLg" as Uuid;

test.each([
  [0, 0, -1],
  [1, 12, 0],
  [2 ** 31 - 1, Number.MAX_SAFE_INTEGER, 2 ** 31 - 1],
])(
  "parseResumeToken: gives back partition %d, offset %d, epoch %d",
  (partition, offset, leaderEpoch) => {
    const point = { topicId, partition, offset, leaderEpoch };
    const token = formatResumeToken(point);
    expect(token).toMatch(/^[A-Za-z0-9_-]{30,64}$/);
    expect(parseResumeToken(token)).toEqual(point);
  },
);

test("parseResumeToken: refuses everything else with a ClientError", () => {
  const token = formatResumeToken({ topicId, partition: 3, offset: 4, leaderEpoch: 5 });
  const bad = ["", "x", "AAAA", "ä", "!".repeat(40), "A".repeat(44), "A".repeat(100_000)];
  for (let at = 0; at < token.length; at++) {
    bad.push(token.slice(0, at), `${token.slice(0, at)}${token.slice(at + 1)}`);
    const other = token[at] === "A" ? "B" : "A";
    bad.push(`${token.slice(0, at)}${other}${token.slice(at + 1)}`);
  }
  const random = new SimRandom(1);
  for (let i = 0; i < 500; i++) {
    const bytes = Uint8Array.from({ length: random.below(50) }, () => random.below(256));
    bad.push(bytes.toBase64({ alphabet: "base64url" }));
  }
  // The last letter may carry bits that belong to no byte.
  const spare = new Set([token]);
  for (const text of bad) {
    try {
      spare.add(formatResumeToken(parseResumeToken(text)));
    } catch (error) {
      expect(error).toBeInstanceOf(ClientError);
    }
  }
  expect([...spare]).toEqual([token]);
});

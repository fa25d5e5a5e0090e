import { expect, test } from "bun:test";
import { clusterIdOfVoters } from "../../broker/cluster_id.ts";
import { parseVoters } from "../../broker/config/roles.ts";

const idOf = (...voters: string[]) => clusterIdOfVoters(parseVoters(voters));

test("clusterIdOfVoters: the same for the same voters in any order, another for any other", () => {
  const id = idOf("1@a:9093", "2@b:9093", "3@c:9093");
  expect(idOf("3@c:9093", "1@a:9093", "2@b:9093")).toBe(id);
  const others = [
    idOf("1@a:9093", "2@b:9093"),
    idOf("1@a:9093", "2@b:9093", "3@c:9094"),
    idOf("1@a:9093", "2@b:9093", "4@c:9093"),
    idOf("1@b:9093", "2@a:9093", "3@c:9093"),
  ];
  expect(new Set([id, ...others]).size).toBe(5);
});

test("clusterIdOfVoters: an id as Kafka writes them, which no tool takes for an option", () => {
  for (let port = 1; port <= 500; port++) {
    expect(idOf(`1@host:${port}`)).toMatch(/^[A-Za-z0-9_][A-Za-z0-9_-]{21}$/);
  }
});

test("clusterIdOfVoters: what it is for one list, in every version", () => {
  expect(idOf("1@10.0.0.1:9093", "2@10.0.0.2:9093", "3@10.0.0.3:9093")).toBe(
    "ch3hDP6pkGVzoUlbK_18Qw",
  );
});

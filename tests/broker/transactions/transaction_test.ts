import { describe, expect, test } from "bun:test";
import { Transaction } from "../../../broker/transactions/transaction.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { patched } from "../../sim/planted_cluster_faults.ts";
import { SimRandom } from "../../sim/sim_random.ts";
import { TransactionWorld } from "./transaction_world.ts";

const STEPS = 400;

test("Transaction: random lives of an id, beside a model of who was told what", () => {
  const total = {
    commits: 0,
    aborts: 0,
    fenced: 0,
    timeOuts: 0,
    freshIds: 0,
    repeats: 0,
    loads: 0,
    tombstones: 0,
  };
  for (let seed = 1; seed <= 600; seed++) {
    const world = new TransactionWorld(new SimRandom(seed));
    try {
      world.live(STEPS);
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
    for (const name of Object.keys(total) as (keyof typeof total)[]) {
      total[name] += world.seen[name];
    }
  }
  for (const count of Object.values(total)) expect(count).toBeGreaterThan(100);
}, 60_000);

/** A method that does something before what it does. */
function changed<Name extends "addPartitions" | "appended" | "complete" | "end" | "initProducerId">(
  name: Name,
  change: (
    transaction: Transaction,
    argument: Parameters<Transaction[Name]>[0],
  ) => Parameters<Transaction[Name]>[0],
): () => void {
  const before = Transaction.prototype[name] as (argument: unknown) => unknown;
  return patched(Transaction.prototype, name, {
    value(this: Transaction, argument: Parameters<Transaction[Name]>[0]) {
      return before.call(this, change(this, argument));
    },
  });
}

/** Bugs planted on purpose, each of which the lives must notice. Returns: what takes them out again. */
const FAULTS: Readonly<Record<string, () => () => void>> = {
  "a step in doubt that is taken back": () =>
    changed("appended", (_, error) => (
      error === ErrorCode.NOT_LEADER_OR_FOLLOWER ? ErrorCode.NOT_ENOUGH_REPLICAS : error
    )),
  "a step committed by few that is taken back": () =>
    changed("appended", (_, error) => (
      error === ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND ? ErrorCode.NOT_ENOUGH_REPLICAS : error
    )),
  "a step refused that is in force": () =>
    changed("appended", (_, error) => (
      error === ErrorCode.NOT_ENOUGH_REPLICAS ? ErrorCode.NONE : error
    )),
  "partitions of zombies": () =>
    changed("addPartitions", ({ metadata: { producerEpoch } }, request) => (
      { ...request, producerEpoch }
    )),
  "decisions of zombies": () =>
    changed("end", ({ metadata: { producerEpoch } }, request) => ({ ...request, producerEpoch })),
  "commits where aborts are asked for": () =>
    changed("end", (_, request) => ({ ...request, isCommit: true })),
  "epochs that zombies go on with": () =>
    changed("initProducerId", ({ metadata: { producerEpoch } }, request) => ({
      ...request,
      expected: request.expected && { ...request.expected, producerEpoch },
    })),
  "ends of version 2 taken for those of version 1": () =>
    changed("end", (_, request) => ({ ...request, transactionVersion: 0 })),
};

describe("TransactionWorld notices", () => {
  test.each(Object.entries(FAULTS))("%s", (_, plant) => {
    const takeOut = plant();
    try {
      expect(() => {
        for (let seed = 1; seed <= 300; seed++) {
          new TransactionWorld(new SimRandom(seed)).live(STEPS);
        }
      }).toThrow();
    } finally {
      takeOut();
    }
  }, 60_000);
});

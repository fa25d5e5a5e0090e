/**
 * Topics are made, written to and deleted under a few names again and again while the broker is killed: what was
 * answered holds after every crash, and the records of a deleted topic never come back under its name.
 */

import { describe, expect, test } from "bun:test";
import { ErrorCode } from "../../protocol/errors.ts";
import { buildBatch } from "../../protocol/records.ts";
import { createTopicsRequest, createTopicsResponse } from "../../protocol/schemas/create_topics.ts";
import { deleteTopicsRequest, deleteTopicsResponse } from "../../protocol/schemas/delete_topics.ts";
import { metadataRequest, metadataResponse } from "../../protocol/schemas/metadata.ts";
import { produceRequest, produceResponse } from "../../protocol/schemas/produce.ts";
import { type Uuid, ZERO_UUID } from "../../protocol/types.ts";
import { SimRandom } from "../sim/sim_random.ts";
import { eventually, repositoryRoot, type RunningBroker, runOk, startWeir } from "./harness.ts";
import { ClosedError, Wire } from "./wire.ts";

const ROUNDS = Number(process.env["WEIR_CRASH_ROUNDS"] ?? 5);
const SEED = Number(process.env["WEIR_SEED"] ?? Date.now() % 2 ** 31);
const NAMES = ["orders", "payments", "clicks"];
const isExternal = process.env["WEIR_COMPAT_BOOTSTRAP"] !== undefined;
const reason = isExternal ? " (another broker is under test)" : "";

/** What the test knows of a name. `null` for `id`: there is no such topic. */
interface Known {
  id: Uuid | null;
  /** Numbers of the records that were acknowledged. */
  acknowledged: number[];
  /** The number of a record whose answer did not come. */
  maybe: number[];
  /** An operation without an answer: the topic may be there or not. */
  isUncertain: boolean;
}

/** Works on topics until the broker hangs up. */
class Worker {
  readonly known = new Map<string, Known>(NAMES.map((name) => [name, absent()]));
  readonly #random: SimRandom;
  #nextNumber = 0;
  operationCount = 0;

  constructor(random: SimRandom) {
    this.#random = random;
  }

  /** Returns when the broker hangs up. */
  async run(broker: RunningBroker): Promise<void> {
    const wire = await Wire.connect(broker.bootstrap);
    for (;;) {
      const name = this.#random.pick(NAMES);
      const known = this.known.get(name)!;
      try {
        if (known.id === null) await this.#create(wire, name, known);
        else if (this.#random.chance(0.2)) await this.#delete(wire, name, known);
        else await this.#produce(wire, name, known);
        this.operationCount++;
      } catch (failure) {
        if (failure instanceof ClosedError) return;
        throw failure;
      }
    }
  }

  async #create(wire: Wire, name: string, known: Known): Promise<void> {
    known.isUncertain = true;
    const answer = await wire.send(createTopicsRequest, createTopicsResponse, 7, {
      topics: [{ name, numPartitions: 2, replicationFactor: 1, assignments: [], configs: [] }],
    });
    const { errorCode, topicId } = answer.topics[0]!;
    expect({ name, errorCode }).toEqual({ name, errorCode: ErrorCode.NONE });
    Object.assign(known, { ...absent(), id: topicId });
  }

  async #delete(wire: Wire, name: string, known: Known): Promise<void> {
    known.isUncertain = true;
    const answer = await wire.send(deleteTopicsRequest, deleteTopicsResponse, 5, {
      topicNames: [name],
      timeoutMs: 10_000,
    });
    const { errorCode } = answer.responses[0]!;
    expect({ name, errorCode }).toEqual({ name, errorCode: ErrorCode.NONE });
    Object.assign(known, absent());
  }

  async #produce(wire: Wire, name: string, known: Known): Promise<void> {
    const number = this.#nextNumber++;
    const value = new TextEncoder().encode(String(number));
    known.maybe.push(number);
    const records = buildBatch({ records: [{ key: null, value, headers: [], timestamp: 0 }] });
    const answer = await wire.send(produceRequest, produceResponse, 9, {
      transactionalId: null,
      acks: -1,
      timeoutMs: 10_000,
      topicData: [{ name, partitionData: [{ index: number % 2, records }] }],
    });
    const { errorCode, errorMessage } = answer.responses[0]!.partitionResponses[0]!;
    // A partition that is still being opened after the restart asks to come again.
    if (errorCode === ErrorCode.NOT_LEADER_OR_FOLLOWER) return;
    expect({ name, errorCode, errorMessage })
      .toEqual({ name, errorCode: ErrorCode.NONE, errorMessage: null });
    known.acknowledged.push(number);
  }

  /** What the broker has must be what it answered. Settles what was uncertain. */
  async check(broker: RunningBroker): Promise<void> {
    const wire = await Wire.connect(broker.bootstrap);
    for (const [name, known] of this.known) {
      const answer = await wire.send(metadataRequest, metadataResponse, 12, {
        topics: [{ name, topicId: ZERO_UUID }],
        allowAutoTopicCreation: false,
        includeTopicAuthorizedOperations: false,
      });
      const { errorCode, topicId } = answer.topics[0]!;
      const id = errorCode === ErrorCode.NONE ? topicId : null;
      if (known.isUncertain && id !== known.id) Object.assign(known, { ...absent(), id });
      known.isUncertain = false;
      expect({ name, id }).toEqual({ name, id: known.id });
      if (id !== null) await this.#checkRecords(broker, name, known);
    }
    wire.close();
  }

  async #checkRecords(broker: RunningBroker, name: string, known: Known): Promise<void> {
    const words = ["-b", broker.bootstrap, "consume", name];
    const output = await runOk([process.execPath, `${repositoryRoot}/main.ts`, ...words]);
    const found = new Set(output.split("\n").filter((line) => line !== "").map(Number));
    const lost = known.acknowledged.filter((number) => !found.has(number));
    const foreign = [...found].filter((number) => !known.maybe.includes(number));
    expect({ name, lost, foreign }).toEqual({ name, lost: [], foreign: [] });
  }
}

function absent(): Known {
  return { id: null, acknowledged: [], maybe: [], isUncertain: false };
}

describe.skipIf(isExternal)(`kill -9 while topics come and go${reason}`, () => {
  test(`${ROUNDS} times: what was answered holds, deleted records stay deleted`, async () => {
    console.log(`WEIR_SEED=${SEED}`);
    const random = new SimRandom(SEED);
    const worker = new Worker(random);
    let broker = await startWeir();
    const { dataDirectory, port } = broker;
    for (let round = 0; round < ROUNDS; round++) {
      const working = worker.run(broker);
      await Bun.sleep(random.between(50, 500));
      await broker.kill();
      await working;
      broker = await startWeir({ dataDirectory, port });
      const { httpPort } = broker;
      await eventually("readiness", async () => {
        return (await fetch(`http://127.0.0.1:${httpPort}/readyz`)).ok || undefined;
      });
      await worker.check(broker);
      expect(broker.output()).not.toMatch(/"level":"ERROR"/);
    }
    expect(await broker.stop()).toBe(0);
    console.log(`${ROUNDS} crashes: ${worker.operationCount} operations`);
  }, 30_000 + 5000 * ROUNDS);
});

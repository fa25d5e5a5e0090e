import { beforeEach, expect, test } from "bun:test";
import { describeClusterApi } from "../../../broker/apis/describe_cluster.ts";
import { initProducerIdApi } from "../../../broker/apis/init_producer_id.ts";
import { ProducerIdManager } from "../../../broker/controller/producer_id_manager.ts";
import { errorName } from "../../../protocol/errors.ts";
import type { Encodable } from "../../../protocol/schema.ts";
import {
  describeClusterRequest,
  describeClusterResponse,
} from "../../../protocol/schemas/describe_cluster.ts";
import {
  initProducerIdRequest,
  initProducerIdResponse,
} from "../../../protocol/schemas/init_producer_id.ts";
import { CLUSTER_ID, DIRECTORY_ID, Harness, NODE_ID } from "../controller/harness.ts";
import { ADVERTISED, ask } from "./admin_harness.ts";

let harness: Harness;
beforeEach(async () => {
  harness = await Harness.start();
});

const describe = (version: number, endpointType = 1, includeClusterAuthorizedOperations = false) =>
  ask(
    describeClusterApi({ ...harness, nodeId: NODE_ID }),
    [describeClusterRequest, describeClusterResponse],
    version,
    { includeClusterAuthorizedOperations, endpointType, includeFencedBrokers: version >= 2 },
  );

test("describeClusterApi: every version names the cluster, the controller and the brokers", async () => {
  for (let version = 0; version <= 2; version++) {
    const answer = await describe(version);
    expect([answer.errorCode, answer.clusterId, answer.controllerId]).toEqual([
      0,
      CLUSTER_ID,
      NODE_ID,
    ]);
    expect(answer.brokers).toEqual([{
      brokerId: NODE_ID,
      host: ADVERTISED.advertisedHost,
      port: ADVERTISED.advertisedPort,
      rack: null,
      isFenced: false,
    }]);
    expect(answer.clusterAuthorizedOperations).toBe(-2147483648);
    expect((await describe(version, 1, true)).clusterAuthorizedOperations).toBe(8096);
  }
});

test("describeClusterApi: controllers and unknown endpoint types are refused", async () => {
  expect(errorName((await describe(1, 2)).errorCode)).toBe("MISMATCHED_ENDPOINT_TYPE");
  const unknown = await describe(1, 7);
  expect([errorName(unknown.errorCode), unknown.errorMessage, unknown.brokers]).toEqual([
    "UNSUPPORTED_ENDPOINT_TYPE",
    "Unsupported endpoint type 7",
    [],
  ]);
});

test("describeClusterApi: a listener of controllers knows the controllers, and no brokers", async () => {
  const { controller } = harness;
  await controller.controllerRegistration({
    controllerId: 7,
    incarnationId: DIRECTORY_ID,
    endpoints: [{ name: "PLAINTEXT", host: "seven", port: 9093, securityProtocol: 0 }],
    features: new Map(),
  });
  await controller.controllerRegistration({
    controllerId: 8,
    incarnationId: DIRECTORY_ID,
    endpoints: [{ name: "OTHER", host: "eight", port: 9093, securityProtocol: 0 }],
    features: new Map(),
  });
  const api = describeClusterApi({ controller, nodeId: NODE_ID, endpoint: "controller" });
  const pair = [describeClusterRequest, describeClusterResponse] as const;
  const about = (endpointType: number) =>
    ask(api, pair, 1, {
      includeClusterAuthorizedOperations: false,
      endpointType,
    });
  const answer = await about(2);
  expect([answer.errorCode, answer.controllerId]).toEqual([0, NODE_ID]);
  expect(answer.brokers.map(({ brokerId, host, port }) => [brokerId, host, port])).toEqual([
    [7, "seven", 9093],
  ]);
  expect(errorName((await about(1)).errorCode)).toBe("MISMATCHED_ENDPOINT_TYPE");
});

const NO_TRANSACTIONS = { initProducerId: () => expect.unreachable() };

const init = (
  version: number,
  details: Partial<Encodable<typeof initProducerIdRequest>> = {},
  producerIds = new ProducerIdManager({ controller: harness.controller, nodeId: NODE_ID }),
) =>
  ask(
    initProducerIdApi({ producerIds, transactionCoordinator: NO_TRANSACTIONS }),
    [initProducerIdRequest, initProducerIdResponse],
    version,
    { transactionalId: null, transactionTimeoutMs: 60_000, ...details },
  );

test("initProducerIdApi: every version gives ids that grow, with epoch 0", async () => {
  const producerIds = new ProducerIdManager({ controller: harness.controller, nodeId: NODE_ID });
  for (let version = 0; version <= 6; version++) {
    const answer = await init(version, {}, producerIds);
    expect([answer.errorCode, answer.producerId, answer.producerEpoch]).toEqual([0, version, 0]);
  }
});

const refusals: readonly [string, Partial<Encodable<typeof initProducerIdRequest>>, string][] = [
  ["an id without an epoch", { producerId: 5 }, "INVALID_REQUEST"],
  ["an epoch without an id", { producerEpoch: 5 }, "INVALID_REQUEST"],
  [
    "two-phase commit",
    { transactionalId: "t", enable2Pc: true },
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
  ],
  ["what was prepared", { transactionalId: "t", keepPreparedTxn: true }, "UNSUPPORTED_VERSION"],
];
test.each(refusals)("initProducerIdApi: %s is refused", async (_, details, error) => {
  const answer = await init(6, details);
  expect([errorName(answer.errorCode), answer.producerId, answer.producerEpoch]).toEqual([
    error,
    -1,
    -1,
  ]);
});

test("initProducerIdApi: a producer that names an id it has gets a fresh one", async () => {
  const answer = await init(5, { producerId: 5, producerEpoch: 2 });
  expect([answer.errorCode, answer.producerEpoch]).toEqual([0, 0]);
});

test("ProducerIdManager: no id twice, over blocks, requests at once and restarts", async () => {
  const seen = new Set<number>();
  for (let start = 0; start < 3; start++) {
    const { controller } = harness;
    const producerIds = new ProducerIdManager({ controller, nodeId: NODE_ID });
    for (let round = 0; round < 25; round++) {
      const next = await Promise.all(Array.from({ length: 100 }, () => producerIds.next()));
      for (const answer of next) {
        if (!("producerId" in answer)) throw new Error(answer.message);
        expect(seen.has(answer.producerId)).toBe(false);
        seen.add(answer.producerId);
      }
    }
    await producerIds.close();
    await harness.crashAndReopen();
  }
  expect(seen.size).toBe(7500);
});

test("ProducerIdManager: when the controller cannot write, the caller is told, and later asks again", async () => {
  const { controller } = harness;
  const producerIds = new ProducerIdManager({ controller, nodeId: NODE_ID });
  controller.stop();
  expect(errorName((await producerIds.next()).error)).toBe("NOT_CONTROLLER");
  expect(errorName((await producerIds.next()).error)).toBe("NOT_CONTROLLER");
});

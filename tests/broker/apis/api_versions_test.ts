import { describe, expect, test } from "bun:test";
import { ApiKey } from "../../../protocol/api_keys.ts";
import { Reader, Writer } from "../../../protocol/bytes.ts";
import { codec } from "../../../protocol/compile.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { encodeRequestHeader } from "../../../protocol/headers.ts";
import type { Encodable } from "../../../protocol/schema.ts";
import { apiVersionsRequest, apiVersionsResponse } from "../../../protocol/schemas/api_versions.ts";
import {
  initProducerIdRequest,
  initProducerIdResponse,
} from "../../../protocol/schemas/init_producer_id.ts";
import { type Api, defineApi } from "../../../broker/apis/api.ts";
import { apiVersionsApi } from "../../../broker/apis/api_versions.ts";
import { World } from "../server/harness.ts";

const CLUSTER = "oUBa0V1iQ2G0LxhVJY0iTA";
const SOFTWARE = { clientSoftwareName: "apache-kafka-java", clientSoftwareVersion: "4.3.1" };

function served(): Api[] {
  const other = defineApi({
    key: ApiKey.InitProducerId,
    request: initProducerIdRequest,
    response: initProducerIdResponse,
    versions: { lowest: 3, highest: 5 },
    advertised: { lowest: 0, highest: 5 },
    handle: () => ({ throttleTimeMs: 0, errorCode: 0, producerId: 1, producerEpoch: 0 }),
  });
  const list: Api[] = [
    other,
    apiVersionsApi({
      clusterId: CLUSTER,
      nodeId: 1,
      features: () => ({
        epoch: 42,
        finalized: new Map([["metadata.version", 30]]),
        supported: new Map([
          ["metadata.version", { lowest: 7, highest: 30 }],
          ["kraft.version", { lowest: 0, highest: 1 }],
        ]),
      }),
      served: () => list,
    }),
  ];
  return list;
}

function frame(version: number, body: Uint8Array): Uint8Array {
  const writer = new Writer();
  writer.beginSized();
  encodeRequestHeader(writer, {
    apiKey: ApiKey.ApiVersions,
    apiVersion: version,
    correlationId: 5,
    clientId: "c",
  });
  writer.raw(body);
  writer.endSized();
  return writer.finish();
}

function ask(version: number, request: Encodable<typeof apiVersionsRequest>) {
  const writer = new Writer();
  codec(apiVersionsRequest, version).encode(writer, request);
  return answerTo(frame(version, writer.finish()), version);
}

async function answerTo(bytes: Uint8Array, version: number) {
  const world = new World({ apis: served() });
  const client = await world.connect();
  client.sendBytes(bytes);
  await world.pass();
  expect(client.isClosed).toBe(false);
  expect(client.answers[0]!.correlationId).toBe(5);
  const reader = new Reader(client.answers[0]!.body);
  const answer = codec(apiVersionsResponse, version).decode(reader);
  expect(reader.remaining).toBe(0);
  return answer;
}

describe("ApiVersions", () => {
  for (let version = 0; version <= 5; version++) {
    test(`ApiVersions: version ${version} lists what is advertised, sorted by key`, async () => {
      const answer = await ask(version, SOFTWARE);
      expect(answer.errorCode).toBe(ErrorCode.NONE);
      expect(answer.apiKeys).toEqual([
        { apiKey: ApiKey.ApiVersions, minVersion: 0, maxVersion: 5 },
        { apiKey: ApiKey.InitProducerId, minVersion: 0, maxVersion: 5 },
      ]);
      const names = answer.supportedFeatures.map(({ name }) => name);
      if (version < 3) return expect(names).toEqual([]);
      expect(names).toEqual(
        version === 3 ? ["metadata.version"] : ["metadata.version", "kraft.version"],
      );
      expect(answer.finalizedFeaturesEpoch).toBe(42);
      expect(answer.finalizedFeatures).toEqual([
        { name: "metadata.version", maxVersionLevel: 30, minVersionLevel: 30 },
      ]);
    });
  }

  const software: [string, string, boolean][] = [
    ["librdkafka", "2.11.0", true],
    ["kafka-python-ng", "2.2.3", true],
    ["a", "1", true],
    ["", "1.0", false],
    ["name", "", false],
    ["-name", "1", false],
    ["name.", "1", false],
    ["two words", "1", false],
    ["naïve", "1", false],
    ["x\n", "1", false],
  ];
  for (const [clientSoftwareName, clientSoftwareVersion, isValid] of software) {
    test(`ApiVersions: software ${JSON.stringify(clientSoftwareName)} is ${isValid ? "taken" : "refused"}`, async () => {
      const answer = await ask(3, { clientSoftwareName, clientSoftwareVersion });
      expect(answer.errorCode).toBe(isValid ? ErrorCode.NONE : ErrorCode.INVALID_REQUEST);
    });
  }

  const places: [string, object, number][] = [
    ["right cluster and node", { clusterId: CLUSTER, nodeId: 1 }, ErrorCode.NONE],
    ["nothing known", {}, ErrorCode.NONE],
    ["another node", { clusterId: CLUSTER, nodeId: 2 }, ErrorCode.REBOOTSTRAP_REQUIRED],
    [
      "another cluster",
      { clusterId: "AAAAAAAAAAAAAAAAAAAAAA", nodeId: 1 },
      ErrorCode.REBOOTSTRAP_REQUIRED,
    ],
  ];
  for (const [title, place, error] of places) {
    test(`ApiVersions: version 5 with ${title} answers ${error}`, async () => {
      const answer = await ask(5, { ...SOFTWARE, ...place });
      expect(answer.errorCode).toBe(error);
    });
  }

  for (const version of [6, 99, 0x7fff]) {
    test(`ApiVersions: unknown version ${version} is answered in version 0 with the range`, async () => {
      const answer = await answerTo(frame(version, new Uint8Array([1, 2, 3])), 0);
      expect(answer.errorCode).toBe(ErrorCode.UNSUPPORTED_VERSION);
      expect(answer.apiKeys).toEqual([{
        apiKey: ApiKey.ApiVersions,
        minVersion: 0,
        maxVersion: 5,
      }]);
    });
  }

  test("ApiVersions: bytes after the body close the connection", async () => {
    const world = new World({ apis: served() });
    const client = await world.connect();
    client.sendBytes(frame(0, new Uint8Array([0])));
    await world.pass();
    expect(client.isClosed).toBe(true);
    expect(world.warnings()[0]).toContain("1 bytes follow its end");
  });

  test("ApiVersions: remembers the software of the client for the connection", async () => {
    const world = new World({ apis: [...served(), world0.script.api()].slice(1) });
    const client = await world.connect();
    const writer = new Writer();
    codec(apiVersionsRequest, 3).encode(writer, SOFTWARE);
    client.sendBytes(frame(3, writer.finish()));
    client.send("now:x");
    await world.pass();
    const { connection } = world0.script.contexts[0]!;
    expect(connection.clientSoftwareName).toBe("apache-kafka-java");
    expect(connection.clientSoftwareVersion).toBe("4.3.1");
  });
});

/** Only its script is used. */
const world0 = new World();

/** The OpenAPI document, the page to try it at, and who is let in. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { DOCS_PAGE, DOCS_SCRIPT, DOCS_STYLE } from "../../../../broker/gateway/rest/docs_page.ts";
import { operations } from "../../../../broker/gateway/rest/rest.ts";
import { RestWorld } from "./rest_world.ts";

let world: RestWorld;
beforeAll(async () => {
  world = new RestWorld();
  await world.start({
    "weir.gateway.allowed.origins": "https://shop.example",
    "auto.create.topics.enable": "false",
  });
});
afterAll(() => world.end());

// deno-lint-ignore no-explicit-any -- a document of any shape is walked through
function* referencesIn(value: any): Generator<string> {
  if (typeof value !== "object" || value === null) return;
  for (const [name, inner] of Object.entries(value)) {
    if (name === "$ref") yield inner as string;
    else yield* referencesIn(inner);
  }
}

describe("the document", () => {
  test("openapi.json: names every operation once, and nothing that is not there", async () => {
    const document = await world.succeed("GET", "/openapi.json");
    expect(document).toMatchObject({ openapi: "3.1.0", info: { version: "1.2.3" } });
    const paths = Object.values(
      document.paths as Record<string, Record<string, { operationId: string }>>,
    );
    const described = paths.flatMap((path) => Object.values(path));
    const ids = described.map(({ operationId }) => operationId);
    expect(new Set(ids).size).toBe(operations.length);
    for (const reference of referencesIn(document)) {
      const name = reference.replace("#/components/schemas/", "");
      expect(document.components.schemas).toHaveProperty([name]);
    }
  });

  test("openapi.json: bodies are described as they are checked", async () => {
    const { paths, components } = await world.succeed("GET", "/openapi.json");
    const create = paths["/v3/clusters/{cluster_id}/topics"].post;
    expect(create.requestBody.content["application/json"].schema).toEqual({
      $ref: "#/components/schemas/CreateTopicRequestData",
    });
    const { required, properties } = components.schemas.CreateTopicRequestData;
    expect(required).toEqual(["topic_name"]);
    expect(properties.topic_name).toMatchObject({ type: "string", minLength: 1, maxLength: 249 });
    const page = paths["/api/topics/{topic}/records"].get.parameters;
    expect(page.find(({ name }: { name: string }) => name === "limit")).toMatchObject({
      in: "query",
      required: false,
      schema: { type: "integer", minimum: 1, maximum: 10_000, default: 100 },
    });
  });

  test.each(operations.map((it) => [it.method, it.path, it] as const))(
    "%s %s: is answered, not by somebody else",
    async (method, path) => {
      const filled = path.replaceAll(
        /\{(\w+)\}/g,
        (_, name) => name === "cluster_id" ? world.clusterId : /_id$/.test(name) ? "7" : "none",
      );
      const { status } = await world.ask(
        method.toUpperCase(),
        filled,
        method === "get" ? undefined : {},
      );
      expect([200, 204, 400, 404, 422]).toContain(status);
    },
  );

  test("a path that is not there is a problem like any other", async () => {
    const answered = await world.ask("GET", "/v3/nothing");
    expect(answered).toMatchObject({ status: 404, body: { error_code: 404 } });
    expect(answered.headers.get("X-Content-Type-Options")).toBe("nosniff");
  });

  test("another method says which there are", async () => {
    const answered = await world.ask("PUT", "/topics");
    expect(answered.status).toBe(405);
    expect(answered.headers.get("Allow")).toBe("GET, POST, HEAD");
  });
});

describe("the page", () => {
  test("docs: asks nobody else for anything", async () => {
    const page = await world.ask("GET", "/docs");
    expect(page.headers.get("Content-Type")).toStartWith("text/html");
    expect(page.headers.get("Content-Security-Policy")).toContain("default-src 'none'");
    for (const text of [DOCS_PAGE, DOCS_SCRIPT, DOCS_STYLE]) {
      expect(text).not.toMatch(/https?:|\/\/[a-z]/);
    }
    for (const [, path] of DOCS_PAGE.matchAll(/(?:href|src)="([^"]+)"/g)) {
      expect((await world.ask("GET", path!)).status).toBe(200);
    }
  });
});

describe("strangers", () => {
  const cases: readonly (readonly [string, string, Record<string, string>, number])[] = [
    ["a program", "DELETE", {}, 404],
    ["a page of our own", "DELETE", { Origin: "http://localhost" }, 404],
    ["a page of an allowed origin", "DELETE", { Origin: "https://shop.example" }, 404],
    ["a page of another origin", "DELETE", { Origin: "https://evil.example" }, 403],
    ["another site that hides its name", "POST", { "Sec-Fetch-Site": "cross-site" }, 403],
    ["a page of another origin that reads", "GET", { Origin: "https://evil.example" }, 404],
    ["a name that is not ours", "GET", { Host: "evil.example" }, 421],
    ["a name that begins like ours", "GET", { Host: "localhost.evil.example" }, 421],
    ["a name that ends like an address", "GET", { Host: "evil.127.0.0.1.example" }, 421],
    ["an address", "GET", { Host: "192.168.1.5:8080" }, 404],
    ["an address of six", "GET", { Host: "[::1]:8080" }, 404],
    ["a short name", "GET", { Host: "weir:8080" }, 404],
    ["a private name", "GET", { Host: "weir.svc.cluster.local" }, 404],
    ["no name at all", "GET", { Host: "a b" }, 421],
  ];
  test.each(cases)("%s that sends %s: by its headers", async (_what, method, headers, status) => {
    const body = method === "POST" ? "{}" : undefined;
    const path = method === "POST" ? "/topics" : "/topics/none";
    expect((await world.ask(method, path, body, headers)).status).toBe(status);
  });

  test("health: answers under any name", async () => {
    expect((await world.ask("GET", "/healthz", undefined, { Host: "evil.example" })).status).toBe(
      200,
    );
  });
});

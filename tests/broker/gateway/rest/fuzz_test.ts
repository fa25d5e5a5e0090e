/**
 * Requests by chance, made from the schemas of the operations and bent a little: every one of them is answered, none of them
 * by an error of ours, and nothing is held afterwards.
 */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { z } from "zod";
import { type Operation, pathNames } from "../../../../broker/gateway/rest/operation.ts";
import { operations } from "../../../../broker/gateway/rest/rest.ts";
import { SimRandom } from "../../../sim/sim_random.ts";
import { RestWorld } from "./rest_world.ts";

const SEED = Number(process.env["WEIR_FUZZ_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const REQUESTS = 1500;

let world: RestWorld;
beforeAll(async () => {
  world = new RestWorld();
  await world.start({ "num.partitions": "2" });
  await world.succeed("POST", "/topics", { topic_name: "orders", partitions_count: 3 });
  await world.produce("orders", ["a", "b"], 1);
});
afterAll(() => world.end());

const ODD_TEXTS = [
  "",
  "orders",
  "orders",
  "a",
  ".",
  "..",
  "ü€😀",
  "a/b",
  "%2F",
  "x".repeat(300),
  "\0",
  "-1",
  "NaN",
];
const ODD_NUMBERS = [0, 1, -1, 2, 7, 2 ** 31 - 1, 2 ** 31, 2 ** 53, 1.5, -0, 1e300];

type JsonSchema = Readonly<Record<string, unknown>>;

/** Values by chance, most of them as a schema wants them. */
class Chance {
  readonly #random: SimRandom;

  constructor(seed: number) {
    this.#random = new SimRandom(seed);
  }

  below(count: number): number {
    return this.#random.uint32() % count;
  }

  of<T>(all: readonly T[]): T {
    return all[this.below(all.length)]!;
  }

  /** A value that is not what anybody wants. */
  odd(depth = 0): unknown {
    const kinds = depth > 3 ? 4 : 6;
    switch (this.below(kinds)) {
      case 0:
        return null;
      case 1:
        return this.of(ODD_TEXTS);
      case 2:
        return this.of(ODD_NUMBERS);
      case 3:
        return this.below(2) === 0;
      case 4:
        return Array.from({ length: this.below(4) }, () => this.odd(depth + 1));
      default:
        return { [this.of(["__proto__", "constructor", "a", "type"])]: this.odd(depth + 1) };
    }
  }

  value(schema: JsonSchema, depth = 0): unknown {
    if (this.below(12) === 0) return this.odd();
    const choices = (schema["anyOf"] ?? schema["oneOf"]) as JsonSchema[] | undefined;
    if (choices !== undefined) return this.value(this.of(choices), depth);
    if (schema["enum"] !== undefined) return this.of(schema["enum"] as unknown[]);
    if (schema["const"] !== undefined) return schema["const"];
    switch (schema["type"]) {
      case "string":
        return this.of([
          ...ODD_TEXTS,
          "earliest",
          "latest",
          "-1h",
          "2026-01-31T12:00:00Z",
          "Zm9v",
          "BINARY",
        ]);
      case "integer":
      case "number":
        return this.below(3) === 0 ? this.of(ODD_NUMBERS) : this.below(4);
      case "boolean":
        return this.below(2) === 0;
      case "null":
        return null;
      case "array":
        return Array.from(
          { length: this.below(4) },
          () => this.value((schema["items"] ?? {}) as JsonSchema, depth + 1),
        );
      case "object":
        return this.#object(schema, depth);
      default:
        return this.odd(depth);
    }
  }

  #object(schema: JsonSchema, depth: number): unknown {
    const properties = Object.entries((schema["properties"] ?? {}) as Record<string, JsonSchema>);
    const required = (schema["required"] ?? []) as string[];
    const kept = properties.filter(([name]) => required.includes(name) || this.below(2) === 0);
    const more = schema["additionalProperties"];
    const extra = typeof more === "object" && more !== null
      ? Object.fromEntries([[`${this.below(5)}`, this.value(more as JsonSchema, depth + 1)]])
      : {};
    return {
      ...Object.fromEntries(kept.map(([name, it]) => [name, this.value(it, depth + 1)])),
      ...extra,
    };
  }
}

function schemaOf(schema: z.ZodType): JsonSchema {
  return z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as JsonSchema;
}

function requestOf(chance: Chance, operation: Operation) {
  const values: Record<string, string> = { cluster_id: world.clusterId };
  for (const name of pathNames(operation.path)) {
    const isNumber = name === "partition_id" || name === "broker_id";
    const text = isNumber
      ? String(chance.below(4))
      : chance.of(["orders", "g", "retention.ms", ...ODD_TEXTS]);
    if (values[name] === undefined || chance.below(30) === 0) values[name] = text;
  }
  const path = operation.path.replaceAll(
    /\{(\w+)\}/g,
    (_, name) => encodeURIComponent(values[name]!) || "x",
  );
  const query = new URLSearchParams();
  for (const [name, schema] of Object.entries(operation.query)) {
    if (chance.below(3) === 0) query.append(name, String(chance.value(schemaOf(schema))));
  }
  // A stream that follows has no end.
  if (operation.id === "streamRecords") query.set("follow", "false");
  const body = operation.body === undefined
    ? undefined
    : JSON.stringify(chance.value(schemaOf(operation.body)));
  const cut = body !== undefined && chance.below(20) === 0
    ? body.slice(0, chance.below(body.length))
    : body;
  return { method: operation.method.toUpperCase(), url: `${path}?${query}`, body: cut };
}

test(
  `every request is answered, and none by an error of ours (WEIR_FUZZ_SEED=${SEED})`,
  async () => {
    const chance = new Chance(SEED);
    const statuses = new Map<number, number>();
    for (let i = 0; i < REQUESTS; i++) {
      const { method, url, body } = requestOf(chance, chance.of(operations));
      const { status, text } = await world.ask(method, url, body);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      if (status >= 500) throw new Error(`${method} ${url}\n${body}\n${status} ${text}`);
    }
    expect(world.logger.lines.filter(({ level }) => level === "error")).toEqual([]);
    // It gets through to what is behind the schemas often enough.
    const through = (statuses.get(200) ?? 0) + (statuses.get(204) ?? 0) + (statuses.get(201) ?? 0);
    expect(through).toBeGreaterThan(REQUESTS / 20);
    expect(world.feeds.partitionCount).toBe(0);
  },
  120_000,
);

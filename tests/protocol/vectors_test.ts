/**
 * Encodings made by Kafka's own Java library: the compiler and its twin agree with every one, both ways.
 *
 * The file is `../shared/spec/vectors.jsonl.gz`, or the one that `WEIR_VECTORS` names, plain or gzipped; one
 * JSON object a line, `{ message, version, json, hex }`.
 */

import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { decodeMessage, encodeMessage } from "../../protocol/compile.ts";
import type { Message } from "../../protocol/schema.ts";
import { messageByName } from "../../protocol/schemas/index.ts";
import { Interpreter } from "./interpreter.ts";
import { valueOfJson } from "./vector_json.ts";

interface Vector {
  readonly message: string;
  readonly version: number;
  readonly json: unknown;
  readonly hex: string;
}

const given = process.env["WEIR_VECTORS"];
const file = given ?? join(import.meta.dir, "../../../shared/spec/vectors.jsonl.gz");

function readVectors(path: string): Vector[] {
  const stored = readFileSync(path);
  const isGzip = stored[0] === 0x1f && stored[1] === 0x8b;
  const text = (isGzip ? gunzipSync(stored) : stored).toString("utf8");
  return text.split("\n").filter((line) => line.trim() !== "").map((line) => JSON.parse(line));
}

interface Check {
  (schema: Message, vector: Vector, bytes: Uint8Array): void;
}

const checks: Readonly<Record<string, Check>> = {
  "decodeMessage: every vector gives its JSON": (schema, { version, json }, bytes) => {
    const expected = valueOfJson(schema, json, new Interpreter(schema, version).decode(bytes));
    expect(decodeMessage(schema, version, bytes) as unknown).toStrictEqual(expected);
  },
  "encodeMessage: every vector's JSON gives its bytes": (schema, { version, json, hex }, bytes) => {
    const value = valueOfJson(schema, json, new Interpreter(schema, version).decode(bytes));
    expect(encodeMessage(schema, version, value as never).toHex()).toBe(hex);
  },
  "Interpreter.decode: every vector gives its JSON": (schema, { version, json }, bytes) => {
    const expected = valueOfJson(schema, json, decodeMessage(schema, version, bytes));
    expect(new Interpreter(schema, version).decode(bytes)).toStrictEqual(expected);
  },
  "Interpreter.encode: every vector's JSON gives its bytes": (schema, vector, bytes) => {
    const { version, json, hex } = vector;
    const value = valueOfJson(schema, json, decodeMessage(schema, version, bytes));
    expect(new Interpreter(schema, version).encode(value).toHex()).toBe(hex);
  },
};

function failures(vectors: readonly Vector[], check: Check): string[] {
  const failed: string[] = [];
  for (const [index, vector] of vectors.entries()) {
    const name = `line ${index + 1}, ${vector.message} version ${vector.version}`;
    try {
      const schema = messageByName.get(vector.message);
      if (schema === undefined) throw new Error("there is no schema of that name");
      check(schema, vector, Uint8Array.fromHex(vector.hex));
    } catch (error) {
      failed.push(`${name}: ${error instanceof Error ? error.message : error}`);
    }
  }
  return failed;
}

if (given === undefined && !existsSync(file)) {
  test.skipIf(true)(
    "vectors: Kafka's encodings (../shared/spec/vectors.jsonl.gz is absent)",
    () => {},
  );
} else {
  const vectors = readVectors(file);

  test(`vectors: ${file} holds vectors`, () => {
    expect(vectors.length).toBeGreaterThan(0);
    // The file of Kafka 4.4 is known; another one may be of any length.
    if (given === undefined) expect(vectors).toHaveLength(1908);
  });

  for (const [title, check] of Object.entries(checks)) {
    test(`${title} (${vectors.length} vectors)`, () => {
      expect(failures(vectors, check)).toEqual([]);
    }, 60_000);
  }
}

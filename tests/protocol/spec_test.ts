/**
 * Our schemas, error codes and API keys against Kafka 4.4 as data (`../shared/spec`): nothing
 * missing, nothing added, every property of every field the same.
 */

import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ApiKey, apiName } from "../../protocol/api_keys.ts";
import { INT64_MAX } from "../../protocol/bytes.ts";
import { ErrorCode, errorName, isRetriable } from "../../protocol/errors.ts";
import type { Field, Fields, FieldType, Message } from "../../protocol/schema.ts";
import { messages, requestByApiKey, responseByApiKey } from "../../protocol/schemas/index.ts";

const spec = join(import.meta.dir, "../../../shared/spec");

interface SpecField {
  readonly name: string;
  readonly type: string;
  readonly versions?: string;
  readonly nullableVersions?: string;
  readonly taggedVersions?: string;
  readonly flexibleVersions?: string;
  readonly tag?: number;
  readonly default?: unknown;
  readonly ignorable?: boolean;
  readonly entityType?: string;
  readonly mapKey?: boolean;
  readonly fields?: readonly SpecField[];
}

interface SpecMessage {
  readonly type: string;
  readonly apiKey?: number;
  readonly validVersions: string;
  readonly flexibleVersions?: string;
  readonly fields: readonly SpecField[];
  readonly commonStructs?: readonly { name: string; fields: readonly SpecField[] }[];
}

function readSpec<T>(name: string): T {
  return JSON.parse(readFileSync(join(spec, name), "utf8"));
}

/** One field in a form that both sides can be brought to. */
interface Flat {
  readonly name: string;
  readonly type: string;
  readonly versions: string;
  readonly nullable: string;
  readonly tag: number | null;
  readonly tagged: string;
  readonly flexible: string;
  readonly default: unknown;
  readonly ignorable: boolean;
  readonly entity: string;
  readonly mapKey: boolean;
  readonly fields: readonly Flat[];
}

function camelCase(name: string): string {
  return name[0]!.toLowerCase() + name.slice(1);
}

/**
 * The default that Kafka's data gives, as the value that it stands for; undefined where it gives
 * none.
 */
function specDefault({ type, default: given }: SpecField): unknown {
  if (given === undefined) return undefined;
  if (given === null || given === "null") return null;
  if (type === "string") return given;
  if (type === "bool") return given === true || given === "true";
  const text = String(given);
  return text === "9223372036854775807" ? INT64_MAX : Number(text);
}

function flatSpec(field: SpecField, structs: ReadonlyMap<string, readonly SpecField[]>): Flat {
  const element = field.type.replace("[]", "");
  const isStruct = /^[A-Z]/.test(element);
  const members = isStruct ? field.fields ?? structs.get(element)! : [];
  return {
    name: camelCase(field.name),
    type: field.type.replace(element, isStruct ? "struct" : element),
    versions: field.versions ?? field.taggedVersions!,
    nullable: field.nullableVersions ?? "none",
    tag: field.tag ?? null,
    tagged: field.taggedVersions ?? "none",
    flexible: field.flexibleVersions ?? "of the message",
    default: specDefault(field),
    ignorable: field.ignorable ?? false,
    entity: field.entityType ?? "",
    mapKey: field.mapKey ?? false,
    fields: members.map((each) => flatSpec(each, structs)),
  };
}

function typeName(type: FieldType): string {
  if (type.kind === "array") return `[]${typeName(type.element)}`;
  if (type.kind === "struct") return "struct";
  // Ours: where all bits of an int64 must survive.
  return type.primitive === "bits64" ? "int64" : type.primitive;
}

function membersOf(type: FieldType): Fields {
  if (type.kind === "array") return membersOf(type.element);
  return type.kind === "struct" ? type.fields : {};
}

function flatOurs(name: string, { type, versions, options }: Field<unknown, unknown>): Flat {
  return {
    name,
    type: typeName(type),
    versions,
    nullable: options.nullable ?? "none",
    tag: options.tag ?? null,
    tagged: options.tagged ?? "none",
    flexible: options.flexible ?? "of the message",
    default: typeof options.default === "bigint" ? Number(options.default) : options.default,
    ignorable: options.ignorable ?? false,
    entity: options.entity ?? "",
    mapKey: options.mapKey ?? false,
    fields: Object.entries(membersOf(type)).map(([member, each]) => flatOurs(member, each)),
  };
}

function headOfSpec(name: string, message: SpecMessage) {
  return {
    name,
    apiKey: message.apiKey,
    versions: message.validVersions,
    flexible: message.flexibleVersions ?? "none",
  };
}

function headOfOurs({ name, apiKey, versions, flexible }: Message) {
  return { name, apiKey, versions, flexible };
}

if (!existsSync(spec)) {
  test.skipIf(true)("spec: schemas against Kafka's own (../shared/spec is absent)", () => {});
} else {
  const specMessages = new Map(
    Object.entries({
      ...readSpec<Record<string, SpecMessage>>("messages.json"),
      ...readSpec<Record<string, SpecMessage>>("records.json"),
    }),
  );
  const ours = new Map(messages.map((each) => [each.name, each]));

  describe("schemas", () => {
    test("messages: every message with a valid version is there, once, and no other", () => {
      const valid = [...specMessages].filter(([, each]) => each.validVersions !== "none");
      expect(messages.map((each) => each.name).toSorted()).toEqual(
        valid.map(([name]) => name).toSorted(),
      );
      expect(messages).toHaveLength(278);
    });

    for (const [name, expected] of specMessages) {
      if (expected.validVersions === "none") continue;
      test(`${name}: versions and fields are Kafka's`, () => {
        const found = ours.get(name)!;
        expect<unknown>(headOfOurs(found)).toEqual(headOfSpec(name, expected));
        const structs = new Map(expected.commonStructs?.map((each) => [each.name, each.fields]));
        const fields = Object.entries(found.fields).map(([field, each]) => flatOurs(field, each));
        expect(fields).toEqual(expected.fields.map((each) => flatSpec(each, structs)));
      });
    }
  });

  describe("ApiKey", () => {
    const requests = [...specMessages].filter(([, each]) => each.type === "request");

    test("ApiKey: names and numbers are those of Kafka's requests", () => {
      const expected = requests.map(([name, { apiKey }]) => [name.replace(/Request$/, ""), apiKey]);
      expect(Object.entries(ApiKey)).toHaveLength(95);
      expect(new Map<string, unknown>(Object.entries(ApiKey))).toEqual(
        new Map(expected as [string, number][]),
      );
    });

    test("requestByApiKey, responseByApiKey: hold the API's own messages", () => {
      for (const [name, { apiKey, validVersions }] of requests) {
        const isValid = validVersions !== "none";
        expect(requestByApiKey.get(apiKey!)?.name).toBe(isValid ? name : undefined);
        const response = name.replace(/Request$/, "Response");
        expect(responseByApiKey.get(apiKey!)?.name).toBe(isValid ? response : undefined);
        expect(`${apiName(apiKey!)}Request`).toBe(name);
      }
    });
  });

  test("ErrorCode: codes, names and retriability are Kafka's", () => {
    const expected = readSpec<{ code: number; name: string; retriable: boolean }[]>("errors.json");
    expect(expected).toHaveLength(138);
    const found = Object.values(ErrorCode).map((code) => ({
      code,
      name: errorName(code),
      retriable: isRetriable(code),
    }));
    expect<unknown>(found.toSorted((a, b) => a.code - b.code)).toEqual(
      expected.toSorted((a, b) => a.code - b.code),
    );
  });
}

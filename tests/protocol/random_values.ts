/** Random values of any message at any version, made from its schema, for property tests. */

import type { Field, Fields, FieldType, Message, Primitive } from "../../protocol/schema.ts";
import { inRange } from "../../protocol/compile.ts";
import type { SimRandom } from "../sim/sim_random.ts";
import { defaultOf } from "./interpreter.ts";

type AnyField = Field<unknown, unknown>;

const edges: Readonly<Partial<Record<Primitive, readonly number[]>>> = {
  int8: [-128, 127],
  int16: [-32768, 32767],
  uint16: [0, 65535],
  int32: [-2147483648, 2147483647],
  uint32: [0, 4294967295],
  int64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
};
const texts = ["", "a", "orders", "événement", "消息", "\u{1f600}", "\ufeffbom", "x".repeat(127)];
const longTexts = ["x".repeat(128), "é".repeat(70), "y".repeat(20_000)];

function pick<T>(random: SimRandom, from: readonly T[]): T {
  return from[random.uint32() % from.length]!;
}

function randomBytes(random: SimRandom, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random.uint32() & 0xff);
}

function randomInteger(random: SimRandom, primitive: Primitive): number {
  const [lowest, highest] = edges[primitive] as [number, number];
  const kind = random.uint32() % 6;
  if (kind === 0) return lowest;
  if (kind === 1) return highest;
  if (kind === 2 && lowest < 0) return -1;
  if (kind === 3) return 1;
  const share = random.uint32() / 2 ** 32;
  return Math.floor(lowest * (1 - share) + highest * share);
}

function randomPrimitive(random: SimRandom, primitive: Primitive): unknown {
  switch (primitive) {
    case "bool":
      return random.uint32() % 2 === 0;
    case "float64":
      return pick(random, [0, -1.5, 1e300, Infinity, Math.PI]);
    case "bits64":
      return BigInt.asIntN(64, (BigInt(random.uint32()) << 32n) | BigInt(random.uint32()));
    case "string":
      return pick(random, random.uint32() % 50 === 0 ? longTexts : texts);
    case "uuid":
      return randomBytes(random, 16).toBase64({ alphabet: "base64url", omitPadding: true });
    case "bytes":
    case "records":
      return randomBytes(random, pick(random, [0, 1, 3, 127, 128, 4096]) % 5000);
    default:
      return randomInteger(random, primitive);
  }
}

function randomOf(random: SimRandom, type: FieldType, version: number, depth: number): unknown {
  if (type.kind === "struct") return randomStruct(random, type.fields, version, depth + 1);
  if (type.kind === "primitive") return randomPrimitive(random, type.primitive);
  const isLong = type.element.kind === "primitive" && random.uint32() % 40 === 0;
  const length = isLong ? 200 : random.uint32() % (depth > 2 ? 2 : 4);
  return Array.from({ length }, () => randomOf(random, type.element, version, depth + 1));
}

function randomField(random: SimRandom, field: AnyField, version: number, depth: number): unknown {
  if (!inRange(field.versions, version)) return defaultOf(field);
  const nullable = inRange(field.options.nullable ?? "none", version);
  if (nullable && random.uint32() % 4 === 0) return null;
  const isTagged = inRange(field.options.tagged ?? "none", version);
  if (isTagged && random.uint32() % 2 === 0) return defaultOf(field);
  return randomOf(random, field.type, version, depth);
}

function randomStruct(random: SimRandom, fields: Fields, version: number, depth: number) {
  return Object.fromEntries(
    Object.entries(fields).map(([name, field]) => [
      name,
      randomField(random, field, version, depth),
    ]),
  );
}

/** A value that the version can carry in full: fields that it lacks have their default. */
export function randomValue(
  random: SimRandom,
  message: Message,
  version: number,
): Record<string, unknown> {
  return randomStruct(random, message.fields, version, 0);
}

/** Every message at every version that it has. */
export function everyVersion(
  messages: readonly Message[],
): { message: Message; version: number }[] {
  return messages.flatMap((message) => {
    const [lowest, highest] = message.versions.split("-").map(Number) as [number, number?];
    const count = (highest ?? lowest) - lowest + 1;
    return Array.from({ length: count }, (_, i) => ({ message, version: lowest + i }));
  });
}

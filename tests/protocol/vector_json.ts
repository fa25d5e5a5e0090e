/**
 * The JSON form of messages in Kafka's vectors: camelCase names, bytes in base64, uuids in
 * base64url.
 */

import type { Fields, FieldType, Message } from "../../protocol/schema.ts";
import { defaultOf } from "./interpreter.ts";

/**
 * The value that a vector's JSON stands for, with the default in every field that it leaves out.
 *
 * The vectors give "" for every `records` field that is not null, also where bytes are in the
 * encoding (Kafka's library had read its buffer to the end before it wrote the JSON). For such a
 * field the bytes come from `decoded`, what the other decoder made of the same encoding.
 * Errors: an Error that names a member which the schema does not have.
 */
export function valueOfJson(
  message: Message,
  json: unknown,
  decoded: unknown,
): Record<string, unknown> {
  return structOf(message.fields, json, decoded, message.name);
}

function structOf(fields: Fields, json: unknown, decoded: unknown, path: string) {
  const members = json as Record<string, unknown>;
  const others = decoded as Record<string, unknown> | null | undefined;
  for (const name of Object.keys(members)) {
    if (!Object.hasOwn(fields, name)) throw new Error(`${path} has no field ${name}`);
  }
  return Object.fromEntries(
    Object.entries(fields).map(([name, { type, ...field }]) => {
      if (!Object.hasOwn(members, name)) return [name, defaultOf({ type, ...field })];
      return [name, valueOf(type, members[name], others?.[name], `${path}.${name}`)];
    }),
  );
}

function valueOf(type: FieldType, json: unknown, decoded: unknown, path: string): unknown {
  if (json === null) return null;
  if (type.kind === "struct") return structOf(type.fields, json, decoded, path);
  if (type.kind === "array") {
    const others = decoded as readonly unknown[] | null | undefined;
    return (json as unknown[]).map((item, i) => valueOf(type.element, item, others?.[i], path));
  }
  if (type.primitive === "bits64") return BigInt(json as number);
  if (type.primitive === "records" && json === "" && decoded instanceof Uint8Array) return decoded;
  if (type.primitive === "bytes" || type.primitive === "records") {
    return new Uint8Array(Uint8Array.fromBase64(json as string));
  }
  return json;
}

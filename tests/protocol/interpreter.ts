/**
 * The slow twin of `protocol/compile.ts`: walks the schema for every value, and shares no code with
 * it.
 *
 * It knows the wire format by itself (a DataView to read, a list of bytes to write, bigints for 64
 * bits), so that an error in the compiler or in `bytes.ts` shows as a difference. It is strict in
 * the same places and throws a `TwinError` where the codec throws a `WireError`.
 */

import type { Field, Fields, FieldType, Message, Primitive } from "../../protocol/schema.ts";

/** The twin's refusal of bytes or of a value. */
export class TwinError extends Error {
  override name = "TwinError";
}

type Value = Record<string, unknown>;
type AnyField = Field<unknown, unknown>;

const safeLimit = 9007199254740991n;
const longMax = 9223372036854775807n;

function isIn(range: string | undefined, version: number): boolean {
  const found = /^(\d+)(?:(\+)|-(\d+))?$/.exec(range ?? "none");
  if (found === null) return false;
  const lowest = Number(found[1]);
  if (found[2] !== undefined) return version >= lowest;
  return version >= lowest && version <= Number(found[3] ?? lowest);
}

/** The default of a field: its own, else the zero of its type. */
export function defaultOf(field: AnyField): unknown {
  if (field.options.default !== undefined) return field.options.default;
  if (field.type.kind === "array") return [];
  if (field.type.kind === "struct") return defaultsOf(field.type.fields);
  const primitive = field.type.primitive;
  if (primitive === "bool") return false;
  if (primitive === "string") return "";
  if (primitive === "uuid") return "A".repeat(22);
  if (primitive === "bytes" || primitive === "records") return new Uint8Array(0);
  return primitive === "bits64" ? 0n : 0;
}

/** A struct with the default in every field. */
export function defaultsOf(fields: Fields): Value {
  return Object.fromEntries(Object.entries(fields).map(([name, each]) => [name, defaultOf(each)]));
}

/** Whether two values of a field are the same, where undefined stands for the default. */
export function isDefault(field: AnyField, value: unknown): boolean {
  if (value === undefined) return true;
  if (field.options.default === null) return value === null;
  if (value === null) return false;
  if (field.type.kind === "array") return (value as unknown[]).length === 0;
  if (field.type.kind === "struct") {
    const struct = value as Value;
    return Object.entries(field.type.fields).every(([name, each]) => isDefault(each, struct[name]));
  }
  return value instanceof Uint8Array ? value.length === 0 : value === defaultOf(field);
}

class TwinReader {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get left(): number {
    return this.#bytes.length - this.at;
  }

  step(count: number): number {
    if (count < 0 || count > this.left) throw new TwinError(`${count} of ${this.left} bytes`);
    this.at += count;
    return this.at - count;
  }

  slice(count: number): Uint8Array {
    const at = this.step(count);
    return this.#bytes.slice(at, at + count);
  }

  integer(bits: 8 | 16 | 32, signed: boolean): number {
    const value = this.slice(bits / 8).reduce((sum, byte) => sum * 256 + byte, 0);
    return signed && value >= 2 ** (bits - 1) ? value - 2 ** bits : value;
  }

  long(): bigint {
    return this.#view.getBigInt64(this.step(8));
  }

  double(): number {
    return this.#view.getFloat64(this.step(8));
  }

  varint(): number {
    let value = 0n;
    for (let i = 0n; i < 5n; i++) {
      const byte = BigInt(this.integer(8, false));
      value |= (byte & 127n) << (7n * i);
      if (byte < 128n) {
        if (value >= 1n << 32n) break;
        return Number(value);
      }
    }
    throw new TwinError("varint is too long");
  }
}

function readLong(reader: TwinReader, field: AnyField): number {
  const value = reader.long();
  // A default beyond the safe integers can only be 2^63 − 1, which is held as the nearest number.
  if (value === longMax && field.options.default === Number(longMax)) return Number(longMax);
  if (value > safeLimit || value < -safeLimit) throw new TwinError(`${value} is not safe`);
  return Number(value);
}

function readLength(reader: TwinReader, bits: 16 | 32, compact: boolean): number {
  return compact ? reader.varint() - 1 : reader.integer(bits, true);
}

function readPrimitive(
  reader: TwinReader,
  primitive: Primitive,
  compact: boolean,
  field: AnyField,
) {
  switch (primitive) {
    case "bool":
      return reader.integer(8, true) !== 0;
    case "int8":
      return reader.integer(8, true);
    case "int16":
      return reader.integer(16, true);
    case "uint16":
      return reader.integer(16, false);
    case "int32":
      return reader.integer(32, true);
    case "uint32":
      return reader.integer(32, false);
    case "int64":
      return readLong(reader, field);
    case "bits64":
      return (BigInt(reader.integer(32, true)) << 32n) | BigInt(reader.integer(32, false));
    case "float64":
      return reader.double();
    case "uuid":
      return btoa(String.fromCharCode(...reader.slice(16)))
        .slice(0, 22).replaceAll("+", "-").replaceAll("/", "_");
    case "string": {
      const length = readLength(reader, 16, compact);
      if (length === -1) return null;
      return new TextDecoder("utf-8", { ignoreBOM: true }).decode(reader.slice(length));
    }
    case "bytes":
    case "records": {
      const length = readLength(reader, 32, compact);
      return length === -1 ? null : reader.slice(length);
    }
  }
}

/** Decodes and encodes one message at one version. */
export class Interpreter {
  readonly #message: Message;
  readonly #version: number;
  readonly #flexible: boolean;
  #elements = 0;

  constructor(message: Message, version: number) {
    if (!isIn(message.versions, version)) throw new TwinError(`no version ${version}`);
    this.#message = message;
    this.#version = version;
    this.#flexible = isIn(message.flexible, version);
  }

  /** Errors: TwinError, also for bytes that are left over. */
  decode(bytes: Uint8Array): Value {
    this.#elements = 0;
    const reader = new TwinReader(bytes);
    const value = this.#readStruct(reader, this.#message.fields);
    if (reader.left > 0) throw new TwinError(`${reader.left} bytes are left over`);
    return value;
  }

  /** Errors: TwinError for a value that the version cannot carry. */
  encode(value: Value): Uint8Array {
    const out: number[] = [];
    this.#writeStruct(out, this.#message.fields, value);
    return Uint8Array.from(out);
  }

  #isTagged(field: AnyField): boolean {
    return isIn(field.options.tagged, this.#version);
  }

  #isCompact(field: AnyField): boolean {
    const own = field.options.flexible;
    return own === undefined ? this.#flexible : isIn(own, this.#version);
  }

  #readStruct(reader: TwinReader, fields: Fields): Value {
    const value = defaultsOf(fields);
    const tagged = new Map<number, [string, AnyField]>();
    for (const [name, field] of Object.entries(fields)) {
      if (!isIn(field.versions, this.#version)) continue;
      if (this.#isTagged(field)) tagged.set(field.options.tag!, [name, field]);
      else value[name] = this.#readField(reader, field);
    }
    if (!this.#flexible) return value;
    const count = reader.varint();
    if (count > 10_000) throw new TwinError(`${count} tagged fields`);
    for (let i = 0; i < count; i++) {
      const known = tagged.get(reader.varint());
      const content = reader.slice(reader.varint());
      if (known === undefined) continue;
      const inner = new TwinReader(content);
      value[known[0]] = this.#readField(inner, known[1]);
      if (inner.left > 0) {
        throw new TwinError(`${inner.left} bytes are left over in a tagged field`);
      }
    }
    return value;
  }

  #readField(reader: TwinReader, field: AnyField): unknown {
    const nullable = isIn(field.options.nullable, this.#version);
    let isNull = false;
    if (field.type.kind === "struct" && nullable) {
      isNull = this.#isTagged(field) ? reader.varint() === 0 : reader.integer(8, true) < 0;
    }
    const value = isNull ? null : this.#readType(reader, field.type, field);
    if (value === null && !nullable) throw new TwinError("null");
    return value;
  }

  #readType(reader: TwinReader, type: FieldType, field: AnyField): unknown {
    const compact = this.#isCompact(field);
    if (type.kind === "struct") return this.#readStruct(reader, type.fields);
    if (type.kind === "primitive") return readPrimitive(reader, type.primitive, compact, field);
    const count = readLength(reader, 32, compact);
    if (count === -1) return null;
    if (count < 0 || count > 1_000_000) throw new TwinError(`${count} elements`);
    const { element } = type;
    const isCounted = element.kind !== "primitive" ||
      ["string", "uuid", "bytes", "records"].includes(element.primitive);
    if (isCounted && (this.#elements += count) > 1_000_000) throw new TwinError("elements");
    const items: unknown[] = [];
    for (let i = 0; i < count; i++) {
      const item = this.#readType(reader, element, field);
      if (item === null) throw new TwinError("null element");
      items.push(item);
    }
    return items;
  }

  #writeStruct(out: number[], fields: Fields, value: Value): void {
    const tagged: [number, number[]][] = [];
    for (const [name, field] of Object.entries(fields)) {
      const member = value[name];
      if (!isIn(field.versions, this.#version)) {
        if (!isDefault(field, member) && field.options.ignorable !== true) {
          throw new TwinError(`${name} is not in version ${this.#version}`);
        }
      } else if (!this.#isTagged(field)) this.#writeField(out, field, member);
      else if (!isDefault(field, member)) {
        const content: number[] = [];
        this.#writeField(content, field, member);
        tagged.push([field.options.tag!, content]);
      }
    }
    if (!this.#flexible) return;
    writeVarint(out, tagged.length);
    for (const [tag, content] of tagged.toSorted(([a], [b]) => a - b)) {
      writeVarint(out, tag);
      writeVarint(out, content.length);
      out.push(...content);
    }
  }

  #writeField(out: number[], field: AnyField, given: unknown): void {
    const value = given === undefined ? defaultOf(field) : given;
    const nullable = isIn(field.options.nullable, this.#version);
    if (value === null && !nullable) throw new TwinError("null");
    if (field.type.kind === "struct" && nullable) {
      if (this.#isTagged(field)) writeVarint(out, value === null ? 0 : 1);
      else writeInteger(out, value === null ? -1 : 1, 8, true);
      if (value === null) return;
    }
    this.#writeType(out, field.type, field, value);
  }

  #writeType(out: number[], type: FieldType, field: AnyField, value: unknown): void {
    const compact = this.#isCompact(field);
    if (type.kind === "struct") return this.#writeStruct(out, type.fields, value as Value);
    if (type.kind === "primitive") return writePrimitive(out, type.primitive, compact, value);
    const items = value as unknown[] | null;
    writeLength(out, items === null ? -1 : items.length, 32, compact);
    for (const item of items ?? []) {
      if (item === null || item === undefined) throw new TwinError("null element");
      this.#writeType(out, type.element, field, item);
    }
  }
}

function writeVarint(out: number[], value: number): void {
  let rest = BigInt(value);
  while (rest > 127n) {
    out.push(Number(rest & 127n) + 128);
    rest >>= 7n;
  }
  out.push(Number(rest));
}

function writeInteger(out: number[], value: unknown, bits: number, signed: boolean): void {
  const lowest = signed ? -(2n ** BigInt(bits - 1)) : 0n;
  if (!Number.isInteger(value)) throw new TwinError(`${value} is no integer`);
  const whole = BigInt(value as number);
  if (whole < lowest || whole >= lowest + 2n ** BigInt(bits)) {
    throw new TwinError(`${value} is out`);
  }
  for (let shift = BigInt(bits) - 8n; shift >= 0n; shift -= 8n) {
    out.push(Number((whole >> shift) & 255n));
  }
}

function writeLength(out: number[], length: number, bits: 16 | 32, compact: boolean): void {
  if (compact) writeVarint(out, length + 1);
  else writeInteger(out, length, bits, true);
}

function writePrimitive(out: number[], primitive: Primitive, compact: boolean, value: unknown) {
  switch (primitive) {
    case "bool":
      if (typeof value !== "boolean") throw new TwinError(`${value} is not bool`);
      return void out.push(value ? 1 : 0);
    case "int8":
      return writeInteger(out, value, 8, true);
    case "int16":
      return writeInteger(out, value, 16, true);
    case "uint16":
      return writeInteger(out, value, 16, false);
    case "int32":
      return writeInteger(out, value, 32, true);
    case "uint32":
      return writeInteger(out, value, 32, false);
    case "int64":
      if (!Number.isSafeInteger(value)) throw new TwinError(`${value} is not safe`);
      return writeInteger(out, value, 64, true);
    case "bits64": {
      const bits = value as bigint;
      writeInteger(out, Number(BigInt.asIntN(32, bits >> 32n)), 32, true);
      return writeInteger(out, Number(BigInt.asUintN(32, bits)), 32, false);
    }
    case "float64": {
      const content = new DataView(new ArrayBuffer(8));
      content.setFloat64(0, value as number);
      return void out.push(...new Uint8Array(content.buffer));
    }
    case "uuid": {
      const base64 = String(value).replaceAll("-", "+").replaceAll("_", "/");
      return void out.push(...[...atob(base64)].map((char) => char.charCodeAt(0)));
    }
    case "string":
      if (value === null) return writeLength(out, -1, 16, compact);
      return writeBytes(out, new TextEncoder().encode(value as string), 16, compact);
    case "bytes":
    case "records":
      if (value === null) return writeLength(out, -1, 32, compact);
      return writeBytes(out, value as Uint8Array, 32, compact);
  }
}

function writeBytes(out: number[], bytes: Uint8Array, bits: 16 | 32, compact: boolean): void {
  writeLength(out, bytes.length, bits, compact);
  for (const byte of bytes) out.push(byte);
}

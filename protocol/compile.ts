/**
 * Turns a message and a version into straight-line code, the first time that the version is seen.
 *
 * Each struct of the message becomes one function per direction, made with `new Function` from the
 * schema alone (never from input). Neighbouring fields of fixed width share one bounds check:
 *
 *     function decode1(r) {
 *       const view = r.dataView;
 *       const at0 = r.take(12);
 *       const $partition = view.getInt32(at0);
 *       const $fetchOffset = r.int64At(at0 + 4);
 *       const $rackId = r.compactString();
 *       …
 *       return { partition: $partition, fetchOffset: $fetchOffset, rackId: $rackId };
 *     }
 *
 * Invariants: a decoded object has every field of the schema, in its order, whatever the version
 * (one shape per struct); fields that the version lacks have their default. An encoder takes
 * undefined for the default and refuses with a WireError what the version or the type cannot carry:
 * a value in a field that the version lacks and may not ignore, null where it is not allowed, a
 * number out of range. Tagged fields go out in the order of their tags and only when they differ
 * from the default; unknown ones are skipped.
 *
 * `tests/protocol/interpreter.ts` is the slow twin, and Kafka's own encodings check both.
 *
 * Source: KIP-482 (flexible versions), KIP-893 (nullable structs), and Kafka's message format.
 */

import { INT64_MAX, Reader, WireError, Writer } from "./bytes.ts";
import type {
  Decoded,
  Encodable,
  Field,
  Fields,
  FieldType,
  Message,
  Primitive,
  VersionRange,
} from "./schema.ts";
import { ZERO_UUID } from "./types.ts";

/** Decoder and encoder of one message at one version. */
export interface Codec<M> {
  /** Shape: byte fields are views into the reader's bytes. Errors: WireError. */
  decode(reader: Reader): Decoded<M>;
  /** Shape: byte fields of 4 KiB and more are kept by reference. Errors: WireError. */
  encode(writer: Writer, value: Encodable<M>): void;
}

/** A range in numbers; `highest` is Infinity for an open one, and below `lowest` for "none". */
export interface Versions {
  readonly lowest: number;
  readonly highest: number;
}

/** Ranges are written in schemas, and asked for with every header: each is read once. */
const ranges = new Map<VersionRange, Versions>();

/** The numbers of a range. */
export function versionsOf(range: VersionRange): Versions {
  let versions = ranges.get(range);
  if (versions === undefined) ranges.set(range, versions = parseRange(range));
  return versions;
}

function parseRange(range: VersionRange): Versions {
  if (range === "none") return { lowest: 0, highest: -1 };
  if (range.endsWith("+")) return { lowest: Number(range.slice(0, -1)), highest: Infinity };
  const [lowest, highest] = range.split("-");
  return { lowest: Number(lowest), highest: Number(highest ?? lowest) };
}

/** Whether a version lies in a range. */
export function inRange(range: VersionRange, version: number): boolean {
  const { lowest, highest } = versionsOf(range);
  return version >= lowest && version <= highest;
}

const codecs = new WeakMap<Message, Codec<unknown>[]>();

/**
 * The codec of a message at a version. Errors: WireError for a version that the message does not
 * have.
 */
export function codec<M extends Message>(message: M, version: number): Codec<M> {
  let versions = codecs.get(message);
  if (versions === undefined) codecs.set(message, versions = []);
  return (versions[version] ??= compile(message, version)) as Codec<M>;
}

/** Encodes one message alone. Errors: WireError. */
export function encodeMessage<M extends Message>(
  message: M,
  version: number,
  value: Encodable<M>,
): Uint8Array {
  const writer = new Writer();
  codec(message, version).encode(writer, value);
  return writer.finish();
}

/** Decodes one message that fills the bytes. Errors: WireError, also when bytes are left over. */
export function decodeMessage<M extends Message>(
  message: M,
  version: number,
  bytes: Uint8Array,
): Decoded<M> {
  const reader = new Reader(bytes);
  const value = codec(message, version).decode(reader);
  if (reader.remaining > 0) {
    throw new WireError(
      `Cannot read ${message.name} version ${version}: ${reader.remaining} bytes follow its end`,
    );
  }
  return value;
}

function compile(message: Message, version: number): Codec<unknown> {
  if (!Number.isInteger(version) || !inRange(message.versions, version)) {
    throw new WireError(
      `Cannot compile ${message.name} version ${version}: it has versions ${message.versions}`,
    );
  }
  const compiler = new Compiler(message, version);
  const root = compiler.structOf(message.fields, message.name);
  const source = `"use strict";\n${compiler.source()}\n` +
    `return { decode: decode${root}, encode: encode${root} };`;
  return new Function("Writer", "EMPTY", "refuse", source)(Writer, EMPTY, refuse);
}

/** Shared by all decoded byte fields that the version lacks. */
const EMPTY = new Uint8Array(0);

/** Called by encoders, with the path of the field and what is asked of its value. */
function refuse(path: string, what: string, value: unknown): never {
  const found = typeof value === "object" && value !== null
    ? Array.isArray(value) ? "an array" : "an object"
    : typeof value === "string"
    ? JSON.stringify(value)
    : String(value);
  throw new WireError(`Cannot write ${path}: it must be ${what}, and is ${found}`);
}

/** A field as it is in one version. */
interface Slot {
  readonly name: string;
  readonly path: string;
  readonly type: FieldType;
  /** "plain" in order, "tagged" in the tagged section, "absent" from the version. */
  readonly place: "plain" | "tagged" | "absent";
  readonly tag: number;
  readonly nullable: boolean;
  readonly compact: boolean;
  readonly ignorable: boolean;
  readonly default: unknown;
}

interface FixedType {
  readonly bytes: number;
  /** Expression that reads from position `at`. */
  read(at: string): string;
  /** Statement that writes `value` to position `at` of writer `w`, whose buffer is `b`. */
  write(w: string, at: string, value: string): string;
  /** Expression that is true for a value that the type cannot carry, and what it must be. */
  wrong(value: string): string;
  readonly must: string;
}

/** Stores of the bytes of an integer into `b`, the writer's buffer, highest first. */
function storeBytes(at: string, value: string, bytes: number): string {
  const store = (i: number) => `b[${at} + ${i}] = ${value} >>> ${8 * (bytes - 1 - i)};`;
  return Array.from({ length: bytes }, (_, i) => store(i)).join(" ");
}

function integer(name: string, bytes: number, narrowed: (v: string) => string, must: string) {
  const type: FixedType = {
    bytes,
    read: (at) => `view.get${name}(${at})`,
    write: (_w, at, value) => storeBytes(at, value, bytes),
    wrong: (value) => `typeof ${value} !== "number" || ${value} !== (${narrowed(value)})`,
    must,
  };
  return type;
}

const fixedTypes: Readonly<Partial<Record<Primitive, FixedType>>> = {
  bool: {
    bytes: 1,
    read: (at) => `view.getInt8(${at}) !== 0`,
    write: (_w, at, value) => `b[${at}] = ${value} ? 1 : 0;`,
    wrong: (value) => `typeof ${value} !== "boolean"`,
    must: "true or false",
  },
  int8: integer("Int8", 1, (v) => `${v} << 24 >> 24`, "an integer of 8 bits"),
  int16: integer("Int16", 2, (v) => `${v} << 16 >> 16`, "an integer of 16 bits"),
  uint16: integer("Uint16", 2, (v) => `${v} & 0xffff`, "an unsigned integer of 16 bits"),
  int32: integer("Int32", 4, (v) => `${v} | 0`, "an integer of 32 bits"),
  uint32: integer("Uint32", 4, (v) => `${v} >>> 0`, "an unsigned integer of 32 bits"),
  int64: {
    bytes: 8,
    read: (at) => `r.int64At(${at})`,
    write: (w, at, value) => `${w}.int64At(${at}, ${value});`,
    wrong: (value) => `!Number.isSafeInteger(${value})`,
    must: "an integer within ±(2^53 − 1)",
  },
  bits64: {
    bytes: 8,
    read: (at) => `view.getBigInt64(${at})`,
    write: (w, at, value) => `${w}.bits64At(${at}, ${value});`,
    wrong: (value) => `typeof ${value} !== "bigint" || ${value} !== BigInt.asIntN(64, ${value})`,
    must: "a bigint of 64 bits",
  },
  float64: {
    bytes: 8,
    read: (at) => `view.getFloat64(${at})`,
    write: (w, at, value) => `${w}.float64At(${at}, ${value});`,
    wrong: (value) => `typeof ${value} !== "number"`,
    must: "a number",
  },
};

function fixedTypeOf(type: FieldType): FixedType | undefined {
  return type.kind === "primitive" ? fixedTypes[type.primitive] : undefined;
}

function zeroOf(type: FieldType): unknown {
  if (type.kind !== "primitive") return undefined;
  switch (type.primitive) {
    case "bool":
      return false;
    case "string":
      return "";
    case "uuid":
      return ZERO_UUID;
    case "bytes":
    case "records":
      return undefined;
    case "bits64":
      return 0n;
    default:
      return 0;
  }
}

/** Writes the functions of all structs of one message at one version. */
class Compiler {
  readonly #version: number;
  readonly #isFlexible: boolean;
  readonly #flexible: VersionRange;
  readonly #structs = new Map<Fields, number>();
  readonly #slots: Slot[][] = [];
  readonly #functions: string[] = [];
  #variables = 0;

  constructor(message: Message, version: number) {
    this.#version = version;
    this.#flexible = message.flexible;
    this.#isFlexible = inRange(message.flexible, version);
  }

  source(): string {
    return this.#functions.join("\n");
  }

  /** Number of a struct's functions, which are written when the struct is first met. */
  structOf(fields: Fields, path: string): number {
    const known = this.#structs.get(fields);
    if (known !== undefined) return known;
    const number = this.#structs.size;
    this.#structs.set(fields, number);
    const slots = Object.entries(fields).map(([name, field]) => this.#slot(name, field, path));
    this.#slots[number] = slots;
    this.#functions.push(
      this.#decoder(number, slots),
      this.#encoder(number, slots),
      this.#defaults(number, slots),
    );
    return number;
  }

  #slot(name: string, field: Field<unknown, unknown>, path: string): Slot {
    const { options, type, versions } = field;
    const version = this.#version;
    const isPresent = inRange(versions, version);
    const isTagged = isPresent && options.tagged !== undefined && inRange(options.tagged, version);
    return {
      name,
      path: `${path}.${name}`,
      type,
      place: isTagged ? "tagged" : isPresent ? "plain" : "absent",
      tag: options.tag ?? -1,
      nullable: options.nullable !== undefined && inRange(options.nullable, version),
      compact: inRange(options.flexible ?? this.#flexible, version),
      ignorable: options.ignorable === true,
      default: options.default === undefined ? zeroOf(type) : options.default,
    };
  }

  #variable(name: string): string {
    return `${name}${this.#variables++}`;
  }

  /** The least number of bytes that a value takes. */
  #leastBytes(type: FieldType, compact: boolean, path: string): number {
    if (type.kind === "array") return compact ? 1 : 4;
    if (type.kind === "primitive") {
      const fixed = fixedTypes[type.primitive];
      if (fixed !== undefined) return fixed.bytes;
      if (type.primitive === "uuid") return 16;
      return compact ? 1 : type.primitive === "string" ? 2 : 4;
    }
    const slots = this.#slots[this.structOf(type.fields, path)]!;
    let bytes = this.#isFlexible ? 1 : 0;
    for (const slot of slots) {
      if (slot.place !== "plain") continue;
      const isMarkedStruct = slot.type.kind === "struct" && slot.nullable;
      bytes += isMarkedStruct ? 1 : this.#leastBytes(slot.type, slot.compact, slot.path);
    }
    return bytes;
  }

  // Defaults ------------------------------------------------------------------------------------

  #default(slot: Slot): string {
    if (slot.default === null) return "null";
    if (slot.type.kind === "array") return "[]";
    if (slot.type.kind === "struct") {
      return `default${this.structOf(slot.type.fields, slot.path)}()`;
    }
    return slot.default === undefined ? "EMPTY" : literal(slot.default);
  }

  /** Expression: whether `value`, which is not undefined, is the default. */
  #isDefault(slot: Slot, value: string): string {
    if (slot.default === null) return `${value} === null`;
    if (slot.type.kind === "struct") {
      const number = this.structOf(slot.type.fields, slot.path);
      return `(${value} !== null && isDefault${number}(${value}))`;
    }
    if (slot.default === undefined) return `(${value} !== null && ${value}.length === 0)`;
    return `${value} === ${literal(slot.default)}`;
  }

  #defaults(number: number, slots: readonly Slot[]): string {
    const members = slots.map((slot) => `${slot.name}: ${this.#default(slot)}`);
    const tests = slots.map((slot) => {
      const value = `m.${slot.name}`;
      return `(${value} === undefined || ${this.#isDefault(slot, value)})`;
    });
    return `function default${number}() { return { ${members.join(", ")} }; }\n` +
      `function isDefault${number}(m) { return ${tests.join(" && ") || "true"}; }`;
  }

  // Decoding ------------------------------------------------------------------------------------

  #decoder(number: number, slots: readonly Slot[]): string {
    const lines: string[] = number === 0 ? ["r.beginMessage();"] : [];
    const plain = slots.filter((slot) => slot.place === "plain");
    for (let i = 0; i < plain.length;) {
      const run = fixedRun(plain, i);
      if (run.length > 0) {
        lines.push(...this.#readRun(run));
        i += run.length;
      } else {
        const slot = plain[i++]!;
        lines.push(`const $${slot.name} = ${this.#readExpression(slot, lines)};`);
      }
    }
    if (this.#isFlexible) lines.push(...this.#readTagged(slots));
    const members = slots.map((slot) =>
      `${slot.name}: ${slot.place === "absent" ? this.#default(slot) : `$${slot.name}`}`
    );
    const view = lines.some((line) => line.includes("view.")) ? "const view = r.dataView;\n" : "";
    return `function decode${number}(r) {\n${view}${lines.join("\n")}\n` +
      `return { ${members.join(", ")} };\n}`;
  }

  #readRun(run: readonly Slot[]): string[] {
    const at = this.#variable("at");
    const lines: string[] = [];
    let bytes = 0;
    for (const slot of run) {
      lines.push(`const $${slot.name} = ${readFixed(slot, `${at} + ${bytes}`)};`);
      bytes += fixedTypeOf(slot.type)!.bytes;
    }
    return [`const ${at} = r.take(${bytes});`, ...lines];
  }

  /** Expression that reads a field; statements that must come before it are pushed to `lines`. */
  #readExpression(slot: Slot, lines: string[]): string {
    const { type, nullable, compact } = slot;
    if (type.kind === "array") return this.#readArray(slot, type.element, lines);
    if (type.kind === "struct") {
      const read = `decode${this.structOf(type.fields, slot.path)}(r)`;
      if (!nullable) return read;
      // The marker is an int8 in order, and a varint in the tagged section.
      return slot.place === "tagged"
        ? `(r.unsignedVarint() === 0 ? null : ${read})`
        : `(r.int8() < 0 ? null : ${read})`;
    }
    if (fixedTypes[type.primitive] !== undefined) {
      const at = this.#variable("at");
      lines.push(`const ${at} = r.take(${fixedTypes[type.primitive]!.bytes});`);
      return readFixed(slot, at);
    }
    return readVariable(type.primitive, nullable, compact);
  }

  #readArray(slot: Slot, element: FieldType, lines: string[]): string {
    const count = this.#variable("count");
    const items = this.#variable("items");
    const least = this.#leastBytes(element, slot.compact, slot.path);
    const length = slot.compact ? "compactArrayLength" : "arrayLength";
    const none = slot.nullable ? `${items} = null;` : `r.nullArray(${JSON.stringify(slot.path)});`;
    lines.push(`const ${count} = r.${length}(${least});`, `let ${items} = [];`);
    const fixed = fixedTypeOf(element);
    const read = element.kind === "struct"
      ? `decode${this.structOf(element.fields, slot.path)}(r)`
      : element.kind === "primitive" && fixed === undefined
      ? readVariable(element.primitive, false, slot.compact)
      : "";
    const loop = fixed === undefined
      ? `r.claimElements(${count}); for (let i = 0; i < ${count}; i++) ${items}.push(${read});`
      : `for (let i = 0, at = r.take(${count} * ${fixed.bytes}); i < ${count}; ` +
        `i++, at += ${fixed.bytes}) ${items}.push(${fixed.read("at")});`;
    lines.push(`if (${count} === -1) { ${none} } else { ${loop} }`);
    return items;
  }

  #readTagged(slots: readonly Slot[]): string[] {
    const tagged = slots.filter((slot) => slot.place === "tagged");
    if (tagged.length === 0) return ["r.skipTaggedFields();"];
    const cases = tagged.map((slot) => {
      const lines: string[] = [];
      lines.push(`$${slot.name} = ${this.#readExpression(slot, lines)};`);
      return `case ${slot.tag}: {\n${lines.join("\n")}\nbreak;\n}`;
    });
    return [
      ...tagged.map((slot) => `let $${slot.name} = ${this.#default(slot)};`),
      "for (let n = r.taggedFieldCount(); n > 0; n--) {",
      "const tag = r.unsignedVarint(), size = r.unsignedVarint(), end = r.position + size;",
      `switch (tag) {\n${cases.join("\n")}\ndefault: r.take(size);\n}`,
      "if (r.position !== end) r.wrongTagSize(tag, size, end);",
      "}",
    ];
  }

  // Encoding ------------------------------------------------------------------------------------

  #encoder(number: number, slots: readonly Slot[]): string {
    const lines: string[] = [];
    for (const slot of slots) {
      if (slot.place !== "absent" || slot.ignorable) continue;
      const value = `m.${slot.name}`;
      const must = `the default, as version ${this.#version} lacks it`;
      lines.push(
        `if (${value} !== undefined && !(${this.#isDefault(slot, value)})) ` +
          `${refusal(slot.path, must, value)}`,
      );
    }
    const plain = slots.filter((slot) => slot.place === "plain");
    for (let i = 0; i < plain.length;) {
      const run = fixedRun(plain, i);
      if (run.length > 0) lines.push(...this.#writeRun(run));
      else {
        const slot = plain[i]!;
        lines.push(`let $${slot.name} = m.${slot.name};`);
        lines.push(`if ($${slot.name} === undefined) $${slot.name} = ${this.#default(slot)};`);
        lines.push(...this.#write(slot, "w", `$${slot.name}`));
      }
      i += run.length || 1;
    }
    if (this.#isFlexible) lines.push(...this.#writeTagged(slots));
    return `function encode${number}(w, m) {\n${lines.join("\n")}\n}`;
  }

  #writeRun(run: readonly Slot[]): string[] {
    const at = this.#variable("at");
    const checks: string[] = [];
    const writes: string[] = [];
    let bytes = 0;
    for (const slot of run) {
      const value = `$${slot.name}`;
      const fixed = fixedTypeOf(slot.type)!;
      checks.push(
        `let ${value} = m.${slot.name};`,
        `if (${value} === undefined) ${value} = ${this.#default(slot)};`,
        `if (${fixed.wrong(value)}) ${refusal(slot.path, fixed.must, value)}`,
      );
      writes.push(fixed.write("w", `${at} + ${bytes}`, value));
      bytes += fixed.bytes;
    }
    return [
      ...checks,
      `const ${at} = w.reserve(${bytes});`,
      "{ const b = w.bytes;",
      ...writes,
      "}",
    ];
  }

  /** Statements that check a value, which is not undefined, and write it with writer `w`. */
  #write(slot: Slot, w: string, value: string): string[] {
    const { type, path, nullable } = slot;
    if (type.kind === "array") return this.#writeArray(slot, type.element, w, value);
    if (type.kind === "primitive") return writePrimitive(slot, type.primitive, w, value);
    const object = `typeof ${value} !== "object"${nullable ? "" : ` || ${value} === null`}`;
    const check = `if (${object}) ${refusal(path, mustBe("an object", nullable), value)}`;
    const write = `encode${this.structOf(type.fields, path)}(${w}, ${value});`;
    if (!nullable) return [check, write];
    const [none, some] = slot.place === "tagged"
      ? [`${w}.unsignedVarint(0);`, `${w}.unsignedVarint(1);`]
      : [`${w}.int8(-1);`, `${w}.int8(1);`];
    return [check, `if (${value} === null) { ${none} } else { ${some} ${write} }`];
  }

  #writeArray(slot: Slot, element: FieldType, w: string, value: string): string[] {
    const { path, nullable, compact } = slot;
    const length = compact ? "compactArrayLength" : "arrayLength";
    const item = this.#variable("item");
    const itemSlot: Slot = { ...slot, type: element, nullable: false, place: "plain" };
    const isArray = `Array.isArray(${value})`;
    const wrong = nullable ? `${value} !== null && !${isArray}` : `!${isArray}`;
    return [
      `if (${wrong}) ${refusal(path, mustBe("an array", nullable), value)}`,
      `if (${value} === null) { ${w}.${length}(-1); } else {`,
      `${w}.${length}(${value}.length);`,
      `for (let i = 0; i < ${value}.length; i++) {`,
      `const ${item} = ${value}[i];`,
      ...this.#write(itemSlot, w, item),
      "} }",
    ];
  }

  #writeTagged(slots: readonly Slot[]): string[] {
    const tagged = slots.filter((slot) => slot.place === "tagged").sort((a, b) => a.tag - b.tag);
    const lines: string[] = ["let tags = 0;"];
    for (const slot of tagged) {
      const value = `$${slot.name}`;
      lines.push(
        `const ${value} = m.${slot.name};`,
        `const has${value} = ${value} !== undefined && !(${this.#isDefault(slot, value)});`,
        `if (has${value}) tags++;`,
      );
    }
    lines.push("w.unsignedVarint(tags);");
    for (const slot of tagged) {
      lines.push(
        `if (has$${slot.name}) {`,
        "const s = new Writer();",
        ...this.#write(slot, "s", `$${slot.name}`),
        `w.unsignedVarint(${slot.tag});`,
        "w.unsignedVarint(s.length);",
        "w.append(s);",
        "}",
      );
    }
    return lines;
  }
}

/** The fields of fixed width from `from` on, up to the first of another kind. */
function fixedRun(slots: readonly Slot[], from: number): Slot[] {
  let end = from;
  while (end < slots.length && fixedTypeOf(slots[end]!.type) !== undefined) end++;
  return slots.slice(from, end);
}

/** A default as it stands in the compiled source. */
function literal(value: unknown): string {
  return typeof value === "bigint" ? `${value}n` : JSON.stringify(value);
}

function readFixed(slot: Slot, at: string): string {
  return slot.default === INT64_MAX ? `r.int64OrMaxAt(${at})` : fixedTypeOf(slot.type)!.read(at);
}

function readVariable(primitive: Primitive, nullable: boolean, compact: boolean): string {
  if (primitive === "uuid") return "r.uuid()";
  if (primitive === "string") {
    if (nullable) return compact ? "r.nullableCompactString()" : "r.nullableString()";
    return compact ? "r.compactString()" : "r.string()";
  }
  if (nullable) return compact ? "r.nullableCompactBytes()" : "r.nullableBytes()";
  return compact ? "r.compactBytes()" : "r.requiredBytes()";
}

function writePrimitive(slot: Slot, primitive: Primitive, w: string, value: string): string[] {
  const { path, nullable, compact } = slot;
  const fixed = fixedTypes[primitive];
  if (fixed !== undefined) {
    // Reserve first: it can replace the buffer that is then written to.
    return [
      `if (${fixed.wrong(value)}) ${refusal(path, fixed.must, value)}`,
      `{ const at = ${w}.reserve(${fixed.bytes}), b = ${w}.bytes; ${fixed.write(w, "at", value)} }`,
    ];
  }
  const isText = primitive === "string" || primitive === "uuid";
  const wrong = isText ? `typeof ${value} !== "string"` : `!(${value} instanceof Uint8Array)`;
  const must = mustBe(isText ? `a ${primitive}` : "bytes", nullable);
  const condition = nullable ? `${value} !== null && ${wrong}` : wrong;
  const method = primitive === "uuid"
    ? "uuid"
    : `nullable${compact ? "Compact" : ""}${primitive === "string" ? "String" : "Bytes"}`;
  return [`if (${condition}) ${refusal(path, must, value)}`, `${w}.${method}(${value});`];
}

function mustBe(what: string, nullable: boolean): string {
  return nullable ? `${what} or null` : what;
}

function refusal(path: string, must: string, value: string): string {
  return `refuse(${JSON.stringify(path)}, ${JSON.stringify(must)}, ${value});`;
}

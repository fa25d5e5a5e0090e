/**
 * The typed language in which every Kafka message is described, once.
 *
 * A message is a name, its valid and flexible versions, and its fields in wire order. The TypeScript
 * types follow by inference: `Decoded<typeof fetchRequest>` is what a decoder gives, `Encodable<…>` what
 * an encoder takes. `compile.ts` turns a message and a version into straight-line code.
 *
 *     export const heartbeatRequest = message(
 *       { name: "HeartbeatRequest", apiKey: 12, versions: "0-4", flexible: "4+" },
 *       {
 *         groupId: string("0+", { entity: "groupId" }),
 *         generationId: int32("0+"),
 *         memberId: string("0+"),
 *         groupInstanceId: string("3+", { nullable: "3+", default: null }), // KIP-345: static members
 *       },
 *     );
 *
 * Source: the message format of Kafka (KIP-482 for flexible versions and tagged fields).
 */

import type { Uuid } from "./types.ts";

/** "3" is one version, "3-5" a closed range, "3+" everything from 3, "none" no version. */
export type VersionRange = `${number}` | `${number}-${number}` | `${number}+` | "none";

/** What a string, int32 … means, where Kafka's schema says so. */
export type EntityType =
  | "brokerId"
  | "groupId"
  | "producerId"
  | "topicName"
  | "transactionalId";

/** What can be said of a field besides its type and versions. */
export interface FieldOptions<T> {
  /** Versions in which null may stand for it. */
  readonly nullable?: VersionRange;
  /** The value of the field in versions that lack it; else 0, "", false, [] or an empty struct. */
  readonly default?: T | null;
  /** Tag number; the field then travels in the tagged section in versions `tagged`. */
  readonly tag?: number;
  readonly tagged?: VersionRange;
  /** True when a value may be dropped silently in a version that lacks the field. */
  readonly ignorable?: true;
  readonly entity?: EntityType;
  /** True for the field by which Kafka's own implementation indexes the array. */
  readonly mapKey?: true;
  /** Overrides the message's flexible versions for this field (RequestHeader.clientId). */
  readonly flexible?: VersionRange;
}

/** Primitive wire types and the TypeScript type of each. */
export interface PrimitiveTypes {
  bool: boolean;
  int8: number;
  int16: number;
  uint16: number;
  int32: number;
  uint32: number;
  int64: number;
  /** 64 bits of which none may be lost: a hash. */
  bits64: bigint;
  float64: number;
  string: string;
  uuid: Uuid;
  bytes: Uint8Array;
  /** Record batches, kept as bytes. */
  records: Uint8Array;
}
/** The name of a primitive wire type. */
export type Primitive = keyof PrimitiveTypes;

/** The type of a field or of an array's elements. */
export type FieldType =
  | { readonly kind: "primitive"; readonly primitive: Primitive }
  | { readonly kind: "struct"; readonly fields: Fields }
  | { readonly kind: "array"; readonly element: FieldType };

declare const decoded: unique symbol;
declare const encodable: unique symbol;

/** A field of a message. The phantom members carry its types and whether an encoder may omit it. */
export interface Field<D, E, Optional extends boolean = boolean> {
  readonly type: FieldType;
  readonly versions: VersionRange;
  readonly options: FieldOptions<unknown>;
  readonly optional?: Optional;
  readonly [decoded]?: D;
  readonly [encodable]?: E;
}

/** Fields by name, in wire order. */
// deno-lint-ignore no-explicit-any -- a field's types are invariant; any is the only top type here
export type Fields = { readonly [name: string]: Field<any, any, boolean> };

type Nullable<T, O> = O extends { readonly nullable: VersionRange } ? T | null : T;
/** A field that some version lacks may be left out; so may one with a default, a tag or "ignorable". */
type IsOptional<V, O> = V extends "0+" ? HasDefault<O> : true;
type HasDefault<O> = O extends { readonly default: unknown } ? true
  : O extends { readonly tag: number } ? true
  : O extends { readonly ignorable: true } ? true
  : false;

type DecodedFields<F extends Fields> = {
  [K in keyof F]: F[K] extends Field<infer D, unknown, boolean> ? D : never;
};
type OptionalKeys<F extends Fields> = {
  [K in keyof F]: F[K] extends Field<unknown, unknown, infer O> ? (O extends true ? K : never)
    : never;
}[keyof F];
type EncodableOf<T> = T extends Field<unknown, infer E, boolean> ? E : never;
type EncodableFields<F extends Fields> =
  & { readonly [K in Exclude<keyof F, OptionalKeys<F>>]: EncodableOf<F[K]> }
  & { readonly [K in OptionalKeys<F>]?: EncodableOf<F[K]> | undefined };

/** Head of a message. */
export interface MessageHead {
  readonly name: string;
  /** API key, or the record type of a metadata or coordinator record. */
  readonly apiKey?: number;
  readonly versions: VersionRange;
  /** Versions with compact lengths and tagged fields. */
  readonly flexible: VersionRange;
}

/** A whole message. */
export interface Message<F extends Fields = Fields> extends MessageHead {
  readonly fields: F;
}

/** What decoding a message gives: every field, those missing from the version with their default. */
export type Decoded<M> = M extends Message<infer F> ? DecodedFields<F> : never;
/** What encoding a message takes: fields with a default, tagged or ignorable may be left out. */
export type Encodable<M> = M extends Message<infer F> ? EncodableFields<F> : never;

/** Describes a message. */
export function message<const F extends Fields>(head: MessageHead, fields: F): Message<F> {
  return { ...head, fields };
}

type PrimitiveField<T, V, O> = Field<Nullable<T, O>, Nullable<T, O>, IsOptional<V, O>>;

function primitive<P extends Primitive>(name: P) {
  const type: FieldType = { kind: "primitive", primitive: name };
  return function <
    const V extends VersionRange,
    const O extends FieldOptions<PrimitiveTypes[P]> = Record<never, never>,
  >(versions: V, options?: O): PrimitiveField<PrimitiveTypes[P], V, O> {
    return { type, versions, options: options ?? {} };
  };
}

/** The primitive fields: a range of versions, and what else there is to say. */
export const bool = primitive("bool");
export const int8 = primitive("int8");
export const int16 = primitive("int16");
export const uint16 = primitive("uint16");
export const int32 = primitive("int32");
export const uint32 = primitive("uint32");
/** Errors: the decoder refuses what lies beyond ±(2^53 − 1). */
export const int64 = primitive("int64");
/** An int64 whose 64 bits must all survive (a hash), as a signed bigint. */
export const bits64 = primitive("bits64");
export const float64 = primitive("float64");
export const string = primitive("string");
export const uuid = primitive("uuid");
/** Decoded as a view into the frame. */
export const bytes = primitive("bytes");
/** Record batches, decoded as a view into the frame. */
export const records = primitive("records");

/** A struct as a field. */
export function struct<
  const V extends VersionRange,
  const F extends Fields,
  const O extends FieldOptions<never> = Record<never, never>,
>(
  versions: V,
  fields: F,
  options?: O,
): Field<Nullable<DecodedFields<F>, O>, Nullable<EncodableFields<F>, O>, IsOptional<V, O>> {
  return { type: { kind: "struct", fields }, versions, options: options ?? {} };
}

/** An array of structs, or of a primitive named by its wire type. */
export function array<
  const V extends VersionRange,
  const T extends Fields | Primitive,
  const O extends FieldOptions<readonly never[]> = Record<never, never>,
>(
  versions: V,
  element: T,
  options?: O,
): Field<
  Nullable<ElementDecoded<T>[], O>,
  Nullable<readonly ElementEncodable<T>[], O>,
  IsOptional<V, O>
> {
  const type: FieldType = typeof element === "string"
    ? { kind: "primitive", primitive: element }
    : { kind: "struct", fields: element as Fields };
  return { type: { kind: "array", element: type }, versions, options: options ?? {} };
}
type ElementDecoded<T> = T extends Primitive ? PrimitiveTypes[T]
  : T extends Fields ? DecodedFields<T>
  : never;
type ElementEncodable<T> = T extends Primitive ? PrimitiveTypes[T]
  : T extends Fields ? EncodableFields<T>
  : never;

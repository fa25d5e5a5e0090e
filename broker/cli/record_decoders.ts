/**
 * Records of the cluster's own topics as plain values, for `weir log dump`.
 *
 * Everything comes from the schemas: a coordinator's key starts with the record type, its value with the version of the
 * value; a metadata record is framed by frame version, type and version.
 */

import { Reader, WireError } from "../../protocol/bytes.ts";
import { codec, inRange } from "../../protocol/compile.ts";
import type { KafkaRecord } from "../../protocol/records.ts";
import type { Message } from "../../protocol/schema.ts";
import * as groupSchemas from "../../protocol/schemas/records/group.ts";
import * as metadataSchemas from "../../protocol/schemas/records/metadata.ts";
import * as shareSchemas from "../../protocol/schemas/records/share.ts";
import * as streamsSchemas from "../../protocol/schemas/records/streams.ts";
import * as transactionSchemas from "../../protocol/schemas/records/transaction.ts";

/** What the records of a log mean. */
export const DECODINGS = ["auto", "offsets", "transactions", "shares", "metadata", "none"] as const;
export type Decoding = (typeof DECODINGS)[number];

/** A record in words: its kind and the fields of its key and value. */
export interface DecodedRecord {
  readonly type: string;
  readonly key?: unknown;
  /** Null for a tombstone. */
  readonly value: unknown;
}

const DIRECTORIES: readonly (readonly [string, Decoding])[] = [
  ["__consumer_offsets-", "offsets"],
  ["__transaction_state-", "transactions"],
  ["__share_group_state-", "shares"],
  ["__cluster_metadata-", "metadata"],
];

/** The decoding that fits the directory of a log file. */
export function decodingFor(path: string): Decoding {
  const directory = path.split("/").at(-2) ?? "";
  return DIRECTORIES.find(([prefix]) => directory.startsWith(prefix))?.[1] ?? "none";
}

type Table = ReadonlyMap<number, Message>;

function tableOf(modules: readonly object[], suffix: string): Table {
  const messages = modules.flatMap((module) => Object.values(module) as Message[]);
  return new Map(
    messages.filter(({ name }) => name.endsWith(suffix)).map((message) => [
      message.apiKey!,
      message,
    ]),
  );
}

/** The share coordinator's own records number their types anew, in another topic. */
const isShareGroup = (name: string) => name.startsWith("shareGroup");
const groupModules = [groupSchemas, pick(shareSchemas, isShareGroup), streamsSchemas];
const shareModules = [pick(shareSchemas, (name) => !isShareGroup(name))];
const TABLES = {
  offsets: { keys: tableOf(groupModules, "Key"), values: tableOf(groupModules, "Value") },
  transactions: {
    keys: tableOf([transactionSchemas], "LogKey"),
    values: tableOf([transactionSchemas], "LogValue"),
  },
  shares: { keys: tableOf(shareModules, "Key"), values: tableOf(shareModules, "Value") },
} as const;
const metadataTable = tableOf([metadataSchemas], "Record");

function pick(module: object, isWanted: (name: string) => boolean): object {
  return Object.fromEntries(Object.entries(module).filter(([name]) => isWanted(name)));
}

/** Decodes one record. Errors: WireError for a kind or version that is unknown, or damage. */
export function decodeRecord(
  record: Pick<KafkaRecord, "key" | "value">,
  decoding: Exclude<Decoding, "auto" | "none">,
): DecodedRecord {
  if (decoding === "metadata") return decodeMetadata(record.value);
  const { keys, values } = TABLES[decoding];
  if (record.key === null) throw new WireError("Cannot decode record: it has no key");
  const reader = new Reader(record.key);
  const type = reader.int16();
  const keyMessage = keys.get(type);
  const valueMessage = values.get(type);
  if (keyMessage === undefined || valueMessage === undefined) {
    throw new WireError(`Cannot decode record: type ${type} is unknown`);
  }
  const key = plain(codec(keyMessage, 0).decode(reader));
  const name = keyMessage.name.replace(/(Log)?Key$/, "");
  if (record.value === null) return { type: name, key, value: null };
  const valueReader = new Reader(record.value);
  const version = valueReader.int16();
  return { type: name, key, value: plain(decodeAt(valueMessage, version, valueReader)) };
}

function decodeMetadata(value: Uint8Array | null): DecodedRecord {
  if (value === null) throw new WireError("Cannot decode metadata record: it has no value");
  const reader = new Reader(value);
  reader.unsignedVarint();
  const type = reader.unsignedVarint();
  const version = reader.unsignedVarint();
  const message = metadataTable.get(type);
  if (message === undefined) {
    throw new WireError(`Cannot decode metadata record: type ${type} is unknown`);
  }
  return { type: message.name, value: plain(decodeAt(message, version, reader)) };
}

function decodeAt(message: Message, version: number, reader: Reader): unknown {
  if (!inRange(message.versions, version)) {
    throw new WireError(`Cannot decode ${message.name}: version ${version} is unknown`);
  }
  return codec(message, version).decode(reader);
}

/** Bytes as base64, so that the value can be printed as JSON. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return value.toBase64();
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plain(field)]));
}

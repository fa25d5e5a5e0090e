/**
 * Which records a search finds.
 *
 *     paid                 key, value or a header holds the text, in capitals or not
 *     "part of a sentence" the same
 *     key:alice            the key holds it; also value: and header:
 *     $.total = 12         the value is JSON, and has this at that place; also != < <= > >=
 *
 * Several, with spaces between them, must all hold.
 */

import type { KafkaRecord } from "../../../protocol/records.ts";
import { ClientError } from "../../client/client_error.ts";

/** True for a record that is looked for. */
export type RecordFilter = (record: KafkaRecord) => boolean;

const OPERATORS = ["=", "!=", "<=", ">=", "<", ">"] as const;
type Operator = (typeof OPERATORS)[number];

const TERM =
  /\s*(?:(\$(?:\.[\w$-]+|\[\d+\])+)\s*(!=|<=|>=|=|<|>)\s*("(?:[^"\\]|\\.)*"|\S+)|(?:(key|value|header):)?("(?:[^"\\]|\\.)*"|\S+))/gy;

const decoder = new TextDecoder();

/** Reads a search; null for an empty one. Errors: ClientError for what is none. */
export function parseFilter(text: string): RecordFilter | null {
  const filters = [...text.trim().matchAll(TERM)].map(
    ([, path, operator, operand = "", field, sought = ""]) =>
      path === undefined
        ? holds(unquote(sought), field)
        : compares(pathOf(path), operator as Operator, operandOf(operand)),
  );
  if (filters.length === 0) return null;
  return (record) => filters.every((filter) => filter(record));
}

function unquote(text: string): string {
  if (!text.startsWith('"')) return text;
  if (text.length < 2 || !text.endsWith('"')) {
    throw new ClientError(`Cannot search for ${text}: the quotation mark is not closed`);
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ClientError(`Cannot search for ${text}: between quotation marks, write \\\\ for \\`, {
      cause,
    });
  }
}

function holds(text: string, field: string | undefined): RecordFilter {
  const sought = text.toLowerCase();
  const isIn = (bytes: Uint8Array | null) =>
    bytes !== null && decoder.decode(bytes).toLowerCase().includes(sought);
  const isInHeader = ({ headers }: KafkaRecord) =>
    headers.some(({ key, value }) => key.toLowerCase().includes(sought) || isIn(value));
  switch (field) {
    case "key":
      return ({ key }) => isIn(key);
    case "value":
      return ({ value }) => isIn(value);
    case "header":
      return isInHeader;
    default:
      return (record) => isIn(record.key) || isIn(record.value) || isInHeader(record);
  }
}

/** `$.items[0].name` as its steps. */
function pathOf(text: string): readonly string[] {
  return [...text.matchAll(/\.([\w$-]+)|\[(\d+)\]/g)].map(([, name, index]) => name ?? index!);
}

/** A number, a word of JSON, a text in quotation marks, or a text as it is. */
function operandOf(text: string): unknown {
  if (text.startsWith('"')) return unquote(text);
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function compares(path: readonly string[], operator: Operator, operand: unknown): RecordFilter {
  return ({ value }) => {
    const found = at(path, value);
    if (found === undefined) return false;
    switch (operator) {
      case "=":
        return found === operand;
      case "!=":
        return found !== operand;
      default:
        return isOrdered(found, operand, operator);
    }
  };
}

/** What a JSON value has at a place; undefined where it has nothing, or is no JSON. */
function at(path: readonly string[], value: Uint8Array | null): unknown {
  if (value === null) return undefined;
  let found: unknown;
  try {
    found = JSON.parse(decoder.decode(value));
  } catch {
    return undefined;
  }
  for (const step of path) {
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, step)) {
      return undefined;
    }
    found = (found as Record<string, unknown>)[step];
  }
  return found;
}

function isOrdered(found: unknown, operand: unknown, operator: Exclude<Operator, "=" | "!=">) {
  const isComparable = (typeof found === "number" && typeof operand === "number") ||
    (typeof found === "string" && typeof operand === "string");
  if (!isComparable) return false;
  const [a, b] = [found as number, operand as number];
  switch (operator) {
    case "<":
      return a < b;
    case "<=":
      return a <= b;
    case ">":
      return a > b;
    case ">=":
      return a >= b;
  }
}

/**
 * What one setting is, and how its text is read.
 *
 * Every table of settings (`broker_settings.ts`, `topic_settings.ts`, `group_settings.ts`) is made of
 * `Setting` values; the literal types stay visible, so that a caller who asks for a number can only name
 * a numeric setting. Values are kept as text, exactly as given: 9223372036854775807 cannot be a number
 * here, and clients who ask for it must see all its digits.
 *
 * Source: the validators of Kafka's ConfigDef, whose error texts tools show to people.
 */

/** Kafka's value types that occur in our tables. */
export type SettingType =
  | "boolean"
  | "short"
  | "int"
  | "long"
  | "double"
  | "string"
  | "list"
  | "password";

/** How a running broker takes a new value: not at all, for one broker, or for all of them. */
export type UpdateMode = "read-only" | "per-broker" | "cluster-wide";

/** What a number counts; "none" for plain counts, ratios and levels. */
export type Unit = "bytes" | "ms" | "minutes" | "hours" | "none";

/** What may be said about a setting beyond its type and default. */
export interface SettingDetails {
  /** One sentence in our words. */
  readonly doc: string;
  readonly unit?: Unit;
  readonly min?: number;
  readonly max?: number;
  /** A value that is fine although it lies outside [min, max]. */
  readonly alsoAllowed?: number;
  /** The words allowed, for a string; for a list, the words that may stand in it. */
  readonly allowed?: readonly string[];
  /** A further rule; returns what is wrong with the value, in Kafka's words where it has some. */
  readonly check?: (value: string) => string | null;
  readonly mode?: UpdateMode;
  readonly importance?: "high" | "medium" | "low";
  /** True when the value is kept and shown, and nothing acts on it so far. */
  readonly pending?: true;
}

/** One row of a table. `Default` is null where Kafka has no default. */
export interface Setting<
  Type extends SettingType = SettingType,
  Default extends string | null = string | null,
> extends SettingDetails {
  readonly type: Type;
  readonly default: Default;
}

/** Largest value of Kafka's `int`. */
export const INT_MAX = 2_147_483_647;
/** Largest value of Kafka's `long`, as text. */
export const LONG_MAX = "9223372036854775807";
const SHORT_RANGE = { min: -(2n ** 15n), max: 2n ** 15n - 1n, kind: "SHORT" } as const;
const INT_RANGE = { min: -(2n ** 31n), max: 2n ** 31n - 1n, kind: "INT" } as const;
const LONG_RANGE = { min: -(2n ** 63n), max: 2n ** 63n - 1n, kind: "LONG" } as const;

/** Row makers, one per type: `int("4096", { min: 0, doc: "…" })`. */
export const int = <D extends string | null>(
  defaultValue: D,
  details: SettingDetails,
): Setting<"int", D> => ({ ...details, type: "int", default: defaultValue });
/** A 16-bit number. */
export const short = <D extends string | null>(
  defaultValue: D,
  details: SettingDetails,
): Setting<"short", D> => ({ ...details, type: "short", default: defaultValue });
/** A 64-bit number. */
export const long = <D extends string | null>(
  defaultValue: D,
  details: SettingDetails,
): Setting<"long", D> => ({ ...details, type: "long", default: defaultValue });
/** A floating-point number. */
export const double = <D extends string | null>(
  defaultValue: D,
  details: SettingDetails,
): Setting<"double", D> => ({ ...details, type: "double", default: defaultValue });
/** True or false. */
export const boolean = <D extends "true" | "false">(
  defaultValue: D,
  details: SettingDetails,
): Setting<"boolean", D> => ({ ...details, type: "boolean", default: defaultValue });
/** Text. */
export const string = <D extends string | null>(
  defaultValue: D,
  details: SettingDetails,
): Setting<"string", D> => ({ ...details, type: "string", default: defaultValue });
/** Words with commas between them. */
export const list = <D extends string | null>(
  defaultValue: D,
  details: SettingDetails,
): Setting<"list", D> => ({ ...details, type: "list", default: defaultValue });
/** Text that is never shown. */
export const password = <D extends string | null>(
  defaultValue: D,
  details: SettingDetails,
): Setting<"password", D> => ({ ...details, type: "password", default: defaultValue });

/** The words of a list value: split at commas, trimmed; empty text is the empty list. */
export function parseList(text: string): string[] {
  return text.trim() === "" ? [] : text.split(",").map((word) => word.trim());
}

/** True for "true" in any case; the text must have passed `settingProblem`. */
export function parseBoolean(text: string): boolean {
  return text.trim().toLowerCase() === "true";
}

/**
 * The number in a value that has passed `settingProblem`. What a safe integer cannot hold becomes the
 * nearest safe integer: Kafka's "for ever" and "without bound" stay larger than anything they bound.
 */
export function parseNumber(text: string): number {
  const value = Number(text.trim());
  if (Number.isInteger(value) || Math.abs(value) > Number.MAX_SAFE_INTEGER) {
    return Math.min(Math.max(value, -Number.MAX_SAFE_INTEGER), Number.MAX_SAFE_INTEGER);
  }
  return value;
}

/**
 * What is wrong with `text` as a value of the setting called `name`.
 *
 * Returns: null when it is fine, or a sentence in Kafka's words.
 */
export function settingProblem(name: string, setting: Setting, text: string): string | null {
  const problem = valueProblem(setting, text);
  return problem === null
    ? null
    : `Invalid value ${shownValue(setting, text)} for configuration ${name}: ${problem}`;
}

/** Values allowed, for people: "[1048576,...]", "compact, delete". Empty when anything goes. */
export function allowedValues(setting: Setting): string {
  if (setting.allowed !== undefined) return setting.allowed.join(", ");
  const { min, max, alsoAllowed } = setting;
  if (min === undefined && max === undefined) return "";
  const range = `[${min ?? ""},...${max === undefined ? "" : `,${max}`}]`;
  return alsoAllowed === undefined ? range : `${range} or ${alsoAllowed}`;
}

function shownValue(setting: Setting, text: string): string {
  return setting.type === "password" ? "[hidden]" : text;
}

function valueProblem(setting: Setting, text: string): string | null {
  switch (setting.type) {
    case "boolean":
      return /^\s*(true|false)\s*$/i.test(text)
        ? null
        : "Expected value to be either true or false";
    case "short":
      return integerProblem(text, SHORT_RANGE) ??
        boundsProblem(setting, Number(text)) ?? setting.check?.(text) ?? null;
    case "int":
      return integerProblem(text, INT_RANGE) ??
        boundsProblem(setting, Number(text)) ?? setting.check?.(text) ?? null;
    case "long":
      return integerProblem(text, LONG_RANGE) ??
        boundsProblem(setting, Number(text)) ?? setting.check?.(text) ?? null;
    case "double":
      if (text.trim() === "" || !Number.isFinite(Number(text))) {
        return "Not a number of type DOUBLE";
      }
      return boundsProblem(setting, Number(text)) ?? setting.check?.(text) ?? null;
    case "string":
    case "password":
      return wordProblem(setting, text) ?? setting.check?.(text) ?? null;
    case "list":
      return listProblem(setting, parseList(text)) ?? setting.check?.(text) ?? null;
  }
}

function integerProblem(
  text: string,
  { min, max, kind }: { min: bigint; max: bigint; kind: string },
): string | null {
  const digits = text.trim();
  if (!/^[+-]?[0-9]{1,20}$/.test(digits)) return `Not a number of type ${kind}`;
  const value = BigInt(digits.startsWith("+") ? digits.slice(1) : digits);
  return value < min || value > max ? `Not a number of type ${kind}` : null;
}

function boundsProblem(setting: Setting, value: number): string | null {
  if (setting.alsoAllowed === value) return null;
  if (setting.min !== undefined && value < setting.min) {
    return `Value must be at least ${setting.min}`;
  }
  if (setting.max !== undefined && value > setting.max) {
    return `Value must be no more than ${setting.max}`;
  }
  return null;
}

function wordProblem(setting: Setting, word: string): string | null {
  if (setting.allowed === undefined || setting.allowed.includes(word.trim())) return null;
  return `String must be one of: ${setting.allowed.join(", ")}`;
}

function listProblem(setting: Setting, words: readonly string[]): string | null {
  if (words.includes("")) return "Configuration values must not be empty.";
  for (const word of words) {
    const problem = wordProblem(setting, word);
    if (problem !== null) return problem;
  }
  if (setting.allowed !== undefined && new Set(words).size !== words.length) {
    return "Configuration values must not be duplicated.";
  }
  return null;
}

/**
 * Log lines: `Logger` on top of logtape.
 *
 * A line is a constant sentence with named values, so that lines can be searched and counted: people read
 * `21:04:05.123 INFO server: Connection closed  remoteAddress=10.0.0.7 kind=idle`, machines one JSON
 * object a line. Where lines go is handed in: writing never waits (`log_output_bun.ts`).
 *
 * logtape keeps its configuration for the whole process, so there is one log a process.
 */

import {
  configureSync,
  getJsonLinesFormatter,
  getLogger,
  type Logger as LogtapeLogger,
  type LogRecord,
  type TextFormatter,
} from "@logtape/logtape";
import type { Logger } from "../../storage/platform.ts";

/** What a line may look like. */
export type LogFormat = "text" | "json";
/** Least level that is written. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** Takes whole lines, each with its line feed. Must return at once. */
export type WriteLine = (line: string) => void;

/** Named values of a line. */
type Fields = Readonly<Record<string, unknown>>;

const ROOT = "weir";
const LEVEL_WORDS: Readonly<Record<string, string>> = {
  debug: "DEBUG",
  info: "INFO ",
  warning: "WARN ",
  error: "ERROR",
};
const LEVEL_COLORS: Readonly<Record<string, string>> = {
  debug: "\u001b[2m",
  warning: "\u001b[33m",
  error: "\u001b[31m",
};
const COLOR_END = "\u001b[0m";

/** Sets up the log of this process, anew when called again, and gives its root. */
export function configureLog(
  { format, level, useColor = false, write }: {
    readonly format: LogFormat;
    readonly level: LogLevel;
    /** Colours warnings and errors of the text format. */
    readonly useColor?: boolean;
    readonly write: WriteLine;
  },
): Logger {
  const formatter = format === "json"
    ? getJsonLinesFormatter({ properties: "flatten", categorySeparator: "." })
    : textFormatter(useColor);
  configureSync({
    reset: true,
    sinks: { output: (record) => write(formatter(record)) },
    loggers: [
      { category: ROOT, lowestLevel: level === "warn" ? "warning" : level, sinks: ["output"] },
      { category: ["logtape", "meta"], lowestLevel: "error", sinks: ["output"] },
    ],
  });
  return new CategoryLogger(getLogger(ROOT));
}

class CategoryLogger implements Logger {
  readonly #logger: LogtapeLogger;

  constructor(logger: LogtapeLogger) {
    this.#logger = logger;
  }

  debug(message: string, fields?: Fields): void {
    if (this.#logger.isEnabledFor("debug")) this.#logger.debug(literal(message), plain(fields));
  }
  info(message: string, fields?: Fields): void {
    this.#logger.info(literal(message), plain(fields));
  }
  warn(message: string, fields?: Fields): void {
    this.#logger.warn(literal(message), plain(fields));
  }
  error(message: string, fields?: Fields): void {
    this.#logger.error(literal(message), plain(fields));
  }
  child(component: string): Logger {
    return new CategoryLogger(this.#logger.getChild(component));
  }
}

/** logtape fills `{name}` with a value; our sentences are constant. */
function literal(message: string): string {
  return message.replaceAll("{", "{{").replaceAll("}", "}}");
}

/** Values that every formatter can write: no bigint, no Error, no bytes, nothing deep. */
function plain(fields: Fields = {}): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined) values[name] = plainValue(value);
  }
  return values;
}

/** The same for one value. Errors keep their causes, on one line. */
export function plainValue(value: unknown): unknown {
  if (value instanceof Error) return errorText(value);
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (typeof value === "bigint") return String(value);
  if (value instanceof Map || value instanceof Set) return plainText([...value]);
  return typeof value === "object" && value !== null ? plainText(value) : value;
}

function plainText(value: object): string {
  try {
    return JSON.stringify(
      value,
      (_, inner: unknown) => inner === value ? inner : plainInner(inner),
    );
  } catch (error) {
    return `[not shown: ${error instanceof Error ? error.message : String(error)}]`;
  }
}

function plainInner(value: unknown): unknown {
  const isPlainObject = typeof value === "object" && value !== null &&
    !(value instanceof Error) && !(value instanceof Uint8Array) &&
    !(value instanceof Map) && !(value instanceof Set);
  return isPlainObject ? value : plainValue(value);
}

const MAX_CAUSES = 5;

function errorText(error: Error): string {
  const parts: string[] = [];
  let current: unknown = error;
  for (let depth = 0; depth < MAX_CAUSES && current instanceof Error; depth++) {
    parts.push(`${current.name}: ${current.message}`);
    current = current.cause;
  }
  // An error of ours that is a bug is found by its stack; those of the surroundings by their text.
  const isBug = error.name === "AssertionError" || error.name === "TypeError" ||
    error.name === "ReferenceError" || error.name === "RangeError";
  return parts.join(", because of ") + (isBug && error.stack ? `\n${error.stack}` : "");
}

function textFormatter(useColor: boolean): TextFormatter {
  return (record: LogRecord) => {
    const time = new Date(record.timestamp).toISOString().replace("T", " ").replace("Z", "");
    const level = LEVEL_WORDS[record.level] ?? record.level;
    const component = record.category.slice(1).join(".");
    const color = useColor ? LEVEL_COLORS[record.level] : undefined;
    const shown = color === undefined ? level : `${color}${level}${COLOR_END}`;
    const sentence = record.message.join("");
    const fields = Object.entries(record.properties).map(([name, value]) =>
      ` ${name}=${fieldText(value)}`
    ).join("");
    const from = component === "" ? "" : `${component}: `;
    return `${time} ${shown} ${from}${sentence}${fields === "" ? "" : ` ${fields}`}\n`;
  };
}

/** A value with blanks or control characters is quoted, so that a line stays one line. */
function fieldText(value: unknown): string {
  const text = String(value);
  // deno-lint-ignore no-control-regex -- control characters are what is looked for
  return text === "" || /[\s"\u0000-\u001f\u007f]/.test(text) ? JSON.stringify(text) : text;
}

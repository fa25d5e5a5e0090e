/**
 * Where settings come from: flags, environment, `.properties` and TOML text, each turned into the same
 * list of assignments that knows its origin, so that an error can say where to look.
 */

import { parse as parseToml, TomlError } from "smol-toml";

/** One `name = value` somewhere. `origin` is for people: "weir.properties line 3". */
export interface Assignment {
  readonly name: string;
  readonly value: string;
  readonly origin: string;
}

/** A file's text, already read. TOML when the path ends in `.toml`, else Java's properties format. */
export interface ConfigFile {
  readonly path: string;
  readonly text: string;
}

/** Settings that cannot be used; `problems` holds one sentence for each. */
export class ConfigError extends Error {
  override name = "ConfigError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[], options?: ErrorOptions) {
    super(problems.join("\n"), options);
    this.problems = problems;
  }
}

/** Variables of the environment that begin with WEIR_ and are not settings of the broker. */
const OTHER_VARIABLES =
  /^WEIR_(BAD_INPUT|BENCH|BOOTSTRAP|COMPAT|CONFIG|CRASH|INTEROP|KAFKA|PERF|REAL|REWRITE|ROUNDS|SEEDS?|TEST|VECTORS)(_|$)/;

/** The assignments of a file. Errors: ConfigError. */
export function parseConfigFile({ path, text }: ConfigFile): Assignment[] {
  return path.endsWith(".toml") ? parseTomlFile(path, text) : parseProperties(path, text);
}

/** The environment's name of a setting: `log.retention.hours` is `WEIR_LOG_RETENTION_HOURS`. */
export function environmentName(name: string): string {
  const words = name.replace(/^weir\./, "").replace(/[^A-Za-z0-9]/g, "_").toUpperCase();
  return `WEIR_${words}`;
}

/**
 * The assignments in an environment. A variable that begins with WEIR_ and is no setting is handed over
 * under the name it seems to mean, to be refused with all other unknown names.
 */
export function parseEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
  names: Iterable<string>,
): Assignment[] {
  const byVariable = new Map<string, string>();
  for (const name of names) byVariable.set(environmentName(name), name);
  const assignments: Assignment[] = [];
  for (const [variable, value] of Object.entries(environment)) {
    if (!variable.startsWith("WEIR_") || value === undefined) continue;
    if (OTHER_VARIABLES.test(variable)) continue;
    const name = byVariable.get(variable) ??
      variable.slice("WEIR_".length).toLowerCase().replaceAll("_", ".");
    assignments.push({ name, value, origin: `environment variable ${variable}` });
  }
  return assignments;
}

/** Java's properties format: comments, continued lines, escapes, `=`, `:` or a blank between. */
function parseProperties(path: string, text: string): Assignment[] {
  const assignments: Assignment[] = [];
  const lines = text.replace(/^\uFEFF/, "").split(/\r\n|\n|\r/);
  for (let index = 0; index < lines.length; index++) {
    const lineNumber = index + 1;
    let line = (lines[index] ?? "").trimStart();
    if (line === "" || line.startsWith("#") || line.startsWith("!")) continue;
    while (/(?:^|[^\\])(?:\\\\)*\\$/.test(line) && index + 1 < lines.length) {
      index++;
      line = line.slice(0, -1) + (lines[index] ?? "").trimStart();
    }
    const match = /^((?:\\.|[^\\=:\s])*)(?:\s*[=:]\s*|\s+|$)(.*)$/s.exec(line);
    const name = unescape(match?.[1] ?? line);
    const value = unescape(match?.[2] ?? "").trimEnd();
    assignments.push({ name, value, origin: `${path} line ${lineNumber}` });
  }
  return assignments;
}

function unescape(text: string): string {
  return text.replace(/\\(u[0-9a-fA-F]{4}|.)/gs, (_, escape: string) => {
    if (escape.length === 5) return String.fromCharCode(parseInt(escape.slice(1), 16));
    switch (escape) {
      case "t":
        return "\t";
      case "n":
        return "\n";
      case "r":
        return "\r";
      case "f":
        return "\f";
      default:
        return escape;
    }
  });
}

function parseTomlFile(path: string, text: string): Assignment[] {
  let document: Record<string, unknown>;
  try {
    document = parseToml(text, { integersAsBigInt: true });
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const reason = error.message.split("\n", 1)[0] ?? "";
    throw new ConfigError([`Cannot read ${path} line ${error.line}: ${reason}`], { cause: error });
  }
  const assignments: Assignment[] = [];
  const problems: string[] = [];
  flatten(document, "", (name, value) => {
    const text = tomlText(value);
    if (text === null) {
      problems.push(
        `Cannot use ${name} of ${path}: a value is text, a number, a boolean or a list`,
      );
    } else assignments.push({ name, value: text, origin: `${path} key ${name}` });
  });
  if (problems.length > 0) throw new ConfigError(problems);
  return assignments;
}

function flatten(
  table: Record<string, unknown>,
  prefix: string,
  found: (name: string, value: unknown) => void,
): void {
  for (const [key, value] of Object.entries(table)) {
    const name = prefix === "" ? key : `${prefix}.${key}`;
    const isTable = typeof value === "object" && value !== null && !Array.isArray(value) &&
      !(value instanceof Date);
    if (isTable) flatten(value as Record<string, unknown>, name, found);
    else found(name, value);
  }
}

function tomlText(value: unknown): string | null {
  if (Array.isArray(value)) {
    const words = value.map(tomlText);
    return words.includes(null) ? null : words.join(",");
  }
  if (typeof value === "string") return value;
  const isPlain = typeof value === "bigint" || typeof value === "number" ||
    typeof value === "boolean";
  return isPlain ? String(value) : null;
}

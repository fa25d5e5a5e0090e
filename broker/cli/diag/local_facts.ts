/**
 * What can be told of a broker without asking it: how it is set up, the machine, and what lies in its log directories.
 *
 * Of directories: names and sizes, and the small files in which a broker notes offsets and ids. No record is read.
 */

import { BROKER_SETTINGS } from "../../config/broker_settings.ts";
import { Config } from "../../config/config.ts";
import {
  type Assignment,
  ConfigError,
  type ConfigFile,
  environmentName,
  parseConfigFile,
  parseEnvironment,
} from "../../config/sources.ts";
import { findSetting, isUnused } from "../../config/settings.ts";
import { type Disk, DiskError } from "../../../storage/platform.ts";
import type { CliIo } from "../io.ts";
import { readConfigFile } from "../settings_input.ts";
import type { Bundle } from "./bundle.ts";
import { isSecretName, type Redactor } from "./redactor.ts";

/** Files of a directory that are named. */
const MAX_LISTED_FILES = 20_000;
/** Small files that are copied, and how large one may be. */
const MAX_NOTES = 2_000;
const MAX_NOTE_BYTES = 1024 * 1024;
/** What a broker notes beside the records: offsets, epochs, ids. */
const NOTES = new Set([
  "meta.properties",
  "bootstrap.checkpoint",
  "recovery-point-offset-checkpoint",
  "replication-offset-checkpoint",
  "log-start-offset-checkpoint",
  "cleaner-offset-checkpoint",
  "leader-epoch-checkpoint",
  "partition.metadata",
  "quorum-state",
  ".kafka_cleanshutdown",
  ".weir-damaged",
]);
/** Those of them that are no text. */
const BINARY_NOTES = new Set(["bootstrap.checkpoint"]);
/** Variables that say how weir, its runtime and its tools behave; of all others not even the name is told. */
const TOLD_VARIABLES = /^(?:WEIR|KAFKA|BUN|NODE|UV|MALLOC|MIMALLOC|LOG|JMX)_|^(?:TZ|LANG|LC_\w+)$/;

/** What says where the data lies, and where HTTP is served. */
const PLACES: readonly string[] = ["log.dirs", "log.dir", "http.listeners"];
/** What stands for the value of a setting that nobody knows. */
const NOT_SHOWN = "[not shown: no setting of weir or Kafka]";

/** What a broker was started with, as the command line says. */
export interface GivenSettings {
  readonly flags: Readonly<Record<string, string>>;
  readonly files: readonly string[];
}

/** The settings of a broker, and where they make it look for things. */
export interface LocalSettings {
  readonly logDirectories: readonly string[];
  /** Where it serves HTTP, as `host:port`. */
  readonly http: readonly { readonly host: string; readonly port: number }[];
}

/** Remembers the values of all that is called a secret, so that they are found elsewhere too. */
export function learnEnvironment(redactor: Redactor, env: CliIo["env"]): void {
  for (const [name, value] of Object.entries(env)) {
    if (value !== undefined && isSecretName(name)) redactor.learn(value);
  }
}

/** Adds the settings with their origins, without secrets. Returns: what follows from them. */
export function addSettings(
  bundle: Bundle,
  redactor: Redactor,
  io: Pick<CliIo, "env" | "disk">,
  { flags, files }: GivenSettings,
): LocalSettings {
  const problems: string[] = [];
  const read = files.flatMap((path) => orProblems(problems, () => [readConfigFile(path, io)]));
  const given = assignmentsOf(read, io.env, flags, problems);
  for (const { name, value } of given) if (isSecretName(name)) redactor.learn(value);
  const config = orProblems(
    problems,
    () => [Config.load({ flags, environment: io.env, files: read })],
  )[0];
  bundle.addJson("config/given.json", "settings that were given, with their origins", {
    problems: [...new Set(problems)],
    warnings: config?.warnings ?? [],
    settings: given.map(({ name, value, origin }) => (
      { name, value: isKnown(name) ? redactor.shown(name, value) : NOT_SHOWN, origin }
    )),
  });
  if (config === undefined) {
    bundle.miss(
      "config/in_force.json",
      "with these settings no broker starts: see config/given.json",
    );
  } else addInForce(bundle, redactor, config);
  const places = config ?? placesOf(given);
  return { logDirectories: places.logDirectories(), http: places.httpListeners() };
}

function addInForce(bundle: Bundle, redactor: Redactor, config: Config): void {
  const names = Object.keys(BROKER_SETTINGS).toSorted();
  bundle.addJson("config/in_force.json", "every setting as it is in force at a start", {
    settings: Object.fromEntries(
      names.map((name) => [name, redactor.shown(name, config.values(name)[0]?.value ?? null)]),
    ),
  });
}

/** Where to look for things, of settings with which no broker starts; where none is said, as by default. */
function placesOf(given: readonly Assignment[]): Config {
  const places = given.filter(({ name }) => PLACES.includes(name));
  const flags = Object.fromEntries(places.map(({ name, value }) => [name, value]));
  return orProblems([], () => [Config.load({ flags })])[0] ?? Config.load({});
}

/** Whether a setting is one of weir's or Kafka's. The value of any other may be anything. */
function isKnown(name: string): boolean {
  return findSetting("broker", name) !== null || isUnused(name) ||
    name.startsWith("listener.name.");
}

function assignmentsOf(
  files: readonly ConfigFile[],
  env: CliIo["env"],
  flags: Readonly<Record<string, string>>,
  problems: string[],
): Assignment[] {
  return [
    ...files.flatMap((file) => orProblems(problems, () => parseConfigFile(file))),
    ...parseEnvironment(env, Object.keys(BROKER_SETTINGS)),
    ...Object.entries(flags).map(([name, value]) => (
      { name, value, origin: `flag --set ${name}` }
    )),
  ];
}

/** What `read` gives; nothing, and its problems noted, where the settings are wrong. */
function orProblems<T>(problems: string[], read: () => T[]): T[] {
  try {
    return read();
  } catch (failure) {
    if (!(failure instanceof ConfigError)) throw failure;
    problems.push(...failure.problems);
    return [];
  }
}

/** Adds the variables that may matter. */
export function addEnvironment(bundle: Bundle, redactor: Redactor, env: CliIo["env"]): void {
  const names = Object.keys(env).toSorted();
  const told = names.filter((name) => TOLD_VARIABLES.test(name));
  const settings = new Set(Object.keys(BROKER_SETTINGS).map(environmentName));
  const isStrange = (name: string) =>
    name.startsWith("WEIR_") && !settings.has(name) && !/^WEIR_(BOOTSTRAP|CONFIG)$/.test(name);
  bundle.addJson("environment.json", "variables of weir and its runtime", {
    variables: Object.fromEntries(
      told.map((name) => [name, isStrange(name) ? NOT_SHOWN : redactor.shown(name, env[name])]),
    ),
    notTold: names.length - told.length,
  });
}

/** Adds what lies in a log directory, as the `index`th. */
export async function addDirectory(
  bundle: Bundle,
  io: Pick<CliIo, "disk" | "clock">,
  path: string,
  index: number,
): Promise<void> {
  const name = `data/${index}`;
  try {
    const walk = new DirectoryWalk(io);
    await walk.enter(path, "");
    bundle.add(`${name}/files.txt`, `names and sizes of what lies in ${path}`, walk.listing(path));
    bundle.add(`${name}/notes.txt`, `checkpoints and ids in ${path}`, walk.notes());
  } catch (failure) {
    if (!(failure instanceof DiskError)) throw failure;
    const advice = "tell where the broker's data lies with --config or --set log.dirs=…";
    bundle.miss(`${name}/files.txt`, `${failure.message}; ${advice}`);
  }
}

/** A walk through a directory and those in it. */
class DirectoryWalk {
  readonly #disk: Disk;
  readonly #clock: CliIo["clock"];
  readonly #lines: string[] = [];
  readonly #notes: string[] = [];
  #fileCount = 0;
  #byteCount = 0;

  constructor({ disk, clock }: Pick<CliIo, "disk" | "clock">) {
    this.#disk = disk;
    this.#clock = clock;
  }

  /** Errors: DiskError for the directory itself; what is in it may go while it is looked at. */
  async enter(path: string, inside: string): Promise<void> {
    const entries = this.#disk.list(path).toSorted((a, b) => a.name < b.name ? -1 : 1);
    for (const { name, kind } of entries) {
      const full = `${path}/${name}`;
      const shown = `${inside}${name}`;
      if (kind === "directory") await this.#enterInner(full, `${shown}/`);
      else if (kind === "other") this.#lines.push(`${"other".padStart(15)}  ${shown}`);
      else this.#noteFile(full, shown, name);
    }
    // A directory is looked at in one go; a terminal should still hear Ctrl-C.
    await this.#clock.sleep(0);
  }

  async #enterInner(path: string, shown: string): Promise<void> {
    try {
      await this.enter(path, shown);
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      this.#lines.push(`${failure.code.padStart(15)}  ${shown}`);
    }
  }

  #noteFile(path: string, shown: string, name: string): void {
    this.#fileCount++;
    if (this.#fileCount > MAX_LISTED_FILES) return;
    try {
      const file = this.#disk.open(path, "read");
      try {
        this.#byteCount += file.sizeBytes;
        this.#lines.push(`${String(file.sizeBytes).padStart(15)}  ${shown}`);
        const isNote = NOTES.has(name) && !BINARY_NOTES.has(name);
        if (!isNote || this.#notes.length >= MAX_NOTES || file.sizeBytes > MAX_NOTE_BYTES) return;
        const bytes = new Uint8Array(file.sizeBytes);
        const text = new TextDecoder().decode(bytes.subarray(0, file.read(0, bytes)));
        this.#notes.push(`── ${shown}\n${text.trimEnd()}\n`);
      } finally {
        file.close();
      }
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      this.#lines.push(`${failure.code.padStart(15)}  ${shown}`);
    }
  }

  /** All that was seen, with the room on the disk. */
  listing(path: string): string {
    const more = Math.max(0, this.#fileCount - MAX_LISTED_FILES);
    const head = [
      `${path}: ${this.#fileCount} files, ${this.#byteCount} bytes in those that are named`,
      `disk: ${this.#room(() => this.#disk.freeBytes(path))} bytes free of ` +
      `${this.#room(() => this.#disk.totalBytes(path))}`,
      ...(more > 0 ? [`${more} files more are not named`] : []),
    ];
    return `${[...head, "", ...this.#lines].join("\n")}\n`;
  }

  notes(): string {
    return this.#notes.length === 0 ? "There are none.\n" : this.#notes.join("\n");
  }

  #room(read: () => number): string {
    try {
      return String(read());
    } catch (failure) {
      if (!(failure instanceof DiskError)) throw failure;
      return failure.code;
    }
  }
}

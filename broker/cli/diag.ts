/**
 * `weir diag`: a support bundle, for whoever is to find out what is wrong with a broker without being there.
 *
 * It gathers what can be had, from a broker that runs, one that hangs and one that is down, says what could not be had
 * and why, and writes one zip file with a manifest. It holds no record and no secret (`diag/redactor.ts`), but names:
 * of hosts, topics, groups, clients and directories. It sends nothing anywhere.
 */

import type { Command } from "commander";
import { DiskError } from "../../storage/platform.ts";
import { NetworkError } from "../network.ts";
import { Bundle } from "./diag/bundle.ts";
import { addCluster, type RunCommand } from "./diag/cluster_facts.ts";
import {
  addDirectory,
  addEnvironment,
  addSettings,
  learnEnvironment,
  type LocalSettings,
} from "./diag/local_facts.ts";
import { Redactor } from "./diag/redactor.ts";
import {
  type CommandContext,
  gathered,
  type GlobalOptions,
  globalOptions,
  withClient,
} from "./command.ts";
import { CliError, type CliIo } from "./io.ts";
import { formatBytes, plural } from "./output.ts";
import { flagSettings } from "./settings_input.ts";

/** How long a page may take, and how large it may be. */
const PAGE_LIMITS = { timeoutMs: 10_000, maxBytes: 64 * 1024 * 1024 };
/** Of a log file the end is taken. */
const MAX_LOG_BYTES = 4 * 1024 * 1024;
const PAGES = [
  ["metrics", "metrics.txt", "metrics, as Prometheus gets them"],
  ["readyz", "readyz.json", "whether the broker serves, and why not"],
  ["healthz", "healthz.json", "whether the process lives"],
] as const;

const HELP = `
Give it the settings of the broker as \`weir serve\` gets them, so that it knows where to look:
  weir diag --config /etc/weir.properties --log-file /var/log/weir.log
  journalctl -u weir --since -1h > /tmp/weir.log; weir diag --log-file /tmp/weir.log

Records are not in the bundle, and secrets are taken out. Names of hosts, topics, groups, clients and
directories are: look at it before you send it.`;

interface DiagOptions {
  readonly config: readonly string[];
  readonly set: readonly string[];
  readonly output?: string;
  readonly logFile: readonly string[];
  readonly http?: string;
}

/** Runs another command line over the same surroundings, with what it prints given back. */
export type RunInner = (argv: readonly string[], io: CliIo) => Promise<number>;

/** Adds the command. */
export function addDiagCommand(
  program: Command,
  context: CommandContext,
  runInner: RunInner,
): void {
  program.command("diag")
    .description(
      "write a support bundle: settings, metrics, cluster, directories; no records, no secrets",
    )
    .option("-c, --config <file>", "the broker's file of settings; repeatable", gathered, [])
    .option(
      "-s, --set <name=value>",
      "a setting that the broker is given; repeatable",
      gathered,
      [],
    )
    .option("-o, --output <file>", "where to write it (default: weir-diag-<time>.zip)")
    .option(
      "--log-file <file>",
      "a file with the broker's log, of which the end is taken; repeatable",
      gathered,
      [],
    )
    .option("--http <host:port>", "where the broker serves HTTP, if the settings do not say")
    .addHelpText("after", HELP)
    .action(async (options: DiagOptions, command: Command) => {
      await diag(context, globalOptions(command), options, runInner);
    });
}

async function diag(
  context: CommandContext,
  globals: GlobalOptions,
  options: DiagOptions,
  runInner: RunInner,
): Promise<void> {
  const { io } = context;
  const startMs = io.clock.wallMs();
  const root = `weir-diag-${new Date(startMs).toISOString().replaceAll(/[-:]|\.\d+/g, "")}`;
  const path = options.output ?? `${root}.zip`;
  if (io.disk.exists(path)) {
    throw new CliError(
      `Cannot write ${path}: it is there already; name another file with --output`,
    );
  }
  const redactor = new Redactor();
  const bundle = new Bundle({ redactor, root, atMs: startMs });
  const flags = flagSettings(options.set);
  // What is secret is learned before anything is written down.
  learnEnvironment(redactor, io.env);
  const local = addSettings(bundle, redactor, io, { flags, files: options.config });
  addEnvironment(bundle, redactor, io.env);
  addMachine(bundle, context);
  await addPages(
    bundle,
    io,
    options.http === undefined ? local : { http: [addressOf(options.http)] },
  );
  const run = innerRunner(context, globals, runInner);
  await addCluster(bundle, redactor, {
    metadata: () =>
      withClient(
        context,
        globals,
        `Cannot reach ${globals.bootstrapServer}`,
        (client) => client.retry(() => client.metadata(null)),
      ),
    run,
    nowMs: () => io.clock.monotonicMs(),
  });
  for (const [index, directory] of local.logDirectories.entries()) {
    await addDirectory(bundle, io, directory, index);
  }
  for (const [index, file] of options.logFile.entries()) addLog(bundle, io, file, index);
  if (options.logFile.length === 0) {
    bundle.miss(
      "log/",
      "weir writes its log to standard error: give a file that holds it with --log-file",
    );
  }
  addManifest(bundle, context, { startMs, tookMs: io.clock.wallMs() - startMs, redactor });
  await write(io, path, bundle.zip());
  await tell(io, globals, { path, bundle, redactor });
}

function addressOf(text: string): LocalSettings["http"][number] {
  const at = text.lastIndexOf(":");
  const port = Number(text.slice(at + 1));
  if (at > 0 && Number.isInteger(port) && port > 0) return { host: text.slice(0, at), port };
  throw new CliError(`Cannot use --http "${text}": it must be host:port`);
}

/** Commands that are run for what they print. */
function innerRunner(
  { io }: CommandContext,
  { bootstrapServer }: GlobalOptions,
  runInner: RunInner,
): RunCommand {
  return async (argv) => {
    let out = "";
    let error = "";
    const captured: CliIo = {
      ...io,
      write: (text) => {
        out += typeof text === "string" ? text : new TextDecoder().decode(text);
        return Promise.resolve();
      },
      writeError: (text) => void (error += text),
    };
    const code = await runInner(
      ["--bootstrap-server", bootstrapServer, "--json", ...argv],
      captured,
    );
    if (code !== 0) throw new CliError(error.trim());
    return out;
  };
}

function addMachine(bundle: Bundle, { io, version }: CommandContext): void {
  const { texts, ...facts } = io.machine();
  bundle.addJson("version.json", "version of this command, and what it runs on", {
    version,
    runtime: io.runtime,
    ...facts,
  });
  const lines = Object.entries(texts).map(([path, text]) => `── ${path}\n${text.trimEnd()}\n`);
  const what = "limits of this command's process, memory, containers";
  if (lines.length > 0) bundle.add("limits.txt", what, lines.join("\n"));
  else bundle.miss("limits.txt", `${facts.platform} does not tell limits in files`);
}

async function addPages(bundle: Bundle, io: CliIo, { http }: Pick<LocalSettings, "http">) {
  if (http.length === 0) bundle.miss("http/", "http.listeners is empty: the broker serves no HTTP");
  const [first] = http;
  if (first === undefined) return;
  const host = ["", "0.0.0.0", "::", "[::]"].includes(first.host) ? "127.0.0.1" : first.host;
  const shown = host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
  const origin = `http://${shown}:${first.port}`;
  // Side by side: a broker that hangs lets all of them wait.
  await Promise.all(PAGES.map(async ([page, file, what]) => {
    try {
      const { status, text } = await io.fetchPage(`${origin}/${page}`, PAGE_LIMITS);
      // /readyz says with 503 what it waits for.
      const isThere = status === 200 || (page === "readyz" && status === 503);
      if (isThere) bundle.add(`http/${file}`, what, text);
      else bundle.miss(`http/${file}`, `${origin}/${page} answered ${status}`);
    } catch (failure) {
      if (!(failure instanceof NetworkError)) throw failure;
      bundle.miss(`http/${file}`, failure.message);
    }
  }));
}

/** The end of a log file, from the beginning of a line. */
function addLog(bundle: Bundle, { disk }: CliIo, path: string, index: number): void {
  try {
    const file = disk.open(path, "read");
    try {
      const size = Math.min(file.sizeBytes, MAX_LOG_BYTES);
      const bytes = new Uint8Array(size);
      const count = file.read(file.sizeBytes - size, bytes);
      const text = new TextDecoder().decode(bytes.subarray(0, count));
      const isWhole = size === file.sizeBytes;
      bundle.add(
        `log/${index}.txt`,
        `the end of ${path}`,
        isWhole ? text : text.slice(text.indexOf("\n") + 1),
      );
    } finally {
      file.close();
    }
  } catch (failure) {
    if (!(failure instanceof DiskError)) throw failure;
    bundle.miss(`log/${index}.txt`, failure.message);
  }
}

function addManifest(
  bundle: Bundle,
  { version }: CommandContext,
  { startMs, tookMs, redactor }: {
    readonly startMs: number;
    readonly tookMs: number;
    readonly redactor: Redactor;
  },
): void {
  const { files, missing } = bundle;
  bundle.add("README.txt", "what this is", README, { always: true });
  bundle.addJson("manifest.json", "this list", {
    weir: version,
    at: new Date(startMs).toISOString(),
    tookMs,
    removed: redactor.count,
    files,
    missing,
  }, { always: true });
}

const README = `A support bundle of weir, made by "weir diag".

manifest.json   what is here, and what could not be had, with the reason
version.json    version, runtime and machine
limits.txt      limits of the process that made this, memory, containers
environment.json, config/    variables and settings, with their origins
http/           metrics and readiness, as the broker told them over HTTP
cluster/        what the cluster told over the Kafka protocol, one JSON object a line
data/           names and sizes of files in log directories, checkpoints and ids
log/            the end of the log files that were named

There are no records in it. Passwords, keys, tokens and credentials in URLs were taken out; where one was stands
[removed]. Names are there: of hosts, users' directories, topics, groups, client ids, transactional ids. Whoever
sends this should look at config/given.json, environment.json, cluster/ and log/ before.
`;

async function write({ disk }: CliIo, path: string, bytes: Uint8Array): Promise<void> {
  try {
    const file = disk.open(path, "write");
    try {
      file.write(0, bytes);
      await file.sync();
    } finally {
      file.close();
    }
  } catch (failure) {
    if (!(failure instanceof DiskError)) throw failure;
    throw new CliError(`Cannot write ${path}: ${failure.message}; name another file with --output`);
  }
}

async function tell(
  io: CliIo,
  { json }: GlobalOptions,
  { path, bundle, redactor }: {
    readonly path: string;
    readonly bundle: Bundle;
    readonly redactor: Redactor;
  },
): Promise<void> {
  const { files, missing } = bundle;
  const where = io.disk.absolutePath(path);
  if (json) {
    const removed = redactor.count;
    return await io.write(`${JSON.stringify({ path: where, files, missing, removed })}\n`);
  }
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  const lines = [
    `Wrote ${where}: ${plural(files.length, "file")}, ${formatBytes(bytes)} before compression.`,
    ...(missing.length > 0 ? ["Not in it:"] : []),
    ...missing.map((one) => `  ${one.path}: ${redactor.clean(one.reason)}`),
    "",
    "No records are in it, and secrets were taken out. Names of hosts, topics, groups, clients and",
    "directories are in it. Before you send it, look at:",
    "  config/given.json, environment.json   settings and variables",
    "  cluster/                              topics, groups, client ids, addresses",
    "  log/                                  what the broker said",
  ];
  await io.write(`${lines.join("\n")}\n`);
}

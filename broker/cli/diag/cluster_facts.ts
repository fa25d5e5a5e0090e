/**
 * What a cluster says of itself over the Kafka protocol: the metadata, and what weir's own commands print of it.
 *
 * Where nobody answers the first question, the others are not asked; all of it together may take a while and no more.
 */

import { NetworkError } from "../../network.ts";
import { ClientError } from "../../client/client_error.ts";
import type { Bundle } from "./bundle.ts";
import type { Redactor } from "./redactor.ts";

/** Runs a command line with `--json` added. Returns: what it printed. Errors: ClientError, with what it said. */
export type RunCommand = (argv: readonly string[]) => Promise<string>;

/** Groups and topics that are described one by one. */
const MAX_DESCRIBED = 200;
/** How long the cluster is asked. */
const ASKING_MS = 90_000;

/** What the metadata says, as far as it is needed to go on. */
export interface ClusterMetadata {
  readonly brokers: readonly { readonly nodeId: number }[];
  readonly topics: readonly { readonly name: string | null }[];
}

/** Where it is read from. */
export interface ClusterSources {
  readonly metadata: () => Promise<ClusterMetadata>;
  readonly run: RunCommand;
  readonly nowMs: () => number;
}

/** Adds what the cluster says. Returns: whether it said anything. */
export async function addCluster(
  bundle: Bundle,
  redactor: Redactor,
  { metadata, run, nowMs }: ClusterSources,
): Promise<boolean> {
  let known: ClusterMetadata;
  try {
    known = await metadata();
  } catch (failure) {
    bundle.miss("cluster/", `nobody answers: ${reasonOf(failure)}`);
    return false;
  }
  const { brokers, topics } = known;
  const { topics: _topics, ...rest } = known;
  const lines = [rest, ...topics].map((one) => `${JSON.stringify(one)}\n`);
  bundle.add(
    "cluster/metadata.ndjson",
    "brokers, topics, partitions, leaders, ISR",
    lines.join(""),
  );
  const asking = new Asking(bundle, redactor, { run, nowMs });
  await asking.add("cluster/quorum.ndjson", "who keeps the metadata", [["cluster", "quorum"]]);
  await asking.add("cluster/dirs.ndjson", "log directories of the brokers", [["cluster", "dirs"]]);
  await asking.add("cluster/transactions.ndjson", "transactional ids", [["transaction", "list"]]);
  await asking.add(
    "cluster/broker_settings.ndjson",
    "settings in force on each broker",
    brokers.map(({ nodeId }) => ["config", "get", "broker", String(nodeId), "--all"]),
  );
  await asking.add(
    "cluster/topic_settings.ndjson",
    "settings of topics that are not the default",
    topics.flatMap(({ name }) => name === null ? [] : [["config", "get", "--", "topic", name]]),
  );
  const listed = await asking.add("cluster/groups.ndjson", "groups", [["group", "list"]]);
  await asking.add(
    "cluster/group_details.ndjson",
    "members, offsets and lag of groups",
    groupIds(listed).map((id) => ["group", "describe", "--", id]),
  );
  return true;
}

/** Asks for one file after the other, until the time is over. */
class Asking {
  readonly #bundle: Bundle;
  readonly #redactor: Redactor;
  readonly #run: RunCommand;
  readonly #nowMs: () => number;
  readonly #untilMs: number;

  constructor(
    bundle: Bundle,
    redactor: Redactor,
    { run, nowMs }: Pick<ClusterSources, "run" | "nowMs">,
  ) {
    this.#bundle = bundle;
    this.#redactor = redactor;
    this.#run = run;
    this.#nowMs = nowMs;
    this.#untilMs = nowMs() + ASKING_MS;
  }

  /** Adds a file with what the commands print, as far as they can be run. Returns: what they printed. */
  async add(path: string, what: string, commands: readonly (readonly string[])[]): Promise<string> {
    const texts: string[] = [];
    for (const argv of commands.slice(0, MAX_DESCRIBED)) {
      if (this.#nowMs() > this.#untilMs) {
        this.#bundle.miss(
          path,
          `the cluster has been asked for ${ASKING_MS / 1000} s: the rest is left out`,
        );
        break;
      }
      try {
        texts.push(`${JSON.stringify({ command: argv })}\n`, await this.#run(argv));
      } catch (failure) {
        this.#bundle.miss(path, reasonOf(failure));
      }
    }
    const left = commands.length - MAX_DESCRIBED;
    if (left > 0) this.#bundle.miss(path, `${left} more of them: ${MAX_DESCRIBED} are shown`);
    const text = texts.join("");
    if (texts.length > 0) this.#bundle.add(path, what, withoutSecrets(text, this.#redactor));
    return text;
  }
}

/** Groups as their listing names them. The names are those of the cluster, before anything was taken out of them. */
function groupIds(text: string): string[] {
  return rowsOf(text).flatMap(({ group }) => typeof group === "string" ? [group] : []);
}

function rowsOf(text: string): Record<string, unknown>[] {
  return text.split("\n").filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** Lines of JSON, in which no setting that is called a secret has its value. */
function withoutSecrets(text: string, redactor: Redactor): string {
  return rowsOf(text).map((row) => {
    const { setting, value } = row;
    const isSetting = typeof setting === "string" && typeof value === "string";
    const shown = isSetting ? { ...row, value: redactor.shown(setting, value) } : row;
    return `${JSON.stringify(shown)}\n`;
  }).join("");
}

/** What an error of the surroundings says; others are bugs. */
function reasonOf(failure: unknown): string {
  if (failure instanceof ClientError || failure instanceof NetworkError) return failure.message;
  throw failure;
}

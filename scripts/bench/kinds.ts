/** weir and Apache Kafka as processes of one node each: how they are started, and which versions they are. */

import { existsSync } from "node:fs";
import { KAFKA, runOk, serveCommand } from "../../tests/compat/harness.ts";

/** A kind of broker of one node. */
export interface NodeKind {
  readonly name: string;
  readonly version: string;
  /** Makes a data directory ready, where that is a step of its own. */
  prepare(place: NodePlace): Promise<void>;
  /** Starts it; the process must be the broker's own. */
  command(place: NodePlace): readonly string[];
  /** Whether it serves metrics over HTTP, under weir's names. */
  readonly hasMetrics: boolean;
}

/** Where one runs. */
export interface NodePlace {
  readonly port: number;
  readonly httpPort: number;
  readonly directory: string;
}

/** weir by its command, with settings beside the defaults. */
export function weirNode(
  command: readonly string[],
  settings: Readonly<Record<string, string>> = {},
): NodeKind {
  return {
    name: "weir",
    version: versionOf(command),
    prepare: () => Promise.resolve(),
    command: ({ directory, ...ports }) => {
      return serveCommand({ command, settings, dataDirectory: directory, ...ports });
    },
    hasMetrics: true,
  };
}

/** Apache Kafka by its script beside the repository, with that script's defaults. Errors: rejects where it is not there. */
async function kafkaNode(): Promise<NodeKind> {
  const version = await kafkaVersion();
  const flags = ({ port, directory }: NodePlace) => ["--port", String(port), "--dir", directory];
  return {
    name: "Apache Kafka",
    version,
    prepare: async (place) => void await runOk([KAFKA, "format", ...flags(place)]),
    command: (place) => [KAFKA, "broker", ...flags(place)],
    hasMetrics: false,
  };
}

/** What weir says of itself. */
export function versionOf(command: readonly string[]): string {
  const asked = Bun.spawnSync([...command, "version", "--json"]);
  return (JSON.parse(asked.stdout.toString()) as { readonly version: string }).version;
}

/** Both, or weir alone. Errors: rejects where the peer is wanted and not there. */
export async function nodeKindsOf(
  command: readonly string[],
  hasPeer: boolean,
): Promise<NodeKind[]> {
  return [weirNode(command), ...(hasPeer ? [await kafkaNode()] : [])];
}

/** The version of Apache Kafka. Errors: rejects where its script is not there. */
export async function kafkaVersion(): Promise<string> {
  if (!existsSync(KAFKA)) throw new Error(`Cannot start Apache Kafka: there is no ${KAFKA}`);
  return (await runOk([KAFKA, "version"])).trim();
}

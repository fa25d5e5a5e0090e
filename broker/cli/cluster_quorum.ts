/**
 * `weir cluster quorum|add-controller|remove-controller`: the controllers that keep the metadata, and who of them votes.
 *
 * Any broker answers these, and any controller at its own listener, should no broker run.
 */

import type { Command } from "commander";
import { ErrorCode } from "../../protocol/errors.ts";
import type { Uuid } from "../../protocol/types.ts";
import { Calls } from "../client/calls.ts";
import { type KafkaClient, throwOnError } from "../client/kafka_client.ts";
import {
  askLeader,
  controllersRequest,
  describeQuorum,
  type NamedEndpoint,
  type QuorumReplica,
  type QuorumView,
} from "../client/quorum.ts";
import { type CommandContext, globalOptions, wholeNumber, withClient } from "./command.ts";
import { CliError, UsageError } from "./io.ts";
import { columnsOf, plural, printRows } from "./output.ts";

const MAX_NODE_ID = 0x7fff_ffff;
/** A controller that is added has to catch up first. */
const ADD_TIMEOUT_MS = 30_000;
const DIRECTORY_ID_HELP = "of its metadata directory (default: as the quorum knows it)";
const KRAFT_VERSION_ADVICE =
  "kraft.version is 0, and the controllers are those of controller.quorum.voters; " +
  '"kafka-features upgrade --feature kraft.version=1" lets them be added and removed';

/** Adds the commands. */
export function addClusterQuorumCommands(cluster: Command, context: CommandContext): void {
  addQuorum(cluster, context);
  addAddController(cluster, context);
  addRemoveController(cluster, context);
}

function addQuorum(cluster: Command, context: CommandContext): void {
  cluster.command("quorum")
    .description(
      "show who keeps the cluster's metadata: leader, voters, observers, how far each is",
    )
    .action(async (_options: unknown, command: Command) => {
      const globals = globalOptions(command);
      await withClient(context, globals, "Cannot describe the quorum", async (client) => {
        const { voterEndpoints: _, replicas, ...head } = await describeQuorum(client);
        if (globals.json) {
          return await context.io.write(`${JSON.stringify({ ...head, replicas })}\n`);
        }
        const voterCount = replicas.filter(({ status }) => status !== "observer").length;
        await context.io.write(
          `Leader ${head.leaderId}, epoch ${head.leaderEpoch}, high watermark ${head.highWatermark}, ` +
            `${plural(voterCount, "voter")}, ${plural(replicas.length - voterCount, "observer")}\n`,
        );
        const columns = ["node", "status", "logEndOffset", "lag", "caughtUp", "endpoints"];
        await printRows(context.io, {
          json: false,
          columns: columnsOf(...columns, "directoryId"),
          rows: replicas.map((replica) => ({ ...replica, caughtUp: caughtUpText(replica) })),
          empty: "There are none.",
        });
      });
    });
}

function caughtUpText({ caughtUpMsAgo, status }: QuorumReplica): string {
  if (status === "leader") return "-";
  return caughtUpMsAgo === null ? "never" : `${(caughtUpMsAgo / 1000).toFixed(1)} s ago`;
}

interface AddOptions {
  readonly directoryId?: Uuid;
  readonly endpoint?: NamedEndpoint;
}

function addAddController(cluster: Command, context: CommandContext): void {
  cluster.command("add-controller").argument("<node>", "its node.id", nodeId)
    .description("let a controller vote that runs and follows the metadata")
    .option("--directory-id <id>", DIRECTORY_ID_HELP, parseDirectoryId)
    .option(
      "--endpoint <name://host:port>",
      "where it listens (default: as it is registered)",
      parseNamedEndpoint,
    )
    .action(async (node: number, options: AddOptions, command: Command) => {
      const globals = globalOptions(command);
      await withClient(context, globals, `Cannot add controller ${node}`, async (client) => {
        const quorum = await describeQuorum(client);
        const directoryId = options.directoryId ?? observerOf(quorum, node).directoryId;
        const endpoint = options.endpoint ?? await registeredEndpoint(client, quorum, node);
        const answer = await askLeader(client, Calls.addRaftVoter, {
          clusterId: null,
          timeoutMs: ADD_TIMEOUT_MS,
          voterId: node,
          voterDirectoryId: directoryId,
          listeners: [endpoint],
          ackWhenCommitted: true,
        });
        throwOnQuorumError(answer);
        await tell(context, { json: globals.json, done: "added", node, directoryId });
      });
    });
}

function addRemoveController(cluster: Command, context: CommandContext): void {
  cluster.command("remove-controller").argument("<node>", "its node.id", nodeId)
    .description("take a controller's vote away, whether it runs or not")
    .option("--directory-id <id>", DIRECTORY_ID_HELP, parseDirectoryId)
    .action(async (node: number, options: { directoryId?: Uuid }, command: Command) => {
      const globals = globalOptions(command);
      await withClient(context, globals, `Cannot remove controller ${node}`, async (client) => {
        const quorum = await describeQuorum(client);
        const directoryId = options.directoryId ?? voterOf(quorum, node).directoryId;
        const answer = await askLeader(client, Calls.removeRaftVoter, {
          clusterId: null,
          voterId: node,
          voterDirectoryId: directoryId,
        });
        throwOnQuorumError(answer);
        await tell(context, { json: globals.json, done: "removed", node, directoryId });
      });
    });
}

async function tell(
  { io }: CommandContext,
  { json, done, node, directoryId }: {
    readonly json: boolean;
    readonly done: "added" | "removed";
    readonly node: number;
    readonly directoryId: string;
  },
): Promise<void> {
  if (json) return await io.write(`${JSON.stringify({ node, directoryId, [done]: true })}\n`);
  io.writeError(
    done === "added"
      ? `Controller ${node} votes now.\n`
      : `Controller ${node} votes no more, and follows the metadata for as long as it runs.\n`,
  );
}

function throwOnQuorumError(
  { errorCode, errorMessage }: { readonly errorCode: number; readonly errorMessage: string | null },
): void {
  if (errorCode !== ErrorCode.UNSUPPORTED_VERSION) return throwOnError(errorCode, errorMessage);
  throw new CliError(KRAFT_VERSION_ADVICE);
}

function voterOf({ replicas }: QuorumView, node: number): QuorumReplica {
  const voters = replicas.filter(({ status }) => status !== "observer");
  const found = voters.find((replica) => replica.node === node);
  if (found !== undefined) return found;
  throw new CliError(
    `node ${node} has no vote; those that have: ${voters.map(({ node }) => node).join(", ")}`,
  );
}

/** Errors: CliError when the node votes already, or does not follow the metadata. */
function observerOf({ replicas }: QuorumView, node: number): QuorumReplica {
  const found = replicas.filter((replica) => replica.node === node);
  const voter = found.find(({ status }) => status !== "observer");
  const observers = found.filter(({ status }) => status === "observer");
  if (observers.length === 1) return observers[0]!;
  if (voter !== undefined) throw new CliError(`node ${node} votes already`);
  if (observers.length > 1) {
    throw new CliError(
      `node ${node} follows from several directories (${
        observers.map(({ directoryId }) => directoryId).join(", ")
      }); say with --directory-id which one it has now`,
    );
  }
  throw new CliError(
    `node ${node} does not follow the metadata; start it with process.roles=controller (or ` +
      "broker,controller) and controller.quorum.bootstrap.servers, and wait until it is ready",
  );
}

/** Where a controller has said that it listens: the other controllers know. */
async function registeredEndpoint(
  client: KafkaClient,
  { voterEndpoints }: QuorumView,
  node: number,
): Promise<NamedEndpoint> {
  for (const [endpoint] of voterEndpoints.values()) {
    if (endpoint === undefined) continue;
    const answer = await client.askAt(endpoint, Calls.describeCluster, controllersRequest);
    if (answer === null) continue;
    throwOnError(answer.errorCode, answer.errorMessage);
    const found = answer.brokers.find(({ brokerId }) => brokerId === node);
    if (found !== undefined) {
      return { name: endpoint.name, host: found.host, port: found.port };
    }
    throw new CliError(
      `node ${node} is not registered as a controller; its process.roles must contain controller`,
    );
  }
  throw new CliError(
    "no controller answers at its own listener from here; say with --endpoint NAME://host:port " +
      `where controller ${node} listens`,
  );
}

/** For commander: a node's id. Errors: UsageError. */
export function nodeId(text: string): number {
  return wholeNumber("node", 0, MAX_NODE_ID)(text);
}

function parseDirectoryId(text: string): Uuid {
  if (/^[A-Za-z0-9_-]{22}$/.test(text)) return text as Uuid;
  throw new UsageError(
    `Cannot use --directory-id "${text}": it must be as in meta.properties, 22 letters and digits`,
  );
}

function parseNamedEndpoint(text: string): NamedEndpoint {
  const match = /^([A-Za-z0-9_.-]+):\/\/(?:\[([^\]]+)\]|([^:\s/]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[4] ?? 0);
  if (match === null || port < 1 || port > 65_535) {
    throw new UsageError(
      `Cannot use --endpoint "${text}": it must be NAME://host:port, such as CONTROLLER://10.0.0.4:9093`,
    );
  }
  return { name: match[1]!.toUpperCase(), host: (match[2] ?? match[3])!, port };
}

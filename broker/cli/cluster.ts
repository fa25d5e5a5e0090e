/** `weir cluster describe`: the cluster, its brokers and what they serve. */

import type { Command } from "commander";
import { apiName } from "../../protocol/api_keys.ts";
import { Calls } from "../client/calls.ts";
import { throwOnError } from "../client/kafka_client.ts";
import { addClusterDirsCommand } from "./cluster_dirs.ts";
import { addClusterDrainCommand } from "./cluster_drain.ts";
import { addClusterQuorumCommands } from "./cluster_quorum.ts";
import { type CommandContext, globalOptions, withClient } from "./command.ts";
import { columnsOf, plural, printRows } from "./output.ts";

/** Adds the command. */
export function addClusterCommand(program: Command, context: CommandContext): void {
  const cluster = program.command("cluster").description(
    "look at the cluster, change who votes, empty a node",
  );
  addClusterQuorumCommands(cluster, context);
  addClusterDrainCommand(cluster, context);
  addClusterDirsCommand(cluster, context);
  cluster.command("describe").description("show the cluster's id, controller and brokers")
    .option("--apis", "show the API versions of the broker that answers, too")
    .action(async (options: { apis?: boolean }, command: Command) => {
      const globals = globalOptions(command);
      await withClient(context, globals, "Cannot describe the cluster", async (client) => {
        const answer = await client.ask(Calls.describeCluster, {
          includeClusterAuthorizedOperations: false,
          includeFencedBrokers: false,
        });
        throwOnError(answer.errorCode, answer.errorMessage);
        const { clusterId, controllerId } = answer;
        const brokers = answer.brokers
          .map(({ brokerId, host, port, rack }) => ({ id: brokerId, host, port, rack }))
          .sort((a, b) => a.id - b.id);
        const served = [...(await client.any()).servedVersions]
          .map(([key, { lowest, highest }]) => ({ key, api: apiName(key), lowest, highest }))
          .sort((a, b) => a.key - b.key);
        if (globals.json) {
          const apis = options.apis ? { apis: served } : {};
          const cluster = { clusterId, controllerId, brokers, ...apis };
          return await context.io.write(`${JSON.stringify(cluster)}\n`);
        }
        await context.io.write(
          `Cluster ${clusterId}, ${plural(brokers.length, "broker")}, controller ${controllerId}\n`,
        );
        const table = { json: false, empty: "There are none." };
        await printRows(context.io, {
          ...table,
          columns: columnsOf("id", "host", "port", "rack"),
          rows: brokers,
        });
        if (!options.apis) return;
        await context.io.write("\n");
        await printRows(context.io, {
          ...table,
          columns: columnsOf("key", "api", "lowest", "highest"),
          rows: served,
        });
      });
    });
}

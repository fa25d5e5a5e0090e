/** `weir topic create|list|describe|alter|trim|delete`. */

import type { Command } from "commander";
import { ErrorCode } from "../../protocol/errors.ts";
import { alterConfigs, ResourceType } from "../client/config_client.ts";
import { type KafkaClient, KafkaError } from "../client/kafka_client.ts";
import {
  createPartitions,
  createTopic,
  deleteTopics,
  describeTopic,
  listTopics,
} from "../client/topics.ts";
import {
  assignments,
  type CommandContext,
  gathered,
  globalOptions,
  wholeNumber,
  withClient,
} from "./command.ts";
import { CliError, UsageError } from "./io.ts";
import { columnsOf, plural, printRows } from "./output.ts";
import { addTrim } from "./topic_trim.ts";

const MAX_INT32 = 0x7fff_ffff;

/** Adds the command with its subcommands. */
export function addTopicCommand(program: Command, context: CommandContext): void {
  const topic = program.command("topic").description(
    "make, list, describe, alter, trim and delete topics",
  );
  addCreate(topic, context);
  addList(topic, context);
  addDescribe(topic, context);
  addAlter(topic, context);
  addTrim(topic, context);
  addDelete(topic, context);
}

interface CreateOptions {
  readonly partitions?: number;
  readonly replicationFactor?: number;
  readonly config: readonly [string, string][];
  readonly ifNotExists?: boolean;
  readonly dryRun?: boolean;
}

function addCreate(parent: Command, context: CommandContext): void {
  parent.command("create").argument("<name>", "name of the topic")
    .description("make a topic")
    .option(
      "-p, --partitions <count>",
      "partitions (default: the broker's num.partitions)",
      count(1),
    )
    .option(
      "-r, --replication-factor <count>",
      "copies of each partition (default: the broker's default.replication.factor)",
      wholeNumber("--replication-factor", 1, 0x7fff),
    )
    .option("-c, --config <name=value>", "a topic setting; repeatable", assignments("--config"), [])
    .option("--if-not-exists", "succeed when the topic exists already")
    .option("--dry-run", "let the broker check it, and make nothing")
    .action(async (name: string, options: CreateOptions, command: Command) => {
      const globals = globalOptions(command);
      await withClient(context, globals, `Cannot create topic ${name}`, async (client) => {
        const made = await create(client, name, options);
        const row = { topic: name, created: made };
        if (globals.json) await context.io.write(`${JSON.stringify(row)}\n`);
        else if (!made) context.io.writeError(`Topic ${name} exists already.\n`);
        else if (options.dryRun) context.io.writeError(`Topic ${name} can be created.\n`);
        else context.io.writeError(`Created topic ${name}.\n`);
      });
    });
}

const count = (lowest: number) => wholeNumber("--partitions", lowest, MAX_INT32);

/** Returns: false when the topic existed already and that is fine. */
async function create(
  client: KafkaClient,
  name: string,
  options: CreateOptions,
): Promise<boolean> {
  try {
    await createTopic(client, {
      name,
      ...(options.partitions !== undefined && { partitions: options.partitions }),
      ...(options.replicationFactor !== undefined && {
        replicationFactor: options.replicationFactor,
      }),
      configs: options.config,
      validateOnly: options.dryRun ?? false,
    });
    return true;
  } catch (error) {
    const exists = error instanceof KafkaError && error.code === ErrorCode.TOPIC_ALREADY_EXISTS;
    if (!exists) throw error;
    if (options.ifNotExists) return false;
    throw new CliError(`it exists already; --if-not-exists makes this a success`);
  }
}

function addList(parent: Command, context: CommandContext): void {
  parent.command("list").description("list the topics")
    .option("--internal", "list the cluster's own topics too")
    .action(async (options: { internal?: boolean }, command: Command) => {
      const globals = globalOptions(command);
      await withClient(context, globals, "Cannot list topics", async (client) => {
        const rows = (await listTopics(client))
          .filter(({ internal }) => options.internal || !internal)
          .map((row) => ({ ...row }));
        await printRows(context.io, {
          json: globals.json,
          columns: columnsOf("topic", "partitions", "replicationFactor", "topicId"),
          rows,
          empty: 'There are no topics. "weir topic create NAME" makes one.',
        });
      });
    });
}

function addDescribe(parent: Command, context: CommandContext): void {
  parent.command("describe").argument("<names...>", "names of the topics")
    .description("show partitions with leaders, replicas and offsets, and settings that were made")
    .action(async (names: string[], _options: unknown, command: Command) => {
      const globals = globalOptions(command);
      const what = `Cannot describe ${names.join(", ")}`;
      await withClient(context, globals, what, async (client) => {
        for (const [i, name] of names.entries()) {
          const topic = await describeTopic(client, name);
          if (globals.json) await context.io.write(`${JSON.stringify(topic)}\n`);
          else {
            const { settings, partitions } = topic;
            const shown = Object.entries(settings).map(([key, value]) => `${key}=${value}`);
            await context.io.write(
              `${i === 0 ? "" : "\n"}Topic ${name}, id ${topic.topicId}, ` +
                `${plural(partitions.length, "partition")}` +
                `${shown.length === 0 ? "" : `, ${shown.join(", ")}`}\n`,
            );
            await printRows(context.io, {
              json: false,
              columns: columnsOf(
                "partition",
                "leader",
                "replicas",
                "isr",
                "startOffset",
                "endOffset",
              ),
              rows: partitions.map((row) => ({ ...row })),
              empty: "It has no partitions.",
            });
          }
        }
      });
    });
}

interface AlterOptions {
  readonly partitions?: number;
  readonly config: readonly [string, string][];
  readonly deleteConfig: readonly string[];
}

function addAlter(parent: Command, context: CommandContext): void {
  parent.command("alter").argument("<name>", "name of the topic")
    .description("add partitions, change settings")
    .option("-p, --partitions <count>", "raise the number of partitions to this", count(1))
    .option("-c, --config <name=value>", "a topic setting; repeatable", assignments("--config"), [])
    .option("--delete-config <name>", "give a setting its default back; repeatable", gathered, [])
    .action(async (name: string, options: AlterOptions, command: Command) => {
      const { partitions, config, deleteConfig } = options;
      if (partitions === undefined && config.length + deleteConfig.length === 0) {
        throw new UsageError(
          `Cannot alter topic ${name}: say what, with --partitions, --config or --delete-config`,
        );
      }
      await withClient(
        context,
        globalOptions(command),
        `Cannot alter topic ${name}`,
        async (client) => {
          if (partitions !== undefined) await createPartitions(client, name, partitions);
          if (config.length + deleteConfig.length > 0) {
            await alterConfigs(client, ResourceType.topic, name, {
              set: config,
              remove: deleteConfig,
            });
          }
          context.io.writeError(`Altered topic ${name}.\n`);
        },
      );
    });
}

function addDelete(parent: Command, context: CommandContext): void {
  parent.command("delete").argument("<names...>", "names of the topics")
    .description("delete topics with all their records")
    .option("--if-exists", "succeed when a topic does not exist")
    .action(async (names: string[], options: { ifExists?: boolean }, command: Command) => {
      const globals = globalOptions(command);
      await withClient(context, globals, `Cannot delete ${names.join(", ")}`, async (client) => {
        const refused: string[] = [];
        for (const { name, error } of await deleteTopics(client, names)) {
          if (error === null) context.io.writeError(`Deleted topic ${name}.\n`);
          else if (error.code !== ErrorCode.UNKNOWN_TOPIC_OR_PARTITION || !options.ifExists) {
            refused.push(`${name}: ${error.message}`);
          }
        }
        if (refused.length > 0) throw new CliError(refused.join("; "));
      });
    });
}

/**
 * The one entry: the command line over the real platform. Every real thing (disk, clock, entropy, sockets,
 * standard streams) is made here and handed down.
 */

import { availableParallelism } from "node:os";
import process from "node:process";
import { loadCommands, runCli } from "./broker/cli/cli.ts";
import { bunIo } from "./broker/cli/io_bun.ts";
import type { Served } from "./broker/cli/serve.ts";
import type { Config } from "./broker/config/config.ts";
import { loadAssets } from "./broker/gateway/console/assets_bun.ts";
import { serveHttp } from "./broker/gateway/http_bun.ts";
import { bunLogOutput } from "./broker/telemetry/log_output_bun.ts";
import { configureLog, type LogFormat, type LogLevel } from "./broker/telemetry/logger.ts";
import { bunProcessUsage } from "./broker/telemetry/process_usage_bun.ts";
import { sizeIoPool } from "./storage/platform_bun.ts";
import { bunWorkers } from "./storage/workers_bun.ts";
import packageJson from "./package.json" with { type: "json" };

const { version } = packageJson;
const io = bunIo();

async function start(config: Config): Promise<Served> {
  const { Broker } = await import("./broker/broker.ts");
  sizeIoPool();
  const output = bunLogOutput();
  const format = config.string("weir.log.format");
  const logger = configureLog({
    format: format === "auto" ? (output.isTerminal ? "text" : "json") : format as LogFormat,
    level: config.string("weir.log.level") as LogLevel,
    useColor: output.isTerminal,
    write: (line) => output.write(line),
  });
  for (const warning of config.warnings) logger.warn(warning);
  const { promise: failed, resolve: fail } = Promise.withResolvers<string>();
  const directoryCount = config.logDirectories().length;
  const workers = bunWorkers({
    logger,
    entry: new URL("./storage/worker_main_bun.ts", import.meta.url).href,
    threads: {
      // The event loop has a processor of its own; more than two threads would cost memory that few need.
      batches: () => Math.min(Math.max(availableParallelism() - 1, 1), 2),
      recovery: () => config.number("num.recovery.threads.per.data.dir") * directoryCount,
    },
  });
  const broker = await Broker.start({
    config,
    workers,
    disk: io.disk,
    clock: io.clock,
    random: io.random,
    network: io.network,
    logger,
    serveHttp,
    loadAssets,
    usage: bunProcessUsage(),
    version,
    signal: io.interrupted,
    onFailure: fail,
  });
  return {
    addresses: broker.addresses,
    failed,
    async stop() {
      await broker.stop();
      await workers.close();
      await output.close();
    },
  };
}

const argv = process.argv.slice(2);
const commands = await loadCommands(argv, {
  serve: async () => {
    const { addServeCommand } = await import("./broker/cli/serve.ts");
    return (program) => addServeCommand(program, { io, version, start });
  },
});
process.exitCode = await runCli(argv, { io, version, commands });

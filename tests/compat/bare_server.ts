/**
 * The server with nothing behind it but ApiVersions, as a process that starts and speaks like
 * `bun main.ts serve`: for tests of the network side alone (`WEIR_BAD_INPUT_BARE=1`).
 */

import { apiVersionsApi } from "../../broker/apis/api_versions.ts";
import type { Api } from "../../broker/apis/api.ts";
import { bunNetwork } from "../../broker/network_bun.ts";
import { Server } from "../../broker/server/server.ts";
import type { Logger } from "../../storage/platform.ts";
import { bunClock } from "../../storage/platform_bun.ts";

const settings = new Map(
  process.argv.filter((word) => word.includes("=")).map((word) =>
    word.split("=", 2) as [string, string]
  ),
);
const [, host, port] = /\/\/(.*):(\d+)/.exec(settings.get("listeners")!)!;

const line = (level: string) => (message: string, fields: object = {}) =>
  console.log(JSON.stringify({ level, message, ...fields }));
const logger: Logger = {
  debug() {},
  info: line("info"),
  warn: line("warn"),
  error: line("error"),
  child: () => logger,
};

/** So many that an answer is far larger than its request, as it is with all the APIs. */
const supported = new Map(
  Array.from({ length: 30 }, (_, i) => [`some.feature.${i}`, { lowest: 0, highest: 1 }] as const),
);
const served: Api[] = [
  apiVersionsApi({
    clusterId: "bare",
    nodeId: 1,
    features: () => ({ epoch: 0, finalized: new Map(), supported }),
    served: () => served,
  }),
];
const server = new Server({
  network: bunNetwork(),
  clock: bunClock(),
  logger,
  apis: served,
  limits: { memoryBudgetBytes: Number(settings.get("weir.memory.budget.bytes")) },
});
const listener = server.listen({ name: "PLAINTEXT", host: host!, port: Number(port) });
console.log(`Kafka on ${host}:${listener.port}, HTTP on 127.0.0.1:0`);
process.on("SIGTERM", () => {
  void server.stop({ deadlineMs: 1000 }).then(() => process.exit(0));
});

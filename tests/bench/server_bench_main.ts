/** Command line of `server_bench.ts`: the server here, the client in a child process. */

import { bunNetwork } from "../../broker/network_bun.ts";
import { bunClock } from "../../storage/platform_bun.ts";
import { SimLogger } from "../sim/sim_logger.ts";
import { benchServer, drive } from "./server_bench.ts";

const [role = "server", ...rest] = process.argv.slice(2);

if (role === "client") {
  const [port, connections, inFlight, count] = rest.map(Number) as [number, number, number, number];
  const network = bunNetwork();
  const run = (requests: number) =>
    Promise.all(
      Array.from(
        { length: connections },
        () => drive(network, { port, inFlight, count: requests / connections }),
      ),
    );
  await run(count / 5);
  const startMs = performance.now();
  await run(count);
  const seconds = (performance.now() - startMs) / 1000;
  console.log(`${Math.round(count / seconds)} requests/s`);
  process.exit(0);
}

const { connections = "1", inFlight = "30", count = "400000" } = Object.fromEntries(
  rest.map((word) => word.split("=")),
);
for (const isAsync of [false, true]) {
  const port = isAsync ? 31098 : 31099;
  const server = benchServer({
    network: bunNetwork(),
    clock: bunClock(),
    logger: new SimLogger(),
    port,
    isAsync,
  });
  const before = process.cpuUsage();
  const child = Bun.spawn([
    process.execPath,
    import.meta.path,
    "client",
    String(port),
    connections,
    inFlight,
    count,
  ], { stdout: "pipe", stderr: "inherit" });
  const text = await new Response(child.stdout).text();
  const used = process.cpuUsage(before);
  const perRequest = (used.user + used.system) / (1.2 * Number(count));
  console.log(
    `${isAsync ? "promise" : "at once"}, ${connections} connections, ${inFlight} in flight: ` +
      `${text.trim()}, ${perRequest.toFixed(2)} us of CPU a request in the server, ` +
      `${Math.round(process.memoryUsage.rss() / 1e6)} MB resident`,
  );
  await server.stop({ deadlineMs: 1000 });
}
process.exit(0);

/** A real broker for commands to speak to, in memory and on the virtual time of the machine that they run on. */

import type { Hono } from "hono";
import { Broker } from "../../../broker/broker.ts";
import { loadAssets } from "../../../broker/gateway/console/assets_bun.ts";
import { Config } from "../../../broker/config/config.ts";
import type { ServeHttp } from "../../../broker/gateway/http_server.ts";
import type { Network } from "../../../broker/network.ts";
import { SimLogger } from "../../sim/sim_logger.ts";
import type { SimDisk } from "../../sim/sim_disk.ts";
import { SIM_USAGE } from "../../sim/sim_usage.ts";
import { SimWorkers } from "../../sim/sim_workers.ts";
import { type TestMachine, VERSION } from "./test_io.ts";

/** What is special about it. */
export interface StartedBrokerOptions {
  /** Names its part of the machine's chance. */
  readonly name: string;
  readonly disk: SimDisk;
  readonly network: Network;
  /** Takes what is served over HTTP; there is none where it is left out. */
  readonly serveHttp?: ServeHttp;
  /** Settings besides the directory and the HTTP port. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** An HTTP port that is none: who has it asks the application itself. */
export class ServedApp {
  #app: Hono | null = null;

  /** To be handed in as `serveHttp`. */
  readonly serve: ServeHttp = ({ app, host, port }) => {
    this.#app = app;
    return { host, port, stop: () => Promise.resolve() };
  };

  /** Asks as `fetch` would. */
  async request(url: string, init?: RequestInit): Promise<Response> {
    return await this.#app!.request(url, init);
  }
}

/** Starts a broker. Returns: once it serves. Errors: those of `Broker.start`; it must not give up later. */
export async function startedBroker(
  { clock, random }: TestMachine,
  { name, disk, network, serveHttp, settings = {} }: StartedBrokerOptions,
): Promise<Broker> {
  const logger = new SimLogger();
  const http = { "http.listeners": serveHttp === undefined ? "" : "127.0.0.1:8080" };
  return await clock.run(Broker.start({
    config: Config.load({ flags: { ...settings, "log.dirs": "/data", ...http } }),
    disk,
    clock,
    random: random.fork(name),
    network,
    logger,
    workers: new SimWorkers({ disk, clock, logger }),
    loadAssets,
    serveHttp: serveHttp ?? (() => {
      throw new Error("no HTTP here");
    }),
    usage: SIM_USAGE,
    version: VERSION,
    onFailure: (message) => {
      throw new Error(message);
    },
  }));
}

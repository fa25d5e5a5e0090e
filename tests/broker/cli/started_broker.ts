/** A real broker for commands to speak to, in memory and on the virtual time of the machine that they run on. */

import { Broker } from "../../../broker/broker.ts";
import { Config } from "../../../broker/config/config.ts";
import type { Network } from "../../../broker/network.ts";
import { SimLogger } from "../../sim/sim_logger.ts";
import type { SimDisk } from "../../sim/sim_disk.ts";
import { SimWorkers } from "../../sim/sim_workers.ts";
import { type TestMachine, VERSION } from "./test_io.ts";

/** What is special about it. */
export interface StartedBrokerOptions {
  /** Names its part of the machine's chance. */
  readonly name: string;
  readonly disk: SimDisk;
  readonly network: Network;
  /** Settings besides the directory and the HTTP port, of which there is none. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** Starts a broker. Returns: once it serves. Errors: those of `Broker.start`; it must not give up later. */
export async function startedBroker(
  { clock, random }: TestMachine,
  { name, disk, network, settings = {} }: StartedBrokerOptions,
): Promise<Broker> {
  const logger = new SimLogger();
  return await clock.run(Broker.start({
    config: Config.load({ flags: { ...settings, "log.dirs": "/data", "http.listeners": "" } }),
    disk,
    clock,
    random: random.fork(name),
    network,
    logger,
    workers: new SimWorkers({ disk, clock, logger }),
    serveHttp: () => {
      throw new Error("no HTTP here");
    },
    usage: { startTimeSeconds: 0, residentBytes: () => 0, cpuSeconds: () => 0 },
    version: VERSION,
    onFailure: (message) => {
      throw new Error(message);
    },
  }));
}

/** A broker that lives beside a real controller in the same process, as `Broker.start` wires the two. */

import { controllerApis } from "../../broker/apis/index.ts";
import { BrokerLifecycle } from "../../broker/broker_lifecycle.ts";
import type { Config } from "../../broker/config/config.ts";
import type { Controller } from "../../broker/controller/controller.ts";
import { ControllerChannel } from "../../broker/controller/controller_channel.ts";
import { SUPPORTED_FEATURES } from "../../broker/controller/feature_changes.ts";
import { previousBrokerEpoch } from "../../broker/previous_epoch.ts";
import { Peers } from "../../broker/peers/peers.ts";
import type { LogDirectories } from "../../storage/log_directories.ts";
import type { Clock, Random } from "../../storage/platform.ts";
import { SimClock } from "../sim/sim_clock.ts";
import { SimLogger } from "../sim/sim_logger.ts";
import { SimNetwork } from "../sim/sim_network.ts";
import { SimRandom } from "../sim/sim_random.ts";

/** What a broker lives on. */
export interface LiveBrokerOptions {
  readonly nodeId: number;
  readonly clusterId: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly config: Config;
  readonly controller: Controller;
  readonly logDirectories: LogDirectories;
}

/** A broker, and its way to the controller. */
export interface LiveBroker {
  readonly lifecycle: BrokerLifecycle;
  readonly channel: ControllerChannel;
}

/** The way to a controller in the same process; there is no other. */
function localChannel(
  { nodeId, clusterId, clock, random, config, controller }: LiveBrokerOptions,
): ControllerChannel {
  const network = new SimNetwork({ clock: new SimClock(), random: new SimRandom(1) });
  return new ControllerChannel({
    clock,
    random: random.fork("channel"),
    peers: new Peers({ network, clock, random, clientId: "test", softwareVersion: "0" }),
    active: controller,
    handlers: controllerApis({ clusterId, nodeId, config, controller }),
    clientId: "test",
  });
}

/** A broker that has not begun yet: `lifecycle.start` and `setReady` are for the test to call. */
export function liveBroker(options: LiveBrokerOptions): LiveBroker {
  const { nodeId, clock, random, config, controller, logDirectories } = options;
  const channel = localChannel(options);
  const lifecycle = new BrokerLifecycle({
    nodeId,
    clock,
    random: random.fork("lifecycle"),
    // Its lines are nobody's business where something else is tested.
    logger: new SimLogger(),
    settings: {
      heartbeatIntervalMs: config.number("broker.heartbeat.interval.ms"),
      sessionTimeoutMs: config.number("broker.session.timeout.ms"),
      registrationTimeoutMs: config.number("initial.broker.registration.timeout.ms"),
      directoryTimeoutMs: config.number("log.dir.failure.timeout.ms"),
    },
    announcement: {
      endpoints: [{ name: "PLAINTEXT", host: "host1", port: 9092, securityProtocol: 0 }],
      features: SUPPORTED_FEATURES,
      rack: null,
    },
    channel,
    controller,
    logDirectories,
    previousBrokerEpoch: () =>
      previousBrokerEpoch({
        image: controller.image(),
        config,
        nodeId,
        logDirs: logDirectories.online().map(({ directoryId }) => directoryId),
        markedEpoch: logDirectories.previousBrokerEpoch,
      }),
    onFailure: () => {},
  });
  return { lifecycle, channel };
}

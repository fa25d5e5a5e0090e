/**
 * BrokerHeartbeat (key 63): a broker shows that it lives, and asks to be unfenced or to shut down
 * (KIP-631).
 *
 * Versions:
 *   1    offlineLogDirs (KIP-858)
 *   2    cordonedLogDirs (KIP-1066)
 */

import { array, bool, type Decoded, int16, int32, int64, message } from "../schema.ts";

/** Request of BrokerHeartbeat. */
export const brokerHeartbeatRequest = message(
  { name: "BrokerHeartbeatRequest", apiKey: 63, versions: "0-2", flexible: "0+" },
  {
    brokerId: int32("0+", { entity: "brokerId" }),
    brokerEpoch: int64("0+", { default: -1 }),
    currentMetadataOffset: int64("0+"),
    wantFence: bool("0+"),
    wantShutDown: bool("0+"),
    offlineLogDirs: array("1+", "uuid", { tag: 0, tagged: "1+" }),
    cordonedLogDirs: array("2+", "uuid", { nullable: "2+", default: null, tag: 1, tagged: "2+" }),
  },
);
export type BrokerHeartbeatRequest = Decoded<typeof brokerHeartbeatRequest>;

/** Answer of BrokerHeartbeat. */
export const brokerHeartbeatResponse = message(
  { name: "BrokerHeartbeatResponse", apiKey: 63, versions: "0-2", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
    isCaughtUp: bool("0+", { default: false }),
    isFenced: bool("0+", { default: true }),
    shouldShutDown: bool("0+"),
  },
);
export type BrokerHeartbeatResponse = Decoded<typeof brokerHeartbeatResponse>;

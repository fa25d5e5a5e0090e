/**
 * BrokerRegistration (key 62): a broker makes itself known to the controller (KIP-631).
 *
 * Versions:
 *   1    isMigratingZkBroker (KIP-866)
 *   2    logDirs (KIP-858)
 *   3    previousBrokerEpoch, which tells a clean restart (KIP-966)
 *   4    a supported feature may start at version 0
 */

import {
  array,
  bool,
  type Decoded,
  int16,
  int32,
  int64,
  message,
  string,
  uint16,
  uuid,
} from "../schema.ts";

/** Request of BrokerRegistration. */
export const brokerRegistrationRequest = message(
  { name: "BrokerRegistrationRequest", apiKey: 62, versions: "0-4", flexible: "0+" },
  {
    brokerId: int32("0+", { entity: "brokerId" }),
    clusterId: string("0+"),
    incarnationId: uuid("0+"),
    listeners: array("0+", {
      name: string("0+", { mapKey: true }),
      host: string("0+"),
      port: uint16("0+"),
      securityProtocol: int16("0+"),
    }),
    features: array("0+", {
      name: string("0+", { mapKey: true }),
      minSupportedVersion: int16("0+"),
      maxSupportedVersion: int16("0+"),
    }),
    rack: string("0+", { nullable: "0+" }),
    isMigratingZkBroker: bool("1+", { default: false }),
    logDirs: array("2+", "uuid", { ignorable: true }),
    previousBrokerEpoch: int64("3+", { default: -1, ignorable: true }),
  },
);
export type BrokerRegistrationRequest = Decoded<typeof brokerRegistrationRequest>;

/** Answer of BrokerRegistration. */
export const brokerRegistrationResponse = message(
  { name: "BrokerRegistrationResponse", apiKey: 62, versions: "0-4", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
    brokerEpoch: int64("0+", { default: -1 }),
  },
);
export type BrokerRegistrationResponse = Decoded<typeof brokerRegistrationResponse>;

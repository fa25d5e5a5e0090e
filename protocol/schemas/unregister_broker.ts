/**
 * UnregisterBroker (key 64): removes a broker from the cluster (KIP-631).
 */

import { type Decoded, int16, int32, message, string } from "../schema.ts";

/** Request of UnregisterBroker. */
export const unregisterBrokerRequest = message(
  { name: "UnregisterBrokerRequest", apiKey: 64, versions: "0", flexible: "0+" },
  {
    brokerId: int32("0+", { entity: "brokerId" }),
  },
);
export type UnregisterBrokerRequest = Decoded<typeof unregisterBrokerRequest>;

/** Answer of UnregisterBroker. */
export const unregisterBrokerResponse = message(
  { name: "UnregisterBrokerResponse", apiKey: 64, versions: "0", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
    errorMessage: string("0+", { nullable: "0+" }),
  },
);
export type UnregisterBrokerResponse = Decoded<typeof unregisterBrokerResponse>;

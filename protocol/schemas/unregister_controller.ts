/**
 * UnregisterController (key 94): removes a controller from the cluster (KAFKA-20395).
 */

import { type Decoded, int16, int32, message, string } from "../schema.ts";

/** Request of UnregisterController. */
export const unregisterControllerRequest = message(
  { name: "UnregisterControllerRequest", apiKey: 94, versions: "0", flexible: "0+" },
  {
    controllerId: int32("0+"),
  },
);
export type UnregisterControllerRequest = Decoded<typeof unregisterControllerRequest>;

/** Answer of UnregisterController. */
export const unregisterControllerResponse = message(
  { name: "UnregisterControllerResponse", apiKey: 94, versions: "0", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
    errorMessage: string("0+", { nullable: "0+" }),
  },
);
export type UnregisterControllerResponse = Decoded<typeof unregisterControllerResponse>;

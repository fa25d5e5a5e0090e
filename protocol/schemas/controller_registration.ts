/**
 * ControllerRegistration (key 70): a controller makes itself known to the active one (KIP-919).
 */

import {
  array,
  bool,
  type Decoded,
  int16,
  int32,
  message,
  string,
  uint16,
  uuid,
} from "../schema.ts";

/** Request of ControllerRegistration. */
export const controllerRegistrationRequest = message(
  { name: "ControllerRegistrationRequest", apiKey: 70, versions: "0", flexible: "0+" },
  {
    controllerId: int32("0+"),
    incarnationId: uuid("0+"),
    zkMigrationReady: bool("0+"),
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
  },
);
export type ControllerRegistrationRequest = Decoded<typeof controllerRegistrationRequest>;

/** Answer of ControllerRegistration. */
export const controllerRegistrationResponse = message(
  { name: "ControllerRegistrationResponse", apiKey: 70, versions: "0", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
    errorMessage: string("0+", { nullable: "0+" }),
  },
);
export type ControllerRegistrationResponse = Decoded<typeof controllerRegistrationResponse>;

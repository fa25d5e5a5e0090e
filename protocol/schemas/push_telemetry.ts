/**
 * PushTelemetry (key 72): a client sends its metrics (KIP-714).
 */

import { bool, bytes, type Decoded, int16, int32, int8, message, uuid } from "../schema.ts";

/** Request of PushTelemetry. */
export const pushTelemetryRequest = message(
  { name: "PushTelemetryRequest", apiKey: 72, versions: "0", flexible: "0+" },
  {
    clientInstanceId: uuid("0+"),
    subscriptionId: int32("0+"),
    terminating: bool("0+"),
    compressionType: int8("0+"),
    metrics: bytes("0+"),
  },
);
export type PushTelemetryRequest = Decoded<typeof pushTelemetryRequest>;

/** Answer of PushTelemetry. */
export const pushTelemetryResponse = message(
  { name: "PushTelemetryResponse", apiKey: 72, versions: "0", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
  },
);
export type PushTelemetryResponse = Decoded<typeof pushTelemetryResponse>;

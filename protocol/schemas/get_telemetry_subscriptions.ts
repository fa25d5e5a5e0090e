/**
 * GetTelemetrySubscriptions (key 71): which metrics the broker wants of a client (KIP-714).
 */

import { array, bool, type Decoded, int16, int32, message, uuid } from "../schema.ts";

/** Request of GetTelemetrySubscriptions. */
export const getTelemetrySubscriptionsRequest = message(
  { name: "GetTelemetrySubscriptionsRequest", apiKey: 71, versions: "0", flexible: "0+" },
  {
    clientInstanceId: uuid("0+"),
  },
);
export type GetTelemetrySubscriptionsRequest = Decoded<typeof getTelemetrySubscriptionsRequest>;

/** Answer of GetTelemetrySubscriptions. */
export const getTelemetrySubscriptionsResponse = message(
  { name: "GetTelemetrySubscriptionsResponse", apiKey: 71, versions: "0", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
    clientInstanceId: uuid("0+"),
    subscriptionId: int32("0+"),
    acceptedCompressionTypes: array("0+", "int8"),
    pushIntervalMs: int32("0+"),
    telemetryMaxBytes: int32("0+"),
    deltaTemporality: bool("0+"),
    requestedMetrics: array("0+", "string"),
  },
);
export type GetTelemetrySubscriptionsResponse = Decoded<typeof getTelemetrySubscriptionsResponse>;

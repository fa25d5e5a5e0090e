/** Which errors say something of the cluster, and which are bugs of ours. */

import { WireError } from "../../../protocol/bytes.ts";
import { ClientError } from "../../client/client_error.ts";
import { KafkaError } from "../../client/kafka_client.ts";
import { NetworkError } from "../../network.ts";

/** Passes what a broker or the way to it may say. Errors: throws anything else again. */
export function throwUnlessOfCluster(error: unknown): void {
  const isOfCluster = error instanceof KafkaError || error instanceof NetworkError ||
    error instanceof WireError || error instanceof ClientError;
  if (!isOfCluster) throw error;
}

/** Where a broker is reached by another one. */

import type { Config } from "../config/config.ts";
import type { MetadataImage } from "../controller/metadata_image.ts";
import type { Endpoint } from "../network.ts";

/** The endpoint of a broker for other brokers, as `inter.broker.listener.name` says; null when it is not known. */
export function brokerEndpoint(
  image: Pick<MetadataImage, "brokers">,
  config: Pick<Config, "string">,
  brokerId: number,
): Endpoint | null {
  const endpoints = image.brokers.get(brokerId)?.endpoints ?? [];
  const wanted = config.string("inter.broker.listener.name")?.toUpperCase() ?? null;
  return endpoints.find(({ name }) => wanted === null || name === wanted) ?? null;
}

/** An image as a text, which is equal exactly where images are. */

import {
  ConfigResourceType,
  type MetadataImage,
} from "../../../broker/controller/metadata_image.ts";

/** The order in which things came to be does not count. */
export function imageText(image: MetadataImage): string {
  const types = Object.keys(ConfigResourceType) as ConfigResourceType[];
  const configs = types.flatMap((type) =>
    [...image.configuredResources(type)].sort().map((name) => [
      type,
      name,
      [...image.configs(type, name)].sort(),
    ])
  );
  const nodes = <N extends { id: number; features: ReadonlyMap<string, unknown> }>(
    found: ReadonlyMap<number, N>,
  ) =>
    [...found.values()].sort((a, b) => a.id - b.id)
      .map((node) => ({ ...node, features: [...node.features].sort() }));
  return JSON.stringify({
    clusterId: image.clusterId,
    features: [...image.features].sort(),
    brokers: nodes(image.brokers),
    controllers: nodes(image.controllers),
    topics: [...image.topics()].sort((a, b) => a.name < b.name ? -1 : 1),
    collisions: [...image.topics()].map(({ name }) => image.collidingTopicName(name)).sort(),
    configs,
    nextProducerId: image.nextProducerId,
    accessControlIds: [...image.accessControlIds].sort(),
    withoutEffect: [...image.withoutEffect].sort(),
  });
}

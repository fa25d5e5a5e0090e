/** Every API that is served. ApiVersions answers from this list, and the compatibility page is made from it. */

import type { Config } from "../config/config.ts";
import type { Controller } from "../controller/controller.ts";
import type { Api } from "./api.ts";
import { apiVersionsApi } from "./api_versions.ts";
import { metadataApi } from "./metadata.ts";

/** What the handlers need; `broker.ts` makes it. */
export interface Subsystems {
  readonly controller: Controller;
  readonly config: Config;
  readonly nodeId: number;
  readonly clusterId: string;
}

/** Makes the handlers. */
export function apis(subsystems: Subsystems): Api[] {
  const list: Api[] = [
    metadataApi(subsystems),
    apiVersionsApi({ ...subsystems, features: () => features(subsystems), served: () => list }),
  ];
  return list;
}

function features({ controller, nodeId }: Subsystems) {
  const image = controller.image();
  return {
    epoch: image.offset,
    finalized: image.features,
    supported: image.brokers.get(nodeId)?.features ?? new Map(),
  };
}

/**
 * DescribeCluster (key 60), versions 0–2: the brokers and the controller.
 *
 * - v1: `endpointType` tells brokers (1) from controllers (2) (KIP-919). v2: fenced brokers on request
 *   (KIP-1073).
 *
 * A listener of brokers knows the brokers, one of controllers those who have registered as controllers; to ask one
 * for the others is a mismatch.
 *
 * Gaps: none known.
 */

import { ApiKey } from "../../protocol/api_keys.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import {
  describeClusterRequest,
  describeClusterResponse,
} from "../../protocol/schemas/describe_cluster.ts";
import { controllerFor, reachableBrokers } from "../controller/cluster_view.ts";
import type { Controller } from "../controller/controller.ts";
import { allOperations, OPERATIONS_NOT_ASKED } from "../security/authorized_operations.ts";
import type { MetadataImage } from "../controller/metadata_image.ts";
import { type Api, type ConnectionInfo, defineApi } from "./api.ts";

/** Kafka's number of each. */
const endpointTypes = { broker: 1, controller: 2 } as const;
type EndpointType = keyof typeof endpointTypes;

interface Subsystems {
  readonly controller: Controller;
  readonly nodeId: number;
  /** Whose listener it is. */
  readonly endpoint?: EndpointType;
}

/** Answers DescribeCluster. */
export function describeClusterApi(
  { controller, nodeId, endpoint = "broker" }: Subsystems,
): Api {
  return defineApi({
    key: ApiKey.DescribeCluster,
    request: describeClusterRequest,
    response: describeClusterResponse,
    versions: { lowest: 0, highest: 2 },
    handle(request, { apiVersion, connection }) {
      const image = controller.image();
      if (request.endpointType !== endpointTypes[endpoint]) {
        const refused = refuseEndpointType(request.endpointType, endpoint, apiVersion);
        return { throttleTimeMs: 0, clusterId: "", brokers: [], ...refused };
      }
      const nodes = endpoint === "broker"
        ? brokers(image, connection, request.includeFencedBrokers)
        : controllers(image, connection);
      return {
        throttleTimeMs: 0,
        errorCode: ErrorCode.NONE,
        endpointType: request.endpointType,
        clusterId: image.clusterId,
        ...nodes,
        clusterAuthorizedOperations: request.includeClusterAuthorizedOperations
          ? allOperations.cluster
          : OPERATIONS_NOT_ASKED,
      };
    },
  });

  function brokers(image: MetadataImage, connection: ConnectionInfo, includeFenced: boolean) {
    const reachable = reachableBrokers(image, { nodeId, ...connection }, { includeFenced });
    return {
      controllerId: controllerFor(controller.controllerId, reachable),
      brokers: [...reachable.values()].map(({ id, host, port, rack, fenced }) => (
        { brokerId: id, host, port, rack, isFenced: fenced }
      )),
    };
  }

  function controllers(image: MetadataImage, { listenerName }: ConnectionInfo) {
    return {
      controllerId: controller.controllerId,
      brokers: [...image.controllers.values()].flatMap(({ id, endpoints }) => {
        const reachable = endpoints.find(({ name }) => name === listenerName);
        if (reachable === undefined) return [];
        const { host, port } = reachable;
        return [{ brokerId: id, host, port, rack: null, isFenced: false }];
      }),
    };
  }
}

function refuseEndpointType(asked: number, served: EndpointType, apiVersion: number) {
  const wanted = Object.entries(endpointTypes).find(([, type]) => type === asked);
  if (wanted !== undefined) {
    return {
      errorCode: ErrorCode.MISMATCHED_ENDPOINT_TYPE,
      errorMessage: `The request was sent to an endpoint of type ${served.toUpperCase()}, but we ` +
        `wanted an endpoint of type ${wanted[0].toUpperCase()}`,
    };
  }
  return {
    errorCode: apiVersion === 0 ? ErrorCode.INVALID_REQUEST : ErrorCode.UNSUPPORTED_ENDPOINT_TYPE,
    errorMessage: `Unsupported endpoint type ${asked}`,
  };
}

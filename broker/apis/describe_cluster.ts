/**
 * DescribeCluster (key 60), versions 0–2: the brokers and the controller.
 *
 * - v1: `endpointType` tells brokers (1) from controllers (2) (KIP-919). v2: fenced brokers on request
 *   (KIP-1073).
 *
 * Gaps: none known. A listener for controllers does not exist, so type 2 is always a mismatch.
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
import { type Api, defineApi } from "./api.ts";

const endpointTypes = { broker: 1, controller: 2 } as const;

interface Subsystems {
  readonly controller: Controller;
  readonly nodeId: number;
}

/** Answers DescribeCluster. */
export function describeClusterApi({ controller, nodeId }: Subsystems): Api {
  return defineApi({
    key: ApiKey.DescribeCluster,
    request: describeClusterRequest,
    response: describeClusterResponse,
    versions: { lowest: 0, highest: 2 },
    handle(request, { apiVersion, connection }) {
      const { endpointType, includeFencedBrokers: includeFenced } = request;
      const image = controller.image();
      if (endpointType !== endpointTypes.broker) {
        const refused = refuseEndpointType(endpointType, apiVersion);
        return { throttleTimeMs: 0, clusterId: "", brokers: [], ...refused };
      }
      const brokers = reachableBrokers(image, { nodeId, ...connection }, { includeFenced });
      return {
        throttleTimeMs: 0,
        errorCode: ErrorCode.NONE,
        endpointType,
        clusterId: image.clusterId,
        controllerId: controllerFor(controller.controllerId, brokers),
        brokers: [...brokers.values()].map(({ id, host, port, rack, fenced }) => ({
          brokerId: id,
          host,
          port,
          rack,
          isFenced: fenced,
        })),
        clusterAuthorizedOperations: request.includeClusterAuthorizedOperations
          ? allOperations.cluster
          : OPERATIONS_NOT_ASKED,
      };
    },
  });
}

function refuseEndpointType(endpointType: number, apiVersion: number) {
  if (endpointType === endpointTypes.controller) {
    return {
      errorCode: ErrorCode.MISMATCHED_ENDPOINT_TYPE,
      errorMessage:
        "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER",
    };
  }
  return {
    errorCode: apiVersion === 0 ? ErrorCode.INVALID_REQUEST : ErrorCode.UNSUPPORTED_ENDPOINT_TYPE,
    errorMessage: `Unsupported endpoint type ${endpointType}`,
  };
}

/** The cluster and its brokers. */

import { z } from "zod";
import { ProblemError } from "../problem.ts";
import { type Asked, json, type Operation, operation } from "./operation.ts";
import { Links, listSchema, relationship, resourceSchema, wholeList } from "./resources.ts";
import { named } from "./schema_names.ts";

const cluster = named(
  "ClusterData",
  resourceSchema("KafkaCluster", {
    cluster_id: z.string(),
    controller: relationship.optional(),
    acls: relationship,
    brokers: relationship,
    broker_configs: relationship,
    consumer_groups: relationship,
    topics: relationship,
    partition_reassignments: relationship,
  }),
);
const clusterList = named("ClusterDataList", listSchema(cluster, "KafkaCluster"));

const broker = named(
  "BrokerData",
  resourceSchema("KafkaBroker", {
    cluster_id: z.string(),
    broker_id: z.int(),
    host: z.string().nullable(),
    port: z.int().nullable(),
    rack: z.string().nullable(),
    configs: relationship,
    partition_replicas: relationship,
  }),
);
const brokerList = named("BrokerDataList", listSchema(broker, "KafkaBroker"));

type ClientOnly = Pick<Asked<string, Record<never, never>, z.ZodType>, "client" | "base">;

async function clusterData({ client, base }: ClientOnly) {
  const { clusterId, controllerId } = await client.retry(() => client.metadata([]));
  const links = new Links(base, clusterId ?? "");
  return {
    ...links.resource("KafkaCluster", [], ""),
    ...(controllerId >= 0 && { controller: links.related("brokers", controllerId) }),
    acls: links.related("acls"),
    brokers: links.related("brokers"),
    broker_configs: links.related("broker-configs"),
    consumer_groups: links.related("consumer-groups"),
    topics: links.related("topics"),
    partition_reassignments: links.related("topics", "-", "partitions", "-", "reassignment"),
  };
}

async function brokersData({ client, base }: ClientOnly) {
  const { clusterId, brokers } = await client.retry(() => client.metadata([]));
  const links = new Links(base, clusterId ?? "");
  return brokers.toSorted((a, b) => a.nodeId - b.nodeId).map(({ nodeId, host, port, rack }) => ({
    ...links.resource("KafkaBroker", ["brokers", nodeId], `broker=${nodeId}`),
    broker_id: nodeId,
    host,
    port,
    rack,
    configs: links.related("brokers", nodeId, "configs"),
    partition_replicas: links.related("brokers", nodeId, "partition-replicas"),
  }));
}

const tag = "Cluster (v3)";

/** The operations. */
export const clusterOperations: readonly Operation[] = [
  operation({
    method: "get",
    path: "/v3/clusters",
    id: "listKafkaV3Clusters",
    tag,
    summary: "List clusters: the one that this node belongs to",
    answers: { 200: { description: "The list of clusters.", schema: clusterList } },
    handle: async (asked) =>
      json(
        asked.context,
        wholeList("KafkaCluster", `${asked.base}/v3/clusters`, [await clusterData(asked)]),
      ),
  }),
  operation({
    method: "get",
    path: "/v3/clusters/{cluster_id}",
    id: "getKafkaV3Cluster",
    tag,
    summary: "Get the cluster",
    answers: { 200: { description: "The cluster.", schema: cluster } },
    handle: async (asked) => json(asked.context, await clusterData(asked)),
  }),
  operation({
    method: "get",
    path: "/v3/clusters/{cluster_id}/brokers",
    id: "listKafkaV3Brokers",
    tag: "Broker (v3)",
    summary: "List brokers",
    answers: { 200: { description: "The brokers that are alive.", schema: brokerList } },
    handle: async (asked) => {
      const self = new Links(asked.base, asked.path.cluster_id).to("brokers");
      return json(asked.context, wholeList("KafkaBroker", self, await brokersData(asked)));
    },
  }),
  operation({
    method: "get",
    path: "/v3/clusters/{cluster_id}/brokers/{broker_id}",
    id: "getKafkaV3Broker",
    tag: "Broker (v3)",
    summary: "Get a broker",
    answers: { 200: { description: "The broker.", schema: broker } },
    handle: async (asked) => {
      const id = asked.path.broker_id;
      const found = (await brokersData(asked)).find(({ broker_id }) => broker_id === id);
      if (found === undefined) throw noBroker(id);
      return json(asked.context, found);
    },
  }),
];

/** There is no such broker, or it is not alive. */
export function noBroker(id: number): ProblemError {
  return new ProblemError(404, `Broker ${id} cannot be found: there is none, or it does not run`);
}

/** Brokers with their disks, the quorum that keeps the metadata, and the settings of one broker. */

import { ResourceType } from "../../client/config_client.ts";
import type { KafkaClient } from "../../client/kafka_client.ts";
import { describeLogDirs, type LogDir } from "../../client/log_dirs.ts";
import { describeQuorum, type QuorumReplica, type QuorumView } from "../../client/quorum.ts";
import { changeConfig, configParts } from "./configs.tsx";
import type { Page, PageRoutes } from "./routes.ts";
import { FormFault, PageHead, Table } from "./elements.tsx";
import { formatBytes, formatCount, formatCounted, formatDuration } from "./format.ts";
import type { BrokerState } from "./health.ts";
import { brokerPath } from "./paths.ts";
import type { Recents } from "./recent.ts";

const LIST_PATH = "/console/brokers";
const REFRESH_MS = 5000;

/** Adds the pages. */
export function brokerPages(routes: PageRoutes, recent: Recents): void {
  routes.page(LIST_PATH, (_context, client) => ({
    title: "Brokers",
    way: "Brokers",
    parts: [
      {
        id: "brokers",
        label: "the brokers",
        refreshMs: REFRESH_MS,
        render: async () => <BrokerTable brokers={(await recent.health.get(client)).brokers} />,
      },
      {
        id: "quorum",
        label: "the quorum",
        refreshMs: REFRESH_MS,
        render: async () => <QuorumPart view={await describeQuorum(client)} />,
      },
      {
        id: "disks",
        label: "the log directories",
        refreshMs: 3 * REFRESH_MS,
        render: async () => <Directories directories={await describeLogDirs(client)} />,
      },
    ],
    body: ({ brokers, quorum, disks }) => (
      <>
        <PageHead title="Brokers" />
        <div class="stack">
          {brokers}
          <div>
            <h2>Log directories</h2>
            {disks}
          </div>
          <div>
            <h2>Quorum</h2>
            <p class="quiet">
              The controllers that keep the cluster's metadata, and who follows them.
            </p>
            {quorum}
          </div>
        </div>
      </>
    ),
  }));
  routes.page("/console/brokers/:id", (context, client) => {
    return brokerPage(client, context.req.param("id") ?? "", null);
  });
  routes.form("/console/brokers/:id", async (context, client, fields) => {
    const id = context.req.param("id") ?? "";
    try {
      await changeConfig(client, ResourceType.broker, id, fields);
      return { goTo: `${LIST_PATH}/${encodeURIComponent(id)}` };
    } catch (error) {
      return brokerPage(client, id, error);
    }
  });
}

function brokerPage(client: KafkaClient, id: string, error: unknown): Page {
  const path = `${LIST_PATH}/${encodeURIComponent(id)}`;
  return {
    title: `Broker ${id}`,
    way: "Brokers",
    status: error === null ? 200 : 400,
    parts: configParts(client, {
      resourceType: ResourceType.broker,
      resourceName: id,
      action: path,
      of: "this broker",
      isLong: true,
    }),
    body: ({ made, defaults }) => (
      <>
        <PageHead
          title={`Broker ${id}`}
          crumb={{ name: "Brokers", path: LIST_PATH }}
          about="Its settings, in Kafka's names. What can be changed while it runs is changed at once."
        />
        <FormFault what="Nothing was changed" error={error} />
        <div class="stack">
          {made}
          {defaults}
        </div>
      </>
    ),
  };
}

/** Brokers, what they lead and hold, and whether they take part. */
export function BrokerTable({ brokers }: { readonly brokers: readonly BrokerState[] }) {
  return (
    <Table
      caption="Brokers"
      head={[
        { name: "Broker" },
        { name: "Address" },
        { name: "Rack", isWide: true },
        { name: "Leads", isNumber: true },
        { name: "Holds", isNumber: true, isWide: true },
        { name: "State" },
      ]}
    >
      {brokers.map(({ nodeId, host, port, rack, leaderCount, replicaCount, ...it }) => (
        <tr>
          <th scope="row">
            <a href={brokerPath(nodeId)}>{nodeId}</a>
          </th>
          <td class="mono">{host}:{port}</td>
          <td class="wide">{rack ?? <span class="quiet">none</span>}</td>
          <td class="num">{formatCount(leaderCount)}</td>
          <td class="num wide">{formatCount(replicaCount)}</td>
          <td>
            {it.isFenced
              ? <span class="tag bad">fenced</span>
              : it.laggingCount > 0
              ? <span class="tag warn">{formatCounted(it.laggingCount, "replica")} behind</span>
              : <span class="tag good">in sync</span>}
          </td>
        </tr>
      ))}
    </Table>
  );
}

function QuorumPart({ view }: { readonly view: QuorumView }) {
  return (
    <>
      <Table
        caption="Quorum"
        head={[
          { name: "Node" },
          { name: "Role" },
          { name: "Log end offset", isNumber: true, isWide: true },
          { name: "Lag", isNumber: true },
          { name: "Caught up", isNumber: true },
          { name: "Listens at", isWide: true },
        ]}
      >
        {view.replicas.map(({ node, status, logEndOffset, lag, caughtUpMsAgo, endpoints }) => (
          <tr>
            <th scope="row">{node}</th>
            <td>
              <span class={`tag ${status === "leader" ? "good" : ""}`}>{status}</span>
            </td>
            <td class="num wide">{formatCount(logEndOffset)}</td>
            <td class="num">{formatCount(lag)}</td>
            <td class="num">{caughtUpText(status, caughtUpMsAgo)}</td>
            <td class="mono wide">{endpoints.join(", ")}</td>
          </tr>
        ))}
      </Table>
      <p class="pager">
        Epoch {view.leaderEpoch}, high watermark {formatCount(view.highWatermark)}
      </p>
    </>
  );
}

function caughtUpText(status: QuorumReplica["status"], caughtUpMsAgo: number | null): string {
  if (status === "leader") return "–";
  if (caughtUpMsAgo === null) return "never";
  return caughtUpMsAgo < 1000 ? "now" : `${formatDuration(caughtUpMsAgo)} ago`;
}

function Directories({ directories }: { readonly directories: readonly LogDir[] }) {
  return (
    <Table
      caption="Log directories"
      head={[
        { name: "Broker" },
        { name: "Directory" },
        { name: "Partitions", isNumber: true, isWide: true },
        { name: "Holds", isNumber: true, isWide: true },
        { name: "Free", isNumber: true },
        { name: "Disk", isWide: true },
        { name: "State" },
      ]}
    >
      {directories.map((
        { broker, directory, partitions, usedBytes, freeBytes, sizeBytes, state },
      ) => (
        <tr>
          <th scope="row">{broker}</th>
          <td class="mono">{directory}</td>
          <td class="num wide">{formatCount(partitions)}</td>
          <td class="num wide">{formatBytes(usedBytes)}</td>
          <td class="num">{freeBytes === null ? "?" : formatBytes(freeBytes)}</td>
          <td class="wide">
            {freeBytes === null || sizeBytes === null || sizeBytes === 0 ? null : (
              <>
                <meter
                  max={1}
                  value={1 - freeBytes / sizeBytes}
                  aria-label={`Disk of ${directory}`}
                >
                </meter>{" "}
                <span class="quiet small">
                  {Math.round((1 - freeBytes / sizeBytes) * 100)}% of {formatBytes(sizeBytes)}
                </span>
              </>
            )}
          </td>
          <td>
            <span class={`tag ${state === "online" ? "good" : "bad"}`}>{state}</span>
          </td>
        </tr>
      ))}
    </Table>
  );
}

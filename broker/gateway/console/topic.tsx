/** One topic: its messages, its partitions, the groups that read it, its settings, and its end. */

import type { Context } from "hono";
import type { Child } from "hono/jsx";
import { ErrorCode } from "../../../protocol/errors.ts";
import type { MetadataResponse } from "../../../protocol/schemas/metadata.ts";
import { formatTopicPartition } from "../../../protocol/types.ts";
import { ResourceType } from "../../client/config_client.ts";
import { type KafkaClient, KafkaError } from "../../client/kafka_client.ts";
import { SpecialTimestamp } from "../../client/offsets.ts";
import { createPartitions, deleteTopics } from "../../client/topics.ts";
import { changeConfig, configParts } from "./configs.tsx";
import type { Page, PageRoutes } from "./routes.ts";
import { Empty, FormFault, PageHead, Table, Tabs } from "./elements.tsx";
import { formatBytes, formatCount, formatCounted } from "./format.ts";
import { askTopicLags } from "./group_lags.ts";
import { StateTag } from "./groups.tsx";
import { MessagesView } from "./messages.tsx";
import { brokerPath, groupPath, topicPath } from "./paths.ts";
import { askBytes, askOffsets, askTopicSizes } from "./topic_sizes.ts";

const REFRESH_MS = 5000;

/** What the views of a topic have in common. */
interface TopicView {
  readonly name: string;
  readonly metadata: MetadataResponse["topics"][number];
  readonly bootstrap: string;
}

/** Adds the pages. */
export function topicPages(routes: PageRoutes): void {
  const view = (path: string, make: (client: KafkaClient, view: TopicView) => Page) =>
    routes.page(`/console/topics/:topic${path}`, async (context, client) => {
      const found = await findTopic(context, client);
      return found === null ? noTopic(nameOf(context)) : make(client, found);
    });
  view("", messagesPage);
  view("/partitions", partitionsPage);
  view("/groups", groupsPage);
  view("/settings", (client, found) => settingsPage(client, found, null));
  routes.form("/console/topics/:topic/settings", async (context, client, fields) => {
    const found = await findTopic(context, client);
    if (found === null) return noTopic(nameOf(context));
    try {
      await changeConfig(client, ResourceType.topic, found.name, fields);
      return { goTo: topicPath(found.name, "settings") };
    } catch (error) {
      return settingsPage(client, found, error);
    }
  });
  routes.form("/console/topics/:topic/partitions", async (context, client, fields) => {
    const found = await findTopic(context, client);
    if (found === null) return noTopic(nameOf(context));
    try {
      await createPartitions(client, found.name, fields.count("total") ?? 0);
      return { goTo: topicPath(found.name, "partitions") };
    } catch (error) {
      return settingsPage(client, found, error);
    }
  });
  routes.form("/console/topics/:topic/delete", async (context, client, fields) => {
    const found = await findTopic(context, client);
    if (found === null) return noTopic(nameOf(context));
    if (fields.text("name") !== found.name) {
      return settingsPage(client, found, new NotConfirmed(found.name));
    }
    const [deleted] = await deleteTopics(client, [found.name]);
    if (deleted?.error != null) return settingsPage(client, found, deleted.error);
    return { goTo: "/console/topics" };
  });
}

/** Who deletes a topic has to write its name. */
class NotConfirmed extends KafkaError {
  constructor(name: string) {
    super(ErrorCode.INVALID_REQUEST, `the name that was written is not ${name}`);
  }
}

function nameOf(context: Context): string {
  return context.req.param("topic") ?? "";
}

async function findTopic(context: Context, client: KafkaClient): Promise<TopicView | null> {
  const name = nameOf(context);
  const { topics: [metadata], brokers: [broker] } = await client.retry(() =>
    client.metadata([name])
  );
  if (metadata?.errorCode !== ErrorCode.NONE) return null;
  return { name, metadata, bootstrap: `${broker?.host}:${broker?.port}` };
}

function noTopic(name: string): Page {
  return {
    title: "No such topic",
    way: "Topics",
    status: 404,
    parts: [],
    body: () => (
      <Empty title={`There is no topic "${name}"`}>
        <p>
          It may have been deleted, or it is about to be made.{" "}
          <a href={`/console/topics?${new URLSearchParams({ q: name })}`}>
            Topics with such a name
          </a>
        </p>
      </Empty>
    ),
  };
}

const VIEWS = [
  { name: "Messages", view: "" },
  { name: "Partitions", view: "partitions" },
  { name: "Groups", view: "groups" },
  { name: "Settings", view: "settings" },
] as const;

/** What stands above every view: the name, how much there is, and the other views. */
function TopicHead(
  { name, current, sizes }: {
    readonly name: string;
    readonly current: (typeof VIEWS)[number]["name"];
    readonly sizes: Child;
  },
) {
  return (
    <>
      <PageHead
        title={name}
        isName
        crumb={{ name: "Topics", path: "/console/topics" }}
        about={sizes}
      />
      <Tabs
        label={`Views of ${name}`}
        current={current}
        tabs={VIEWS.map(({ name: label, view }) => ({ name: label, path: topicPath(name, view) }))}
      />
    </>
  );
}

function sizesPart(client: KafkaClient, { name, metadata }: TopicView) {
  const { partitions } = metadata;
  const replicas = Math.max(0, ...partitions.map(({ replicaNodes }) => replicaNodes.length));
  return {
    id: "sizes",
    label: "how much is in it",
    refreshMs: REFRESH_MS,
    render: async () => {
      const size = (await askTopicSizes(client, [metadata])).get(name);
      const { messageCount, bytes } = size ?? {};
      return (
        <p>
          {formatCounted(partitions.length, "partition")}, {formatCounted(replicas, "replica")} of
          {" "}
          each, {messageCount === undefined ? "?" : formatCount(messageCount)} messages,{" "}
          {bytes === undefined ? "?" : formatBytes(bytes)}
        </p>
      );
    },
  };
}

function messagesPage(client: KafkaClient, view: TopicView): Page {
  const { name, metadata, bootstrap } = view;
  return {
    title: name,
    way: "Topics",
    scripts: ["messages.js"],
    parts: [sizesPart(client, view)],
    body: ({ sizes }) => (
      <>
        <TopicHead name={name} current="Messages" sizes={sizes} />
        <MessagesView
          topic={name}
          partitionCount={metadata.partitions.length}
          bootstrap={bootstrap}
        />
      </>
    ),
  };
}

function partitionsPage(client: KafkaClient, view: TopicView): Page {
  return {
    title: `${view.name}: partitions`,
    way: "Topics",
    parts: [sizesPart(client, view), {
      id: "partitions",
      label: "the partitions",
      refreshMs: REFRESH_MS,
      render: async () => {
        const { topics: [metadata] } = await client.retry(() => client.metadata([view.name]));
        const topics = metadata === undefined ? [] : [metadata];
        const [starts, ends, bytes] = await Promise.all([
          askOffsets(client, topics, SpecialTimestamp.earliest),
          askOffsets(client, topics, SpecialTimestamp.latest),
          askBytes(client, topics),
        ]);
        return (
          <PartitionTable
            view={{ ...view, metadata: metadata ?? view.metadata }}
            starts={starts}
            ends={ends}
            bytes={bytes}
          />
        );
      },
    }],
    body: ({ sizes, partitions }) => (
      <>
        <TopicHead name={view.name} current="Partitions" sizes={sizes} />
        {partitions}
      </>
    ),
  };
}

function PartitionTable(
  { view: { name, metadata }, starts, ends, bytes }: {
    readonly view: TopicView;
    readonly starts: ReadonlyMap<string, number>;
    readonly ends: ReadonlyMap<string, number>;
    readonly bytes: ReadonlyMap<string, number>;
  },
) {
  const known = (value: number | undefined, format: (value: number) => string) =>
    value === undefined ? <abbr title="Its leader did not say">?</abbr> : format(value);
  const partitions = metadata.partitions.toSorted((a, b) => a.partitionIndex - b.partitionIndex);
  return (
    <Table
      caption={`Partitions of ${name}`}
      head={[
        { name: "Partition" },
        { name: "Leader" },
        { name: "Replicas", isWide: true },
        { name: "In sync" },
        { name: "Leader epoch", isNumber: true, isWide: true },
        { name: "Start offset", isNumber: true, isWide: true },
        { name: "End offset", isNumber: true },
        { name: "Size", isNumber: true, isWide: true },
      ]}
    >
      {partitions.map(({ partitionIndex, leaderId, leaderEpoch, replicaNodes, isrNodes }) => {
        const id = formatTopicPartition(name, partitionIndex);
        const missing = replicaNodes.filter((nodeId) => !isrNodes.includes(nodeId));
        return (
          <tr>
            <th scope="row">{partitionIndex}</th>
            <td>
              {leaderId < 0
                ? <span class="tag bad">none</span>
                : <a href={brokerPath(leaderId)}>{leaderId}</a>}
            </td>
            <td class="wide">{replicaNodes.join(", ")}</td>
            <td>
              {isrNodes.join(", ")} {missing.length === 0
                ? null
                : <span class="tag warn">without {missing.join(", ")}</span>}
            </td>
            <td class="num wide">{leaderEpoch}</td>
            <td class="num wide">{known(starts.get(id), formatCount)}</td>
            <td class="num">{known(ends.get(id), formatCount)}</td>
            <td class="num wide">{known(bytes.get(id), formatBytes)}</td>
          </tr>
        );
      })}
    </Table>
  );
}

function groupsPage(client: KafkaClient, view: TopicView): Page {
  return {
    title: `${view.name}: groups`,
    way: "Topics",
    parts: [sizesPart(client, view), {
      id: "groups",
      label: "the groups that read it",
      refreshMs: 2 * REFRESH_MS,
      render: async () => {
        const { lags, leftOut } = await askTopicLags(client, view.name);
        return (
          <>
            {lags.length === 0
              ? (
                <Empty title="No group has committed offsets in this topic">
                  <p>
                    A consumer with a <code>group.id</code> shows up here with its first commit.
                  </p>
                </Empty>
              )
              : (
                <Table
                  caption={`Groups that read ${view.name}`}
                  head={[
                    { name: "Group" },
                    { name: "State" },
                    { name: "Partitions", isNumber: true },
                    { name: "Lag", isNumber: true },
                  ]}
                >
                  {lags.map(({ group, state, partitionCount, lag }) => (
                    <tr>
                      <th scope="row">
                        <a class="mono" href={groupPath(group)}>{group}</a>
                      </th>
                      <td>
                        <StateTag state={state} />
                      </td>
                      <td class="num">{formatCount(partitionCount)}</td>
                      <td class="num">{formatCount(lag)}</td>
                    </tr>
                  ))}
                </Table>
              )}
            {leftOut === 0
              ? null
              : <p class="note">{formatCounted(leftOut, "group was", "groups were")} not asked.</p>}
          </>
        );
      },
    }],
    body: ({ sizes, groups }) => (
      <>
        <TopicHead name={view.name} current="Groups" sizes={sizes} />
        {groups}
      </>
    ),
  };
}

function settingsPage(client: KafkaClient, view: TopicView, error: unknown): Page {
  const { name, metadata } = view;
  return {
    title: `${name}: settings`,
    way: "Topics",
    status: error === null ? 200 : 400,
    parts: [
      sizesPart(client, view),
      ...configParts(client, {
        resourceType: ResourceType.topic,
        resourceName: name,
        action: topicPath(name, "settings"),
        of: "this topic",
      }),
    ],
    body: ({ sizes, made, defaults }) => (
      <>
        <TopicHead name={name} current="Settings" sizes={sizes} />
        <FormFault what="Nothing was changed" error={error} />
        <div class="stack">
          {made}
          {defaults}
          <PartitionsForm name={name} count={metadata.partitions.length} />
          <DeletionForm name={name} />
        </div>
      </>
    ),
  };
}

function PartitionsForm({ name, count }: { readonly name: string; readonly count: number }) {
  return (
    <form
      class="form"
      method="post"
      action={topicPath(name, "partitions")}
      aria-labelledby="more"
    >
      <h2 id="more">More partitions</h2>
      <p class="hint">
        It can only grow. Keys go to other partitions from then on, so that their order is lost at
        that point.
      </p>
      <div class="bar">
        <div class="field">
          <label for="total">Partitions in all</label>
          <input
            id="total"
            name="total"
            type="number"
            min={count + 1}
            value={count + 1}
          />
        </div>
        <button type="submit">Add partitions</button>
      </div>
    </form>
  );
}

function DeletionForm({ name }: { readonly name: string }) {
  return (
    <form
      class="form"
      method="post"
      action={topicPath(name, "delete")}
      aria-labelledby="deletion"
    >
      <h2 id="deletion">Delete the topic</h2>
      <p class="hint">
        With all its messages, on all brokers, at once. Nothing brings it back.
      </p>
      <div class="bar">
        <div class="field">
          <label for="confirmed">Write its name</label>
          <input id="confirmed" name="name" required autocomplete="off" spellcheck={false} />
        </div>
        <button type="submit" class="danger">Delete topic</button>
      </div>
    </form>
  );
}

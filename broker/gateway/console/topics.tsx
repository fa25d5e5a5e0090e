/** The list of topics, a page at a time, and the form that makes one. */

import type { MetadataResponse } from "../../../protocol/schemas/metadata.ts";
import type { KafkaClient } from "../../client/kafka_client.ts";
import { createTopic } from "../../client/topics.ts";
import type { FormFields, Page, PageRoutes } from "./routes.ts";
import { Empty, FormFault, PageHead, Pager, Snippet, Table } from "./elements.tsx";
import { formatBytes, formatCount, formatCounted } from "./format.ts";
import { topicPath } from "./paths.ts";
import type { Recents } from "./recent.ts";
import { askTopicSizes, type TopicSize } from "./topic_sizes.ts";

/** Topics on one page of the list. */
const PAGE_SIZE = 50;
const REFRESH_MS = 3000;
const LIST_PATH = "/console/topics";
const NEW_PATH = "/console/new-topic";

type TopicMetadata = MetadataResponse["topics"][number];

interface TopicQuery {
  readonly text: string;
  readonly page: number;
  readonly withInternal: boolean;
}

interface TopicListProps {
  readonly topics: readonly TopicMetadata[];
  readonly sizes: ReadonlyMap<string, TopicSize>;
  readonly matchCount: number;
  readonly pageCount: number;
  readonly bootstrap: string;
}

/** Adds the pages. */
export function topicListPages(routes: PageRoutes, recent: Recents): void {
  routes.page(LIST_PATH, (context, client) => {
    const query = {
      text: context.req.query("q")?.trim() ?? "",
      page: Math.max(1, Math.trunc(Number(context.req.query("page"))) || 1),
      withInternal: context.req.query("internal") === "1",
    };
    return {
      title: "Topics",
      way: "Topics",
      parts: [{
        id: "topics",
        label: "the topics",
        refreshMs: REFRESH_MS,
        render: async () => (
          <TopicList
            {...await topicsOf(client, await recent.metadata.get(client), query)}
            query={query}
          />
        ),
      }],
      body: ({ topics }) => (
        <>
          <PageHead title="Topics">
            <a class="button primary" href={NEW_PATH}>New topic</a>
          </PageHead>
          <TopicSearch query={query} />
          {topics}
        </>
      ),
    };
  });
  routes.page(NEW_PATH, () => newTopicPage(null, null));
  routes.form(NEW_PATH, async (_context, client, fields) => {
    try {
      const name = fields.text("name");
      await createTopic(client, {
        name,
        ...countOf(fields, "partitions"),
        ...countOf(fields, "replicationFactor"),
        configs: configsOf(fields),
        validateOnly: false,
      });
      return { goTo: topicPath(name) };
    } catch (error) {
      return newTopicPage(fields, error);
    }
  });
}

function countOf<Name extends string>(fields: FormFields, name: Name) {
  const count = fields.count(name);
  return (count === undefined ? {} : { [name]: count }) as { readonly [K in Name]?: number };
}

function configsOf(fields: FormFields): [string, string][] {
  const retentionMs = fields.text("retention");
  const policy = fields.text("policy");
  return [
    ...(retentionMs === "" ? [] : [["retention.ms", retentionMs] as [string, string]]),
    ...(policy === "" ? [] : [["cleanup.policy", policy] as [string, string]]),
  ];
}

async function topicsOf(
  client: KafkaClient,
  { topics, brokers: [broker] }: MetadataResponse,
  query: TopicQuery,
): Promise<TopicListProps> {
  const sought = query.text.toLowerCase();
  const matching = topics
    .filter(({ name, isInternal }) =>
      name!.toLowerCase().includes(sought) && (query.withInternal || !isInternal)
    )
    .sort((a, b) => (a.name! < b.name! ? -1 : 1));
  const pageCount = Math.max(1, Math.ceil(matching.length / PAGE_SIZE));
  const start = (Math.min(query.page, pageCount) - 1) * PAGE_SIZE;
  const shown = matching.slice(start, start + PAGE_SIZE);
  const sizes = await askTopicSizes(client, shown);
  const bootstrap = `${broker?.host}:${broker?.port}`;
  return { topics: shown, sizes, matchCount: matching.length, pageCount, bootstrap };
}

function TopicSearch({ query }: { readonly query: TopicQuery }) {
  return (
    <form class="bar" method="get" action={LIST_PATH} role="search">
      <div class="field grow">
        <label for="q">Find a topic</label>
        <input id="q" name="q" type="search" value={query.text} data-search autocomplete="off" />
      </div>
      <label class="inline">
        <input type="checkbox" name="internal" value="1" checked={query.withInternal} />{" "}
        internal too
      </label>
      <button type="submit">Find</button>
    </form>
  );
}

function TopicList(
  { topics, sizes, matchCount, pageCount, query, bootstrap }: TopicListProps & {
    readonly query: TopicQuery;
  },
) {
  if (topics.length === 0) return <NoTopics query={query} bootstrap={bootstrap} />;
  const path = (page: number) => {
    const search = new URLSearchParams({ q: query.text, page: String(page) });
    if (query.withInternal) search.set("internal", "1");
    return `${LIST_PATH}?${search}`;
  };
  return (
    <>
      <Table
        caption="Topics"
        head={[
          { name: "Topic" },
          { name: "Partitions", isNumber: true, isWide: true },
          { name: "Replicas", isNumber: true, isWide: true },
          { name: "Messages", isNumber: true },
          { name: "Per second", isNumber: true, isWide: true },
          { name: "Size", isNumber: true },
          { name: "Replication", isWide: true },
        ]}
      >
        {topics.map((topic) => <TopicRow topic={topic} size={sizes.get(topic.name!)} />)}
      </Table>
      <Pager
        page={Math.min(query.page, pageCount)}
        pageCount={pageCount}
        total={formatCounted(matchCount, "topic")}
        what="topics"
        path={path}
      />
    </>
  );
}

function NoTopics(
  { query, bootstrap }: { readonly query: TopicQuery; readonly bootstrap: string },
) {
  if (query.text !== "") {
    return (
      <Empty title={`No topic has "${query.text}" in its name`}>
        <p>
          Capitals do not matter. <a href={LIST_PATH}>All topics</a>
        </p>
      </Empty>
    );
  }
  return (
    <Empty title="No topics yet">
      <p>
        Writing to a topic makes it, with the broker's own number of partitions.{" "}
        <a href={NEW_PATH}>New topic</a> lets you choose.
      </p>
      <Snippet label="With kcat" text={`echo hello | kcat -P -b ${bootstrap} -t greetings`} />
    </Empty>
  );
}

function TopicRow(
  { topic, size }: { readonly topic: TopicMetadata; readonly size: TopicSize | undefined },
) {
  const { name, partitions } = topic;
  const unknown = <abbr title="A broker did not say">?</abbr>;
  return (
    <tr>
      <th scope="row">
        <a class="mono" href={topicPath(name!)}>{name}</a>
      </th>
      <td class="num wide">{formatCount(partitions.length)}</td>
      <td class="num wide">{Math.max(0, ...partitions.map((it) => it.replicaNodes.length))}</td>
      <td class="num" data-count={size?.endOffsets} data-topic={name}>
        {size?.messageCount === undefined ? unknown : formatCount(size.messageCount)}
      </td>
      <td class="num wide" data-rate={name}></td>
      <td class="num">{size?.bytes === undefined ? unknown : formatBytes(size.bytes)}</td>
      <td class="wide">
        <ReplicationTag partitions={partitions} />
      </td>
    </tr>
  );
}

function ReplicationTag({ partitions }: Pick<TopicMetadata, "partitions">) {
  const offline = partitions.filter(({ leaderId }) => leaderId < 0).length;
  const behind = partitions.filter((it) => it.isrNodes.length < it.replicaNodes.length).length;
  if (offline > 0) return <span class="tag bad">{formatCount(offline)} without leader</span>;
  if (behind > 0) return <span class="tag warn">{formatCount(behind)} not in sync</span>;
  return <span class="tag good">in sync</span>;
}

function newTopicPage(fields: FormFields | null, error: unknown): Page {
  const value = (name: string) => fields?.text(name) ?? "";
  return {
    title: "New topic",
    way: "Topics",
    parts: [],
    status: error === null ? 200 : 400,
    body: () => (
      <>
        <PageHead title="New topic" crumb={{ name: "Topics", path: LIST_PATH }} />
        <FormFault what={`Cannot create ${value("name")}`} error={error} />
        <form class="form" method="post" action={NEW_PATH}>
          <div class="field">
            <label for="name">Name</label>
            <input
              id="name"
              name="name"
              required
              maxlength={249}
              pattern="[a-zA-Z0-9._\-]+"
              autocomplete="off"
              spellcheck={false}
              value={value("name")}
            />
            <p class="hint">Letters, digits, dot, underscore and dash. It cannot be renamed.</p>
          </div>
          <div class="pair">
            <CountField name="partitions" label="Partitions" value={value("partitions")} />
            <CountField
              name="replicationFactor"
              label="Replicas of each"
              value={value("replicationFactor")}
            />
          </div>
          <div class="pair">
            <div class="field">
              <label for="retention">retention.ms</label>
              <input
                id="retention"
                name="retention"
                inputmode="numeric"
                placeholder="the broker's"
                value={value("retention")}
              />
            </div>
            <div class="field">
              <label for="policy">cleanup.policy</label>
              <select id="policy" name="policy">
                {["", "delete", "compact", "compact,delete"].map((policy) => (
                  <option value={policy} selected={policy === value("policy")}>
                    {policy === "" ? "the broker's" : policy}
                  </option>
                ))}
              </select>
            </div>
          </div>
          <div class="bar">
            <button type="submit" class="primary">Create topic</button>
            <a href={LIST_PATH}>Cancel</a>
          </div>
        </form>
      </>
    ),
  };
}

function CountField(
  { name, label, value }: { readonly name: string; readonly label: string; readonly value: string },
) {
  return (
    <div class="field">
      <label for={name}>{label}</label>
      <input id={name} name={name} type="number" min={1} placeholder="the broker's" value={value} />
    </div>
  );
}

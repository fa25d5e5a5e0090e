/** Groups: the list with how far each is behind, and one of them with its members, partitions and lag over time. */

import type { Hono } from "hono";
import { ErrorCode } from "../../../protocol/errors.ts";
import {
  type DescribedMember,
  describeGroup,
  describeGroupPartitions,
  type GroupDescription,
  type GroupPartition,
} from "../../client/group_description.ts";
import { deleteGroup, type ListedGroup, listGroups } from "../../client/groups.ts";
import { type KafkaClient, KafkaError } from "../../client/kafka_client.ts";
import type { Page, PageRoutes } from "./routes.ts";
import { Empty, Figures, FormFault, PageHead, Pager, Snippet, Table } from "./elements.tsx";
import { formatCount, formatCounted, formatDuration } from "./format.ts";
import { askGroupLags, type GroupLag } from "./group_lags.ts";
import type { LagHistory } from "./lag_history.ts";
import { ChartFigure } from "./metrics_page.tsx";
import { groupPath, resetPath, topicPath } from "./paths.ts";

const LIST_PATH = "/console/groups";
const LAG_PATH = "/console/api/lag";
const PAGE_SIZE = 50;
const REFRESH_MS = 5000;
/** As long as the ring is. */
const LAG_MINUTES = 360;

/** A state of a group, with a colour where somebody should know. */
export function StateTag({ state }: { readonly state: string }) {
  const tone = state === "Stable"
    ? "good"
    : state.endsWith("Rebalance") || state === "Assigning" || state === "Reconciling"
    ? "warn"
    : "";
  return <span class={`tag ${tone}`}>{state}</span>;
}

interface GroupQuery {
  readonly text: string;
  readonly page: number;
}

/** Adds the pages. */
export function groupPages(routes: PageRoutes): void {
  routes.page(LIST_PATH, (context, client) => {
    const query = {
      text: context.req.query("q")?.trim() ?? "",
      page: Math.max(1, Math.trunc(Number(context.req.query("page"))) || 1),
    };
    return {
      title: "Groups",
      way: "Groups",
      parts: [{
        id: "groups",
        label: "the groups",
        refreshMs: REFRESH_MS,
        render: async () => <GroupList {...await groupsOf(client, query)} query={query} />,
      }],
      body: ({ groups }) => (
        <>
          <PageHead title="Groups" />
          <form class="bar" method="get" action={LIST_PATH} role="search">
            <div class="field grow">
              <label for="q">Find a group</label>
              <input
                id="q"
                name="q"
                type="search"
                value={query.text}
                data-search
                autocomplete="off"
              />
            </div>
            <button type="submit">Find</button>
          </form>
          {groups}
        </>
      ),
    };
  });
  routes.page("/console/group", (context, client) => {
    return groupPage(client, context.req.query("id") ?? "", null);
  });
  routes.form("/console/group/delete", async (context, client) => {
    const group = context.req.query("id") ?? "";
    try {
      await deleteGroup(client, group);
      return { goTo: LIST_PATH };
    } catch (error) {
      return groupPage(client, group, error);
    }
  });
}

/** Adds the numbers of the chart. */
export function lagRoute(app: Hono, lags: LagHistory): void {
  app.get(LAG_PATH, (context) => {
    return context.json(lags.columns(context.req.query("id") ?? "", LAG_MINUTES));
  });
}

// ---- the list ---------------------------------------------------------------------------------------

interface GroupListProps {
  readonly groups: readonly ListedGroup[];
  readonly lags: ReadonlyMap<string, GroupLag>;
  readonly matchCount: number;
  readonly pageCount: number;
  readonly bootstrap: string;
}

async function groupsOf(client: KafkaClient, query: GroupQuery): Promise<GroupListProps> {
  const sought = query.text.toLowerCase();
  const matching = (await listGroups(client))
    .filter(({ group }) => group.toLowerCase().includes(sought));
  const pageCount = Math.max(1, Math.ceil(matching.length / PAGE_SIZE));
  const start = (Math.min(query.page, pageCount) - 1) * PAGE_SIZE;
  const groups = matching.slice(start, start + PAGE_SIZE);
  const lags = groups.length === 0 ? [] : await askGroupLags(client, groups);
  const { brokers: [broker] } = await client.metadata([]);
  return {
    groups,
    lags: new Map(lags.map((lag) => [lag.group, lag])),
    matchCount: matching.length,
    pageCount,
    bootstrap: `${broker?.host}:${broker?.port}`,
  };
}

function GroupList(
  { groups, lags, matchCount, pageCount, bootstrap, query }: GroupListProps & {
    readonly query: GroupQuery;
  },
) {
  if (groups.length === 0) return <NoGroups query={query} bootstrap={bootstrap} />;
  return (
    <>
      <Table
        caption="Groups"
        head={[
          { name: "Group" },
          { name: "State" },
          { name: "Type", isWide: true },
          { name: "Partitions", isNumber: true, isWide: true },
          { name: "Lag", isNumber: true },
        ]}
      >
        {groups.map(({ group, state, type }) => {
          const lag = lags.get(group);
          const unknown = <abbr title="Its coordinator did not say">?</abbr>;
          return (
            <tr>
              <th scope="row">
                <a class="mono" href={groupPath(group)}>{group}</a>
              </th>
              <td>
                <StateTag state={state} />
              </td>
              <td class="wide">{type}</td>
              <td class="num wide">
                {lag === undefined ? unknown : formatCount(lag.partitionCount)}
              </td>
              <td class="num">{lag === undefined ? unknown : formatCount(lag.lag)}</td>
            </tr>
          );
        })}
      </Table>
      <Pager
        page={Math.min(query.page, pageCount)}
        pageCount={pageCount}
        total={formatCounted(matchCount, "group")}
        what="groups"
        path={(page) =>
          `${LIST_PATH}?${new URLSearchParams({ q: query.text, page: String(page) })}`}
      />
    </>
  );
}

function NoGroups(
  { query, bootstrap }: { readonly query: GroupQuery; readonly bootstrap: string },
) {
  if (query.text !== "") {
    return (
      <Empty title={`No group has "${query.text}" in its name`}>
        <p>
          Capitals do not matter. <a href={LIST_PATH}>All groups</a>
        </p>
      </Empty>
    );
  }
  return (
    <Empty title="No groups yet">
      <p>
        Consumers with the same <code>group.id</code>{" "}
        share the partitions of a topic, and their group remembers how far they are.
      </p>
      <Snippet
        label="With kcat"
        text={`kcat -b ${bootstrap} -G my-group greetings`}
      />
    </Empty>
  );
}

// ---- one group --------------------------------------------------------------------------------------

function groupPage(client: KafkaClient, group: string, error: unknown): Page {
  return {
    title: group,
    way: "Groups",
    scripts: ["charts.js"],
    status: error === null ? 200 : 400,
    parts: [{
      id: "group",
      label: "the group",
      refreshMs: REFRESH_MS,
      render: async () => {
        const description = await describeOrNull(client, group);
        if (description === null) return <NoGroup group={group} />;
        const partitions = await describeGroupPartitions(client, description, { withTime: true });
        return <GroupPart description={description} partitions={partitions} />;
      },
    }],
    body: ({ group: part }) => (
      <>
        <PageHead title={group} isName crumb={{ name: "Groups", path: LIST_PATH }}>
          <a class="button" href={resetPath(group)}>Reset offsets</a>
        </PageHead>
        <FormFault what={`Cannot delete ${group}`} error={error} />
        <div class="stack">
          {part}
          <div
            class="ofGroup"
            data-chart-source={`${LAG_PATH}?${new URLSearchParams({ id: group })}`}
            data-chart-minutes={LAG_MINUTES}
          >
            <ChartFigure chart="lag" title="Lag over the last hours" />
          </div>
          <form
            class="form ofGroup"
            method="post"
            action={`/console/group/delete?${new URLSearchParams({ id: group })}`}
            aria-labelledby="deletion"
          >
            <h2 id="deletion">Delete the group</h2>
            <p class="hint">
              With its offsets: consumers of that name begin where their{" "}
              <code>auto.offset.reset</code> says. Only a group without members can be deleted.
            </p>
            <div class="bar">
              <label class="inline">
                <input type="checkbox" required /> I mean it
              </label>
              <button type="submit" class="danger">Delete group</button>
            </div>
          </form>
        </div>
      </>
    ),
  };
}

async function describeOrNull(
  client: KafkaClient,
  group: string,
): Promise<GroupDescription | null> {
  try {
    return await describeGroup(client, group);
  } catch (error) {
    const isGone = error instanceof KafkaError && error.code === ErrorCode.GROUP_ID_NOT_FOUND;
    if (isGone) return null;
    throw error;
  }
}

function NoGroup({ group }: { readonly group: string }) {
  return (
    <Empty title={`There is no group "${group}"`}>
      <p>
        It comes into being with its first member or its first commit, and goes when its offsets
        have expired. <a href={LIST_PATH}>All groups</a>
      </p>
    </Empty>
  );
}

function GroupPart(
  { description, partitions }: {
    readonly description: GroupDescription;
    readonly partitions: readonly GroupPartition[];
  },
) {
  const { state, type, protocol, members } = description;
  const lag = partitions.reduce((sum, it) => sum + (it.lag ?? 0), 0);
  const behind = partitions.map(({ lagSeconds }) => lagSeconds ?? 0);
  const worstSeconds = Math.max(0, ...behind);
  return (
    <div class="stack">
      <Figures
        figures={[
          { name: "State", value: <StateTag state={state} /> },
          { name: "Lag", value: formatCount(lag), unit: lag === 1 ? "message" : "messages" },
          {
            name: "Behind",
            value: worstSeconds === 0 ? "–" : formatDuration(worstSeconds * 1000),
          },
          { name: "Members", value: formatCount(members.length) },
          { name: "Type", value: type, ...(protocol !== "" && { unit: protocol }) },
        ]}
      />
      <div>
        <h2>Partitions</h2>
        {partitions.length === 0
          ? (
            <p class="quiet">
              The group has committed nothing, and its members have no partitions.
            </p>
          )
          : <GroupPartitions partitions={partitions} />}
      </div>
      <div>
        <h2>Members</h2>
        {members.length === 0
          ? <p class="quiet">Nobody reads now. The offsets stay for offsets.retention.minutes.</p>
          : <Members members={members} />}
      </div>
    </div>
  );
}

function GroupPartitions({ partitions }: { readonly partitions: readonly GroupPartition[] }) {
  const most = Math.max(1, ...partitions.map(({ lag }) => lag ?? 0));
  return (
    <Table
      caption="Partitions of the group"
      head={[
        { name: "Partition" },
        { name: "Committed", isNumber: true },
        { name: "End offset", isNumber: true, isWide: true },
        { name: "Lag", isNumber: true },
        { name: "", isWide: true },
        { name: "Behind", isNumber: true },
        { name: "Read by", isWide: true },
      ]}
    >
      {partitions.map((
        { topic, partition, committedOffset, endOffset, lag, lagSeconds, ...it },
      ) => (
        <tr>
          <th scope="row">
            <a class="mono" href={topicPath(topic)}>{topic}</a> {partition}
          </th>
          <td class="num">{committedOffset === null ? "–" : formatCount(committedOffset)}</td>
          <td class="num wide">{endOffset === null ? "?" : formatCount(endOffset)}</td>
          <td class="num">{lag === null ? "–" : formatCount(lag)}</td>
          <td class="wide">
            {lag === null
              ? null
              : <meter max={most} value={lag} aria-label={`Lag of ${topic} ${partition}`}></meter>}
          </td>
          <td class="num">{lagSeconds === null ? "–" : formatDuration(lagSeconds * 1000)}</td>
          <td class="wide mono">{it.clientId ?? <span class="quiet">nobody</span>}</td>
        </tr>
      ))}
    </Table>
  );
}

function Members({ members }: { readonly members: readonly DescribedMember[] }) {
  return (
    <Table
      caption="Members of the group"
      head={[
        { name: "Client" },
        { name: "Member", isWide: true },
        { name: "Host" },
        { name: "Partitions" },
      ]}
    >
      {members.map(({ clientId, memberId, groupInstanceId, host, partitions }) => (
        <tr>
          <th scope="row" class="mono">{groupInstanceId ?? clientId}</th>
          <td class="mono wide">{memberId}</td>
          <td class="mono">{host}</td>
          <td>{assignmentText(partitions)}</td>
        </tr>
      ))}
    </Table>
  );
}

/** `orders 0, 2; carts 1` */
function assignmentText(partitions: DescribedMember["partitions"]): string {
  if (partitions.length === 0) return "none";
  return [...Map.groupBy(partitions, ({ topic }) => topic)].map(([topic, of]) =>
    `${topic} ${of.map(({ partition }) => partition).sort((a, b) => a - b).join(", ")}`
  ).join("; ");
}

/** The first page: how the cluster is, in a sentence, then what goes through it, then what there is. */

import { type ListedGroup, listGroups } from "../../client/groups.ts";
import { BrokerTable } from "./brokers.tsx";
import type { PageRoutes } from "./routes.ts";
import { Empty, Figures, Snippet, Table } from "./elements.tsx";
import { formatCount, formatCounted } from "./format.ts";
import { StateTag } from "./groups.tsx";
import { type Health, verdictOf } from "./health.ts";
import type { LagHistory } from "./lag_history.ts";
import { ChartFigure, HISTORY_PATH } from "./metrics_page.tsx";
import { groupPath } from "./paths.ts";
import type { Recents } from "./recent.ts";

const REFRESH_MS = 5000;
const CHART_MINUTES = 60;
/** Groups that are named. */
const FURTHEST = 5;

/** Adds the page. */
export function overviewPage(
  routes: PageRoutes,
  { lags, recent }: { readonly lags: LagHistory; readonly recent: Recents },
): void {
  routes.page("/", (_context, client) => {
    const health = () => recent.health.get(client);
    return {
      title: "Overview",
      way: "Overview",
      scripts: ["charts.js"],
      parts: [
        {
          id: "health",
          label: "how the cluster is",
          refreshMs: REFRESH_MS,
          render: async () => <Verdict health={await health()} />,
        },
        {
          id: "counts",
          label: "what there is",
          refreshMs: REFRESH_MS,
          render: async () => <Counts health={await health()} />,
        },
        {
          id: "groups",
          label: "the groups",
          refreshMs: REFRESH_MS,
          render: async () => (
            <GroupSummary groups={await listGroups(client)} furthest={lags.furthest(FURTHEST)} />
          ),
        },
        {
          id: "brokers",
          label: "the brokers",
          refreshMs: REFRESH_MS,
          render: async () => <BrokerTable brokers={(await health()).brokers} />,
        },
      ],
      body: ({ health, counts, groups, brokers }) => (
        <div class="stack">
          {health}
          {counts}
          <div
            class="river"
            data-chart-source={HISTORY_PATH}
            data-chart-minutes={CHART_MINUTES}
          >
            <ChartFigure
              chart="flow"
              title="Written to this node and read from it in the last hour"
            />
          </div>
          <div>
            <h2>Brokers</h2>
            {brokers}
          </div>
          {groups}
        </div>
      ),
    };
  });
}

function Verdict({ health }: { readonly health: Health }) {
  const { level, text } = verdictOf(health);
  return (
    <div class="verdict">
      <span class={`lamp ${level}`} aria-hidden="true"></span>
      <h1>{text}</h1>
      {health.findings.length === 0 ? null : (
        <ul class="findings">
          {health.findings.map((finding, index) => (
            <li class={`finding ${finding.level}`}>
              {index === 0 ? null : <b>{finding.what}.</b>}
              {finding.names === "" ? null : <p class="mono">{finding.names}</p>}
              <p>{finding.advice}</p>
            </li>
          ))}
        </ul>
      )}
      <p class="small">
        Cluster <code>{health.clusterId}</code>
      </p>
    </div>
  );
}

function Counts({ health }: { readonly health: Health }) {
  const { brokers, partitionCount, userTopicCount, topicCount, controllerId } = health;
  const [broker] = brokers;
  const up = brokers.filter(({ isFenced }) => !isFenced).length;
  const internalCount = topicCount - userTopicCount;
  return (
    <div class="stack">
      <Figures
        figures={[
          {
            name: "Brokers",
            value: formatCount(up),
            ...(up < brokers.length && { unit: `of ${brokers.length}`, tone: "bad" as const }),
          },
          {
            name: "Topics",
            value: <a href="/console/topics">{formatCount(userTopicCount)}</a>,
            ...(internalCount > 0 && { unit: `and ${internalCount} internal` }),
          },
          { name: "Partitions", value: formatCount(partitionCount) },
          {
            name: "Controller",
            value: controllerId < 0 ? "none" : `node ${controllerId}`,
            ...(controllerId < 0 && { tone: "bad" as const }),
          },
        ]}
      />
      {userTopicCount > 0 || broker === undefined
        ? null
        : <FirstMessage bootstrap={`${broker.host}:${broker.port}`} />}
    </div>
  );
}

/** What a newcomer does first. */
function FirstMessage({ bootstrap }: { readonly bootstrap: string }) {
  const js = `import { Kafka } from "kafkajs";
const producer = new Kafka({ brokers: ["${bootstrap}"] }).producer();
await producer.connect();
await producer.send({ topic: "greetings", messages: [{ value: "hello" }] });`;
  return (
    <Empty title="Send the first message">
      <p>
        There is no topic yet. Any Kafka client makes one by writing to it, and it shows up here
        within seconds. Or begin with a <a href="/console/new-topic">new topic</a>.
      </p>
      <Snippet label="With kcat" text={`echo hello | kcat -P -b ${bootstrap} -t greetings`} />
      <Snippet label="With kafkajs" text={js} />
      <Snippet label="With weir itself" text={`echo hello | weir produce greetings`} />
    </Empty>
  );
}

function GroupSummary(
  { groups, furthest }: {
    readonly groups: readonly ListedGroup[];
    readonly furthest: ReturnType<LagHistory["furthest"]>;
  },
) {
  if (groups.length === 0) return null;
  const states = new Map(groups.map(({ group, state }) => [group, state]));
  const counts = [...Map.groupBy(groups, ({ state }) => state)]
    .map(([state, of]) => `${formatCount(of.length)} ${state}`);
  return (
    <div>
      <h2>Groups furthest behind</h2>
      {furthest.length === 0 ? <p class="quiet">None was behind at the last look.</p> : (
        <Table
          caption="Groups furthest behind"
          head={[{ name: "Group" }, { name: "State" }, { name: "Lag", isNumber: true }]}
        >
          {furthest.map(({ group, lag }) => (
            <tr>
              <th scope="row">
                <a class="mono" href={groupPath(group)}>{group}</a>
              </th>
              <td>
                <StateTag state={states.get(group) ?? "gone"} />
              </td>
              <td class="num">{formatCount(lag)}</td>
            </tr>
          ))}
        </Table>
      )}
      <p class="pager">
        <a href="/console/groups">{formatCounted(groups.length, "group")}</a>
        {counts.join(", ")}
      </p>
    </div>
  );
}

/**
 * Writes docs/monitoring/grafana_dashboard.json: one dashboard over all nodes of a cluster.
 *
 *     bun scripts/dashboard.ts
 *
 * From the top: is it well, what is going on, how fast is it; then, one row for each part of the broker, why not. The
 * rows that are needed less often are closed, and ask for nothing until somebody opens them.
 *
 * The tables below say what is shown; places, ids and the rest that Grafana wants are made here. A row of panels fills
 * the width of 24.
 */

import { join } from "node:path";

/** What a panel asks Prometheus for. `legend` names each series. */
interface Query {
  readonly expr: string;
  readonly legend: string;
}

interface Panel {
  readonly title: string;
  /** One sentence: what it shows, and what it should look like. */
  readonly description: string;
  /** Grafana's name of the unit. */
  readonly unit: string;
  readonly queries: readonly Query[];
  /** One number instead of a chart: what it should be, and the colour that it has where it is not. */
  readonly stat?: { readonly good: "zero" | "one"; readonly severity?: "orange" | "red" };
  /** Series are shares of a whole, one upon the other. */
  readonly isStacked?: boolean;
}

interface Row {
  readonly title: string;
  readonly isClosed?: boolean;
  readonly height: number;
  /** Panels side by side; after as many as `across`, the next line begins. */
  readonly across: number;
  readonly panels: readonly Panel[];
}

const FULL_WIDTH = 24;
const NODES = 'job=~"$job"';
const NODE = 'job=~"$job",instance=~"$instance"';
const TOPIC = `${NODE},topic=~"$topic"`;
/** Scrapes lie so far apart that a rate has enough of them. */
const RATE = "[$__rate_interval]";

const query = (expr: string, legend = "{{instance}}"): Query => ({ expr, legend });
const rate = (name: string, labels = NODE) => `rate(${name}{${labels}}${RATE})`;
const sumBy = (labels: string, expr: string) => `sum by (${labels}) (${expr})`;
const quantile = (share: number, name: string, labels = NODE, by = "le") =>
  `histogram_quantile(${share}, ${sumBy(by, rate(`${name}_bucket`, labels))})`;
/** What groups lack: both halves may be told by different brokers. */
const LAG = `sum by (group) (clamp_min(max by (topic, partition) ` +
  `(weir_partition_high_watermark{${NODES},topic=~"$topic"}) - on (topic, partition) group_right () ` +
  `sum by (group, topic, partition) (weir_group_committed_offset{${NODES},topic=~"$topic",group=~"$group"}), 0))`;

const HEALTH: Row = {
  title: "Is it well?",
  height: 4,
  across: 8,
  panels: [
    {
      title: "Nodes down",
      description: "Nodes that Prometheus knows of and cannot scrape.",
      unit: "none",
      queries: [query(`count(up{${NODES}} == 0) or vector(0)`, "")],
      stat: { good: "zero" },
    },
    {
      title: "Active controllers",
      description: "Exactly one node of a cluster is the active controller.",
      unit: "none",
      queries: [query(`sum(weir_active_controller{${NODES}})`, "")],
      stat: { good: "one" },
    },
    {
      title: "Offline partitions",
      description: "Partitions without a leader: nobody can write to them or read them.",
      unit: "none",
      queries: [query(`max(weir_offline_partitions{${NODES}})`, "")],
      stat: { good: "zero" },
    },
    {
      title: "Under min ISR",
      description:
        "Partitions with fewer in-sync replicas than min.insync.replicas: acks=all is refused.",
      unit: "none",
      queries: [query(`sum(weir_under_min_isr_partitions{${NODES}})`, "")],
      stat: { good: "zero" },
    },
    {
      title: "Under-replicated",
      description:
        "Partitions that lack an in-sync replica: one of their brokers is down or behind.",
      unit: "none",
      queries: [query(`sum(weir_under_replicated_partitions{${NODES}})`, "")],
      stat: { good: "zero", severity: "orange" },
    },
    {
      title: "Fenced brokers",
      description: "Brokers that are registered and take no part.",
      unit: "none",
      queries: [query(`max(weir_fenced_brokers{${NODES}})`, "")],
      stat: { good: "zero", severity: "orange" },
    },
    {
      title: "Failed disks",
      description: "Log directories that are offline, with the partitions in them.",
      unit: "none",
      queries: [query(`sum(weir_offline_log_directories{${NODES}})`, "")],
      stat: { good: "zero" },
    },
    {
      title: "Damaged places",
      description: "Places in logs whose checksums do not match; they are not served.",
      unit: "none",
      queries: [query(`sum(weir_log_damaged_places{${NODES}})`, "")],
      stat: { good: "zero" },
    },
  ],
};

const TRAFFIC: Row = {
  title: "What is going on?",
  height: 8,
  across: 3,
  panels: [
    {
      title: "Written, by topic",
      description: "Bytes that producers write, the ten busiest topics.",
      unit: "Bps",
      queries: [
        query(
          `topk(10, ${sumBy("topic", rate("weir_topic_written_bytes_total", TOPIC))})`,
          "{{topic}}",
        ),
      ],
      isStacked: true,
    },
    {
      title: "Read, by topic",
      description: "Bytes that consumers are given, the ten busiest topics.",
      unit: "Bps",
      queries: [
        query(
          `topk(10, ${sumBy("topic", rate("weir_topic_read_bytes_total", TOPIC))})`,
          "{{topic}}",
        ),
      ],
      isStacked: true,
    },
    {
      title: "Records written, by topic",
      description: "Records that producers write, the ten busiest topics.",
      unit: "cps",
      queries: [
        query(
          `topk(10, ${sumBy("topic", rate("weir_topic_written_records_total", TOPIC))})`,
          "{{topic}}",
        ),
      ],
      isStacked: true,
    },
    {
      title: "Requests, by API",
      description: "Requests answered, the ten commonest APIs.",
      unit: "reqps",
      queries: [query(`topk(10, ${sumBy("api", rate("weir_requests_total"))})`, "{{api}}")],
      isStacked: true,
    },
    {
      title: "Records that groups lack",
      description:
        "The ten groups furthest behind. A line that only climbs is a group that is too slow.",
      unit: "short",
      queries: [query(`topk(10, ${LAG})`, "{{group}}")],
    },
    {
      title: "Connections",
      description: "Open connections by listener.",
      unit: "short",
      queries: [query(sumBy("listener", `weir_connections{${NODE}}`), "{{listener}}")],
    },
  ],
};

const SPEED: Row = {
  title: "How fast is it?",
  height: 8,
  across: 3,
  panels: [
    {
      title: "Time to answer a Produce",
      description:
        "With acks=all it waits for the disks of the in-sync replicas. Half of the requests, and all but 1 in 100.",
      unit: "s",
      queries: [0.5, 0.99].map((share) =>
        query(
          quantile(share, "weir_request_duration_seconds", `${NODE},api="Produce"`),
          `p${share * 100}`,
        )
      ),
    },
    {
      title: "Time to answer others, 99 %",
      description: "APIs that do not wait on purpose, as Fetch and JoinGroup do. The ten slowest.",
      unit: "s",
      queries: [
        query(
          `topk(10, ${
            quantile(
              0.99,
              "weir_request_duration_seconds",
              `${NODE},api!~"Produce|Fetch|JoinGroup|SyncGroup"`,
              "api, le",
            )
          })`,
          "{{api}}",
        ),
      ],
    },
    {
      title: "Time to flush a log, 99 %",
      description: "The disk's part of acks=all.",
      unit: "s",
      queries: [query(quantile(0.99, "weir_log_flush_duration_seconds", NODE, "instance, le"))],
    },
    {
      title: "Lateness of the event loop, 99 %",
      description:
        "Everything waits so long. Above 10 ms something holds it, or the machine is full.",
      unit: "s",
      queries: [query(quantile(0.99, "weir_event_loop_delay_seconds", NODE, "instance, le"))],
    },
    {
      title: "Requests that are not answered yet",
      description:
        "Queued: waiting for their turn, which should be few. Delayed: waiting on purpose for records or replicas.",
      unit: "short",
      queries: [
        query(`sum(weir_requests_queued{${NODE}})`, "queued"),
        query(`sum(weir_requests_in_flight{${NODE}})`, "being answered"),
        query(sumBy("api", `weir_delayed_requests{${NODE}}`), "delayed {{api}}"),
      ],
    },
    {
      title: "Errors, by name",
      description:
        "Partitions of Produce and Fetch answered with an error. A few NOT_LEADER_OR_FOLLOWER come with every election.",
      unit: "cps",
      queries: [
        query(sumBy("api, error", rate("weir_partition_errors_total")), "{{api}} {{error}}"),
      ],
    },
  ],
};

const DISKS: Row = {
  title: "Disks and topics",
  height: 8,
  across: 3,
  panels: [
    {
      title: "Size, by topic",
      description: "Bytes of segments over all replicas, the ten largest topics.",
      unit: "bytes",
      queries: [
        query(`topk(10, ${sumBy("topic", `weir_partition_size_bytes{${TOPIC}}`)})`, "{{topic}}"),
      ],
      isStacked: true,
    },
    {
      title: "Free room",
      description:
        "Share of each disk that is free. Producers are refused below weir.disk.reserve.bytes.",
      unit: "percentunit",
      queries: [
        query(
          `weir_log_directory_usable_bytes{${NODE}} / (weir_log_directory_total_bytes{${NODE}} > 0)`,
          "{{instance}} {{directory}}",
        ),
      ],
    },
    {
      title: "Partitions, by broker",
      description: "Partitions that each broker leads, and that it holds. None should stand out.",
      unit: "short",
      queries: [
        query(`weir_led_partitions{${NODE}}`, "{{instance}} leads"),
        query(`weir_held_partitions{${NODE}}`, "{{instance}} holds"),
      ],
    },
  ],
};

const REPLICATION: Row = {
  title: "Replication",
  isClosed: true,
  height: 8,
  across: 3,
  panels: [
    {
      title: "ISR changes",
      description:
        "Replicas that leave the ISR and come back. Quiet unless a broker goes or comes.",
      unit: "cps",
      queries: [
        query(sumBy("instance", rate("weir_isr_shrinks_total")), "{{instance}} shrinks"),
        query(sumBy("instance", rate("weir_isr_expands_total")), "{{instance}} expands"),
      ],
    },
    {
      title: "Furthest behind",
      description: "Committed records that the replica furthest behind on each broker lacks.",
      unit: "short",
      queries: [query(`weir_replica_fetcher_max_lag{${NODE}}`)],
    },
    {
      title: "Replicated bytes",
      description: "Bytes that brokers fetch from leaders.",
      unit: "Bps",
      queries: [query(sumBy("instance", rate("weir_replication_received_bytes_total")))],
    },
    {
      title: "Partitions in trouble",
      description:
        "Under-replicated, and under min.insync.replicas, by the broker that leads them.",
      unit: "short",
      queries: [
        query(`weir_under_replicated_partitions{${NODE}}`, "{{instance}} under-replicated"),
        query(`weir_under_min_isr_partitions{${NODE}}`, "{{instance}} under min ISR"),
      ],
    },
    {
      title: "Leader elections",
      description: "Partitions that got another leader; unclean ones may have lost records.",
      unit: "cps",
      queries: [
        query(`max(${rate("weir_leader_elections_total", NODES)})`, "all"),
        query(`max(${rate("weir_unclean_leader_elections_total", NODES)})`, "unclean"),
      ],
    },
    {
      title: "Partitions on the move, or led by another than their first replica",
      description: "Both go back to 0 after a reassignment and a preferred election.",
      unit: "short",
      queries: [
        query(`max(weir_reassigning_partitions{${NODES}})`, "on the move"),
        query(`max(weir_preferred_replica_imbalance{${NODES}})`, "led by another"),
      ],
    },
  ],
};

const GROUPS: Row = {
  title: "Groups and transactions",
  isClosed: true,
  height: 8,
  across: 3,
  panels: [
    {
      title: "Groups, by type and state",
      description: "Groups that are not Stable or Empty are in the midst of a rebalance.",
      unit: "short",
      queries: [query(sumBy("type, state", `weir_groups{${NODE}}`), "{{type}} {{state}}")],
      isStacked: true,
    },
    {
      title: "Members of groups",
      description: "Consumers that are members of a group.",
      unit: "short",
      queries: [query(sumBy("type", `weir_group_members{${NODE}}`), "{{type}}")],
      isStacked: true,
    },
    {
      title: "Rebalances, by cause",
      description: "docs/metrics.md explains the causes.",
      unit: "cps",
      queries: [
        query(sumBy("type, cause", rate("weir_group_rebalances_total")), "{{type}} {{cause}}"),
      ],
    },
    {
      title: "Records committed, by group",
      description: "How fast groups come forward, the ten fastest.",
      unit: "cps",
      queries: [
        query(
          `topk(10, ${
            sumBy("group", rate("weir_group_committed_offset", `${TOPIC},group=~"$group"`))
          })`,
          "{{group}}",
        ),
      ],
    },
    {
      title: "Transactions",
      description: "Open, and decided but not ended. The latter last for a moment.",
      unit: "short",
      queries: [
        query(`sum(weir_transactions_open{${NODE}})`, "open"),
        query(`sum(weir_transactions_ending{${NODE}})`, "ending"),
        query(`sum(weir_partitions_with_late_transactions{${NODE}})`, "partitions with late ones"),
      ],
    },
    {
      title: "Ends of transactions",
      description: "Timed out: the broker aborted them, since their producers did not end them.",
      unit: "cps",
      queries: ["committed", "aborted", "timed_out"].map((end) =>
        query(`sum(${rate(`weir_transactions_${end}_total`)})`, end.replace("_", " "))
      ),
    },
  ],
};

const QUORUM: Row = {
  title: "Quorum",
  isClosed: true,
  height: 8,
  across: 3,
  panels: [
    {
      title: "Nodes, by state",
      description: "One leads; the others follow, or observe.",
      unit: "none",
      queries: [query(sumBy("state", `weir_quorum_state{${NODE}}`), "{{state}}")],
      isStacked: true,
    },
    {
      title: "Epoch",
      description: "Each election of a controller makes it one larger.",
      unit: "none",
      queries: [query(`weir_quorum_epoch{${NODE}}`)],
    },
    {
      title: "Voters behind, and nodes behind",
      description:
        "Records of the metadata that the last voter lacks, and that each node has not applied.",
      unit: "short",
      queries: [
        query(`max(weir_quorum_max_voter_lag{${NODES}})`, "voter furthest behind"),
        query(
          `scalar(max(weir_metadata_offset{${NODES}})) - weir_metadata_offset{${NODE}}`,
          "{{instance}} to apply",
        ),
      ],
    },
  ],
};

const BACKGROUND: Row = {
  title: "Work in the background",
  isClosed: true,
  height: 8,
  across: 3,
  panels: [
    {
      title: "Dirtiest log",
      description: "Share of the compacted log with most to do that is not compacted.",
      unit: "percent",
      queries: [query(`weir_log_cleaner_max_dirty_percent{${NODE}}`)],
    },
    {
      title: "Read by the check of closed segments",
      description: "Each byte is read once in weir.scrub.interval.ms.",
      unit: "Bps",
      queries: [query(rate("weir_scrub_bytes_total"))],
    },
    {
      title: "Partitions that a start has not opened yet",
      description: "0 but after a start that follows a crash.",
      unit: "short",
      queries: [query(`weir_start_partitions_left{${NODE}}`)],
    },
  ],
};

const PROCESS: Row = {
  title: "Processes",
  isClosed: true,
  height: 8,
  across: 3,
  panels: [
    {
      title: "Processor",
      description:
        "Cores in use. The event loop uses at most one; compaction, recovery and syncs the others.",
      unit: "none",
      queries: [query(rate("process_cpu_seconds_total"))],
    },
    {
      title: "Memory",
      description: "Resident memory of each process, and what of it are objects of JavaScript.",
      unit: "bytes",
      queries: [
        query(`process_resident_memory_bytes{${NODE}}`, "{{instance}} resident"),
        query(`weir_heap_used_bytes{${NODE}}`, "{{instance}} objects"),
      ],
    },
    {
      title: "Memory budget of connections",
      description: "Share that is used. At 1, connections are not read until others let go.",
      unit: "percentunit",
      queries: [
        query(
          `weir_memory_budget_used_bytes{${NODE}} / weir_memory_budget_limit_bytes{${NODE}}`,
        ),
      ],
    },
    {
      title: "Open files and sockets",
      description: "Share of what the system allows.",
      unit: "percentunit",
      queries: [query(`process_open_fds{${NODE}} / (process_max_fds{${NODE}} > 0)`)],
    },
    {
      title: "Connections that are not read",
      description: "Because the memory budget is used up. 0, but in a flood.",
      unit: "short",
      queries: [query(`weir_memory_budget_waiting_connections{${NODE}}`)],
    },
    {
      title: "Up since",
      description: "How long each process has lived.",
      unit: "s",
      queries: [query(`time() - process_start_time_seconds{${NODE}}`)],
    },
    {
      title: "Connections ended by the broker",
      description: "And why: idle ones are common, others are clients in trouble.",
      unit: "cps",
      queries: [
        query(sumBy("reason", rate("weir_connections_ended_by_broker_total")), "{{reason}}"),
      ],
    },
    {
      title: "HTTP, by status",
      description: "Requests to the HTTP port. 5xx are faults, or a node that is not ready.",
      unit: "reqps",
      queries: [query(sumBy("status", rate("weir_http_requests_total")), "{{status}}")],
      isStacked: true,
    },
    {
      title: "Versions",
      description: "The version of each node: two of them during an upgrade.",
      unit: "none",
      queries: [query(sumBy("version", `weir_build_info{${NODE}}`), "{{version}}")],
      isStacked: true,
    },
  ],
};

const ROWS: readonly Row[] = [
  HEALTH,
  TRAFFIC,
  SPEED,
  DISKS,
  REPLICATION,
  GROUPS,
  QUORUM,
  BACKGROUND,
  PROCESS,
];

const DATASOURCE = { type: "prometheus", uid: "${datasource}" };

/** Red where it is wrong, so that a glance is enough. */
function thresholds({ good, severity = "red" }: NonNullable<Panel["stat"]>) {
  const step = (color: string, value: number | null) => ({ color, value });
  return good === "zero"
    ? [step("green", null), step(severity, 1)]
    : [step(severity, null), step("green", 1), step(severity, 2)];
}

function statPanel(stat: NonNullable<Panel["stat"]>) {
  return {
    type: "stat",
    options: {
      colorMode: "background",
      graphMode: "none",
      justifyMode: "center",
      reduceOptions: { calcs: ["lastNotNull"], fields: "", values: false },
      textMode: "value",
    },
    fieldConfig: {
      defaults: {
        unit: "none",
        noValue: "?",
        color: { mode: "thresholds" },
        thresholds: { mode: "absolute", steps: thresholds(stat) },
      },
      overrides: [],
    },
  };
}

function chartPanel({ unit, isStacked = false }: Panel) {
  return {
    type: "timeseries",
    options: {
      legend: { displayMode: "list", placement: "bottom", showLegend: true },
      tooltip: { mode: "multi", sort: "desc" },
    },
    fieldConfig: {
      defaults: {
        unit,
        min: 0,
        color: { mode: "palette-classic" },
        custom: {
          drawStyle: "line",
          lineWidth: 1,
          fillOpacity: isStacked ? 30 : 5,
          showPoints: "never",
          spanNulls: false,
          stacking: { group: "A", mode: isStacked ? "normal" : "none" },
        },
      },
      overrides: [],
    },
  };
}

/** A panel in its place. */
function panelAt(
  panel: Panel,
  gridPos: Readonly<Record<"h" | "w" | "x" | "y", number>>,
  id: number,
) {
  const { title, description, queries, stat } = panel;
  return {
    id,
    title,
    description,
    datasource: DATASOURCE,
    gridPos,
    ...(stat === undefined ? chartPanel(panel) : statPanel(stat)),
    targets: queries.map(({ expr, legend }, index) => ({
      refId: String.fromCharCode("A".charCodeAt(0) + index),
      datasource: DATASOURCE,
      expr,
      legendFormat: legend,
      ...(stat === undefined ? {} : { instant: true }),
    })),
  };
}

/** Everything in its place, from top to bottom. */
function layOut(rows: readonly Row[]): object[] {
  const laid: object[] = [];
  let id = 0;
  let y = 0;
  for (const { title, isClosed = false, height, across, panels } of rows) {
    const row = {
      id: ++id,
      type: "row",
      title,
      collapsed: isClosed,
      gridPos: { h: 1, w: 24, x: 0, y },
    };
    y++;
    const width = FULL_WIDTH / across;
    const placed = panels.map((panel, index) =>
      panelAt(panel, {
        h: height,
        w: width,
        x: (index % across) * width,
        y: y + Math.floor(index / across) * height,
      }, ++id)
    );
    // Grafana keeps the panels of a closed row inside of it.
    laid.push({ ...row, panels: isClosed ? placed : [] }, ...(isClosed ? [] : placed));
    if (!isClosed) y += Math.ceil(panels.length / across) * height;
  }
  return laid;
}

/** A choice above the dashboard, of the values of a label: of one where sums over several would say nothing. */
function variable(name: string, label: string, query: string, { isOne = false } = {}) {
  return {
    name,
    label,
    type: "query",
    datasource: DATASOURCE,
    query: { query, refId: name },
    definition: query,
    refresh: 2,
    sort: 1,
    ...(isOne ? { multi: false, includeAll: false, current: {} } : {
      multi: true,
      includeAll: true,
      allValue: ".*",
      current: { text: "All", value: "$__all" },
    }),
  };
}

/** The dashboard's text. */
export function dashboard(): string {
  const value = {
    uid: "weir",
    title: "weir",
    description: "A weir cluster at a glance. Alerts: docs/monitoring/alerts.rules.yaml.",
    tags: ["weir", "kafka"],
    timezone: "browser",
    editable: true,
    graphTooltip: 1,
    refresh: "30s",
    schemaVersion: 39,
    time: { from: "now-3h", to: "now" },
    templating: {
      list: [
        {
          name: "datasource",
          label: "Prometheus",
          type: "datasource",
          query: "prometheus",
          current: {},
        },
        variable("job", "Cluster (job)", "label_values(weir_build_info, job)", { isOne: true }),
        variable("instance", "Node", `label_values(weir_build_info{${NODES}}, instance)`),
        variable("topic", "Topic", `label_values(weir_partition_size_bytes{${NODES}}, topic)`),
        variable("group", "Group", `label_values(weir_group_committed_offset{${NODES}}, group)`),
      ],
    },
    annotations: {
      list: [{
        name: "Restarts",
        datasource: DATASOURCE,
        enable: true,
        iconColor: "blue",
        expr: `changes(process_start_time_seconds{${NODE}}[1m]) > 0`,
        titleFormat: "{{instance}} has started",
      }],
    },
    panels: layOut(ROWS),
  };
  return `${JSON.stringify(value, null, 2)}\n`;
}

if (import.meta.main) {
  const path = join(import.meta.dir, "..", "docs", "monitoring", "grafana_dashboard.json");
  await Bun.write(path, dashboard());
}

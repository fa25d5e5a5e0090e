/**
 * The metrics of a broker, in Prometheus' text format.
 *
 * Three kinds, one output:
 * - hot (every request): plain numbers in `ServerMeter` and `Histogram`;
 * - cold: prom-client, through `registry`, read when somebody scrapes;
 * - one series a partition or a group: read when somebody scrapes through a source that `broker.ts` sets,
 *   in slices that give the event loop back, and with a bound on their number.
 *
 * Scrapes that come at the same moment share one reading.
 */

import { Counter, Gauge, Registry } from "prom-client";
import { TimeSlice } from "../time_slice.ts";
import type { TransactionStats } from "../transactions/coordinator.ts";
import type { CleanerStats } from "../../storage/cleaner.ts";
import type { Clock } from "../../storage/platform.ts";
import { formatFamily, formatHistogram, formatLabels, formatSample, Page } from "./exposition.ts";
import { GroupMeter, type GroupSample } from "./group_meter.ts";
import { Histogram } from "./histogram.ts";
import type { LoopDelay } from "./loop_delay.ts";
import {
  type Family,
  OFFSET_FAMILIES,
  type OffsetSample,
  PARTITION_FAMILIES,
  type PartitionSample,
  TOPIC_FAMILIES,
  type TopicSample,
} from "./series.ts";
import { ServerMeter } from "./server_meter.ts";

/** What the process uses. */
export interface ProcessUsage {
  readonly startTimeSeconds: number;
  residentBytes(): number;
  cpuSeconds(): number;
  /** Objects of JavaScript, and what they hold outside of their heap. */
  heap(): {
    readonly usedBytes: number;
    readonly totalBytes: number;
    readonly externalBytes: number;
  };
  /** Files and sockets; null where the system does not say. */
  handles(): { readonly openCount: number; readonly maxCount: number } | null;
}

/** The requests of a server, as far as they are shown. */
export interface RequestUsage {
  requestCounts(): { readonly queued: number; readonly inFlight: number };
}

/** The byte budget over all connections, as far as it is shown. */
export interface BudgetUsage {
  readonly limitBytes: number;
  readonly usedBytes: number;
  readonly waitingCount: number;
}

/** What is known of producers, as far as it is shown. */
export interface ProducerUsage {
  readonly count: number;
  readonly forgottenCount: number;
}

/** What is known of the integrity of what lies on the disks. */
export interface IntegritySample {
  readonly damagedPlaceCount: number;
  readonly scrubbedBytes: number;
  readonly rebuiltIndexCount: number;
  /** Of the log directory where it is longest ago; −1 when one of them has never been through. */
  readonly lastPassMs: number;
}

/** The opening of the partitions at the start, as far as it is shown. */
export interface OpeningUsage {
  readonly openingProgress: { readonly leftCount: number };
  readonly logDirectories: { readonly recoveredBytes: number };
}

/** This broker in its cluster, as far as it is shown. */
export interface BrokerUsage {
  readonly state: number;
  /** Null while it takes part. */
  readonly fencedReason: string | null;
}

/** Reads samples when asked. The order is free; it may be large. */
export type SampleSource<Sample> = () => Iterable<Sample>;

/** The groups of this broker, as far as they are shown. */
export interface GroupUsage {
  readonly groups: SampleSource<GroupSample>;
  readonly offsets: SampleSource<OffsetSample>;
  readonly rebalances: {
    entries(): Iterable<{
      readonly type: string;
      readonly cause: string;
      readonly count: number;
    }>;
  };
}

/** Most topics, partitions and group partitions that are shown each; `weir_series_left_out` counts the rest. */
const MAX_SERIES = 50_000;
/** How long a slice may hold the event loop. */
const SLICE_MS = 2;
/** Samples between two looks at the clock. */
const LOOK_EVERY = 16;

interface CleanerGauge {
  /** Kafka's own, of LogCleaner and LogCleanerManager. */
  readonly name: string;
  readonly help: string;
  readonly value: (stats: CleanerStats) => number;
}

const CLEANER_GAUGES: readonly CleanerGauge[] = [
  {
    name: "max_dirty_percent",
    help: "Share of the dirtiest log that was not compacted, at the last look.",
    value: (stats) => stats.maxDirtyPercent,
  },
  {
    name: "cleaner_recopy_percent",
    help: "Share of what the last compaction read that it kept.",
    value: (stats) => stats.recopyPercent,
  },
  {
    name: "max_buffer_utilization_percent",
    help: "Share of log.cleaner.dedupe.buffer.size that the last compaction filled.",
    value: (stats) => stats.maxBufferUtilizationPercent,
  },
  {
    name: "max_clean_time_secs",
    help: "How long the last compaction took.",
    value: (stats) => stats.maxCleanTimeSecs,
  },
  {
    name: "max_compaction_delay_secs",
    help: "How long the most overdue record waits past max.compaction.lag.ms, at the last look.",
    value: (stats) => stats.maxCompactionDelaySecs,
  },
  {
    name: "time_since_last_run_ms",
    help: "Time since the last look for logs to compact.",
    value: (stats) => stats.timeSinceLastRunMs,
  },
  {
    name: "uncleanable_partitions_count",
    help: "Partitions that are not compacted any more because their bytes are damaged.",
    value: (stats) => stats.uncleanablePartitionsCount,
  },
  {
    name: "uncleanable_bytes",
    help: "Bytes of these partitions.",
    value: (stats) => stats.uncleanableBytes,
  },
];

/** One log directory. */
export interface DirectorySample {
  readonly path: string;
  readonly isOffline: boolean;
  /** Of its disk; 0 while it is offline. */
  readonly totalBytes: number;
  readonly usableBytes: number;
  /** Partitions on their way into it from another directory. */
  readonly arrivingCount: number;
}

const DIRECTORY_GAUGES: readonly {
  readonly name: string;
  readonly help: string;
  readonly value: (sample: DirectorySample) => number;
}[] = [
  {
    name: "offline",
    help: "1 when the log directory is offline, and its partitions with it.",
    value: ({ isOffline }) => Number(isOffline),
  },
  {
    name: "total_bytes",
    help: "Size of the log directory's disk.",
    value: ({ totalBytes }) => totalBytes,
  },
  {
    name: "usable_bytes",
    help: "Bytes that the log directory's disk has room for.",
    value: ({ usableBytes }) => usableBytes,
  },
  {
    name: "arriving_partitions",
    help: "Partitions on their way into the log directory from another one.",
    value: ({ arrivingCount }) => arrivingCount,
  },
];

/** All metrics of one broker. */
export class Metrics {
  /** Counters of the server, handed to it. */
  readonly server = new ServerMeter();
  /** For what is not hot: prom-client's own metrics register here. */
  readonly registry = new Registry();
  readonly #clock: Clock;
  readonly #flushes = new Histogram();
  readonly #servers: RequestUsage[] = [];
  readonly #httpAnswers = new Map<number, number>();
  #loopDelay: LoopDelay | null = null;
  #topics: SampleSource<TopicSample> = () => [];
  #partitions: SampleSource<PartitionSample> = () => [];
  #groups: SampleSource<GroupSample> = () => [];
  #offsets: SampleSource<OffsetSample> = () => [];
  #rendering: Promise<Uint8Array<ArrayBuffer>> | null = null;
  #scrapeCount = 0;

  constructor({ clock, usage, version }: {
    readonly clock: Clock;
    readonly version: string;
    readonly usage?: ProcessUsage;
  }) {
    this.#clock = clock;
    this.gauge("weir_build_info", "Always 1; the version is in the label.", () => 1, { version });
    this.#showRequests();
    if (usage !== undefined) this.#showProcess(usage);
  }

  #showProcess(usage: ProcessUsage): void {
    this.gauge("process_resident_memory_bytes", "Resident memory.", usage.residentBytes);
    this.counter("process_cpu_seconds_total", "User and system time.", usage.cpuSeconds);
    const { startTimeSeconds } = usage;
    this.gauge("process_start_time_seconds", "Unix time of the start.", () => startTimeSeconds);
    const heap = this.perScrape(usage.heap);
    this.gauge("weir_heap_used_bytes", "Memory that objects use.", () => heap().usedBytes);
    this.gauge(
      "weir_heap_size_bytes",
      "Memory that is set aside for them.",
      () => heap().totalBytes,
    );
    this.gauge(
      "weir_external_memory_bytes",
      "Memory that objects hold outside of the heap: buffers of bytes.",
      () => heap().externalBytes,
    );
    const handles = this.perScrape(usage.handles);
    this.gauge("process_open_fds", "Open files and sockets.", () => handles()?.openCount ?? 0);
    this.gauge("process_max_fds", "How many may be open.", () => handles()?.maxCount ?? 0);
  }

  #showRequests(): void {
    const counts = this.perScrape(() => {
      const sum = { queued: 0, inFlight: 0 };
      for (const server of this.#servers) {
        const { queued, inFlight } = server.requestCounts();
        sum.queued += queued;
        sum.inFlight += inFlight;
      }
      return sum;
    });
    this.gauge(
      "weir_requests_queued",
      "Requests that have come whole and wait for their turn.",
      () => counts().queued,
    );
    this.gauge(
      "weir_requests_in_flight",
      "Requests that are being answered, with those that wait on purpose.",
      () => counts().inFlight,
    );
    const answers = this.#httpAnswers;
    this.labelledCounter(
      "weir_http_requests_total",
      "Requests over HTTP that were answered, by status.",
      ["status"],
      function* () {
        for (const [status, count] of answers) yield [{ status: String(status) }, count];
      },
    );
  }

  /** Counts one answer over HTTP. */
  noteHttpAnswer(status: number): void {
    this.#httpAnswers.set(status, (this.#httpAnswers.get(status) ?? 0) + 1);
  }

  /** Shows the requests of one more server. */
  watchServer(server: RequestUsage): void {
    this.#servers.push(server);
  }

  /** A gauge that is read when somebody scrapes. */
  gauge(
    name: string,
    help: string,
    read: () => number,
    labels: Readonly<Record<string, string>> = {},
  ): void {
    new Gauge({
      name,
      help,
      labelNames: Object.keys(labels),
      registers: [this.registry],
      collect() {
        this.set(labels, read());
      },
    });
  }

  /** A gauge with a series for each value of a label. */
  labelledGauge(
    name: string,
    help: string,
    label: string,
    read: () => readonly (readonly [string, number])[],
  ): void {
    new Gauge({
      name,
      help,
      labelNames: [label],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const [text, value] of read()) this.set({ [label]: text }, value);
      },
    });
  }

  /** What `read` gives, read once for each scrape. */
  perScrape<T>(read: () => T): () => T {
    let scrape = -1;
    let value: T;
    return () => {
      if (scrape !== this.#scrapeCount) value = read();
      scrape = this.#scrapeCount;
      return value;
    };
  }

  /** Shows the byte budget over all connections. */
  watchBudget(budget: BudgetUsage): void {
    this.gauge(
      "weir_memory_budget_limit_bytes",
      "Bytes that all connections may hold.",
      () => budget.limitBytes,
    );
    this.gauge(
      "weir_memory_budget_used_bytes",
      "Bytes that all connections hold.",
      () => budget.usedBytes,
    );
    this.gauge(
      "weir_memory_budget_waiting_connections",
      "Connections that are not read because the budget is used up.",
      () => budget.waitingCount,
    );
  }

  /** A counter that is read when somebody scrapes. */
  counter(name: string, help: string, read: () => number): void {
    new Counter({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  }

  /** A counter with a series for each combination of its labels, read when somebody scrapes. */
  labelledCounter(
    name: string,
    help: string,
    labelNames: readonly string[],
    read: () => Iterable<readonly [labels: Readonly<Record<string, string>>, value: number]>,
  ): void {
    new Counter({
      name,
      help,
      labelNames: [...labelNames],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const [labels, value] of read()) this.inc({ ...labels }, value);
      },
    });
  }

  /** Shows how many producers are known. */
  watchProducers(producers: ProducerUsage): void {
    this.gauge(
      "weir_producers",
      "Idempotent producers that are known, once for each partition that they write to.",
      () => producers.count,
    );
    this.counter(
      "weir_producers_forgotten_total",
      "Producers forgotten before their time because weir.producer.state.bytes was used up.",
      () => producers.forgottenCount,
    );
  }

  /** Shows the transactions that this node coordinates. */
  watchTransactions(read: () => TransactionStats): void {
    this.gauge(
      "weir_transactional_ids",
      "Transactional ids that this broker coordinates.",
      () => read().idCount,
    );
    this.gauge("weir_transactions_open", "Transactions that are open.", () => read().openCount);
    this.gauge(
      "weir_transactions_ending",
      "Transactions that are decided, and whose markers are not all written.",
      () => read().endingCount,
    );
    this.counter(
      "weir_transactions_committed_total",
      "Transactions that were committed.",
      () => read().committedCount,
    );
    this.counter(
      "weir_transactions_aborted_total",
      "Transactions that were aborted.",
      () => read().abortedCount,
    );
    this.counter(
      "weir_transactions_timed_out_total",
      "Transactions that the broker aborted because they took too long.",
      () => read().timedOutCount,
    );
  }

  /** Shows the transactions that are written to partitions of this node. */
  watchTransactionalData(
    { verificationFailureCount, lateCount }: {
      readonly verificationFailureCount: () => number;
      readonly lateCount: () => number;
    },
  ): void {
    this.counter(
      "weir_transaction_verification_failures_total",
      "First batches of transactions that were refused because their coordinator did not vouch for them.",
      verificationFailureCount,
    );
    this.gauge(
      "weir_partitions_with_late_transactions",
      "Partitions led here with a transaction that should have ended long ago.",
      lateCount,
    );
  }

  /** Shows what is known to be damaged, and how far the check of closed segments has come. */
  watchIntegrity(read: () => IntegritySample): void {
    this.gauge(
      "weir_log_damaged_places",
      "Places in partitions' files that are damaged and not served; at most 100 of a partition count.",
      () => read().damagedPlaceCount,
    );
    this.gauge(
      "weir_scrub_last_pass_timestamp_seconds",
      "When the last check of all closed segments ended; 0 when none has, or the scrub is off.",
      () => Math.max(0, read().lastPassMs / 1000),
    );
    this.counter(
      "weir_scrub_bytes_total",
      "Bytes that the check of closed segments has read.",
      () => read().scrubbedBytes,
    );
    this.counter(
      "weir_scrub_rebuilt_indexes_total",
      "Segments whose indexes contradicted their log and were made anew.",
      () => read().rebuiltIndexCount,
    );
  }

  /** Shows how often replicas were found damaged, and fetched anew. */
  watchRepairs(replicas: { readonly repairCount: number }): void {
    this.counter(
      "weir_replica_repairs_total",
      "Replicas that were found damaged and given up, to be fetched anew from their leaders.",
      () => replicas.repairCount,
    );
  }

  /** Shows WebSockets and streams over HTTP, and what is read for them. */
  watchGateway({ sockets, slots, feeds }: {
    readonly sockets: { readonly count: number; readonly bufferedBytes: number };
    readonly slots: { readonly openCount: number };
    readonly feeds: { readonly partitionCount: number };
  }): void {
    this.gauge("weir_gateway_sockets", "WebSockets that are open.", () => sockets.count);
    this.gauge(
      "weir_gateway_sockets_buffered_bytes",
      "Bytes that wait to be taken by WebSockets, as far as was looked.",
      () => sockets.bufferedBytes,
    );
    this.gauge(
      "weir_gateway_streams",
      "Streams over HTTP that are open, of records read or written.",
      () => slots.openCount,
    );
    this.gauge(
      "weir_gateway_feeds",
      "Partitions that somebody streams from this node, each read once.",
      () => feeds.partitionCount,
    );
  }

  /** Shows the log directories and their disks. */
  watchDirectories(read: () => readonly DirectorySample[]): void {
    this.gauge(
      "weir_offline_log_directories",
      "Log directories that are offline.",
      () => read().filter(({ isOffline }) => isOffline).length,
    );
    for (const { name, help, value } of DIRECTORY_GAUGES) {
      new Gauge({
        name: `weir_log_directory_${name}`,
        help,
        labelNames: ["directory"],
        registers: [this.registry],
        collect() {
          for (const sample of read()) this.set({ directory: sample.path }, value(sample));
        },
      });
    }
  }

  /** Shows how compaction is doing. */
  watchCleaner(stats: () => CleanerStats): void {
    for (const { name, help, value } of CLEANER_GAUGES) {
      this.gauge(`weir_log_cleaner_${name}`, help, () => value(stats()));
    }
  }

  /** Shows how far a start has come. */
  watchOpening(partitions: OpeningUsage): void {
    this.gauge(
      "weir_start_partitions_left",
      "Partitions that the start has not opened yet.",
      () => partitions.openingProgress.leftCount,
    );
    this.gauge(
      "weir_recovered_bytes",
      "Bytes of records that were read to recover logs since the start.",
      () => partitions.logDirectories.recoveredBytes,
    );
  }

  /** Shows where this broker stands in its cluster. */
  watchLifecycle(broker: BrokerUsage): void {
    this.gauge(
      "weir_broker_state",
      "As Kafka's BrokerState: 1 starting, 2 recovery, 3 running, 6 hands over what it leads, 7 shutting down.",
      () => broker.state,
    );
    this.gauge(
      "weir_broker_fenced",
      "1 while the broker is fenced: the cluster takes no notice of it.",
      () => Number(broker.fencedReason !== null),
    );
  }

  /** Shows how long the event loop was held. */
  watchLoop(loopDelay: LoopDelay): void {
    this.#loopDelay = loopDelay;
  }

  /** Counts one flush of a log to its disk. */
  noteFlush(durationMs: number): void {
    this.#flushes.observe(durationMs / 1000);
  }

  /** What was written to all topics and read from them, here, so far. */
  traffic(): Omit<TopicSample, "topic"> {
    const sum = { writtenBytes: 0, writtenRecords: 0, readBytes: 0 };
    for (const { writtenBytes, writtenRecords, readBytes } of this.#topics()) {
      sum.writtenBytes += writtenBytes;
      sum.writtenRecords += writtenRecords;
      sum.readBytes += readBytes;
    }
    return sum;
  }

  /** Sets where the topics are read from. */
  watchTopics(source: SampleSource<TopicSample>): void {
    this.#topics = source;
  }

  /** Sets where the partitions are read from. */
  watchPartitions(source: SampleSource<PartitionSample>): void {
    this.#partitions = source;
  }

  /** Shows groups, what they have committed, and how often they rebalance and why. */
  watchGroups({ groups, offsets, rebalances }: GroupUsage): void {
    this.#groups = groups;
    this.#offsets = offsets;
    this.labelledCounter(
      "weir_group_rebalances_total",
      "Rebalances of groups that this broker coordinates, by what caused them.",
      ["type", "cause"],
      function* () {
        for (const { type, cause, count } of rebalances.entries()) yield [{ type, cause }, count];
      },
    );
  }

  /** Everything, in Prometheus' text format and UTF-8. */
  render(): Promise<Uint8Array<ArrayBuffer>> {
    this.#rendering ??= this.#render().finally(() => this.#rendering = null);
    return this.#rendering;
  }

  async #render(): Promise<Uint8Array<ArrayBuffer>> {
    this.#scrapeCount++;
    const page = new Page();
    page.add(await this.registry.metrics());
    page.add(this.server.format());
    if (this.#loopDelay !== null) {
      const name = "weir_event_loop_delay_seconds";
      page.add(
        formatFamily(name, "histogram", "How late timers fire because the event loop was held."),
      );
      page.add(formatHistogram(name, "", this.#loopDelay.histogram));
    }
    const flush = "weir_log_flush_duration_seconds";
    page.add(formatFamily(flush, "histogram", "Time that a flush of a log to its disk took."));
    page.add(formatHistogram(flush, "", this.#flushes));
    const topicLabels = ({ topic }: TopicSample) => formatLabels([["topic", topic]]);
    const partitionLabels = ({ topic, partition }: PartitionSample) =>
      formatLabels([["topic", topic], ["partition", String(partition)]]);
    const offsetLabels = ({ group, topic, partition }: OffsetSample) =>
      formatLabels([["group", group], ["topic", topic], ["partition", String(partition)]]);
    const groups = new GroupMeter();
    await this.#inSlices(this.#groups(), (sample) => groups.add(sample));
    page.add(groups.format());
    const leftOut = await this.#appendSeries(page, this.#topics(), TOPIC_FAMILIES, topicLabels) +
      await this.#appendSeries(page, this.#partitions(), PARTITION_FAMILIES, partitionLabels) +
      await this.#appendSeries(page, this.#offsets(), OFFSET_FAMILIES, offsetLabels);
    page.add(
      formatFamily("weir_series_left_out", "gauge", "What is beyond the bounds of this page."),
    );
    page.add(formatSample("weir_series_left_out", "", leftOut));
    const chunks = page.chunks();
    const bytes = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
    let position = 0;
    await this.#inSlices(chunks, (chunk) => {
      bytes.set(chunk, position);
      position += chunk.length;
    });
    return bytes;
  }

  /** Appends one family after the other. Returns: how many samples were beyond the bound. */
  async #appendSeries<Sample>(
    page: Page,
    samples: Iterable<Sample>,
    families: readonly Family<Sample>[],
    labelsOf: (sample: Sample) => string,
  ): Promise<number> {
    const pages = families.map(({ name, type, help }) => {
      const own = new Page();
      own.add(formatFamily(name, type, help));
      return own;
    });
    let count = 0;
    await this.#inSlices(samples, (sample) => {
      count++;
      if (count > MAX_SERIES) return;
      const labels = labelsOf(sample);
      families.forEach(({ name, value }, index) => {
        const number = value(sample);
        if (number !== null) pages[index]?.add(formatSample(name, labels, number));
      });
    });
    for (const own of pages) page.append(own);
    return Math.max(0, count - MAX_SERIES);
  }

  /** Visits each sample, and gives the event loop back in between. */
  async #inSlices<Sample>(samples: Iterable<Sample>, visit: (sample: Sample) => void) {
    const slice = new TimeSlice(this.#clock, SLICE_MS);
    let count = 0;
    for (const sample of samples) {
      count++;
      if (count % LOOK_EVERY === 0 && slice.isOver) await slice.next();
      visit(sample);
    }
  }
}

/**
 * Records read over HTTP: a page of them, or a stream as lines of JSON or as server-sent events.
 *
 * Where a reader is, is said by a token, in all partitions at once: any node goes on with it, exactly behind what was read.
 * A stream has it in each event's id, so that a browser's EventSource goes on by itself; a page has it in `next`.
 */

import type { Context } from "hono";
import { z } from "zod";
import type { Clock } from "../../../storage/platform.ts";
import type { KafkaClient } from "../../client/kafka_client.ts";
import {
  listOffsets,
  parsePlace,
  type Place,
  resolvePlace,
  SpecialTimestamp,
} from "../../client/offsets.ts";
import { topicState } from "../../client/topics.ts";
import type { FeedStart } from "../feeds/feeds.ts";
import { ConfluentCode, ProblemError } from "../problem.ts";
import { Filter } from "../websocket/filters.ts";
import type { FilterSpec } from "../websocket/messages.ts";
import { type Asked, type Operation, operation } from "./operation.ts";
import { MAX_POSITIONS, MAX_TOKEN_LENGTH, parsePositions } from "./position_token.ts";
import { named } from "./schema_names.ts";
import { type LineSource, lineStream } from "./streams.ts";
import { type Item, TopicReader, type TopicReading } from "./topic_reader.ts";

const MAX_TEXT = 1000;
const MAX_CONDITIONS = 16;
const MAX_LIMIT = 10_000;
const DEFAULT_LIMIT = 100;
const MAX_TIMEOUT_MS = 30_000;
/** A page is no larger, unless one record is. */
const PAGE_BYTES = 4 * 1024 * 1024;
/** How long a page looks for records that pass its filter, when it does not wait for new ones. */
const SEARCH_MS = 5_000;
/** A stream that has nothing to say says so, before anybody between takes it for dead. */
const HEARTBEAT_MS = 10_000;
const EVENTS = "text/event-stream";
const LINES = "application/x-ndjson";
/** Larger ones are no offsets. */
const MAX_OFFSET = 2 ** 48;
const tag = "Records";

const texts = z.union([z.string().max(MAX_TEXT), z.array(z.string().max(MAX_TEXT))]);
const readQuery = {
  partition: z.string().regex(/^\d{1,9}(,\d{1,9})*$/).optional()
    .describe("Which partitions, such as 0 or 0,2; all without it."),
  resume: z.string().max(MAX_TOKEN_LENGTH).optional()
    .describe(
      "A token: goes on behind what was read. Partitions that it does not name are new, and read whole.",
    ),
  key: z.string().max(MAX_TEXT).optional().describe("Only records with this key."),
  key_prefix: z.string().max(MAX_TEXT).optional().describe("Only records whose key begins so."),
  header: texts.optional()
    .describe("Only records with this header, as name:value; repeatable."),
  where: texts.optional().describe(
    "Only records whose value is JSON and holds this: status=paid, total>=12, user.name=Ann, or a field " +
      "alone; also != < <= >. Repeatable.",
  ),
  read_uncommitted: z.enum(["true", "false"]).optional()
    .describe("true: records of open and aborted transactions come too."),
};
const from = z.string().max(MAX_TEXT).optional();
const FROM =
  "earliest, latest, an offset (-10: ten before the end), an ISO 8601 time, or a while ago " +
  "such as -1h.";

const recordOut = named(
  "ReadRecord",
  z.object({
    topic: z.string(),
    partition: z.int(),
    offset: z.int(),
    timestamp: z.int(),
    key: z.string().nullable().optional(),
    keyBase64: z.string().optional(),
    value: z.string().nullable().optional(),
    valueBase64: z.string().optional(),
    headers: z.array(z.object({
      key: z.string(),
      value: z.string().nullable().optional(),
      valueBase64: z.string().optional(),
    })),
  }),
);
const pageOut = named(
  "RecordPage",
  z.object({
    records: z.array(recordOut),
    next: z.string(),
    atEnd: z.boolean(),
    gaps: z.array(z.object({
      partition: z.int(),
      reason: z.string(),
      fromOffset: z.int(),
      toOffset: z.int(),
    })),
  }),
);

type ReadQuery = { readonly [K in keyof typeof readQuery]: z.output<(typeof readQuery)[K]> };
type Read = Pick<Asked<string, Record<never, never>, z.ZodType>, "client" | "parts"> & {
  readonly topic: string;
  readonly query: ReadQuery & { readonly from: string | undefined };
};

/** `total>=12` as a condition. Errors: ProblemError. */
function conditionOf(text: string): NonNullable<FilterSpec["json"]>[number] {
  const [, path = "", is, given = ""] = /^([^=!<>]+)(?:(!=|<=|>=|=|<|>)(.*))?$/s.exec(text) ?? [];
  if (path === "") {
    throw new ProblemError(400, `Cannot read the query: "where": ${text} is no condition`);
  }
  if (is === undefined) return { path, is: "exists" };
  return { path, is: is as "=", value: scalarOf(given) };
}

/** A number, true, false or null; else a text, which may be in quotation marks. */
function scalarOf(text: string): string | number | boolean | null {
  try {
    const parsed: unknown = JSON.parse(text);
    return typeof parsed === "object" && parsed !== null ? text : parsed as string;
  } catch {
    return text;
  }
}

function filterOf({ key, key_prefix, header, where }: ReadQuery): Filter | null {
  const headers = [header ?? []].flat().map((text): [string, string] => {
    const at = text.indexOf(":");
    if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
    throw new ProblemError(400, 'Cannot read the query: "header" must be name:value');
  });
  const conditions = [where ?? []].flat().map(conditionOf);
  if (headers.length > MAX_CONDITIONS || conditions.length > MAX_CONDITIONS) {
    throw new ProblemError(
      400,
      `Cannot read the query: there are more than ${MAX_CONDITIONS} conditions`,
    );
  }
  const isAll = key === undefined && key_prefix === undefined && headers.length === 0 &&
    conditions.length === 0;
  if (isAll) return null;
  return new Filter({
    key: {
      ...(key !== undefined && { equals: key }),
      ...(key_prefix !== undefined && { prefix: key_prefix }),
    },
    headers: Object.fromEntries(headers),
    json: conditions,
  });
}

function placeOf(text: string): Place {
  const place = parsePlace(text);
  const isTooFar = place?.kind === "offset" && Math.abs(place.offset) > MAX_OFFSET;
  if (place !== null && !isTooFar) return place;
  throw new ProblemError(400, `Cannot read the query: "from" must be ${FROM}`);
}

/** What is to be read, as far as the request says. Errors: ProblemError, KafkaError, NetworkError. */
async function readingOf({ client, topic, query }: Read, defaultFrom: string) {
  const { topicId, partitions: { length: count } } = await topicState(client, topic);
  const partitions = query.partition?.split(",").map(Number) ?? [...Array(count).keys()];
  const missing = partitions.find((partition) => partition >= count);
  if (missing !== undefined) {
    throw new ProblemError(
      404,
      `Partition ${missing} of ${topic} cannot be found; the topic has 0 to ${count - 1}`,
      ConfluentCode.unknownTopicOrPartition,
    );
  }
  if (partitions.length > MAX_POSITIONS) {
    const detail =
      `Cannot read ${partitions.length} partitions at once: name ${MAX_POSITIONS} at most`;
    throw new ProblemError(400, detail);
  }
  const place = placeOf(query.from ?? defaultFrom);
  const starts = new Map<number, FeedStart>(partitions.map((partition) => [partition, place]));
  if (query.resume !== undefined) {
    const positions = parsePositions(query.resume);
    if (positions.topicId !== topicId) {
      const detail = `Cannot go on: topic ${topic} was deleted and made anew since; begin anew`;
      throw new ProblemError(409, detail);
    }
    for (const partition of partitions) {
      const position = positions.byPartition.get(partition);
      starts.set(
        partition,
        position === undefined ? { kind: "beginning" } : { kind: "resume", ...position },
      );
    }
  }
  const readCommitted = query.read_uncommitted !== "true";
  return { topic, topicId, starts, readCommitted, filter: filterOf(query) };
}

/** The ends of partitions, as they are now. Errors: KafkaError, NetworkError. */
async function endsOf(
  client: KafkaClient,
  { topic, starts, readCommitted }: Pick<TopicReading, "topic" | "starts" | "readCommitted">,
): Promise<Map<number, number>> {
  const partitions = [...starts.keys()];
  const found = await listOffsets(client, topic, partitions, SpecialTimestamp.latest, {
    readCommitted,
  });
  return new Map([...found].map(([partition, { offset }]) => [partition, offset]));
}

/** Starts as offsets: whether a partition has more is to be seen before it is read. */
async function resolvedStarts(
  client: KafkaClient,
  topic: string,
  starts: ReadonlyMap<number, FeedStart>,
): Promise<Map<number, FeedStart>> {
  const resolved = new Map(starts);
  const places = Map.groupBy(starts, ([, start]) => start);
  for (const [place, of] of places) {
    if (place.kind === "resume") continue;
    const partitions = of.map(([partition]) => partition);
    const offsets = await resolvePlace(client, topic, partitions, place);
    for (const [partition, offset] of offsets) resolved.set(partition, { kind: "offset", offset });
  }
  return resolved;
}

// ---- pages ------------------------------------------------------------------------------------------

async function readPage(asked: Read, limit: number, timeoutMs: number) {
  const { client, parts } = asked;
  const reading = await readingOf(asked, "earliest");
  const ends = await endsOf(client, reading);
  const starts = await resolvedStarts(client, asked.topic, reading.starts);
  const isCaughtUp = [...starts].every(([partition, start]) =>
    "offset" in start && start.offset >= (ends.get(partition) ?? 0)
  );
  const waits = isCaughtUp && timeoutMs > 0;
  const reader = await TopicReader.open(parts.feeds, {
    ...reading,
    starts,
    // One that waits takes the first that come.
    ends: waits ? null : ends,
    limit,
    withTokens: false,
  });
  try {
    const deadline = new Deadline(parts.clock, waits ? timeoutMs : SEARCH_MS);
    const page = await gather(reader, deadline, waits);
    return { ...page, next: reader.token(), atEnd: reader.isOver && page.records.length < limit };
  } finally {
    reader.close();
  }
}

/** A moment to wait for beside something else. */
class Deadline {
  readonly #clock: Clock;
  readonly #atMs: number;

  constructor(clock: Clock, durationMs: number) {
    this.#clock = clock;
    this.#atMs = clock.monotonicMs() + durationMs;
  }

  get isPast(): boolean {
    return this.#clock.monotonicMs() >= this.#atMs;
  }

  /** Resolves when the work has, or the moment has come. */
  async before(work: Promise<void>): Promise<void> {
    const done = new AbortController();
    const leftMs = Math.max(0, this.#atMs - this.#clock.monotonicMs());
    await Promise.race([work, this.#clock.sleep(leftMs, done.signal)]);
    done.abort();
  }
}

async function gather(reader: TopicReader, deadline: Deadline, isFirstEnough: boolean) {
  const records: string[] = [];
  const gaps: object[] = [];
  let bytes = 0;
  for (;;) {
    await deadline.before(reader.ready());
    const isOver = reader.isOver;
    for (const item of reader.take()) {
      if (item.kind === "record") records.push(item.json);
      else if (item.kind === "gap") gaps.push({ partition: item.partition, ...item.gap });
      else throw new ProblemError(item.end.reason === "unavailable" ? 503 : 409, item.end.detail);
      if (item.kind === "record") bytes += item.json.length;
    }
    const isEnough = bytes >= PAGE_BYTES || (isFirstEnough && records.length > 0);
    if (isOver || isEnough || deadline.isPast) return { records, gaps };
  }
}

// ---- streams ----------------------------------------------------------------------------------------

/** How a stream looks on the wire. */
interface Form {
  readonly contentType: string;
  readonly opening: string;
  item(item: Item): string;
  /** Sent when nothing else was for a while; `token`: where the reader is. */
  heartbeat(token: string): string;
}

function eventText(name: string, data: object): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}

function toldOf(item: Exclude<Item, { kind: "record" }>) {
  const { kind: event, partition } = item;
  return { event, partition, ...(item.kind === "gap" ? item.gap : item.end) };
}

const events: Form = {
  contentType: EVENTS,
  opening: "retry: 1000\n\n",
  item(item) {
    if (item.kind === "record") return `id: ${item.token}\ndata: ${item.json}\n\n`;
    const { event, ...data } = toldOf(item);
    // A node that stops says nothing: whoever reads comes back, to another one.
    return item.kind === "end" && item.end.reason === "unavailable" ? "" : eventText(event, data);
  },
  // An id without data is remembered and tells nobody.
  heartbeat: (token) => `: still here\nid: ${token}\n\n`,
};

const lines: Form = {
  contentType: LINES,
  opening: "",
  item: (item) => (item.kind === "record" ? `${item.json}\n` : `${JSON.stringify(toldOf(item))}\n`),
  heartbeat: () => "\n",
};

/** Each line has a field more, the token behind it. */
const linesWithTokens: Form = {
  ...lines,
  item: (item) =>
    item.kind === "record" ? `{"token":"${item.token}",${item.json.slice(1)}\n` : lines.item(item),
};

class Stream implements LineSource {
  readonly #reader: TopicReader;
  readonly #form: Form;
  readonly #clock: Clock;
  #isOpening = true;

  constructor(reader: TopicReader, form: Form, clock: Clock) {
    this.#reader = reader;
    this.#form = form;
    this.#clock = clock;
  }

  async next(): Promise<string | null> {
    const { opening } = this.#form;
    if (this.#isOpening && opening !== "") {
      this.#isOpening = false;
      return opening;
    }
    await new Deadline(this.#clock, HEARTBEAT_MS).before(this.#reader.ready());
    const isOver = this.#reader.isOver;
    const items = this.#reader.take();
    if (items.length > 0) return items.map((item) => this.#form.item(item)).join("");
    return isOver ? null : this.#form.heartbeat(this.#reader.token());
  }

  close(): void {
    this.#reader.close();
  }
}

function formOf(context: Context, format: "ndjson" | "sse" | undefined, withTokens: boolean): Form {
  const wantsEvents = format === "sse" ||
    (format === undefined && context.req.header("Accept")?.includes(EVENTS) === true);
  return wantsEvents ? events : withTokens ? linesWithTokens : lines;
}

/** The operations. */
export const consumeOperations: readonly Operation[] = [
  operation({
    method: "get",
    path: "/api/topics/{topic}/records",
    id: "readRecords",
    tag,
    summary: "Read a page of records",
    description:
      "From oldest to newest within each partition. A page ends at its limit, at the end of the " +
      "topic, or when it has looked for a while; `next` goes on with the next one.",
    query: {
      from: from.describe(`Where to begin: ${FROM} earliest without it.`),
      limit: z.coerce.number().int().min(1).max(MAX_LIMIT).default(DEFAULT_LIMIT)
        .describe("Most records of a page."),
      timeout_ms: z.coerce.number().int().min(0).max(MAX_TIMEOUT_MS).default(0)
        .describe("How long to wait for the first record where there are none."),
      ...readQuery,
    },
    answers: { 200: { description: "The records.", schema: pageOut } },
    handle: async ({ client, parts, context, path: { topic }, query }) => {
      const read = { client, parts, topic, query };
      const page = await readPage(read, query.limit, query.timeout_ms);
      const { records, ...rest } = page;
      // The records are JSON already.
      const text = `{"records":[${records.join(",")}],${JSON.stringify(rest).slice(1)}`;
      return context.body(text, 200, { "Content-Type": "application/json" });
    },
  }),
  operation({
    method: "get",
    path: "/api/topics/{topic}/stream",
    id: "streamRecords",
    tag,
    summary: "Stream records as they come",
    description:
      "As lines of JSON, or as server-sent events where `Accept: text/event-stream` or the format " +
      "asks for them. An event's id is a token: EventSource goes on by itself, behind the last record that it " +
      "saw, on whichever node answers. What was lost meanwhile is told as a gap.",
    query: {
      from: from.describe(`Where to begin: ${FROM} latest without it.`),
      limit: z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER).optional()
        .describe("Records after which the stream ends."),
      follow: z.enum(["true", "false"]).optional()
        .describe("false: ends where the topic ends now."),
      format: z.enum(["ndjson", "sse"]).optional().describe(
        "Lines of JSON, or server-sent events.",
      ),
      tokens: z.enum(["true", "false"]).optional()
        .describe("true: each line of JSON says in `token` where to go on."),
      ...readQuery,
    },
    answers: {
      200: { description: "The records.", schema: recordOut, contentTypes: [LINES, EVENTS] },
    },
    handle: async ({ client, parts, context, path: { topic }, query }) => {
      const form = formOf(context, query.format, query.tokens === "true");
      const resume = context.req.header("Last-Event-ID") ?? query.resume;
      const read = { client, parts, topic, query: { ...query, resume } };
      const open = async () => {
        const reading = await readingOf(read, "latest");
        const isBounded = query.follow === "false";
        const reader = await TopicReader.open(parts.feeds, {
          ...reading,
          ...(isBounded && { starts: await resolvedStarts(client, topic, reading.starts) }),
          ends: isBounded ? await endsOf(client, reading) : null,
          limit: query.limit ?? Infinity,
          withTokens: form !== lines,
        });
        return new Stream(reader, form, parts.clock);
      };
      return await lineStream(context, parts.slots, form.contentType, open);
    },
  }),
];

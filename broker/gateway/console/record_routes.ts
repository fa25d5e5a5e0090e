/** The console's own ways to records: pages of them, one whole, one written. JSON, for `browser/messages.ts`. */

import type { Context, Hono } from "hono";
import { z } from "zod";
import { ClientError } from "../../client/client_error.ts";
import type { KafkaClient } from "../../client/kafka_client.ts";
import { parsePlace, type Place } from "../../client/offsets.ts";
import { formatRecord, parseRecord } from "../../client/record_json.ts";
import { topicState } from "../../client/topics.ts";
import { withBody } from "../body.ts";
import { faultOf, problem } from "../problem.ts";
import type { Writing } from "../writing.ts";
import { parseFilter } from "./record_filter.ts";
import { formatPage, readPage, readRecord } from "./record_pages.ts";

/** Pages that are read at the same time; whoever comes then is told to come again. */
const MAX_SCANS = 8;
const MAX_LIMIT = 500;

const whole = z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const pageQuery = z.object({
  topic: z.string().min(1),
  partition: whole.optional(),
  direction: z.enum(["backward", "forward"]).default("backward"),
  from: z.string().optional(),
  cursor: z.string().regex(/^\d+:\d+(,\d+:\d+)*$/).optional(),
  limit: z.coerce.number().int().min(1).max(MAX_LIMIT).default(50),
  q: z.string().max(1000).default(""),
  committed: z.enum(["0", "1"]).default("0"),
});
const recordQuery = z.object({
  topic: z.string().min(1),
  partition: whole,
  offset: whole,
  as: z.enum(["json", "value", "key"]).default("json"),
});

/** Adds those that ask. */
export function recordRoutes(app: Hono, currentClient: () => KafkaClient | null): void {
  let scanCount = 0;
  app.get("/console/api/records", async (context) => {
    const query = pageQuery.safeParse(context.req.query());
    if (!query.success) return badQuery(context, query.error);
    const client = currentClient();
    if (client === null) return notServing(context);
    if (scanCount >= MAX_SCANS) {
      return problem(context, 503, `Cannot read ${query.data.topic}: too many searches run now`);
    }
    scanCount++;
    try {
      const page = await readPage(client, requestOf(query.data, context.req.raw.signal));
      return context.body(formatPage(page), 200, { "Content-Type": "application/json" });
    } catch (error) {
      return refusal(context, `Cannot read ${query.data.topic}`, error);
    } finally {
      scanCount--;
    }
  });
  app.get("/console/api/record", async (context) => {
    const query = recordQuery.safeParse(context.req.query());
    if (!query.success) return badQuery(context, query.error);
    const client = currentClient();
    if (client === null) return notServing(context);
    const { topic, partition, offset, as } = query.data;
    const what = `Cannot read offset ${offset} of partition ${partition} of ${topic}`;
    try {
      const record = await readRecord(client, { topic, partition, offset });
      if (record === null) return problem(context, 404, `${what}: there is no record`);
      if (as === "json") {
        return context.body(formatRecord(record, { topic, partition }), 200, {
          "Content-Type": "application/json",
        });
      }
      return context.body(record[as]?.slice() ?? new Uint8Array(0), 200, {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": `attachment; filename="${topic}-${partition}-${offset}.${as}"`,
      });
    } catch (error) {
      return refusal(context, what, error);
    }
  });
}

/** Adds the one that writes a record. Its body is a record as JSON, as `record_json.ts` takes it. */
export function produceRoute(
  app: Hono,
  currentClient: () => KafkaClient | null,
  writing: Writing,
): void {
  app.post("/console/api/produce", async (context) => {
    const topic = context.req.query("topic") ?? "";
    const client = currentClient();
    if (client === null) return notServing(context);
    try {
      const record = await withBody(
        context.req.raw,
        writing.bodies,
        (bytes) => parseRecord(bytes, client.clock.wallMs()),
      );
      // What is written to is there already: no topic is made by a slip of the hand.
      await topicState(client, topic);
      const { partition, offset } = await writing.sender(client).send(topic, record);
      return context.json({ partition, offset }, 201);
    } catch (error) {
      return refusal(context, `Cannot produce to ${topic}`, error);
    }
  });
}

function requestOf(query: z.infer<typeof pageQuery>, signal: AbortSignal) {
  const { topic, partition, direction, limit, q, committed } = query;
  return {
    topic,
    partitions: partition === undefined ? [] : [partition],
    direction,
    from: startOf(query),
    limit,
    filter: parseFilter(q),
    readCommitted: committed === "1",
    signal,
  };
}

/** Errors: ClientError for a place that is none. */
function startOf(
  { cursor, from, direction }: z.infer<typeof pageQuery>,
): Place | ReadonlyMap<number, number> {
  if (cursor !== undefined) {
    return new Map(
      cursor.split(",").map((part) => {
        const [partition, offset] = part.split(":");
        return [Number(partition), Number(offset)];
      }),
    );
  }
  if (from === undefined) return { kind: direction === "backward" ? "end" : "beginning" };
  const place = parsePlace(from);
  if (place !== null) return place;
  throw new ClientError(
    `"${from}" is no place: beginning, end, an offset, an ISO 8601 time, or -1h`,
  );
}

function notServing(context: Context): Response {
  return problem(context, 503, "Cannot ask the cluster: this node does not serve it now");
}

function badQuery(context: Context, { issues: [issue] }: z.ZodError): Response {
  const { path, message } = issue!;
  return problem(context, 400, `Cannot read records: ${path.join(".")} is wrong (${message})`);
}

function refusal(context: Context, what: string, error: unknown): Response {
  const fault = faultOf(error);
  if (fault === null) throw error;
  return problem(context, fault.status, `${what}: ${fault.detail}`, fault.errorCode);
}

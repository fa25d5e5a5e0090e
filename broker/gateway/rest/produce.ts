/**
 * Records produced over HTTP: one, several in one body, a batch, or a stream of them that is answered line by line.
 *
 * In Confluent's form under `/v3`, in that of `weir consume --json` under `/api`. A body whose length is known is read
 * whole; where it holds one record, the status of the answer is the record's. One that is sent in chunks is a stream: its
 * status is 200 as soon as it has begun, and each line says what became of a record.
 */

import { z } from "zod";
import { ByteRoom } from "../../client/byte_room.ts";
import { ClientError } from "../../client/client_error.ts";
import type { KafkaClient } from "../../client/kafka_client.ts";
import type { OutgoingRecord } from "../../client/producer.ts";
import { jsonRecord, outgoingRecord } from "../../client/record_json.ts";
import type { SentRecord } from "../../client/sender.ts";
import { ConfluentCode, type Fault, faultOf, problem, ProblemError } from "../problem.ts";
import { checkContentType, parseJson, piecesOf, withBody } from "../body.ts";
import { jsonValues } from "./json_values.ts";
import { type Asked, json, type Operation, operation, parsedBody } from "./operation.ts";
import type { RestParts } from "./parts.ts";
import { Reports } from "./reports.ts";
import { named } from "./schema_names.ts";
import { lineStream } from "./streams.ts";

const MAX_INT32 = 0x7fff_ffff;
const MAX_ENTRIES = 10_000;
const MAX_TEXT = 0x7fff;
const TYPES = ["application/json", "application/x-ndjson", "application/jsonl"] as const;
const OK = 200;
const LINES = "application/x-ndjson";
const tag = "Records (v3)";
const encoder = new TextEncoder();

const embedded = named(
  "ProduceRequestData",
  z.object({
    type: z.enum(["BINARY", "JSON", "STRING"]).optional(),
    data: z.unknown().optional(),
  }),
);
const recordFields = {
  partition_id: z.int().min(0).max(MAX_INT32).nullable().optional(),
  headers: z.array(z.object({
    name: z.string().max(MAX_TEXT),
    value: z.base64().nullable().optional(),
  })).max(MAX_ENTRIES).nullable().optional(),
  key: embedded.nullable().optional(),
  value: embedded.nullable().optional(),
  timestamp: z.iso.datetime({ offset: true }).nullable().optional(),
};
const produceRequest = named("ProduceRequest", z.object(recordFields));
type ProduceRequest = z.output<typeof produceRequest>;
const batchRequest = named(
  "ProduceBatchRequest",
  z.object({
    entries: z.array(z.object({ id: z.string().min(1).max(80), ...recordFields }))
      .min(1).max(MAX_ENTRIES),
  }),
);

const size = z.object({ type: z.string().nullable(), size: z.int() });
const reportFields = {
  cluster_id: z.string().optional(),
  topic_name: z.string().optional(),
  partition_id: z.int().optional(),
  offset: z.int().optional(),
  timestamp: z.iso.datetime().nullable().optional(),
  key: size.optional(),
  value: size.optional(),
};
const produceResponse = named(
  "ProduceResponse",
  z.object({ error_code: z.int(), message: z.string().optional(), ...reportFields }),
);
const batchResponse = named(
  "ProduceBatchResponse",
  z.object({
    successes: z.array(z.object({ id: z.string(), ...reportFields })),
    failures: z.array(
      z.object({ id: z.string(), error_code: z.int(), message: z.string().optional() }),
    ),
  }),
);
const recordIn = named("Record", jsonRecord);
const sentRecord = named(
  "SentRecord",
  z.object({
    partition: z.int().optional(),
    offset: z.int().optional(),
    timestamp: z.int().optional(),
    error_code: z.int().optional(),
    message: z.string().optional(),
  }),
);

/** Errors: ProblemError for data that is not of its type. */
function bytesOf(what: "key" | "value", given: z.output<typeof embedded> | null | undefined) {
  if (given === null || given === undefined) return null;
  const { type, data } = given;
  if (data === null || data === undefined) return null;
  switch (type) {
    case "JSON":
      return encoder.encode(JSON.stringify(data));
    case "STRING":
      if (typeof data === "object") throw wrongData(what, "STRING", "a text");
      return encoder.encode(String(data));
    case "BINARY":
      if (typeof data !== "string") throw wrongData(what, "BINARY", "base64");
      try {
        return Uint8Array.fromBase64(data);
      } catch {
        throw wrongData(what, "BINARY", "base64");
      }
    default:
      throw new ProblemError(
        422,
        `Cannot read the ${what}: say its type: BINARY, JSON or STRING; there is no schema registry`,
        ConfluentCode.payload,
      );
  }
}

function wrongData(what: string, type: string, wanted: string): ProblemError {
  const detail = `Cannot read the ${what}: data of type ${type} must be ${wanted}`;
  return new ProblemError(400, detail);
}

function recordOf(given: ProduceRequest, nowMs: number): OutgoingRecord {
  const { partition_id, headers, key, value, timestamp } = given;
  return {
    key: bytesOf("key", key),
    value: bytesOf("value", value),
    headers: (headers ?? []).map(({ name, value }) => ({
      key: name,
      value: value == null ? null : Uint8Array.fromBase64(value),
    })),
    timestamp: timestamp == null ? nowMs : Date.parse(timestamp),
    ...(partition_id != null && { partition: partition_id }),
  };
}

/** What becomes of records that are sent: to one topic, through one client. */
interface Target {
  readonly parts: RestParts;
  readonly client: KafkaClient;
  readonly topic: string;
}

/** Where a record went, or why not. */
type Outcome<T> = { readonly report: T } | { readonly fault: Fault };

/** Errors: of ours alone. */
async function outcomeOf<T>(work: () => Promise<T>): Promise<Outcome<T>> {
  try {
    return { report: await work() };
  } catch (error) {
    const fault = faultOf(error);
    if (fault === null) throw error;
    return { fault };
  }
}

async function sendConfluent({ parts, client, topic }: Target, given: ProduceRequest) {
  const record = recordOf(given, parts.clock.wallMs());
  const { partition, offset, timestamp } = await parts.writing.sender(client).send(topic, record);
  const sizes = (name: "key" | "value") => {
    const type = given[name]?.type;
    return type === undefined ? {} : { [name]: { type, size: record[name]?.length ?? 0 } };
  };
  return {
    cluster_id: await parts.clusterId(client),
    topic_name: topic,
    partition_id: partition,
    offset,
    timestamp: new Date(timestamp).toISOString(),
    ...sizes("key"),
    ...sizes("value"),
  };
}

async function sendOwn({ parts, client, topic }: Target, value: Uint8Array): Promise<SentRecord> {
  const given = parsedBody(jsonRecord, parseJson(value));
  return await parts.writing.sender(client).send(topic, ownRecord(given, parts.clock.wallMs()));
}

function ownRecord(given: z.output<typeof jsonRecord>, nowMs: number): OutgoingRecord {
  try {
    return outgoingRecord(given, nowMs);
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
    throw new ProblemError(400, `Cannot read the record: ${error.message}`);
  }
}

/** Answers a body of records, whichever way it comes. */
async function answerRecords(
  { context, parts }: Pick<Asked<string, Record<never, never>, z.ZodType>, "context" | "parts">,
  send: (value: Uint8Array) => Promise<object>,
  okFields: object,
): Promise<Response> {
  const request = context.req.raw;
  checkContentType(request, TYPES);
  const answer = async (value: Uint8Array) => {
    const outcome = await outcomeOf(() => send(value));
    return "fault" in outcome ? faultReport(outcome.fault) : { ...okFields, ...outcome.report };
  };
  const failed = (error: unknown) => {
    const fault = faultOf(error);
    if (fault === null) throw error;
    return faultReport(fault);
  };
  if (request.headers.get("Content-Length") === null && request.body !== null) {
    const reader = request.body.getReader();
    const values = jsonValues(piecesOf(reader), parts.writing.bodies);
    const stop = () => void reader.cancel().catch(() => undefined);
    const open = () =>
      new Reports({ values, room: parts.writing.bodies.room, stop, answer, failed });
    return await lineStream(context, parts.slots, LINES, open);
  }
  return await withBody(request, parts.writing.bodies, async (bytes) => {
    // Its room is taken already.
    const values = await Array.fromAsync(
      jsonValues([bytes], { ...parts.writing.bodies, room: new ByteRoom(Infinity) }),
      ({ bytes }) => bytes,
    );
    const [first] = values;
    if (first === undefined) {
      const detail = "Payload error. Request body is empty. Data is required.";
      throw new ProblemError(422, detail, 422);
    }
    if (values.length > 1) {
      const answers = await Promise.all(values.map(answer));
      const lines = answers.map((it) => `${JSON.stringify(it)}\n`).join("");
      return context.body(lines, OK, { "Content-Type": LINES });
    }
    const outcome = await outcomeOf(() => send(first));
    if ("report" in outcome) return json(context, { ...okFields, ...outcome.report });
    const { status, detail, errorCode } = outcome.fault;
    return problem(context, status, detail, errorCode);
  });
}

function faultReport({ errorCode, detail }: Fault) {
  return { error_code: errorCode, message: detail };
}

/** The operations. */
export const produceOperations: readonly Operation[] = [
  operation({
    method: "post",
    path: "/v3/clusters/{cluster_id}/topics/{topic_name}/records",
    id: "produceRecord",
    tag,
    summary: "Produce a record, several of them, or a stream",
    description:
      "Objects one after another, each of them a record. Sent with a length, one record is " +
      "answered with its status; several are answered line by line. Sent in chunks they are a stream: " +
      "each is answered by a line as soon as it is stored, for as long as the connection is open; an " +
      "error_code of 200 says that it is.",
    body: produceRequest,
    bodyTypes: ["application/json", "application/x-ndjson"],
    streamsBody: true,
    bodyExample: {
      key: { type: "STRING", data: "order-1" },
      value: { type: "JSON", data: { amount: 3 } },
    },
    answers: {
      200: {
        description: "What became of each record.",
        schema: produceResponse,
        contentTypes: ["application/json", "application/x-ndjson"],
      },
    },
    handle: async (asked) => {
      const target = { ...asked, topic: asked.path.topic_name };
      return await answerRecords(
        asked,
        async (value) => await sendConfluent(target, parsedBody(produceRequest, parseJson(value))),
        { error_code: OK },
      );
    },
  }),
  operation({
    method: "post",
    path: "/v3/clusters/{cluster_id}/topics/{topic_name}/records:batch",
    id: "produceRecordsBatch",
    tag,
    summary: "Produce a batch of records",
    body: batchRequest,
    bodyExample: {
      entries: [
        { id: "1", value: { type: "STRING", data: "first" } },
        { id: "2", value: { type: "STRING", data: "second" } },
      ],
    },
    answers: { 207: { description: "What became of each record.", schema: batchResponse } },
    handle: async (asked) => {
      const { entries } = asked.body;
      if (new Set(entries.map(({ id }) => id)).size < entries.length) {
        throw new ProblemError(422, "Batch entry IDs are not distinct.", 42208);
      }
      const target = { ...asked, topic: asked.path.topic_name };
      const outcomes = await Promise.all(entries.map(async ({ id, ...record }) => ({
        id,
        outcome: await outcomeOf(() => sendConfluent(target, record)),
      })));
      const successes = [];
      const failures = [];
      for (const { id, outcome } of outcomes) {
        if ("fault" in outcome) failures.push({ id, ...faultReport(outcome.fault) });
        else successes.push({ id, ...outcome.report });
      }
      return json(asked.context, { successes, failures }, 207);
    },
  }),
  operation({
    method: "post",
    path: "/api/topics/{topic}/records",
    id: "produceRecords",
    tag: "Records",
    summary: "Produce records as the stream of a topic shows them",
    description:
      "As the operation of the same name under /v3, with records in the form in which they " +
      "are read: key and value are texts, or any JSON, or base64 in keyBase64 and valueBase64.",
    body: recordIn,
    bodyTypes: ["application/json", "application/x-ndjson"],
    streamsBody: true,
    bodyExample: { key: "order-1", value: { amount: 3 }, headers: { trace: "abc" } },
    answers: {
      200: {
        description: "Where each record lies, or why it was refused.",
        schema: sentRecord,
        contentTypes: ["application/json", "application/x-ndjson"],
      },
    },
    handle: async (asked) => {
      const target = { ...asked, topic: asked.path.topic };
      return await answerRecords(asked, (value) => sendOwn(target, value), {});
    },
  }),
];

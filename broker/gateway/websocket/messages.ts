/**
 * The messages of the WebSocket protocol, version 1: what may come in, as schemas that check it, and what goes out, as
 * schemas that the tests check it with. `docs/websocket.md` is made from the same schemas, so that the texts here are
 * what a reader of the page sees.
 */

import { z } from "zod";
import { jsonRecord } from "../../client/record_json.ts";

/** Subprotocols, the preferred one first. */
export const PROTOCOLS = ["weir.v1.json", "weir.v1.binary"] as const;
export type Protocol = (typeof PROTOCOLS)[number];

/** Bounds of one message; those of a socket are settings. */
export const MAX_TOPICS = 100;
const MAX_PARTITIONS = 1000;
const MAX_RECORDS = 10_000;
const MAX_CONDITIONS = 16;
const MAX_TEXT = 1000;

const request = z.int().min(0).max(2 ** 53 - 1).describe(
  "A number of the client's choice; the answer carries it.",
);
const id = z.int().min(0).max(2 ** 31 - 1).describe(
  "Names a subscription of this socket. Subscribers that use the same small numbers share what is sent.",
);
const topic = z.string().min(1).max(249).describe("Name of a topic.");
const partition = z.int().min(0).max(2 ** 31 - 1).describe("Number of a partition.");
const offset = z.int().min(0).describe("Offset of a record.");
const next = z.int().min(0).describe("Offset that comes next in the partition.");
const token = z.string().max(64).describe("Resume token: goes on at `next`, on any node.");
const detail = z.string().describe("A sentence for people.");

const scalar = z.union([z.string().max(MAX_TEXT), z.number(), z.boolean(), z.null()]);

/** Which records are wanted: all conditions must hold. */
export const filter = z.strictObject({
  key: z.strictObject({
    equals: z.string().max(MAX_TEXT).optional().describe("The whole key."),
    prefix: z.string().max(MAX_TEXT).optional().describe("How the key begins."),
  }).optional().describe("What the key must be like, as text."),
  headers: z.record(z.string().max(MAX_TEXT), z.string().max(MAX_TEXT)).optional()
    .refine((it) => Object.keys(it ?? {}).length <= MAX_CONDITIONS, "too many headers")
    .describe("Headers that must be there with this value, as text."),
  json: z.array(z.strictObject({
    path: z.string().min(1).max(MAX_TEXT).describe(
      "Names from the outside in, dots between them: `order.lines.0.price`.",
    ),
    is: z.enum(["=", "!=", "<", "<=", ">", ">=", "exists"]).describe(
      "`<` and its like compare numbers with numbers and texts with texts.",
    ),
    value: scalar.optional(),
  })).max(MAX_CONDITIONS).optional().describe(
    "What must hold of the value, read as JSON. A value that is no JSON, or larger than 256 KiB, is left out.",
  ),
}).describe("Which records are wanted; every condition must hold.");
export type FilterSpec = z.infer<typeof filter>;

/** Where a subscription starts that has no token for a partition. */
export const from = z.union([
  z.literal("earliest"),
  z.literal("latest"),
  z.strictObject({ offset: z.int().describe("Negative: that many before the end.") }),
  z.strictObject({ timestamp: z.union([z.int().min(0), z.string().max(40)]) }),
]).describe(
  '`"latest"`, `"earliest"`, `{ offset }`, or `{ timestamp }` in ms or as ISO 8601. `latest` when left out.',
);
export type From = z.infer<typeof from>;

const delivery = z.enum(["all", "latest", "sample"]).describe(
  "`all` records; the `latest` of each key (conflation) every `intervalMs`; or one `sample` of each partition, the newest, every `intervalMs`. `all` when left out.",
);

/** Messages of clients. */
export const clientMessages = {
  subscribe: z.strictObject({
    type: z.literal("subscribe"),
    id,
    topics: z.array(z.strictObject({
      topic,
      partitions: z.array(partition).min(1).max(MAX_PARTITIONS).optional().describe(
        "All when left out.",
      ),
    })).min(1).max(MAX_TOPICS).describe("What is read."),
    from: from.optional(),
    resume: z.array(z.string().max(64)).max(MAX_PARTITIONS).optional().describe(
      "Tokens of partitions that go on where an earlier subscription was, on this node or another.",
    ),
    credits: z.int().min(0).max(2 ** 31).optional().describe(
      "Records that may be sent before more credits come. Left out: as fast as the socket takes them.",
    ),
    filter: filter.optional(),
    delivery: delivery.optional(),
    intervalMs: z.int().min(10).max(3_600_000).optional().describe(
      "For `latest` and `sample`; 1000 when left out.",
    ),
    slow: z.enum(["wait", "drop"]).optional().describe(
      "What becomes of one that does not keep up: it gets everything later (`wait`), or the subscription ends and says so (`drop`). `wait` when left out.",
    ),
    readUncommitted: z.boolean().optional().describe(
      "True: records of open and aborted transactions come too.",
    ),
    group: z.string().min(1).max(MAX_TEXT).optional().describe(
      "Reads as a member of this consumer group: one topic, its partitions shared with the other members, from the committed offsets on, or `from` where there are none. `ack` commits.",
    ),
  }).describe("Begins to read. Answered by `subscribed` or `error`."),
  credit: z.strictObject({
    type: z.literal("credit"),
    id,
    records: z.int().min(1).max(2 ** 31).describe("So many more may be sent."),
  }).describe("Lets more records come. No answer."),
  ack: z.strictObject({
    type: z.literal("ack"),
    id,
    offsets: z.array(z.strictObject({ topic, partition, next })).min(1).max(MAX_PARTITIONS)
      .describe(
        "How far each partition is dealt with.",
      ),
    request: request.optional(),
  }).describe("Commits offsets of a group's subscription. Answered by `acked` or `error`."),
  unsubscribe: z.strictObject({ type: z.literal("unsubscribe"), id }).describe(
    "Ends a subscription. Answered by `end`.",
  ),
  topic: z.strictObject({ type: z.literal("topic"), request, topic }).describe(
    "Asks how many partitions a topic has. Answered by `topic` or `error`.",
  ),
  producer: z.strictObject({ type: z.literal("producer"), request }).describe(
    "Asks for a producer id, with which a batch can be sent again, here or over another node, and is written once. Answered by `producer` or `error`.",
  ),
  produce: z.strictObject({
    type: z.literal("produce"),
    request,
    topic,
    records: z.array(jsonRecord).min(1).max(MAX_RECORDS).describe(
      "Fields of a record: `key`, `value` (text, or any JSON), `keyBase64`, `valueBase64`, `headers`, `timestamp`, `partition`.",
    ),
    partition: partition.optional().describe(
      "Where all of them go. Left out: by each record's `partition`, else by its key as Kafka's clients choose, else anywhere.",
    ),
    producer: z.strictObject({
      id: z.int().min(0).describe("As `producer` gave it."),
      epoch: z.int().min(0).max(32_767).describe("As `producer` gave it."),
      sequence: z.int().min(0).max(2 ** 31 - 1).describe(
        "How many records this producer has sent to the partition before these, modulo 2^31.",
      ),
    }).optional().describe(
      "Makes a batch that may be sent again; needs `partition`. One batch of a partition at a time.",
    ),
  }).describe("Writes records, synced on all in-sync replicas before `produced` answers."),
  ping: z.strictObject({ type: z.literal("ping"), request: request.optional() }).describe(
    "Answered by `pong`. The node pings on its own, too, with WebSocket's frames.",
  ),
} as const;

/** Any message of a client. */
export const clientMessage = z.discriminatedUnion("type", [
  clientMessages.subscribe,
  clientMessages.credit,
  clientMessages.ack,
  clientMessages.unsubscribe,
  clientMessages.topic,
  clientMessages.producer,
  clientMessages.produce,
  clientMessages.ping,
]);
export type ClientMessage = z.infer<typeof clientMessage>;
export type SubscribeMessage = z.infer<typeof clientMessages.subscribe>;
export type ProduceMessage = z.infer<typeof clientMessages.produce>;
export type AckMessage = z.infer<typeof clientMessages.ack>;

const text = z.string().nullable();
const shownRecord = z.strictObject({
  offset,
  timestamp: z.int(),
  key: text.optional(),
  keyBase64: z.string().optional(),
  value: text.optional(),
  valueBase64: z.string().optional(),
  headers: z.array(z.strictObject({
    key: z.string(),
    value: text.optional(),
    valueBase64: z.string().optional(),
  })),
});
const place = z.strictObject({ topic, partition, next, token });

/** Codes of errors. */
export const ERROR_CODES = {
  BAD_MESSAGE:
    "It is not JSON, or not a message as described here. The socket is closed after several.",
  TOO_LARGE: "It is larger than `maxMessageBytes`. The socket is closed.",
  LIMIT: "A bound is reached: subscriptions, partitions or requests in flight.",
  NOT_FOUND: "There is no such topic, partition or subscription.",
  BAD_TOKEN: "It is no resume token, or one of another topic.",
  UNAVAILABLE:
    "The node does not serve now, or the partition has no leader: another node, or a later try.",
  REFUSED: "The broker said no; `kafka` is its error.",
} as const;
export type ErrorName = keyof typeof ERROR_CODES;

/** Messages of the node. */
export const serverMessages = {
  welcome: z.strictObject({
    type: z.literal("welcome"),
    protocol: z.enum(PROTOCOLS),
    version: z.string().describe("weir's version."),
    maxMessageBytes: z.int(),
  }).describe("Comes first."),
  subscribed: z.strictObject({
    type: z.literal("subscribed"),
    id,
    partitions: z.array(place).describe("What is read, and from where."),
  }).describe(
    "A subscription has begun; for a group: this member has these partitions from now on.",
  ),
  records: z.strictObject({
    type: z.literal("records"),
    id,
    topic,
    partition,
    next,
    token,
    records: z.array(shownRecord),
  }).describe("Records of one partition, in order."),
  position: z.strictObject({ type: z.literal("position"), id, topic, partition, next, token })
    .describe("The partition went on without a record that passes the filter."),
  gap: z.strictObject({
    type: z.literal("gap"),
    id,
    topic,
    partition,
    reason: z.enum(["retention", "truncation"]).describe(
      "`retention`: removed before they were read; `truncation`: lost by an unclean change of leader.",
    ),
    from: z.int().describe("The offset that was to come next."),
    to: z.int().describe("The offset that comes next now."),
  }).describe("Records that will not come."),
  revoked: z.strictObject({ type: z.literal("revoked"), id, detail }).describe(
    "A group's subscription has no partitions until the next `subscribed`: the members share them anew.",
  ),
  end: z.strictObject({
    type: z.literal("end"),
    id,
    reason: z.enum(["unsubscribed", "deleted", "damaged", "unavailable", "slow", "failed"]),
    detail,
    resume: z.array(z.string()).describe("Tokens with which another subscription goes on."),
  }).describe("A subscription is over."),
  acked: z.strictObject({ type: z.literal("acked"), id, request: request.optional() }).describe(
    "The offsets are committed.",
  ),
  topic: z.strictObject({ type: z.literal("topic"), request, topic, partitions: z.int() }).describe(
    "A topic.",
  ),
  producer: z.strictObject({
    type: z.literal("producer"),
    request,
    id: z.int(),
    epoch: z.int(),
  }).describe("A producer id."),
  produced: z.strictObject({
    type: z.literal("produced"),
    request,
    results: z.array(z.strictObject({
      partition,
      offset: z.int().describe(
        "−1 where they were written by an earlier try that is known no more.",
      ),
      count: z.int(),
    })).describe("Runs of records, by partition, with the offset of the first."),
  }).describe("All of them are written and synced."),
  pong: z.strictObject({ type: z.literal("pong"), request: request.optional() }).describe(
    "Answers `ping`.",
  ),
  error: z.strictObject({
    type: z.literal("error"),
    code: z.enum(Object.keys(ERROR_CODES) as [ErrorName, ...ErrorName[]]),
    detail,
    request: request.optional(),
    id: id.optional(),
    kafka: z.string().optional().describe("Name of Kafka's error."),
    retriable: z.boolean().describe("True: the same may succeed later."),
  }).describe("What was asked was not done."),
} as const;

/** Any message of the node. */
export const serverMessage = z.discriminatedUnion("type", [
  serverMessages.welcome,
  serverMessages.subscribed,
  serverMessages.records,
  serverMessages.position,
  serverMessages.gap,
  serverMessages.revoked,
  serverMessages.end,
  serverMessages.acked,
  serverMessages.topic,
  serverMessages.producer,
  serverMessages.produced,
  serverMessages.pong,
  serverMessages.error,
]);
export type ServerMessage = z.infer<typeof serverMessage>;

/**
 * Writes docs/websocket.md from the schemas that the node checks messages with: `bun scripts/websocket.ts`.
 *
 * `tests/websocket_page_test.ts` compares the page with what this script would write.
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import {
  clientMessages,
  ERROR_CODES,
  filter,
  PROTOCOLS,
  serverMessages,
} from "../broker/gateway/websocket/messages.ts";

const PAGE = join(import.meta.dir, "..", "docs", "websocket.md");

const INTRODUCTION = `# WebSocket

A browser, or any program, reads and writes topics over a WebSocket at \`/ws\` of the HTTP port. The tables of this page
are made from the schemas that check the messages, by \`bun scripts/websocket.ts\`; do not edit it by hand.

## In a page

\`\`\`html
<script type="module">
import { connect } from "http://localhost:8080/client.js";
const weir = connect(["ws://localhost:8080/ws", "ws://another-node:8080/ws"]);
for await (const record of weir.subscribe({ topic: "orders", from: "earliest" })) {
  console.log(record.partition, record.offset, record.value);
}
</script>
\`\`\`

\`/client.js\` is one module of a few kilobytes, \`/client.d.ts\` has its types. It runs in browsers, Deno, Bun and Node (22, or 20
with \`--experimental-websocket\`, or with \`connect(url, { WebSocket })\`). It gives each record once and in order, also when
the node is killed and restarted or another one of the list goes on; what it produces is written once. A subscription is
iterated, or takes callbacks:

\`\`\`js
const subscription = weir.subscribe(
  { topics: [{ topic: "orders" }], filter: { json: [{ path: "price", is: ">", value: 100 }] } },
  { record: show, gap: warn, error: stop },
);
localStorage.place = JSON.stringify(subscription.tokens); // later: { resume: JSON.parse(localStorage.place) }

const { partition, offset } = await weir.produce("orders", { key: "17", value: { price: 120 } });

const jobs = weir.subscribe({ topic: "jobs", group: "workers" });
for await (const job of jobs) {
  await work(job);
  jobs.ack(job);
}
\`\`\`

## The protocol

The subprotocol is \`${PROTOCOLS[0]}\` (also where none is asked for) or \`${
  PROTOCOLS[1]
}\`. A message is one JSON object in a
text frame, with its \`type\`. A field that is not in the tables is refused. Version 1 stays as it is: a change that an
existing client would stumble over gets another subprotocol.

\`\`\`
→ {"type":"subscribe","id":1,"topics":[{"topic":"orders"}],"from":"earliest"}
← {"type":"subscribed","id":1,"partitions":[{"topic":"orders","partition":0,"next":0,"token":"AUwv…"}]}
← {"type":"records","id":1,"topic":"orders","partition":0,"next":2,"token":"AUwv…","records":[{"offset":0,…},{"offset":1,…}]}
→ {"type":"produce","request":7,"topic":"orders","records":[{"key":"a","value":{"x":1}}]}
← {"type":"produced","request":7,"results":[{"partition":0,"offset":2,"count":1}]}
\`\`\`

**Places.** Every message with records has a \`token\` for its partition: it goes on at \`next\`, over this node or any other of
the cluster, since nothing of it is kept on the node. A token of a topic that was deleted and made anew is refused.

**Order and gaps.** Records of a partition come once and in order on one subscription. What cannot come any more is told by
\`gap\`, before what comes after it.

**Flow control.** A node puts no more into a socket than \`weir.gateway.socket.buffer.bytes\`, and no more records than a
subscription has credits. What does not fit is not kept: it is read again once there is room (\`"slow":"wait"\`), the
subscription ends and says so (\`"slow":"drop"\`), or, with \`latest\` and \`sample\`, the newest records alone are kept. Others
are not held up. Few credits at a time cost the node more: hundreds are right.

**Sharing.** Subscriptions with the same \`id\`, filter and subprotocol get the very same bytes, which are made and sent once
for all of them. Small numbers such as 1, 2, 3 serve that best.

**Produce.** \`produced\` comes when the records are on stable storage of all in-sync replicas. Where a connection breaks
before it, nobody knows whether they were written; with \`producer\`, the same batch is sent again with the same sequence,
over any node, and written once.

**Groups.** With \`group\` a subscription is a member of a consumer group, beside Kafka's own clients. \`ack\` commits; what was
sent and not acknowledged when the member leaves comes to another one: at least once.

**Closing.** 1008: ten messages could not be read. 1009: a message was too large. 1012: the node stops; come back, here or
elsewhere. A socket that answers no ping for \`weir.gateway.socket.idle.ms\`, or asks and does not read the answers, is cut
off. Pages of another origin are refused with status 403 unless \`weir.gateway.allowed.origins\` names it; past
\`weir.gateway.max.sockets\` the status is 503.
`;

const BINARY = `## The binary form

With \`${
  PROTOCOLS[1]
}\`, \`records\` comes as a binary message, and \`produce\` may be sent as one; all else is JSON text, also
\`records\` of subscriptions with \`latest\` or \`sample\`. Numbers (\`uvarint\`) are seven bits a byte, the lowest first, up to
2^53 − 1; \`varint\` is zigzag. A \`text\` is its length as uvarint and UTF-8. \`bytes\` are their length plus one as uvarint, 0 for
null, and the bytes.

\`\`\`
records   1 | id uvarint | topic text | partition uvarint | next uvarint | token text | record count uvarint | records
          each: offset uvarint | timestamp varint | key bytes | value bytes | header count uvarint | headers: name text, value bytes
produce   2 | request uvarint | topic text | partition + 1 uvarint, 0 for none
            | producer id + 1 uvarint, 0 for none; if there is one: epoch uvarint, sequence uvarint | record count uvarint | records
          each: timestamp varint, −1 for now | key bytes | value bytes | header count uvarint | headers
\`\`\`
`;

interface Shape {
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Shape[];
  readonly items?: Shape;
  readonly properties?: Readonly<Record<string, Shape>>;
  readonly required?: readonly string[];
  readonly description?: string;
}

function shapeOf(schema: z.ZodType): Shape {
  return z.toJSONSchema(schema, { unrepresentable: "any", io: "input" }) as Shape;
}

function typeOf(shape: Shape): string {
  if (shape.const !== undefined) return `\`${JSON.stringify(shape.const)}\``;
  if (shape.enum !== undefined) {
    return shape.enum.map((it) => `\`${JSON.stringify(it)}\``).join(", ");
  }
  if (shape.anyOf !== undefined) return [...new Set(shape.anyOf.map(typeOf))].join(" or ");
  if (shape.type === "array") return `list of ${typeOf(shape.items ?? {})}`;
  if (shape.properties !== undefined) {
    const names = Object.keys(shape.properties);
    const required = new Set(shape.required);
    return `\`{ ${names.map((it) => required.has(it) ? it : `${it}?`).join(", ")} }\``;
  }
  return shape.type ?? "anything";
}

/** Rows of the fields, those of objects in them behind with dots. */
function rowsOf(shape: Shape, before = ""): string[] {
  const required = new Set(shape.required);
  return Object.entries(shape.properties ?? {}).flatMap(([name, field]) => {
    if (name === "type" && before === "") return [];
    const path = `${before}${name}`;
    const mark = required.has(name) ? "yes" : "";
    const row = `| \`${path}\` | ${typeOf(field)} | ${mark} | ${field.description ?? ""} |`;
    if (path === "filter" || path === "records[].headers[]") return [row];
    const inner = field.type === "array" ? field.items ?? {} : field;
    const isDetailed = inner.properties !== undefined;
    return [
      row,
      ...isDetailed ? rowsOf(inner, `${path}${field.type === "array" ? "[]" : ""}.`) : [],
    ];
  });
}

function tableOf(rows: readonly string[]): string {
  return `| field | what | needed | |\n| --- | --- | --- | --- |\n${rows.join("\n")}\n`;
}

function section(name: string, schema: z.ZodType): string {
  const shape = shapeOf(schema);
  const rows = rowsOf(shape);
  const table = rows.length === 0 ? "" : `\n${tableOf(rows)}`;
  return `### \`${name}\`\n\n${shape.description ?? ""}\n${table}`;
}

/** The whole page. */
export function webSocketPage(): string {
  const client = Object.entries(clientMessages).map(([name, schema]) => section(name, schema));
  const server = Object.entries(serverMessages).map(([name, schema]) => section(name, schema));
  const codes = Object.entries(ERROR_CODES).map(([code, text]) => `| \`${code}\` | ${text} |`);
  return [
    INTRODUCTION,
    "## Messages of clients\n",
    ...client,
    `### Filters\n\n${filter.description}\n\n${tableOf(rowsOf(shapeOf(filter)))}`,
    "## Messages of the node\n",
    ...server,
    `## Errors\n\n| code | what it says |\n| --- | --- |\n${codes.join("\n")}\n`,
    BINARY,
  ].join("\n");
}

if (import.meta.main) writeFileSync(PAGE, webSocketPage());

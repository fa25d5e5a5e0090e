/**
 * Where a group goes on reading, changed in two steps: what would become of each partition is shown, and then exactly that
 * is committed.
 */

import { z } from "zod";
import type { TopicPartition } from "../../../protocol/types.ts";
import { ClientError } from "../../client/client_error.ts";
import type { GroupOffset } from "../../client/group_member.ts";
import type { KafkaClient } from "../../client/kafka_client.ts";
import {
  committedOffsets,
  executeReset,
  type OffsetReset,
  placedOffsets,
  planReset,
  readingState,
  shiftedOffsets,
} from "../../client/offset_reset.ts";
import { parsePlace } from "../../client/offsets.ts";
import type { Page, PageRoutes } from "./routes.ts";
import { Empty, FormFault, PageHead, Table } from "./elements.tsx";
import { formatCount } from "./format.ts";
import { groupPath } from "./paths.ts";

const PATH = "/console/group/reset";
/** Partitions that one form commits. */
const MAX_PARTITIONS = 10_000;

const WAYS = [
  { way: "beginning", name: "the beginning", hint: "" },
  { way: "end", name: "the end", hint: "" },
  { way: "offset", name: "an offset", hint: "1200, or -10: ten before the end" },
  { way: "time", name: "a time", hint: "2026-01-31T12:00:00Z, or -1h: an hour ago" },
  { way: "shift", name: "so many messages on, or back", hint: "100, or -100" },
] as const;

/** What the form asks for. */
interface ResetQuery {
  readonly group: string;
  readonly topic: string;
  readonly way: string;
  readonly value: string;
}

const committedField = z.array(z.tuple([z.string(), z.int().min(0), z.int().min(0)]))
  .max(MAX_PARTITIONS);

/** Adds the pages. */
export function resetPages(routes: PageRoutes): void {
  routes.page(PATH, async (context, client) => {
    const query = {
      group: context.req.query("id") ?? "",
      topic: context.req.query("topic") ?? "",
      way: context.req.query("way") ?? "",
      value: context.req.query("value")?.trim() ?? "",
    };
    return await resetPage(client, query, null);
  });
  routes.form(PATH, async (context, client, fields) => {
    const group = context.req.query("id") ?? "";
    try {
      await executeReset(client, group, offsetsOf(fields.text("offsets")));
      return { goTo: groupPath(group) };
    } catch (error) {
      return await resetPage(client, { group, topic: "", way: "", value: "" }, error);
    }
  });
}

/** What the form of the preview carries. Errors: ClientError. */
function offsetsOf(text: string): GroupOffset[] {
  try {
    return committedField.parse(JSON.parse(text)).map(([topic, partition, offset]) => ({
      topic,
      partition,
      offset,
    }));
  } catch (cause) {
    throw new ClientError("the form is damaged; preview again", { cause });
  }
}

async function resetPage(client: KafkaClient, query: ResetQuery, error: unknown): Promise<Page> {
  const { group, way } = query;
  const committed = await committedOffsets(client, group);
  const topics = [...new Set([...committed.values()].map(({ topic }) => topic))].sort();
  let failure = error;
  let plan: OffsetReset[] | null = null;
  if (way !== "" && error === null) {
    try {
      plan = await planOf(client, query, committed);
    } catch (problem) {
      failure = problem;
    }
  }
  const state = await readingState(client, group);
  return {
    title: `Reset ${group}`,
    way: "Groups",
    status: failure === null ? 200 : 400,
    parts: [],
    body: () => (
      <>
        <PageHead
          title="Reset offsets"
          crumb={{ name: group, path: groupPath(group) }}
          about="Change where the group goes on reading. Nothing is changed before you have seen what."
        />
        <div class="stack">
          {state === null ? null : (
            <div class="note">
              <b>The group is {state}: its members read and commit themselves.</b>
              <p>You can look at what would change. Stop all its members before you commit it.</p>
            </div>
          )}
          <FormFault what="Nothing was changed" error={failure} />
          {topics.length === 0
            ? (
              <Empty title="The group has no committed offsets">
                <p>It has nothing to reset: its consumers begin where auto.offset.reset says.</p>
              </Empty>
            )
            : <ResetForm query={query} topics={topics} />}
          {plan === null ? null : <Preview group={group} plan={plan} isReading={state !== null} />}
        </div>
      </>
    ),
  };
}

/** Errors: ClientError for a value that is none; KafkaError, NetworkError. */
async function planOf(
  client: KafkaClient,
  { topic, way, value }: ResetQuery,
  committed: ReadonlyMap<string, GroupOffset>,
): Promise<OffsetReset[]> {
  const places: TopicPartition[] = [...committed.values()]
    .filter((place) => topic === "" || place.topic === topic);
  if (way === "shift") {
    const shift = Number(value);
    if (value === "" || !Number.isSafeInteger(shift)) {
      throw new ClientError(`"${value}" is no number of messages`);
    }
    return await planReset(client, committed, shiftedOffsets(places, committed, shift));
  }
  const place = parsePlace(way === "beginning" || way === "end" ? way : value);
  const isFitting = place !== null && (
    way === "time"
      ? ["timestamp", "ago"].includes(place.kind)
      : way !== "offset" || place.kind === "offset"
  );
  if (!isFitting) {
    const hint = WAYS.find((it) => it.way === way)?.hint ?? "";
    throw new ClientError(`"${value}" is no ${way}; write ${hint}`);
  }
  return await planReset(client, committed, await placedOffsets(client, places, place));
}

function ResetForm(
  { query, topics }: { readonly query: ResetQuery; readonly topics: readonly string[] },
) {
  const { group, topic, way, value } = query;
  return (
    <form class="form" method="get" action={PATH}>
      <input type="hidden" name="id" value={group} />
      <div class="field">
        <label for="topic">Topic</label>
        <select id="topic" name="topic">
          <option value="">all that it has offsets in</option>
          {topics.map((name) => <option value={name} selected={name === topic}>{name}</option>)}
        </select>
      </div>
      <fieldset>
        <legend>Go to</legend>
        {WAYS.map((it, index) => (
          <label class="choice">
            <input
              type="radio"
              name="way"
              value={it.way}
              required
              checked={it.way === way || (way === "" && index === 0)}
            />{" "}
            {it.name}
            {it.hint === "" ? null : <span class="quiet small">: {it.hint}</span>}
          </label>
        ))}
      </fieldset>
      <div class="field">
        <label for="value">Offset, time or number</label>
        <input id="value" name="value" value={value} autocomplete="off" />
      </div>
      <div class="bar">
        <button type="submit" class="primary">Preview</button>
      </div>
    </form>
  );
}

function Preview(
  { group, plan, isReading }: {
    readonly group: string;
    readonly plan: readonly OffsetReset[];
    readonly isReading: boolean;
  },
) {
  const changes = plan.filter(({ oldOffset, newOffset }) => oldOffset !== newOffset);
  const offsets = plan.map(({ topic, partition, newOffset }) => [topic, partition, newOffset]);
  return (
    <div>
      <h2>What would change</h2>
      <Table
        caption="Offsets before and after"
        head={[
          { name: "Partition" },
          { name: "Now", isNumber: true },
          { name: "Then", isNumber: true },
          { name: "Difference", isNumber: true },
          { name: "Left to read", isNumber: true, isWide: true },
        ]}
      >
        {plan.map(({ topic, partition, oldOffset, newOffset, askedOffset, endOffset }) => (
          <tr>
            <th scope="row">
              <span class="mono">{topic}</span> {partition}
            </th>
            <td class="num">{oldOffset === null ? "–" : formatCount(oldOffset)}</td>
            <td class="num">
              {formatCount(newOffset)}
              {newOffset === askedOffset
                ? null
                : <span class="tag warn">as near as the log allows</span>}
            </td>
            <td class="num">{differenceText(oldOffset, newOffset)}</td>
            <td class="num wide">{formatCount(endOffset - newOffset)}</td>
          </tr>
        ))}
      </Table>
      <form
        method="post"
        action={`${PATH}?${new URLSearchParams({ id: group })}`}
        class="pager"
      >
        <input type="hidden" name="offsets" value={JSON.stringify(offsets)} />
        <button type="submit" class="danger" disabled={isReading || changes.length === 0}>
          Commit these offsets
        </button>
        {changes.length === 0 ? <span>The group is there already.</span> : null}
        {isReading ? <span>Its members read now: stop them first.</span> : null}
      </form>
    </div>
  );
}

function differenceText(oldOffset: number | null, newOffset: number): string {
  if (oldOffset === null) return "new";
  const difference = newOffset - oldOffset;
  return difference > 0 ? `+${formatCount(difference)}` : formatCount(difference);
}

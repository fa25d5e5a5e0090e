/** Settings with where each comes from, what else was said about it, and what it is for; and the form that changes one. */

import {
  alterConfigs,
  type ConfigEntry,
  describeConfigs,
  type ResourceType,
} from "../../client/config_client.ts";
import type { Child } from "hono/jsx";
import type { KafkaClient } from "../../client/kafka_client.ts";
import type { FormFields } from "./routes.ts";
import { formatBytes, formatDuration } from "./format.ts";
import type { Part } from "./page.tsx";

/** Kafka's sources in words. */
const SOURCES: Readonly<Record<string, string>> = {
  DYNAMIC_TOPIC_CONFIG: "set for this topic",
  DYNAMIC_BROKER_CONFIG: "set for this broker",
  DYNAMIC_DEFAULT_BROKER_CONFIG: "set for all brokers",
  STATIC_BROKER_CONFIG: "the broker's own file",
  DEFAULT_CONFIG: "default",
  DYNAMIC_GROUP_CONFIG: "set for this group",
};

/** What is shown of the settings of something. */
interface ConfigOptions {
  readonly resourceType: ResourceType;
  readonly resourceName: string;
  /** Where the form that changes one goes. */
  readonly action: string;
  /** What the settings belong to. */
  readonly of: string;
  /** True where there are so many that the defaults come after the page. */
  readonly isLong?: boolean;
}

/** The settings of something, as parts of its page: those that somebody made, and the rest. */
export function configParts(
  client: KafkaClient,
  { resourceType, resourceName, action, of, isLong = false }: ConfigOptions,
): Part[] {
  const ask = () =>
    describeConfigs(client, resourceType, resourceName, null, { documentation: true });
  return [
    {
      id: "made",
      label: "the settings that were made",
      render: async () => {
        const made = (await ask()).filter(({ isDefault }) => !isDefault);
        return (
          <>
            <h2>Set for {of}</h2>
            {made.length === 0
              ? <p class="quiet">Nothing: all is as it is by default.</p>
              : <ConfigRows entries={made} action={action} />}
          </>
        );
      },
    },
    {
      id: "defaults",
      label: "the other settings",
      isLater: isLong,
      render: async () => {
        const rest = (await ask()).filter(({ isDefault }) => isDefault);
        return (
          <>
            <h2>By default</h2>
            <ConfigRows entries={rest} action={action} />
          </>
        );
      },
    },
  ];
}

/** Sets what a form of `ConfigTable` says, or takes it back. Errors: KafkaError, NetworkError. */
export async function changeConfig(
  client: KafkaClient,
  resourceType: ResourceType,
  resourceName: string,
  fields: FormFields,
): Promise<void> {
  const name = fields.text("config");
  const isReset = fields.text("do") === "reset";
  await alterConfigs(client, resourceType, resourceName, {
    set: isReset ? [] : [[name, fields.text("value")]],
    remove: isReset ? [name] : [],
  });
}

function ConfigRows(
  { entries, action }: {
    readonly entries: readonly ConfigEntry[];
    readonly action: string;
  },
) {
  return (
    <ul class="configs">
      {entries.map((entry) => (
        <li>
          <details>
            <summary>
              <span class="mono configName">{entry.name}</span>
              <span class="mono configValue">{valueText(entry)}</span>
              <span class="quiet small configSource" title={entry.source}>
                {SOURCES[entry.source] ?? entry.source}
              </span>
            </summary>
            <ConfigDetail entry={entry} action={action} />
          </details>
        </li>
      ))}
    </ul>
  );
}

function valueText({ name, value, sensitive }: ConfigEntry): Child {
  if (sensitive) return <span class="null">hidden</span>;
  if (value === null || value === "") {
    return <span class="null">{value === null ? "none" : "empty"}</span>;
  }
  const readable = readableValue(name, value);
  return readable === null ? value : (
    <>
      {value} <span class="quiet small">{readable}</span>
    </>
  );
}

/** `7 d` beside a number of milliseconds, `1 GiB` beside one of bytes; null where it says no more than the number. */
export function readableValue(name: string, value: string): string | null {
  const number = Number(value);
  if (value === "" || !Number.isFinite(number) || number < 1000) return null;
  // As large as it gets: that is no duration, that is "never".
  if (number >= 2 ** 62) return "no limit";
  if (/(^|\.)ms$/.test(name)) return formatDuration(number);
  return /(^|\.)(bytes|size)$/.test(name) ? formatBytes(number) : null;
}

function ConfigDetail(
  { entry, action }: { readonly entry: ConfigEntry; readonly action: string },
) {
  const { name, value, documentation, synonyms, readOnly, isDefault, sensitive } = entry;
  const id = `config-${name}`;
  return (
    <div class="configDetail">
      {documentation === null || documentation === "" ? null : <p>{documentation}</p>}
      {synonyms.length < 2 ? null : (
        <dl class="pairs small">
          {synonyms.map((synonym) => (
            <>
              <dt>{SOURCES[synonym.source] ?? synonym.source}</dt>
              <dd class="mono">{synonym.name} = {synonym.value ?? "none"}</dd>
            </>
          ))}
        </dl>
      )}
      {readOnly
        ? <p class="hint">It is read when the broker starts, and cannot be changed here.</p>
        : (
          <form method="post" action={action} class="bar">
            <input type="hidden" name="config" value={name} />
            <div class="field grow">
              <label for={id}>Value of {name}</label>
              <input
                id={id}
                name="value"
                value={sensitive ? "" : value ?? ""}
                autocomplete="off"
                spellcheck={false}
              />
            </div>
            <button type="submit" name="do" value="set" class="primary">Set</button>
            {isDefault ? null : <button type="submit" name="do" value="reset">Take it back</button>}
          </form>
        )}
    </div>
  );
}

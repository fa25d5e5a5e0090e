/**
 * Writes docs/configuration.md from the tables of settings: `bun scripts/configuration.ts`.
 *
 * `tests/configuration_page_test.ts` compares the page with what this script would write.
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { allowedValues, type Setting } from "../broker/config/setting.ts";
import { type Scope, settingsOf } from "../broker/config/settings.ts";
import { environmentName } from "../broker/config/sources.ts";
import { TOPIC_SYNONYMS, type TopicSettingName } from "../broker/config/topic_settings.ts";
import { UNUSED_SETTINGS } from "../broker/config/unused_settings.ts";

const PAGE = join(import.meta.dir, "..", "docs", "configuration.md");

const INTRODUCTION = `# Configuration

Every setting has Kafka's name, type and bounds. This page is made from the tables that the broker reads, by
\`bun scripts/configuration.ts\`; do not edit it by hand.

Where a value may come from, the first that is set wins:

1. values that were set for this broker, then for all brokers, while it runs (\`weir config set\`,
   \`kafka-configs\`), for settings that are marked **live**;
2. a flag: \`weir serve --set log.retention.hours=24\`;
3. the environment: \`${
  environmentName("log.retention.hours")
}=24\` (a name that begins with \`weir.\` is written
   without it: \`${environmentName("weir.memory.budget.bytes")}\`);
4. a file: Java's \`.properties\`, or TOML, where tables and dots mean the same;
5. the default.

A name that is not known is an error that names the nearest one that is. A setting of Kafka that weir knows and
does not act on is accepted, so that a \`server.properties\` of Kafka can be used as it is, and a warning at start
names it. One that would only seem to protect something (\`authorizer.class.name\`, a listener with SSL or SASL) is
refused. \`advertised.listeners\` is never a wildcard; when it is left out, each client is told the address that it
reached.

_Without effect yet_ marks what is kept and shown, and nothing acts on so far.

Defaults that are not Kafka's, since a fresh weir is one node on one machine: \`listeners\`,
\`listener.security.protocol.map\`, \`log.dir\`, \`node.id\`, \`offsets.topic.replication.factor\`; and, since it
is a small machine, \`log.cleaner.dedupe.buffer.size\`. All other timeouts, sizes and limits are Kafka's.
`;

const NOT_NEEDED =
  `\`controller.quorum.append.linger.ms\` is not needed: a change of the metadata is written and
synced at once, and those that come while a sync is under way share the next one.
`;

const TITLES: Readonly<Record<Scope, string>> = {
  broker: "Broker",
  topic: "Topic",
  group: "Group",
};

/** The whole page. */
export function configurationPage(): string {
  const scopes = (["broker", "topic", "group"] as const).map((scope) => {
    const rows = settingsOf(scope).toSorted(([a], [b]) => a < b ? -1 : 1)
      .map(([name, setting]) => formatRow(scope, name, setting));
    const remark = scope === "group"
      ? "For groups of the consumer, share and streams protocols, which are to come: without effect yet.\n\n"
      : "";
    return `\n## ${TITLES[scope]}\n\n${remark}| name | type | default | allowed | what it is |\n` +
      `| --- | --- | --- | --- | --- |\n${rows.join("\n")}\n`;
  });
  const unused = UNUSED_SETTINGS.map((name) => `\`${name}\``).join(", ");
  return `${INTRODUCTION}${
    scopes.join("")
  }\n## Accepted, without effect\n\n${unused}\n\n${NOT_NEEDED}`;
}

function formatRow(scope: Scope, name: string, setting: Setting): string {
  const isLive = scope === "broker" && (setting.mode ?? "read-only") !== "read-only";
  const remarks = [
    setting.doc,
    ...(scope === "topic" ? [synonymRemark(name as TopicSettingName)] : []),
    ...(isLive ? ["**live**"] : []),
    ...(setting.pending === true ? ["_Without effect yet._"] : []),
  ];
  const unit = setting.unit === undefined || setting.unit === "none" ? "" : `, ${setting.unit}`;
  const cells = [
    `\`${name}\``,
    `${setting.type}${unit}`,
    formatDefault(setting.default),
    allowedValues(setting),
    remarks.filter((remark) => remark !== "").join(" "),
  ];
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

function formatDefault(text: string | null): string {
  if (text === null) return "";
  return text === "" ? "empty" : `\`${text}\``;
}

function synonymRemark(name: TopicSettingName): string {
  const names = (TOPIC_SYNONYMS[name] ?? []).map((synonym) => `\`${synonym.name}\``);
  return names.length === 0 ? "" : `Broker: ${names.join(", ")}.`;
}

if (import.meta.main) writeFileSync(PAGE, configurationPage());

/**
 * Writes docs/compatibility.md from the code: `bun scripts/compatibility.ts`.
 *
 * Versions come from the list that ApiVersions answers from, gaps from the header of each handler's file, so
 * the page says what the code does. A test compares the page with what this script would write.
 */

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  apis,
  controllerApis,
  type ControllerSubsystems,
  type Subsystems,
} from "../broker/apis/index.ts";
import type { VersionSpan } from "../broker/apis/api.ts";
import { ApiKey } from "../protocol/api_keys.ts";
import { versionsOf } from "../protocol/compile.ts";
import { requestByApiKey } from "../protocol/schemas/index.ts";

const ROOT = join(import.meta.dir, "..");
const PAGE = join(ROOT, "docs", "compatibility.md");
const APIS = join(ROOT, "broker", "apis");

/** API keys that belong to a later part of the project, and what will bring them. */
const LATER: readonly (readonly [RegExp, string])[] = [
  [/^(Sasl|.*Acls$|.*DelegationToken$|.*ScramCredentials$)/, "security"],
  [/Share/, "share groups (KIP-932)"],
  [/^Streams/, "streams groups (KIP-1071)"],
  [/ClientQuotas$/, "quotas"],
  [/Telemetry/, "client metrics (KIP-714)"],
  [/^UnregisterController$/, "controllers that are taken away for good"],
];

function formatSpan({ lowest, highest }: VersionSpan): string {
  return lowest === highest ? `${lowest}` : `${lowest}–${highest}`;
}

/** The paragraph of a handler's header that begins with "Gaps:", by the API's key. */
function gapsByKey(): Map<number, string> {
  const gaps = new Map<number, string>();
  for (const name of readdirSync(APIS)) {
    const text = readFileSync(join(APIS, name), "utf8");
    const header = text.slice(0, text.indexOf("*/")).replaceAll(/^ \* ?/gm, "");
    const key = /\(key (\d+)\)/.exec(header)?.[1];
    const found = /\nGaps: ([\s\S]*?)(?:\n\s*\n|$)/.exec(header.trimEnd())?.[1];
    if (key !== undefined && found !== undefined) {
      gaps.set(Number(key), found.trim().replaceAll(/\s+/g, " "));
    }
  }
  return gaps;
}

/** The whole page. */
export function compatibilityPage(): string {
  // Handlers look at their subsystems when a request comes, not when they are made.
  const served = new Map(apis({} as Subsystems).map((api) => [api.key, api]));
  const ofControllers = controllerApis({} as ControllerSubsystems)
    .filter(({ key }) => !served.has(key));
  const between = new Map(ofControllers.map((api) => [api.key, api]));
  const gaps = gapsByKey();
  const rows: string[] = [];
  const controllerRows: string[] = [];
  const missing: string[] = [];
  for (const [name, key] of Object.entries(ApiKey)) {
    const request = requestByApiKey.get(key);
    if (request === undefined || request.versions === "none") continue;
    const known = formatSpan(versionsOf(request.versions));
    const api = served.get(key) ?? between.get(key);
    if (api === undefined) {
      const part = LATER.find(([pattern]) => pattern.test(name))?.[1] ?? "";
      missing.push(`| ${key} | ${name} | ${known} | ${part} |`);
      continue;
    }
    const { versions, advertised } = api;
    const span = formatSpan(versions);
    const shown = formatSpan(advertised) === span
      ? span
      : `${span} (${formatSpan(advertised)} advertised)`;
    const gap = gaps.get(key) ?? "";
    (served.has(key) ? rows : controllerRows).push(
      `| ${key} | ${name} | ${shown} | ${known} | ${gap.replace(/^none known\.\s*/, "")} |`,
    );
  }
  return [
    "# Compatibility",
    "",
    "Every API of Kafka 4.4, what weir serves of it, and what is missing. Made from the code by",
    "`bun scripts/compatibility.ts`; do not edit by hand. Versions and APIs that are not served are not",
    "advertised, so clients find out by ApiVersions.",
    "",
    `## Served: ${rows.length}`,
    "",
    "| key | API | versions | Kafka 4.4 | gaps |",
    "| --- | --- | --- | --- | --- |",
    ...rows,
    "",
    `## Served by controllers alone: ${controllerRows.length}`,
    "",
    "Of other nodes, on the listeners of `controller.listener.names`.",
    "",
    "| key | API | versions | Kafka 4.4 | gaps |",
    "| --- | --- | --- | --- | --- |",
    ...controllerRows,
    "",
    `## Not served yet: ${missing.length}`,
    "",
    "| key | API | Kafka 4.4 | comes with |",
    "| --- | --- | --- | --- |",
    ...missing,
    "",
  ].join("\n");
}

if (import.meta.main) writeFileSync(PAGE, compatibilityPage());

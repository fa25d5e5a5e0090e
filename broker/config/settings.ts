/**
 * All settings in one table, by scope, and what can be asked about their names.
 *
 * The names of each type are types here: `config.number("log.dirs")` does not compile.
 */

import { BROKER_SETTINGS } from "./broker_settings.ts";
import { GROUP_SETTINGS } from "./group_settings.ts";
import type { Setting, SettingType } from "./setting.ts";
import { TOPIC_SETTINGS, TOPIC_SYNONYMS } from "./topic_settings.ts";
import { UNUSED_SETTINGS } from "./unused_settings.ts";

/** Every setting by scope and name: feeds DescribeConfigs, the help, the console and the docs. */
export const SETTINGS = {
  broker: BROKER_SETTINGS,
  topic: TOPIC_SETTINGS,
  group: GROUP_SETTINGS,
} as const;

/** What a setting belongs to. */
export type Scope = keyof typeof SETTINGS;

type BrokerSettings = typeof BROKER_SETTINGS;

/** Names of the broker settings of some type. */
export type NamesOf<Type extends SettingType> = {
  [Name in keyof BrokerSettings]: BrokerSettings[Name]["type"] extends Type ? Name : never;
}[keyof BrokerSettings];

/** What reading a broker setting gives: null is possible only where there is no default. */
export type ValueOf<Name extends keyof BrokerSettings, Value> =
  BrokerSettings[Name]["default"] extends null ? Value | null : Value;

const UNUSED: ReadonlySet<string> = new Set(UNUSED_SETTINGS);

/** The setting of that name, or null when the scope has none. */
export function findSetting(scope: Scope, name: string): Setting | null {
  const table: Readonly<Record<string, Setting>> = SETTINGS[scope];
  return Object.hasOwn(table, name) ? table[name] ?? null : null;
}

/** All settings of a scope, as name and setting. */
export function settingsOf(scope: Scope): [string, Setting][] {
  return Object.entries(SETTINGS[scope]);
}

/** True for a broker setting of Kafka that is accepted and has no effect here. */
export function isUnused(name: string): boolean {
  return UNUSED.has(name);
}

/** Says what to write instead of a broker setting that is not known: "did you mean 'x'?". */
export function suggestion(name: string): string {
  const synonym = Object.entries(TOPIC_SYNONYMS).find(([topicName]) => topicName === name)?.[1]
    ?.[0];
  if (synonym !== undefined) return `that is a topic's setting, the broker's is '${synonym.name}'`;
  const known = [...Object.keys(BROKER_SETTINGS), ...UNUSED_SETTINGS];
  const nearest = nearestName(name, known);
  return nearest === null ? "no known setting is near it" : `did you mean '${nearest}'?`;
}

/** The known name with the fewest edits, or null when none is within a third of its length. */
export function nearestName(name: string, known: readonly string[]): string | null {
  let best: string | null = null;
  let bestDistance = Infinity;
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return bestDistance <= Math.max(2, Math.floor(name.length / 3)) ? best : null;
}

/** Insertions, deletions, replacements and swaps of neighbours that make `b` of `a`. */
export function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const replaced = (previous[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1);
      const inserted = (current[column - 1] ?? 0) + 1;
      const deleted = (previous[column] ?? 0) + 1;
      const isSwap = row > 1 && column > 1 && a[row - 1] === b[column - 2] &&
        a[row - 2] === b[column - 1];
      const swapped = isSwap ? (beforePrevious[column - 2] ?? 0) + 1 : Infinity;
      current.push(Math.min(replaced, inserted, deleted, swapped));
    }
    beforePrevious = previous;
    previous = current;
  }
  return previous[b.length] ?? 0;
}

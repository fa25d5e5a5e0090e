/** Saves messages as a file: NDJSON in the one form that all of weir reads back, or a zip with a file a partition. */

import { strToU8, zipSync } from "fflate";
import type { WeirRecord } from "../../client/types.ts";
import { problemOf, saveFile } from "./dom.ts";
import { recordAddress } from "./message_detail.ts";
import type { Message } from "./message_query.ts";

/** Saves them. Errors: Error where a record that is not here whole cannot be fetched. */
export async function saveMessages(
  topic: string,
  messages: readonly Message[],
  format: "ndjson" | "zip",
): Promise<void> {
  const records: WeirRecord[] = [];
  for (const message of messages) records.push(await wholeRecord(message));
  if (format === "ndjson") {
    saveFile(`${topic}.ndjson`, "application/x-ndjson", [linesOf(records)]);
    return;
  }
  const files = [...Map.groupBy(records, ({ partition }) => partition)].map(([partition, of]) =>
    [`${topic}-${partition}.ndjson`, strToU8(linesOf(of))] as const
  );
  // A copy of exact length, which is what a file is made of.
  saveFile(`${topic}.zip`, "application/zip", [zipSync(Object.fromEntries(files)).slice()]);
}

async function wholeRecord({ record, isCut }: Message): Promise<WeirRecord> {
  if (!isCut) return record;
  const response = await fetch(recordAddress(record, "json"));
  if (!response.ok) throw new Error(await problemOf(response));
  return await response.json();
}

function linesOf(records: readonly WeirRecord[]): string {
  return records.map((record) => `${JSON.stringify(record)}\n`).join("");
}

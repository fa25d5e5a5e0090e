/**
 * What commands print: aligned tables for people, one JSON object a line with `--json`.
 *
 * The choice is the flag's alone, not the terminal's, so that a script gets what its author saw.
 */

import type { CliIo } from "./io.ts";

/** A value in a table's cell. */
export type Cell = string | number | boolean | null;

/** A row: one object with `--json`, one line in a table. Nested values appear with `--json` only. */
export type Row = Readonly<Record<string, Cell | readonly unknown[] | object>>;

/** One column of a table. */
export interface Column {
  /** Name of the row's field. */
  readonly field: string;
  /** What stands above it. */
  readonly title: string;
}

/** Columns whose titles are the fields' names in upper case: `leaderId` becomes `LEADER ID`. */
export function columnsOf(...fields: readonly string[]): Column[] {
  return fields.map((field) => ({
    field,
    title: field.replace(/[A-Z]/g, (letter) => ` ${letter}`).toUpperCase(),
  }));
}

/** Text of an aligned table: numbers to the right, a dash for null, no trailing blanks. */
export function formatTable(columns: readonly Column[], rows: readonly Row[]): string {
  const cells = rows.map((row) => columns.map(({ field }) => formatCell(row[field] as Cell)));
  const widths = columns.map(({ title }, i) =>
    cells.reduce((width, line) => Math.max(width, widthOf(line[i]!)), title.length)
  );
  const numeric = columns.map(({ field }) => rows.some((row) => typeof row[field] === "number"));
  const lines = [columns.map(({ title }) => title), ...cells].map((line) =>
    line.map((text, i) => {
      const blanks = " ".repeat(widths[i]! - widthOf(text));
      return numeric[i] ? blanks + text : text + blanks;
    }).join("  ").trimEnd()
  );
  return `${lines.join("\n")}\n`;
}

function widthOf(text: string): number {
  return [...text].length;
}

function formatCell(value: Cell | readonly unknown[] | object | undefined): string {
  if (value === null || value === undefined || value === "") return "-";
  if (Array.isArray(value)) return value.length === 0 ? "-" : value.join(",");
  // A control character in a name must not move the cursor.
  // deno-lint-ignore no-control-regex
  return String(value).replace(/[\x00-\x1f\x7f]/g, "?");
}

/** Prints rows in the form that was asked for. `empty` is the sentence for people when there are none. */
export async function printRows(
  io: CliIo,
  { json, columns, rows, empty }: {
    readonly json: boolean;
    readonly columns: readonly Column[];
    readonly rows: readonly Row[];
    readonly empty: string;
  },
): Promise<void> {
  if (json) await io.write(rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  else if (rows.length === 0) io.writeError(`${empty}\n`);
  else await io.write(formatTable(columns, rows));
}

/** `12.3 MB`: decimal units, as disks and networks count. */
export function formatBytes(byteCount: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = byteCount;
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** `1,234,567`. */
export function formatCount(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** `1 record`, `2 records`. */
export function plural(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? "" : "s"}`;
}

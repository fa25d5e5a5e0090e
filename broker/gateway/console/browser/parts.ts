/**
 * Parts of a page, fetched again every few seconds while somebody looks, and those that were late when the page was made.
 *
 * A part is not exchanged under the hand of who uses it: focus stays on the same thing, and a selected text is left alone.
 */

import { element } from "./dom.ts";
import { showRates } from "./rates.ts";

/** A broker that hangs is not asked more often than this. */
const AFTER_FAILURE_MS = 5000;

/** Begins with all parts of the page. */
export function startParts(): void {
  for (const part of document.querySelectorAll<HTMLElement>("[data-part]")) {
    const { late, refresh } = part.dataset;
    if (late === "once") void renew(part);
    else if (refresh !== undefined) schedule(part, Number(refresh));
  }
  showRates(document);
}

function schedule(part: HTMLElement, delayMs: number): void {
  setTimeout(() => {
    if (document.hidden) {
      document.addEventListener("visibilitychange", () => schedule(part, 0), { once: true });
      return;
    }
    if (isInUse(part)) return schedule(part, delayMs);
    void renew(part);
  }, delayMs);
}

function isInUse(part: HTMLElement): boolean {
  const active = document.activeElement;
  const selection = getSelection();
  const hasSelection = selection !== null && !selection.isCollapsed &&
    part.contains(selection.anchorNode);
  return hasSelection ||
    (active !== null && part.contains(active) && active.matches("input, select, textarea")) ||
    part.querySelector("dialog[open], details[open]") !== null;
}

async function renew(part: HTMLElement): Promise<void> {
  const { part: id = "", refresh } = part.dataset;
  const address = new URL(location.href);
  address.searchParams.set("part", id);
  try {
    const response = await fetch(address);
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    const parsed = new DOMParser().parseFromString(await response.text(), "text/html");
    const fresh = parsed.querySelector<HTMLElement>("[data-part]");
    if (fresh === null) throw new Error("the answer has no such part");
    const adopted = document.adoptNode(fresh);
    exchange(part, adopted);
    showRates(adopted);
    if (refresh !== undefined) schedule(adopted, Number(refresh));
  } catch {
    sayUnreachable(part);
    schedule(part, Math.max(AFTER_FAILURE_MS, Number(refresh ?? 0)));
  }
}

function exchange(part: HTMLElement, fresh: HTMLElement): void {
  const focusable = "a[href], button, [tabindex]";
  const at = [...part.querySelectorAll(focusable)].indexOf(document.activeElement!);
  part.replaceWith(fresh);
  if (at >= 0) fresh.querySelectorAll<HTMLElement>(focusable)[at]?.focus({ preventScroll: true });
}

/** What is there stays: it was true a moment ago. */
function sayUnreachable(part: HTMLElement): void {
  if (part.querySelector("[data-unreachable]") !== null) return;
  part.prepend(element(
    "p",
    { class: "note", "data-unreachable": true, role: "status" },
    "This node does not answer now. What you see is from before; the page goes on by itself.",
  ));
}

/** What every page does: theme, dialogs, copying, keys, and parts that are asked for again. */

import { announce, copyText, need } from "./dom.ts";
import { startParts } from "./parts.ts";

const THEME_SECONDS = 365 * 86_400;
/** How long `g` waits for its second key. */
const CHORD_MS = 1500;

function switchTheme(): void {
  const root = document.documentElement;
  const isDark = getComputedStyle(root).colorScheme === "light dark"
    ? matchMedia("(prefers-color-scheme: dark)").matches
    : root.dataset["theme"] === "dark";
  const theme = isDark ? "light" : "dark";
  root.dataset["theme"] = theme;
  document.cookie = `weir-theme=${theme}; Path=/; Max-Age=${THEME_SECONDS}; SameSite=Lax`;
  dispatchEvent(new Event("weir-theme"));
  announce(`The page is ${theme} now`);
}

document.addEventListener("click", (event) => {
  if (!(event.target instanceof Element)) return;
  const button = event.target.closest<HTMLElement>("button");
  if (button === null) return;
  const { copy, open } = button.dataset;
  if (copy !== undefined) void copyText(copy, button);
  if (open !== undefined) need<HTMLDialogElement>(`#${open}`).showModal();
  if (button.matches("[data-close]")) button.closest("dialog")?.close();
  if (button.matches("[data-theme-switch]")) switchTheme();
});

let chordUntil = 0;

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches("input, textarea, select");
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  if (document.querySelector("dialog[open]") !== null) return;
  if (performance.now() < chordUntil) {
    chordUntil = 0;
    const way = document.querySelector<HTMLAnchorElement>(`a[data-key="${CSS.escape(event.key)}"]`);
    way?.click();
    return;
  }
  switch (event.key) {
    case "g":
      chordUntil = performance.now() + CHORD_MS;
      break;
    case "/": {
      const search = document.querySelector<HTMLInputElement>("[data-search]");
      if (search === null) return;
      event.preventDefault();
      search.focus();
      search.select();
      break;
    }
    case "?":
      need<HTMLDialogElement>("#keys").showModal();
      break;
  }
});

startParts();

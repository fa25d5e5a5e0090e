/** Rates of topics, from how their offsets grow between two looks at them. */

interface Look {
  readonly atMs: number;
  readonly count: number;
}

/** The looks of the last seconds, by topic; those of topics that are not shown any more are dropped. */
let looks = new Map<string, Look[]>();
/** Looks that a rate is taken over. */
const KEPT = 4;

/** Fills in the rates of the topics that are shown within. */
export function showRates(within: ParentNode): void {
  const cells = within.querySelectorAll<HTMLElement>("[data-topic][data-count]");
  if (cells.length === 0) return;
  const atMs = performance.now();
  const next = new Map<string, Look[]>();
  for (const cell of cells) {
    const { topic = "", count = "" } = cell.dataset;
    const kept = [...looks.get(topic) ?? [], { atMs, count: Number(count) }].slice(-KEPT);
    next.set(topic, kept);
    const target = within.querySelector(`[data-rate="${CSS.escape(topic)}"]`);
    if (target !== null) target.textContent = rateText(kept);
  }
  looks = next;
}

function rateText(kept: readonly Look[]): string {
  const [first, last] = [kept[0]!, kept.at(-1)!];
  if (last.atMs === first.atMs) return "…";
  const perSecond = Math.max(0, last.count - first.count) / ((last.atMs - first.atMs) / 1000);
  if (perSecond === 0) return "0";
  return perSecond >= 10
    ? Math.round(perSecond).toLocaleString("en").replaceAll(",", "\u202f")
    : perSecond.toFixed(1);
}

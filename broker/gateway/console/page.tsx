/**
 * A page is made of parts, each of which asks the cluster one question.
 *
 * A part that is answered in time is in the page. One that takes longer is left out and fetched by the browser (the same
 * address with `?part=`), so that a broker that hangs holds up its own part and no other; one that fails says so in its
 * place. Parts with a `refreshMs` are fetched again while the page is on screen.
 */

import type { Context } from "hono";
import type { Child } from "hono/jsx";
import type { Clock, Logger } from "../../../storage/platform.ts";
import { faultOf } from "../problem.ts";

/** How long a page waits for its parts. Half of what a person takes for "at once". */
const PAGE_PATIENCE_MS = 120;
/** How long a part may take that is fetched by itself. */
const PART_PATIENCE_MS = 15_000;

/** One question and how its answer is shown. */
export interface Part {
  /** Names it in the address, and in the page. */
  readonly id: string;
  /** Continues "Cannot show …". */
  readonly label: string;
  /** How often it is asked again; left out for one that is asked once. */
  readonly refreshMs?: number;
  /** True for one that is long, and below what is on screen first: the browser asks for it when the rest is there. */
  readonly isLater?: boolean;
  readonly render: () => Promise<Child>;
}

/** Makes the parts of a page. */
export class PartRenderer {
  readonly #clock: Clock;
  readonly #logger: Logger;

  constructor({ clock, logger }: { readonly clock: Clock; readonly logger: Logger }) {
    this.#clock = clock;
    this.#logger = logger;
  }

  /** All parts of a page, by id, each as it is after a short time. */
  async page(parts: readonly Part[]): Promise<Record<string, Child>> {
    const rendered = parts.map(async (part) => {
      const isLater = part.isLater === true;
      const shown = isLater ? await late(part) : await this.#settle(part, PAGE_PATIENCE_MS);
      return [part.id, shown] as const;
    });
    return Object.fromEntries(await Promise.all(rendered));
  }

  /** The part that `?part=` asks for, as a fragment. Returns: null where there is none of that name. */
  async fragment(context: Context, parts: readonly Part[]): Promise<Response | null> {
    const part = parts.find(({ id }) => id === context.req.query("part"));
    if (part === undefined) return null;
    return await context.html(<>{await this.#settle(part, PART_PATIENCE_MS)}</>);
  }

  async #settle(part: Part, patienceMs: number): Promise<Child> {
    const answered = new AbortController();
    const over = this.#clock.sleep(patienceMs, answered.signal).then(() => null);
    const content = await Promise.race([this.#answer(part), over]);
    answered.abort();
    if (content !== null) return <Section part={part}>{content}</Section>;
    return patienceMs === PAGE_PATIENCE_MS ? await late(part) : (
      <Section part={part} late="still">
        <Unanswered part={part} patienceMs={patienceMs} />
      </Section>
    );
  }

  async #answer(part: Part): Promise<Child> {
    try {
      return await part.render() ?? "";
    } catch (error) {
      const what = `Cannot show ${part.label}`;
      const fault = faultOf(error);
      if (fault === null) this.#logger.error(what, { error });
      const text = fault?.detail ?? "An error inside the broker; see its log.";
      return <Fault what={what} text={text} />;
    }
  }
}

/** What went wrong, where its part would be. */
export function Fault({ what, text }: { readonly what: string; readonly text: string }) {
  return (
    <div class="fault" role="status">
      <b>{what}</b>
      <p>{text}</p>
    </div>
  );
}

function Unanswered({ part, patienceMs }: { readonly part: Part; readonly patienceMs: number }) {
  return (
    <div class="fault">
      <b>Cannot show {part.label}</b>
      <p>No answer came within {patienceMs / 1000} s. A broker may be down or cut off.</p>
    </div>
  );
}

/** The place of a part that the browser is to ask for. */
function late(part: Part): Promise<Child> {
  return Promise.resolve(
    <Section part={part} late="once">
      <p class="pending">Asking for {part.label} …</p>
    </Section>,
  );
}

/** A part in the page. `late`: it is not here yet, and is asked for at once, or still not, and is asked for as usual. */
function Section(
  { part, late, children }: {
    readonly part: Part;
    readonly late?: "once" | "still";
    readonly children?: Child;
  },
) {
  return (
    <section class="part" data-part={part.id} data-refresh={part.refreshMs} data-late={late}>
      {children}
    </section>
  );
}

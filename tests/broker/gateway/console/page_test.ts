import { describe, expect, test } from "bun:test";
import { Hono } from "hono";
import { type Part, PartRenderer } from "../../../../broker/gateway/console/page.tsx";
import { ClientError } from "../../../../broker/client/client_error.ts";
import { SimClock } from "../../../sim/sim_clock.ts";
import { SimLogger } from "../../../sim/sim_logger.ts";

const parts: readonly Part[] = [
  { id: "quick", label: "what is quick", render: () => Promise.resolve("here") },
  { id: "stuck", label: "what hangs", refreshMs: 5000, render: () => new Promise(() => {}) },
  {
    id: "broken",
    label: "what fails",
    render: () => Promise.reject(new ClientError("no broker <1>")),
  },
];

async function page(clock: SimClock) {
  const rendered = await clock.run(
    new PartRenderer({ clock, logger: new SimLogger() }).page(parts),
  );
  return Object.fromEntries(Object.entries(rendered).map(([id, part]) => [id, String(part)]));
}

async function fragment(clock: SimClock, id: string) {
  const app = new Hono().get("/", async (context) => {
    return await new PartRenderer({ clock, logger: new SimLogger() }).fragment(context, parts) ??
      context.notFound();
  });
  const response = await clock.run(Promise.resolve(app.request(`/?part=${id}`)));
  return { status: response.status, text: await response.text() };
}

describe("PartRenderer", () => {
  test("page: shows what is there in time, says what failed, and leaves the rest to the browser", async () => {
    const clock = new SimClock();
    const { quick, stuck, broken } = await page(clock);
    expect(clock.monotonicMs()).toBeLessThanOrEqual(120);
    expect(quick).toBe('<section class="part" data-part="quick">here</section>');
    expect(stuck).toContain('data-part="stuck" data-refresh="5000" data-late="once"');
    expect(stuck).toContain("Asking for what hangs …");
    expect(broken).toContain("Cannot show what fails");
    expect(broken).toContain("no broker &lt;1&gt;");
  });

  test("page: a fault of ours is told to the log, and to the page without what is inside", async () => {
    const clock = new SimClock();
    const logger = new SimLogger();
    const part = { ...parts[2]!, render: () => Promise.reject(new TypeError("secret")) };
    const { broken } = await clock.run(new PartRenderer({ clock, logger }).page([part]));
    expect(String(broken)).toContain("An error inside the broker; see its log.");
    expect(String(broken)).not.toContain("secret");
    expect(logger.lines).toMatchObject([{ level: "error", message: "Cannot show what fails" }]);
  });

  test("page: a part that is for later is not asked for", async () => {
    const clock = new SimClock();
    const render = () => Promise.reject(new Error("asked"));
    const part: Part = { id: "long", label: "a list", isLater: true, render };
    const renderer = new PartRenderer({ clock, logger: new SimLogger() });
    const { long } = await clock.run(renderer.page([part]));
    expect(String(long)).toContain('data-part="long" data-late="once"');
  });

  test("page: nothing is left running once all have answered", async () => {
    const clock = new SimClock();
    await clock.run(new PartRenderer({ clock, logger: new SimLogger() }).page([parts[0]!]));
    expect(clock.monotonicMs()).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });

  test("fragment: one part, which says after a while that no answer comes", async () => {
    const clock = new SimClock();
    const { text } = await fragment(clock, "stuck");
    expect(clock.monotonicMs()).toBe(15_000);
    expect(text).toContain("No answer came within 15 s");
    // The browser asks again by itself, at its own pace, and not at once.
    expect(text).toContain('data-late="still"');
  });

  test("fragment: null for a part that is not there", async () => {
    expect((await fragment(new SimClock(), "nope")).status).toBe(404);
  });
});

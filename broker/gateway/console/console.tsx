/**
 * The console: pages for people, at `/` and below `/console/`.
 *
 * All of it is asked for through the Kafka client, so that any node shows the whole cluster. Nothing comes from another
 * origin: the Content-Security-Policy allows none, and no script or style within a page.
 */

import { type Context, Hono } from "hono";
import { getCookie } from "hono/cookie";
import type { Child } from "hono/jsx";
import type { Clock, Logger } from "../../../storage/platform.ts";
import type { KafkaClient } from "../../client/kafka_client.ts";
import type { MetricHistory } from "../../telemetry/history.ts";
import { withBody } from "../body.ts";
import { faultOf } from "../problem.ts";
import type { Writing } from "../writing.ts";
import { Assets, type LoadAssets } from "./assets.ts";
import { brokerPages } from "./brokers.tsx";
import { Empty } from "./elements.tsx";
import { resetPages } from "./group_reset.tsx";
import { groupPages, lagRoute } from "./groups.tsx";
import type { LagHistory } from "./lag_history.ts";
import { ICON, Layout } from "./layout.tsx";
import { historyRoute, metricsPage } from "./metrics_page.tsx";
import { overviewPage } from "./overview.tsx";
import { Fault, PartRenderer } from "./page.tsx";
import { Recents } from "./recent.ts";
import { produceRoute, recordRoutes } from "./record_routes.ts";
import {
  FormFields,
  type FormTaker,
  type Page,
  type PageMaker,
  type PageRoutes,
} from "./routes.ts";
import { topicPages } from "./topic.tsx";
import { topicListPages } from "./topics.tsx";

/** What the console is made of, besides what all of the gateway is made of. */
export interface ConsoleParts {
  readonly history: MetricHistory;
  readonly lags: LagHistory;
  readonly loadAssets: LoadAssets;
}

/** What the console needs of the gateway. */
export interface ConsoleOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly version: string;
  readonly writing: Writing;
  readonly client: () => KafkaClient | null;
}

const SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "form-action 'self'",
  "frame-ancestors 'none'",
  "base-uri 'none'",
].join("; ");
const decoder = new TextDecoder();
const FOR_EVER = "public, max-age=31536000, immutable";

/** Makes the console's part of the gateway. */
export function consoleApp(options: ConsoleOptions, parts: ConsoleParts): Hono {
  const { client, writing } = options;
  const { history, lags, loadAssets } = parts;
  const app = new Hono();
  const recent = new Recents(options.clock);
  const pages = new ConsolePages(app, options, { recent, loadAssets });
  overviewPage(pages, { lags, recent });
  topicListPages(pages, recent);
  topicPages(pages);
  groupPages(pages);
  resetPages(pages);
  brokerPages(pages, recent);
  metricsPage(pages);
  recordRoutes(app, client);
  produceRoute(app, client, writing);
  historyRoute(app, history);
  lagRoute(app, lags);
  pages.page("/console/*", () => NO_SUCH_PAGE);
  return app;
}

/** Answers with documents, fragments and files. */
class ConsolePages implements PageRoutes {
  readonly #app: Hono;
  readonly #options: ConsoleOptions;
  readonly #renderer: PartRenderer;
  readonly #recent: Recents;
  readonly #loadAssets: LoadAssets;
  #assets: Promise<Assets> | null = null;

  constructor(
    app: Hono,
    options: ConsoleOptions,
    { recent, loadAssets }: { readonly recent: Recents; readonly loadAssets: LoadAssets },
  ) {
    this.#recent = recent;
    this.#loadAssets = loadAssets;
    this.#app = app;
    this.#options = options;
    this.#renderer = new PartRenderer(options);
    app.get("/console/assets/:hash/:name", async (context) => {
      const { hash, name } = context.req.param();
      const asset = (await this.#loaded()).find(hash, name);
      if (asset === null) return context.notFound();
      return context.body(asset.body, 200, {
        "Content-Type": asset.contentType,
        "Cache-Control": FOR_EVER,
      });
    });
    app.get("/console/icon.svg", (context) => {
      const headers = { "Content-Type": "image/svg+xml", "Cache-Control": FOR_EVER };
      return context.body(ICON, 200, headers);
    });
  }

  page(path: string, make: PageMaker): void {
    this.#app.get(path, async (context) => {
      const client = this.#options.client();
      if (client === null) return await this.#document(context, NOT_SERVING, <NotServing />);
      const page = await madePage(() => make(context, client));
      if (context.req.query("part") === undefined) return await this.#rendered(context, page);
      secure(context);
      return await this.#renderer.fragment(context, page.parts) ?? context.notFound();
    });
  }

  form(path: string, take: FormTaker): void {
    this.#app.post(path, async (context) => {
      const client = this.#options.client();
      if (client === null) return await this.#document(context, NOT_SERVING, <NotServing />);
      const { bodies } = this.#options.writing;
      const text = await withBody(context.req.raw, bodies, (bytes) => decoder.decode(bytes));
      const fields = new FormFields(text);
      const taken = await madePage(() => take(context, client, fields));
      this.#recent.forget();
      if ("goTo" in taken) return context.redirect(taken.goTo, 303);
      return await this.#rendered(context, taken);
    });
  }

  #loaded(): Promise<Assets> {
    return this.#assets ??= this.#loadAssets().then((files) => new Assets(files));
  }

  async #rendered(context: Context, page: Page): Promise<Response> {
    return await this.#document(context, page, page.body(await this.#renderer.page(page.parts)));
  }

  async #document(context: Context, page: Page, content: Child): Promise<Response> {
    secure(context);
    const chosen = getCookie(context, "weir-theme");
    const html = (
      <Layout
        title={page.title}
        way={page.way}
        assets={await this.#loaded()}
        version={this.#options.version}
        theme={chosen === "dark" || chosen === "light" ? chosen : null}
        scripts={page.scripts ?? []}
      >
        {content}
      </Layout>
    );
    return await context.html(`<!doctype html>${await html}`, page.status ?? 200);
  }
}

/** What a page is made of, or the page that says why it cannot be made. Errors: faults of ours. */
async function madePage<T>(make: () => T | Promise<T>): Promise<T | Page> {
  try {
    return await make();
  } catch (error) {
    const fault = faultOf(error);
    if (fault === null) throw error;
    return {
      title: "No answer",
      way: null,
      status: 503,
      parts: [],
      body: () => <Fault what="The cluster did not answer" text={fault.detail} />,
    };
  }
}

function secure(context: Context): void {
  context.header("Content-Security-Policy", SECURITY_POLICY);
  context.header("Referrer-Policy", "same-origin");
  context.header("Cross-Origin-Opener-Policy", "same-origin");
}

const NO_SUCH_PAGE: Page = {
  title: "No such page",
  way: null,
  status: 404,
  parts: [],
  body: () => (
    <Empty title="There is no such page">
      <p>
        The address may be of another version. Go on from the <a href="/">overview</a>.
      </p>
    </Empty>
  ),
};

const NOT_SERVING: Page = {
  title: "Not serving",
  way: null,
  status: 503,
  parts: [],
  body: () => null,
};

function NotServing() {
  return (
    <Fault
      what="This node does not serve the cluster"
      text="It is a controller alone, or it is starting or stopping. Ask a broker, or see /readyz."
    />
  );
}

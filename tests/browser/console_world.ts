/** A real broker process and a real browser that looks at its console, with an eye on all that the browser asks for. */

import { join } from "node:path";
import type { BrowserContext, Page } from "playwright-core";
import { repositoryRoot, type RunningBroker, runOk, startWeir } from "../compat/harness.ts";
import { launchChromium } from "./chromium.ts";

const order = (i: number) => ({
  key: `customer-${i % 7}`,
  value: { id: 9_007_199_254_740_000 + i, total: i / 2, status: i % 5 === 0 ? "open" : "paid" },
  headers: { "trace-id": `t${i}` },
});

/** What a window is like. */
export interface WindowOptions {
  readonly width?: number;
  readonly height?: number;
  readonly colorScheme?: "light" | "dark";
}

/** Both of them; `stop` ends both. */
export class BrowserWorld {
  readonly broker: RunningBroker;
  readonly origin: string;
  /** Requests that went anywhere else: there must be none. */
  readonly foreignRequests: string[] = [];
  /** What pages complained about. */
  readonly complaints: string[] = [];
  readonly #context: BrowserContext;

  private constructor(broker: RunningBroker, context: BrowserContext) {
    this.broker = broker;
    this.origin = `http://127.0.0.1:${broker.httpPort}`;
    this.#context = context;
  }

  /** Starts both. */
  static async start(): Promise<BrowserWorld> {
    return new BrowserWorld(await startWeir(), await launchChromium());
  }

  async stop(): Promise<void> {
    await this.#context.close();
    await this.broker.stop();
  }

  /** A window that shows a page. */
  async open(
    path: string,
    { width = 1280, height = 900, colorScheme = "light" }: WindowOptions = {},
  ): Promise<Page> {
    const page = await this.#context.newPage();
    page.setDefaultTimeout(30_000);
    await page.setViewportSize({ width, height });
    await page.emulateMedia({ colorScheme });
    page.on("request", (request) => {
      const url = request.url();
      const isOwn = url.startsWith(`${this.origin}/`) || /^(data|blob):/.test(url);
      if (!isOwn) this.foreignRequests.push(url);
    });
    page.on("pageerror", (error) => this.complaints.push(`${path}: ${error.message}`));
    page.on("console", (message) => {
      if (message.type() === "error") this.complaints.push(`${path}: ${message.text()}`);
    });
    await page.goto(`${this.origin}${path}`);
    return page;
  }

  /** Two topics, one of them with two thousand messages and a group; a topic may be there with messages already. */
  async stock(): Promise<void> {
    const lines = Array.from({ length: 2000 }, (_, i) => `${JSON.stringify(order(i))}\n`);
    await this.weir("topic create orders --partitions 3 --if-not-exists");
    await this.weir("topic create void");
    await this.weir("produce orders --format ndjson", lines.join(""));
    await this.weir("consume orders --group billing --count 100");
  }

  /** What no page may do: ask another origin, or complain, but for the page that is there to not be there. */
  surprises(): string[] {
    const complaints = this.complaints.filter((text) => !/404 \(Not Found\)/.test(text));
    return [...this.foreignRequests.map((url) => `asked ${url}`), ...complaints];
  }

  /** Runs one of weir's commands, which must succeed. */
  async weir(command: string, input?: string): Promise<string> {
    return await runOk(
      [
        process.execPath,
        join(repositoryRoot, "main.ts"),
        ...command.split(" "),
        "--bootstrap-server",
        this.broker.bootstrap,
      ],
      input === undefined ? {} : { input },
    );
  }
}

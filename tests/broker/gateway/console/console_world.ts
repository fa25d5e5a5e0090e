/** A whole broker in memory with its console, spoken to without a socket, on virtual time. */

import { loadAssets } from "../../../../broker/gateway/console/assets_bun.ts";
import { ServedApp, startedBroker } from "../../cli/started_broker.ts";
import { TestMachine } from "../../cli/test_io.ts";

/** What is sent besides the path. */
export interface Ask {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** An answer, read. */
export interface Told {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** The machine that the broker runs on, and its HTTP. */
export class ConsoleWorld {
  readonly machine = new TestMachine(7);
  readonly #served = new ServedApp();

  /** Starts the broker. Returns: once it serves. */
  static async start(settings: Readonly<Record<string, string>> = {}): Promise<ConsoleWorld> {
    // Files are bundled in real time: not while virtual time runs.
    await loadAssets();
    const world = new ConsoleWorld();
    const { machine } = world;
    await startedBroker(machine, {
      name: "broker",
      disk: machine.disk,
      network: machine.network,
      settings,
      serveHttp: world.#served.serve,
    });
    // The console is loaded when it is asked for first, which takes no virtual time.
    await world.#served.request("/console/icon.svg");
    return world;
  }

  /** Asks over HTTP. */
  async ask(path: string, { method = "GET", headers = {}, body }: Ask = {}): Promise<Told> {
    const { clock } = this.machine;
    const init = { method, headers: { ...headers }, ...(body !== undefined && { body }) };
    const response = await clock.run(this.#served.request(path, init));
    return { status: response.status, headers: response.headers, text: await response.text() };
  }

  /** Asks for JSON. */
  // deno-lint-ignore no-explicit-any -- every answer has a shape of its own
  async json(path: string, ask: Ask = {}): Promise<any> {
    const { status, text } = await this.ask(path, ask);
    if (status >= 300) throw new Error(`${path}: ${status} ${text}`);
    return JSON.parse(text);
  }

  /** Sends a form, as a page of the console does. */
  async send(path: string, fields: Readonly<Record<string, string>>): Promise<Told> {
    return await this.ask(path, {
      method: "POST",
      headers: {
        "Content-Type": "application/x-www-form-urlencoded",
        "Sec-Fetch-Site": "same-origin",
      },
      body: new URLSearchParams(fields).toString(),
    });
  }

  /** Runs a command line that must succeed. */
  async weir(line: string, input = ""): Promise<string> {
    return await this.machine.succeed(line, [input]);
  }
}

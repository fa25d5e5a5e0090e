/** The proxy that cuts and delays: without it doing what it says, the tests of the cluster would show nothing. */

import { afterEach, expect, test } from "bun:test";
import { apiVersionsRequest, apiVersionsResponse } from "../../protocol/schemas/api_versions.ts";
import { startWeir } from "./harness.ts";
import { CLIENT, ProxiedWays } from "./proxy.ts";
import { Wire } from "./wire.ts";

/** Each starts a broker. */
const PATIENCE_MS = 30_000;

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

async function proxied() {
  const broker = await startWeir();
  const ways = new ProxiedWays();
  ends.push(() => broker.stop(), () => ways.close());
  const port = await ways.proxy("1", broker.port);
  const ask = async (clientId?: string) => {
    const wire = await Wire.connect(`127.0.0.1:${port}`, clientId);
    ends.push(() => wire.close());
    const startMs = performance.now();
    const body = { clientSoftwareName: "proxy", clientSoftwareVersion: "1" };
    const send = () => wire.send(apiVersionsRequest, apiVersionsResponse, 3, body);
    await send();
    return { send, tookMs: performance.now() - startMs };
  };
  return { ways, ask };
}

test("ProxiedWays: passes what is sent, later where it is slow", async () => {
  const { ways, ask } = await proxied();
  expect((await ask()).tookMs).toBeLessThan(1_000);
  ways.delay(CLIENT, "1", 300);
  expect((await ask()).tookMs).toBeGreaterThan(299);
  ways.heal();
  expect((await ask()).tookMs).toBeLessThan(300);
}, PATIENCE_MS);

test(
  "ProxiedWays: a cut in either direction holds the answer back until it is healed",
  async () => {
    const { ways, ask } = await proxied();
    const { send } = await ask();
    for (const [from, to] of [[CLIENT, "1"], ["1", CLIENT]] as const) {
      ways.cut(from, to);
      let isAnswered = false;
      const answer = send().then(() => isAnswered = true);
      await Bun.sleep(200);
      expect(isAnswered).toBe(false);
      ways.heal();
      await answer;
    }
  },
  PATIENCE_MS,
);

test("ProxiedWays: knows which node has connected; others are clients", async () => {
  const { ways, ask } = await proxied();
  const { send } = await ask("node-2");
  ways.cut(CLIENT, "1");
  await send();
  ways.cut("2", "1");
  let isAnswered = false;
  const answer = send().then(() => isAnswered = true);
  await Bun.sleep(200);
  expect(isAnswered).toBe(false);
  ways.heal();
  await answer;
}, PATIENCE_MS);

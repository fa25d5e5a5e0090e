/** `weir serve` around a broker: when it says what, and that the broker is stopped whatever happens. */

import { describe, expect, test } from "bun:test";
import type { Served } from "../../../broker/cli/serve.ts";
import { NetworkError } from "../../../broker/network.ts";
import { TestMachine } from "./test_io.ts";

const ADDRESSES: Served["addresses"] = {
  kafka: [{ host: "127.0.0.1", port: 9092 }, { host: "0.0.0.0", port: 9094 }],
  controller: [],
  http: [{ host: "::1", port: 8080 }, { host: "", port: 8081 }],
};

/** A machine with a broker that counts its stops. */
function machineWithBroker(
  failed: Promise<string> = new Promise(() => {}),
  addresses = ADDRESSES,
) {
  const machine = new TestMachine();
  const seen = { starts: 0, stops: 0 };
  machine.serve = () => {
    seen.starts++;
    const served: Served = {
      addresses,
      failed,
      stop() {
        seen.stops++;
        return Promise.resolve();
      },
    };
    return Promise.resolve(served);
  };
  return { machine, seen };
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await Promise.resolve();
}

describe("serve", () => {
  test("serve: says where it serves, runs until it is asked to stop, and stops once", async () => {
    const { machine, seen } = machineWithBroker();
    const stop = new AbortController();
    const outcome = machine.start(["serve"], { stop });
    await settle();
    expect(seen).toEqual({ starts: 1, stops: 0 });
    stop.abort();
    const { exitCode, out, error } = await outcome;
    expect({ exitCode, error, seen }).toEqual({
      exitCode: 0,
      error: "",
      seen: { starts: 1, stops: 1 },
    });
    expect(out).toContain(
      "Kafka on 127.0.0.1:9092, 127.0.0.1:9094 and this machine's other addresses",
    );
    expect(out).toContain(
      "HTTP on http://[::1]:8080, http://127.0.0.1:8081 and this machine's other",
    );
    expect(out).toEndWith("weir stopped cleanly\n");
  });

  test("serve: one node of several says which it is, and what it serves as that", async () => {
    const { machine } = machineWithBroker(new Promise(() => {}), {
      ...ADDRESSES,
      kafka: [],
      controller: [{ host: "127.0.0.1", port: 9093 }],
    });
    const stop = new AbortController();
    const outcome = machine.start([
      "serve",
      ...["node.id=3", "process.roles=controller", "listeners=CONTROLLER://127.0.0.1:9093"].flatMap(
        (one) => ["--set", one],
      ),
      ...["controller.listener.names=CONTROLLER", "controller.quorum.voters=3@127.0.0.1:9093"]
        .flatMap((one) => ["--set", one]),
    ], { stop });
    await settle();
    stop.abort();
    const { out } = await outcome;
    expect(out).toMatch(
      /^weir \S+, node 3: controller\n {2}controller on 127.0.0.1:9093\n {2}HTTP/,
    );
  });

  test("serve: a standard output that nobody reads does not end it, nor keep it from its end", async () => {
    const { machine, seen } = machineWithBroker();
    machine.writesUntilClosed = 0;
    const stop = new AbortController();
    const outcome = machine.start(["serve"], { stop });
    let hasEnded = false;
    void outcome.then(() => hasEnded = true);
    await settle();
    expect({ hasEnded, ...seen }).toEqual({ hasEnded: false, starts: 1, stops: 0 });
    stop.abort();
    expect((await outcome).exitCode).toBe(0);
    expect(seen.stops).toBe(1);
  });

  test("serve: a broker that cannot go on is stopped, and the command fails with the reason", async () => {
    const { machine, seen } = machineWithBroker(Promise.resolve("Cannot write the metadata log"));
    const { exitCode, error } = await machine.start(["serve"]);
    expect({ exitCode, error }).toEqual({
      exitCode: 1,
      error: "Cannot write the metadata log\n",
    });
    expect(seen.stops).toBe(1);
  });

  test("serve: what the surroundings refuse is one sentence, not a stack", async () => {
    const machine = new TestMachine();
    machine.serve = () => Promise.reject(new NetworkError("Cannot listen on :9092: in use", ""));
    const { exitCode, error } = await machine.start(["serve"]);
    expect({ exitCode, error }).toEqual({ exitCode: 1, error: "Cannot listen on :9092: in use\n" });
  });
});

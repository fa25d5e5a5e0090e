import { describe, expect, test } from "bun:test";
import { bunNetwork } from "../../broker/network_bun.ts";
import { networkContract } from "../broker/network_contract.ts";

describe("bunNetwork", () => {
  networkContract("bunNetwork", () => ({
    network: bunNetwork(),
    freePort: 31_050,
    settle: (promise) => promise,
    async until(isDone) {
      for (let i = 0; i < 500; i++) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        if (isDone()) return;
      }
      throw new Error("nothing came of it");
    },
  }));

  test.each([
    ["192.0.2.1", "no address of this machine, or its name is not known (EADDRNOTAVAIL)"],
    ["no-such-host.invalid", "no address of this machine, or its name is not known: choose"],
  ])("listen: on %s is refused with what to do", (host, found) => {
    const handlers = { onData() {}, onDrain() {}, onClose() {} };
    expect(() => bunNetwork().listen({ host, port: 31_051 }, () => handlers)).toThrow(found);
  });
});

import { describe } from "bun:test";
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
});

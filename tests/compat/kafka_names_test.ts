/** The MBeans that docs/metrics.md names are those of Apache Kafka: each is looked for in one that runs. */

import { expect } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { kafkaJava, repositoryRoot, runOk, scratchDirectory, testWith } from "./harness.ts";
import { freePeerPort, startKafka } from "./kafka_peer.ts";

/** Beans that are there while a broker recovers its logs, and not before or after. */
const PASSING = ["kafka.log:type=LogManager,name=remainingLogsToRecover,dir=*"];

/** A bean as the page names it, or as Kafka has it. */
interface Bean {
  readonly domain: string;
  readonly properties: ReadonlyMap<string, string>;
}

function parseBean(name: string): Bean {
  const colon = name.indexOf(":");
  const pairs = name.slice(colon + 1).split(",").map((pair) => pair.split("=") as [string, string]);
  return { domain: name.slice(0, colon), properties: new Map(pairs) };
}

/** Whether a bean is what the page names: the same properties, with any value where it says `*`. */
function isNamedBy(named: Bean, bean: Bean): boolean {
  if (named.domain !== bean.domain || named.properties.size !== bean.properties.size) return false;
  return [...named.properties].every(([key, value]) =>
    value === "*" ? bean.properties.has(key) : bean.properties.get(key) === value
  );
}

testWith(
  "Apache Kafka (peers)",
  "docs/metrics.md: each MBean and attribute that it names is one of Apache Kafka's",
  async () => {
    const kafka = await startKafka({
      directory: scratchDirectory("beans"),
      port: await freePeerPort(),
    });
    // Some beans come with the first request of their kind.
    const weir = [process.execPath, join(repositoryRoot, "main.ts"), "-b", kafka.bootstrap];
    await runOk([...weir, "topic", "create", "orders"]);
    await runOk([...weir, "produce", "orders"], { input: "a\n" });
    await runOk([...weir, "consume", "orders", "--group", "billing", "--count", "1"]);
    const listed = await runOk(kafkaJava("ManagementBeans.java", String(kafka.pid)));
    await kafka.stop();
    const beans = listed.trim().split("\n").map((line) => {
      const [name = "", attributes = ""] = line.split("\t");
      return { ...parseBean(name), attributes: attributes.split(" ") };
    });
    const page = readFileSync(join(repositoryRoot, "docs", "metrics.md"), "utf8");
    const named = [...page.matchAll(/`((?:kafka|java)\.[a-z]+:[^`]+)`(?: `([\w.-]+)`)?/g)];
    expect(named.length).toBeGreaterThan(60);
    const missing = named.filter(([, name, attribute]) => {
      const wanted = parseBean(name!);
      return !PASSING.includes(name!) && !beans.some((bean) =>
        isNamedBy(wanted, bean) &&
        (attribute === undefined || bean.attributes.includes(attribute.split(".")[0]!))
      );
    });
    expect(missing.map(([text]) => text)).toEqual([]);
  },
);

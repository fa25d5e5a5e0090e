/**
 * Groups by the thousand: members of one group that join at once, commits of many groups at a steady rate, and how
 * long a coordinator takes to load what they have left.
 *
 *     bun tests/bench/groups_bench.ts members [--protocol consumer] [--members 1000] [--partitions 1000]
 *     bun tests/bench/groups_bench.ts commits [--groups 10000] [--rate 5000] [--seconds 30] [--warm-up 10]
 *         [--connections 20] [--partitions 1]
 *     bun tests/bench/groups_bench.ts load [--mb 1000] [--groups 10000] [--partitions 10] [--runs 3]
 *
 * Each starts a real broker, `--command dist/weir` or `bun main.ts`, in a directory that is removed at the end
 * (`--directory` for another one). `load` takes several `--command`, which load the same records in turns. With
 * `WEIR_COMPAT_BOOTSTRAP=host:port`, `members` and `commits` measure any broker that runs. Figures count as ratios of
 * one run on a machine that does nothing else. `compat/groups_bench_test.ts` runs it tiny.
 */

import { parseArgs } from "node:util";
import { commitsBench } from "./groups_bench_commits.ts";
import { loadBench } from "./groups_bench_load.ts";
import { membersBench } from "./groups_bench_members.ts";

async function main(args: string[]): Promise<void> {
  const { positionals, values } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      protocol: { type: "string", default: "consumer" },
      members: { type: "string", default: "1000" },
      groups: { type: "string", default: "10000" },
      rate: { type: "string", default: "5000" },
      seconds: { type: "string", default: "30" },
      "warm-up": { type: "string", default: "10" },
      connections: { type: "string", default: "20" },
      partitions: { type: "string" },
      mb: { type: "string", default: "1000" },
      runs: { type: "string", default: "3" },
      command: { type: "string", multiple: true, default: [] },
      directory: { type: "string" },
    },
  });
  const commands = values.command.map((command) => command.split(" "));
  const common = {
    ...(commands[0] !== undefined && { command: commands[0] }),
    ...(values.directory !== undefined && { dataDirectory: values.directory }),
  };
  for (const measure of positionals) {
    switch (measure) {
      case "members":
        if (values.protocol !== "consumer" && values.protocol !== "classic") {
          throw new Error(
            `Cannot measure members: ${values.protocol} is neither consumer nor classic`,
          );
        }
        await membersBench({
          ...common,
          protocol: values.protocol,
          members: Number(values.members),
          partitions: Number(values.partitions ?? 1000),
        });
        break;
      case "commits":
        await commitsBench({
          ...common,
          groups: Number(values.groups),
          rate: Number(values.rate),
          seconds: Number(values.seconds),
          warmUpSeconds: Number(values["warm-up"]),
          connections: Number(values.connections),
          partitions: Number(values.partitions ?? 1),
        });
        break;
      case "load":
        await loadBench({
          ...common,
          megabytes: Number(values.mb),
          groups: Number(values.groups),
          partitions: Number(values.partitions ?? 10),
          runs: Number(values.runs),
          ...(commands.length > 0 && { commands }),
        });
        break;
      default:
        throw new Error(`Cannot measure ${measure}: known are members, commits and load`);
    }
  }
}

if (import.meta.main) {
  await main(process.argv.slice(2));
  process.exit(0);
}

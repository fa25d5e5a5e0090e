/**
 * Scenarios of the Raft thesis and of KRaft, replica by replica: `tests/transcripts/raft/*.txt`.
 *
 *     quorum 1 2 3             starts replicas with these static voters; `dynamic` puts the set into a snapshot
 *     advance 1000             time passes; what is due is done, and messages wait
 *     run                      delivers all messages until none is left; `only=1,2` between these alone
 *     lose                     messages that wait are lost
 *     write 1 2                replica 1 appends two records
 *     hold 2 / sync 2          replica 2 does not sync its log / does from now on
 *     down 2 / up 2            replica 2 ends and loses what it had not synced / starts again
 *     wipe 2                   replica 2 ends, and its disk is empty
 *     upgrade 1                replica 1 is asked to write the static voters into the log
 *     state                    all replicas
 */

import { test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { RaftBench } from "./raft_bench.ts";
import { runTranscript } from "../../transcripts/transcript.ts";

const DIRECTORY = join(import.meta.dir, "../../transcripts/raft");

for (const name of readdirSync(DIRECTORY).toSorted()) {
  test(`Raft: transcript ${name}`, () => {
    const bench = new RaftBench();
    runTranscript(join(DIRECTORY, name), (command) => bench.run(command));
  });
}

/** The classic group's machine, by transcript: tests/transcripts/classic_group_*.txt. */

import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import {
  ALLOWED_TRANSITIONS,
  ClassicGroup,
  type ClassicGroupState,
  type GroupEffect,
  type GroupMetadata,
  type JoinAnswer,
  type Now,
} from "../../../broker/groups/classic_group.ts";
import { ErrorCode, errorName } from "../../../protocol/errors.ts";
import { timestampMs } from "../../../protocol/types.ts";
import { type Command, runTranscript } from "../../transcripts/transcript.ts";

const folder = join(import.meta.dir, "../../transcripts");
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytes = (value: string) => new TextEncoder().encode(value);

/** Drives one group by commands. */
class GroupDriver {
  #nowMs = 0;
  #requestId = 0;
  #settings = { maxSize: 100, initialRebalanceDelayMs: 3000 };
  #group = new ClassicGroup("g", this.#settings, this.#now());
  #appends = new Map<number, GroupMetadata>();
  #committed: GroupMetadata | null = null;

  run(command: Command): string[] {
    const before = this.#group.state;
    const output = this.#dispatch(command);
    const after = this.#group.state;
    return before === after ? output : [...output, `${before} -> ${after}`];
  }

  #dispatch({ name, words, options }: Command): string[] {
    // "-" stands for a member that does not name itself.
    const first = words[0] === "-" ? "" : words[0] ?? "";
    const number = (key: string, otherwise: number) => Number(options.get(key) ?? otherwise);
    const claim = {
      memberId: first,
      groupInstanceId: options.get("instance") ?? null,
      generationId: number("gen", -1),
    };
    switch (name) {
      case "group":
        this.#settings = {
          maxSize: number("size", 100),
          initialRebalanceDelayMs: number("delay", 3000),
        };
        this.#group = new ClassicGroup("g", this.#settings, this.#now());
        this.#committed = null;
        return [];
      case "join":
        return this.#join(first, words, options);
      case "sync":
        return this.#effects(this.#group.sync({
          ...claim,
          requestId: ++this.#requestId,
          protocolType: options.get("type") ?? null,
          protocolName: options.get("name") ?? null,
          assignments: new Map(
            (options.get("assign") ?? "").split(",").filter(Boolean).map((pair) => {
              const [memberId = "", assignment = ""] = pair.split(":");
              return [memberId, bytes(assignment)];
            }),
          ),
        }, this.#now()));
      case "heartbeat":
        return [errorName(this.#group.heartbeat(claim, this.#now()))];
      case "commit":
        return [
          errorName(this.#group.checkOffsetCommit(claim, words.includes("txn"), this.#now())),
        ];
      case "leave": {
        const leaving = words.map((word) => {
          const [memberId = "", groupInstanceId = null] = word.split("@");
          return { memberId, groupInstanceId, reason: null };
        });
        const { errors, effects } = this.#group.leave(leaving, this.#now());
        return [`left: ${errors.map(errorName).join(", ")}`, ...this.#effects(effects)];
      }
      case "advance":
        return this.#advance(Number(first));
      case "committed":
      case "failed":
        return this.#appended(Number(first), name === "failed");
      case "restart":
        this.#group = this.#committed === null
          ? new ClassicGroup("g", this.#settings, this.#now())
          : ClassicGroup.restore("g", this.#committed, this.#settings, this.#now());
        return this.#effects(this.#group.enforceMaxSize(this.#now()));
      case "die":
        return this.#effects(this.#group.die(ErrorCode.NOT_COORDINATOR, this.#now()));
      case "state":
        return this.#state();
      default:
        throw new Error(`Cannot run "${name}": no such command`);
    }
  }

  #join(
    memberId: string,
    words: readonly string[],
    options: ReadonlyMap<string, string>,
  ): string[] {
    const requestId = ++this.#requestId;
    const sessionTimeoutMs = Number(options.get("session") ?? 10_000);
    return this.#effects(this.#group.join({
      requestId,
      memberId: memberId === "new" ? "" : memberId,
      newMemberId: options.get("as") ?? `m${requestId}`,
      groupInstanceId: options.get("instance") ?? null,
      clientId: "client",
      clientHost: "/127.0.0.1",
      sessionTimeoutMs,
      rebalanceTimeoutMs: Number(options.get("rebalance") ?? 30_000),
      protocolType: options.get("type") ?? "consumer",
      protocols: (options.get("protocols") ?? "range").split(",").filter(Boolean).map((one) => {
        const [name = "", metadata = ""] = one.split(":");
        return { name, metadata: bytes(metadata) };
      }),
      requiresKnownMemberId: words.includes("required"),
      supportsSkippingAssignment: words.includes("skip"),
      reason: options.get("reason") ?? null,
    }, this.#now()));
  }

  /** Time passes in steps from deadline to deadline, as the coordinator's timer makes it. */
  #advance(byMs: number): string[] {
    const endMs = this.#nowMs + byMs;
    const output: string[] = [];
    while (this.#group.nextDeadlineMs <= endMs) {
      this.#nowMs = Math.max(this.#nowMs, this.#group.nextDeadlineMs);
      const lines = this.#effects(this.#group.tick(this.#now()));
      if (lines.length > 0) output.push(`at ${this.#nowMs} ms:`, ...lines);
    }
    this.#nowMs = endMs;
    return output;
  }

  #appended(appendId: number, failed: boolean): string[] {
    const metadata = this.#appends.get(appendId);
    if (metadata === undefined) throw new Error(`Cannot settle append ${appendId}: no such append`);
    this.#appends.delete(appendId);
    if (!failed) this.#committed = metadata;
    const error = failed ? ErrorCode.NOT_COORDINATOR : ErrorCode.NONE;
    return this.#effects(this.#group.appended(appendId, error, this.#now()));
  }

  #state(): string[] {
    const group = this.#group;
    return [
      `${group.state} generation=${group.generationId} protocol=${group.protocolName} ` +
      `leader=${group.leader} pending=${group.pendingMemberCount}`,
      ...group.members().map((member) => {
        const instance = member.groupInstanceId === null ? "" : `@${member.groupInstanceId}`;
        return `  ${member.memberId}${instance} subscription=${text(member.subscription)} ` +
          `assignment=${text(member.assignment)}`;
      }),
    ];
  }

  #effects(effects: readonly GroupEffect[]): string[] {
    return effects.map((effect) => {
      switch (effect.kind) {
        case "rebalance":
          return `rebalance: ${effect.rebalance.reason} (${effect.rebalance.cause})`;
        case "joinAnswer":
          return `join ${effect.requestId}: ${describeJoin(effect.answer)}`;
        case "syncAnswer": {
          const { error, assignment } = effect.answer;
          return `sync ${effect.requestId}: ${errorName(error)} "${text(assignment)}"`;
        }
        case "append": {
          this.#appends.set(effect.appendId, effect.metadata);
          const { generationId, members } = effect.metadata;
          const list = members.map((member) => `${member.memberId}:${text(member.assignment)}`);
          return `append ${effect.appendId}: generation=${generationId} [${list.join(" ")}]`;
        }
      }
    });
  }

  #now(): Now {
    return { monotonicMs: this.#nowMs, wallMs: timestampMs(1_000_000 + this.#nowMs) };
  }
}

function describeJoin(answer: JoinAnswer): string {
  const { error, memberId, generationId, protocolName, leader, skipAssignment, members } = answer;
  if (error !== ErrorCode.NONE) return `${errorName(error)} member="${memberId}"`;
  const list = members.map((member) => {
    const instance = member.groupInstanceId === null ? "" : `@${member.groupInstanceId}`;
    return `${member.memberId}${instance}:${text(member.metadata)}`;
  });
  const skip = skipAssignment ? " skipAssignment" : "";
  return `member=${memberId} generation=${generationId} protocol=${protocolName} leader=${leader} ` +
    `members=[${list.join(" ")}]${skip}`;
}

for (const file of readdirSync(folder).filter((name) => name.startsWith("classic_group_")).sort()) {
  test(`ClassicGroup: ${file.slice(0, -4).replaceAll("_", " ")} goes as written down`, () => {
    const driver = new GroupDriver();
    runTranscript(join(folder, file), (command) => driver.run(command));
  });
}

test("ALLOWED_TRANSITIONS: every state can die, and only a join phase leads to a generation", () => {
  const states = Object.keys(ALLOWED_TRANSITIONS) as ClassicGroupState[];
  for (const state of states) {
    const next: readonly ClassicGroupState[] = ALLOWED_TRANSITIONS[state];
    expect(next).toContain("Dead");
    expect(next.includes("CompletingRebalance")).toBe(state === "PreparingRebalance");
    expect(next.includes("Stable")).toBe(state === "CompletingRebalance");
  }
});

test("ClassicGroup.enforceMaxSize: a group that is too large rebalances, and says why", () => {
  const now = { monotonicMs: 0, wallMs: timestampMs(0) };
  const members = ["a", "b"].map((memberId) => ({
    memberId,
    groupInstanceId: null,
    clientId: "c",
    clientHost: "/h",
    rebalanceTimeoutMs: 60_000,
    sessionTimeoutMs: 30_000,
    subscription: bytes(""),
    assignment: bytes(""),
  }));
  const metadata: GroupMetadata = {
    protocolType: "consumer",
    generationId: 1,
    protocolName: "range",
    leader: "a",
    currentStateTimestamp: timestampMs(0),
    members,
  };
  for (const maxSize of [1, 2]) {
    const settings = { maxSize, initialRebalanceDelayMs: 0 };
    const effects = ClassicGroup.restore("g", metadata, settings, now).enforceMaxSize(now);
    const causes = effects.map((it) => it.kind === "rebalance" ? it.rebalance.cause : it.kind);
    expect(causes).toEqual(maxSize === 1 ? ["group_too_large"] : []);
  }
});

/**
 * Which brokers hold which partition.
 *
 * Striped over racks: the replicas of one partition lie in as many racks as there are, and over the
 * partitions every broker leads and follows its share. Unfenced brokers come before fenced ones, and a
 * fenced one never leads.
 *
 *     racks      A: 1 2   B: 3 4   C: 5           order of racks and of brokers within each: by chance
 *     partition 0: A1 B3 C5      partition 1: B4 C5 A2      partition 2: C5 A1 B3 …
 *
 * A partition starts one rack further than the one before it, and each rack deals out its brokers in
 * rounds, for leading and for following apart, so that both spread evenly.
 *
 * Pure: chance is an argument. Source: Kafka's StripedReplicaPlacer (KIP-631).
 */

import type { Random } from "../../storage/platform.ts";

/** A broker that may hold replicas. */
export interface UsableBroker {
  readonly id: number;
  readonly rack: string | null;
  readonly fenced: boolean;
}

/** The replicas of each new partition, the preferred leader first; or why there are none. */
export type Placement =
  | { readonly ok: true; readonly assignments: readonly (readonly number[])[] }
  | { readonly ok: false; readonly reason: string };

/** What to place. */
export interface PlacementRequest {
  readonly partitionCount: number;
  readonly replicationFactor: number;
}

/** Uniform in [0, bound). */
function below(random: Random, bound: number): number {
  return Math.floor((random.uint32() / 0x1_0000_0000) * bound);
}

function shuffled<T>(values: readonly T[], random: Random): T[] {
  const result = [...values];
  for (let i = result.length - 1; i > 0; i--) {
    const j = below(random, i + 1);
    [result[i], result[j]] = [result[j]!, result[i]!];
  }
  return result;
}

/** Deals out its members in rounds, each round in a new order. */
class Ring {
  readonly #ids: readonly number[];
  readonly #random: Random;
  #queue: number[] = [];

  constructor(ids: readonly number[], random: Random) {
    this.#ids = ids;
    this.#random = random;
  }

  get isEmpty(): boolean {
    return this.#ids.length === 0;
  }

  /** The next member that is not in `taken`, who keep their turn; null when all of them are. */
  draw(taken: readonly number[]): number | null {
    if (this.#ids.every((id) => taken.includes(id))) return null;
    const isFree = (id: number) => !taken.includes(id);
    let at = this.#queue.findIndex(isFree);
    if (at === -1) {
      this.#queue.push(...shuffled(this.#ids, this.#random));
      at = this.#queue.findIndex(isFree);
    }
    return this.#queue.splice(at, 1)[0]!;
  }
}

interface Rack {
  readonly leaders: Ring;
  readonly followers: Ring;
  readonly fencedFollowers: Ring;
}

function racksOf(brokers: readonly UsableBroker[], random: Random): Rack[] {
  const byRack = new Map<string, UsableBroker[]>();
  for (const broker of brokers.toSorted((a, b) => a.id - b.id)) {
    // Brokers without a rack share one of their own, as in Kafka.
    const name = broker.rack ?? "";
    const members = byRack.get(name);
    if (members === undefined) byRack.set(name, [broker]);
    else members.push(broker);
  }
  return shuffled([...byRack.keys()].sort(), random).map((name) => {
    const ids = (fenced: boolean) =>
      byRack.get(name)!.filter((broker) => broker.fenced === fenced).map((broker) => broker.id);
    return {
      leaders: new Ring(ids(false), random),
      followers: new Ring(ids(false), random),
      fencedFollowers: new Ring(ids(true), random),
    };
  });
}

/** `turn` counts partitions: each starts one rack further than the one before it. */
function placeOne(racks: readonly Rack[], turn: number, replicationFactor: number): number[] {
  const leading = racks.filter((rack) => !rack.leaders.isEmpty);
  const leaderRack = leading[turn % leading.length]!;
  const replicas = [leaderRack.leaders.draw([])!];
  const start = racks.indexOf(leaderRack) + 1;
  // The racks after the leader's, then the leader's own again.
  const order = racks.map((_, i) => racks[(start + i) % racks.length]!);
  for (const ring of ["followers", "fencedFollowers"] as const) {
    // One replica a rack and round, until there are enough or a whole round gives nothing.
    for (let drawn = true; drawn && replicas.length < replicationFactor;) {
      drawn = false;
      for (const rack of order) {
        const id = replicas.length < replicationFactor ? rack[ring].draw(replicas) : null;
        if (id === null) continue;
        replicas.push(id);
        drawn = true;
      }
    }
  }
  return replicas;
}

/** Places partitions over `brokers`. Returns a reason when there are not enough brokers. */
export function placeReplicas(
  brokers: readonly UsableBroker[],
  { partitionCount, replicationFactor }: PlacementRequest,
  random: Random,
): Placement {
  if (replicationFactor <= 0) {
    return {
      ok: false,
      reason:
        `Invalid replication factor ${replicationFactor}: the replication factor must be positive.`,
    };
  }
  if (brokers.every((broker) => broker.fenced)) {
    return {
      ok: false,
      reason: "All brokers are currently fenced, or have all their log directories cordoned.",
    };
  }
  if (replicationFactor > brokers.length) {
    return {
      ok: false,
      reason:
        `The target replication factor of ${replicationFactor} cannot be reached because only ` +
        `${brokers.length} broker(s) are registered or some brokers have all their log directories ` +
        "cordoned.",
    };
  }
  const racks = racksOf(brokers, random);
  const first = below(random, racks.length);
  const assignments = Array.from(
    { length: partitionCount },
    (_, i) => placeOne(racks, first + i, replicationFactor),
  );
  return { ok: true, assignments };
}

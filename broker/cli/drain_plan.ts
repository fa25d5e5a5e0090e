/**
 * Where the partitions of a broker go that is to be taken away: first what it leads, or all that it holds.
 *
 *     lead only     replicas 2 1 3 → 1 3 2       the same replicas, it comes last; another one is preferred
 *     all of it     replicas 2 1 3 → 1 3 4       another broker takes its place, in another rack where there is one
 *
 * Leaderships and replicas are spread: each goes to the broker that has the fewest by then. What could not be done
 * without it is told, and then nothing is planned.
 *
 * Pure: the cluster in; moves, and what is in their way, out.
 */

/** A partition, as Metadata tells it. */
export interface DrainPartition {
  readonly topic: string;
  readonly partition: number;
  /** −1 for none. */
  readonly leader: number;
  readonly replicas: readonly number[];
  readonly isr: readonly number[];
}

/** What the plan is made from. */
export interface DrainInput {
  readonly node: number;
  /** Brokers that take part and may be given something, and the one to be drained if it takes part. */
  readonly brokers: readonly { readonly id: number; readonly rack: string | null }[];
  /** Of the whole cluster. */
  readonly partitions: readonly DrainPartition[];
  /** `min.insync.replicas` of a topic. */
  readonly minInsyncReplicas: (topic: string) => number;
}

/** New replicas of a partition, the preferred leader first. */
export interface DrainMove {
  readonly topic: string;
  readonly partition: number;
  readonly before: readonly number[];
  readonly replicas: readonly number[];
}

/** The moves, and a sentence for each partition that cannot do without the broker. */
export interface DrainPlan {
  readonly moves: readonly DrainMove[];
  readonly problems: readonly string[];
}

/** Counts of something by broker. */
class Load {
  readonly #counts = new Map<number, number>();

  add(id: number, count = 1): void {
    this.#counts.set(id, this.of(id) + count);
  }

  of(id: number): number {
    return this.#counts.get(id) ?? 0;
  }

  /** The one with the fewest; undefined of none. */
  least(ids: readonly number[]): number | undefined {
    return ids.toSorted((a, b) => this.of(a) - this.of(b) || a - b)[0];
  }
}

/** Takes the lead of all partitions away, so that the broker can be stopped. */
export function planLeaderDrain(input: DrainInput): DrainPlan {
  const { node, partitions, minInsyncReplicas } = input;
  const leads = leaderLoad(partitions);
  const moves: DrainMove[] = [];
  const problems: string[] = [];
  for (const { topic, partition, leader, replicas, isr } of partitions) {
    if (!replicas.includes(node)) continue;
    const left = isr.filter((id) => id !== node);
    // More than there are replicas is not asked for, as in Kafka.
    const needed = Math.min(minInsyncReplicas(topic), replicas.length);
    if (left.length < needed) {
      problems.push(
        `${topic}-${partition} would have ${left.length} in-sync replicas, and needs ${needed}`,
      );
      continue;
    }
    const isPreferred = replicas[0] === node;
    if (leader !== node && !isPreferred) continue;
    const next = left.includes(leader) ? leader : leads.least(left)!;
    leads.add(next);
    const others = replicas.filter((id) => id !== node && id !== next);
    moves.push({ topic, partition, before: replicas, replicas: [next, ...others, node] });
  }
  return problems.length > 0 ? { moves: [], problems } : { moves, problems };
}

/** Gives all replicas of the broker to others, so that it can be taken away for good. */
export function planReplicaDrain(input: DrainInput): DrainPlan {
  const { node, brokers, partitions } = input;
  const others = brokers.filter(({ id }) => id !== node);
  const leads = leaderLoad(partitions);
  const held = new Load();
  for (const { replicas } of partitions) for (const id of replicas) held.add(id);
  const racks = new Map(others.map(({ id, rack }) => [id, rack]));
  const moves: DrainMove[] = [];
  const problems: string[] = [];
  for (const { topic, partition, leader, replicas } of partitions) {
    if (!replicas.includes(node)) continue;
    const kept = replicas.filter((id) => id !== node);
    const target = placeFor(kept, racks, held);
    if (target === undefined) {
      problems.push(
        `${topic}-${partition} has ${replicas.length} replicas, and there are ${others.length} other brokers for them`,
      );
      continue;
    }
    held.add(target);
    // The newcomer leads only where there is no other.
    const first = replicas[0] === node || leader === node
      ? leads.least(kept) ?? target
      : replicas[0]!;
    leads.add(first);
    const rest = [...kept, target].filter((id) => id !== first);
    moves.push({ topic, partition, before: replicas, replicas: [first, ...rest] });
  }
  return problems.length > 0 ? { moves: [], problems } : { moves, problems };
}

/** The broker for one more replica: in a rack that has none of them, if there is one. */
function placeFor(
  kept: readonly number[],
  racks: ReadonlyMap<number, string | null>,
  held: Load,
): number | undefined {
  const free = [...racks.keys()].filter((id) => !kept.includes(id));
  const used = new Set(kept.map((id) => racks.get(id) ?? null));
  const inOtherRack = free.filter((id) => {
    const rack = racks.get(id) ?? null;
    return rack !== null && !used.has(rack);
  });
  return held.least(inOtherRack.length > 0 ? inOtherRack : free);
}

function leaderLoad(partitions: readonly DrainPartition[]): Load {
  const load = new Load();
  for (const { leader } of partitions) load.add(leader);
  return load;
}

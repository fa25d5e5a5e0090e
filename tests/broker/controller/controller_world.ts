/**
 * The random life of a cluster as its controller sees it: brokers come, fall silent, shut down, lose a disk or
 * their newest records; leaders ask for other ISRs; partitions move; operators elect; the controller itself
 * loses power. Beside it a model of what every replica holds, so that it shows when somebody leads who lacks
 * what was committed.
 *
 * A replica's log is a count of records. A leader appends, followers copy, and what the whole ISR holds is
 * committed, unless the ISR is below `min.insync.replicas`. Whoever leads is the truth: others are cut to it.
 * An unclean shutdown loses any number of the newest records, and is the only thing that does.
 */

import assert from "node:assert/strict";
import type { MetadataImage, PartitionImage } from "../../../broker/controller/metadata_image.ts";
import { isElrEnabled } from "../../../broker/controller/leader_election.ts";
import { ErrorCode } from "../../../protocol/errors.ts";
import { SimRandom } from "../../sim/sim_random.ts";
import { ClusterHarness, SESSION_MS, uuid } from "./cluster_harness.ts";

const BROKERS = 5;
const TOPICS = ["a", "b", "c"];
const MIN_ISR = "min.insync.replicas";
const UNCLEAN = "unclean.leader.election.enable";

interface Model {
  /** Records that each replica holds. */
  readonly held: Map<number, number>;
  committed: number;
  minIsr: number;
  isUncleanAllowed: boolean;
}

/** One life. */
export class ControllerWorld {
  readonly random: SimRandom;
  readonly cluster: ClusterHarness;
  /** What happened, newest last, for the message of a failure. */
  readonly story: string[] = [];
  /** How often each kind of thing happened, so that a test sees that all of them did. */
  readonly counts = new Map<string, number>();
  readonly #models = new Map<string, Model>();
  readonly #alive = new Set<number>();
  readonly #shuttingDown = new Set<number>();
  /** Partitions for which an operator gave leave to lose records, until the next change of leader. */
  readonly #given = new Set<string>();
  #last: MetadataImage;
  #failure: Error | null = null;
  #unsubscribe: () => void = () => {};

  private constructor(cluster: ClusterHarness, random: SimRandom) {
    this.cluster = cluster;
    this.random = random;
    this.#last = cluster.image;
  }

  static async start(seed: number): Promise<ControllerWorld> {
    const random = new SimRandom(seed);
    // A change of a broker may come to its partitions one by one.
    const maxChangesAtOnce = random.chance(0.5) ? 1 : 500;
    const cluster = await ClusterHarness.start({ seed, brokers: 0, maxChangesAtOnce });
    const world = new ControllerWorld(cluster, random);
    world.#watch();
    for (let id = 1; id <= BROKERS; id++) await world.#join(id);
    await world.#pass(1000);
    for (const topic of TOPICS) await world.#makeTopic(topic);
    return world;
  }

  /** Lets one thing happen, and checks what must hold. */
  async step(): Promise<void> {
    const steps: readonly (readonly [number, string, () => Promise<unknown>])[] = [
      [10, "time", () => this.#pass(this.random.below(4000))],
      [8, "append", () => this.#append()],
      [14, "copy", () => this.#copy()],
      [8, "shrink", () => this.#shrink()],
      [10, "expand", () => this.#expand()],
      [3, "kill", () => this.#kill()],
      [5, "restart", () => this.#restart()],
      [3, "shut down", () => this.#shutDown()],
      [1, "fence", () => this.#fence()],
      [3, "reassign", () => this.#reassign()],
      [2, "elect", () => this.#elect()],
      [2, "configure", () => this.#configure()],
      [1, "feature", () => this.#feature()],
      [1, "disk", () => this.#loseDisk()],
      [1, "unregister", () => this.#unregister()],
      [1, "power cut", () => this.#powerCut()],
    ];
    let draw = this.random.below(steps.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, name, happen] of steps) {
      if (draw >= weight) {
        draw -= weight;
        continue;
      }
      this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
      this.story.push(name);
      await happen();
      // What nobody asked for may still be on its way: an answer comes after all that came before it.
      await this.cluster.harness.clock.advance(1);
      await this.cluster.controller.createTopics([]);
      break;
    }
    if (this.#failure !== null) throw this.#failure;
    this.#commitRecords();
    this.#checkImage(this.cluster.image);
  }

  #watch(): void {
    this.#unsubscribe = this.cluster.controller.subscribe((image) => {
      try {
        this.#checkChange(this.#last, image);
      } catch (failure) {
        // A listener must not throw: the step does.
        this.#failure ??= failure as Error;
      }
      this.#last = image;
    });
  }

  #note(text: string): void {
    this.story.push(`  ${text}`);
  }

  #any<T>(values: readonly T[]): T | undefined {
    return values[this.random.below(values.length)];
  }

  #topic(): string {
    return this.#any(TOPICS)!;
  }

  #model(topic: string): Model {
    return this.#models.get(topic)!;
  }

  /** The partition, where its leader lives and so can act. */
  #led(topic: string): PartitionImage | null {
    const partition = this.cluster.partition(topic);
    return this.#alive.has(partition.leader) ? partition : null;
  }

  async #makeTopic(topic: string): Promise<void> {
    const replicas = this.#subset([1, 2, 3, 4, 5], 1 + this.random.below(4));
    const minIsr = 1 + this.random.below(3);
    await this.cluster.makeTopic(topic, [replicas], { [MIN_ISR]: String(minIsr) });
    const held = new Map<number, number>();
    this.#models.set(topic, { held, committed: 0, minIsr, isUncleanAllowed: false });
  }

  #subset(ids: readonly number[], count: number): number[] {
    const left = [...ids];
    return Array.from({ length: count }, () => left.splice(this.random.below(left.length), 1)[0]!);
  }

  async #beat(id: number): Promise<void> {
    const wantShutDown = this.#shuttingDown.has(id);
    const reply = await this.cluster.beat(id, { wantShutDown });
    if (reply.error !== ErrorCode.NONE) {
      // Unregistered meanwhile: it ends.
      assert.equal(reply.error, ErrorCode.STALE_BROKER_EPOCH);
      this.#alive.delete(id);
    } else if ("shouldShutDown" in reply && reply.shouldShutDown) {
      this.#alive.delete(id);
      this.#note(`${id} has shut down`);
    }
  }

  async #pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 1000) {
      await this.cluster.harness.clock.advance(Math.min(left, 1000));
      for (const id of [...this.#alive]) await this.#beat(id);
    }
  }

  #append(): Promise<void> {
    const topic = this.#topic();
    const partition = this.#led(topic);
    const { held } = this.#model(topic);
    if (partition !== null) held.set(partition.leader, (held.get(partition.leader) ?? 0) + 1);
    return Promise.resolve();
  }

  /** A follower becomes what its leader is. */
  #copy(): Promise<void> {
    const topic = this.#topic();
    const partition = this.#led(topic);
    if (partition === null) return Promise.resolve();
    const follower = this.#any(partition.replicas.filter((id) => this.#alive.has(id)));
    const { held } = this.#model(topic);
    if (follower !== undefined) held.set(follower, held.get(partition.leader) ?? 0);
    return Promise.resolve();
  }

  /** What the whole ISR holds is committed from now on. */
  #commitRecords(): void {
    for (const topic of TOPICS) {
      const partition = this.#led(topic);
      const model = this.#model(topic);
      if (partition === null) continue;
      const minIsr = Math.min(model.minIsr, partition.replicas.length);
      if (partition.isr.length < minIsr) continue;
      const all = Math.min(...partition.isr.map((id) => model.held.get(id) ?? 0));
      model.committed = Math.max(model.committed, all);
    }
  }

  async #shrink(): Promise<void> {
    const topic = this.#topic();
    const partition = this.#led(topic);
    if (partition === null || partition.isr.length < 2) return;
    const leaving = this.#any(partition.isr.filter((id) => id !== partition.leader))!;
    const error = await this.cluster.alter(topic, partition.isr.filter((id) => id !== leaving));
    this.#note(`${topic} without ${leaving}: ${error}`);
  }

  async #expand(): Promise<void> {
    const topic = this.#topic();
    const partition = this.#led(topic);
    const { held, committed } = this.#model(topic);
    if (partition === null) return;
    const outside = partition.replicas.filter((id) => !partition.isr.includes(id));
    // Dead ones too, at times: a leader does not hear of it at once.
    const candidates = this.random.chance(0.8)
      ? outside.filter((id) => this.#alive.has(id))
      : outside;
    const joining = this.#any(candidates.filter((id) => (held.get(id) ?? 0) >= committed));
    if (joining === undefined) return;
    const error = await this.cluster.alter(topic, [...partition.isr, joining]);
    this.#note(`${topic} with ${joining}: ${error}`);
  }

  #kill(): Promise<void> {
    const id = this.#any([...this.#alive]);
    if (id === undefined) return Promise.resolve();
    this.#alive.delete(id);
    this.#shuttingDown.delete(id);
    this.#note(`${id} is killed`);
    return Promise.resolve();
  }

  async #restart(): Promise<void> {
    const dead = Array.from({ length: BROKERS }, (_, i) => i + 1)
      .filter((id) => !this.#alive.has(id));
    const id = this.#any(dead);
    if (id !== undefined) await this.#join(id);
  }

  async #join(id: number): Promise<void> {
    const known = this.cluster.image.brokers.get(id);
    const isClean = known !== undefined && this.random.chance(0.6);
    const previousBrokerEpoch = isClean ? known.epoch : -1;
    const registered = await this.cluster.register(id, {
      previousBrokerEpoch,
      logDirs: [uuid("dir", id), uuid("dsk", id)],
    });
    this.#note(`${id} registers ${isClean ? "after a clean end" : ""}: ${registered.error}`);
    // The one before it is not taken for dead yet.
    if (registered.error === ErrorCode.DUPLICATE_BROKER_REGISTRATION) return;
    assert.equal(registered.error, ErrorCode.NONE);
    this.#alive.add(id);
    this.#shuttingDown.delete(id);
    if (isClean) return;
    for (const [topic, model] of this.#models) {
      const count = model.held.get(id) ?? 0;
      const left = this.random.chance(0.7) ? this.random.below(count + 1) : count;
      model.held.set(id, left);
      // Without eligible leaders the last one of the ISR stays there, whatever it has lost.
      const isLast = this.cluster.image.topicByName(topic)?.partitions[0]?.isr.includes(id);
      if (isLast === true) model.committed = Math.min(model.committed, left);
    }
  }

  async #shutDown(): Promise<void> {
    const id = this.#any([...this.#alive]);
    if (id === undefined) return;
    this.#shuttingDown.add(id);
    this.#note(`${id} wants to shut down`);
    await this.#beat(id);
  }

  async #fence(): Promise<void> {
    const id = this.#any([...this.#alive]);
    if (id !== undefined) await this.cluster.beat(id, { wantFence: true });
  }

  async #reassign(): Promise<void> {
    const topic = this.#topic();
    const known = [...this.cluster.image.brokers.keys()];
    const replicas = this.random.chance(0.3) || known.length === 0
      ? null
      : this.#subset(known, 1 + this.random.below(Math.min(4, known.length)));
    const [result] = await this.cluster.controller.alterPartitionReassignments(
      [{ topic, partition: 0, replicas }],
      { allowReplicationFactorChange: true },
    );
    this.#note(`${topic} to ${replicas}: ${result!.error}`);
  }

  async #elect(): Promise<void> {
    const topic = this.#topic();
    const type = this.random.chance(0.8) ? "preferred" : "unclean";
    if (type === "unclean") this.#given.add(topic);
    await this.cluster.controller.electLeaders(type, [{ topic, partitions: [0] }]);
    this.#given.delete(topic);
  }

  async #configure(): Promise<void> {
    const topic = this.#topic();
    const model = this.#model(topic);
    const isMinIsr = this.random.chance(0.7);
    if (isMinIsr) model.minIsr = 1 + this.random.below(3);
    else model.isUncleanAllowed = this.random.chance(0.3);
    const name = isMinIsr ? MIN_ISR : UNCLEAN;
    const value = String(isMinIsr ? model.minIsr : model.isUncleanAllowed);
    this.#note(`${topic} ${name}=${value}`);
    const operations = [{ name, operation: "set", value } as const];
    await this.cluster.controller.incrementalAlterConfigs([
      { resource: { type: "topic", name: topic }, operations },
    ]);
  }

  async #feature(): Promise<void> {
    const level = isElrEnabled(this.cluster.image) ? 0 : 1;
    const upgradeType = level === 0 ? "safeDowngrade" : "upgrade";
    const feature = "eligible.leader.replicas.version";
    for (const [topic, model] of this.#models) {
      const { isr, elr, lastKnownElr } = this.cluster.partition(topic);
      if (level > 0 || isr.length + elr.length > 0) continue;
      // Who led last is the ISR from now on, whatever it has lost.
      const holds = Math.min(...lastKnownElr.map((id) => model.held.get(id) ?? 0));
      model.committed = Math.min(model.committed, holds);
    }
    const outcome = await this.cluster.controller.updateFeatures([{ feature, level, upgradeType }]);
    assert.equal(outcome.error, ErrorCode.NONE);
    this.#note(`ELR ${level}`);
  }

  /** A broker can use one of its directories no more; it comes back whole with the next registration. */
  async #loseDisk(): Promise<void> {
    const id = this.#any([...this.#alive]);
    if (id === undefined) return;
    for (const topic of TOPICS) {
      const { id: topicId, partitions } = this.cluster.image.topicByName(topic)!;
      if (!partitions[0]!.replicas.includes(id)) continue;
      await this.cluster.controller.assignReplicasToDirs(id, [
        { topicId, partition: 0, directoryId: uuid("dsk", id) },
      ]);
    }
    this.#note(`${id} loses its disk`);
    await this.cluster.beat(id, { offlineLogDirs: [uuid("dsk", id)] });
  }

  async #unregister(): Promise<void> {
    const id = 1 + this.random.below(BROKERS);
    if (this.#alive.has(id)) return;
    const outcome = await this.cluster.controller.unregisterBroker(id);
    this.#note(`${id} is unregistered: ${outcome.error}`);
  }

  /** The controller starts again; the image must be what the log says, and it was committed. */
  async #powerCut(): Promise<void> {
    const before = describe(this.cluster.image);
    this.#unsubscribe();
    await this.cluster.harness.crashAndReopen();
    assert.deepEqual(describe(this.cluster.image), before, "the log says something else");
    this.#last = this.cluster.image;
    this.#watch();
    // Nobody is fenced for what the other controller heard last.
    for (const id of [...this.#alive]) await this.#beat(id);
    await this.#pass(SESSION_MS / 4);
  }

  #checkChange(before: MetadataImage, after: MetadataImage): void {
    for (const topic of TOPICS) {
      const [was, is] = [before, after].map((image) => image.topicByName(topic)?.partitions[0]);
      if (was === undefined || is === undefined || was === is) continue;
      const text = `${topic}: ${JSON.stringify(was)} → ${JSON.stringify(is)}`;
      assert(is.partitionEpoch > was.partitionEpoch, `same partition epoch: ${text}`);
      const epochs = is.leaderEpoch - was.leaderEpoch;
      assert(epochs >= 0 && epochs <= is.partitionEpoch - was.partitionEpoch, `epoch: ${text}`);
      const removed = was.replicas.filter((id) => !is.replicas.includes(id));
      if (is.leader !== was.leader || removed.length > 0) {
        assert(epochs > 0, `no new leader epoch: ${text}`);
      }
      const isDone = removed.some((id) =>
        was.removingReplicas.includes(id) && !was.addingReplicas.includes(id)
      );
      if (isDone) {
        const areIn = is.replicas.every((id) => is.isr.includes(id));
        assert(areIn, `a move ended before all were in sync: ${text}`);
      }
      if (is.leader !== -1 && epochs > 0) this.#checkLeader(topic, before, was, is, text);
    }
  }

  /** Whoever leads holds what was committed, unless it is known that records may be lost. */
  #checkLeader(
    topic: string,
    before: MetadataImage,
    was: PartitionImage,
    is: PartitionImage,
    text: string,
  ): void {
    const model = this.#model(topic);
    const holds = model.held.get(is.leader) ?? 0;
    const hadAll = was.isr.includes(is.leader) || was.elr.includes(is.leader);
    const isUnclean = is.leaderRecoveryState === 1 && is.leader !== was.leader && !hadAll;
    if (isUnclean) {
      // Whoever led last, after nobody else was left, is chosen with eligible leaders only.
      const isLastKnown = isElrEnabled(before) && was.lastKnownElr.includes(is.leader);
      const isAllowed = model.isUncleanAllowed || this.#given.has(topic) || isLastKnown;
      assert(isAllowed, `unclean election, not allowed: ${text}`);
      assert.deepEqual(is.isr, [is.leader], `not alone after an unclean election: ${text}`);
      this.counts.set("unclean", (this.counts.get("unclean") ?? 0) + 1);
    } else if (!model.isUncleanAllowed && isElrEnabled(before)) {
      assert(
        holds >= model.committed,
        `leads with ${holds} of ${model.committed} committed: ${text}`,
      );
    }
    if (is.leader === was.leader) return;
    // Everybody is cut to what the leader has.
    model.committed = Math.min(model.committed, holds);
    for (const [id, count] of model.held) {
      if (is.isr.includes(id)) model.held.set(id, Math.min(count, holds));
    }
  }

  #checkImage(image: MetadataImage): void {
    for (const topic of TOPICS) {
      const partition = image.topicByName(topic)!.partitions[0]!;
      const { replicas, isr, elr, leader, addingReplicas, removingReplicas } = partition;
      const text = `${topic}: ${JSON.stringify(partition)}`;
      const isWithin = (ids: readonly number[], others: readonly number[]) =>
        new Set(ids).size === ids.length && ids.every((id) => others.includes(id));
      assert(replicas.length > 0 && isWithin(replicas, replicas), `replicas: ${text}`);
      assert.equal(partition.directories.length, replicas.length, text);
      assert(isWithin(isr, replicas), `ISR: ${text}`);
      assert(isWithin(elr, replicas.filter((id) => !isr.includes(id))), `ELR: ${text}`);
      assert(isWithin(addingReplicas, replicas), `adding: ${text}`);
      assert(isWithin(removingReplicas, replicas), `removing: ${text}`);
      assert(leader === -1 || isr.includes(leader), `leader out of the ISR: ${text}`);
      const isUp = (id: number) => {
        const broker = image.brokers.get(id);
        return broker !== undefined && !broker.fenced && !broker.inControlledShutdown;
      };
      assert(leader === -1 || isUp(leader), `the leader is away: ${text}`);
      assert(
        isr.every(isUp) || isr.length === 1 || leader === -1,
        `who is away is in the ISR: ${text}`,
      );
      if (!isElrEnabled(image)) assert(isr.length > 0, `nobody in the ISR: ${text}`);
    }
  }
}

function describe(image: MetadataImage): unknown {
  return {
    brokers: [...image.brokers],
    topics: [...image.topics()].toSorted((a, b) => a.name < b.name ? -1 : 1),
    configs: TOPICS.map((topic) => [...image.configs("topic", topic)]),
    features: [...image.features],
  };
}

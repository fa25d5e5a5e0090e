/**
 * Random admin operations against a controller whose machine loses power, beside a model of a few maps.
 *
 * Calls are made in bursts and not all awaited. After a crash the image must be the model after some prefix
 * of the calls that reaches at least over all that were answered: nothing answered is lost, nothing is half
 * done, and nothing is done out of order.
 */

import { expect, test } from "bun:test";
import type { Controller } from "../../../broker/controller/controller.ts";
import type { MetadataImage } from "../../../broker/controller/metadata_image.ts";
import { SimRandom } from "../../sim/sim_random.ts";
import { Harness, newTopic, NODE_ID } from "./harness.ts";

const SEEDS = 40;
const BURSTS = 6;
const CALLS_A_BURST = 12;
const NAMES = ["a", "b", "c.d", "c_d", "e-f", "g"];
const SETTINGS = ["retention.ms", "segment.ms", "max.message.bytes"];

/** The cluster as plain maps: partition counts and settings by topic, settings of brokers, producer ids. */
class Model {
  topics = new Map<string, number>();
  configs = new Map<string, Map<string, string>>();
  nextProducerId = 0;

  copy(): Model {
    const copy = new Model();
    copy.topics = new Map(this.topics);
    copy.configs = new Map([...this.configs].map(([key, values]) => [key, new Map(values)]));
    copy.nextProducerId = this.nextProducerId;
    return copy;
  }

  setConfig(key: string, name: string, value: string | null): void {
    const values = this.configs.get(key) ?? new Map<string, string>();
    if (value === null) values.delete(name);
    else values.set(name, value);
    if (values.size === 0) this.configs.delete(key);
    else this.configs.set(key, values);
  }

  /** A text that is equal exactly where models are. */
  toText(): string {
    const sorted = <V>(map: Map<string, V>) => [...map].sort(([a], [b]) => a < b ? -1 : 1);
    const configs = sorted(this.configs).map(([key, values]) => [key, sorted(values)]);
    return JSON.stringify([sorted(this.topics), configs, this.nextProducerId]);
  }
}

function modelOf(image: MetadataImage): Model {
  const model = new Model();
  for (const { name, partitions } of image.topics()) model.topics.set(name, partitions.length);
  for (const type of ["topic", "broker", "group"] as const) {
    for (const name of image.configuredResources(type)) {
      model.configs.set(`${type}:${name}`, new Map(image.configs(type, name)));
    }
  }
  model.nextProducerId = image.nextProducerId;
  return model;
}

/** Makes one random call; changes the model if it must succeed. */
function call(controller: Controller, model: Model, random: SimRandom): Promise<unknown> {
  const name = NAMES[random.below(NAMES.length)]!;
  const partitionCount = 1 + random.below(5);
  switch (random.below(6)) {
    case 0: {
      const collides = (other: string) => other.replace(".", "_") === name.replace(".", "_");
      const value = random.chance(0.5) ? String(random.below(3)) : null;
      const configs = value === null ? [] : [{ name: "retention.ms", value }];
      if (![...model.topics.keys()].some(collides)) {
        model.topics.set(name, partitionCount);
        if (value !== null) model.setConfig(`topic:${name}`, "retention.ms", value);
      }
      return controller.createTopics([newTopic(name, { partitionCount, configs })]);
    }
    case 1:
      model.topics.delete(name);
      model.configs.delete(`topic:${name}`);
      return controller.deleteTopics([{ name }]);
    case 2: {
      const present = model.topics.get(name);
      if (present !== undefined && partitionCount > present) model.topics.set(name, partitionCount);
      return controller.createPartitions([{ name, partitionCount, assignments: null }]);
    }
    case 3: {
      const setting = SETTINGS[random.below(SETTINGS.length)]!;
      const value = random.chance(0.3) ? null : String(1 + random.below(3));
      if (model.topics.has(name)) model.setConfig(`topic:${name}`, setting, value);
      return controller.incrementalAlterConfigs([{
        resource: { type: "topic", name },
        operations: [{ name: setting, operation: value === null ? "delete" : "set", value }],
      }]);
    }
    case 4: {
      const value = String(1 + random.below(4));
      const broker = random.chance(0.5) ? "" : String(NODE_ID);
      const configs = [{ name: "log.retention.ms", value }];
      // Cannot be left out for all brokers while there are eligible leader replicas.
      if (broker === "") configs.push({ name: "min.insync.replicas", value: "1" });
      model.configs.delete(`broker:${broker}`);
      for (const { name, value } of configs) model.setConfig(`broker:${broker}`, name, value);
      return controller.alterConfigs([{ resource: { type: "broker", name: broker }, configs }]);
    }
    default:
      model.nextProducerId += 1000;
      return controller.allocateProducerIds(NODE_ID);
  }
}

test(
  `Controller: after random calls and crashes the image is a prefix of the calls (${SEEDS} seeds)`,
  async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const random = new SimRandom(seed);
      const harness = await Harness.start({ seed });
      let model = modelOf(harness.controller.image());
      for (let burst = 0; burst < BURSTS; burst++) {
        const states = [model.copy()];
        let answered = 0;
        for (let i = 1; i <= CALLS_A_BURST; i++) {
          const answer = call(harness.controller, model, random).then(() => {
            answered = Math.max(answered, i);
          });
          states.push(model.copy());
          if (random.chance(0.3)) await answer;
          else if (random.chance(0.5)) await Promise.resolve();
        }
        const isPolite = random.chance(0.3);
        if (isPolite) {
          await harness.clock.advance(10);
          expect(answered, `seed ${seed}`).toBe(CALLS_A_BURST);
        }
        const answeredAtCrash = answered;
        const live = modelOf(harness.controller.image()).toText();
        await harness.crashAndReopen();
        const replayed = modelOf(harness.controller.image()).toText();
        const possible = states.slice(answeredAtCrash).map((state) => state.toText());
        expect(possible, `seed ${seed}, burst ${burst}`).toContain(replayed);
        if (isPolite) expect(replayed, `seed ${seed}: replay differs from live`).toBe(live);
        model = modelOf(harness.controller.image());
      }
    }
  },
  60_000,
);

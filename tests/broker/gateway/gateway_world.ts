/** A broker in memory with a Kafka client beside it, as the gateway has one, and what tests of the gateway do with them. */

import { buildBatch, type NewRecord } from "../../../protocol/records.ts";
import type { Broker } from "../../../broker/broker.ts";
import { Calls } from "../../../broker/client/calls.ts";
import { KafkaClient, throwOnError } from "../../../broker/client/kafka_client.ts";
import { startedBroker } from "../cli/started_broker.ts";
import { TestMachine } from "../cli/test_io.ts";

const encoder = new TextEncoder();

/** A machine with one broker. */
export class GatewayWorld {
  readonly machine: TestMachine;
  readonly client: KafkaClient;
  broker!: Broker;
  #starts = 0;

  /** `seed`: of chance and of the network. */
  constructor(seed = 1) {
    this.machine = new TestMachine(seed);
    this.client = new KafkaClient({
      network: this.machine.network,
      clock: this.machine.clock,
      random: this.machine.random.fork("client"),
      bootstrap: [{ host: "127.0.0.1", port: 9092 }],
      clientId: "test",
      softwareVersion: "0",
      requestTimeoutMs: 10_000,
      retryTimeoutMs: 5_000,
      interrupted: new AbortController().signal,
    });
  }

  /** Starts the broker, also after it was stopped. */
  async start(settings: Readonly<Record<string, string>> = {}): Promise<void> {
    const { disk, network } = this.machine;
    const name = `broker ${this.#starts++}`;
    this.broker = await startedBroker(this.machine, { name, disk, network, settings });
  }

  /** Ends client and broker. */
  async end(): Promise<void> {
    await this.run(this.client.close());
    await this.run(this.broker.stop());
  }

  /** Runs timers until a promise settles. */
  async run<T>(promise: Promise<T>): Promise<T> {
    return await this.machine.clock.run(promise);
  }

  /** Waits until something holds. Errors: when it does not within a minute of virtual time. */
  async until(what: string, holds: () => boolean): Promise<void> {
    for (let waited = 0; !holds(); waited += 5) {
      if (waited > 60_000) throw new Error(`Waited a minute in vain: ${what}`);
      await this.machine.clock.advance(5);
    }
  }

  /** Produces one batch on virtual time. Returns: its base offset. */
  async produce(...batch: Parameters<GatewayWorld["send"]>): Promise<number> {
    return await this.run(this.send(...batch));
  }

  /** Produces one batch, while the test moves the clock. Returns: its base offset. */
  async send(
    topic: string,
    records: readonly (Partial<NewRecord> | string)[],
    partition = 0,
  ): Promise<number> {
    const timestamp = this.machine.clock.wallMs();
    const bytes = buildBatch({
      records: records.map((record) => ({
        key: null,
        timestamp,
        ...(typeof record === "string"
          ? { value: encoder.encode(record) }
          : { value: null, ...record }),
      })),
    });
    return await this.client.retry(async () => {
      const [leader] = (await this.client.leaders(topic))
        .filter((found) => found.partition === partition);
      const connection = await this.client.broker(leader!.leaderId);
      const answer = await connection.request(Calls.produce, {
        acks: -1,
        timeoutMs: 10_000,
        topicData: [{ name: topic, partitionData: [{ index: partition, records: bytes }] }],
      });
      const [answered] = answer.responses[0]!.partitionResponses;
      throwOnError(answered!.errorCode);
      return answered!.baseOffset;
    });
  }
}

/** What an operator sets for all transactions. */

import type { Config } from "../config/config.ts";
import { transactionStateTopic } from "../controller/internal_topics.ts";
import type { NewTopic } from "../controller/topic_changes.ts";

/** The coordinator's settings, in its own units. */
export interface TransactionCoordinatorSettings {
  readonly maxTimeoutMs: number;
  /** How long an id is kept that is not used. */
  readonly idExpirationMs: number;
  readonly idExpirationIntervalMs: number;
  /** How soon an abort that could not be written is tried again. */
  readonly abortRetryMs: number;
  /** How `__transaction_state` is made where there are so many brokers. */
  readonly stateTopic: (brokerCount: number) => NewTopic;
  /** `broker.session.timeout.ms`. */
  readonly brokerSessionTimeoutMs: number;
}

/** Reads them from the configuration. */
export function transactionCoordinatorSettings(config: Config): TransactionCoordinatorSettings {
  return {
    maxTimeoutMs: config.number("transaction.max.timeout.ms"),
    idExpirationMs: config.number("transactional.id.expiration.ms"),
    idExpirationIntervalMs: config.number(
      "transaction.remove.expired.transaction.cleanup.interval.ms",
    ),
    abortRetryMs: config.number("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
    stateTopic: (brokerCount) => transactionStateTopic(config, brokerCount),
    brokerSessionTimeoutMs: config.number("broker.session.timeout.ms"),
  };
}

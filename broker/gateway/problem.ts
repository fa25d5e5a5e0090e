/**
 * How errors look over HTTP: problem details (RFC 9457), which also carry `error_code` and `message`, as Confluent's REST API
 * has them, so that clients of both kinds know what went wrong.
 */

import type { Context } from "hono";
import { HTTPException } from "hono/http-exception";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { WireError } from "../../protocol/bytes.ts";
import { ErrorCode, isRetriable } from "../../protocol/errors.ts";
import { ClientError } from "../client/client_error.ts";
import { KafkaError, UnknownTopicError } from "../client/kafka_client.ts";
import { NetworkError } from "../network.ts";

const TITLES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  421: "Misdirected Request",
  422: "Unprocessable Content",
  429: "Too Many Requests",
  500: "Internal Server Error",
  502: "Bad Gateway",
  503: "Service Unavailable",
};

/** The codes of Confluent's REST API that are more exact than the HTTP status. */
export const ConfluentCode = {
  kafkaBadRequest: 40002,
  notAuthorized: 40301,
  topicNotFound: 40401,
  partitionNotFound: 40402,
  unknownTopicOrPartition: 40403,
  payload: 42206,
  kafka: 50002,
  retriable: 50003,
  brokerNotAvailable: 50302,
} as const;

/** What is wrong, before it becomes an answer. */
export interface Fault {
  readonly status: ContentfulStatusCode;
  /** Confluent's code; the status where it has none. */
  readonly errorCode: number;
  readonly detail: string;
}

/** A request that cannot be answered as asked. */
export class ProblemError extends Error {
  override name = "ProblemError";
  readonly fault: Fault;

  constructor(status: ContentfulStatusCode, detail: string, errorCode: number = status) {
    super(detail);
    this.fault = { status, errorCode, detail };
  }
}

/** An answer in the form of RFC 9457. */
export function problem(
  context: Context,
  status: ContentfulStatusCode,
  detail: string,
  errorCode: number = status,
): Response {
  context.header("Content-Type", "application/problem+json");
  if (status === 429 || status === 503) context.header("Retry-After", "1");
  return context.body(
    JSON.stringify({
      type: "about:blank",
      title: TITLES[status] ?? "Error",
      status,
      detail,
      error_code: errorCode,
      message: detail,
    }),
    status,
  );
}

/** What an error says to whoever asked; null for one that is a bug of ours. */
export function faultOf(error: unknown): Fault | null {
  if (error instanceof ProblemError) return error.fault;
  if (error instanceof HTTPException) {
    return { status: error.status, errorCode: error.status, detail: error.message };
  }
  if (error instanceof KafkaError) return kafkaFault(error);
  if (error instanceof UnknownTopicError) {
    const errorCode = ConfluentCode.unknownTopicOrPartition;
    return { status: 404, errorCode, detail: `topic ${error.topic} does not exist` };
  }
  if (error instanceof NetworkError) {
    return { status: 503, errorCode: ConfluentCode.brokerNotAvailable, detail: error.message };
  }
  // What is handed in is encoded before anybody sees it: a text may be too long for the protocol.
  if (error instanceof ClientError || error instanceof WireError) {
    return { status: 400, errorCode: ConfluentCode.kafkaBadRequest, detail: error.message };
  }
  return null;
}

/** Errors of the protocol that have a status of their own. */
const KAFKA_FAULTS: ReadonlyMap<number, Pick<Fault, "status" | "errorCode">> = new Map(
  ([
    [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 404, ConfluentCode.unknownTopicOrPartition],
    [ErrorCode.UNKNOWN_TOPIC_ID, 404, ConfluentCode.unknownTopicOrPartition],
    [ErrorCode.GROUP_ID_NOT_FOUND, 404, 404],
    [ErrorCode.TOPIC_AUTHORIZATION_FAILED, 403, ConfluentCode.notAuthorized],
    [ErrorCode.GROUP_AUTHORIZATION_FAILED, 403, ConfluentCode.notAuthorized],
    [ErrorCode.CLUSTER_AUTHORIZATION_FAILED, 403, ConfluentCode.notAuthorized],
    [ErrorCode.NON_EMPTY_GROUP, 409, 409],
    [ErrorCode.UNKNOWN_MEMBER_ID, 409, 409],
    [ErrorCode.MESSAGE_TOO_LARGE, 413, 413],
    [ErrorCode.RECORD_LIST_TOO_LARGE, 413, 413],
    [ErrorCode.UNKNOWN_SERVER_ERROR, 500, ConfluentCode.kafka],
  ] as const).map(([code, status, errorCode]) => [code, { status, errorCode }]),
);

function kafkaFault({ code, message: detail }: KafkaError): Fault {
  const known = KAFKA_FAULTS.get(code);
  if (known !== undefined) return { ...known, detail };
  if (isRetriable(code)) return { status: 503, errorCode: ConfluentCode.retriable, detail };
  return { status: 400, errorCode: ConfluentCode.kafkaBadRequest, detail };
}

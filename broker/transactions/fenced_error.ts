/** The error of a producer that another has taken over from, in words that a version of a request knows (KIP-588). */

import { ErrorCode } from "../../protocol/errors.ts";

/** Of AddPartitionsToTxn, AddOffsetsToTxn and EndTxn alike. */
const FIRST_FENCED_VERSION = 2;

/** The same error, but INVALID_PRODUCER_EPOCH for PRODUCER_FENCED where the version does not know it. */
export function fencedError(
  error: ErrorCode,
  apiVersion: number,
  firstFencedVersion = FIRST_FENCED_VERSION,
): ErrorCode {
  return error === ErrorCode.PRODUCER_FENCED && apiVersion < firstFencedVersion
    ? ErrorCode.INVALID_PRODUCER_EPOCH
    : error;
}

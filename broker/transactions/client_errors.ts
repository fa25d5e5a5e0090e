/** Errors of transactions in words that a version of a request knows. */

import { ErrorCode } from "../../protocol/errors.ts";

/** Of AddPartitionsToTxn, AddOffsetsToTxn and EndTxn alike. */
const FIRST_FENCED_VERSION = 2;

/** The same error, but INVALID_PRODUCER_EPOCH for PRODUCER_FENCED where the version does not know it (KIP-588). */
export function fencedError(
  error: ErrorCode,
  apiVersion: number,
  firstFencedVersion = FIRST_FENCED_VERSION,
): ErrorCode {
  return error === ErrorCode.PRODUCER_FENCED && apiVersion < firstFencedVersion
    ? ErrorCode.INVALID_PRODUCER_EPOCH
    : error;
}

/** The same error, but INVALID_TXN_STATE for TRANSACTION_ABORTABLE where the version does not know it (KIP-890). */
export function abortableError(
  error: ErrorCode,
  apiVersion: number,
  firstAbortableVersion: number,
): ErrorCode {
  return error === ErrorCode.TRANSACTION_ABORTABLE && apiVersion < firstAbortableVersion
    ? ErrorCode.INVALID_TXN_STATE
    : error;
}

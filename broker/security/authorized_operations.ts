/**
 * What a client may do with a resource, as the bit field that several answers carry on request.
 *
 * There is no authorizer yet, so everybody may do whatever the kind of resource knows.
 *
 * Source: KIP-430; bit n stands for Kafka's AclOperation of code n.
 */

const operationBit = {
  read: 1 << 3,
  write: 1 << 4,
  create: 1 << 5,
  delete: 1 << 6,
  alter: 1 << 7,
  describe: 1 << 8,
  clusterAction: 1 << 9,
  describeConfigs: 1 << 10,
  alterConfigs: 1 << 11,
  idempotentWrite: 1 << 12,
} as const;

function bits(...operations: readonly (keyof typeof operationBit)[]): number {
  return operations.reduce((field, operation) => field | operationBit[operation], 0);
}

/** All operations that each kind of resource knows. */
export const allOperations = {
  topic: bits(
    "read",
    "write",
    "create",
    "delete",
    "alter",
    "describe",
    "describeConfigs",
    "alterConfigs",
  ),
  group: bits("read", "delete", "describe", "describeConfigs", "alterConfigs"),
  cluster: bits(
    "create",
    "alter",
    "describe",
    "clusterAction",
    "describeConfigs",
    "alterConfigs",
    "idempotentWrite",
  ),
} as const;

/** What stands in an answer whose asker did not ask. */
export const OPERATIONS_NOT_ASKED = -2147483648;

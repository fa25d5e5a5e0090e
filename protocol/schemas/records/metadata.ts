/**
 * Records of `__cluster_metadata` (KIP-631): the whole state of a cluster is what they add up to.
 *
 * In the log a frame version, the type (the apiKey below) and the version stand before the fields,
 * as varints.
 *
 * Versions:
 *   PartitionRecord, PartitionChangeRecord  1 directories (KIP-858), 2 eligible leader
 *       replicas (KIP-966)
 *   RegisterBrokerRecord  1 inControlledShutdown, 2 isMigratingZkBroker (KIP-866), 3 logDirs
 *       (KIP-858),
 *                         4 cordonedLogDirs (KIP-1066)
 *   BrokerRegistrationChangeRecord  1 inControlledShutdown, 2 logDirs (KIP-858), 3
 *       cordonedLogDirs (KIP-1066)
 */

import {
  array,
  bool,
  bytes,
  type Decoded,
  float64,
  int16,
  int32,
  int64,
  int8,
  message,
  string,
  uint16,
  uuid,
} from "../../schema.ts";

/** A broker has registered. */
export const registerBrokerRecord = message(
  { name: "RegisterBrokerRecord", apiKey: 0, versions: "0-4", flexible: "0+" },
  {
    brokerId: int32("0+", { entity: "brokerId" }),
    isMigratingZkBroker: bool("2+", { default: false }),
    incarnationId: uuid("0+"),
    brokerEpoch: int64("0+"),
    endPoints: array("0+", {
      name: string("0+", { mapKey: true }),
      host: string("0+"),
      port: uint16("0+"),
      securityProtocol: int16("0+"),
    }),
    features: array("0+", {
      name: string("0+", { mapKey: true }),
      minSupportedVersion: int16("0+"),
      maxSupportedVersion: int16("0+"),
    }),
    rack: string("0+", { nullable: "0+" }),
    fenced: bool("0+", { default: true }),
    inControlledShutdown: bool("1+", { default: false }),
    logDirs: array("3+", "uuid", { tag: 0, tagged: "3+" }),
    cordonedLogDirs: array("4+", "uuid", { nullable: "4+", default: null, tag: 1, tagged: "4+" }),
  },
);
export type RegisterBrokerRecord = Decoded<typeof registerBrokerRecord>;

/** A broker was removed. */
export const unregisterBrokerRecord = message(
  { name: "UnregisterBrokerRecord", apiKey: 1, versions: "0", flexible: "0+" },
  {
    brokerId: int32("0+", { entity: "brokerId" }),
    brokerEpoch: int64("0+"),
  },
);
export type UnregisterBrokerRecord = Decoded<typeof unregisterBrokerRecord>;

/** A topic was created. */
export const topicRecord = message(
  { name: "TopicRecord", apiKey: 2, versions: "0", flexible: "0+" },
  {
    name: string("0+", { entity: "topicName" }),
    topicId: uuid("0+"),
  },
);
export type TopicRecord = Decoded<typeof topicRecord>;

/** A partition, whole. */
export const partitionRecord = message(
  { name: "PartitionRecord", apiKey: 3, versions: "0-2", flexible: "0+" },
  {
    partitionId: int32("0+", { default: -1 }),
    topicId: uuid("0+"),
    replicas: array("0+", "int32", { entity: "brokerId" }),
    isr: array("0+", "int32"),
    removingReplicas: array("0+", "int32", { entity: "brokerId" }),
    addingReplicas: array("0+", "int32", { entity: "brokerId" }),
    leader: int32("0+", { default: -1, entity: "brokerId" }),
    leaderRecoveryState: int8("0+", { default: 0, tag: 0, tagged: "0+" }),
    leaderEpoch: int32("0+", { default: -1 }),
    partitionEpoch: int32("0+", { default: -1 }),
    directories: array("1+", "uuid"),
    eligibleLeaderReplicas: array("2+", "int32", {
      nullable: "2+",
      default: null,
      tag: 1,
      tagged: "2+",
      entity: "brokerId",
    }),
    lastKnownElr: array("2+", "int32", {
      nullable: "2+",
      default: null,
      tag: 2,
      tagged: "2+",
      entity: "brokerId",
    }),
  },
);
export type PartitionRecord = Decoded<typeof partitionRecord>;

/** One setting of a resource was set, or with null deleted. */
export const configRecord = message(
  { name: "ConfigRecord", apiKey: 4, versions: "0", flexible: "0+" },
  {
    resourceType: int8("0+"),
    resourceName: string("0+"),
    name: string("0+"),
    value: string("0+", { nullable: "0+" }),
  },
);
export type ConfigRecord = Decoded<typeof configRecord>;

/** Parts of a partition changed; fields that did not are absent. */
export const partitionChangeRecord = message(
  { name: "PartitionChangeRecord", apiKey: 5, versions: "0-2", flexible: "0+" },
  {
    partitionId: int32("0+", { default: -1 }),
    topicId: uuid("0+"),
    isr: array("0+", "int32", {
      nullable: "0+",
      default: null,
      tag: 0,
      tagged: "0+",
      entity: "brokerId",
    }),
    leader: int32("0+", { default: -2, tag: 1, tagged: "0+", entity: "brokerId" }),
    replicas: array("0+", "int32", {
      nullable: "0+",
      default: null,
      tag: 2,
      tagged: "0+",
      entity: "brokerId",
    }),
    removingReplicas: array("0+", "int32", {
      nullable: "0+",
      default: null,
      tag: 3,
      tagged: "0+",
      entity: "brokerId",
    }),
    addingReplicas: array("0+", "int32", {
      nullable: "0+",
      default: null,
      tag: 4,
      tagged: "0+",
      entity: "brokerId",
    }),
    leaderRecoveryState: int8("0+", { default: -1, tag: 5, tagged: "0+" }),
    directories: array("1+", "uuid", { nullable: "1+", default: null, tag: 8, tagged: "1+" }),
    eligibleLeaderReplicas: array("2+", "int32", {
      nullable: "2+",
      default: null,
      tag: 6,
      tagged: "2+",
      entity: "brokerId",
    }),
    lastKnownElr: array("2+", "int32", {
      nullable: "2+",
      default: null,
      tag: 7,
      tagged: "2+",
      entity: "brokerId",
    }),
  },
);
export type PartitionChangeRecord = Decoded<typeof partitionChangeRecord>;

/** A broker was fenced. Written by early versions only. */
export const fenceBrokerRecord = message(
  { name: "FenceBrokerRecord", apiKey: 7, versions: "0", flexible: "0+" },
  {
    id: int32("0+", { entity: "brokerId" }),
    epoch: int64("0+"),
  },
);
export type FenceBrokerRecord = Decoded<typeof fenceBrokerRecord>;

/** A broker was unfenced. Written by early versions only. */
export const unfenceBrokerRecord = message(
  { name: "UnfenceBrokerRecord", apiKey: 8, versions: "0", flexible: "0+" },
  {
    id: int32("0+", { entity: "brokerId" }),
    epoch: int64("0+"),
  },
);
export type UnfenceBrokerRecord = Decoded<typeof unfenceBrokerRecord>;

/** A topic was deleted, and its partitions with it. */
export const removeTopicRecord = message(
  { name: "RemoveTopicRecord", apiKey: 9, versions: "0", flexible: "0+" },
  {
    topicId: uuid("0+"),
  },
);
export type RemoveTopicRecord = Decoded<typeof removeTopicRecord>;

/** A delegation token was made or renewed. */
export const delegationTokenRecord = message(
  { name: "DelegationTokenRecord", apiKey: 10, versions: "0", flexible: "0+" },
  {
    owner: string("0+"),
    requester: string("0+"),
    renewers: array("0+", "string"),
    issueTimestamp: int64("0+"),
    maxTimestamp: int64("0+"),
    expirationTimestamp: int64("0+"),
    tokenId: string("0+"),
  },
);
export type DelegationTokenRecord = Decoded<typeof delegationTokenRecord>;

/** A SCRAM credential was set. */
export const userScramCredentialRecord = message(
  { name: "UserScramCredentialRecord", apiKey: 11, versions: "0", flexible: "0+" },
  {
    name: string("0+"),
    mechanism: int8("0+"),
    salt: bytes("0+"),
    storedKey: bytes("0+"),
    serverKey: bytes("0+"),
    iterations: int32("0+"),
  },
);
export type UserScramCredentialRecord = Decoded<typeof userScramCredentialRecord>;

/** A feature level was set. */
export const featureLevelRecord = message(
  { name: "FeatureLevelRecord", apiKey: 12, versions: "0", flexible: "0+" },
  {
    name: string("0+"),
    featureLevel: int16("0+"),
  },
);
export type FeatureLevelRecord = Decoded<typeof featureLevelRecord>;

/** A quota was set or removed. */
export const clientQuotaRecord = message(
  { name: "ClientQuotaRecord", apiKey: 14, versions: "0", flexible: "0+" },
  {
    entity: array("0+", {
      entityType: string("0+"),
      entityName: string("0+", { nullable: "0+" }),
    }),
    key: string("0+"),
    value: float64("0+"),
    remove: bool("0+"),
  },
);
export type ClientQuotaRecord = Decoded<typeof clientQuotaRecord>;

/** A block of producer ids was given out. */
export const producerIdsRecord = message(
  { name: "ProducerIdsRecord", apiKey: 15, versions: "0", flexible: "0+" },
  {
    brokerId: int32("0+", { entity: "brokerId" }),
    brokerEpoch: int64("0+", { default: -1 }),
    nextProducerId: int64("0+"),
  },
);
export type ProducerIdsRecord = Decoded<typeof producerIdsRecord>;

/** Parts of a broker's registration changed. */
export const brokerRegistrationChangeRecord = message(
  { name: "BrokerRegistrationChangeRecord", apiKey: 17, versions: "0-3", flexible: "0+" },
  {
    brokerId: int32("0+", { entity: "brokerId" }),
    brokerEpoch: int64("0+"),
    fenced: int8("0+", { tag: 0, tagged: "0+" }),
    inControlledShutdown: int8("1+", { tag: 1, tagged: "1+" }),
    logDirs: array("2+", "uuid", { tag: 2, tagged: "2+" }),
    cordonedLogDirs: array("3+", "uuid", { nullable: "3+", default: null, tag: 3, tagged: "3+" }),
  },
);
export type BrokerRegistrationChangeRecord = Decoded<typeof brokerRegistrationChangeRecord>;

/** An access rule was added. */
export const accessControlEntryRecord = message(
  { name: "AccessControlEntryRecord", apiKey: 18, versions: "0", flexible: "0+" },
  {
    id: uuid("0+"),
    resourceType: int8("0+"),
    resourceName: string("0+"),
    patternType: int8("0+"),
    principal: string("0+"),
    host: string("0+"),
    operation: int8("0+"),
    permissionType: int8("0+"),
  },
);
export type AccessControlEntryRecord = Decoded<typeof accessControlEntryRecord>;

/** An access rule was removed. */
export const removeAccessControlEntryRecord = message(
  { name: "RemoveAccessControlEntryRecord", apiKey: 19, versions: "0", flexible: "0+" },
  {
    id: uuid("0+"),
  },
);
export type RemoveAccessControlEntryRecord = Decoded<typeof removeAccessControlEntryRecord>;

/** Nothing; it lets the log grow so that its end can be committed (KIP-835). */
export const noOpRecord = message(
  { name: "NoOpRecord", apiKey: 20, versions: "0", flexible: "0+" },
  {},
);
export type NoOpRecord = Decoded<typeof noOpRecord>;

/** How far the move from ZooKeeper is (KIP-866). */
export const zkMigrationStateRecord = message(
  { name: "ZkMigrationStateRecord", apiKey: 21, versions: "0", flexible: "0+" },
  {
    zkMigrationState: int8("0+"),
  },
);
export type ZkMigrationStateRecord = Decoded<typeof zkMigrationStateRecord>;

/** A SCRAM credential was removed. */
export const removeUserScramCredentialRecord = message(
  { name: "RemoveUserScramCredentialRecord", apiKey: 22, versions: "0", flexible: "0+" },
  {
    name: string("0+"),
    mechanism: int8("0+"),
  },
);
export type RemoveUserScramCredentialRecord = Decoded<typeof removeUserScramCredentialRecord>;

/** Records up to the end of the transaction belong together (KIP-868). */
export const beginTransactionRecord = message(
  { name: "BeginTransactionRecord", apiKey: 23, versions: "0", flexible: "0+" },
  {
    name: string("0+", { nullable: "0+", default: null, tag: 0, tagged: "0+" }),
  },
);
export type BeginTransactionRecord = Decoded<typeof beginTransactionRecord>;

/** The transaction of metadata records is complete (KIP-868). */
export const endTransactionRecord = message(
  { name: "EndTransactionRecord", apiKey: 24, versions: "0", flexible: "0+" },
  {},
);
export type EndTransactionRecord = Decoded<typeof endTransactionRecord>;

/** The transaction of metadata records is void (KIP-868). */
export const abortTransactionRecord = message(
  { name: "AbortTransactionRecord", apiKey: 25, versions: "0", flexible: "0+" },
  {
    reason: string("0+", { nullable: "0+", default: null, tag: 0, tagged: "0+" }),
  },
);
export type AbortTransactionRecord = Decoded<typeof abortTransactionRecord>;

/** A delegation token was removed. */
export const removeDelegationTokenRecord = message(
  { name: "RemoveDelegationTokenRecord", apiKey: 26, versions: "0", flexible: "0+" },
  {
    tokenId: string("0+"),
  },
);
export type RemoveDelegationTokenRecord = Decoded<typeof removeDelegationTokenRecord>;

/** A controller has registered (KIP-919). */
export const registerControllerRecord = message(
  { name: "RegisterControllerRecord", apiKey: 27, versions: "0", flexible: "0+" },
  {
    controllerId: int32("0+"),
    incarnationId: uuid("0+"),
    zkMigrationReady: bool("0+"),
    endPoints: array("0+", {
      name: string("0+", { mapKey: true }),
      host: string("0+"),
      port: uint16("0+"),
      securityProtocol: int16("0+"),
    }),
    features: array("0+", {
      name: string("0+", { mapKey: true }),
      minSupportedVersion: int16("0+"),
      maxSupportedVersion: int16("0+"),
    }),
  },
);
export type RegisterControllerRecord = Decoded<typeof registerControllerRecord>;

/** Eligible leader replicas were cleared, of one topic or of all (KIP-966). */
export const clearElrRecord = message(
  { name: "ClearElrRecord", apiKey: 28, versions: "0", flexible: "0+" },
  {
    topicName: string("0+", { entity: "topicName" }),
  },
);
export type ClearElrRecord = Decoded<typeof clearElrRecord>;

/** A controller was removed. */
export const unregisterControllerRecord = message(
  { name: "UnregisterControllerRecord", apiKey: 29, versions: "0", flexible: "0+" },
  {
    controllerId: int32("0+"),
  },
);
export type UnregisterControllerRecord = Decoded<typeof unregisterControllerRecord>;

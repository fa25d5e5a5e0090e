/**
 * Faults of the group coordinator planted on purpose, each of which the world of consumers of both protocols must notice
 * (`consumer_groups_world.ts`): if it does not, it looks away.
 *
 * Each is a member of one of the coordinator's classes that does otherwise while the test runs: as if a line of it were
 * missing or wrong.
 */

import { ConsumerGroup, type Upgrade } from "../../broker/groups/consumer_group.ts";
import {
  ConsumerGroupContents,
  ConsumerGroupState,
} from "../../broker/groups/consumer_group_state.ts";
import { GroupCoordinator } from "../../broker/groups/coordinator.ts";
import { GroupLoader } from "../../broker/groups/group_loader.ts";
import { ErrorCode } from "../../protocol/errors.ts";
import { patched } from "./planted_cluster_faults.ts";

/** Longer than any life, and a number of 32 bits. */
const NEVER_MS = 2e9;

/** A fault. */
export interface PlantedGroupFault {
  /** From which seed on it is looked for: it was noticed there. 1 when left out. */
  readonly firstSeed?: number;
  /** Changes the coordinator. Returns: what changes it back. */
  readonly patch: () => () => void;
}

function sessionsNeverEnd(): () => void {
  const consumerContext = GroupCoordinator.prototype.consumerContext;
  return patched(GroupCoordinator.prototype, "consumerContext", {
    value(this: GroupCoordinator, groupId: string) {
      const context = consumerContext.call(this, groupId);
      const settings = new Proxy(context.settings, {
        get: (target, name) => name === "sessionTimeoutMs" ? NEVER_MS : Reflect.get(target, name),
      });
      return { ...context, settings };
    },
  });
}

function strangersCommit(): () => void {
  const check = ConsumerGroup.prototype.checkOffsetCommit;
  return patched(ConsumerGroup.prototype, "checkOffsetCommit", {
    value(this: ConsumerGroup, ...[claim, what]: Parameters<ConsumerGroup["checkOffsetCommit"]>) {
      const error = check.call(this, claim, what);
      return error === ErrorCode.UNKNOWN_MEMBER_ID ? ErrorCode.NONE : error;
    },
  });
}

/** Members that let go of partitions may take as long as they like. */
function rebalancesNeverTimeOut(): () => void {
  const heartbeat = ConsumerGroup.prototype.heartbeat;
  return patched(ConsumerGroup.prototype, "heartbeat", {
    value(this: ConsumerGroup, ...[request, context]: Parameters<ConsumerGroup["heartbeat"]>) {
      const { rebalanceTimeoutMs: ms } = request;
      return heartbeat.call(
        this,
        { ...request, rebalanceTimeoutMs: ms < 0 ? ms : NEVER_MS },
        context,
      );
    },
  });
}

/** A member goes, and the group has the epoch that it had. */
function departuresCauseNoTarget(): () => void {
  const apply = ConsumerGroupState.prototype.apply;
  const isDeparture = new WeakSet<ConsumerGroupState>();
  return patched(ConsumerGroupState.prototype, "apply", {
    value(this: ConsumerGroupState, change: Parameters<ConsumerGroupState["apply"]>[0]) {
      if (change.kind === "group" && change.value !== null && isDeparture.has(this)) {
        return { ...change, value: { epoch: this.epoch, metadataHash: this.metadataHash } };
      }
      if (change.kind === "member" && change.value === null) isDeparture.add(this);
      else isDeparture.delete(this);
      return apply.call(this, change);
    },
  });
}

function loadingForgetsWhatMembersHave(): () => void {
  const restore = ConsumerGroup.restore;
  return patched(ConsumerGroup, "restore", {
    value(...[groupId, contents, context]: Parameters<typeof restore>) {
      contents.currents.clear();
      return restore.call(ConsumerGroup, groupId, contents, context);
    },
  });
}

function loadingSkipsTombstones(): () => void {
  let isLoading = false;
  const batch = GroupLoader.prototype.batch;
  const restoreBatch = patched(GroupLoader.prototype, "batch", {
    value(this: GroupLoader, ...[bytes, position]: Parameters<GroupLoader["batch"]>) {
      isLoading = true;
      batch.call(this, bytes, position);
      isLoading = false;
    },
  });
  const apply = ConsumerGroupContents.prototype.apply;
  const restoreApply = patched(ConsumerGroupContents.prototype, "apply", {
    value(this: ConsumerGroupContents, change: Parameters<ConsumerGroupContents["apply"]>[0]) {
      return isLoading && change.value === null ? change : apply.call(this, change);
    },
  });
  return () => {
    restoreBatch();
    restoreApply();
  };
}

/** A classic group goes over to the consumer protocol otherwise than it is. */
function upgrades(
  change: (members: Upgrade["members"]) => Upgrade["members"],
): () => void {
  const upgrade = ConsumerGroup.upgrade;
  return patched(ConsumerGroup, "upgrade", {
    value(...[group, context]: Parameters<typeof upgrade>) {
      return upgrade.call(ConsumerGroup, { ...group, members: change(group.members) }, context);
    },
  });
}

/**
 * The faults by what they do. That a commit in an epoch which is over is refused does not show here, since nothing that
 * a consumer has sent comes late; `consumer_coordinator_test.ts` has it.
 */
export const PLANTED_GROUP_FAULTS: Readonly<Record<string, PlantedGroupFault>> = {
  "partitions that are given out before their owner has let go of them": {
    patch: () => patched(ConsumerGroupState.prototype, "ownerOf", { value: () => undefined }),
  },
  "sessions that never end": { patch: sessionsNeverEnd },
  "rebalance timeouts that are forgotten": { firstSeed: 7, patch: rebalancesNeverTimeOut },
  "commits of those who are no members any more": { patch: strangersCommit },
  "departures after which no target is made": { patch: departuresCauseNoTarget },
  "loading that forgets what members have": {
    firstSeed: 8,
    patch: loadingForgetsWhatMembersHave,
  },
  "loading that skips tombstones": { firstSeed: 6, patch: loadingSkipsTombstones },
  "a migration that drops a member": {
    firstSeed: 4,
    patch: () => upgrades((members) => members.slice(1)),
  },
  "a migration that forgets what members have": {
    firstSeed: 4,
    patch: () =>
      upgrades((members) => members.map((each) => ({ ...each, assignment: new Uint8Array() }))),
  },
};

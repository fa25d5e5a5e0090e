/**
 * Who leads a partition that has no leader, once a broker is back.
 *
 * Apache Kafka takes the lead from a broker that it shuts down in good order, so that a directory of its may
 * name no leader for anything. A replica that has every committed record may lead: one of the ISR, or else
 * one that had left it while it was below the minimum (KIP-966). Nobody else does, whatever is lost by that.
 */

import type { MetadataImage } from "./metadata_image.ts";
import type { MetadataRecord } from "./metadata_records.ts";

/** The changes that give a broker the partitions that wait for it. */
export function electionsOf(image: MetadataImage, brokerId: number): MetadataRecord[] {
  const records: MetadataRecord[] = [];
  for (const { id: topicId, partitions } of image.topics()) {
    for (const { partition: partitionId, leader, isr, elr, lastKnownElr } of partitions) {
      if (leader !== -1) continue;
      const election = { partitionId, topicId, leader: brokerId };
      if (isr.includes(brokerId)) {
        records.push({ type: "PartitionChangeRecord", value: election });
      } else if (elr.includes(brokerId)) {
        const others = (ids: readonly number[]) => ids.filter((id) => id !== brokerId);
        records.push({
          type: "PartitionChangeRecord",
          value: {
            ...election,
            isr: [brokerId],
            eligibleLeaderReplicas: others(elr),
            lastKnownElr: others(lastKnownElr),
          },
        });
      }
    }
  }
  return records;
}

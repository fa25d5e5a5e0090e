/**
 * Body of the `.snapshot` files: the producers that a partition knew at an offset.
 *
 * In the file an int16 version stands before it; the CRC-32C is over what follows the crc field.
 */

import { array, type Decoded, int16, int32, int64, message, uint32 } from "../../schema.ts";

/** All producers of a partition. */
export const producerSnapshot = message(
  { name: "ProducerSnapshot", versions: "1", flexible: "none" },
  {
    crc: uint32("1"),
    producerEntries: array("1", {
      producerId: int64("1"),
      epoch: int16("1"),
      lastSequence: int32("1"),
      lastOffset: int64("1"),
      offsetDelta: int32("1"),
      timestamp: int64("1"),
      coordinatorEpoch: int32("1"),
      currentTxnFirstOffset: int64("1"),
    }),
  },
);
export type ProducerSnapshot = Decoded<typeof producerSnapshot>;

/**
 * AllocateProducerIds (key 67): the controller gives a broker a block of producer ids (KIP-730).
 */

import { type Decoded, int16, int32, int64, message } from "../schema.ts";

/** Request of AllocateProducerIds. */
export const allocateProducerIdsRequest = message(
  { name: "AllocateProducerIdsRequest", apiKey: 67, versions: "0", flexible: "0+" },
  {
    brokerId: int32("0+", { entity: "brokerId" }),
    brokerEpoch: int64("0+", { default: -1 }),
  },
);
export type AllocateProducerIdsRequest = Decoded<typeof allocateProducerIdsRequest>;

/** Answer of AllocateProducerIds. */
export const allocateProducerIdsResponse = message(
  { name: "AllocateProducerIdsResponse", apiKey: 67, versions: "0", flexible: "0+" },
  {
    throttleTimeMs: int32("0+"),
    errorCode: int16("0+"),
    producerIdStart: int64("0+", { entity: "producerId" }),
    producerIdLen: int32("0+"),
  },
);
export type AllocateProducerIdsResponse = Decoded<typeof allocateProducerIdsResponse>;

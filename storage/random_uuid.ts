/** Fresh UUIDs for clusters, directories, topics and incarnations. */

import { formatUuid } from "../protocol/bytes.ts";
import type { Uuid } from "../protocol/types.ts";
import type { Random } from "./platform.ts";

/**
 * A random version-4 UUID in Kafka's text form.
 *
 * Never begins with "-", which command lines would take for an option, and so is never one of the ids
 * that Kafka reserves. Source: Kafka's Uuid.randomUuid.
 */
export function randomUuid(random: Random): Uuid {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  for (;;) {
    for (let at = 0; at < 16; at += 4) view.setUint32(at, random.uint32());
    view.setUint8(6, (view.getUint8(6) & 0x0f) | 0x40);
    view.setUint8(8, (view.getUint8(8) & 0x3f) | 0x80);
    const uuid = formatUuid(bytes);
    if (!uuid.startsWith("-")) return uuid;
  }
}

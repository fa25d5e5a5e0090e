/** What stands in the paths of the REST API: each name in braces with its schema. */

import { z } from "zod";

const MAX_INT32 = 0x7fff_ffff;
/** Kafka's own bound, of file names. */
const MAX_TOPIC_NAME_LENGTH = 249;
/** The head of a request has room for three of them with every character escaped. */
const MAX_TEXT_LENGTH = 300;

/** A number in a path. */
const index = z.coerce.number().int().min(0).max(MAX_INT32);
const text = z.string().min(1).max(MAX_TEXT_LENGTH);

/** A topic by its name. */
export const topicName = z.string().min(1).max(MAX_TOPIC_NAME_LENGTH);

/** Schemas by the names in braces. */
export const pathSchemas = {
  cluster_id: text,
  broker_id: index,
  topic_name: topicName,
  topic: topicName,
  partition_id: index,
  name: text,
  consumer_group_id: text,
  group: text,
  consumer_id: text,
} as const;

/** Where things of the cluster have their pages. Names of groups may hold anything, so they are no part of a path. */

/** The page of a topic, or one of its views. */
export function topicPath(topic: string, view = ""): string {
  return `/console/topics/${encodeURIComponent(topic)}${view === "" ? "" : `/${view}`}`;
}

/** The page of a group. */
export function groupPath(group: string): string {
  return `/console/group?${new URLSearchParams({ id: group })}`;
}

/** The form that changes where a group goes on. */
export function resetPath(group: string): string {
  return `/console/group/reset?${new URLSearchParams({ id: group })}`;
}

/** The page of a broker. */
export function brokerPath(nodeId: number): string {
  return `/console/brokers/${nodeId}`;
}

/**
 * What a node is in its cluster: broker, controller or both, and with whom it keeps the metadata.
 *
 *     no process.roles          both, alone: a quorum of one, no listener for controllers
 *     broker,controller         both; a listener for clients and one for controllers
 *     controller                the listener for controllers alone: no partitions, no clients
 *     broker                    the listeners for clients; controllers are elsewhere
 *
 * Who votes is said by `controller.quorum.voters`, for good, or by the metadata log, which
 * `controller.quorum.bootstrap.servers` leads to. The rules are those of Kafka's KafkaConfig.
 *
 * Source: KIP-595, KIP-631, KIP-853.
 */

import { type Address, isWildcard, type ListenerAddress, parseAddress } from "./listeners.ts";
import { parseList } from "./setting.ts";

/** What this node is. */
export interface NodeRoles {
  readonly isBroker: boolean;
  readonly isController: boolean;
  /** No other node belongs to the cluster: `process.roles` is not set. */
  readonly isAlone: boolean;
}

/** A voter of `controller.quorum.voters`. */
export interface StaticVoter extends Address {
  readonly id: number;
}

/** What the rules look at. */
export interface RoleSettings {
  readonly nodeId: number;
  readonly roles: NodeRoles;
  readonly voters: readonly StaticVoter[];
  readonly bootstrapServers: readonly Address[];
  /** All of `listeners`. */
  readonly listeners: readonly ListenerAddress[];
  /** Of `advertised.listeners`. */
  readonly advertised: readonly ListenerAddress[];
  /** Of `controller.listener.names`, upper-cased, in their order. */
  readonly controllerListenerNames: readonly string[];
}

/** The roles in a value of `process.roles`. */
export function parseRoles(words: readonly string[]): NodeRoles {
  if (words.length === 0) return { isBroker: true, isController: true, isAlone: true };
  return {
    isBroker: words.includes("broker"),
    isController: words.includes("controller"),
    isAlone: false,
  };
}

/** `id@host:port`; null when it is not one. */
function parseVoter(text: string): StaticVoter | null {
  const match = /^(\d{1,10})@(.+)$/.exec(text.trim());
  const address = match === null ? null : parseAddress(match[2]!);
  return address === null ? null : { id: Number(match![1]), ...address };
}

/** The voters in a value that has passed `votersProblem`. */
export function parseVoters(words: readonly string[]): StaticVoter[] {
  return words.map(parseVoter).filter((voter) => voter !== null);
}

/** What is wrong with a value of `controller.quorum.voters`; null when it is fine. */
export function votersProblem(text: string): string | null {
  const ids = new Set<number>();
  for (const word of parseList(text)) {
    const voter = parseVoter(word);
    if (voter === null) {
      return `'${word}' is not a voter of the form id@host:port, such as 1@127.0.0.1:9093`;
    }
    if (isUnreachable(voter)) return `'${word}' has no address that other nodes could connect to`;
    if (ids.has(voter.id)) return `Each voter must have a different id, found ${voter.id} twice`;
    ids.add(voter.id);
  }
  return null;
}

/** What is wrong with a value of `controller.quorum.bootstrap.servers`; null when it is fine. */
export function bootstrapServersProblem(text: string): string | null {
  for (const word of parseList(text)) {
    const address = parseAddress(word);
    if (address === null) {
      return `'${word}' is not an address of the form host:port, such as 127.0.0.1:9093`;
    }
    if (isUnreachable(address)) return `'${word}' is no address that one could connect to`;
  }
  return null;
}

function isUnreachable({ host, port }: Address): boolean {
  return isWildcard(host) || port === 0;
}

/**
 * Where the other nodes reach a listener of this controller: as it is advertised, else as the voters or the
 * bootstrap servers have it, else where it is bound. Null for a wildcard of which nothing is known.
 */
export function controllerAddress(
  { host, port, name }: ListenerAddress,
  { nodeId, voters, bootstrapServers, advertised }: RoleSettings,
): Address | null {
  const known = advertised.find((listener) => listener.name === name) ??
    voters.find(({ id }) => id === nodeId);
  if (known !== undefined) return { host: known.host, port: known.port };
  if (!isWildcard(host)) return { host, port };
  const [only, ...others] = bootstrapServers.filter((server) => server.port === port);
  return only === undefined || others.length > 0 ? null : only;
}

/**
 * True for the node that begins a cluster without `controller.quorum.voters`: a controller whose one
 * bootstrap server is itself. Every other new node joins the cluster that it finds there.
 */
export function beginsCluster(settings: RoleSettings): boolean {
  const { roles, voters, bootstrapServers, listeners, controllerListenerNames } = settings;
  const [server, ...others] = bootstrapServers;
  if (!roles.isController || voters.length > 0) return false;
  if (server === undefined || others.length > 0) return false;
  const listener = listeners.find(({ name }) => name === controllerListenerNames[0]);
  const own = listener === undefined ? null : controllerAddress(listener, settings);
  if (own === null || own.port !== server.port) return false;
  return own.host === server.host || (isLoopback(own.host) && isLoopback(server.host));
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host.startsWith("127.");
}

/** What is wrong with settings that are fine one by one. Source: Kafka's KafkaConfig. */
export function roleProblems(settings: RoleSettings): string[] {
  const { roles, voters, bootstrapServers } = settings;
  if (roles.isAlone) {
    return voters.length === 0 && bootstrapServers.length === 0 ? [] : [
      "Cannot use controller.quorum.voters or controller.quorum.bootstrap.servers: process.roles is not " +
      "set; set it to broker,controller, or to one of them",
    ];
  }
  const problems: string[] = [];
  if (voters.length === 0 && bootstrapServers.length === 0) {
    problems.push(
      "Cannot use process.roles: with it, controller.quorum.voters must name the controllers, or " +
        "controller.quorum.bootstrap.servers must say where some are",
    );
  }
  problems.push(...voterProblems(settings), ...listenerProblems(settings));
  return problems;
}

function voterProblems({ nodeId, roles, voters }: RoleSettings): string[] {
  if (voters.length === 0) return [];
  const isVoter = voters.some(({ id }) => id === nodeId);
  const ids = voters.map(({ id }) => id).join(", ");
  if (roles.isController && !isVoter) {
    return [
      `Cannot use process.roles: node ${nodeId} is a controller and must be among ` +
      `controller.quorum.voters, which are ${ids}`,
    ];
  }
  if (!roles.isController && isVoter) {
    return [
      `Cannot use process.roles: node ${nodeId} is a broker alone and must not be among ` +
      `controller.quorum.voters, which are ${ids}`,
    ];
  }
  return [];
}

function listenerProblems(settings: RoleSettings): string[] {
  const { roles, listeners, controllerListenerNames: names } = settings;
  const own = listeners.filter(({ name }) => names.includes(name));
  const missing = names.filter((name) => !listeners.some((listener) => listener.name === name));
  if (names.length === 0) {
    return [
      "Cannot use process.roles: with it, controller.listener.names must name the controllers' listener",
    ];
  }
  if (!roles.isController) {
    return own.length === 0 ? [] : [
      `Cannot use controller.listener.names: listeners has ${
        own.map(({ name }) => name).join(", ")
      }, ` +
      "and this node is no controller",
    ];
  }
  if (missing.length > 0) {
    return [
      `Cannot use controller.listener.names: listeners has no ${
        missing.join(", ")
      }, and this node is a ` +
      "controller",
    ];
  }
  const others = listeners.filter(({ name }) => !names.includes(name)).map(({ name }) => name);
  if (!roles.isBroker && others.length > 0) {
    return [
      `Cannot use listeners: ${
        others.join(", ")
      } is not among controller.listener.names, and this node ` +
      "is a controller alone",
    ];
  }
  return own.filter((listener) => controllerAddress(listener, settings) === null).map(({ name }) =>
    `Cannot open listener ${name}: other nodes cannot connect to a wildcard; set advertised.listeners ` +
    `to ${name}://HOST:PORT with an address by which they reach this machine`
  );
}

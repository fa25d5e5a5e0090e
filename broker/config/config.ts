/**
 * The settings of this broker: read once at start from flags, environment and files, then topped by what
 * the cluster says while it runs.
 *
 * Precedence, highest first, as in Kafka (KIP-226): this broker's dynamic values, the cluster's dynamic
 * values, what was given at start (flag, then environment, then files, the later file over the earlier),
 * the default. Values are text everywhere; `number`, `boolean` and `list` read them at the moment of the
 * call, so what they give follows a dynamic change.
 */

import { BROKER_SETTINGS, type BrokerSettingName } from "./broker_settings.ts";
import { CONSUMER_GROUP_BOUNDS } from "./group_settings.ts";
import {
  type Address,
  type ListenerAddress,
  parseAddresses,
  parseListeners,
  parseSecurityProtocolMap,
  SECURITY_PROTOCOLS,
} from "./listeners.ts";
import {
  type NodeRoles,
  parseRoles,
  parseVoters,
  roleProblems,
  type RoleSettings,
} from "./roles.ts";
import {
  allowedValues,
  parseBoolean,
  parseList,
  parseNumber,
  type Setting,
  settingProblem,
} from "./setting.ts";
import { findSetting, isUnused, type NamesOf, suggestion, type ValueOf } from "./settings.ts";
import {
  type Assignment,
  ConfigError,
  type ConfigFile,
  parseConfigFile,
  parseEnvironment,
} from "./sources.ts";

/** Where a value comes from, as DescribeConfigs numbers it. Source: Kafka's ConfigEntry.ConfigSource. */
export const ConfigSource = {
  UNKNOWN: 0,
  DYNAMIC_TOPIC_CONFIG: 1,
  DYNAMIC_BROKER_CONFIG: 2,
  DYNAMIC_DEFAULT_BROKER_CONFIG: 3,
  STATIC_BROKER_CONFIG: 4,
  DEFAULT_CONFIG: 5,
  DYNAMIC_BROKER_LOGGER_CONFIG: 6,
  CLIENT_METRICS_CONFIG: 7,
  GROUP_CONFIG: 8,
} as const;
/** One of the numbers of `ConfigSource`. */
export type ConfigSource = (typeof ConfigSource)[keyof typeof ConfigSource];

/** A value with its name and source. */
export interface SourcedValue {
  readonly name: string;
  readonly value: string;
  readonly source: ConfigSource;
}

/** What a broker is started with. Nothing is read from the process here. */
export interface ConfigInput {
  readonly flags?: Readonly<Record<string, string>>;
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** In order: a later file wins. */
  readonly files?: readonly ConfigFile[];
}

/** A listener of the Kafka protocol with its security protocol. */
export interface KafkaListener extends ListenerAddress {
  readonly securityProtocol: string;
}

const NOTHING: ReadonlyMap<string, string> = new Map();
/** Kafka settings that would seem to protect something and do not: refused instead of warned about. */
const REFUSED = ["authorizer.class.name", "ssl.client.auth", "sasl.enabled.mechanisms"];

/** All settings in force. */
export class Config {
  /** One sentence for each thing that was accepted and has no effect. */
  readonly warnings: readonly string[];
  readonly #static: ReadonlyMap<string, string>;
  #perBroker: ReadonlyMap<string, string> = NOTHING;
  #clusterWide: ReadonlyMap<string, string> = NOTHING;
  readonly #listeners = new Set<() => void>();

  private constructor(values: ReadonlyMap<string, string>, warnings: readonly string[]) {
    this.#static = values;
    this.warnings = warnings;
  }

  /** Errors: ConfigError with every problem found: unknown names, bad values, values that contradict. */
  static load({ flags = {}, environment = {}, files = [] }: ConfigInput): Config {
    const problems: string[] = [];
    const values = new Map<string, string>();
    const unused = new Set<string>();
    for (const assignment of collect({ flags, environment, files }, problems)) {
      const setting = findSetting("broker", assignment.name);
      if (setting !== null) {
        const problem = assignmentProblem(assignment, setting);
        if (problem === null) values.set(assignment.name, assignment.value.trim());
        else problems.push(problem);
        if (setting.pending === true) unused.add(assignment.name);
      } else if (isUnused(assignment.name)) {
        const problem = refusedProblem(assignment);
        if (problem === null) unused.add(assignment.name);
        else problems.push(problem);
      } else {
        problems.push(
          `Cannot use ${assignment.origin}: unknown setting '${assignment.name}', ` +
            suggestion(assignment.name),
        );
      }
    }
    const warnings = unused.size === 0 ? [] : [
      "These settings have no effect in this version of weir: " + [...unused].toSorted().join(", "),
    ];
    const config = new Config(values, warnings);
    if (problems.length === 0) problems.push(...config.#contradictions());
    if (problems.length > 0) throw new ConfigError([...new Set(problems)]);
    return config;
  }

  /** Exact for what a safe integer holds; beyond it the nearest safe integer. */
  number<Name extends NamesOf<"short" | "int" | "long" | "double">>(
    name: Name,
  ): ValueOf<Name, number> {
    const text = this.text(name);
    return (text === null ? null : parseNumber(text)) as ValueOf<Name, number>;
  }

  boolean(name: NamesOf<"boolean">): boolean {
    return parseBoolean(this.text(name) ?? "false");
  }

  string<Name extends NamesOf<"string">>(name: Name): ValueOf<Name, string> {
    return this.text(name) as ValueOf<Name, string>;
  }

  list<Name extends NamesOf<"list">>(name: Name): ValueOf<Name, readonly string[]> {
    const text = this.text(name);
    return (text === null ? null : parseList(text)) as ValueOf<Name, readonly string[]>;
  }

  /** The text in force, exactly as given; null when neither set nor defaulted. */
  text(name: BrokerSettingName): string | null {
    return this.values(name)[0]?.value ?? null;
  }

  /** Every value of the setting, the one in force first. Empty when neither set nor defaulted. */
  values(name: string): SourcedValue[] {
    const found: SourcedValue[] = [];
    const add = (value: string | null | undefined, source: ConfigSource) => {
      if (value !== undefined && value !== null) found.push({ name, value, source });
    };
    add(this.#perBroker.get(name), ConfigSource.DYNAMIC_BROKER_CONFIG);
    add(this.#clusterWide.get(name), ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG);
    add(this.#static.get(name), ConfigSource.STATIC_BROKER_CONFIG);
    add(findSetting("broker", name)?.default, ConfigSource.DEFAULT_CONFIG);
    return found;
  }

  /**
   * Takes the values that the cluster's metadata holds for this broker and for all brokers, in place of
   * those taken before. What cannot be used is left out.
   *
   * Returns: one sentence for each value left out.
   */
  setDynamic(
    { perBroker = NOTHING, clusterWide = NOTHING }: {
      readonly perBroker?: ReadonlyMap<string, string>;
      readonly clusterWide?: ReadonlyMap<string, string>;
    },
  ): string[] {
    const problems: string[] = [];
    const usable = (values: ReadonlyMap<string, string>, target: "broker" | "cluster") => {
      const kept = new Map<string, string>();
      for (const [name, value] of values) {
        const problem = brokerConfigProblem(name, value, target);
        if (problem === null) kept.set(name, value.trim());
        else problems.push(problem);
      }
      return kept;
    };
    this.#perBroker = usable(perBroker, "broker");
    this.#clusterWide = usable(clusterWide, "cluster");
    for (const listener of this.#listeners) listener();
    return problems;
  }

  /** Calls `listener` after each `setDynamic`. Returns: what ends it. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What this node is in its cluster. */
  roles(): NodeRoles {
    return parseRoles(this.list("process.roles") ?? []);
  }

  /** Listeners for clients and brokers. An empty or wildcard host is every address. */
  listeners(): KafkaListener[] {
    const closed = new Set(this.controllerListenerNames());
    return this.#listenersAs((name) => !closed.has(name), (name) => name);
  }

  /** Listeners for other nodes and tools that speak to this node's controller; none where it is none. */
  controllerListeners(): KafkaListener[] {
    const { isAlone, isController } = this.roles();
    if (isAlone || !isController) return [];
    const open = new Set(this.controllerListenerNames());
    return this.#listenersAs(
      (name) => open.has(name),
      (name) => SECURITY_PROTOCOLS.includes(name) ? name : "PLAINTEXT",
    );
  }

  #listenersAs(
    isWanted: (name: string) => boolean,
    defaultProtocol: (name: string) => string,
  ): KafkaListener[] {
    const protocols = parseSecurityProtocolMap(this.string("listener.security.protocol.map"));
    return parseListeners(this.text("listeners") ?? "")
      .filter(({ name }) => isWanted(name))
      .map((listener) => ({
        ...listener,
        securityProtocol: protocols.get(listener.name) ?? defaultProtocol(listener.name),
      }));
  }

  /** Names of the controllers' listeners, of which nodes use the first among themselves. */
  controllerListenerNames(): string[] {
    return (this.list("controller.listener.names") ?? []).map((name) => name.toUpperCase());
  }

  /** Name of the listener that brokers use among themselves. */
  interBrokerListenerName(): string {
    return this.string("inter.broker.listener.name")?.toUpperCase() ?? this.listeners()[0]!.name;
  }

  /** What decides about this node's part in the quorum. */
  roleSettings(): RoleSettings {
    return {
      nodeId: this.number("node.id"),
      roles: this.roles(),
      voters: parseVoters(this.list("controller.quorum.voters")),
      bootstrapServers: parseAddresses(this.text("controller.quorum.bootstrap.servers") ?? ""),
      listeners: parseListeners(this.text("listeners") ?? ""),
      advertised: parseListeners(this.text("advertised.listeners") ?? ""),
      controllerListenerNames: this.controllerListenerNames(),
    };
  }

  /**
   * What clients of a listener are told to connect to; null where nothing is set, which means: the
   * address that the client itself reached.
   */
  advertisedListener(listenerName: string): Address | null {
    const advertised = parseListeners(this.text("advertised.listeners") ?? "");
    return advertised.find(({ name }) => name === listenerName.toUpperCase()) ?? null;
  }

  /** Where HTTP is served; empty for nowhere. */
  httpListeners(): Address[] {
    return parseAddresses(this.text("http.listeners") ?? "");
  }

  /** The directories that hold the data, at least one. */
  logDirectories(): readonly string[] {
    const directories = this.list("log.dirs") ?? [];
    return directories.length > 0 ? directories : this.list("log.dir");
  }

  /** What is wrong with values that are fine one by one. */
  #contradictions(): string[] {
    const problems: string[] = [];
    problems.push(...this.#listenerProblems(), ...roleProblems(this.roleSettings()));
    problems.push(...this.#directoryProblems());
    const ascending = [
      ["group.min.session.timeout.ms", "group.max.session.timeout.ms"],
      ...CONSUMER_GROUP_BOUNDS.flatMap((name) => [
        [`group.consumer.min.${name}`, `group.consumer.${name}`] as const,
        [`group.consumer.${name}`, `group.consumer.max.${name}`] as const,
      ]),
      ["group.consumer.heartbeat.interval.ms", "group.consumer.session.timeout.ms"],
    ] as const;
    for (const [lower, upper] of ascending) {
      if (this.number(lower) <= this.number(upper)) continue;
      problems.push(
        `Cannot use ${lower} ${this.number(lower)}: it is above ${upper} ${this.number(upper)}`,
      );
    }
    return problems;
  }

  /** What is wrong with a value of `cordoned.log.dirs`, or null. */
  cordonProblem(cordoned: readonly string[]): string | null {
    const directories = this.logDirectories();
    // Tools name a relative one by its absolute path, which is not known here.
    const hasRelative = directories.some((directory) => !directory.startsWith("/"));
    const isKnown = (directory: string) =>
      directory === "*" || directories.includes(directory) ||
      (hasRelative && directory.startsWith("/"));
    const unknown = cordoned.filter((directory) => !isKnown(directory));
    if (unknown.length === 0) return null;
    return "All entries in cordoned.log.dirs must be present in log.dirs or log.dir. " +
      `Missing entries: ${unknown.join(", ")}`;
  }

  #listenerProblems(): string[] {
    const problems: string[] = [];
    const listeners = this.listeners();
    const open = [...listeners, ...this.controllerListeners()];
    const names = new Set(open.map(({ name }) => name));
    const { isBroker } = this.roles();
    if (listeners.length === 0 && isBroker) {
      problems.push("Cannot use listeners: all of them are named in controller.listener.names");
    }
    for (const { name, securityProtocol } of open) {
      if (securityProtocol === "PLAINTEXT") continue;
      problems.push(
        `Cannot open listener ${name}: its security protocol is ${securityProtocol}, and only ` +
          `PLAINTEXT is served; use a PLAINTEXT listener, or map it with ` +
          `listener.security.protocol.map=${name}:PLAINTEXT`,
      );
    }
    // Alone, the listeners of controllers stay closed, and may be advertised as in a configuration of Kafka's.
    const known = new Set([...names, ...this.controllerListenerNames()]);
    for (const { name } of parseListeners(this.text("advertised.listeners") ?? "")) {
      if (known.has(name)) continue;
      problems.push(
        `Cannot advertise listener ${name}: listeners has no such name; it has ` +
          [...names].join(", "),
      );
    }
    const interBroker = this.string("inter.broker.listener.name")?.toUpperCase();
    const isMissing = !listeners.some(({ name }) => name === interBroker);
    if (interBroker !== undefined && isBroker && isMissing) {
      problems.push(
        `Cannot use inter.broker.listener.name ${interBroker}: listeners has no such name`,
      );
    }
    return problems;
  }

  #directoryProblems(): string[] {
    const problems: string[] = [];
    const directories = this.logDirectories();
    if (directories.length === 0) problems.push("Cannot use log.dir: it is empty");
    for (const [i, directory] of directories.entries()) {
      if (directories.indexOf(directory) === i) continue;
      problems.push(`Cannot use log.dirs: it names ${directory} twice`);
    }
    const problem = this.cordonProblem(this.list("cordoned.log.dirs"));
    if (problem !== null) problems.push(problem);
    return problems;
  }
}

/** All assignments, those that win last. */
function collect(input: Required<ConfigInput>, problems: string[]): Assignment[] {
  const assignments: Assignment[] = [];
  for (const file of input.files) {
    try {
      assignments.push(...parseConfigFile(file));
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      problems.push(...error.problems);
    }
  }
  assignments.push(...parseEnvironment(input.environment, Object.keys(BROKER_SETTINGS)));
  for (const [name, value] of Object.entries(input.flags)) {
    assignments.push({ name, value, origin: `flag --set ${name}` });
  }
  return assignments;
}

function assignmentProblem({ name, value, origin }: Assignment, setting: Setting): string | null {
  const problem = settingProblem(name, setting, value);
  if (problem === null) return null;
  const allowed = allowedValues(setting);
  return `Cannot use ${origin}: ${problem}` + (allowed === "" ? "" : `; allowed: ${allowed}`);
}

function refusedProblem({ name, value, origin }: Assignment): string | null {
  const isHarmless = value.trim() === "" || value === "none" || value === "GSSAPI";
  return REFUSED.includes(name) && !isHarmless
    ? `Cannot use ${origin}: ${name} asks for a protection that weir does not give yet; leave it out ` +
      "and keep the listeners on an address that only trusted clients reach"
    : null;
}

/**
 * What is wrong with a dynamic value for a broker, or for all of them ("cluster"), in Kafka's words.
 *
 * Returns: null when it is fine.
 */
export function brokerConfigProblem(
  name: string,
  value: string,
  target: "broker" | "cluster",
): string | null {
  const setting = findSetting("broker", name);
  if (setting === null) {
    return isUnused(name)
      ? `Cannot update these configs dynamically: ${name} has no effect in weir`
      : `Unknown broker config name: ${name}`;
  }
  const mode = setting.mode ?? "read-only";
  if (mode === "read-only") return `Cannot update these configs dynamically: Set(${name})`;
  if (mode === "per-broker" && target === "cluster") {
    return `Cannot update these configs at default cluster level: Set(${name})`;
  }
  return settingProblem(name, setting, value);
}

import { describe, expect, test } from "bun:test";
import { Config } from "../../../broker/config/config.ts";
import { beginsCluster, controllerAddress } from "../../../broker/config/roles.ts";
import { ConfigError } from "../../../broker/config/sources.ts";

const VOTERS = "1@h1:9093,2@h2:9093,3@h3:9093";
/** One of three that are broker and controller. */
const COMBINED = {
  "process.roles": "broker,controller",
  "node.id": "2",
  "listeners": "PLAINTEXT://h2:9092,CONTROLLER://h2:9093",
  "controller.listener.names": "CONTROLLER",
  "controller.quorum.voters": VOTERS,
};
const BROKER = {
  "process.roles": "broker",
  "node.id": "4",
  "listeners": "PLAINTEXT://h4:9092",
  "controller.listener.names": "CONTROLLER",
  "controller.quorum.voters": VOTERS,
};
const CONTROLLER = {
  "process.roles": "controller",
  "node.id": "3",
  "listeners": "CONTROLLER://h3:9093",
  "controller.listener.names": "CONTROLLER",
  "controller.quorum.voters": VOTERS,
};

type Flags = Readonly<Record<string, string>>;

function problemsOf(flags: Flags): readonly string[] {
  try {
    Config.load({ flags });
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

const without = (flags: Flags, name: string): Flags =>
  Object.fromEntries(Object.entries(flags).filter(([one]) => one !== name));

describe("roles", () => {
  test("roles: nothing set is broker and controller in one, alone", () => {
    const config = Config.load({});
    expect(config.roles()).toEqual({ isBroker: true, isController: true, isAlone: true });
    expect(config.controllerListeners()).toEqual([]);
    expect(config.interBrokerListenerName()).toBe("PLAINTEXT");
  });

  test("roles: a broker opens no listener for controllers, one that is both opens all", () => {
    const names = (flags: Flags) => {
      const config = Config.load({ flags });
      const namesOf = (listeners: readonly { name: string }[]) => listeners.map(({ name }) => name);
      return [namesOf(config.listeners()), namesOf(config.controllerListeners())];
    };
    expect(names(COMBINED)).toEqual([["PLAINTEXT"], ["CONTROLLER"]]);
    expect(names(BROKER)).toEqual([["PLAINTEXT"], []]);
  });

  test("roles: alone, the listeners of controllers stay closed", () => {
    const flags = {
      "listeners": "PLAINTEXT://h:9092,CONTROLLER://h:9093",
      "controller.listener.names": "CONTROLLER",
      "advertised.listeners": "PLAINTEXT://a:9092,CONTROLLER://a:9093",
    };
    const config = Config.load({ flags });
    expect(config.listeners()).toHaveLength(1);
    expect(config.controllerListeners()).toEqual([]);
  });

  const refused: readonly (readonly [string, Flags, string])[] = [
    [
      "voters without roles",
      without(COMBINED, "process.roles"),
      "process.roles is not set; set it to broker,controller, or to one of them",
    ],
    [
      "roles without voters or servers",
      without(COMBINED, "controller.quorum.voters"),
      "controller.quorum.voters must name the controllers, or controller.quorum.bootstrap.servers",
    ],
    [
      "a controller that is no voter",
      { ...COMBINED, "node.id": "7" },
      "node 7 is a controller and must be among controller.quorum.voters, which are 1, 2, 3",
    ],
    [
      "a broker that is a voter",
      { ...BROKER, "node.id": "1" },
      "node 1 is a broker alone and must not be among controller.quorum.voters, which are 1, 2, 3",
    ],
    [
      "no name for the controllers' listener",
      without(BROKER, "controller.listener.names"),
      "controller.listener.names must name the controllers' listener",
    ],
    [
      "a broker that would open the controllers' listener",
      { ...BROKER, listeners: "PLAINTEXT://h4:9092,CONTROLLER://h4:9093" },
      "listeners has CONTROLLER, and this node is no controller",
    ],
    [
      "a controller without its listener",
      { ...COMBINED, listeners: "PLAINTEXT://h2:9092" },
      "listeners has no CONTROLLER, and this node is a controller",
    ],
    [
      "a controller alone with a listener for clients",
      { ...CONTROLLER, listeners: "PLAINTEXT://h3:9092,CONTROLLER://h3:9093" },
      "PLAINTEXT is not among controller.listener.names, and this node is a controller alone",
    ],
    [
      "brokers that would speak over the controllers' listener",
      { ...COMBINED, "inter.broker.listener.name": "CONTROLLER" },
      "Cannot use inter.broker.listener.name CONTROLLER: listeners has no such name",
    ],
    [
      "nothing left for clients",
      { ...COMBINED, listeners: "CONTROLLER://h2:9093" },
      "Cannot use listeners: all of them are named in controller.listener.names",
    ],
    ["a role that is none", { ...COMBINED, "process.roles": "zookeeper" }, "broker, controller"],
    [
      "a role twice",
      { ...COMBINED, "process.roles": "broker,broker" },
      "Configuration values must not be duplicated",
    ],
    [
      "a voter without an id",
      { ...COMBINED, "controller.quorum.voters": "h1:9093" },
      "'h1:9093' is not a voter of the form id@host:port",
    ],
    [
      "a voter twice",
      { ...COMBINED, "controller.quorum.voters": "2@h1:9093,2@h2:9093" },
      "Each voter must have a different id, found 2 twice",
    ],
    [
      "a voter nowhere",
      { ...COMBINED, "controller.quorum.voters": "2@0.0.0.0:9093" },
      "'2@0.0.0.0:9093' has no address that other nodes could connect to",
    ],
    [
      "a server nowhere",
      { ...BROKER, "controller.quorum.bootstrap.servers": ":9093" },
      "':9093' is no address that one could connect to",
    ],
    [
      "a controller that nobody could reach",
      {
        ...without(COMBINED, "controller.quorum.voters"),
        "listeners": "PLAINTEXT://h2:9092,CONTROLLER://:9093",
        "controller.quorum.bootstrap.servers": "h1:9093,h2:9093",
      },
      "Cannot open listener CONTROLLER: other nodes cannot connect to a wildcard",
    ],
    [
      "a controllers' listener with a protection that is not given",
      { ...COMBINED, "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:SSL" },
      "Cannot open listener CONTROLLER: its security protocol is SSL",
    ],
  ];
  test.each(refused)("roles: refuses %s", (_name, flags, problem) => {
    expect(problemsOf(flags).join("\n")).toContain(problem);
  });

  test("roles: all kinds, and servers in place of voters, are taken", () => {
    const servers = (flags: Flags) => ({
      ...without(flags, "controller.quorum.voters"),
      "controller.quorum.bootstrap.servers": "h1:9093,h2:9093",
    });
    for (const flags of [COMBINED, BROKER, CONTROLLER]) {
      expect(problemsOf(flags)).toEqual([]);
      expect(problemsOf(servers(flags))).toEqual([]);
    }
  });
});

describe("controllerAddress", () => {
  const addressOf = (flags: Flags) => {
    const config = Config.load({ flags });
    return controllerAddress(config.controllerListeners()[0]!, config.roleSettings());
  };
  const cases: readonly (readonly [string, Flags, string])[] = [
    ["the voters' over the bound one", {
      listeners: "PLAINTEXT://h2:9092,CONTROLLER://10.0.0.2:9093",
    }, "h2"],
    [
      "as it is advertised",
      { "advertised.listeners": "PLAINTEXT://a:9092,CONTROLLER://advertised:9093" },
      "advertised",
    ],
    ["a wildcard, as the voters have it", {
      listeners: "PLAINTEXT://:9092,CONTROLLER://:9093",
    }, "h2"],
    ["a wildcard, as the servers have it", {
      "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093",
      "controller.quorum.voters": "",
      "controller.quorum.bootstrap.servers": "other:9093",
    }, "other"],
  ];
  test.each(cases)("controllerAddress: %s", (_name, flags, host) => {
    expect(addressOf({ ...COMBINED, ...flags })).toEqual({ host, port: 9093 });
  });
});

describe("beginsCluster", () => {
  const cases: readonly (readonly [string, string, string, boolean])[] = [
    ["itself", "CONTROLLER://h1:9093", "h1:9093", true],
    ["itself, bound to every address", "CONTROLLER://:9093", "localhost:9093", true],
    [
      "itself by another name of this machine",
      "CONTROLLER://127.0.0.1:9093",
      "localhost:9093",
      true,
    ],
    ["another port", "CONTROLLER://h1:9094", "h1:9093", false],
    ["another machine", "CONTROLLER://h1:9093", "h2:9093", false],
    ["itself and others", "CONTROLLER://h1:9093", "h1:9093,h2:9093", false],
  ];
  test.each(cases)("beginsCluster: %s", (_name, listeners, servers, begins) => {
    const flags = {
      "process.roles": "broker,controller",
      "listeners": `PLAINTEXT://h:9092,${listeners}`,
      "controller.listener.names": "CONTROLLER",
      "controller.quorum.bootstrap.servers": servers,
    };
    expect(beginsCluster(Config.load({ flags }).roleSettings())).toBe(begins);
  });

  test("beginsCluster: with voters nobody begins, and no broker does", () => {
    expect(beginsCluster(Config.load({ flags: COMBINED }).roleSettings())).toBeFalse();
    const broker = {
      ...without(BROKER, "controller.quorum.voters"),
      "controller.quorum.bootstrap.servers": "h4:9092",
    };
    expect(beginsCluster(Config.load({ flags: broker }).roleSettings())).toBeFalse();
  });
});

/** The HTTP ports of a node, and all that is behind them: streams, WebSockets, the API, the console. */

import type { Address } from "./config/listeners.ts";
import { gatewayApp } from "./gateway/app.ts";
import { LagHistory } from "./gateway/console/lag_history.ts";
import { Feeds } from "./gateway/feeds/feeds.ts";
import { gatewaySettings } from "./gateway/settings.ts";
import { StreamSlots } from "./gateway/stream_slots.ts";
import { Sockets } from "./gateway/websocket/sockets.ts";
import type { Assembly, BrokerOptions } from "./start.ts";
import { MetricHistory } from "./telemetry/history.ts";
import type { LoopDelay } from "./telemetry/loop_delay.ts";

/** Opens them; they are the last to close. Returns: none where the settings name no HTTP listener. */
export function openHttpPorts(
  { config, clock, logger: nodeLogger, usage, serveHttp, loadAssets, version }: BrokerOptions,
  { metrics, readiness, stops, access }: Assembly,
  loopDelay: LoopDelay,
): Address[] {
  const listeners = config.httpListeners();
  if (listeners.length === 0) return [];
  const logger = nodeLogger.child("gateway");
  const settings = gatewaySettings(config);
  const client = () => access.client;
  const feeds = new Feeds({ client, clock });
  const sockets = new Sockets({ feeds, client, clock, logger, version, limits: settings.sockets });
  const slots = new StreamSlots(settings.maxStreams);
  metrics.watchGateway({ sockets, slots, feeds });
  const traffic = () => metrics.traffic();
  const history = new MetricHistory({ clock, server: metrics.server, loopDelay, usage, traffic });
  const lags = new LagHistory({ clock, logger, client });
  lags.start();
  stops.push(() => history.stop(), () => lags.stop());
  const app = gatewayApp({
    logger,
    clock,
    settings,
    version,
    noteAnswer: (status) => metrics.noteHttpAnswer(status),
    renderMetrics: () => metrics.render(),
    notReadyReasons: () => readiness.reasons,
    client,
    feeds,
    sockets,
    slots,
    console: { history, lags, loadAssets },
  });
  const addresses = listeners.map((address) => {
    const server = serveHttp({ app, ...address, sockets: settings.port });
    stops.push(() => server.stop());
    return { host: server.host, port: server.port };
  });
  // Who streams is told before the ports close.
  stops.push(async () => {
    await Promise.all([sockets.stop(), feeds.stop()]);
  });
  return addresses;
}

/** What every `Network` promises, as tests: run on the simulated one and on the real one. */

import { expect, test } from "bun:test";
import {
  type Connection,
  type ConnectionHandlers,
  type Network,
  NetworkError,
} from "../../broker/network.ts";

/** A network under test. */
export interface ContractSubject {
  readonly network: Network;
  /** A port that nobody listens on. */
  readonly freePort: number;
  /** Lets time pass until `isDone`. Errors: rejects when it does not come to that. */
  until(isDone: () => boolean): Promise<void>;
  /** Waits for a promise, in whatever time the network has. */
  settle<T>(promise: Promise<T>): Promise<T>;
}

/** Keeps all it is told, and whether it was told inside a call. */
class End implements ConnectionHandlers {
  readonly chunks: Uint8Array[] = [];
  receivedBytes = 0;
  drains = 0;
  closes: (string | undefined)[] = [];
  isInCall = false;
  wasCalledInCall = false;
  link!: Connection;

  call<T>(action: (link: Connection) => T): T {
    this.isInCall = true;
    try {
      return action(this.link);
    } finally {
      this.isInCall = false;
    }
  }

  #told(): void {
    if (this.isInCall) this.wasCalledInCall = true;
    if (this.closes.length > 0) this.wasCalledInCall = true;
  }

  onData(bytes: Uint8Array): void {
    this.#told();
    this.chunks.push(bytes);
    this.receivedBytes += bytes.length;
  }

  onDrain(): void {
    this.#told();
    this.drains++;
  }

  onClose(reason?: string): void {
    this.#told();
    this.closes.push(reason);
  }
}

async function pair({ network, settle, until }: ContractSubject) {
  const [near, far] = [new End(), new End()];
  let isAccepted = false;
  const listener = network.listen({ host: "127.0.0.1", port: 0 }, (link) => {
    far.link = link;
    isAccepted = true;
    return far;
  });
  const { port } = listener;
  await settle(network.connect({ host: "127.0.0.1", port }, (link) => {
    near.link = link;
    return near;
  }));
  await until(() => isAccepted);
  return { near, far, listener };
}

function numbered(byteCount: number): Uint8Array {
  const bytes = new Uint8Array(byteCount);
  for (let i = 0; i < byteCount; i++) bytes[i] = (i * 7 + (i >> 8)) & 0xff;
  return bytes;
}

/** Writes all of it, going on at each drain. */
function writeAll(end: End, bytes: Uint8Array): void {
  let at = 0;
  const go = () => {
    while (at < bytes.length) {
      const accepted = end.call((link) => link.write(bytes.subarray(at)));
      at += accepted;
      if (accepted === 0) return;
    }
  };
  const onDrain = end.onDrain.bind(end);
  end.onDrain = () => {
    onDrain();
    go();
  };
  go();
}

/** Registers the tests. */
export function networkContract(name: string, make: () => ContractSubject): void {
  connectionContract(name, make);
  listenerContract(name, make);
}

/** Registers those of connections alone. */
export function connectionContract(name: string, make: () => ContractSubject): void {
  bytesContract(name, make);
  closeContract(name, make);
}

function bytesContract(name: string, make: () => ContractSubject): void {
  test(`${name}: many bytes arrive in order, both ways, through drains`, async () => {
    const subject = make();
    const { near, far, listener } = await pair(subject);
    const bytes = numbered(20_000_000);
    writeAll(near, bytes);
    writeAll(far, bytes);
    await subject.until(() =>
      near.receivedBytes >= bytes.length && far.receivedBytes >= bytes.length
    );
    // Compared at the end: a buffer that was handed over must not have been written to since.
    expect(Buffer.compare(Buffer.concat(near.chunks), bytes)).toBe(0);
    expect(Buffer.compare(Buffer.concat(far.chunks), bytes)).toBe(0);
    expect(near.drains).toBeGreaterThan(0);
    expect([near.wasCalledInCall, far.wasCalledInCall]).toEqual([false, false]);
    near.link.close();
    await listener.close();
  });

  test(`${name}: a paused side stops its sender, and gets all of it later`, async () => {
    const subject = make();
    const { near, far, listener } = await pair(subject);
    far.call((link) => link.pause());
    const bytes = numbered(30_000_000);
    writeAll(near, bytes);
    let last = -1;
    await subject.until(() => {
      const isSame = last === far.receivedBytes;
      last = far.receivedBytes;
      return isSame;
    });
    expect(far.receivedBytes).toBeLessThan(1_000_000);
    far.call((link) => link.resume());
    await subject.until(() => far.receivedBytes >= bytes.length);
    expect(Buffer.compare(Buffer.concat(far.chunks), bytes)).toBe(0);
    expect(far.wasCalledInCall).toBe(false);
    near.link.close();
    await listener.close();
  });
}

function closeContract(name: string, make: () => ContractSubject): void {
  test(`${name}: close delivers what was accepted, and tells both ends once`, async () => {
    const subject = make();
    const { near, far, listener } = await pair(subject);
    const accepted = near.call((link) => link.write(numbered(5000)));
    near.call((link) => link.close("enough"));
    near.call((link) => link.close("again"));
    expect(near.closes).toEqual([]);
    await subject.until(() => near.closes.length > 0 && far.closes.length > 0);
    expect(far.receivedBytes).toBe(accepted);
    expect(near.closes).toEqual(["enough"]);
    expect(far.closes).toEqual([undefined]);
    expect(near.call((link) => link.write(numbered(10)))).toBe(0);
    far.call((link) => link.pause());
    far.call((link) => link.resume());
    far.call((link) => link.close());
    expect([near.wasCalledInCall, far.wasCalledInCall]).toEqual([false, false]);
    await listener.close();
  });
}

function listenerContract(name: string, make: () => ContractSubject): void {
  test(`${name}: both ends know each other's addresses`, async () => {
    const subject = make();
    const { near, far, listener } = await pair(subject);
    expect(far.link.remoteAddress).toBe("127.0.0.1");
    expect(far.link.localAddress).toBe("127.0.0.1");
    expect(far.link.localPort).toBe(listener.port);
    expect(far.link.remotePort).toBe(near.link.localPort);
    expect(near.link.remotePort).toBe(listener.port);
    near.link.close();
    await listener.close();
  });

  test(`${name}: a closed listener takes no one, and keeps those it has`, async () => {
    const subject = make();
    const { near, far, listener } = await pair(subject);
    await listener.close();
    const late = subject.network.connect(
      { host: "127.0.0.1", port: listener.port },
      () => new End(),
    );
    late.catch(() => {});
    await expect(subject.settle(late)).rejects.toThrow(NetworkError);
    near.call((link) => link.write(numbered(3)));
    await subject.until(() => far.receivedBytes === 3);
    near.link.close();
  });

  test(`${name}: refuses are NetworkErrors with their code`, async () => {
    const subject = make();
    const { network, freePort } = subject;
    const refused = network.connect({ host: "127.0.0.1", port: freePort }, () => new End());
    refused.catch(() => {});
    await expect(subject.settle(refused)).rejects.toMatchObject({
      name: "NetworkError",
      code: "ECONNREFUSED",
    });
    const listener = network.listen({ host: "127.0.0.1", port: freePort }, () => new End());
    expect(listener.port).toBe(freePort);
    expect(() => network.listen({ host: "127.0.0.1", port: freePort }, () => new End()))
      .toThrow(expect.objectContaining({ name: "NetworkError", code: "EADDRINUSE" }));
    await listener.close();
  });
}

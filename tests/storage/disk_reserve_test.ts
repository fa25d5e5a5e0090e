import { describe, expect, test } from "bun:test";
import { DiskReserve } from "../../storage/disk_reserve.ts";
import { SimClock } from "../sim/sim_clock.ts";
import { SimDisk } from "../sim/sim_disk.ts";
import { SimLogger } from "../sim/sim_logger.ts";
import { SimRandom } from "../sim/sim_random.ts";

const CAPACITY_BYTES = 10_000_000;
const RESERVE_BYTES = 4_000_000;

function reserveOn(usedBytes: number, reserveBytes = RESERVE_BYTES) {
  const disk = new SimDisk({ random: new SimRandom(1), capacityBytes: CAPACITY_BYTES });
  disk.makeDirectory("/data");
  const file = disk.open("/data/ballast", "write");
  file.write(0, new Uint8Array(usedBytes));
  const clock = new SimClock();
  const logger = new SimLogger();
  const reserve = new DiskReserve({ disk, clock, logger, path: "/data", reserveBytes });
  return { reserve, clock, file, logger };
}

describe("DiskReserve.refusal", () => {
  const cases = [
    { usedBytes: 0, client: true, coordinator: true },
    { usedBytes: 5_999_000, client: true, coordinator: true },
    { usedBytes: 6_000_001, client: false, coordinator: true },
    { usedBytes: 7_999_000, client: false, coordinator: true },
    { usedBytes: 8_000_001, client: false, coordinator: false },
    { usedBytes: CAPACITY_BYTES, client: false, coordinator: false },
  ];
  for (const { usedBytes, client, coordinator } of cases) {
    test(`with ${usedBytes} of ${CAPACITY_BYTES} bytes used, only some may append`, () => {
      const { reserve } = reserveOn(usedBytes);
      expect(reserve.refusal(100, "client") === null).toBe(client);
      expect(reserve.refusal(100, "coordinator") === null).toBe(coordinator);
      expect(reserve.refusal(100, "raft")).toBeNull();
    });
  }

  test("without a reserve, nobody is refused", () => {
    expect(reserveOn(CAPACITY_BYTES, 0).reserve.refusal(100, "client")).toBeNull();
  });

  test("what is appended counts before the disk is asked again; refused bytes do not", () => {
    const { reserve } = reserveOn(5_500_000);
    expect(reserve.refusal(400_000, "client")).toBeNull();
    expect(reserve.refusal(400_000, "client")).not.toBeNull();
    expect(reserve.refusal(50_000, "client")).toBeNull();
  });

  test("room that comes back is noticed, and each change is told once", async () => {
    const { reserve, clock, file, logger } = reserveOn(7_000_000);
    for (let i = 0; i < 3; i++) expect(reserve.refusal(100, "client")).toContain("delete topics");
    file.truncate(0);
    await clock.advance(200);
    for (let i = 0; i < 3; i++) expect(reserve.refusal(100, "client")).toBeNull();
    expect(logger.lines.map(({ message }) => message)).toEqual([
      "Disk is nearly full: records are refused until there is room",
      "Disk has room again: records are taken",
    ]);
  });
});

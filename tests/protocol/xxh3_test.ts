import { expect, test } from "bun:test";
import { xxh3 } from "../../protocol/xxh3.ts";

// Computed by hash4j 0.22, which Kafka uses, of bytes i·7 + length.
test.each([
  [0, 3244421341483603138n],
  [1, -2220562881957146901n],
  [3, -6266602912829716452n],
  [4, 6297312323375345790n],
  [8, -5693888875394197238n],
  [9, -8445836227155624914n],
  [16, 3159599325006435930n],
  [17, 7070371635116224842n],
  [128, -1633510367785085978n],
  [129, -5383259723849235271n],
  [240, 4473034316189165092n],
  [241, -4792628563661132438n],
  [1024, -2568512991238798245n],
  [1025, -4010797056655636473n],
  [5000, 3499038088879543845n],
])("xxh3: of %p bytes it is what Kafka's hash library gives", (length, hash) => {
  expect(xxh3(Uint8Array.from({ length }, (_, i) => i * 7 + length))).toBe(hash);
});

test("xxh3: of every length up to three blocks it is what another implementation gives", () => {
  for (let length = 0; length <= 3 * 1024 + 1; length++) {
    const bytes = Uint8Array.from({ length }, (_, i) => (i * 131 + length * 17) ^ (i >> 3));
    expect(BigInt.asUintN(64, xxh3(bytes))).toBe(BigInt(Bun.hash.xxHash3(bytes)));
  }
});

/** The sine of graphics cards, in float32 arithmetic as they have it, beside that of double precision. */

import { expect, test } from "vitest";
import { COEFFICIENTS, SINE_ERROR, TURNS } from "../src/decode/gpu/sine";

const f = Math.fround;

/** What the shaders compute, each operation rounded to float32. */
function sineOfTurns(t: number): number {
  const u = f(t - Math.round(t));
  const z = f(u * u);
  const q = COEFFICIENTS.map(f).reduceRight((inner, c) => f(c + f(z * inner)));
  return f(f(u * f(0.25 - z)) * q);
}

/** Arguments up to 10,000 in size, dense where sines are usually taken. */
function* ofArguments(): Generator<number> {
  for (let i = -400_000; i <= 400_000; i++) yield i * 1e-4;
  for (let i = -500_000; i <= 500_000; i++) yield i * 0.02 + 1e-3 * Math.cos(i);
}

test("the sine of an argument that is a float32 of turns is right up to the named error", () => {
  let largest = 0;
  for (const x of ofArguments()) {
    const t = f(x * TURNS);
    const exact = Math.sin(2 * Math.PI * (t - Math.round(t)));
    largest = Math.max(largest, Math.abs(sineOfTurns(t) - exact));
  }
  expect(largest).toBeLessThan(SINE_ERROR);
  expect(largest).toBeGreaterThan(SINE_ERROR / 3); // the named error is no idle one
});

test("beside Math.sin there is but the rounding of the argument", () => {
  for (const x of ofArguments()) {
    const error = Math.abs(sineOfTurns(f(x * TURNS)) - Math.sin(x));
    if (!(error < SINE_ERROR + Math.abs(x) * 2 ** -24)) expect(error, `sine of ${x}`).toBe(0);
  }
});

test("zeros and signs are exact", () => {
  for (const t of [0, 0.5, 1, -0.5, 17, 1591.5]) expect(Math.abs(sineOfTurns(t))).toBe(0);
  for (const t of [0.1, 0.3, 5.2]) expect(sineOfTurns(-t)).toBe(-sineOfTurns(t));
});

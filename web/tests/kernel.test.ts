/** The WebAssembly kernel gives what plain JavaScript gives, whatever the sizes; interpolation is not tried in vain. */

import { expect, test } from "vitest";
import { evaluateInJavaScript, type Job, type Weights } from "../src/decode/evaluator";
import { Trials } from "../src/decode/interpolation";
import { Kernel, POINTS } from "../src/decode/kernel";
import type { Network } from "../src/store";

/** Random numbers that are the same each time. */
function numbers(count: number, size: number): Float32Array {
  let state = 12345 + count;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 31 - 1) * size;
  });
}

function weightsOf(inputs: number, width: number, layers: number, channels: number): Weights {
  const fans = Array.from({ length: layers }, (_, layer) => (layer ? width : inputs));
  return {
    network: { inputs, width, depth: layers + 1, channels, w0: 30 } as Network,
    sine: fans.map((fan) => ({ kernel: numbers(fan * width, (6 / fan) ** 0.5 / 30), bias: numbers(width, 0.05) })),
    last: { kernel: numbers(width * channels, 1 / width ** 0.5), bias: numbers(channels, 0.5) },
    map: null,
  };
}

test.each([
  [1, 1, 1, 1],
  [2, 13, 2, 5],
  [3, 16, 5, 4],
  [2, 192, 3, 3],
  [7, 6, 2, 9],
])("%i inputs, %i units, %i layers, %i channels", (inputs, width, layers, channels) => {
  const weights = weightsOf(inputs, width, layers, channels);
  const kernel = new Kernel(weights);
  for (const count of [1, POINTS - 1, POINTS, POINTS + 1, 5 * POINTS + 3]) {
    const rows = Int32Array.from({ length: count }, (_, i) => Math.floor((3 * i) / count));
    const shifts = { rows: 3, values: numbers(3 * layers * width, 0.1) };
    const job: Job = { shifts, inputs: numbers(count * inputs, 1), rows };
    for (const one of [job, { ...job, rows: null }]) {
      const [found, expected] = [kernel.evaluate(one), evaluateInJavaScript(weights, one)];
      expect(found.length).toBe(count * channels);
      found.forEach((value, i) => expect(Math.abs(value - expected[i]!)).toBeLessThan(1e-4));
    }
  }
});

test("what was in vain twice is tried no more, and what succeeds is", () => {
  const trials = new Trials();
  for (const agreed of [true, false, false]) trials.note("near", agreed);
  expect(trials.areWorthwhile("near")).toBe(true);
  for (let i = 0; i < 2; i++) trials.note("far", false);
  expect(trials.areWorthwhile("far")).toBe(false);
  expect(trials.areWorthwhile("elsewhere")).toBe(true);
});

/** What graphics cards add to each layer: biases and shifts of all layers, in turns. */

import type { Shifts, Weights } from "../evaluator";
import { TURNS } from "./sine";

/** Layers with their kernels as they are multiplied, sine layers first; `factor` brings their numbers to turns. */
export function layersOf({ network, sine, last }: Weights): { kernel: Float32Array; fanIn: number; fanOut: number; factor: number }[] {
  const { inputs, width, channels, w0 } = network;
  return [
    ...sine.map(({ kernel }, layer) => ({ kernel, fanIn: layer ? width : inputs, fanOut: width, factor: w0 * TURNS })),
    { kernel: last.kernel, fanIn: width, fanOut: channels, factor: 1 },
  ];
}

/** (rows, sine layers and the last, padded): the sine layers' in turns within [-1/2, 1/2], summed in double precision. */
export function offsetsOf({ network, sine, last }: Weights, shifts: Shifts, padded: number): Float32Array {
  const { width, w0 } = network;
  const layers = sine.length + 1;
  const found = new Float32Array(shifts.rows * layers * padded);
  for (let row = 0; row < shifts.rows; row++) {
    for (let layer = 0; layer < sine.length; layer++) {
      const { bias } = sine[layer];
      const from = (row * sine.length + layer) * width;
      const to = (row * layers + layer) * padded;
      for (let j = 0; j < width; j++) {
        const turns = (bias[j] + shifts.values[from + j]) * w0 * TURNS;
        found[to + j] = turns - Math.round(turns);
      }
    }
    found.set(last.bias, (row * layers + sine.length) * padded);
  }
  return found;
}

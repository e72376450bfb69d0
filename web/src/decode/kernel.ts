/** The WebAssembly kernel in one thread: packs weights once, evaluates jobs. */

import wasm from "../../generated/kernel.wasm?url&inline";
import type { Job, Weights } from "./evaluator";

/** Points that the kernel evaluates side by side. */
export const POINTS = 8;
const PAGE_BYTES = 65536;

interface Exports {
  evaluate(
    points: number, numInputs: number, width: number, sineLayers: number, channels: number,
    weights: number, biases: number, inputs: number, numbers: number, scratch: number,
  ): void;
}

export class Kernel {
  private readonly memory: WebAssembly.Memory;
  private readonly exports: Exports;
  private readonly places: { weights: number; biases: number; scratch: number; free: number };
  private readonly paddedWidth: number;
  /** Biases of the sine layers times w0. */
  private readonly biases: Float32Array;

  /** @throws Error if this engine has no WebAssembly with SIMD, or may not compile it. */
  constructor(private readonly weights: Weights) {
    const { width, inputs, channels, w0 } = weights.network;
    const panels = pack(weights);
    this.paddedWidth = fourfold(width);
    const layers = weights.sine.length;
    const numBiases = layers * this.paddedWidth + fourfold(channels);
    const widest = Math.max(this.paddedWidth, fourfold(channels), inputs);
    const start = 256; // floats that the compiler's own data may take
    const scratch = fourfold(start + panels.length + numBiases);
    this.places = { weights: start, biases: start + panels.length, scratch, free: scratch + 2 * widest * POINTS };
    this.memory = new WebAssembly.Memory({ initial: Math.ceil((4 * this.places.free) / PAGE_BYTES) });
    const module = new WebAssembly.Module(bytesOf(wasm));
    this.exports = new WebAssembly.Instance(module, { env: { memory: this.memory } }).exports as unknown as Exports;
    const numbers = new Float32Array(this.memory.buffer);
    numbers.set(panels, this.places.weights);
    numbers.set(weights.last.bias, this.places.biases + layers * this.paddedWidth);
    this.biases = Float32Array.from(weights.sine.flatMap(({ bias }) => Array.from(bias, (value) => w0 * value)));
  }

  /** Numbers of the last layer, (evaluations, channels). */
  evaluate({ shifts, inputs, rows }: Job): Float32Array {
    const { width, w0, channels, inputs: numInputs } = this.weights.network;
    const layers = this.weights.sine.length;
    const count = inputs.length / numInputs;
    const { weights, biases, scratch, free } = this.places;
    const numbersAt = fourfold(free + inputs.length);
    const needed = 4 * (numbersAt + count * channels);
    if (needed > this.memory.buffer.byteLength) {
      this.memory.grow(Math.ceil((needed - this.memory.buffer.byteLength) / PAGE_BYTES));
    }
    const memory = new Float32Array(this.memory.buffer);
    memory.set(inputs, free);
    for (let from = 0; from < count; ) {
      const row = rows ? rows[from]! : 0;
      let to = rows ? from + 1 : count;
      while (rows && to < count && rows[to] === row) to++;
      for (let layer = 0; layer < layers; layer++) {
        const bias = biases + layer * this.paddedWidth;
        const shift = (row * layers + layer) * width;
        for (let j = 0; j < width; j++) memory[bias + j] = this.biases[layer * width + j]! + w0 * shifts.values[shift + j]!;
      }
      this.exports.evaluate(
        to - from, numInputs, width, layers, channels,
        4 * weights, 4 * biases, 4 * (free + from * numInputs), 4 * (numbersAt + from * channels), 4 * scratch,
      );
      from = to;
    }
    return memory.slice(numbersAt, numbersAt + count * channels);
  }
}

const fourfold = (count: number): number => 4 * Math.ceil(count / 4);

/** Kernels in panels of four outputs, (panel, input, 4); those of sine layers times w0. */
function pack({ network, sine, last }: Weights): Float32Array {
  const { inputs, width, channels, w0 } = network;
  const kernels = [
    ...sine.map(({ kernel }, layer) => ({ kernel, fanIn: layer ? width : inputs, fanOut: width, factor: w0 })),
    { kernel: last.kernel, fanIn: width, fanOut: channels, factor: 1 },
  ];
  const packed = new Float32Array(kernels.reduce((sum, { fanIn, fanOut }) => sum + fanIn * fourfold(fanOut), 0));
  let at = 0;
  for (const { kernel, fanIn, fanOut, factor } of kernels) {
    for (let panel = 0; panel < fanOut; panel += 4) {
      for (let i = 0; i < fanIn; i++) {
        for (let j = 0; j < Math.min(4, fanOut - panel); j++) packed[at + j] = factor * kernel[i * fanOut + panel + j]!;
        at += 4;
      }
    }
  }
  return packed;
}

function bytesOf(dataUrl: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(dataUrl.slice(dataUrl.indexOf(",") + 1)), (character) => character.charCodeAt(0));
}

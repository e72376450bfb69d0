/** What runs the network: an `Evaluator` for each renderer, and shifts computed from modulations. */

import { type Base, type Functaset, type Network, StoreError } from "../store";
import type { RendererName } from "./decoder";

/** The network's weights, as evaluators take them. */
export interface Weights {
  network: Network;
  /** Kernels (input, output) and biases of the sine layers, in order. */
  sine: { kernel: Float32Array; bias: Float32Array }[];
  last: { kernel: Float32Array; bias: Float32Array };
  map: { kernel: Float32Array; bias: Float32Array } | null;
}

/** Shifts of some cells, or of the one vector: (rows, sine layers, width). */
export interface Shifts {
  rows: number;
  values: Float32Array;
}

/** Evaluations of the network. */
export interface Job {
  shifts: Shifts;
  /** (evaluations, inputs) */
  inputs: Float32Array;
  /** Which row of the shifts each has, ascending; null if there is one row. */
  rows: Int32Array | null;
}

export interface Evaluator {
  readonly renderer: RendererName;
  readonly description: string;
  /** Whether it runs in this thread, not in workers. */
  readonly isHere: boolean;
  /**
   * Numbers of the last layer, (evaluations, channels).
   *
   * @throws RendererError if it does not work any more.
   */
  evaluate(job: Job, signal?: AbortSignal): Promise<Float32Array>;
  /** End what is evaluated, and give back what it runs on; a second time does nothing. */
  dispose(): void;
}

/** Something that runs one job after the other in one thread. */
export interface Runner {
  /** What it runs on. */
  readonly name: string;
  /** Numbers of the last layer, (evaluations, channels). */
  evaluate(job: Job): Float32Array | Promise<Float32Array>;
  dispose(): void;
}

/** A renderer is not there, or does not work any more; another one may. */
export class RendererError extends StoreError {
  override name = "RendererError";
}

/** Renderers that run on graphics cards, and those that run on the CPU, the faster one first of each. */
export const CARDS: RendererName[] = ["webgpu", "webgl2"];
export const ON_CPU: RendererName[] = ["wasm", "js"];
export const RENDERERS: RendererName[] = [...CARDS, ...ON_CPU];

export const isCard = (renderer: RendererName): boolean => CARDS.includes(renderer);

/** Multiplications of an evaluation. */
export const multiplications = (weights: Weights): number =>
  weights.sine.reduce((sum, { kernel }) => sum + kernel.length, weights.last.kernel.length);

export async function loadWeights(functaset: Functaset, signal?: AbortSignal): Promise<Weights> {
  const base: Base = await functaset.base({ signal });
  const pair = (name: string): { kernel: Float32Array; bias: Float32Array } => ({
    kernel: base.get(`${name}/kernel`)!,
    bias: base.get(`${name}/bias`)!,
  });
  const { network } = functaset;
  return {
    network,
    sine: Array.from({ length: network.depth - 1 }, (_, layer) => pair(`sine_${layer}`)),
    last: pair("linear"),
    map: network.modulation === "shift" ? null : pair("map"),
  };
}

/** Computes shifts of cells when they are needed, and keeps those of the latest modulation. */
export class ShiftMap {
  private latest: { modulation: Float32Array; rows: Map<number, Float32Array> } | null = null;
  private readonly size: number;

  constructor(
    private readonly weights: Weights,
    private readonly closed: boolean[],
  ) {
    this.size = weights.network.width * (weights.network.depth - 1);
  }

  /** Shifts of a modulation that is one vector. */
  ofVector(modulation: Float32Array): Shifts {
    return { rows: 1, values: this.weights.map ? this.mapped([modulation], 0) : modulation };
  }

  /** Shifts of some cells, in the order in which they are named. */
  ofCells(modulation: Float32Array, cells: ArrayLike<number>): Shifts {
    if (this.latest?.modulation !== modulation) this.latest = { modulation, rows: new Map() };
    const known = this.latest.rows;
    const values = new Float32Array(cells.length * this.size);
    for (let i = 0; i < cells.length; i++) {
      let row = known.get(cells[i]!);
      if (!row) {
        row = this.mapped(this.seenBy(modulation, cells[i]!), cells[i]!);
        known.set(cells[i]!, row);
      }
      values.set(row, i * this.size);
    }
    return { rows: cells.length, values };
  }

  /** What the map of a cell takes: its own numbers, or those of the cells around it; empty beyond the end of an axis. */
  private seenBy(modulation: Float32Array, cell: number): (Float32Array | null)[] {
    const { grid, cellSize, mapKernel } = this.weights.network;
    const numbers = (place: number): Float32Array => modulation.subarray(place * cellSize, (place + 1) * cellSize);
    if (mapKernel === 1) return [numbers(cell)];
    const sizes = grid!;
    const index = sizes.map(() => 0);
    for (let axis = sizes.length - 1, rest = cell; axis >= 0; axis--) {
      index[axis] = rest % sizes[axis]!;
      rest = Math.floor(rest / sizes[axis]!);
    }
    return Array.from({ length: 3 ** sizes.length }, (_, offset) => {
      let place = 0;
      for (let axis = 0; axis < sizes.length; axis++) {
        const n = sizes[axis]!;
        let along = index[axis]! + (Math.floor(offset / 3 ** (sizes.length - 1 - axis)) % 3) - 1;
        if (this.closed[axis]) along = (along + n) % n;
        else if (along < 0 || along >= n) return null;
        place = place * n + along;
      }
      return numbers(place);
    });
  }

  /** The linear map of a cell, summed in double precision. */
  private mapped(seen: (Float32Array | null)[], cell: number): Float32Array {
    const { kernel, bias } = this.weights.map!;
    const start = bias.length > this.size ? cell * this.size : 0;
    const sums = Float64Array.from(bias.subarray(start, start + this.size));
    let row = 0;
    for (const numbers of seen) {
      const length = this.weights.network.cellSize;
      for (let i = 0; numbers && i < length; i++) {
        const factor = numbers[i]!;
        const place = (row + i) * this.size;
        for (let j = 0; j < sums.length; j++) sums[j] = sums[j]! + factor * kernel[place + j]!;
      }
      row += length;
    }
    return Float32Array.from(sums);
  }
}

/** A network in plain JavaScript and double precision: what other evaluators are compared with. */
export function evaluateInJavaScript(weights: Weights, { shifts, inputs, rows }: Job): Float32Array {
  const { network, sine, last } = weights;
  const { width, w0, channels } = network;
  const evaluations = inputs.length / network.inputs;
  const found = new Float32Array(evaluations * channels);
  const size = Math.max(width, network.inputs);
  let [hidden, next] = [new Float64Array(size), new Float64Array(size)];
  for (let i = 0; i < evaluations; i++) {
    for (let j = 0; j < network.inputs; j++) hidden[j] = inputs[i * network.inputs + j]!;
    const row = (rows ? rows[i]! : 0) * sine.length * width;
    for (let layer = 0; layer < sine.length; layer++) {
      const { kernel, bias } = sine[layer]!;
      for (let j = 0; j < width; j++) next[j] = bias[j]! + shifts.values[row + layer * width + j]!;
      const fanIn = layer ? width : network.inputs;
      for (let k = 0; k < fanIn; k++) {
        const factor = hidden[k]!;
        for (let j = 0, place = k * width; j < width; j++, place++) next[j] = next[j]! + factor * kernel[place]!;
      }
      for (let j = 0; j < width; j++) next[j] = Math.sin(w0 * next[j]!);
      [hidden, next] = [next, hidden];
    }
    for (let channel = 0; channel < channels; channel++) {
      let sum = last.bias[channel]!;
      for (let k = 0; k < width; k++) sum += hidden[k]! * last.kernel[k * channels + channel]!;
      found[i * channels + channel] = sum;
    }
  }
  return found;
}

/**
 * The network in WebGPU: a matrix product per layer, in tiles of 64 points by 64 outputs that a workgroup shares.
 *
 * Hidden values lie as (unit, point), so that a tile's rows are read as they lie. Each of 256 threads keeps 4 points by 4
 * outputs, and adds up 16 inputs from the workgroup's memory between two barriers.
 */

import { type Job, RendererError, type Runner, type Weights } from "../evaluator";
import { layersOf, offsetsOf } from "./offsets";
import { WGSL_SINE } from "./sine";

/** Points and outputs of a tile, and inputs that it adds up at a time. */
const TILE = 64;
const DEPTH = 16;
/** Points of a batch, hidden numbers of all of them, and numbers of biases and shifts in a batch. */
const [MOST_POINTS, MOST_HIDDEN, MOST_OFFSETS] = [2 ** 16, 2 ** 24, 2 ** 22];
/** Bytes between the parameters of two layers. */
const STRIDE = 256;

export const SHADER = `
struct Layer {
  inputs: u32,    // filled up to a multiple of ${DEPTH}
  outputs: u32,   // by fours, filled up to a multiple of ${TILE}
  kernel: u32,    // where the kernel begins, by fours
  offsets: u32,   // where the layer begins in a row of offsets, by fours
  rowSize: u32,   // offsets of one row of shifts, by fours
  points: u32,    // points of a row of hidden values, by fours
  isSine: u32,
}
@group(0) @binding(0) var<uniform> layer: Layer;
@group(0) @binding(1) var<storage, read> source: array<vec4f>;
@group(0) @binding(2) var<storage, read> kernels: array<vec4f>;
@group(0) @binding(3) var<storage, read> offsets: array<vec4f>;
@group(0) @binding(4) var<storage, read> rows: array<vec4u>;
@group(0) @binding(5) var<storage, read_write> found: array<vec4f>;

var<workgroup> hidden: array<vec4f, ${DEPTH * 16}>;  // (input, 16 times four points)
var<workgroup> kernel: array<vec4f, ${DEPTH * 16}>;  // (input, 16 times four outputs)
${WGSL_SINE}
@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_id) id: vec3u, @builtin(local_invocation_index) place: u32) {
  let point = tile.x * 16u + id.y;
  let output = tile.y * 16u + id.x;
  var a = vec4f();
  var b = vec4f();
  var c = vec4f();
  var d = vec4f();
  for (var start = 0u; start < layer.inputs; start += ${DEPTH}u) {
    let input = start + place / 16u;
    hidden[place] = source[input * layer.points + tile.x * 16u + place % 16u];
    kernel[place] = kernels[layer.kernel + input * layer.outputs + tile.y * 16u + place % 16u];
    workgroupBarrier();
    for (var k = 0u; k < ${DEPTH * 16}u; k += 16u) {
      let h = hidden[k + id.y];
      let w = kernel[k + id.x];
      a += h.x * w;
      b += h.y * w;
      c += h.z * w;
      d += h.w * w;
    }
    workgroupBarrier();
  }
  let row = rows[point] * layer.rowSize + layer.offsets + output;
  a += offsets[row.x];
  b += offsets[row.y];
  c += offsets[row.z];
  d += offsets[row.w];
  if (layer.isSine != 0u) {
    a = sineOfTurns(a);
    b = sineOfTurns(b);
    c = sineOfTurns(c);
    d = sineOfTurns(d);
  }
  // Four points by four outputs, turned round.
  let t = transpose(mat4x4f(a, b, c, d));
  let to = 4u * output * layer.points + point;
  found[to] = t[0];
  found[to + layer.points] = t[1];
  found[to + 2u * layer.points] = t[2];
  found[to + 3u * layer.points] = t[3];
}`;

export class WebGpuNetwork implements Runner {
  private groups: GPUBindGroup[] = [];
  private offsetNumbers = 0;
  private offsets: GPUBuffer | null = null;
  private lost = "";

  private constructor(
    private readonly weights: Weights,
    private readonly device: GPUDevice,
    private readonly pipeline: GPUComputePipeline,
    readonly name: string,
    /** Outputs of each layer, filled up to whole tiles. */
    private readonly outputs: number[],
    private readonly padded: number,
    private readonly most: number,
    private readonly buffers: { layers: GPUBuffer; kernels: GPUBuffer; inputs: GPUBuffer; rows: GPUBuffer; hidden: GPUBuffer[]; found: GPUBuffer },
  ) {
    void device.lost.then(({ message }) => (this.lost = message || "no reason given"));
  }

  /** @throws RendererError if there is no such device, or it cannot do what this needs. */
  static async create(weights: Weights, allowSoftware: boolean): Promise<WebGpuNetwork> {
    const adapter = await globalThis.navigator?.gpu?.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) throw new RendererError("there is no WebGPU");
    const { info } = adapter;
    if (info?.isFallbackAdapter && !allowSoftware) throw new RendererError("WebGPU is emulated by the CPU here");
    const device = await adapter.requestDevice();
    try {
      const name = info?.description || [info?.vendor, info?.architecture].filter(Boolean).join(" ") || "a graphics card";
      return await WebGpuNetwork.on(device, name, weights);
    } catch (error) {
      device.destroy();
      throw error;
    }
  }

  private static async on(device: GPUDevice, name: string, weights: Weights): Promise<WebGpuNetwork> {
    const layers = layersOf(weights).map((layer) => ({
      ...layer,
      inputs: upTo(DEPTH, layer.fanIn),
      outputs: upTo(TILE, layer.fanOut),
    }));
    const padded = Math.max(...layers.map(({ outputs }) => outputs));
    const most = TILE * Math.max(1, Math.min(MOST_POINTS / TILE, Math.floor(MOST_HIDDEN / padded / TILE)));
    const kernels = new Float32Array(layers.reduce((sum, { inputs, outputs }) => sum + inputs * outputs, 0));
    const parameters = new Uint32Array((layers.length * STRIDE) / 4);
    let start = 0;
    layers.forEach(({ kernel, fanIn, fanOut, factor, inputs, outputs }, number) => {
      for (let i = 0; i < fanIn; i++) {
        for (let j = 0; j < fanOut; j++) kernels[start + i * outputs + j] = factor * kernel[i * fanOut + j];
      }
      const isSine = number < layers.length - 1 ? 1 : 0;
      const words = [inputs, outputs / 4, start / 4, (number * padded) / 4, (layers.length * padded) / 4, most / 4, isSine];
      parameters.set(words, (number * STRIDE) / 4);
      start += inputs * outputs;
    });
    const largest = Math.max(4 * most * padded, kernels.byteLength, 4 * MOST_OFFSETS);
    if (largest > device.limits.maxStorageBufferBindingSize) throw new RendererError("WebGPU has too small buffers for this network here");

    const module = device.createShaderModule({ code: SHADER });
    const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: "main" } });
    const { STORAGE, UNIFORM, COPY_DST, COPY_SRC, MAP_READ } = GPUBufferUsage;
    const buffer = (size: number, usage: number): GPUBuffer => device.createBuffer({ size, usage });
    const buffers = {
      layers: buffer(parameters.byteLength, UNIFORM | COPY_DST),
      kernels: buffer(kernels.byteLength, STORAGE | COPY_DST),
      inputs: buffer(4 * most * layers[0].inputs, STORAGE | COPY_DST),
      rows: buffer(4 * most, STORAGE | COPY_DST),
      hidden: [0, 1].map(() => buffer(4 * most * padded, STORAGE | COPY_SRC)),
      found: buffer(4 * most * weights.network.channels, MAP_READ | COPY_DST),
    };
    device.queue.writeBuffer(buffers.layers, 0, parameters);
    device.queue.writeBuffer(buffers.kernels, 0, kernels);
    return new WebGpuNetwork(weights, device, pipeline, name, layers.map(({ outputs }) => outputs), padded, most, buffers);
  }

  dispose(): void {
    this.device.destroy();
  }

  /** @throws RendererError if the device is lost. */
  async evaluate({ shifts, inputs, rows }: Job): Promise<Float32Array> {
    const { inputs: numInputs, channels, width } = this.weights.network;
    const count = inputs.length / numInputs;
    const found = new Float32Array(count * channels);
    const rowSize = this.outputs.length * this.padded;
    const size = this.weights.sine.length * width;
    for (let from = 0; from < count; ) {
      const firstRow = rows ? rows[from] : 0;
      let to = Math.min(count, from + this.most);
      if (rows) while ((rows[to - 1] - firstRow + 1) * rowSize > MOST_OFFSETS && to > from + 1) to = from + ((to - from) >> 1);
      const points = to - from;
      const own = new Uint32Array(upTo(TILE, points));
      if (rows) for (let i = 0; i < points; i++) own[i] = rows[from + i] - firstRow;
      const numRows = own[points - 1] + 1;
      const values = shifts.values.subarray(firstRow * size, (firstRow + numRows) * size);
      await this.run(inputs, from, to, own, offsetsOf(this.weights, { rows: numRows, values }, this.padded), found);
      from = to;
    }
    return found;
  }

  private async run(inputs: Float32Array, from: number, to: number, rows: Uint32Array<ArrayBuffer>, offsets: Float32Array, found: Float32Array): Promise<void> {
    const { device, buffers, most } = this;
    const { inputs: numInputs, channels } = this.weights.network;
    const points = to - from;
    if (this.lost) throw new RendererError(`the browser took WebGPU away: ${this.lost}`);
    this.place(offsets);
    // What is left of former points behind these is computed, too, and not read.
    const column = new Float32Array(points);
    for (let j = 0; j < numInputs; j++) {
      for (let i = 0; i < points; i++) column[i] = inputs[(from + i) * numInputs + j];
      device.queue.writeBuffer(buffers.inputs, 4 * j * most, column);
    }
    device.queue.writeBuffer(buffers.rows, 0, rows);
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(this.pipeline);
    this.groups.forEach((group, layer) => {
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(Math.ceil(points / TILE), this.outputs[layer] / TILE);
    });
    pass.end();
    const last = buffers.hidden[(this.outputs.length - 1) % 2];
    const bytes = 4 * upTo(TILE, points);
    for (let c = 0; c < channels; c++) encoder.copyBufferToBuffer(last, 4 * c * most, buffers.found, c * bytes, bytes);
    device.queue.submit([encoder.finish()]);
    try {
      await buffers.found.mapAsync(GPUMapMode.READ, 0, channels * bytes);
    } catch (error) {
      throw new RendererError(`the browser took WebGPU away: ${this.lost || String(error)}`);
    }
    const numbers = new Float32Array(buffers.found.getMappedRange(0, channels * bytes));
    for (let c = 0; c < channels; c++) {
      const start = (c * bytes) / 4;
      for (let i = 0; i < points; i++) found[(from + i) * channels + c] = numbers[start + i];
    }
    buffers.found.unmap();
  }

  /** Upload offsets, into a larger buffer where the one before is too small. */
  private place(offsets: Float32Array): void {
    const { device, buffers } = this;
    if (offsets.length > this.offsetNumbers) {
      this.offsets?.destroy();
      this.offsetNumbers = offsets.length;
      this.offsets = device.createBuffer({ size: offsets.byteLength, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST });
      const layout = this.pipeline.getBindGroupLayout(0);
      this.groups = this.outputs.map((_, layer) => {
        const all = [
          { buffer: buffers.layers, offset: layer * STRIDE, size: 32 },
          { buffer: layer ? buffers.hidden[(layer - 1) % 2] : buffers.inputs },
          { buffer: buffers.kernels },
          { buffer: this.offsets! },
          { buffer: buffers.rows },
          { buffer: buffers.hidden[layer % 2] },
        ];
        return device.createBindGroup({ layout, entries: all.map((resource, binding) => ({ binding, resource })) });
      });
    }
    device.queue.writeBuffer(this.offsets!, 0, offsets as Float32Array<ArrayBuffer>);
  }
}

const upTo = (multiple: number, count: number): number => multiple * Math.ceil(count / multiple);

/** What tests call in a browser: decoders of each renderer, and what happens to them when things break. */

import { createDecoder, type Decoder, type DecoderOptions, type Region, type RendererName } from "../../src/decode";
import { evaluateInJavaScript, loadWeights, type Weights } from "../../src/decode/evaluator";
import { createEvaluator } from "../../src/decode/pieces";
import { openFunctaset } from "../../src/store";
import { drawSolid, type Solid, type Turn } from "../../src/ui/turned/solids";
import { SolidCard } from "../../src/ui/turned/solid_card";

export interface Decoded {
  renderer: string;
  description: string;
  ranges: number[];
  /** All examples on the archive's own points. */
  values: number[];
}

async function decoderOf(url: string, options: DecoderOptions): Promise<Decoder> {
  return createDecoder(await openFunctaset(url), options);
}

async function natively(url: string, renderer: RendererName): Promise<Decoded> {
  const decoder = await decoderOf(url, { renderer });
  const { functaset } = decoder;
  const values: number[] = [];
  for (let i = 0; i < functaset.count; i++) values.push(...(await decoder.grid(await functaset.modulation(i))));
  const found = {
    renderer: decoder.renderer,
    description: decoder.description,
    ranges: functaset.channels.map(({ range: [low, high] }) => high - low),
    values,
  };
  decoder.dispose();
  return found;
}

/** What is to be decoded of one example beside its own points, as `tests/page/decodings.py` writes it. */
export interface Case {
  name: string;
  index: number;
  tiles: { part: string; region: Region; points: number[] }[];
  origins?: number[];
  directions?: number[];
}

/** Values by part: those of the archive's own points, of tiles, and the colours of rays. */
async function parts(url: string, one: Case, renderer: RendererName): Promise<{ ranges: number[]; values: Record<string, number[]> }> {
  const decoder = await decoderOf(url, { renderer });
  const { functaset } = decoder;
  const modulation = await functaset.modulation(one.index);
  const values: Record<string, number[]> = { native: [...(await decoder.grid(modulation))] };
  for (const { part, region, points } of one.tiles) {
    values[part] = [...(await decoder.tile(modulation, region, points.at(-1)!, points.at(-2) ?? 1))];
  }
  if (one.origins && one.directions) {
    values.rays = [...(await decoder.rays(modulation, Float32Array.from(one.origins), Float32Array.from(one.directions))).colours];
  }
  decoder.dispose();
  return { ranges: functaset.channels.map(({ range: [low, high] }) => high - low), values };
}

/** Tiles of several sizes and places and, of scenes, rays; all in one list. */
async function elsewhere(url: string, renderer: RendererName): Promise<number[]> {
  const decoder = await decoderOf(url, { renderer });
  const { functaset } = decoder;
  const modulation = await functaset.modulation(0);
  const values: number[] = [];
  const regions: Region[] = [
    { rows: [0.1, 0.9], columns: [0, 1] },
    { rows: [0.37, 0.38], columns: [0.6, 0.61] },
  ];
  for (const region of regions) values.push(...(await decoder.tile(modulation, region, 61, functaset.domain.axes.length === 1 ? 1 : 47)));
  if (functaset.domain.kind === "scene") {
    const origins = Float32Array.from({ length: 300 }, (_, i) => [1.3, 0.1, 0.2][i % 3]);
    const directions = new Float32Array(300);
    for (let ray = 0; ray < 100; ray++) {
      const aim = [-1.3, 0.01 * ray - 0.6, 0.3 * Math.sin(ray) - 0.2];
      directions.set(aim.map((part) => part / Math.hypot(...aim)), 3 * ray);
    }
    const { colours, depths, opacities } = await decoder.rays(modulation, origins, directions);
    values.push(...colours, ...depths, ...opacities);
  }
  decoder.dispose();
  return values;
}

/** Sines as a renderer takes them, of arguments in turns. */
async function sines(renderer: RendererName, turns: number[]): Promise<number[]> {
  const only = (length: number, value = 1): Float32Array => Float32Array.from({ length }, (_, i) => (i === 0 ? value : 0));
  const weights: Weights = {
    network: {
      width: 3, depth: 2, w0: 2 * Math.PI, modulation: "shift", grid: null, cellSize: 3, modulationSize: 3, lookup: "nearest",
      mapKernel: 1, mapBias: "shared", head: "linear", inputs: 1, channels: 1,
    },
    sine: [{ kernel: only(3), bias: only(3, 0) }],
    last: { kernel: only(3), bias: only(1, 0) },
    map: null,
  };
  const evaluator = await createEvaluator(renderer, weights, { renderer });
  const shifts = { rows: 1, values: new Float32Array(3) };
  const found = [...(await evaluator.evaluate({ shifts, inputs: Float32Array.from(turns), rows: null }))];
  evaluator.dispose();
  return found;
}

/** Differences of a tile, zoomed in, from double precision, beside those of its neighbouring pixels. */
async function zoomed(url: string, renderer: RendererName, zoom: number): Promise<{ error: number; step: number }> {
  const decoder = await decoderOf(url, { renderer });
  const { functaset } = decoder;
  const weights = await loadWeights(functaset);
  const modulation = await functaset.modulation(0);
  const [low, side] = [0.613, 32];
  const wide = side / 512 / zoom; // 512 pixels show 1 / zoom of the whole
  const found = await decoder.tile(modulation, { rows: [low, low + wide], columns: [low, low + wide] }, side, side);
  const place = (i: number): number => low + ((i + 0.5) / side) * wide;
  const inputs = Float64Array.from({ length: 2 * side ** 2 }, (_, i) => place(i % 2 ? (i >> 1) % side : Math.floor((i >> 1) / side)));
  const { kernel, bias } = weights.map!;
  const shifts = Float32Array.from(bias, (b, j) => modulation.reduce((sum, factor, i) => sum + factor * kernel[i * bias.length + j], b));
  const numbers = evaluateInJavaScript(weights, { shifts: { rows: 1, values: shifts }, inputs: inputs as unknown as Float32Array, rows: null });
  const channels = functaset.channels.length;
  const exact = numbers.map((value, i) => (value + 0.5) * functaset.channels[i % channels].scale + functaset.channels[i % channels].offset);
  const apart = (a: number, b: number): number => Math.abs(a - b) / (functaset.channels[0].range[1] - functaset.channels[0].range[0]);
  let error = 0;
  let step = 0;
  for (let i = 0; i + channels < exact.length; i++) {
    error = Math.max(error, apart(found[i], exact[i]));
    step = Math.max(step, apart(exact[i + channels], exact[i]));
  }
  decoder.dispose();
  return { error, step };
}

export interface Broken {
  /** What decodes before and after. */
  before: string;
  after: string;
  /** What the page is told. */
  told: string[];
  /** Largest difference of the values then from those before. */
  difference: number;
  /** What decodes some seconds later. */
  later: string;
}

/** Take the context away while a decoder in this thread uses it, and look at what it does; `times` in a row. */
async function loseContext(url: string): Promise<Broken> {
  const contexts: WebGL2RenderingContext[] = [];
  const getContext = OffscreenCanvas.prototype.getContext;
  OffscreenCanvas.prototype.getContext = function (this: OffscreenCanvas, ...args: never[]) {
    const found = (getContext as (...args: never[]) => RenderingContext).apply(this, args);
    contexts.push(found as WebGL2RenderingContext);
    return found;
  } as never;
  const told: string[] = [];
  const decoder = await decoderOf(url, { renderer: "webgl2", workers: 0, onChange: (now, reason) => told.push(`${reason}: ${now.renderer}`) });
  const modulation = await decoder.functaset.modulation(0);
  const [first, before] = [await decoder.grid(modulation), decoder.renderer];
  contexts.at(-1)!.getExtension("WEBGL_lose_context")!.loseContext();
  const [second, after] = [await decoder.grid(modulation), decoder.renderer];
  const now = performance.now.bind(performance);
  performance.now = () => now() + 60_000; // a minute later
  await decoder.grid(modulation);
  for (let i = 0; i < 100 && decoder.renderer === after; i++) await new Promise((resolve) => setTimeout(resolve, 50));
  const third = await decoder.grid(modulation);
  performance.now = () => now() + 120_000; // the card that is there again stays
  await decoder.grid(modulation);
  await new Promise((resolve) => setTimeout(resolve, 500));
  performance.now = now;
  OffscreenCanvas.prototype.getContext = getContext;
  const difference = Math.max(...first.map((value, i) => Math.max(Math.abs(value - second[i]), Math.abs(value - third[i])) || 0));
  const found = { before, after, told, difference, later: decoder.renderer };
  decoder.dispose();
  return found;
}

/** Workers that break as `how` says, and what a decoder does. */
async function breakWorkers(url: string, how: "silent" | "unreadable" | "never started"): Promise<Broken> {
  const Real = globalThis.Worker;
  const told: string[] = [];
  globalThis.Worker = class {
    onmessage: ((event: { data: unknown }) => void) | null = null;
    onerror: (() => void) | null = null;
    onmessageerror: (() => void) | null = null;
    postMessage(message: { start?: unknown }): void {
      if (how === "never started") return;
      if (message.start) setTimeout(() => this.onmessage!({ data: { ready: "broken" } }));
      else if (how === "unreadable") setTimeout(() => this.onmessageerror!());
    }
    terminate(): void {}
  } as unknown as typeof Worker;
  try {
    const decoder = await decoderOf(url, { renderer: "wasm", workers: 2, patience: 1, onChange: (_, reason) => told.push(reason) });
    const before = decoder.description;
    const modulation = await decoder.functaset.modulation(0);
    const found = await decoder.grid(modulation);
    const after = decoder.description;
    const expected = await (await decoderOf(url, { renderer: "js", workers: 0 })).grid(modulation);
    const difference = Math.max(...found.map((value, i) => Math.abs(value - expected[i]) || 0));
    return { before, after, told, difference, later: decoder.description };
  } finally {
    globalThis.Worker = Real;
  }
}

/** Whether what a renderer takes of the browser is given back where it then cannot work; null if it took nothing. */
async function givenBack(url: string, renderer: "webgl2" | "webgpu"): Promise<{ message: string; isLost: boolean | null }> {
  let isLost: (() => Promise<boolean>) | null = null;
  const { getContext } = OffscreenCanvas.prototype;
  const device = globalThis.GPUDevice?.prototype;
  const createPipeline = device?.createComputePipelineAsync;
  OffscreenCanvas.prototype.getContext = function (this: OffscreenCanvas, ...args: never[]) {
    const gl = (getContext as (...args: never[]) => unknown).apply(this, args) as WebGL2RenderingContext;
    const { getExtension } = gl;
    gl.getExtension = ((name: string) => (name === "EXT_color_buffer_float" ? null : getExtension.call(gl, name as never))) as never;
    isLost = () => Promise.resolve(gl.isContextLost());
    return gl;
  } as never;
  if (device) {
    device.createComputePipelineAsync = async function (this: GPUDevice) {
      isLost = () => Promise.race([this.lost.then(() => true), new Promise<boolean>((late) => setTimeout(() => late(false), 2000))]);
      throw new Error("no pipeline");
    };
  }
  try {
    const message = await decoderOf(url, { renderer, workers: 0 }).then(() => "", (error: Error) => error.message);
    return { message, isLost: isLost && (await (isLost as () => Promise<boolean>)()) };
  } finally {
    OffscreenCanvas.prototype.getContext = getContext;
    if (device) device.createComputePipelineAsync = createPipeline!;
  }
}

/** Why WebGPU cannot be used here; null if it can. */
async function whyNoWebGpu(): Promise<string | null> {
  if (!navigator.gpu) return "this browser has no navigator.gpu";
  const adapter = await navigator.gpu.requestAdapter();
  return adapter ? null : "this browser finds no adapter";
}

/** What is wrong with a shader; null where there is nothing to ask. */
async function validated(code: string): Promise<string[] | null> {
  const device = await (await navigator.gpu?.requestAdapter())?.requestDevice();
  if (!device) return null;
  const { messages } = await device.createShaderModule({ code }).getCompilationInfo();
  return messages.map(({ message }) => message);
}

/** A ball in a box with unequal sides, drawn by the graphics card and by this thread: share of pixels that differ visibly. */
function solids(turn: Turn): { differing: number; filled: number; milliseconds: number } {
  const size: Solid["size"] = [20, 24, 28];
  const values = Float32Array.from({ length: size[0] * size[1] * size[2] }, (_, i) => {
    const [z, y, x] = [Math.floor(i / 672) / 20, (Math.floor(i / 28) % 24) / 24, (i % 28) / 28];
    return 0.9 - Math.hypot(z - 0.5, y - 0.45, x - 0.6) + 0.05 * Math.sin(20 * x);
  });
  const solid: Solid = { values, size, level: 0.5, extent: [0.8, 0.9, 1] };
  const side = 128;
  const expected = new ImageData(side, side);
  drawSolid(solid, turn, side, side, expected.data);
  const card = SolidCard.get();
  if (!card?.draw(solid, turn, side)) throw new Error("the graphics card does not draw");
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d")!;
  context.drawImage(card.canvas, 0, 0);
  const found = context.getImageData(0, 0, side, side).data;
  let [differing, filled] = [0, 0];
  for (let i = 0; i < found.length; i += 4) {
    filled += Number(expected.data[i + 3] === 255) / side ** 2;
    if ([0, 1, 2, 3].some((c) => Math.abs(found[i + c] - expected.data[i + c]) > 3)) differing += 1 / side ** 2;
  }
  const began = performance.now();
  card.draw(solid, turn, 384);
  return { differing, filled, milliseconds: performance.now() - began };
}

/**
 * What the page would take by itself where WebGL2 pretends to be a graphics card that is slow or wrong, or there is no
 * WebAssembly; what it then remembers and takes the next
 * time, and how many contexts these two ask for.
 */
async function chosen(url: string, how: "emulated" | "slow" | "wrong" | "without WebAssembly"): Promise<(string | null)[]> {
  localStorage.clear();
  const contexts: unknown[] = [];
  const { getContext } = OffscreenCanvas.prototype;
  const { Module } = WebAssembly;
  if (how === "without WebAssembly") WebAssembly.Module = class { constructor() { throw new Error("not here"); } } as never;
  if (how !== "emulated") {
    OffscreenCanvas.prototype.getContext = function (this: OffscreenCanvas, kind: string) {
      const gl = (getContext as (...args: unknown[]) => unknown).call(this, kind) as WebGL2RenderingContext;
      contexts.push(gl);
      const { readPixels, getParameter } = gl;
      gl.getParameter = (name: GLenum) => (name === 0x9246 ? "A card" : getParameter.call(gl, name));
      gl.readPixels = ((...args: unknown[]) => {
        const until = performance.now() + (how === "slow" ? 100 : 0);
        (readPixels as (...args: unknown[]) => void).apply(gl, args);
        while (performance.now() < until);
        if (how === "wrong") (args[6] as Float32Array).fill(0.25);
      }) as never;
      return gl;
    } as never;
  }
  try {
    const decoder = await decoderOf(url, { workers: 0 });
    const isSettled = (): boolean => localStorage.length > 0 && (decoder.renderer === "wasm" || contexts.length > 0);
    for (let i = 0; i < 60 && !isSettled(); i++) await new Promise((resolve) => setTimeout(resolve, 50));
    await new Promise((resolve) => setTimeout(resolve, 50)); // what is remembered is taken at once
    const { renderer } = decoder;
    decoder.dispose();
    const kept = (Object.values(localStorage)[0] as string | undefined)?.split(" ")[0] ?? null;
    // What is remembered is taken again, and no card is asked where the CPU was faster.
    const before = contexts.length;
    const again = await decoderOf(url, { workers: 0 });
    again.dispose();
    return [renderer, kept, again.renderer, `${before} + ${contexts.length - before}`];
  } finally {
    OffscreenCanvas.prototype.getContext = getContext;
    WebAssembly.Module = Module;
  }
}

const calls = { natively, parts, elsewhere, sines, zoomed, loseContext, breakWorkers, givenBack, whyNoWebGpu, validated, solids, chosen };

export type Calls = typeof calls;

Object.assign(globalThis, { calls });

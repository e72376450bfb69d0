/**
 * The network in WebGL2: one pass per layer and 16 outputs, through targets of float32.
 *
 * Hidden values lie in an array texture of four layers: point p of group g of 16 outputs at column p % 256 and row
 * g * tall + p / 256, outputs 4a to 4a + 3 of the group in layer a. A fragment computes the 16 outputs of a point: per four
 * inputs it fetches one texel, and reads four matrices from a uniform buffer, which all fragments read alike.
 */

import { type Job, RendererError, type Runner, type Weights } from "../evaluator";
import { giveBack, linkProgram, madeWith, webgl2Context } from "./context";
import { layersOf, offsetsOf } from "./offsets";
import { GLSL_SINE } from "./sine";

const COLUMNS = 256;
/** Outputs of a pass: four targets of four. */
const GROUP = 16;
/** Points of a batch, and hidden numbers of all of them; 4 * 2^23 bytes in each of two textures. */
const [MOST_POINTS, MOST_HIDDEN] = [2 ** 16, 2 ** 23];
/** Texels of a row of biases and shifts, and numbers of them in a batch. */
const [OFFSET_COLUMNS, MOST_OFFSETS] = [1024, 2 ** 22];

const fragments = (matrices: number): string => `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
precision highp sampler2DArray;
precision highp isampler2D;
layout(std140) uniform Kernel { mat4 kernel[${matrices}]; };
uniform sampler2DArray source;
uniform sampler2D offsets;
uniform isampler2D rows;
uniform int steps;       // inputs, by fours
uniform int tall;        // rows of texels of a group
uniform int bottom;      // first row of texels of the group that is written
uniform int first;       // where this group's offsets begin in a row of them, by fours
uniform int rowSize;     // offsets of one row of shifts, by fours; 0 where all points share one
uniform bool isSine;
layout(location = 0) out vec4 out0;
layout(location = 1) out vec4 out1;
layout(location = 2) out vec4 out2;
layout(location = 3) out vec4 out3;
${GLSL_SINE}
vec4 offset(int place) {
  return texelFetch(offsets, ivec2(place % ${OFFSET_COLUMNS}, place / ${OFFSET_COLUMNS}), 0);
}
void main() {
  ivec2 point = ivec2(gl_FragCoord.xy) - ivec2(0, bottom);
  int place = first + (rowSize == 0 ? 0 : rowSize * texelFetch(rows, point, 0).x);
  vec4 a = offset(place);
  vec4 b = offset(place + 1);
  vec4 c = offset(place + 2);
  vec4 d = offset(place + 3);
  for (int i = 0; i < steps; i++) {
    vec4 h = texelFetch(source, ivec3(point.x, point.y + (i >> 2) * tall, i & 3), 0);
    a += kernel[4 * i] * h;
    b += kernel[4 * i + 1] * h;
    c += kernel[4 * i + 2] * h;
    d += kernel[4 * i + 3] * h;
  }
  out0 = isSine ? sineOfTurns(a) : a;
  out1 = isSine ? sineOfTurns(b) : b;
  out2 = isSine ? sineOfTurns(c) : c;
  out3 = isSine ? sineOfTurns(d) : d;
}`;

interface Target {
  texture: WebGLTexture;
  frame: WebGLFramebuffer;
}

/** One layer: how many inputs by fours, groups of outputs, and where its matrices begin in the buffer. */
interface Layer {
  steps: number;
  groups: number;
  start: number;
}

export class WebGl2Network implements Runner {
  private readonly layers: Layer[];
  private readonly uniforms: Record<string, WebGLUniformLocation>;
  private readonly targets: [Target, Target];
  private readonly inputs: WebGLTexture;
  private readonly rows: WebGLTexture;
  private readonly offsets: WebGLTexture;
  /** Outputs of the widest layer, filled up to whole groups. */
  private readonly padded: number;
  /** Points of a batch at most. */
  private readonly most: number;
  /** Bytes of the matrices of a pass; those of layers with fewer inputs are followed by others'. */
  private readonly blockBytes: number;
  private readonly inputLayers: number;

  /** @throws RendererError if there is no such context, or it cannot do what this needs. */
  static create(weights: Weights, allowSoftware: boolean): WebGl2Network {
    const canvas = typeof OffscreenCanvas === "undefined" ? document.createElement("canvas") : new OffscreenCanvas(1, 1);
    const { gl, name } = webgl2Context(canvas, allowSoftware, { alpha: false, powerPreference: "high-performance" });
    return madeWith(gl, () => new WebGl2Network(weights, gl, name));
  }

  private constructor(
    private readonly weights: Weights,
    private readonly gl: WebGL2RenderingContext,
    readonly name: string,
  ) {
    const { network } = weights;
    if (!gl.getExtension("EXT_color_buffer_float")) throw new RendererError("WebGL2 cannot draw to float32 here");
    this.padded = upTo(GROUP, Math.max(network.width, network.channels));
    const matrices = upTo(4, Math.max(network.width, network.inputs));
    this.blockBytes = 64 * matrices;
    const largest = gl.getParameter(gl.MAX_UNIFORM_BLOCK_SIZE) as number;
    if (this.blockBytes > largest) {
      throw new RendererError(`WebGL2 takes networks of at most ${largest / 64} units here, this one has ${network.width}`);
    }
    this.most = COLUMNS * Math.max(1, Math.min(MOST_POINTS / COLUMNS, Math.floor(MOST_HIDDEN / this.padded / COLUMNS)));
    this.inputLayers = Math.ceil(network.inputs / 4);

    const program = linkProgram(gl, fragments(matrices));
    const names = ["source", "offsets", "rows", "steps", "tall", "bottom", "first", "rowSize", "isSine"];
    this.uniforms = Object.fromEntries(names.map((name) => [name, gl.getUniformLocation(program, name)!]));
    gl.uniformBlockBinding(program, gl.getUniformBlockIndex(program, "Kernel"), 0);
    ["source", "offsets", "rows"].forEach((name, unit) => gl.uniform1i(this.uniforms[name], unit));

    const { packed, layers } = pack(weights, matrices);
    this.layers = layers;
    gl.bindBuffer(gl.UNIFORM_BUFFER, gl.createBuffer());
    gl.bufferData(gl.UNIFORM_BUFFER, packed, gl.STATIC_DRAW);
    this.buffer = gl.getParameter(gl.UNIFORM_BUFFER_BINDING) as WebGLBuffer;

    const tall = this.most / COLUMNS;
    const high = (tall * this.padded) / GROUP;
    if (high > (gl.getParameter(gl.MAX_TEXTURE_SIZE) as number)) throw new RendererError("WebGL2 has too small textures here");
    this.inputs = this.array(COLUMNS, tall, this.inputLayers);
    this.targets = [this.target(high), this.target(high)];
    this.rows = this.flat();
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.R32I, COLUMNS, tall);
    this.offsets = this.flat();
    if (gl.getError() !== gl.NO_ERROR) throw new RendererError("WebGL2 has too little memory here");
  }

  private readonly buffer: WebGLBuffer;

  dispose(): void {
    giveBack(this.gl);
  }

  /** @throws RendererError if the context is lost. */
  evaluate({ shifts, inputs, rows }: Job): Float32Array {
    const { inputs: numInputs, channels } = this.weights.network;
    const count = inputs.length / numInputs;
    const found = new Float32Array(count * channels);
    const rowSize = (this.weights.sine.length + 1) * this.padded;
    for (let from = 0; from < count; ) {
      const firstRow = rows ? rows[from] : 0;
      let to = Math.min(count, from + this.most);
      if (rows) while ((rows[to - 1] - firstRow + 1) * rowSize > MOST_OFFSETS && to > from + 1) to = from + ((to - from) >> 1);
      this.upload(inputs, from, to);
      const own = rows ? rows.subarray(from, to).map((row) => row - firstRow) : null;
      if (own) this.uploadRows(own);
      const size = this.weights.sine.length * this.weights.network.width;
      const last = firstRow + (own ? own[own.length - 1] : 0) + 1;
      this.uploadOffsets({ rows: last - firstRow, values: shifts.values.subarray(firstRow * size, last * size) });
      const target = this.draw(to - from, own !== null);
      this.read(target, to - from, found.subarray(from * channels, to * channels));
      if (this.gl.isContextLost()) throw new RendererError("the browser took WebGL2 away, as it does when a graphics card hangs or is needed elsewhere");
      from = to;
    }
    return found;
  }

  private upload(inputs: Float32Array, from: number, to: number): void {
    const { gl } = this;
    const { inputs: numInputs } = this.weights.network;
    const tall = Math.ceil((to - from) / COLUMNS);
    const size = 4 * COLUMNS * tall;
    const texels = new Float32Array(size * this.inputLayers);
    for (let i = from, at = 0; i < to; i++, at += 4) {
      for (let j = 0; j < numInputs; j++) texels[(j >> 2) * size + at + (j & 3)] = inputs[i * numInputs + j];
    }
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D_ARRAY, this.inputs);
    gl.texSubImage3D(gl.TEXTURE_2D_ARRAY, 0, 0, 0, 0, COLUMNS, tall, this.inputLayers, gl.RGBA, gl.FLOAT, texels);
  }

  private uploadRows(rows: Int32Array): void {
    const { gl } = this;
    const tall = Math.ceil(rows.length / COLUMNS);
    const texels = new Int32Array(tall * COLUMNS);
    texels.set(rows);
    gl.activeTexture(gl.TEXTURE2);
    gl.bindTexture(gl.TEXTURE_2D, this.rows);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, COLUMNS, tall, gl.RED_INTEGER, gl.INT, texels);
  }

  private uploadOffsets(shifts: { rows: number; values: Float32Array }): void {
    const { gl } = this;
    const offsets = offsetsOf(this.weights, shifts, this.padded);
    const tall = Math.ceil(offsets.length / 4 / OFFSET_COLUMNS);
    const texels = new Float32Array(4 * OFFSET_COLUMNS * tall);
    texels.set(offsets);
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D, this.offsets);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, OFFSET_COLUMNS, tall, 0, gl.RGBA, gl.FLOAT, texels);
  }

  /** Run all layers; the target that then has the last one's numbers. */
  private draw(points: number, hasRows: boolean): Target {
    const { gl, uniforms } = this;
    const tall = Math.ceil(points / COLUMNS);
    const perLayer = this.padded / 4;
    gl.activeTexture(gl.TEXTURE2);
    gl.bindTexture(gl.TEXTURE_2D, this.rows);
    gl.activeTexture(gl.TEXTURE0);
    gl.uniform1i(uniforms.rowSize, hasRows ? this.layers.length * perLayer : 0);
    gl.uniform1i(uniforms.tall, tall);
    let source = this.inputs;
    this.layers.forEach(({ steps, groups, start }, layer) => {
      const target = this.targets[layer % 2];
      gl.bindFramebuffer(gl.FRAMEBUFFER, target.frame);
      gl.bindTexture(gl.TEXTURE_2D_ARRAY, source);
      gl.uniform1i(uniforms.steps, steps);
      gl.uniform1i(uniforms.isSine, layer < this.layers.length - 1 ? 1 : 0);
      for (let group = 0; group < groups; group++) {
        gl.bindBufferRange(gl.UNIFORM_BUFFER, 0, this.buffer, start + group * 256 * steps, this.blockBytes);
        gl.uniform1i(uniforms.bottom, group * tall);
        gl.uniform1i(uniforms.first, layer * perLayer + group * 4);
        gl.viewport(0, group * tall, COLUMNS, tall);
        gl.drawArrays(gl.TRIANGLES, 0, 3);
      }
      source = target.texture;
    });
    return this.targets[(this.layers.length - 1) % 2];
  }

  private read(target: Target, points: number, into: Float32Array): void {
    const { gl } = this;
    const { channels } = this.weights.network;
    const tall = Math.ceil(points / COLUMNS);
    const texels = new Float32Array(4 * COLUMNS * tall);
    gl.bindFramebuffer(gl.FRAMEBUFFER, target.frame);
    for (let first = 0; first < channels; first += 4) {
      gl.readBuffer(gl.COLOR_ATTACHMENT0 + ((first >> 2) & 3));
      gl.readPixels(0, Math.floor(first / GROUP) * tall, COLUMNS, tall, gl.RGBA, gl.FLOAT, texels);
      const here = Math.min(4, channels - first);
      for (let i = 0; i < points; i++) for (let j = 0; j < here; j++) into[i * channels + first + j] = texels[4 * i + j];
    }
  }

  private flat(): WebGLTexture {
    const { gl } = this;
    const texture = gl.createTexture()!;
    gl.bindTexture(gl.TEXTURE_2D, texture);
    unfiltered(gl, gl.TEXTURE_2D);
    return texture;
  }

  private array(wide: number, tall: number, layers: number): WebGLTexture {
    const { gl } = this;
    const texture = gl.createTexture()!;
    gl.bindTexture(gl.TEXTURE_2D_ARRAY, texture);
    gl.texStorage3D(gl.TEXTURE_2D_ARRAY, 1, gl.RGBA32F, wide, tall, layers);
    unfiltered(gl, gl.TEXTURE_2D_ARRAY);
    return texture;
  }

  private target(tall: number): Target {
    const { gl } = this;
    const texture = this.array(COLUMNS, tall, 4);
    const frame = gl.createFramebuffer()!;
    gl.bindFramebuffer(gl.FRAMEBUFFER, frame);
    const places = [0, 1, 2, 3].map((layer) => gl.COLOR_ATTACHMENT0 + layer);
    places.forEach((place, layer) => gl.framebufferTextureLayer(gl.FRAMEBUFFER, place, texture, 0, layer));
    gl.drawBuffers(places);
    if (gl.checkFramebufferStatus(gl.FRAMEBUFFER) !== gl.FRAMEBUFFER_COMPLETE) throw new RendererError("WebGL2 cannot draw to four float32 targets here");
    return { texture, frame };
  }
}

function unfiltered(gl: WebGL2RenderingContext, kind: GLenum): void {
  gl.texParameteri(kind, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
  gl.texParameteri(kind, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
}

/** Kernels as matrices of four outputs (rows) by four inputs (columns), (layer, group of 16 outputs, four inputs, 4). */
function pack(weights: Weights, matrices: number): { packed: Float32Array; layers: Layer[] } {
  const all = layersOf(weights).map((layer) => ({
    ...layer,
    steps: Math.ceil(layer.fanIn / 4),
    groups: Math.ceil(layer.fanOut / GROUP),
  }));
  const size = all.reduce((sum, { steps, groups }) => sum + groups * steps * 64, 0);
  const packed = new Float32Array(size + matrices * 16); // a block that is bound may reach beyond the last matrix
  const layers: Layer[] = [];
  let start = 0;
  for (const { kernel, fanIn, fanOut, factor, steps, groups } of all) {
    layers.push({ steps, groups, start: 4 * start });
    for (let input = 0; input < fanIn; input++) {
      for (let output = 0; output < fanOut; output++) {
        const group = Math.floor(output / GROUP);
        const matrix = (group * steps + (input >> 2)) * 4 + ((output % GROUP) >> 2);
        packed[start + matrix * 16 + (input & 3) * 4 + (output & 3)] = kernel[input * fanOut + output] * factor;
      }
    }
    start += groups * steps * 64;
  }
  return { packed, layers };
}

const upTo = (multiple: number, count: number): number => multiple * Math.ceil(count / multiple);

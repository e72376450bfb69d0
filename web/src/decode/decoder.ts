/** What a decoder offers, on whatever it runs. */

import type { Functaset } from "../store";

/** What runs the network: the graphics card by WebGPU or WebGL2, or the CPU by WebAssembly or JavaScript. */
export type RendererName = "webgpu" | "webgl2" | "wasm" | "js";

/**
 * A rectangle of the domain. Rows run along one axis, columns along another; all other axes stay where `at` says.
 *
 * Point r of `height` rows lies at `rows[0] + (r + 0.5) / height * (rows[1] - rows[0])`: of cells and scenes fractions
 * in [0, 1], of the sphere degrees. The ends may fall: `rows: [90, -90]` has the north on top.
 */
export interface Region {
  rows: [number, number];
  columns: [number, number];
  /** Axis of the rows; the last but one of the domain unless given (sound has none, and one row). */
  rowAxis?: number;
  /** Axis of the columns; the last of the domain unless given. */
  columnAxis?: number;
  /** Positions along all axes of the domain; those of rows and columns are ignored. 0.5 everywhere unless given. */
  at?: number[];
}

export interface Decoding {
  signal?: AbortSignal;
}

export interface TileDecoding extends Decoding {
  /**
   * Called with coarser versions of the tile while it is computed, each as large as the tile, sharper by turns.
   * Without it, no time is spent on them.
   */
  onPreview?: (values: Float32Array) => void;
  /**
   * Largest error, as a fraction of a channel's range, up to which values may be interpolated between computed ones
   * (checked on points in between). 0, the default, computes each point.
   */
  tolerance?: number;
}

/** Colours, and the expected depth and opacity of each ray. */
export interface Rendered {
  /** Red, green and blue of each ray in front of white; not clipped. */
  colours: Float32Array;
  depths: Float32Array;
  opacities: Float32Array;
}

export interface Decoder {
  /** What runs the network now; another one takes over where it fails. */
  readonly renderer: RendererName;
  /** What it runs on in words, for people: the graphics card, or how many workers. */
  readonly description: string;
  readonly functaset: Functaset;
  /**
   * Values at positions, in units of the archive; not clipped; NaN where the domain's mask hides a point.
   *
   * @param modulation From `functaset.modulation`, or any other numbers of that size.
   * @param positions (points, axes of the domain): fractions in [0, 1], or degrees north and east.
   * @returns (points, channels)
   */
  points(modulation: Float32Array, positions: Float32Array, options?: Decoding): Promise<Float32Array>;
  /** Values of a rectangle, (height, width, channels). */
  tile(
    modulation: Float32Array,
    region: Region,
    width: number,
    height: number,
    options?: TileDecoding,
  ): Promise<Float32Array>;
  /** Values of the native grid or one of any resolution, (*resolution, channels). */
  grid(modulation: Float32Array, resolution?: number[], options?: Decoding): Promise<Float32Array>;
  /**
   * What is seen along rays through a scene.
   *
   * @param origins (rays, 3): x, y, z in the world.
   * @param directions (rays, 3): unit vectors.
   * @param options.numSamples Samples per ray; the domain's unless given. Fewer are faster and coarser.
   */
  rays(
    modulation: Float32Array,
    origins: Float32Array,
    directions: Float32Array,
    options?: Decoding & { numSamples?: number },
  ): Promise<Rendered>;
  dispose(): void;
}

export interface DecoderOptions extends Decoding {
  /** Take this one, also where the CPU emulates it, or fail; the fastest that works unless given. */
  renderer?: RendererName;
  /** Workers of the CPU; as many as cores unless given. 0 runs everything in this thread. */
  workers?: number;
  /** Seconds after which a worker that does not answer counts as failed; 20 unless given. */
  patience?: number;
  /** Told when another renderer takes over, and why. */
  onChange?: (decoder: { renderer: RendererName; description: string }, reason: string) => void;
}

/** The decoder: places points, runs the network by an evaluator, and makes values of its numbers. */

import { type Domain, type Functaset, StoreError } from "../store";
import type { Decoder, Decoding, Region, Rendered, RendererName, TileDecoding } from "./decoder";
import type { Evaluator, Shifts, ShiftMap } from "./evaluator";
import { fill, sampled, Trials } from "./interpolation";
import { type Located, locate } from "./places";
import { type Alive, composite, enterAndLeave, SAMPLES_AT_A_TIME } from "./rays";

/** Points that are decoded by one call; positions and values of more would not fit into the memory of a page. */
const MOST_POINTS = 2 ** 24;
/** Evaluations that are placed and run at once, so that a stopped call ends soon. */
const EVALUATIONS_AT_A_TIME = 2 ** 18;
const HIGHEST_DENSITY = 10;
const DENSITY_ALPHA = 0.1;
/** Pixels between computed ones, of the versions of a tile from coarse to fine. */
const STEPS = [8, 4, 2];
const CHECKED_PIXELS = 192;

type Position = (point: number, into: Float64Array) => void;

export class ModulationDecoder implements Decoder {
  private readonly domain: Domain;
  private readonly channels: number;
  private readonly trials = new Trials();

  constructor(
    readonly functaset: Functaset,
    private readonly evaluator: Evaluator,
    private readonly shifts: ShiftMap,
  ) {
    this.domain = functaset.domain;
    this.channels = functaset.channels.length;
  }

  get renderer(): RendererName {
    return this.evaluator.renderer;
  }

  get description(): string {
    return this.evaluator.description;
  }

  dispose(): void {
    this.evaluator.dispose();
  }

  async points(modulation: Float32Array, positions: Float32Array, options: Decoding = {}): Promise<Float32Array> {
    const axes = this.domain.axes.length;
    const count = positions.length / axes;
    if (!Number.isInteger(count)) throw new RangeError(`positions have ${positions.length} numbers, not ${axes} for each point`);
    return this.valuesAt(modulation, count, (point, into) => {
      for (let axis = 0; axis < axes; axis++) into[axis] = positions[point * axes + axis]!;
    }, options.signal);
  }

  async grid(modulation: Float32Array, resolution?: number[], options: Decoding = {}): Promise<Float32Array> {
    const { domain } = this;
    const shape = resolution ?? domain.resolution;
    if (shape.length !== domain.axes.length) throw new RangeError(`resolution has ${shape.length} axes, not ${domain.axes.length}`);
    const ends = domain.axes.map((_, axis) => this.ends(axis));
    const isNative = String(shape) === String(domain.resolution);
    const native = domain.kind === "sphere" && isNative ? [domain.latitudes, domain.longitudes] : null;
    return this.valuesAt(modulation, shape.reduce((total, n) => total * n, 1), (point, into) => {
      for (let axis = shape.length - 1, rest = point; axis >= 0; axis--) {
        const i = rest % shape[axis]!;
        rest = Math.floor(rest / shape[axis]!);
        const [low, high] = ends[axis]!;
        into[axis] = native ? native[axis]![i]! : low + ((i + 0.5) / shape[axis]!) * (high - low);
      }
    }, options.signal);
  }

  /** Where the domain begins and ends along an axis, in the order of the archive. */
  private ends(axis: number): [number, number] {
    const { domain } = this;
    if (domain.kind !== "sphere") return [0, 1];
    const { south, north, west, east } = domain.covered;
    const [low, high] = axis === 0 ? [south, north] : [west, east];
    const values = axis === 0 ? domain.latitudes : domain.longitudes;
    return values[0]! < values.at(-1)! ? [low, high] : [high, low];
  }

  async tile(
    modulation: Float32Array,
    region: Region,
    width: number,
    height: number,
    options: TileDecoding = {},
  ): Promise<Float32Array> {
    const at = this.along(region);
    const { signal, onPreview, tolerance = 0 } = options;
    const each = (rows: number, columns: number, row0: number, column0: number, step: number): Promise<Float32Array> =>
      // Nodes of a coarser grid of pixels: node i lies at pixel start + i * step.
      this.valuesAt(modulation, rows * columns, (point, into) => {
        at((row0 + Math.floor(point / columns) * step + 0.5) / height, (column0 + (point % columns) * step + 0.5) / width, into);
      }, signal);
    if (onPreview || tolerance > 0) {
      const isSmooth = this.functaset.network.grid === null && !(this.domain.kind === "sphere" && this.domain.mask);
      const ranges = this.functaset.channels.map(({ range: [low, high] }) => high - low);
      const pitch = (Math.abs(region.rows[1] - region.rows[0]) / height).toPrecision(3);
      for (const step of STEPS) {
        const tried = `${step} x ${pitch}, ${tolerance}`;
        const isTrial = tolerance > 0 && isSmooth && this.trials.areWorthwhile(tried);
        const isWanted = onPreview || isTrial;
        if (!isWanted || Math.min(width, height) < 4 * step) continue;
        const nodes = sampled(width, height, step);
        const values = await each(nodes.rows, nodes.columns, nodes.start, nodes.start, step);
        const tile = fill(values, nodes, width, height, this.channels);
        onPreview?.(tile);
        if (!isTrial) continue;
        const agrees = await this.agrees(modulation, at, tile, width, height, tolerance, ranges, signal);
        this.trials.note(tried, agrees);
        if (agrees) return tile;
      }
    }
    return each(height, width, 0, 0, 1);
  }

  /** Whether values of some pixels of a tile are those that the network gives, within a share of the ranges. */
  private async agrees(
    modulation: Float32Array,
    at: (row: number, column: number, into: Float64Array) => void,
    tile: Float32Array,
    width: number,
    height: number,
    tolerance: number,
    ranges: number[],
    signal?: AbortSignal,
  ): Promise<boolean> {
    // A sequence that spreads evenly over the tile (Roberts 2018, the generalised golden ratio in two dimensions).
    const pixels = Array.from({ length: CHECKED_PIXELS }, (_, i) => {
      const [u, v] = [(0.5 + 0.7548776662466927 * i) % 1, (0.5 + 0.5698402909980532 * i) % 1];
      return [Math.floor(u * height), Math.floor(v * width)] as const;
    });
    const exact = await this.valuesAt(modulation, pixels.length, (point, into) => {
      at((pixels[point]![0] + 0.5) / height, (pixels[point]![1] + 0.5) / width, into);
    }, signal);
    return pixels.every(([row, column], i) =>
      ranges.every((range, channel) => {
        const found = tile[(row * width + column) * this.channels + channel]!;
        return Math.abs(found - exact[i * this.channels + channel]!) <= tolerance * range;
      }),
    );
  }

  /** Position of a place in a region, given as fractions of its rows and columns. */
  private along(region: Region): (row: number, column: number, into: Float64Array) => void {
    const axes = this.domain.axes.length;
    const { rows, columns } = region;
    const columnAxis = region.columnAxis ?? axes - 1;
    const rowAxis = region.rowAxis ?? axes - 2;
    const isAxis = (axis: number): boolean => Number.isInteger(axis) && axis < axes && axis >= (axes === 1 ? -1 : 0);
    if (!isAxis(rowAxis) || !isAxis(columnAxis) || columnAxis < 0 || rowAxis === columnAxis) {
      throw new RangeError(`rows and columns along axes ${rowAxis} and ${columnAxis}, the domain has ${axes}`);
    }
    if (![...rows, ...columns].every(Number.isFinite)) throw new RangeError("the ends of a region must be finite");
    const fixed = region.at ?? this.domain.axes.map((_, axis) => (this.ends(axis)[0] + this.ends(axis)[1]) / 2);
    return (row, column, into) => {
      into.set(fixed);
      if (rowAxis >= 0) into[rowAxis] = rows[0] + row * (rows[1] - rows[0]);
      into[columnAxis] = columns[0] + column * (columns[1] - columns[0]);
    };
  }

  async rays(
    modulation: Float32Array,
    origins: Float32Array,
    directions: Float32Array,
    options: Decoding & { numSamples?: number } = {},
  ): Promise<Rendered> {
    const { domain } = this;
    if (domain.kind !== "scene") throw new StoreError(`${this.functaset.url}: has no scenes, so that there are no rays.`);
    const samples = options.numSamples ?? domain.numSamples;
    const count = origins.length / 3;
    if (!Number.isInteger(count) || directions.length !== origins.length || !(samples >= 1)) {
      throw new RangeError("rays need an origin and a direction of three numbers each, and samples");
    }
    const alive: Alive = enterAndLeave(domain, origins, directions);
    const rendered = {
      colours: new Float32Array(3 * count),
      depths: new Float32Array(count),
      opacities: new Float32Array(count),
    };
    // Samples of all rays that still let light through, some at a time from front to back.
    for (let first = 0; first < samples && alive.rays.length > 0; first += SAMPLES_AT_A_TIME) {
      const number = Math.min(SAMPLES_AT_A_TIME, samples - first);
      const { bound } = domain;
      const features = await this.valuesAt(modulation, alive.rays.length * number, (point, into) => {
        const ray = alive.rays[Math.floor(point / number)]!;
        const distance = alive.distance(ray, first + (point % number), samples);
        for (let axis = 0; axis < 3; axis++) {
          const world = origins[3 * ray + 2 - axis]! + directions[3 * ray + 2 - axis]! * distance;
          into[axis] = Math.min(1, Math.max(0, world / (2 * bound) + 0.5));
        }
      }, options.signal, true);
      composite(alive, features, first, number, samples, domain.densityScale, rendered);
    }
    for (let i = 0; i < 3 * count; i++) rendered.colours[i] = rendered.colours[i]! + 1 - rendered.opacities[Math.floor(i / 3)]!;
    return rendered;
  }

  /** Values at positions, some at a time. */
  private async valuesAt(
    modulation: Float32Array,
    points: number,
    position: Position,
    signal?: AbortSignal,
    asFeatures = false,
  ): Promise<Float32Array> {
    const { network } = this.functaset;
    if (modulation.length !== network.modulationSize) {
      throw new RangeError(`a modulation has ${network.modulationSize} numbers, got ${modulation.length}`);
    }
    if (!(points <= MOST_POINTS)) {
      throw new StoreError(`${points} points at once are too many for a page, which takes ${MOST_POINTS}; decode a part.`);
    }
    const candidates = network.grid && network.lookup === "linear" ? 2 ** network.grid.length : 1;
    const step = Math.max(1, Math.floor(EVALUATIONS_AT_A_TIME / candidates));
    const found = new Float32Array(points * this.channels);
    for (let start = 0; start < points; start += step) {
      signal?.throwIfAborted();
      const count = Math.min(step, points - start);
      const located = locate(this.domain, network, count, (point, into) => position(start + point, into));
      const numbers = await this.numbers(modulation, located, signal);
      this.finish(numbers, located, found.subarray(start * this.channels, (start + count) * this.channels), asFeatures);
    }
    return found;
  }

  /** Numbers of the last layer, (points, channels), blended where several cells count. */
  private async numbers(modulation: Float32Array, located: Located, signal?: AbortSignal): Promise<Float32Array> {
    const { inputs, cells, weights, points, candidates } = located;
    if (!cells) {
      return this.evaluator.evaluate({ shifts: this.shifts.ofVector(modulation), inputs, rows: null }, signal);
    }
    // Evaluations are sorted by cell, so that those of one cell are run together.
    const { order, rows, used } = sortedBy(cells);
    const size = this.functaset.network.inputs;
    const sorted = new Float32Array(inputs.length);
    for (let i = 0; i < order.length; i++) {
      for (let j = 0; j < size; j++) sorted[i * size + j] = inputs[order[i]! * size + j]!;
    }
    const shifts: Shifts = this.shifts.ofCells(modulation, used);
    const numbers = await this.evaluator.evaluate({ shifts, inputs: sorted, rows }, signal);
    const { channels } = this;
    const blended = new Float32Array(points * channels);
    for (let i = 0; i < order.length; i++) {
      const point = Math.floor(order[i]! / candidates);
      const weight = weights ? weights[order[i]!]! : 1;
      for (let channel = 0; channel < channels; channel++) {
        const place = point * channels + channel;
        blended[place] = blended[place]! + weight * numbers[i * channels + channel]!;
      }
    }
    return blended;
  }

  /** Features of numbers, and values of features. */
  private finish(numbers: Float32Array, { points, hidden }: Located, into: Float32Array, asFeatures: boolean): void {
    const { channels } = this.functaset;
    const isRadiance = this.functaset.network.head === "radiance";
    for (let i = 0; i < points; i++) {
      for (let channel = 0; channel < channels.length; channel++) {
        const place = i * channels.length + channel;
        const number = numbers[place]!;
        let feature = number + 0.5;
        if (isRadiance && channel === 3) {
          const rectified = number > 0 ? number : DENSITY_ALPHA * Math.expm1(number);
          feature = Math.min(HIGHEST_DENSITY, Math.max(0, rectified + DENSITY_ALPHA));
        }
        const { scale, offset } = channels[channel]!;
        into[place] = hidden?.[i] ? NaN : asFeatures ? feature : feature * scale + offset;
      }
    }
  }
}

/** A stable order of evaluations by cell, the row of each in that order, and the cells of the rows. */
function sortedBy(cells: Int32Array): { order: Int32Array; rows: Int32Array; used: number[] } {
  const counts = new Map<number, number>();
  for (const cell of cells) counts.set(cell, (counts.get(cell) ?? 0) + 1);
  const used = [...counts.keys()].sort((a, b) => a - b);
  const next = new Map<number, number>();
  const rows = new Int32Array(cells.length);
  let start = 0;
  used.forEach((cell, row) => {
    next.set(cell, start);
    rows.fill(row, start, start + counts.get(cell)!);
    start += counts.get(cell)!;
  });
  const order = new Int32Array(cells.length);
  for (let i = 0; i < cells.length; i++) {
    const place = next.get(cells[i]!)!;
    order[place] = i;
    next.set(cells[i]!, place + 1);
  }
  return { order, rows, used };
}

/** Positions as the base network takes them: its inputs, the cells that shift it, and their weights. */

import type { Domain, Network, SphereDomain } from "../store";

/** Points ready for a network. */
export interface Located {
  points: number;
  /** Evaluations of the network per point: the cells around it. */
  candidates: number;
  /** (points, candidates, inputs) */
  inputs: Float32Array;
  /** (points, candidates), counted in C order; null where a modulation is one vector. */
  cells: Int32Array | null;
  /** (points, candidates); null where there is one candidate. */
  weights: Float32Array | null;
  /** 1 where the domain's mask hides a point; null if it has none. */
  hidden: Uint8Array | null;
}

const RADIANS = Math.PI / 180;

/** Whether each axis of a grid of cells closes on itself. */
export const closedAxes = (domain: Domain): boolean[] =>
  domain.axes.map((_, axis) => domain.kind === "sphere" && axis === 1 && domain.covered.isRound);

/**
 * Where points lie.
 *
 * @param position Writes the position of a point: fractions, or degrees north and east.
 */
export function locate(
  domain: Domain,
  network: Network,
  points: number,
  position: (point: number, into: Float64Array) => void,
): Located {
  const at = new Float64Array(domain.axes.length);
  const hidden = domain.kind === "sphere" && domain.mask ? new Uint8Array(points) : null;
  const { grid } = network;
  const candidates = grid && network.lookup === "linear" ? 2 ** grid.length : 1;
  const inputs = new Float32Array(points * candidates * network.inputs);
  if (!grid) {
    for (let point = 0; point < points; point++) {
      position(point, at);
      if (domain.kind === "sphere") {
        if (hidden) hidden[point] = isHidden(domain, at[0]!, at[1]!);
        onSphere(domain, at[0]!, at[1]!, inputs, 3 * point);
      } else {
        inputs.set(at, point * at.length);
      }
    }
    return { points, candidates, inputs, cells: null, weights: null, hidden };
  }
  const closed = closedAxes(domain);
  const cells = new Int32Array(points * candidates);
  const weights = candidates > 1 ? new Float32Array(points * candidates) : null;
  const axes = grid.length;
  const lower = new Int32Array(axes);
  const share = new Float64Array(axes);
  const place = new Float64Array(axes);
  for (let point = 0; point < points; point++) {
    position(point, at);
    if (domain.kind === "sphere") {
      if (hidden) hidden[point] = isHidden(domain, at[0]!, at[1]!);
      toFractions(domain, at);
    }
    for (let axis = 0; axis < axes; axis++) {
      const t = at[axis]! * grid[axis]!;
      place[axis] = t;
      if (!weights) {
        lower[axis] = clamp(Math.floor(t), 0, grid[axis]! - 1);
        continue;
      }
      const low = clamp(Math.floor(t - 0.5), -1, grid[axis]! - 1);
      lower[axis] = low;
      share[axis] = t - 0.5 - low;
      if (!closed[axis]) share[axis] = low < 0 ? 1 : low >= grid[axis]! - 1 ? 0 : share[axis]!;
    }
    for (let candidate = 0; candidate < candidates; candidate++) {
      const evaluation = point * candidates + candidate;
      let cell = 0;
      let weight = 1;
      for (let axis = 0; axis < axes; axis++) {
        const isUpper = weights ? (candidate >> (axes - 1 - axis)) & 1 : 0;
        const corner = lower[axis]! + isUpper;
        const n = grid[axis]!;
        cell = cell * n + (closed[axis] ? (corner + n) % n : clamp(corner, 0, n - 1));
        if (weights) weight *= isUpper ? share[axis]! : 1 - share[axis]!;
        inputs[evaluation * axes + axis] = place[axis]! - corner;
      }
      cells[evaluation] = cell;
      if (weights) weights[evaluation] = weight;
    }
  }
  return { points, candidates, inputs, cells, weights, hidden };
}

const clamp = (value: number, low: number, high: number): number => (value < low ? low : value > high ? high : value);

const modulo = (value: number, by: number): number => value - by * Math.floor(value / by);

/** A point of the unit sphere as the network takes it; x leads to (0, 0), z to the north pole. */
function onSphere(domain: SphereDomain, latitude: number, longitude: number, into: Float32Array, place: number): void {
  const [lat, lon] = [latitude * RADIANS, longitude * RADIANS];
  const around = Math.cos(lat);
  const { centre, radius } = domain;
  into[place] = (around * Math.cos(lon) - centre[0]) / radius;
  into[place + 1] = (around * Math.sin(lon) - centre[1]) / radius;
  into[place + 2] = (Math.sin(lat) - centre[2]) / radius;
}

/** Degrees as fractions of what the grid covers, in place; they rise to the north and to the east. */
function toFractions({ covered }: SphereDomain, at: Float64Array): void {
  const { south, north, west, east } = covered;
  at[0] = (at[0]! - south) / (north - south);
  at[1] = 0.5 + (modulo(at[1]! - (west + east) / 2 + 180, 360) - 180) / (east - west);
}

/** Whether the native point nearest to a position is masked. */
function isHidden(domain: SphereDomain, latitude: number, longitude: number): number {
  const { latitudes, longitudes } = domain;
  const row = nearest(latitudes, latitude);
  const low = Math.min(longitudes[0]!, longitudes.at(-1)!);
  const gap = 360 - Math.abs(longitudes.at(-1)! - longitudes[0]!);
  const column = nearest(longitudes, low - gap / 2 + modulo(longitude - low + gap / 2, 360));
  return domain.mask![row * longitudes.length + column]!;
}

/** Place of the value of a rising or falling axis that is nearest. */
function nearest(values: number[], wanted: number): number {
  const falls = values[0]! > values.at(-1)!;
  let [low, high] = [0, values.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    const border = (values[middle]! + values[middle + 1]!) / 2;
    if (falls ? wanted < border : wanted > border) low = middle + 1;
    else high = middle;
  }
  return low;
}

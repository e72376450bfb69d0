/** Tiles from values at some of their pixels: a grid of nodes, and Lagrange interpolation between six of them per axis. */

/** Nodes along rows and columns: node i lies at pixel `start + i * step`. */
export interface Nodes {
  rows: number;
  columns: number;
  start: number;
  step: number;
}

/** Trials that may fail, net of those that succeed, until no more are made. */
const PATIENCE = 2;
/** Distances of nodes that are remembered. */
const MOST_REMEMBERED = 256;

/** Remembers where interpolation was close enough, so that it is not tried in vain for each example of a gallery. */
export class Trials {
  private readonly balances = new Map<string, number>();

  /** Whether it may be close enough between nodes of tiles that `what` names. */
  areWorthwhile(what: string): boolean {
    return (this.balances.get(what) ?? 0) > -PATIENCE;
  }

  note(what: string, agreed: boolean): void {
    const balance = (this.balances.get(what) ?? 0) + (agreed ? 1 : -1);
    this.balances.delete(what);
    this.balances.set(what, Math.min(PATIENCE, Math.max(-PATIENCE, balance)));
    if (this.balances.size > MOST_REMEMBERED) this.balances.delete(this.balances.keys().next().value!);
  }
}

const REACH = 2;
const TAPS = 6;

/** The nodes that a tile needs: two beyond its first and three beyond its last pixel. */
export function sampled(width: number, height: number, step: number): Nodes {
  const along = (pixels: number): number => Math.floor((pixels - 1) / step) + 1 + REACH + TAPS - REACH - 1;
  return { rows: along(height), columns: along(width), start: -REACH * step, step };
}

/** Values of all pixels of a tile, (height, width, channels). */
export function fill(values: Float32Array, nodes: Nodes, width: number, height: number, channels: number): Float32Array {
  const weights = phases(nodes.step);
  // Along the rows first, then along the columns.
  const wide = new Float32Array(nodes.rows * width * channels);
  for (let row = 0; row < nodes.rows; row++) {
    for (let x = 0; x < width; x++) {
      const tap = weights[x % nodes.step]!;
      const from = (row * nodes.columns + Math.floor(x / nodes.step)) * channels;
      const to = (row * width + x) * channels;
      for (let channel = 0; channel < channels; channel++) {
        let sum = 0;
        for (let k = 0; k < TAPS; k++) sum += tap[k]! * values[from + k * channels + channel]!;
        wide[to + channel] = sum;
      }
    }
  }
  const line = width * channels;
  const tile = new Float32Array(height * line);
  for (let y = 0; y < height; y++) {
    const [t0, t1, t2, t3, t4, t5] = weights[y % nodes.step]! as [number, number, number, number, number, number];
    const from = Math.floor(y / nodes.step) * line;
    const to = y * line;
    for (let i = 0; i < line; i++) {
      const place = from + i;
      tile[to + i] =
        t0 * wide[place]! + t1 * wide[place + line]! + t2 * wide[place + 2 * line]! +
        t3 * wide[place + 3 * line]! + t4 * wide[place + 4 * line]! + t5 * wide[place + 5 * line]!;
    }
  }
  return tile;
}

/** Weights of the six nodes around each of the pixels between two nodes. */
function phases(step: number): number[][] {
  return Array.from({ length: step }, (_, phase) => {
    const t = REACH + phase / step;
    return Array.from({ length: TAPS }, (_, k) => {
      let weight = 1;
      for (let other = 0; other < TAPS; other++) if (other !== k) weight *= (t - other) / (k - other);
      return weight;
    });
  });
}

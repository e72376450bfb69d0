/** Shapes drawn by marching rays through a grid of decoded values, lit from the viewer's side. */

/** Values of one channel on a cube, C order (z, y, x), and where the surface is. */
export interface Solid {
  values: Float32Array;
  size: [number, number, number];
  level: number;
  /** Physical extent along z, y and x, the longest being 1. */
  extent: [number, number, number];
}

/** From where something is looked at: degrees around the upright axis and above the horizon, and how near. */
export interface Turn {
  around: number;
  above: number;
  zoom: number;
}

export const SKIN = [96, 150, 214];

/** Axes of the picture in (z, y, x), y being upright: towards the viewer, to the right, and up. */
export function axesOf(turn: Turn): { towards: number[]; right: number[]; up: number[] } {
  const a = (turn.around * Math.PI) / 180;
  const e = (turn.above * Math.PI) / 180;
  return {
    towards: [Math.cos(e) * Math.cos(a), Math.sin(e), Math.cos(e) * Math.sin(a)],
    right: [-Math.sin(a), 0, Math.cos(a)],
    up: [-Math.sin(e) * Math.cos(a), Math.cos(e), -Math.sin(e) * Math.sin(a)],
  };
}

/** Half the length of a ray, whose middle is nearest to that of the cube. */
export const REACH = 0.9;

/** Steps along a ray, each a little shorter than a cell. */
export const stepsOf = ({ size }: Solid): number => Math.ceil(2 * REACH * Math.max(...size));

/** Length of a pixel's side; the longest side of the cube has length 1. */
export const pixelOf = (turn: Turn, side: number): number => 1.9 / turn.zoom / side;

/**
 * Draw rows of pixels of a solid; pixels without a surface stay transparent.
 *
 * @param out (height, width, 4), of which rows from <= row < to are written.
 */
export function drawSolid(
  solid: Solid,
  turn: Turn,
  width: number,
  height: number,
  out: Uint8ClampedArray,
  from = 0,
  to = height,
): void {
  const { values, size, level, extent } = solid;
  const [nz, ny, nx] = size;
  const { towards, right, up } = axesOf(turn);
  const steps = stepsOf(solid);
  const step = (2 * REACH) / steps;
  const sides = [nz, ny, nx];
  const strides = [ny * nx, nx, 1];
  const sample = (z: number, y: number, x: number): number => {
    const place = [z, y, x];
    let base = 0;
    const rest = [0, 0, 0];
    for (let k = 0; k < 3; k++) {
      const at = (place[k] / extent[k] + 0.5) * sides[k] - 0.5;
      if (at < -0.5 || at > sides[k] - 0.5) return -Infinity;
      const below = Math.min(Math.max(Math.floor(at), 0), Math.max(sides[k] - 2, 0));
      rest[k] = sides[k] > 1 ? Math.min(Math.max(at - below, 0), 1) : 0;
      base += below * strides[k];
    }
    const dz = nz > 1 ? strides[0] : 0;
    const dy = ny > 1 ? strides[1] : 0;
    const dx = nx > 1 ? 1 : 0;
    const [fz, fy, fx] = rest;
    const plane = (at: number) => {
      const near = values[at] + (values[at + dx] - values[at]) * fx;
      const far = values[at + dy] + (values[at + dy + dx] - values[at + dy]) * fx;
      return near + (far - near) * fy;
    };
    const front = plane(base);
    return front + (plane(base + dz) - front) * fz;
  };
  const scale = pixelOf(turn, Math.min(width, height));
  const h = 1 / Math.max(nz, ny, nx);
  for (let row = from; row < to; row++) {
    const v = (height / 2 - row - 0.5) * scale;
    for (let column = 0; column < width; column++) {
      const u = (column + 0.5 - width / 2) * scale;
      const at = 4 * (row * width + column);
      out[at + 3] = 0;
      let z = right[0] * u + up[0] * v + towards[0] * REACH;
      let y = right[1] * u + up[1] * v + towards[1] * REACH;
      let x = right[2] * u + up[2] * v + towards[2] * REACH;
      let before = -Infinity;
      for (let i = 0; i < steps; i++) {
        const here = sample(z, y, x);
        if (here >= level) {
          const back = before === -Infinity ? 0 : ((here - level) / (here - before)) * step;
          z += towards[0] * back;
          y += towards[1] * back;
          x += towards[2] * back;
          shade(z, y, x, before === -Infinity);
          break;
        }
        before = here;
        z -= towards[0] * step;
        y -= towards[1] * step;
        x -= towards[2] * step;
      }

      function shade(z: number, y: number, x: number, isCut: boolean): void {
        // Outside of the cube nothing is known: a surface that is cut off faces its side.
        const slope = [
          finite(sample(z - h, y, x)) - finite(sample(z + h, y, x)),
          finite(sample(z, y - h, x)) - finite(sample(z, y + h, x)),
          finite(sample(z, y, x - h)) - finite(sample(z, y, x + h)),
        ];
        const length = Math.hypot(...slope) || 1;
        const facing = (slope[0] * towards[0] + slope[1] * towards[1] + slope[2] * towards[2]) / length;
        const sky = slope[1] / length;
        const light = 0.3 + 0.6 * Math.max(isCut ? Math.abs(facing) : facing, 0) + 0.15 * sky;
        for (let c = 0; c < 3; c++) out[at + c] = SKIN[c] * light + 40 * Math.max(facing, 0) ** 12;
        out[at + 3] = 255;
      }
    }
  }

  function finite(value: number): number {
    return value === -Infinity ? level - 0.5 : value;
  }
}

/** Points per axis of a grid that shows a solid, the longest axis having at most `most`. */
export function cubeOf(resolution: number[], most: number): [number, number, number] {
  const longest = Math.max(...resolution);
  const found = resolution.map((size) => Math.max(2, Math.round((size * Math.min(most, Math.max(longest, 24))) / longest)));
  return found as [number, number, number];
}

export function extentOf(resolution: number[], cellAspect: number[]): [number, number, number] {
  const sides = resolution.map((size, k) => size * cellAspect[k]);
  const longest = Math.max(...sides);
  return sides.map((side) => side / longest) as [number, number, number];
}

/** Where along the first axis half of a solid lies on either side, in [0, 1]; 0.5 of nothing. */
export function middleOf({ values, size, level }: Solid): number {
  const [slices, ...rest] = size;
  const each = rest[0] * rest[1];
  const filled = Array.from({ length: slices }, (_, k) => values.subarray(k * each, (k + 1) * each).reduce((sum, v) => sum + Number(v >= level), 0));
  let left = filled.reduce((sum, count) => sum + count, 0) / 2;
  if (left === 0) return 0.5;
  const middle = filled.findIndex((count) => (left -= count) <= 0);
  return (middle + 0.5) / slices;
}

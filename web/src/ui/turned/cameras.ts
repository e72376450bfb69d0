/** Rays of a camera that looks at a scene from a point around it. */

import type { SceneDomain } from "../../store";
import type { Turn } from "./solids";

export interface Rays {
  origins: Float32Array;
  directions: Float32Array;
}

/** One ray per pixel, rows from the top; x, y, z in the world, z upright. */
export function raysFrom(domain: SceneDomain, turn: Turn, width: number, height: number): Rays {
  const a = (turn.around * Math.PI) / 180;
  const e = (turn.above * Math.PI) / 180;
  const distance = (domain.near + domain.far) / 2 / turn.zoom;
  const back = [Math.cos(e) * Math.cos(a), Math.cos(e) * Math.sin(a), Math.sin(e)];
  const right = [-Math.sin(a), Math.cos(a), 0];
  const up = [-Math.sin(e) * Math.cos(a), -Math.sin(e) * Math.sin(a), Math.cos(e)];
  const half = Math.min(domain.bound / ((domain.near + domain.far) / 2), 1);
  const origins = new Float32Array(3 * width * height);
  const directions = new Float32Array(3 * width * height);
  for (let row = 0, at = 0; row < height; row++) {
    for (let column = 0; column < width; column++, at += 3) {
      const u = ((2 * (column + 0.5)) / width - 1) * half * (width / Math.min(width, height));
      const v = (1 - (2 * (row + 0.5)) / height) * half * (height / Math.min(width, height));
      const ray = back.map((b, k) => right[k] * u + up[k] * v - b);
      const length = Math.hypot(...ray);
      for (let k = 0; k < 3; k++) {
        origins[at + k] = back[k] * distance;
        directions[at + k] = ray[k] / length;
      }
    }
  }
  return { origins, directions };
}

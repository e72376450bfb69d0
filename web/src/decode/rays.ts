/** Rays through the cube of a scene: where they enter and leave it, and what is seen along them. */

import type { SceneDomain } from "../store";
import type { Rendered } from "./decoder";

/** Components of a direction nearer to 0 count as this: such a ray runs along the faces of the cube. */
const PARALLEL = 1e-9;
/** Samples of a ray that are computed together; rays that let no light through are left out of the next ones. */
export const SAMPLES_AT_A_TIME = 8;
/** Share of the light behind which nothing more is computed: far below what 8 bits can show. */
const DARK = 1e-4;

/** Rays that still let light through. */
export interface Alive {
  /** Their numbers, ascending. */
  rays: Int32Array;
  /** Thickness that each ray has passed so far. */
  passed: Float64Array;
  /** Distance of a sample along a ray: the centre of its bin. */
  distance(ray: number, sample: number, samples: number): number;
  /** Distance to the next sample, of the last one to the end. */
  step(ray: number, sample: number, samples: number): number;
}

/** The rays that meet the cube between near and far. */
export function enterAndLeave(domain: SceneDomain, origins: Float32Array, directions: Float32Array): Alive {
  const count = origins.length / 3;
  const { bound, near, far } = domain;
  const enter = new Float64Array(count);
  const leave = new Float64Array(count);
  const met: number[] = [];
  for (let ray = 0; ray < count; ray++) {
    let [last, first] = [-Infinity, Infinity];
    for (let axis = 0; axis < 3; axis++) {
      const direction = directions[3 * ray + axis]!;
      const slope = Math.abs(direction) < PARALLEL ? PARALLEL : direction;
      const low = (-bound - origins[3 * ray + axis]!) / slope;
      const high = (bound - origins[3 * ray + axis]!) / slope;
      last = Math.max(last, Math.min(low, high));
      first = Math.min(first, Math.max(low, high));
    }
    enter[ray] = Math.min(far, Math.max(near, last));
    leave[ray] = Math.min(far, Math.max(enter[ray]!, first));
    if (leave[ray]! > enter[ray]!) met.push(ray);
  }
  const distance = (ray: number, sample: number, samples: number): number =>
    enter[ray]! + ((sample + 0.5) / samples) * (leave[ray]! - enter[ray]!);
  return {
    rays: Int32Array.from(met),
    passed: new Float64Array(count),
    distance,
    step: (ray, sample, samples) =>
      ((sample === samples - 1 ? 0.5 : 1) / samples) * (leave[ray]! - enter[ray]!),
  };
}

/** Add some samples of the rays that are alive, in order from front to back, and leave out rays that end. */
export function composite(
  alive: Alive,
  features: Float32Array,
  first: number,
  number: number,
  samples: number,
  densityScale: number,
  into: Rendered,
): void {
  const going: number[] = [];
  alive.rays.forEach((ray, place) => {
    let passed = alive.passed[ray]!;
    for (let k = 0; k < number; k++) {
      const at = 4 * (place * number + k);
      const thickness = features[at + 3]! * densityScale * alive.step(ray, first + k, samples);
      const weight = Math.exp(-passed) * -Math.expm1(-thickness);
      passed += thickness;
      for (let channel = 0; channel < 3; channel++) {
        into.colours[3 * ray + channel] = into.colours[3 * ray + channel]! + weight * features[at + channel]!;
      }
      into.depths[ray] = into.depths[ray]! + weight * alive.distance(ray, first + k, samples);
      into.opacities[ray] = into.opacities[ray]! + weight;
    }
    alive.passed[ray] = passed;
    if (Math.exp(-passed) > DARK) going.push(ray);
  });
  alive.rays = Int32Array.from(going);
}

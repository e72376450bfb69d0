/** Where examples were sampled, and positions as the base network takes them. */

import type { Reader } from "./checks";

/** A regular grid that spans [0, 1] along each axis: pictures, volumes, clips, sounds. */
export interface CellsDomain {
  kind: "cells";
  /** What it is in one word, by its axes. */
  quantity: "image" | "volume" | "video" | "sound" | "grid";
  /** Names in the order of the array's axes, such as y, x. */
  axes: string[];
  /** Native cells along each axis. */
  resolution: number[];
  /** Physical size of a cell along each axis, relative to the last. */
  cellAspect: number[];
  /** Physical length of the whole domain along each axis, 1 where it has none. */
  lengths: number[];
  /** Unit of each length, `1` where there is none. */
  units: string[];
}

/** Latitudes and longitudes; positions are degrees north and east. */
export interface SphereDomain {
  kind: "sphere";
  axes: ["latitude", "longitude"];
  resolution: [number, number];
  latitudes: number[];
  longitudes: number[];
  centre: [number, number, number];
  radius: number;
  areaWeighting: boolean;
  /** Ends of what the grid covers, in degrees, longitudes in the archive's convention. */
  covered: { south: number; north: number; west: number; east: number; isRound: boolean };
  /** By place in C order, 1 where a native point is missing in every example; null if none is. */
  mask: Uint8Array | null;
}

/** A cube of space, seen by cameras; positions are (z, y, x) in [0, 1]. */
export interface SceneDomain {
  kind: "scene";
  axes: ["z", "y", "x"];
  resolution: [number, number, number];
  /** The cube is [-bound, bound] along each axis of the world. */
  bound: number;
  /** Height and width of a view of the archive. */
  imageSize: [number, number];
  near: number;
  far: number;
  numSamples: number;
  densityScale: number;
}

export type Domain = CellsDomain | SphereDomain | SceneDomain;

const MOST_AXES = 8;
const MOST_CELLS = 2 ** 31;
const MOST_DEGREES = 2 ** 20;
const MOST_SAMPLES = 2 ** 16;

/** @throws StoreError if it is no domain, or absurd. */
export function readDomain(fields: Reader, version: number): Domain {
  const kind = version < 4 ? "cells" : fields.oneOf("kind", "cells", "sphere", "scene");
  if (kind === "sphere") return readSphere(fields);
  if (kind === "scene") return readScene(fields);
  const physical = version < 4 ? [] : ["kind", "lengths", "units"];
  fields.only("axes", "resolution", "cell_aspect", ...physical);
  const axes = fields.texts("axes", MOST_AXES);
  const same = <T>(name: string, values: T[]): T[] =>
    values.length === axes.length ? values : fields.fail(name, `has ${values.length} entries for ${axes.length} axes`);
  if (axes.length === 0) fields.fail("axes", "are none");
  return {
    kind,
    quantity: QUANTITIES[axes.join(" ")] ?? "grid",
    axes,
    resolution: same("resolution", fields.wholes("resolution", 1, MOST_CELLS, MOST_AXES)),
    cellAspect: same("cell_aspect", fields.numbers("cell_aspect", MOST_AXES, Number.MIN_VALUE)),
    lengths: version < 4 ? axes.map(() => 1) : same("lengths", fields.numbers("lengths", MOST_AXES, Number.MIN_VALUE)),
    units: version < 4 ? axes.map(() => "1") : same("units", fields.texts("units", MOST_AXES)),
  };
}

const QUANTITIES: Record<string, CellsDomain["quantity"]> = {
  "y x": "image",
  "z y x": "volume",
  "t y x": "video",
  t: "sound",
};

function readSphere(fields: Reader): SphereDomain {
  fields.only("kind", "latitudes", "longitudes", "centre", "radius", "area_weighting", "mask");
  const latitudes = axisOf(fields, "latitudes", 90);
  const longitudes = axisOf(fields, "longitudes", 3600);
  if (Math.abs(longitudes.at(-1)! - longitudes[0]!) >= 360) fields.fail("longitudes", "go round more than once");
  const centre = fields.numbers("centre", 3, -2, 2);
  if (centre.length !== 3) fields.fail("centre", "is no point");
  return {
    kind: "sphere",
    axes: ["latitude", "longitude"],
    resolution: [latitudes.length, longitudes.length],
    latitudes,
    longitudes,
    centre: centre as [number, number, number],
    radius: fields.number("radius", 1e-6, 2),
    areaWeighting: fields.flag("area_weighting"),
    covered: covered(latitudes, longitudes),
    mask: readMask(fields, latitudes.length * longitudes.length),
  };
}

function axisOf(fields: Reader, name: string, farthest: number): number[] {
  const degrees = fields.numbers(name, MOST_DEGREES, -farthest, farthest);
  const direction = Math.sign(degrees[1]! - degrees[0]!);
  const isMonotonic = degrees.every((value, i) => i === 0 || (value - degrees[i - 1]!) * direction > 0);
  return degrees.length >= 2 && isMonotonic ? degrees : fields.fail(name, "are not strictly rising or falling degrees");
}

/** What a grid covers: half a step beyond its outermost points, all longitudes and up to the poles if it goes round. */
function covered(latitudes: number[], longitudes: number[]): SphereDomain["covered"] {
  const gapFactor = 1.1;
  const rising = (values: number[]): number[] => (values[0]! < values.at(-1)! ? values : [...values].reverse());
  const [lat, lon] = [rising(latitudes), rising(longitudes)];
  const gap = 360 - (lon.at(-1)! - lon[0]!);
  const widest = lon.slice(1).reduce((most, value, i) => Math.max(most, value - lon[i]!), 0);
  const isRound = gap <= gapFactor * widest;
  let west = lon[0]! - (lon[1]! - lon[0]!) / 2;
  let east = lon.at(-1)! + (lon.at(-1)! - lon.at(-2)!) / 2;
  if (isRound) {
    const middle = (lon[0]! + lon.at(-1)!) / 2;
    [west, east] = [middle - 180, middle + 180];
  }
  const end = (outermost: number, inner: number): number => {
    const step = outermost - inner;
    const pole = 90 * Math.sign(step);
    const isNear = isRound && Math.abs(pole - outermost) <= gapFactor * Math.abs(step);
    return isNear ? pole : Math.min(90, Math.max(-90, outermost + step / 2));
  };
  return { south: end(lat[0]!, lat[1]!), north: end(lat.at(-1)!, lat.at(-2)!), west, east, isRound };
}

/** A mask of lengths of runs, of points that are there and that are missing, by turns. */
function readMask(fields: Reader, points: number): Uint8Array | null {
  const text = fields.text("mask");
  if (text === "") return null;
  const runs = text.split(" ").map((word) => (/^\d{1,15}$/.test(word) ? Number(word) : NaN));
  const total = runs.reduce((sum, run) => sum + run, 0);
  if (points > MOST_CELLS / 8 || total !== points || runs.length < 2 || runs.slice(1).includes(0)) {
    fields.fail("mask", `has runs that are not those of ${points} points`);
  }
  const mask = new Uint8Array(points);
  let at = 0;
  runs.forEach((run, i) => {
    mask.fill(i % 2, at, at + run);
    at += run;
  });
  return mask;
}

function readScene(fields: Reader): SceneDomain {
  fields.only(
    "kind", "resolution", "bound", "views", "held_out_views", "image_size", "near", "far", "num_samples", "density_scale",
  );
  const resolution = fields.wholes("resolution", 1, MOST_CELLS, 3);
  const imageSize = fields.wholes("image_size", 1, 2 ** 16, 2);
  if (resolution.length !== 3 || imageSize.length !== 2) fields.fail("resolution", "or image_size has another number of axes");
  const near = fields.number("near", 0);
  return {
    kind: "scene",
    axes: ["z", "y", "x"],
    resolution: resolution as [number, number, number],
    bound: fields.number("bound", Number.MIN_VALUE, 1e9),
    imageSize: imageSize as [number, number],
    near,
    far: fields.number("far", near, 1e9),
    numSamples: fields.whole("num_samples", 1, MOST_SAMPLES),
    densityScale: fields.number("density_scale", Number.MIN_VALUE),
  };
}

/** Where examples were sampled, and positions as the base network takes them. */

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

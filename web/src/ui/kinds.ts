/** How examples of each kind of domain are laid out on a screen. */

import type { Decoder, Region } from "../decode";
import type { Functaset } from "../store";
import { paint, type Look } from "./colours";
import { raysFrom } from "./turned/cameras";
import { cubeOf, drawSolid, extentOf, type Turn } from "./turned/solids";

/** What an example is shown as. */
export type Kind = "picture" | "solid" | "clip" | "sound" | "globe" | "scene";

export function kindOf({ domain }: Functaset): Kind {
  if (domain.kind === "sphere") return "globe";
  if (domain.kind === "scene") return "scene";
  if (domain.axes.length === 1) return "sound";
  if (domain.axes.length === 2) return "picture";
  return domain.quantity === "video" ? "clip" : "solid";
}

/** The rectangle that a flat view spans, its native points, and how wide it is beside its height. */
export interface Sheet {
  rows: [number, number];
  columns: [number, number];
  resolution: [number, number];
  aspect: number;
}

/** The last two axes of a domain as a rectangle, north on top. */
export function sheetOf({ domain }: Functaset): Sheet {
  if (domain.kind === "sphere") {
    const { south, north, west, east } = domain.covered;
    return { rows: [north, south], columns: [west, east], resolution: domain.resolution, aspect: (east - west) / (north - south || 1) };
  }
  // Solids stand upright, as their surfaces do; rows of pictures and frames go down.
  const rows: [number, number] = domain.kind === "cells" && domain.quantity === "volume" ? [1, 0] : [0, 1];
  const resolution = domain.resolution.slice(-2) as [number, number];
  const [tall, wide] = domain.kind === "cells" ? domain.cellAspect.slice(-2) : [1, 1];
  return { rows, columns: [0, 1], resolution, aspect: (resolution[1] * wide) / (resolution[0] * tall) };
}

/** A part of a sheet, in fractions of it from its upper left corner, as the decoder takes it. */
export function regionOf(sheet: Sheet, rows: [number, number], columns: [number, number], at?: number[]): Region {
  const along = ([from, to]: [number, number], part: number) => from + part * (to - from);
  return {
    rows: [along(sheet.rows, rows[0]), along(sheet.rows, rows[1])],
    columns: [along(sheet.columns, columns[0]), along(sheet.columns, columns[1])],
    ...(at && { at }),
  };
}

export const USUAL_TURN: Turn = { around: 35, above: 25, zoom: 1 };

/** Pixels along the longer side of a small picture. */
export const SMALL = 64;

/** A small picture of an example. */
export async function smallPicture(
  decoder: Decoder,
  modulation: Float32Array,
  look: Look,
  signal?: AbortSignal,
): Promise<ImageData> {
  const { functaset } = decoder;
  const { domain } = functaset;
  const kind = kindOf(functaset);
  if (kind === "sound") {
    const points = Math.min(domain.resolution[0], 4 * SMALL);
    const values = await decoder.grid(modulation, [points], { signal });
    const found = new ImageData(SMALL, SMALL);
    drawWave(values, functaset, 0, found);
    return found;
  }
  if (domain.kind === "cells" && kind === "solid") {
    const size = cubeOf(domain.resolution, 20);
    const values = await decoder.grid(modulation, size, { signal });
    const found = new ImageData(SMALL, SMALL);
    const { channels } = functaset;
    const [low, high] = channels[0].range;
    const extent = extentOf(domain.resolution, domain.cellAspect);
    drawSolid({ values: oneChannel(values, channels.length, 0), size, level: (low + high) / 2, extent }, USUAL_TURN, SMALL, SMALL, found.data);
    return found;
  }
  if (domain.kind === "scene") {
    const { origins, directions } = raysFrom(domain, USUAL_TURN, SMALL / 2, SMALL / 2);
    const { colours } = await decoder.rays(modulation, origins, directions, { signal, numSamples: Math.min(domain.numSamples, 24) });
    return colouredRays(colours, SMALL / 2, SMALL / 2);
  }
  const sheet = sheetOf(functaset);
  const [width, height] = fitted(sheet.aspect, SMALL);
  const region = regionOf(sheet, [0, 1], [0, 1]);
  const values = await decoder.tile(modulation, region, width, height, { signal, tolerance: 1 / 128 });
  const found = new ImageData(width, height);
  paint(values, functaset.channels, look, found.data);
  return found;
}

/** Width and height of a picture whose longer side has so many pixels. */
export function fitted(aspect: number, longest: number): [number, number] {
  return aspect >= 1 ? [longest, Math.max(1, Math.round(longest / aspect))] : [Math.max(1, Math.round(longest * aspect)), longest];
}

export function oneChannel(values: Float32Array, channels: number, channel: number): Float32Array {
  return channels === 1 ? values : Float32Array.from({ length: values.length / channels }, (_, i) => values[i * channels + channel]);
}

export function colouredRays(colours: Float32Array, width: number, height: number): ImageData {
  const found = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) found.data[4 * i + c] = colours[3 * i + c] * 255;
    found.data[4 * i + 3] = 255;
  }
  return found;
}

/** A wave as a band from its lowest to its highest value in each column of pixels. */
export function drawWave(values: Float32Array, functaset: Functaset, channel: number, out: ImageData): void {
  const { channels } = functaset;
  const points = values.length / channels.length;
  const [low, high] = channels[channel].range;
  const row = (value: number) => Math.min(out.height - 1, Math.max(0, ((high - value) / (high - low || 1)) * out.height));
  for (let column = 0; column < out.width; column++) {
    const from = Math.floor((column * points) / out.width);
    const to = Math.max(from + 2, Math.ceil(((column + 1) * points) / out.width) + 1);
    let [least, most] = [Infinity, -Infinity];
    for (let i = from; i < Math.min(to, points); i++) {
      const value = values[i * channels.length + channel];
      least = Math.min(least, value);
      most = Math.max(most, value);
    }
    for (let y = Math.floor(row(most)); y <= Math.floor(row(least)); y++) {
      out.data.set([74, 144, 217, 255], 4 * (y * out.width + column));
    }
  }
}

/** The base network's sizes. */

import { product, type Reader } from "./checks";
import type { Domain } from "./domain";

const MOST_WIDTH = 2 ** 14;
const MOST_LAYERS = 1000;
const MOST_GRID_AXES = 8;
const MOST_NUMBERS = 2 ** 31;

export interface Network {
  width: number;
  /** Linear layers: depth - 1 sine layers, and the last. */
  depth: number;
  w0: number;
  modulation: "latent" | "shift" | "spatial";
  /** Cells along each axis of the domain; null where a modulation is one vector. */
  grid: number[] | null;
  /** Numbers of a cell, or of the vector. */
  cellSize: number;
  /** Numbers of a whole modulation. */
  modulationSize: number;
  lookup: "nearest" | "linear";
  /** 1, or 3 where the map sees the cells around each cell, too. */
  mapKernel: 1 | 3;
  mapBias: "shared" | "per_cell";
  head: "linear" | "radiance";
  /** Numbers that the first layer takes. */
  inputs: number;
  channels: number;
}

/** Shifts of all sine layers together, of one cell. */
export const numShifts = (network: Network): number => network.width * (network.depth - 1);

/** Numbers that the map to a cell's shifts takes. */
export const mapInputs = (network: Network): number =>
  network.cellSize * (network.grid ? network.mapKernel ** network.grid.length : 1);

/**
 * The network of a store.
 *
 * @throws StoreError if a size is absurd, or the network is not one of the domain.
 */
export function readNetwork(fields: Reader, version: number, domain: Domain, channels: number): Network {
  fields.only(
    "width", "depth", "w0", "modulation", "modulation_dim",
    ...(version >= 4 ? ["head"] : []),
    ...(version >= 6 ? ["modulation_grid", "lookup", "map_kernel"] : []),
    ...(version >= 7 ? ["map_bias"] : []),
  );
  const width = fields.whole("width", 1, MOST_WIDTH);
  const depth = fields.whole("depth", 2, MOST_LAYERS);
  const modulation =
    version >= 6 ? fields.oneOf("modulation", "latent", "shift", "spatial") : fields.oneOf("modulation", "latent", "shift");
  let grid: number[] | null = null;
  if (modulation === "spatial") {
    grid = fields.wholes("modulation_grid", 1, MOST_NUMBERS, MOST_GRID_AXES);
    if (grid.length !== domain.axes.length) {
      fields.fail("modulation_grid", `has ${grid.length} axes, the domain has ${domain.axes.length}`);
    }
  } else if (version >= 6 && fields.value("modulation_grid") !== null) {
    fields.fail("modulation_grid", `is given, but modulation is ${modulation}`);
  }
  if ((modulation === "shift") !== (fields.value("modulation_dim") === null)) {
    fields.fail("modulation_dim", `does not suit modulation ${modulation}`);
  }
  const cellSize = modulation === "shift" ? width * (depth - 1) : fields.whole("modulation_dim", 1, MOST_NUMBERS);
  const head = version >= 4 ? fields.oneOf("head", "linear", "radiance") : "linear";
  if (head !== (domain.kind === "scene" ? "radiance" : "linear")) fields.fail("head", `is ${head}, the domain has another`);
  if (head === "radiance" && channels !== 4) fields.fail("head", `is radiance, but there are ${channels} channels`);
  const network: Network = {
    width,
    depth,
    w0: fields.number("w0", Number.MIN_VALUE),
    modulation,
    grid,
    cellSize,
    modulationSize: cellSize * product(grid ?? []),
    lookup: version >= 6 ? fields.oneOf("lookup", "nearest", "linear") : "nearest",
    mapKernel: version >= 6 ? fields.oneOf("map_kernel", 1, 3) : 1,
    mapBias: version >= 7 ? fields.oneOf("map_bias", "shared", "per_cell") : "shared",
    head,
    inputs: grid ? domain.axes.length : domain.kind === "sphere" ? 3 : domain.axes.length,
    channels,
  };
  if (!grid && (network.lookup !== "nearest" || network.mapKernel !== 1 || network.mapBias !== "shared")) {
    fields.fail("lookup", "is of modulations that are grids");
  }
  return network;
}

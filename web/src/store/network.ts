/** The base network's sizes. */

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

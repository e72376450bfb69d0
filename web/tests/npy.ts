/** Arrays that NumPy saved: little-endian floats in C order. */

import { readFileSync } from "node:fs";

export interface Saved {
  shape: number[];
  values: Float64Array;
}

export function readNpy(path: string): Saved {
  const bytes = readFileSync(path);
  const length = bytes.readUInt16LE(8);
  const header = bytes.toString("latin1", 10, 10 + length);
  const type = /'descr': '<f([48])'/.exec(header)?.[1];
  const shape = /'shape': \(([^)]*)\)/.exec(header)?.[1];
  if (!type || shape === undefined || !header.includes("'fortran_order': False")) throw new Error(`${path}: ${header}`);
  const start = 10 + length;
  const size = Number(type);
  const values = Float64Array.from({ length: (bytes.length - start) / size }, (_, i) =>
    size === 4 ? bytes.readFloatLE(start + 4 * i) : bytes.readDoubleLE(start + 8 * i),
  );
  return { shape: shape.split(",").filter((n) => n.trim()).map(Number), values };
}

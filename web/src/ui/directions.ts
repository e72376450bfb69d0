/** Principal directions of modulations, found by power iteration in a bounded sample of them. */

export interface Directions {
  mean: Float32Array;
  /** Unit vectors, the one along which modulations differ most first. */
  vectors: Float32Array[];
  /** Standard deviation along each. */
  deviations: number[];
}

const ITERATIONS = 40;

/**
 * The first principal directions of some rows.
 *
 * @param rows (count, size), one modulation after the other.
 */
export function principalDirections(rows: Float32Array, size: number, wanted: number): Directions {
  const count = rows.length / size;
  const mean = new Float32Array(size);
  for (let i = 0; i < rows.length; i++) mean[i % size] += rows[i] / count;
  const rest = rows.map((value, i) => value - mean[i % size]);
  const vectors: Float32Array[] = [];
  const deviations: number[] = [];
  for (let k = 0; k < Math.min(wanted, count - 1, size); k++) {
    let vector = Float32Array.from({ length: size }, (_, i) => Math.sin(1 + 12.9898 * (i + 1) * (k + 1)));
    let variance = 0;
    for (let step = 0; step < ITERATIONS; step++) {
      const next = new Float32Array(size);
      for (let row = 0; row < count; row++) {
        const from = row * size;
        let along = 0;
        for (let i = 0; i < size; i++) along += rest[from + i] * vector[i];
        for (let i = 0; i < size; i++) next[i] += (along * rest[from + i]) / count;
      }
      const length = Math.hypot(...chunked(next));
      if (!(length > 1e-12)) return { mean, vectors, deviations };
      variance = length / Math.hypot(...chunked(vector));
      vector = next.map((value) => value / length);
    }
    vectors.push(vector);
    deviations.push(Math.sqrt(variance));
    for (let row = 0; row < count; row++) {
      const from = row * size;
      let along = 0;
      for (let i = 0; i < size; i++) along += rest[from + i] * vector[i];
      for (let i = 0; i < size; i++) rest[from + i] -= along * vector[i];
    }
  }
  return { mean, vectors, deviations };
}

/** Lengths of parts of a vector, few enough to be arguments. */
function chunked(vector: Float32Array): number[] {
  const found: number[] = [];
  for (let from = 0; from < vector.length; from += 4096) found.push(Math.hypot(...vector.subarray(from, from + 4096)));
  return found;
}

/** What an open functaset offers, whatever its format version, data type or number of parts. */

import type { Domain } from "./domain";
import type { Network } from "./network";

/** What a channel of decoded values means. */
export interface Channel {
  name: string;
  /** Unit of the values, `1` where there is none. */
  unit: string;
  /** value = feature * scale + offset */
  scale: number;
  offset: number;
  /** Smallest and largest value; decoded values may exceed them, clip for display. */
  range: [number, number];
}

/** One number per example; `NaN` where an example has none. */
export interface Column {
  name: string;
  unit: string;
  /** Values of the examples from <= i < to. */
  values(from: number, to: number, options?: Reading): Promise<Float64Array>;
}

/** A label of the examples. Numbers are classes where `classNames` says what 0, 1, ... stand for. */
export interface LabelColumn extends Column {
  classNames: string[] | null;
}

/** Over all examples, per number of a modulation (of grids: per channel of a cell). */
export interface Statistics {
  mean: Float32Array;
  std: Float32Array;
  min: Float32Array;
  max: Float32Array;
}

/** How well a split was fitted; decibels. */
export interface Quality {
  examples: number;
  psnrMean: number | null;
  psnrOfMeanMse: number | null;
  metrics: Record<string, number | null>;
}

export interface Reading {
  signal?: AbortSignal;
}

/** What happens while something is fetched, for a line of text: after each "request", one of "done" and "failed" comes. */
export type Progress =
  | { kind: "request"; key: string }
  /** So many bytes came. */
  | { kind: "bytes"; key: string; bytes: number }
  /** The host failed, and is asked again so many seconds later. */
  | { kind: "retry"; key: string; seconds: number; reason: string }
  | { kind: "done"; key: string }
  | { kind: "failed"; key: string };

export interface Functaset {
  /** Where it is, without a slash at the end. */
  readonly url: string;
  /** Last part of the path without `.functa`. */
  readonly name: string;
  /** As the root says: 1 to 8. */
  readonly formatVersion: number;
  /** Examples that can be read; of an unfinished functaset, those that are fitted by now. */
  readonly count: number;
  /** Examples that the functaset has once it is finished. */
  readonly countWhenFinished: number;
  readonly finished: boolean;
  readonly numParts: number;
  readonly domain: Domain;
  readonly channels: Channel[];
  /** Range of features, to which PSNR is relative. */
  readonly dataRange: [number, number];
  readonly network: Network;
  readonly modulationDtype: "float32" | "float16" | "int8";
  /** Quality per split, of the first part; empty while unfinished. */
  readonly quality: Record<string, Quality>;
  /** What the archive was, as the functaset says: plain JSON of a stranger. */
  readonly provenance: Record<string, unknown>;
  readonly labels: LabelColumn[];
  /** Mean squared error of each fit, of features. */
  readonly mse: Column;
  /** PSNR of each fit in decibels; Infinity where there is no error. */
  readonly psnr: Column;
  /** What else is known of each fit. */
  readonly metrics: Column[];
  /** Names of the examples from <= i < to: texts of strangers, never markup. */
  ids(from: number, to: number, options?: Reading): Promise<string[]>;
  /** `train`, `validation` or `test` of the examples from <= i < to. */
  splits(from: number, to: number, options?: Reading): Promise<string[]>;
  /** Numbers of one modulation, cells in C order: `network.modulationSize` of them. */
  modulation(index: number, options?: Reading): Promise<Float32Array>;
  /** Those of the examples from <= i < to, one after the other. */
  modulations(from: number, to: number, options?: Reading): Promise<Float32Array>;
  /** Null while unfinished. */
  statistics(options?: Reading): Promise<Statistics | null>;
  /** Base weights, fetched once and checked. */
  base(options?: Reading): Promise<Base>;
  /** Bytes fetched so far, by all requests. */
  bytesFetched(): number;
}

/** Base weights by name, such as `sine_0/kernel` (input, output), C order. */
export type Base = ReadonlyMap<string, Float32Array>;

export interface OpenOptions extends Reading {
  /** What fetches; the browser's unless given. */
  fetch?: typeof fetch;
  /** Told of all requests, also of those after the opening. */
  onProgress?: (progress: Progress) => void;
}

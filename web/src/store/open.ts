/** Opening of functasets: one store, or several that follow each other. */

import { StoreError } from "./errors";
import type { Column, Functaset, LabelColumn, OpenOptions, Reading, Statistics } from "./functaset";
import { Host, type HostOptions } from "./host";
import { Part, type PartLabel, readText } from "./part";
import { PARTS_VERSION, type ArraySpec, type PartRecord, readRoot, type Spec } from "./spec";

/**
 * Open a functaset; fetches the root and descriptions of labels, no rows.
 *
 * @param url Address of the folder, such as `https://example.org/pets.functa`.
 * @throws StoreError if there is no functaset that this page can read.
 */
export async function openFunctaset(url: string, options: OpenOptions & HostOptions = {}): Promise<Functaset> {
  const host = new Host(url.replace(/\/+$/, ""), options);
  const { signal } = options;
  const { formatVersion, spec, parts } = readRoot(await readText(host, "zarr.json", signal), host.address);
  const opened = [
    await Part.open(host, "", spec, signal),
    ...(await Promise.all(parts.map((part) => openPart(host, part, spec, signal)))),
  ];
  const labels = await Promise.all(opened.map((part) => part.labels(signal)));
  return assemble(host, formatVersion, opened, labels);
}

/** A part that a root lists. */
async function openPart(host: Host, record: PartRecord, first: Spec, signal?: AbortSignal): Promise<Part> {
  const where = `${host.address}/${record.name}`;
  const { formatVersion, spec } = readRoot(await readText(host, `${record.name}/zarr.json`, signal), where);
  const isSame =
    formatVersion !== PARTS_VERSION &&
    spec.complete &&
    spec.fingerprint === record.fingerprint &&
    spec.count === record.examples &&
    spec.meaning === first.meaning &&
    JSON.stringify(spec.network) === JSON.stringify(first.network) &&
    weights(spec) === weights(first);
  if (!isSame) throw new StoreError(`${where}: another functaset than the root lists. Copy the store again.`);
  return Part.open(host, `${record.name}/`, spec, signal);
}

const weights = (spec: Spec): string => {
  const own = ([name]: [string, ArraySpec]): boolean => !name.startsWith("inner_loop/");
  return JSON.stringify([...spec.base].filter(own).sort(([a], [b]) => (a < b ? -1 : 1)));
};

function assemble(host: Host, formatVersion: number, parts: Part[], labels: PartLabel[][]): Functaset {
  const first = parts[0]!.spec;
  const starts = [0];
  for (const part of parts) starts.push(starts.at(-1)! + part.count);
  const count = starts.at(-1)!;

  /** What each part has of the examples from <= i < to. */
  const each = <T>(from: number, to: number, read: (part: number, from: number, to: number) => Promise<T>): Promise<T[]> => {
    if (!(Number.isInteger(from) && Number.isInteger(to) && 0 <= from && from <= to && to <= count)) {
      throw new StoreError(`${host.address}: examples ${from} to ${to} were asked for, there are ${count}.`);
    }
    const wanted = parts.flatMap((_, i) => {
      const [low, high] = [Math.max(from, starts[i]!), Math.min(to, starts[i + 1]!)];
      return low < high ? [read(i, low - starts[i]!, high - starts[i]!)] : [];
    });
    return Promise.all(wanted);
  };
  const numbers = async (
    from: number,
    to: number,
    read: (part: Part, from: number, to: number) => Promise<Float32Array>,
  ): Promise<Float32Array> => joined(await each(from, to, (i, low, high) => read(parts[i]!, low, high)));
  const column = (
    name: string,
    unit: string,
    values: (from: number, to: number, options?: Reading) => Promise<Float64Array>,
  ): Column => ({ name, unit, values: async (from, to, options) => values(from, to, options) });

  const mse = column("mse", "1", async (from, to, options) =>
    Float64Array.from(await numbers(from, to, (part, low, high) => part.mse(low, high, options?.signal))),
  );
  const span = first.dataRange[1] - first.dataRange[0];
  const psnr = column("psnr", "dB", async (from, to, options) => {
    return (await mse.values(from, to, options)).map((error) => 20 * Math.log10(span) - 10 * Math.log10(error));
  });
  const metrics = first.columns.map(({ name, unit }, place) =>
    column(name, unit, async (from, to, options) => {
      const table = await numbers(from, to, (part, low, high) => part.metrics(low, high, options?.signal));
      return Float64Array.from({ length: to - from }, (_, i) => table[i * first.columns.length + place]!);
    }),
  );
  // Labels that all parts have, with the classes of all: those of the first, then those that only later parts have.
  const common = labels[0]!.flatMap(({ name }): LabelColumn[] => {
    const own = labels.map((several) => several.find((label) => label.name === name));
    if (own.includes(undefined)) return [];
    const alike = own as PartLabel[];
    const together = joinedClasses(alike.map(({ classNames }) => classNames));
    if (together === null) return [];
    const values = async (from: number, to: number, options?: Reading): Promise<Float64Array> => {
      const read = async (i: number, low: number, high: number): Promise<number[]> => {
        const found = await parts[i]!.column(alike[i]!.values, low, high, options?.signal);
        const numbers = together.numbers?.[i];
        return numbers ? found.map((value) => numbers[value] ?? NO_NAME) : found;
      };
      return Float64Array.from((await each(from, to, read)).flat());
    };
    return [{ ...column(name, "1", values), classNames: together.classNames }];
  });
  const texts = async (name: "ids" | "splits", from: number, to: number, options?: Reading): Promise<string[]> => {
    const read = (i: number, low: number, high: number): Promise<string[]> =>
      parts[i]!.column(parts[i]![name], low, high, options?.signal);
    return (await each(from, to, read)).flat();
  };
  const modulations = (from: number, to: number, options?: Reading): Promise<Float32Array> =>
    numbers(from, to, (part, low, high) => part.modulations(low, high, options?.signal));

  return {
    url: host.address,
    name: nameOf(host.address),
    formatVersion,
    count,
    countWhenFinished: parts.reduce((sum, part) => sum + part.spec.count, 0),
    finished: first.complete,
    numParts: parts.length,
    domain: first.domain,
    channels: first.channels,
    dataRange: first.dataRange,
    network: first.network,
    modulationDtype: first.dtype,
    quality: parts.length === 1 ? first.quality : {},
    provenance: first.provenance,
    labels: common,
    mse,
    psnr,
    metrics,
    ids: (from, to, options) => texts("ids", from, to, options),
    splits: (from, to, options) => texts("splits", from, to, options),
    modulation: async (index, options) => modulations(index, index + 1, options),
    modulations: async (from, to, options) => modulations(from, to, options),
    statistics: async (options) => merged(parts, await Promise.all(parts.map((part) => part.statistics(options?.signal)))),
    base: (options) => parts[0]!.base(options?.signal),
    bytesFetched: () => host.bytesFetched,
  };
}

/** The number of a class without a name, where parts name different classes. */
const NO_NAME = -1;

/**
 * Classes of a label of several parts, and the number that each part's numbers become; null if there is no telling what
 * they mean.
 */
function joinedClasses(several: (string[] | null)[]): { classNames: string[] | null; numbers: number[][] | null } | null {
  const first = several[0]!;
  if (several.every((names) => JSON.stringify(names) === JSON.stringify(first))) return { classNames: first, numbers: null };
  if (several.some((names) => names === null || new Set(names).size < names.length)) return null;
  const classNames = [...new Set(several.flatMap((names) => names!))];
  const places = new Map(classNames.map((name, place) => [name, place]));
  return { classNames, numbers: several.map((names) => names!.map((name) => places.get(name)!)) };
}

function nameOf(address: string): string {
  const path = address.split(/[?#]/)[0]!;
  const last = path.split("/").filter(Boolean).at(-1) ?? path;
  try {
    return decodeURIComponent(last).replace(/\.functa$/, "");
  } catch {
    return last.replace(/\.functa$/, "");
  }
}

function joined(pieces: Float32Array[]): Float32Array {
  if (pieces.length === 1) return pieces[0]!;
  const found = new Float32Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    found.set(piece, at);
    at += piece.length;
  }
  return found;
}

/** Statistics over the examples of all parts. */
function merged(parts: Part[], found: (Statistics | null)[]): Statistics | null {
  if (found.includes(null)) return null;
  const all = found as Statistics[];
  if (all.length === 1) return all[0]!;
  const total = parts.reduce((sum, part) => sum + part.count, 0);
  const shares = parts.map((part) => part.count / total);
  const over = (value: (part: number, i: number) => number): Float64Array =>
    Float64Array.from(all[0]!.mean, (_, i) => shares.reduce((sum, share, part) => sum + share * value(part, i), 0));
  const mean = over((part, i) => all[part]!.mean[i]!);
  const variance = over((part, i) => all[part]!.std[i]! ** 2 + (all[part]!.mean[i]! - mean[i]!) ** 2);
  return {
    mean: Float32Array.from(mean),
    std: Float32Array.from(variance, Math.sqrt),
    min: all[0]!.min.map((_, i) => Math.min(...all.map((one) => one.min[i]!))),
    max: all[0]!.max.map((_, i) => Math.max(...all.map((one) => one.max[i]!))),
  };
}

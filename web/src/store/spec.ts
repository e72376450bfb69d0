/** The attribute `functa` of a root: read, checked, and brought to the current format version. */

import { sha256OfText } from "./bytes";
import { product, Reader } from "./checks";
import { type Domain, readDomain } from "./domain";
import { StoreError } from "./errors";
import type { Channel, Quality } from "./functaset";
import { canonical, type Json, parseJson, plain } from "./json";
import { mapInputs, type Network, numShifts, readNetwork } from "./network";

/** Of a functaset by itself; 8, which none of these has, is that of a root that lists parts. */
export const FORMAT_VERSION = 9;
export const PARTS_VERSION = 8;
/** First version whose shards and chunks of columns have their checksums in arrays, not in the root. */
const MANIFEST_ARRAYS_VERSION = 9;
const FIRST_WITH_CHECKSUM = 3;
const IDENTITY = [
  "format_version", "domain", "features", "config", "layout", "base", "rounding", "examples", "provenance",
];
const MOST_EXAMPLES = 1e12;
const MOST_SHARDS = 1e6;
const MOST_CHUNKS = 2 ** 20;
const MOST_PARTS = 9999;
const MOST_CHANNELS = 4096;
/** Numbers of a base, and of a modulation: what a page can hold and multiply. */
const MOST_BASE_NUMBERS = 2 ** 26;
const MOST_ROW_NUMBERS = 2 ** 24;
const MOST_SHARD_NUMBERS = 2 ** 31;

export interface FileRecord {
  bytes: number;
  crc32c: string;
}

export interface ArraySpec {
  dtype: "float32" | "float16";
  shape: number[];
  sha256: string;
}

export interface Layout {
  rowsPerShard: number;
  rowsPerChunk: number;
  mseRowsPerChunk: number;
}

export interface Spec {
  complete: boolean;
  fingerprint: string;
  domain: Domain;
  /** Domain and features as they are written, to compare parts by. */
  meaning: string;
  channels: Channel[];
  dataRange: [number, number];
  /** Name and unit of each column of `metrics`. */
  columns: { name: string; unit: string }[];
  network: Network;
  dtype: "float32" | "float16" | "int8";
  layout: Layout;
  base: Map<string, ArraySpec>;
  rounding: Map<string, ArraySpec>;
  count: number;
  provenance: Record<string, unknown>;
  quality: Record<string, Quality>;
  manifest: Map<string, FileRecord>;
  /** Whether the manifest has shards and chunks of ids, splits and labels, too. */
  manifestIsWhole: boolean;
}

export interface PartRecord {
  name: string;
  examples: number;
  fingerprint: string;
}

/**
 * What a root says.
 *
 * @param where Address of the functaset, for errors.
 * @throws StoreError if it is none that this page can read.
 */
export function readRoot(text: string, where: string): { formatVersion: number; spec: Spec; parts: PartRecord[] } {
  const root = parseJson(text, `${where}/zarr.json`);
  const attributes = root instanceof Map ? root.get("attributes") : undefined;
  const functa = attributes instanceof Map ? attributes.get("functa") : undefined;
  if (!(functa instanceof Map)) {
    throw new StoreError(`${where}: a Zarr node, but no functaset: its attributes lack the key 'functa'.`);
  }
  const version = new Reader(plain(functa), `${where}/zarr.json`).whole("format_version", 1, Number.MAX_SAFE_INTEGER);
  if (version > FORMAT_VERSION) {
    throw new StoreError(`${where}: format version ${version}, but this page reads versions up to ${FORMAT_VERSION}.`);
  }
  const checksum = functa.get("checksum");
  functa.delete("checksum");
  if (version >= FIRST_WITH_CHECKSUM && (!checksum || plain(checksum) !== sha256OfText(canonical(root)))) {
    throw new StoreError(`${where}/zarr.json: damaged: its checksum is not that of what it says. Copy it again.`);
  }
  if (version !== PARTS_VERSION) return { formatVersion: version, spec: readSpec(functa, version, where), parts: [] };
  const fields = new Reader(plain(functa), `${where}/zarr.json`).only("format_version", "own", "parts");
  const own = functa.get("own");
  if (!(own instanceof Map)) return fields.fail("own", "is no object");
  own.delete("checksum");
  const ownVersion = fields.object("own").whole("format_version", 1, FORMAT_VERSION);
  const parts = fields.list("parts", MOST_PARTS).map((value, i): PartRecord => {
    const part = new Reader(value, `${where}/zarr.json: part ${i + 1}`).only("name", "examples", "fingerprint");
    const name = `parts/${String(i + 1).padStart(4, "0")}.functa`;
    part.oneOf("name", name);
    return { name, examples: part.whole("examples", 1, MOST_EXAMPLES), fingerprint: part.text("fingerprint") };
  });
  if (ownVersion === PARTS_VERSION) fields.fail("own", "lists parts itself");
  const spec = readSpec(own, ownVersion, where);
  if (parts.length === 0 || !spec.complete) fields.fail("parts", "are none, or follow an unfinished functaset");
  return { formatVersion: version, spec, parts };
}

function readSpec(functa: Map<string, Json>, version: number, where: string): Spec {
  const at = `${where}/zarr.json`;
  const fields = new Reader(plain(functa), at);
  fields.only(
    "format_version", "complete", "fingerprint", "domain", "features", "config", "layout", "base", "examples",
    "provenance", "reference", "quality", "manifest", ...(version >= 3 ? ["rounding", "rounding_loss"] : []),
    ...(version >= MANIFEST_ARRAYS_VERSION ? ["manifest_sha256"] : []),
  );
  const identity = new Map([...functa].filter(([key]) => IDENTITY.includes(key)));
  if (fields.text("fingerprint") !== sha256OfText(canonical(identity))) {
    fields.fail("fingerprint", "does not belong to the other attributes; they were edited");
  }
  const config = fields.object("config");
  const domain = readDomain(fields.object("domain"), version);
  const { channels, dataRange, columns } = readFeatures(fields.object("features"), version);
  const network = readNetwork(config.object("network"), version, domain, channels.length);
  const spec: Spec = {
    complete: fields.flag("complete"),
    fingerprint: fields.text("fingerprint"),
    domain,
    meaning: canonical(new Map([...functa].filter(([key]) => key === "domain" || key === "features"))),
    channels,
    dataRange,
    columns,
    network,
    dtype: version >= 3 ? config.oneOf("modulation_dtype", "float32", "float16", "int8") : "float32",
    layout: readLayout(fields.object("layout")),
    base: readArrays(fields, "base"),
    rounding: version >= 3 ? readArrays(fields, "rounding") : new Map<string, ArraySpec>(),
    count: fields.object("examples").only("count", "sha256").whole("count", 1, MOST_EXAMPLES),
    provenance: plainObject(fields, "provenance"),
    quality: readQuality(fields),
    manifest: readRecords(fields, "manifest"),
    manifestIsWhole: version < MANIFEST_ARRAYS_VERSION,
  };
  check(spec, version, fields);
  return spec;
}

function plainObject(fields: Reader, name: string): Record<string, unknown> {
  fields.object(name);
  return fields.value(name) as Record<string, unknown>;
}

function readFeatures(fields: Reader, version: number): Pick<Spec, "channels" | "dataRange" | "columns"> {
  fields.only(
    "channels", "units", "data_range", "scale", "offset",
    ...(version >= 4 ? ["value_scale", "value_offset", "value_ranges", "missing", "metrics"] : []),
  );
  const names = fields.texts("channels", MOST_CHANNELS);
  if (names.length === 0) fields.fail("channels", "are none");
  const perChannel = <T>(what: string, values: T[]): T[] =>
    values.length === names.length ? values : fields.fail(what, `has ${values.length} entries for ${names.length} channels`);
  const dataRange = pair(fields, "data_range", fields.value("data_range"));
  if (version < 4) {
    const unit = fields.text("units");
    const channels = names.map((name) => ({ name, unit, scale: 1, offset: 0, range: [...dataRange] as [number, number] }));
    return { channels, dataRange, columns: [] };
  }
  const units = perChannel("units", fields.texts("units", MOST_CHANNELS));
  const scales = perChannel("value_scale", fields.numbers("value_scale", MOST_CHANNELS));
  const offsets = perChannel("value_offset", fields.numbers("value_offset", MOST_CHANNELS));
  const ranges = perChannel("value_ranges", fields.list("value_ranges", MOST_CHANNELS));
  const channels = names.map((name, i) => ({
    name,
    unit: units[i]!,
    scale: scales[i]!,
    offset: offsets[i]!,
    range: pair(fields, "value_ranges", ranges[i]),
  }));
  const columns = fields.texts("metrics", 16).flatMap((metric) => {
    if (metric === "rmse") return names.map((name, i) => ({ name: `rmse_${name}`, unit: units[i]! }));
    if (!["iou", "accuracy", "mse_held_out"].includes(metric)) fields.fail("metrics", "has an unknown name");
    return [{ name: metric, unit: "1" }];
  });
  return { channels, dataRange, columns };
}

function pair(fields: Reader, name: string, value: unknown): [number, number] {
  const [low, high] = (Array.isArray(value) && value.length === 2 ? value : [NaN, NaN]) as [unknown, unknown];
  if (typeof low === "number" && typeof high === "number" && Number.isFinite(low) && Number.isFinite(high) && low < high) {
    return [low, high];
  }
  return fields.fail(name, "is no (low, high)");
}

function readLayout(fields: Reader): Layout {
  fields.only("rows_per_shard", "rows_per_chunk", "mse_rows_per_chunk");
  const rows = ["rows_per_shard", "rows_per_chunk", "mse_rows_per_chunk"].map((name) => {
    const found = fields.whole(name, 1, 2 ** 40);
    return Number.isInteger(Math.log2(found)) ? found : fields.fail(name, `is ${found}, expected a power of two`);
  }) as [number, number, number];
  const [rowsPerShard, rowsPerChunk, mseRowsPerChunk] = rows;
  if (Math.max(rowsPerChunk, mseRowsPerChunk) > rowsPerShard) fields.fail("rows_per_chunk", "are more than a shard's");
  if (rowsPerShard / Math.min(rowsPerChunk, mseRowsPerChunk) > MOST_CHUNKS) {
    fields.fail("rows_per_shard", `means more than ${MOST_CHUNKS} chunks in a shard`);
  }
  return { rowsPerShard, rowsPerChunk, mseRowsPerChunk };
}

function readArrays(fields: Reader, name: string): Map<string, ArraySpec> {
  return new Map(
    fields.entries(name).map(([key, array]) => {
      array.only("dtype", "shape", "sha256");
      const shape = array.wholes("shape", 1, MOST_BASE_NUMBERS, 10);
      return [key, { dtype: array.oneOf("dtype", "float32", "float16"), shape, sha256: array.text("sha256") }];
    }),
  );
}

/** Sizes and checksums by key; keys that lead out of the functaset are refused. */
export function readRecords(fields: Reader, name: string): Map<string, FileRecord> {
  return new Map(
    fields.entries(name).map(([key, file]) => {
      const isPlain = key.split("/").every((part) => part !== "" && part !== "." && part !== "..");
      if (!isPlain || !key.isWellFormed()) fields.fail(name, "has a name that is no place inside the functaset");
      const bytes = file.whole("bytes", 0, Number.MAX_SAFE_INTEGER);
      return [key, { bytes, crc32c: file.text("crc32c") }];
    }),
  );
}

function readQuality(fields: Reader): Record<string, Quality> {
  const found: [string, Quality][] = fields.entries("quality").map(([split, quality]) => {
    const figure = (name: string): number | null => (quality.value(name) === null ? null : quality.number(name));
    const means = quality.value("metrics") === undefined ? undefined : quality.object("metrics");
    const names = means ? Object.keys(quality.value("metrics") as object).slice(0, MOST_CHANNELS) : [];
    const metrics = names.map((name) => [name, means!.value(name) === null ? null : means!.number(name)]);
    return [
      split,
      {
        examples: quality.whole("examples", 0, MOST_EXAMPLES),
        psnrMean: figure("psnr_mean"),
        psnrOfMeanMse: figure("psnr_of_mean_mse"),
        metrics: Object.fromEntries(metrics) as Record<string, number | null>,
      },
    ];
  });
  return Object.fromEntries(found);
}

/** What no writer would write, and no page can hold, before anything of that size is fetched. */
function check(spec: Spec, version: number, fields: Reader): void {
  const { network, layout, count } = spec;
  if (count / layout.rowsPerShard > MOST_SHARDS) fields.fail("examples.count", `means more than ${MOST_SHARDS} shards`);
  if (network.modulationSize > MOST_ROW_NUMBERS) {
    fields.fail("config.network", `has modulations of ${network.modulationSize} numbers, this page takes ${MOST_ROW_NUMBERS}`);
  }
  if (layout.rowsPerShard * Math.max(network.modulationSize, spec.columns.length) > MOST_SHARD_NUMBERS) {
    fields.fail("layout", `has shards of more than ${MOST_SHARD_NUMBERS} numbers`);
  }
  const shapes = baseShapes(network);
  const total = [...shapes.values()].reduce((sum, shape) => sum + product(shape), 0);
  if (total > MOST_BASE_NUMBERS) {
    fields.fail("base", `has ${total} numbers, more than the ${MOST_BASE_NUMBERS} that this page takes`);
  }
  for (const [name, shape] of shapes) {
    const found = spec.base.get(name);
    if (!found) fields.fail(`base.${name}`, "is missing");
    if (String(found!.shape) !== String(shape)) {
      fields.fail(`base.${name}`, `has shape ${found!.shape.join(" x ")}, expected ${shape.join(" x ")}`);
    }
  }
  for (const name of spec.base.keys()) {
    const isRate = name === "inner_loop/learning_rate" || (name === "inner_loop/momentum" && version >= 2);
    if (!shapes.has(name) && !isRate) fields.fail("base", "has an array that the network has not");
  }
  const wanted = spec.dtype === "int8" ? ["offset", "scale"] : [];
  const fits = [...spec.rounding].every(([, { dtype, shape }]) => dtype === "float32" && String(shape) === String([network.cellSize]));
  if (String([...spec.rounding.keys()].sort()) !== String(wanted) || !fits) {
    fields.fail("rounding", `does not suit modulations in ${spec.dtype}`);
  }
}

/** Shape of every base weight; kernels are (input, output). */
export function baseShapes(network: Network): Map<string, number[]> {
  const shapes = new Map<string, number[]>();
  for (let layer = 0; layer < network.depth - 1; layer++) {
    shapes.set(`sine_${layer}/kernel`, [layer ? network.width : network.inputs, network.width]);
    shapes.set(`sine_${layer}/bias`, [network.width]);
  }
  shapes.set("linear/kernel", [network.width, network.channels]);
  shapes.set("linear/bias", [network.channels]);
  if (network.modulation !== "shift") {
    shapes.set("map/kernel", [mapInputs(network), numShifts(network)]);
    const cells = network.mapBias === "per_cell" ? network.grid! : [];
    shapes.set("map/bias", [...cells, numShifts(network)]);
  }
  return shapes;
}

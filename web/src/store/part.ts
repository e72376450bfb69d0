/** One functaset without parts: which of its shards are there, and rows of its tables. */

import { Arrays, numbersOf, SmallColumn } from "./arrays";
import { ITEM_BYTES, type NumberType, sha256Hex } from "./bytes";
import { Reader } from "./checks";
import { StoreError } from "./errors";
import type { Base, Statistics } from "./functaset";
import { type Host, NotFoundError, unlessAborted, WORK } from "./host";
import { parseJson, plain } from "./json";
import { type ArraySpec, baseShapes, type FileRecord, readRecords, readRoot, type Spec } from "./spec";

export const MOST_ROOT_BYTES = 64 * 2 ** 20;
const MOST_RECEIPT_BYTES = 16 * 2 ** 20;
/** Shards of an unfinished functaset that are looked for. */
const MOST_SHARDS_LOOKED_FOR = 1024;
/** Numbers of rows that are read at once. */
const MOST_NUMBERS_AT_ONCE = 2 ** 26;

type TableName = "modulations" | "mse" | "metrics";

interface Table {
  type: NumberType;
  rowNumbers: number;
  dimensions: number;
  rowsPerChunk: number;
}

/** The labels of one store: names, and what their numbers stand for. */
export interface PartLabel {
  name: string;
  classNames: string[] | null;
  values: SmallColumn<number>;
}

export class Part {
  /** Shards that can be read, ascending; null if all. */
  private shards: number[] | null = null;
  private arrays: Arrays;
  private records: ReadonlyMap<string, FileRecord> | null;
  private baseFound: Promise<Base> | null = null;
  private roundingFound: Promise<{ scale: Float32Array; offset: Float32Array } | null> | null = null;
  readonly ids: SmallColumn<string>;
  readonly splits: SmallColumn<string>;

  private constructor(
    private readonly host: Host,
    private readonly at: string,
    readonly spec: Spec,
    found: { shards: number[] | null; records: ReadonlyMap<string, FileRecord> | null },
  ) {
    this.shards = found.shards;
    this.records = found.records;
    this.arrays = new Arrays(host, at, found.records, spec.complete && !spec.manifestIsWhole);
    this.ids = this.texts("id");
    this.splits = this.texts("split");
  }

  /**
   * @param at Where it is below the host's address: empty, or `parts/0001.functa/`.
   * @param spec What its root says, if that was read already.
   */
  static async open(host: Host, at: string, spec: Spec, signal?: AbortSignal): Promise<Part> {
    if (spec.complete) return new Part(host, at, spec, { shards: null, records: spec.manifest });
    const skeleton = await readReceipt(host, "skeleton", spec.fingerprint, signal);
    const last = Math.min(Math.ceil(spec.count / spec.layout.rowsPerShard), MOST_SHARDS_LOOKED_FOR);
    const receipts = await Promise.all(
      Array.from({ length: last }, (_, i) => readReceipt(host, String(i).padStart(6, "0"), spec.fingerprint, signal)),
    );
    const shards = receipts.flatMap((receipt, i) => (receipt ? [i] : []));
    if (shards.length === 0) {
      // It may have been finished meanwhile, and its receipts removed.
      const again = readRoot(await readText(host, `${at}zarr.json`, signal), host.address);
      if (again.spec.complete && again.parts.length === 0) return Part.open(host, at, again.spec, signal);
    }
    const records = skeleton && new Map([...skeleton].filter(([key]) => key !== "zarr.json"));
    return new Part(host, at, spec, { shards, records });
  }

  private get where(): string {
    return `${this.host.address}/${this.at}`.replace(/\/$/, "");
  }

  /** Examples that can be read. */
  get count(): number {
    const { count, layout } = this.spec;
    if (!this.shards) return count;
    return this.shards.reduce((sum, shard) => sum + Math.min(layout.rowsPerShard, count - shard * layout.rowsPerShard), 0);
  }

  /** Runs of rows of the finished store that examples from <= i < to are. */
  private runs(from: number, to: number): { row: number; count: number }[] {
    if (!this.shards) return [{ row: from, count: to - from }];
    const size = this.spec.layout.rowsPerShard;
    const runs: { row: number; count: number }[] = [];
    for (let example = from; example < to; ) {
      const inside = example % size;
      const count = Math.min(size - inside, to - example);
      runs.push({ row: this.shards[Math.floor(example / size)]! * size + inside, count });
      example += count;
    }
    return runs;
  }

  /** Values of a column of the examples from <= i < to. */
  async column<T>(column: SmallColumn<T>, from: number, to: number, signal?: AbortSignal): Promise<T[]> {
    const found = await Promise.all(this.runs(from, to).map(({ row, count }) => column.values(row, row + count, signal)));
    return found.length === 1 ? found[0]! : found.flat();
  }

  private texts(name: "id" | "split"): SmallColumn<string> {
    const describe = async (): Promise<number> => {
      const { type, shape, chunks } = await this.arrays.describe(name);
      if (type !== "string" || String(shape) !== String([this.spec.count])) {
        throw this.arrays.damaged(name, `${type} of shape ${shape.join(" x ")}, expected a text for each example`);
      }
      return chunks[0]!;
    };
    return new SmallColumn(describe, (chunk, size) => this.arrays.chunkTexts(name, chunk, size));
  }

  /** The labels, by the manifest; of an unfinished store whose skeleton has no receipt, none are known. */
  async labels(signal?: AbortSignal): Promise<PartLabel[]> {
    const names = [...(this.records?.keys() ?? [])].flatMap((key) => /^labels\/([^/]+)\/zarr\.json$/.exec(key)?.[1] ?? []);
    return Promise.all(
      names.sort().map(async (name) => {
        const array = `labels/${name}`;
        const { type, shape, chunks, attributes } = await this.arrays.describe(array, signal);
        if (type === "string" || String(shape) !== String([this.spec.count])) {
          throw this.arrays.damaged(array, `${type} of shape ${shape.join(" x ")}, expected a number for each example`);
        }
        const named = Array.isArray(attributes.names) ? attributes.names.map(String) : null;
        const values = new SmallColumn<number>(
          () => Promise.resolve(chunks[0]!),
          async (chunk, size) => numbersOf(await this.arrays.chunkBytes(array, [chunk], size * ITEM_BYTES[type]), type),
        );
        return { name, classNames: named, values };
      }),
    );
  }

  private table(name: TableName): Table {
    const { network, layout, dtype, columns } = this.spec;
    if (name === "modulations") {
      const dimensions = 1 + (network.grid?.length ?? 0);
      return { type: dtype, rowNumbers: network.modulationSize, dimensions, rowsPerChunk: layout.rowsPerChunk };
    }
    const numbers = name === "mse" ? 1 : columns.length;
    const dimensions = name === "mse" ? 0 : 1;
    return { type: "float32", rowNumbers: numbers, dimensions, rowsPerChunk: layout.mseRowsPerChunk };
  }

  /** Stored numbers of the examples from <= i < to; each run inside a shard is one closed range. */
  private async rows(name: TableName, from: number, to: number, signal?: AbortSignal): Promise<Float32Array> {
    const table = this.table(name);
    if ((to - from) * table.rowNumbers > MOST_NUMBERS_AT_ONCE) {
      throw new StoreError(`${this.where}/${name}: ${to - from} rows at once are too many, ask for fewer.`);
    }
    const { rowsPerShard } = this.spec.layout;
    const rowBytes = table.rowNumbers * ITEM_BYTES[table.type];
    const shardBytes = rowsPerShard * rowBytes + 16 * (rowsPerShard / table.rowsPerChunk) + 4;
    const found = new Float32Array((to - from) * table.rowNumbers);
    const reading: Promise<void>[] = [];
    let filled = 0;
    for (const run of this.runs(from, to)) {
      for (let row = run.row; row < run.row + run.count; ) {
        const shard = Math.floor(row / rowsPerShard);
        const inside = row % rowsPerShard;
        const count = Math.min(rowsPerShard - inside, run.row + run.count - row);
        const key = `${this.at}${name}/c/${shard}${"/0".repeat(table.dimensions)}`;
        const place = filled;
        const read = async (): Promise<void> => {
          const bytes = await this.host.range(key, inside * rowBytes, count * rowBytes, shardBytes, signal);
          found.set(numbersOf(bytes, table.type), place);
        };
        reading.push(read());
        filled += count * table.rowNumbers;
        row += count;
      }
    }
    await Promise.all(reading);
    return found;
  }

  /** Modulations as they are read: float32, scaled where they are stored as int8. */
  async modulations(from: number, to: number, signal?: AbortSignal): Promise<Float32Array> {
    const [found, rounding] = await Promise.all([this.rows("modulations", from, to, signal), this.rounding()]);
    if (rounding) {
      const { scale, offset } = rounding;
      for (let i = 0; i < found.length; i++) {
        const j = i % scale.length;
        found[i] = Math.fround(found[i]! * scale[j]!) + offset[j]!;
      }
    }
    if (!found.every(Number.isFinite)) {
      throw new StoreError(`${this.where}/modulations: damaged: a modulation has numbers that are not finite. Copy it again.`);
    }
    return found;
  }

  mse(from: number, to: number, signal?: AbortSignal): Promise<Float32Array> {
    return this.rows("mse", from, to, signal);
  }

  /** The table (example, metric). */
  metrics(from: number, to: number, signal?: AbortSignal): Promise<Float32Array> {
    return this.rows("metrics", from, to, signal);
  }

  private rounding(): Promise<{ scale: Float32Array; offset: Float32Array } | null> {
    this.roundingFound ??= this.readRounding();
    this.roundingFound.catch(() => (this.roundingFound = null));
    return this.roundingFound;
  }

  private async readRounding(): Promise<{ scale: Float32Array; offset: Float32Array } | null> {
    if (this.spec.dtype !== "int8") return null;
    const [scale, offset] = await Promise.all(
      ["scale", "offset"].map((name) => this.described(name, this.spec.rounding.get(name)!)),
    );
    const isSane = scale!.every((s, i) => s > 0 && Number.isFinite(Math.fround(128 * s) + Math.abs(offset![i]!)));
    if (!isSane) throw new StoreError(`${this.where}: scale and offset lead beyond float32, or a scale is not positive.`);
    return { scale: scale!, offset: offset! };
  }

  base(signal?: AbortSignal): Promise<Base> {
    this.baseFound ??= this.readBase();
    this.baseFound.catch(() => (this.baseFound = null));
    return unlessAborted(this.baseFound, signal);
  }

  private async readBase(): Promise<Base> {
    const names = [...baseShapes(this.spec.network).keys()];
    const arrays = await Promise.all(
      names.map((name) => this.described(`base/${name}`, this.spec.base.get(name)!)),
    );
    return new Map(names.map((name, i) => [name, arrays[i]!]));
  }

  /** An array that the root describes: its bytes must be those, and its numbers finite. */
  private async described(
    name: string,
    { dtype, shape, sha256 }: ArraySpec,
  ): Promise<Float32Array> {
    const bytes = await this.arrays.numbers(name, dtype, shape);
    if (sha256Hex(bytes) !== sha256) throw this.arrays.damaged(name, "another SHA-256 than the root says");
    const numbers = numbersOf(bytes, dtype) as Float32Array;
    if (!numbers.every(Number.isFinite)) throw this.arrays.damaged(name, "numbers that are not finite");
    return numbers;
  }

  /** Of all examples; null while unfinished. */
  async statistics(signal?: AbortSignal): Promise<Statistics | null> {
    if (!this.spec.complete) return null;
    const shape = [this.spec.network.cellSize];
    const names = ["mean", "std", "min", "max"] as const;
    const found = await Promise.all(names.map((name) => this.arrays.numbers(`statistics/${name}`, "float32", shape, signal)));
    return Object.fromEntries(names.map((name, i) => [name, numbersOf(found[i]!, "float32")])) as unknown as Statistics;
  }
}

export async function readText(host: Host, key: string, signal?: AbortSignal): Promise<string> {
  const bytes = await host.whole(key, MOST_ROOT_BYTES, signal, true);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new StoreError(`${host.address}/${key}: no UTF-8. Copy or convert again.`);
  }
}

/** Records of a receipt beside an unfinished store; null if there is none of this conversion. */
async function readReceipt(
  host: Host,
  name: string,
  fingerprint: string,
  signal?: AbortSignal,
): Promise<Map<string, FileRecord> | null> {
  try {
    const bytes = await host.whole(`${WORK}receipts/${name}.json`, MOST_RECEIPT_BYTES, signal, true);
    const fields = new Reader(plain(parseJson(new TextDecoder().decode(bytes), name)), name);
    return fields.text("fingerprint") === fingerprint ? readRecords(fields, "files") : null;
  } catch (error) {
    if (error instanceof NotFoundError) return null;
    if (error instanceof StoreError && !error.message.startsWith(host.address)) return null; // no receipt
    throw error;
  }
}


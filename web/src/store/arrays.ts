/** Small arrays of a store: base weights, ids, labels. Metadata is believed if it is as this project writes it. */

import { crc32c, ITEM_BYTES, numbersOf, type NumberType, textsOf, unpack } from "./bytes";
import { product, Reader } from "./checks";
import { StoreError } from "./errors";
import { type Host, unlessAborted } from "./host";
import { canonical, type Json, parseJson, plain } from "./json";
import type { FileRecord } from "./spec";

const MOST_METADATA_BYTES = 16 * 2 ** 20;
const MOST_ARRAY_BYTES = 2 ** 30;
const MOST_TEXTS_IN_CHUNK = 2 ** 19;
const CHUNK_OF_COLUMN = /^(id|split|labels\/[^/]+)\/c\/(\d+)$/;
const MOST_DIMENSIONS = 10;
const BYTES_PER_TEXT = 4096;
const FREE_TEXT_BYTES = 2 ** 20;
const TEXT_CODECS = '[{"configuration":{},"name":"vlen-utf8"},ZSTD]';
const BYTE_CODECS = '[{"name":"bytes"},ZSTD]';
const NUMBER_CODECS = '[{"configuration":{"endian":"little"},"name":"bytes"},ZSTD]';
const ZSTD = /\{"configuration":\{"checksum":false(,"level":-?\d+)?\},"name":"zstd"\}/;
const KEYS = '{"configuration":{"separator":"/"},"name":"default"}';

export type ArrayType = NumberType | "string";

export interface Described {
  type: ArrayType;
  shape: number[];
  chunks: number[];
  attributes: Record<string, unknown>;
}

/** Reads arrays below one address; objects are compared with their size and checksum where these are known. */
export class Arrays {
  private readonly described = new Map<string, Promise<Described>>();
  private readonly columns = new Map<string, Promise<FileRecord[]>>();

  /**
   * @param at Where the store is below the host's address, with a slash at the end, or empty.
   * @param records Size and checksum of every object; null if they are not known.
   * @param hasManifestArrays Whether those of chunks of ids, splits and labels are in arrays of the manifest instead.
   */
  constructor(
    private readonly host: Host,
    private readonly at: string,
    private readonly records: ReadonlyMap<string, FileRecord> | null,
    private readonly hasManifestArrays = false,
  ) {}

  /** Metadata of an array, checked. */
  describe(name: string, signal?: AbortSignal): Promise<Described> {
    let found = this.described.get(name);
    if (!found) {
      found = this.readMetadata(name);
      found.catch(() => this.described.delete(name));
      this.described.set(name, found);
    }
    return unlessAborted(found, signal);
  }

  private async readMetadata(name: string): Promise<Described> {
    const where = `${this.host.address}/${this.at}${name}`;
    const bytes = await this.object(`${name}/zarr.json`, MOST_METADATA_BYTES);
    const json = parseJson(new TextDecoder().decode(bytes), where);
    const fields = new Reader(plain(json), where);
    const type = fields.oneOf("data_type", "string", ...(Object.keys(ITEM_BYTES) as NumberType[]));
    const shape = fields.wholes("shape", 0, 2 ** 48, MOST_DIMENSIONS);
    const chunks = fields.object("chunk_grid").object("configuration").wholes("chunk_shape", 1, 2 ** 48, MOST_DIMENSIONS);
    const codecs = canonical((json as Map<string, Json>).get("codecs") ?? []).replace(ZSTD, "ZSTD");
    const expected = type === "string" ? TEXT_CODECS : ITEM_BYTES[type] === 1 ? BYTE_CODECS : NUMBER_CODECS;
    const keys = canonical((json as Map<string, Json>).get("chunk_key_encoding") ?? []);
    if (codecs !== expected || keys !== KEYS) fields.fail("codecs", `are ${codecs.slice(0, 200)}, expected ${expected}`);
    const bytesInAll = product(shape) * (type === "string" ? 16 : ITEM_BYTES[type]);
    const longest = type === "string" ? MOST_TEXTS_IN_CHUNK : Infinity;
    if (
      chunks.length !== shape.length ||
      bytesInAll > MOST_ARRAY_BYTES ||
      chunks.some((chunk, i) => chunk > Math.min(Math.max(shape[i]!, 1), longest)) ||
      (type === "string" && shape.length !== 1)
    ) {
      fields.fail("shape", `is ${shape.join(" x ")} in chunks of ${chunks.join(" x ")}, which is absurd`);
    }
    const attributes = fields.value("attributes") === undefined ? {} : (fields.value("attributes") as Record<string, unknown>);
    return { type, shape, chunks, attributes: new Reader(attributes, where) && attributes };
  }

  /** Bytes of numbers of a whole array of known type and shape, little endian, in C order. */
  async numbers(name: string, type: NumberType, shape: number[], signal?: AbortSignal): Promise<Uint8Array> {
    // Most arrays are one chunk, as the manifest shows; their metadata need not be fetched.
    const only = [name, "c", ...shape.map(() => "0")].join("/");
    const isOne = this.records?.has(only) && !this.records.has([name, "c", ...shape.map((_, i) => (i ? "0" : "1"))].join("/"));
    const chunks = isOne ? shape : (await this.describeAs(name, type, shape, signal)).chunks;
    const size = ITEM_BYTES[type];
    const counts = shape.map((n, i) => Math.ceil(n / chunks[i]!));
    const whole = new Uint8Array(product(shape) * size);
    for (let number = 0; number < product(counts); number++) {
      const index = unravel(number, counts);
      const chunk = await this.chunkBytes(name, index, product(chunks) * size, signal);
      place(chunk, chunks, whole, shape, index.map((at, i) => at * chunks[i]!), size);
    }
    return whole;
  }

  private async describeAs(name: string, type: ArrayType, shape: number[], signal?: AbortSignal): Promise<Described> {
    const found = await this.describe(name, signal);
    if (found.type !== type || String(found.shape) !== String(shape)) {
      throw this.damaged(name, `${found.type} of shape ${found.shape.join(" x ")}, expected ${type} of ${shape.join(" x ")}`);
    }
    return found;
  }

  /** One chunk of numbers, with what it is filled up with. */
  async chunkBytes(name: string, index: number[], size: number, signal?: AbortSignal): Promise<Uint8Array> {
    const key = [name, "c", ...index].join("/");
    const packed = await this.object(key, size + Math.floor(size / 128) + 4096, signal);
    return this.unpacked(key, () => unpack(packed, size, true));
  }

  /** One chunk of strings, of so many. */
  async chunkTexts(name: string, index: number, count: number, signal?: AbortSignal): Promise<string[]> {
    const key = `${name}/c/${index}`;
    const most = FREE_TEXT_BYTES + BYTES_PER_TEXT * count;
    const packed = await this.object(key, most + Math.floor(most / 128) + 4096, signal);
    return this.unpacked(key, () => textsOf(unpack(packed, most, false), count));
  }

  private unpacked<T>(key: string, of: () => T): T {
    try {
      return of();
    } catch (error) {
      throw this.damaged(key, (error as Error).message);
    }
  }

  /** An object as a whole, of at most so many bytes. */
  async object(key: string, most: number, signal?: AbortSignal): Promise<Uint8Array> {
    const record = await this.recordOf(key);
    const bytes = await this.host.whole(this.at + key, Math.min(most, record?.bytes ?? most), signal);
    if (record && (bytes.length !== record.bytes || crc32c(bytes) !== record.crc32c)) {
      throw this.damaged(key, "its checksum is not that of the manifest");
    }
    return bytes;
  }

  /** Size and checksum of an object; undefined if those of none are known. */
  private async recordOf(key: string): Promise<FileRecord | undefined> {
    const listed = this.records?.get(key);
    if (listed || !this.records) return listed;
    const [, name, number] = (this.hasManifestArrays && CHUNK_OF_COLUMN.exec(key)) || [];
    const found = name === undefined ? undefined : (await this.columnRecords(name))[Number(number)];
    if (!found) throw this.damaged(key, "not in the manifest");
    return found;
  }

  /** Sizes and checksums of the chunks of a column, of which the manifest has an array. */
  private columnRecords(name: string): Promise<FileRecord[]> {
    let found = this.columns.get(name);
    if (!found) {
      found = this.readColumnRecords(`manifest/${name}`);
      found.catch(() => this.columns.delete(name));
      this.columns.set(name, found);
    }
    return found;
  }

  private async readColumnRecords(array: string): Promise<FileRecord[]> {
    const { type, shape } = await this.describe(array);
    if (type !== "uint32" || shape.length !== 2 || shape[1] !== 2) {
      throw this.damaged(array, `${type} of shape ${shape.join(" x ")}, expected uint32, two for each chunk`);
    }
    const rows = numbersOf(await this.numbers(array, type, shape), type);
    return Array.from({ length: shape[0]! }, (_, i) => ({
      crc32c: Number(rows[2 * i]).toString(16).padStart(8, "0"),
      bytes: Number(rows[2 * i + 1]),
    }));
  }

  damaged(key: string, found: string): StoreError {
    return new StoreError(
      `${this.host.address}/${this.at}${key}: damaged: found ${found}. Copy the store again, or convert again.`,
    );
  }
}

/** One value per example of a small array, read chunk by chunk; chunks stay in memory. */
export class SmallColumn<T> {
  private readonly chunks = new Map<number, Promise<ArrayLike<T>>>();

  constructor(
    private readonly rowsPerChunk: () => Promise<number>,
    private readonly read: (chunk: number, count: number) => Promise<ArrayLike<T>>,
  ) {}

  async values(from: number, to: number, signal?: AbortSignal): Promise<T[]> {
    const size = await this.rowsPerChunk();
    const wanted: Promise<ArrayLike<T>>[] = [];
    for (let chunk = Math.floor(from / size); chunk * size < to; chunk++) wanted.push(this.chunk(chunk, size));
    const found: T[] = [];
    (await unlessAborted(Promise.all(wanted), signal)).forEach((values, i) => {
      const start = (Math.floor(from / size) + i) * size;
      for (let row = Math.max(from, start); row < Math.min(to, start + values.length); row++) found.push(values[row - start]!);
    });
    return found;
  }

  private chunk(number: number, size: number): Promise<ArrayLike<T>> {
    let found = this.chunks.get(number);
    if (!found) {
      found = this.read(number, size);
      found.catch(() => this.chunks.delete(number));
      this.chunks.set(number, found);
    }
    return found;
  }
}

export { numbersOf };

function unravel(number: number, sizes: number[]): number[] {
  const index = sizes.map(() => 0);
  for (let axis = sizes.length - 1; axis >= 0; axis--) {
    index[axis] = number % sizes[axis]!;
    number = Math.floor(number / sizes[axis]!);
  }
  return index;
}

/** Copy the part of a chunk that is inside of an array to where it belongs; rows of the last axis at a time. */
function place(chunk: Uint8Array, chunks: number[], whole: Uint8Array, shape: number[], start: number[], size: number): void {
  const inside = chunks.map((n, i) => Math.min(n, shape[i]! - start[i]!));
  const run = inside.at(-1) ?? 1;
  const outer = inside.slice(0, -1);
  for (let number = 0; number < product(outer); number++) {
    const index = [...unravel(number, outer), 0].slice(0, shape.length);
    const flat = (sizes: number[], offset: number[]): number =>
      index.reduce((sum, at, i) => sum * sizes[i]! + at + (offset[i] ?? 0), 0) * size;
    const from = flat(chunks, shape.map(() => 0));
    whole.set(chunk.subarray(from, from + run * size), flat(shape, start));
  }
}

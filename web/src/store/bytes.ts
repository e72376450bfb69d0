/** Bytes as numbers: checksums, half precision, zstd, strings. */

import { sha256 } from "@noble/hashes/sha2.js";
import { decompress } from "fzstd";

export type NumberType =
  | "bool" | "int8" | "int16" | "int32" | "int64" | "uint8" | "uint16" | "uint32" | "uint64"
  | "float16" | "float32" | "float64";

export const ITEM_BYTES: Record<NumberType, number> = {
  bool: 1, int8: 1, int16: 2, int32: 4, int64: 8, uint8: 1, uint16: 2, uint32: 4, uint64: 8,
  float16: 2, float32: 4, float64: 8,
};

export function sha256Hex(bytes: Uint8Array): string {
  return Array.from(sha256(bytes), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const sha256OfText = (text: string): string => sha256Hex(new TextEncoder().encode(text));

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value;
});

/** CRC-32C in 8 hexadecimal digits. */
export function crc32c(bytes: Uint8Array): string {
  let value = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) value = CRC_TABLE[(value ^ bytes[i]!) & 255]! ^ (value >>> 8);
  return ((value ^ 0xffffffff) >>> 0).toString(16).padStart(8, "0");
}

/** Numbers of little-endian bytes; int64 beyond 2^53 lose digits. */
export function numbersOf(bytes: Uint8Array, type: NumberType): Float32Array | Float64Array {
  const count = bytes.length / ITEM_BYTES[type];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (type === "float32" || type === "float16" || type === "int8") {
    const found = new Float32Array(count);
    if (type === "float32") for (let i = 0; i < count; i++) found[i] = view.getFloat32(4 * i, true);
    else if (type === "int8") for (let i = 0; i < count; i++) found[i] = view.getInt8(i);
    else for (let i = 0; i < count; i++) found[i] = half(view.getUint16(2 * i, true));
    return found;
  }
  const read: Record<Exclude<NumberType, "float32" | "float16" | "int8">, (at: number) => number> = {
    bool: (at) => view.getUint8(at),
    int16: (at) => view.getInt16(at, true),
    int32: (at) => view.getInt32(at, true),
    int64: (at) => Number(view.getBigInt64(at, true)),
    uint8: (at) => view.getUint8(at),
    uint16: (at) => view.getUint16(at, true),
    uint32: (at) => view.getUint32(at, true),
    uint64: (at) => Number(view.getBigUint64(at, true)),
    float64: (at) => view.getFloat64(at, true),
  };
  return Float64Array.from({ length: count }, (_, i) => read[type](i * ITEM_BYTES[type]));
}

/** The number that 16 bits stand for in half precision. */
export function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Chunks that unpack to more bytes than the first may be as many times longer than they are packed as the second. */
const FREE_BYTES = 2 ** 24;
const MOST_EXPANSION = 256;

/**
 * Unpack zstd that must declare its size, which is looked at before memory is taken.
 *
 * @throws Error in words if it is no zstd, or declares more than `most`, or another number of bytes than `exactly`.
 */
export function unpack(bytes: Uint8Array, most: number, exactly: boolean): Uint8Array {
  const size = zstdSize(bytes);
  if (size === null || size > most || (exactly && size !== most)) {
    throw new Error(`its zstd frame declares ${size ?? "no size"}, expected ${exactly ? "" : "at most "}${most} bytes`);
  }
  if (size > Math.max(FREE_BYTES, MOST_EXPANSION * bytes.length)) {
    throw new Error(`its ${bytes.length} bytes declare ${size}, more than ${MOST_EXPANSION} times as many`);
  }
  const found = new Uint8Array(size);
  if (decompress(bytes, found).length !== size) throw new Error(`unpacks to other than the ${size} bytes it declares`);
  return found;
}

/** Bytes that a zstd frame says it holds; null if it is no frame or does not say (RFC 8878, section 3.1.1). */
export function zstdSize(bytes: Uint8Array): number | null {
  if (bytes.length < 6 || bytes[0] !== 0x28 || bytes[1] !== 0xb5 || bytes[2] !== 0x2f || bytes[3] !== 0xfd) return null;
  const descriptor = bytes[4]!;
  const singleSegment = (descriptor >> 5) & 1;
  const width = [singleSegment, 2, 4, 8][descriptor >> 6]!;
  if (!width) return null;
  const start = 5 + (1 - singleSegment) + [0, 1, 2, 4][descriptor & 3]!;
  if (start + width > bytes.length) return null;
  let size = 0;
  for (let i = width - 1; i >= 0; i--) size = size * 256 + bytes[start + i]!;
  return width === 2 ? size + 256 : size;
}

/**
 * Strings as numcodecs' vlen-utf8 writes them: their number, then of each its length and UTF-8 bytes.
 *
 * @throws Error in words if there are not so many.
 */
export function textsOf(bytes: Uint8Array, count: number): string[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const found = bytes.length < 4 ? -1 : view.getUint32(0, true);
  if (found !== count) throw new Error(`a chunk of ${found} strings, expected ${count}`);
  const texts: string[] = [];
  let at = 4;
  for (let i = 0; i < count; i++) {
    const length = at + 4 <= bytes.length ? view.getUint32(at, true) : Infinity;
    if (at + 4 + length > bytes.length) throw new Error("strings end behind the end of their chunk");
    texts.push(decoder.decode(bytes.subarray(at + 4, at + 4 + length)));
    at += 4 + length;
  }
  return texts;
}

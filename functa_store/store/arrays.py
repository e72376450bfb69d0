"""What is in a small array of a store, which may come from a stranger?

Metadata is believed if it describes an array as this project writes them, and nothing is allocated that was
not declared and checked before.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numcodecs.vlen import VLenUTF8
from numcodecs.zstd import Zstd

from functa_store.errors import StoreFormatError
from functa_store.store.objects import FileRecord, Objects, record

MOST_METADATA_BYTES = 16 * 2**20
MOST_ARRAY_BYTES = 4 * 2**30
ROWS_PER_CHUNK = 65536
"""Rows per chunk of the small per-example arrays."""

BYTES_PER_TEXT, FREE_TEXT_BYTES = 4096, 2**20
"""A chunk of n texts may have n times the first, and the second in any case."""

NUMBERS = ("bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)))
NUMBERS += ("float16", "float32", "float64")
TEXT = np.dtypes.StringDType()


class SmallArrays:
    """Reads arrays of a store as a whole.

    Args:
        objects: The store.
        records: Size and checksum of every object that is expected; None to believe what is there.
    """

    def __init__(self, objects: Objects, records: Mapping[str, FileRecord] | None) -> None:
        self._objects = objects
        self._records = records
        self._described: dict[str, dict[str, Any]] = {}

    def describe(self, name: str) -> dict[str, Any]:
        """The metadata of an array: `shape`, `data_type` and `chunks`, checked, and its `attributes`.

        Raises:
            StoreFormatError: If it is missing, damaged, or describes another kind of array.
        """
        if name in self._described:
            return self._described[name]
        try:
            found = json.loads(self._read(f"{name}/zarr.json", MOST_METADATA_BYTES))
            shape, chunks = _sizes(found["shape"]), _sizes(found["chunk_grid"]["configuration"]["chunk_shape"])
            data_type, attributes = found["data_type"], dict(found.get("attributes", {}))
        except StoreFormatError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise self._damaged(name, f"no readable metadata ({error!r})") from error
        if data_type not in (*NUMBERS, "string"):
            raise self._damaged(name, f"found data type {str(data_type)[:100]!r}, expected numbers or strings")
        if len(chunks) != len(shape) or 0 in chunks:
            raise self._damaged(name, f"found chunks {chunks} for the shape {shape}")
        self._described[name] = described = {
            "shape": shape,
            "data_type": data_type,
            "chunks": chunks,
            "attributes": attributes,
            "codecs": found.get("codecs"),
            "keys": found.get("chunk_key_encoding"),
            "storage_transformers": found.get("storage_transformers", []),
        }
        return described

    def read(self, name: str, data_type: str | None, shape: tuple[int, ...] | None = None) -> np.ndarray:
        """An array of numbers or strings.

        Args:
            name: Which.
            data_type: The type that it must have, such as "float32" or "string"; None for any.
            shape: The shape that it must have; None for any.

        Raises:
            StoreFormatError: If it is missing, damaged, of another shape, or written by other codecs than these.
        """
        described = self.describe(name)
        if data_type not in (None, described["data_type"]):
            raise self._damaged(name, f"has data type {described['data_type']}, expected {data_type}")
        found, chunks, data_type = described["shape"], described["chunks"], str(described["data_type"])
        if shape is not None and found != shape:
            raise StoreFormatError(
                f"{self._objects.name}/{name}: shape {found}, expected {shape}; two conversions were mixed. "
                "Convert again into an empty path."
            )
        expected = _codecs(data_type)
        plain = (_without_level(described["codecs"]), described["keys"], described["storage_transformers"])
        if plain != (expected, _KEYS, []):
            raise self._damaged(name, f"is written by codecs {str(described['codecs'])[:300]}, expected {expected}")
        dtype = TEXT if data_type == "string" else np.dtype(data_type).newbyteorder("<")
        longest = ROWS_PER_CHUNK if data_type == "string" else MOST_ARRAY_BYTES
        if (
            math.prod(found) * dtype.itemsize > MOST_ARRAY_BYTES
            or any(c > min(max(n, 1), longest) for n, c in zip(found, chunks, strict=True))
            or (data_type == "string" and len(found) != 1)
        ):
            raise self._damaged(name, f"shape {found} in chunks of {chunks} is absurd")
        grid = [-(-n // c) for n, c in zip(found, chunks, strict=True)]
        self._check_all_there(name, math.prod(grid))
        values = np.empty(found, dtype)
        for index in np.ndindex(*grid):
            key = "/".join([name, "c", *map(str, index)])
            window = tuple(slice(i * c, min(i * c + c, n)) for i, c, n in zip(index, chunks, found, strict=True))
            whole = self._texts(key, chunks[0]) if data_type == "string" else self._numbers(key, chunks, dtype)
            values[window] = whole[tuple(slice(0, w.stop - w.start) for w in window)]
        return values if data_type == "string" else values.astype(np.dtype(data_type), copy=False)

    def _check_all_there(self, name: str, num_chunks: int) -> None:
        """Before memory is taken for all of them."""
        if self._records is None:
            there = len(self._objects.sizes(f"{name}/c"))
        else:
            there = sum(key.startswith(f"{name}/c/") for key in self._records)
        if there != num_chunks:
            raise self._damaged(name, f"found {there} chunks, expected {num_chunks}")

    def _numbers(self, key: str, chunks: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        length = math.prod(chunks) * dtype.itemsize
        return np.frombuffer(self._decompress(key, length, exactly=True), dtype).reshape(chunks)

    def _texts(self, key: str, count: int) -> np.ndarray:
        data = self._decompress(key, text_limit(count), exactly=False)
        if int.from_bytes(data[:4], "little") != count:
            raise self._damaged(key, f"a chunk of {int.from_bytes(data[:4], 'little')} strings, expected {count}")
        try:
            return np.array(list(VLenUTF8().decode(data)), TEXT)
        except (ValueError, RuntimeError) as error:
            raise self._damaged(key, str(error)) from error

    def _decompress(self, key: str, length: int, *, exactly: bool) -> bytes:
        data = self._read(key, length + length // 128 + 4096)
        size = zstd_size(data)
        if size is None or size > length or (exactly and size != length):
            raise self._damaged(key, f"its zstd frame declares {size} bytes, expected {length}")
        try:
            return bytes(Zstd().decode(data, out=np.empty(size, np.uint8)))  # another frame may follow the first
        except (RuntimeError, ValueError) as error:
            raise self._damaged(key, str(error)) from error

    def _read(self, key: str, at_most: int) -> bytes:
        expected = None
        if self._records is not None:
            expected = self._records.get(key)
            if expected is None:
                raise self._damaged(key, "is not in the manifest")
            at_most = min(at_most, expected.bytes)
        try:
            data = self._objects.read(key, at_most)
        except FileNotFoundError as error:
            raise self._damaged(key, "missing") from error
        if expected is not None and record(data) != expected:
            raise self._damaged(key, "its checksum is not that of the manifest")
        return data

    def _damaged(self, name: str, found: str) -> StoreFormatError:
        return StoreFormatError(
            f"{self._objects.name}/{name}: missing or damaged: {found}. Copy the store again, or convert again."
        )


def text_limit(count: int) -> int:
    """Most bytes that a chunk of so many strings may have before it is compressed."""
    return FREE_TEXT_BYTES + BYTES_PER_TEXT * count


def zstd_size(data: bytes) -> int | None:
    """Bytes that a zstd frame says it holds; None if it is no frame, or does not say (RFC 8878, section 3.1.1)."""
    if len(data) < 6 or data[:4] != b"\x28\xb5\x2f\xfd":
        return None
    descriptor = data[4]
    single_segment, dictionary = descriptor >> 5 & 1, (0, 1, 2, 4)[descriptor & 3]
    width = (single_segment, 2, 4, 8)[descriptor >> 6]
    if not width:
        return None
    start = 5 + (1 - single_segment) + dictionary
    size = int.from_bytes(data[start : start + width], "little")
    return size + 256 if width == 2 else size


_KEYS = {"name": "default", "configuration": {"separator": "/"}}


def _codecs(data_type: str) -> list[dict[str, Any]]:
    """The codecs that this project writes."""
    if data_type == "string":
        first: dict[str, Any] = {"name": "vlen-utf8", "configuration": {}}
    elif np.dtype(data_type).itemsize == 1:
        first = {"name": "bytes"}
    else:
        first = {"name": "bytes", "configuration": {"endian": "little"}}
    return [first, {"name": "zstd", "configuration": {"checksum": False}}]


def _without_level(codecs: Any) -> Any:
    """Codecs without zstd's level, which does not matter for reading."""
    if not isinstance(codecs, list) or len(codecs) != 2 or not isinstance(codecs[1], dict):
        return codecs
    last = codecs[1]
    configuration = last.get("configuration")
    if not isinstance(configuration, dict):
        return codecs
    return [codecs[0], {**last, "configuration": {k: v for k, v in configuration.items() if k != "level"}}]


def _sizes(values: Sequence[Any]) -> tuple[int, ...]:
    if not all(type(value) is int and 0 <= value < 2**48 for value in values) or len(values) > 8:
        raise ValueError(f"no sizes: {str(values)[:100]}")
    return tuple(values)

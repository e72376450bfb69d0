"""Checked reading of small arrays: ids, labels, base weights, one value per example.

Metadata is believed if it describes an array as this project writes them, and nothing is allocated that was
not declared and checked before.
"""

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from functa_store.config import MOST_GRID_AXES
from functa_store.errors import StoreFormatError
from functa_store.store.format.layout import MOST_ROWS_PER_CHUNK
from functa_store.store.format.side_arrays import (
    TEXT,
    codecs_of,
    numbers_of,
    packed_limit,
    text_limit,
    texts_of,
)
from functa_store.store.reading.rows import (
    Part,
    Rows,
    Selection,
    gather,
    take,
)
from functa_store.store.storage.local import LocalObjects
from functa_store.store.storage.objects import (
    REQUESTS_AT_A_TIME,
    FileRecords,
    Objects,
    record,
)
from functa_store.store.storage.server_calls import map_in_threads
from functa_store.support.memory import LRUCache

MOST_DIMENSIONS = MOST_GRID_AXES + 2
"""Of an array: those of the cells of a modulation, one for examples and one for channels."""

MOST_METADATA_BYTES = 16 * 2**20
MOST_ARRAY_BYTES = 4 * 2**30

NUMBERS = ("bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)))
NUMBERS += ("float16", "float32", "float64")


@runtime_checkable
class HasSeries(Protocol):
    """Records that know how many objects an array has, without a look at all of them; see `records.Records`."""

    def count_of(self, name: str) -> int | None:
        """How many; None if they are recorded one by one."""
        ...


class SmallArrays:
    """Finds and reads arrays of a store.

    Args:
        objects: The store.
        records: Size and checksum of every object that is expected; None to believe what is there.
    """

    def __init__(self, objects: Objects, records: FileRecords | None) -> None:
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
            found = json.loads(self.read_object(f"{name}/zarr.json", MOST_METADATA_BYTES))
            shape, chunks = _sizes(found["shape"]), _sizes(found["chunk_grid"]["configuration"]["chunk_shape"])
            data_type, attributes = found["data_type"], dict(found.get("attributes", {}))
        except StoreFormatError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise self.damaged(name, f"no readable metadata ({error!r})") from error
        if data_type not in (*NUMBERS, "string"):
            raise self.damaged(name, f"found data type {str(data_type)[:100]!r}, expected numbers or strings")
        if len(chunks) != len(shape) or 0 in chunks:
            raise self.damaged(name, f"found chunks {chunks} for the shape {shape}")
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

    def describe_all(self, names: Iterable[str]) -> None:
        """Read the metadata of several arrays, of a bucket's at once; see `describe`."""
        if isinstance(self._objects, LocalObjects):
            return
        for _ in map_in_threads(self.describe, names, threads=REQUESTS_AT_A_TIME, name="describe"):
            pass

    def read(self, name: str, data_type: str | None, shape: tuple[int, ...] | None = None) -> np.ndarray:
        """An array of numbers or strings as a whole; see `open`."""
        return self.open(name, data_type, shape).read()

    def open(self, name: str, data_type: str | None, shape: tuple[int, ...] | None = None) -> "SmallArray":
        """An array of numbers or strings, none of which is read yet.

        Args:
            name: Which.
            data_type: The type that it must have, such as "float32" or "string"; None for any.
            shape: The shape that it must have; None for any.

        Raises:
            StoreFormatError: If it is missing, damaged, of another shape, or written by other codecs than these.
        """
        described = self.describe(name)
        if data_type not in (None, described["data_type"]):
            raise self.damaged(name, f"has data type {described['data_type']}, expected {data_type}")
        found, chunks, data_type = described["shape"], described["chunks"], str(described["data_type"])
        if shape is not None and found != shape:
            raise StoreFormatError(
                f"{self._objects.name}/{name}: shape {found}, expected {shape}; two conversions were mixed. "
                "Convert again into an empty path."
            )
        expected = codecs_of(data_type)
        plain = (_without_level(described["codecs"]), described["keys"], described["storage_transformers"])
        if plain != (expected, _KEYS, []):
            raise self.damaged(name, f"is written by codecs {str(described['codecs'])[:300]}, expected {expected}")
        dtype = TEXT if data_type == "string" else np.dtype(data_type)
        longest = MOST_ROWS_PER_CHUNK if data_type == "string" else MOST_ARRAY_BYTES
        if (
            math.prod(found) * dtype.itemsize > MOST_ARRAY_BYTES
            or any(c > min(max(n, 1), longest) for n, c in zip(found, chunks, strict=True))
            or (data_type == "string" and len(found) != 1)
        ):
            raise self.damaged(name, f"shape {found} in chunks of {chunks} is absurd")
        return SmallArray(self, name, found, chunks, dtype)

    def num_chunks(self, name: str) -> int:
        """How many chunks of an array are there."""
        if self._records is None:
            return len(self._objects.sizes(f"{name}/c"))
        if isinstance(self._records, HasSeries) and (count := self._records.count_of(name)) is not None:
            return count
        return sum(key.startswith(f"{name}/c/") for key in self._records)

    def read_object(self, key: str, at_most: int) -> bytes:
        """An object as the manifest has it.

        Raises:
            StoreFormatError: If it is missing, longer than `at_most`, or another one.
        """
        expected = None
        if self._records is not None:
            expected = self._records.get(key)
            if expected is None:
                raise self.damaged(key, "is not in the manifest")
            at_most = min(at_most, expected.bytes)
        try:
            data = self._objects.read(key, at_most)
        except FileNotFoundError as error:
            raise self.damaged(key, "missing") from error
        if expected is not None and record(data) != expected:
            raise self.damaged(key, "its checksum is not that of the manifest")
        return data

    def damaged(self, name: str, found: str) -> StoreFormatError:
        """What to raise for an array or object that is not what it should be."""
        return StoreFormatError(
            f"{self._objects.name}/{name}: missing or damaged: {found[:500]}. Copy the store again, or convert again."
        )


class SmallArray:
    """One array of numbers or strings; made by `SmallArrays.open`.

    Attributes:
        name: Which.
        shape: Its shape.
        chunks: Shape of a chunk.
        dtype: Of the values.
        grid: How many chunks there are along each axis.
    """

    def __init__(
        self, arrays: SmallArrays, name: str, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: np.dtype
    ) -> None:
        self._arrays = arrays
        self.name, self.shape, self.chunks, self.dtype = name, shape, chunks, dtype
        self.grid = tuple(-(-n // c) for n, c in zip(shape, chunks, strict=True))

    def read(self) -> np.ndarray:
        """All of it.

        Raises:
            StoreFormatError: If a chunk is missing or damaged.
        """
        if (there := self._arrays.num_chunks(self.name)) != math.prod(self.grid):  # before memory is taken for all
            raise self._arrays.damaged(self.name, f"found {there} chunks, expected {math.prod(self.grid)}")
        values = np.empty(self.shape, self.dtype)
        for index in np.ndindex(*self.grid):
            window = tuple(slice(i * c, i * c + c) for i, c in zip(index, self.chunks, strict=True))
            values[window] = self.chunk(index)
        return values

    def chunk(self, index: tuple[int, ...]) -> np.ndarray:
        """One chunk, without what it is filled up with.

        Raises:
            StoreFormatError: If it is missing or damaged.
        """
        key = "/".join([self.name, "c", *map(str, index)])
        limit = text_limit(self.chunks[0]) if self.dtype == TEXT else math.prod(self.chunks) * self.dtype.itemsize
        data = self._arrays.read_object(key, packed_limit(limit))
        try:
            whole = texts_of(data, self.chunks[0]) if self.dtype == TEXT else numbers_of(data, self.chunks, self.dtype)
        except (ValueError, RuntimeError) as error:
            raise self._arrays.damaged(key, str(error)) from error
        sizes = zip(index, self.chunks, self.shape, strict=True)
        return whole[tuple(slice(0, min(c, n - i * c)) for i, c, n in sizes)]


_KEYS = {"name": "default", "configuration": {"separator": "/"}}


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
    if not all(type(value) is int and 0 <= value < 2**48 for value in values) or len(values) > MOST_DIMENSIONS:
        raise ValueError(f"no sizes: {str(values)[:100]}")
    return tuple(values)


MOST_TEXTS_KEPT = 2**20
"""Texts of a column that stay in memory once they were read, about 50 MB of ids."""


class Column:
    """Values of a small array by example, see `rows.RowTable`.

    Chunks that were read stay in memory, of texts those that were read last: a chunk of ids takes some megabytes.

    Args:
        array: One value per example.
    """

    def __init__(self, array: SmallArray) -> None:
        self._array = array
        self._chunks = LRUCache[np.ndarray](MOST_TEXTS_KEPT if array.dtype == TEXT else sum(array.shape))

    def __getitem__(self, rows: Selection) -> np.ndarray:
        """The values of some examples, in the order asked for."""
        threads = 1 if len(self._chunks) == self._array.grid[0] else REQUESTS_AT_A_TIME
        return gather(rows, self._array.chunks[0], self._read, threads)

    def _read(self, part: Part) -> np.ndarray:
        chunk = self._chunks.get_or_make(part.position, lambda: self._array.chunk((part.position,)), len)
        return take(chunk, part.inside)


class ColumnInMemory:
    """A `Column` of values that are in memory already; reading gives copies.

    Args:
        values: One per example.
    """

    def __init__(self, values: np.ndarray) -> None:
        self._values = values

    def __getitem__(self, rows: Selection) -> np.ndarray:
        """The values of some examples, in the order asked for."""
        return take(self._values, rows)


class MetricColumn:
    """One column of a table, see `rows.RowTable`; all columns read through the same rows.

    Args:
        rows: The table, (example, metric).
        column: Which.
    """

    def __init__(self, rows: Rows, column: int) -> None:
        self._rows, self._column = rows, column

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """The values of some rows, in the order asked for."""
        return np.ascontiguousarray(self._rows[rows][..., self._column])

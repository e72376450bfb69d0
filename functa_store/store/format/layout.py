"""Rows per shard and chunk, and the bytes of a shard."""

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any, overload

import google_crc32c
import numpy as np

from functa_store.errors import StoreFormatError
from functa_store.store.format.quantization import Rounding

CHUNK_BYTES = 64 * 1024
PAGE_BYTES = 4096
MAX_SHARD_BYTES = 16 * 1024**2
"""Of a shard of modulations, as long as that gives at most `MANY_SHARDS`."""

SHARDS_WANTED = 16
MANY_SHARDS = 8192
"""Shards of a table, and chunks of a column, from which on they become longer instead of more."""

LARGEST_SHARD_BYTES = 1024**3
"""Of a shard of modulations, however many examples there are."""

ROWS_PER_CHUNK, MOST_ROWS_PER_CHUNK = 2**16, 2**19
"""Rows per chunk of ids, splits and labels: the first, or as many as keep their number within `MANY_SHARDS`, at most
the second."""

MSE_BYTES = 4


@dataclasses.dataclass(frozen=True)
class Shard:
    """The unit of writing: one file per array, the examples start <= i < stop.

    Attributes:
        index: Position of the shard in its arrays.
        start: First example.
        stop: One past the last example that exists; the last shard may be cut short.
    """

    index: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def examples(self) -> range:
        """Indices of its examples."""
        return range(self.start, self.stop)


class ShardSequence(Sequence[Shard]):
    """All shards of a table in order, each made when it is asked for: there may be a million.

    Args:
        layout: How rows are cut.
        num_examples: Rows of the table.
        which: Numbers of the shards; None means all.
    """

    def __init__(self, layout: "Layout", num_examples: int, which: range | None = None) -> None:
        self._layout, self._num_examples = layout, num_examples
        self.which = range(layout.num_shards(num_examples)) if which is None else which

    def __len__(self) -> int:
        return len(self.which)

    @overload
    def __getitem__(self, index: int) -> Shard: ...
    @overload
    def __getitem__(self, index: slice) -> "ShardSequence": ...
    def __getitem__(self, index: int | slice) -> "Shard | ShardSequence":
        """A shard, or some of them."""
        if isinstance(index, slice):
            return ShardSequence(self._layout, self._num_examples, self.which[index])
        return self._layout.shard(self.which[index], self._num_examples)

    def __iter__(self) -> Iterator[Shard]:
        return (self._layout.shard(number, self._num_examples) for number in self.which)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """How the rows of `modulations`, `mse` and `metrics` are cut into shards and inner chunks.

    Attributes:
        rows_per_shard: Examples per shard file, a power of two, the same for all these arrays.
        rows_per_chunk: Rows of `modulations` per inner chunk, a power of two.
        mse_rows_per_chunk: Rows of `mse`, and of `metrics`, per inner chunk, a power of two.
    """

    rows_per_shard: int
    rows_per_chunk: int
    mse_rows_per_chunk: int

    def num_shards(self, num_examples: int) -> int:
        """How many shards hold so many examples."""
        return -(-num_examples // self.rows_per_shard)

    def shards(self, num_examples: int) -> ShardSequence:
        """All shards in order; together they hold every example once."""
        return ShardSequence(self, num_examples)

    def shard(self, index: int, num_examples: int) -> Shard:
        """The shard with a number."""
        start = index * self.rows_per_shard
        return Shard(index, start, min(start + self.rows_per_shard, num_examples))


def choose_layout(num_examples: int, row_bytes: int, rows_per_shard: int | None = None) -> Layout:
    """Cut a table of modulations.

    Args:
        num_examples: Rows of the table, at least 1.
        row_bytes: Bytes of one row, at least 1.
        rows_per_shard: A power of two, taken as it is. None aims at 16 shards, each at least one
            inner chunk, at most 16 MB, and of whole pages, so that shards can be mapped in a row. Where that gives
            more than `MANY_SHARDS`, they are longer, up to 1 GiB.

    Returns:
        The layout, with inner chunks of 64 KB or a shard, whichever is smaller.
    """
    rows_per_chunk = _power_of_two_below(CHUNK_BYTES // row_bytes)
    if rows_per_shard is None:
        page_rows = PAGE_BYTES // math.gcd(row_bytes, PAGE_BYTES)
        lowest = max(rows_per_chunk, page_rows)
        highest = max(
            lowest,
            _power_of_two_below(MAX_SHARD_BYTES // row_bytes),
            min(_rows_of_many(num_examples), _power_of_two_below(LARGEST_SHARD_BYTES // row_bytes)),
        )
        wanted = _power_of_two_above(math.ceil(num_examples / SHARDS_WANTED))
        rows_per_shard = min(max(wanted, lowest), highest)
    return Layout(
        rows_per_shard=rows_per_shard,
        rows_per_chunk=min(rows_per_chunk, rows_per_shard),
        mse_rows_per_chunk=min(CHUNK_BYTES // MSE_BYTES, rows_per_shard),
    )


def rows_per_chunk_of_columns(num_examples: int) -> int:
    """Rows per chunk of ids, splits and labels, and of whatever else is one value per example."""
    return min(max(num_examples, 1), max(ROWS_PER_CHUNK, min(_rows_of_many(num_examples), MOST_ROWS_PER_CHUNK)))


def _rows_of_many(num_examples: int) -> int:
    """A power of two of rows that cuts a table into at most `MANY_SHARDS`."""
    return _power_of_two_above(-(-num_examples // MANY_SHARDS))


def _power_of_two_below(number: int) -> int:
    return 1 << max(number, 1).bit_length() - 1


def _power_of_two_above(number: int) -> int:
    return 1 << (max(number, 1) - 1).bit_length()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """One per-example array of a store, cut into flat shards.

    A shard is what Zarr's codec `sharding_indexed` reads, its inner chunks uncompressed and in order from byte 0:
    one C-order array followed by the index, which can be mapped without looking anything up.

    Attributes:
        name: Name of the array.
        dtype: Of the stored numbers, little endian.
        row_shape: Shape of one row: that of a modulation, () or (metrics,).
        rows_per_shard: Rows that a shard file holds.
        rows_per_chunk: Rows per inner chunk, which divides that.
    """

    name: str
    dtype: np.dtype
    row_shape: tuple[int, ...]
    rows_per_shard: int
    rows_per_chunk: int

    def key(self, shard: Shard | int) -> str:
        """Where a shard lies in the store."""
        index = shard if isinstance(shard, int) else shard.index
        return "/".join([self.name, "c", str(index), *["0"] * len(self.row_shape)])

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.row_shape) * self.dtype.itemsize

    @property
    def rows_bytes(self) -> int:
        """Bytes of the rows of a shard."""
        return self.rows_per_shard * self.row_bytes

    @property
    def tail_bytes(self) -> int:
        """Bytes of what follows the rows."""
        return 16 * (self.rows_per_shard // self.rows_per_chunk) + 4

    @property
    def shard_bytes(self) -> int:
        """Bytes of a shard file."""
        return self.rows_bytes + self.tail_bytes

    @functools.cached_property
    def tail(self) -> bytes:
        """What follows the rows: offset and size of each inner chunk as uint64, and the CRC-32C of those as uint32."""
        chunk_bytes = self.rows_per_chunk * self.row_bytes
        entries = np.full((self.rows_per_shard // self.rows_per_chunk, 2), chunk_bytes, "<u8")
        entries[:, 0] = np.arange(len(entries)) * chunk_bytes
        index = entries.tobytes()
        return index + google_crc32c.value(index).to_bytes(4, "little")

    @property
    def codecs(self) -> list[dict[str, Any]]:
        """What Zarr's metadata says about the bytes."""
        little: dict[str, Any] = {"name": "bytes", "configuration": {"endian": "little"}}
        configuration = {
            "chunk_shape": [self.rows_per_chunk, *self.row_shape],
            "codecs": [{"name": "bytes"} if self.dtype.itemsize == 1 else little],
            "index_codecs": [little, {"name": "crc32c"}],
            "index_location": "end",
        }
        return [{"name": "sharding_indexed", "configuration": configuration}]

    def encode(self, rows: np.ndarray) -> list[bytes | memoryview]:
        """One shard, in parts to be joined.

        Rows past the end of the array are written as zeros: every shard then has the same size.

        Args:
            rows: At most `rows_per_shard` rows as they are stored; of what lies in memory that way, no copy is made.
        """
        data = np.ascontiguousarray(rows, self.dtype).reshape(-1).view(np.uint8).data
        return [data, bytes(self.rows_bytes - len(data)), self.tail]

    def decode(self, data: bytes | memoryview) -> np.ndarray:
        """The rows inside a flat shard, without a copy.

        Args:
            data: A whole shard file.

        Returns:
            Shape (rows_per_shard, *row_shape), read-only; padding included.

        Raises:
            StoreFormatError: If the size or the index is not that of a flat shard.
        """
        self.check(len(data), data[self.rows_bytes :])
        count = self.rows_bytes // self.dtype.itemsize
        return np.frombuffer(data, self.dtype, count=count).reshape(self.rows_per_shard, *self.row_shape)

    def check(self, num_bytes: int, tail: bytes | memoryview) -> None:
        """Refuse a shard that is not flat, by its size and what follows its rows."""
        if num_bytes != self.shard_bytes or tail != self.tail:
            raise StoreFormatError(
                f"a shard of {num_bytes} bytes is not flat: expected {self.rows_bytes} bytes of rows in order and "
                f"their index of {len(self.tail)} bytes. It is damaged, or another writer made it."
            )


def tables(layout: Layout, row_shape: tuple[int, ...], rounding: Rounding, num_metrics: int) -> dict[str, Table]:
    """The tables of a store by name.

    Args:
        layout: How their rows are cut.
        row_shape: Shape of a modulation.
        rounding: How they are stored.
        num_metrics: Numbers that are kept of a fit beside its error; without any there is no table of them.
    """
    found = {
        "modulations": Table(
            name="modulations",
            dtype=rounding.stored,
            row_shape=row_shape,
            rows_per_shard=layout.rows_per_shard,
            rows_per_chunk=layout.rows_per_chunk,
        ),
        "mse": Table(
            name="mse",
            dtype=np.dtype("<f4"),
            row_shape=(),
            rows_per_shard=layout.rows_per_shard,
            rows_per_chunk=layout.mse_rows_per_chunk,
        ),
    }
    if num_metrics:
        found["metrics"] = dataclasses.replace(found["mse"], name="metrics", row_shape=(num_metrics,))
    return found

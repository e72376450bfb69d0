"""What are the bytes of a shard, and which rows are in them?"""

import dataclasses
import functools
import math
from typing import Any

import google_crc32c
import numpy as np

from functa_store.errors import StoreFormatError
from functa_store.store.layout import Layout, Shard
from functa_store.store.rounding import Rounding


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
    """One per-example array of a store, cut into flat shards.

    A shard is what Zarr's codec `sharding_indexed` reads, its inner chunks uncompressed and in order from byte 0:
    one C-order matrix followed by the index, which can be mapped without looking anything up.

    Attributes:
        name: Name of the array.
        dtype: Of the stored numbers, little endian.
        row_shape: Shape of one row: (modulation size,), () or (metrics,).
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

    def encode(self, rows: np.ndarray) -> list[bytes]:
        """One shard, in parts to be joined.

        Rows past the end of the array are written as zeros: every shard then has the same size.

        Args:
            rows: At most `rows_per_shard` rows as they are stored.
        """
        data = rows.astype(self.dtype, copy=False).tobytes()
        return [data, bytes(self.rows_bytes - len(data)), self.tail]

    def decode(self, data: bytes | memoryview) -> np.ndarray:
        """The matrix inside a flat shard, without a copy.

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


def tables(layout: Layout, size: int, rounding: Rounding, num_metrics: int) -> dict[str, Table]:
    """The tables of a store by name.

    Args:
        layout: How their rows are cut.
        size: Numbers of a modulation.
        rounding: How they are stored.
        num_metrics: Numbers that are kept of a fit beside its error; without any there is no table of them.
    """
    found = {
        "modulations": Table(
            name="modulations",
            dtype=rounding.stored,
            row_shape=(size,),
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

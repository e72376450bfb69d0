"""Which rows share a file, and what are the bytes of that file?"""

import dataclasses
import math

import google_crc32c
import numpy as np

from functa_store.errors import StoreFormatError

CHUNK_BYTES = 64 * 1024
PAGE_BYTES = 4096
MAX_SHARD_BYTES = 16 * 1024**2
SHARDS_WANTED = 16
ROW_DTYPE = np.dtype("<f4")


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """How the rows of every per-example float array are cut into shards and inner chunks.

    Attributes:
        rows_per_shard: Examples per shard file, a power of two, the same for all these arrays.
        rows_per_chunk: Rows of `modulations` per inner chunk, a power of two.
        mse_rows_per_chunk: Rows of `mse` per inner chunk, a power of two.
    """

    rows_per_shard: int
    rows_per_chunk: int
    mse_rows_per_chunk: int

    def shards(self, num_examples: int) -> list[Shard]:
        """All shards in order; together they hold every example once."""
        starts = range(0, num_examples, self.rows_per_shard)
        return [Shard(i, start, min(start + self.rows_per_shard, num_examples)) for i, start in enumerate(starts)]


def choose_layout(num_examples: int, modulation_size: int, rows_per_shard: int | None = None) -> Layout:
    """Cut a table of float32 modulations.

    Args:
        num_examples: Rows of the table, at least 1.
        modulation_size: Columns of the table, at least 1.
        rows_per_shard: A power of two, taken as it is. None aims at 16 shards, each at least one
            inner chunk, at most 16 MB, and of whole pages, so that shards can be mapped in a row.

    Returns:
        The layout, with inner chunks of 64 KB or a shard, whichever is smaller.
    """
    row_bytes = modulation_size * ROW_DTYPE.itemsize
    rows_per_chunk = _power_of_two_below(CHUNK_BYTES // row_bytes)
    if rows_per_shard is None:
        page_rows = PAGE_BYTES // math.gcd(row_bytes, PAGE_BYTES)
        lowest = max(rows_per_chunk, page_rows)
        highest = max(lowest, _power_of_two_below(MAX_SHARD_BYTES // row_bytes))
        wanted = _power_of_two_above(math.ceil(num_examples / SHARDS_WANTED))
        rows_per_shard = min(max(wanted, lowest), highest)
    return Layout(
        rows_per_shard=rows_per_shard,
        rows_per_chunk=min(rows_per_chunk, rows_per_shard),
        mse_rows_per_chunk=min(CHUNK_BYTES // ROW_DTYPE.itemsize, rows_per_shard),
    )


def encode_shard(rows: np.ndarray, rows_per_shard: int, rows_per_chunk: int) -> bytes:
    """One shard as Zarr's `sharding_indexed` codec reads it, its inner chunks in order from byte 0.

    Rows past the end of the array are written as zeros: every shard then has the same size and is
    one C-order matrix followed by its index, which can be mapped without looking anything up.

    Args:
        rows: At most `rows_per_shard` rows, first axis examples.
        rows_per_shard: Rows that a shard file holds, a multiple of `rows_per_chunk`.
        rows_per_chunk: Rows per inner chunk.

    Returns:
        The matrix in little-endian float32, then offset and size of each inner chunk as uint64,
        then the CRC-32C of those as uint32.
    """
    padded = np.zeros((rows_per_shard, *rows.shape[1:]), ROW_DTYPE)
    padded[: len(rows)] = rows
    index = _flat_index(rows_per_shard // rows_per_chunk, padded.nbytes)
    return b"".join([padded.data, index, google_crc32c.value(index).to_bytes(4, "little")])


def flat_rows(data: bytes, row_shape: tuple[int, ...], rows_per_shard: int, rows_per_chunk: int) -> np.ndarray:
    """The matrix inside a flat shard, without a copy.

    Args:
        data: A whole shard file.
        row_shape: Shape of one row: (modulation size,) or ().
        rows_per_shard: Rows that a shard file holds.
        rows_per_chunk: Rows per inner chunk.

    Returns:
        float32 of shape (rows_per_shard, *row_shape), read-only; padding included.

    Raises:
        StoreFormatError: If the size or the index is not that of a flat shard.
    """
    rows_bytes = rows_per_shard * math.prod(row_shape) * ROW_DTYPE.itemsize
    index = _flat_index(rows_per_shard // rows_per_chunk, rows_bytes)
    tail = index + google_crc32c.value(index).to_bytes(4, "little")
    if data[rows_bytes:] != tail:
        raise StoreFormatError(
            f"a shard of {len(data)} bytes is not flat: expected {rows_bytes} bytes of rows in order and their "
            f"index of {len(tail)} bytes. It is damaged, or another writer made it; read it through Zarr."
        )
    return np.frombuffer(data, ROW_DTYPE, count=rows_bytes // ROW_DTYPE.itemsize).reshape(rows_per_shard, *row_shape)


def _flat_index(num_chunks: int, rows_bytes: int) -> bytes:
    chunk_bytes = rows_bytes // num_chunks
    entries = np.full((num_chunks, 2), chunk_bytes, "<u8")
    entries[:, 0] = np.arange(num_chunks) * chunk_bytes
    return entries.tobytes()


def _power_of_two_below(number: int) -> int:
    return 1 << max(number, 1).bit_length() - 1


def _power_of_two_above(number: int) -> int:
    return 1 << (max(number, 1) - 1).bit_length()

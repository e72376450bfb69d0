"""Which rows share a file?"""

import dataclasses
import math

CHUNK_BYTES = 64 * 1024
PAGE_BYTES = 4096
MAX_SHARD_BYTES = 16 * 1024**2
SHARDS_WANTED = 16
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

    def shards(self, num_examples: int) -> list[Shard]:
        """All shards in order; together they hold every example once."""
        return [self.shard(i, num_examples) for i in range(self.num_shards(num_examples))]

    def shard(self, index: int, num_examples: int) -> Shard:
        """One of them."""
        start = index * self.rows_per_shard
        return Shard(index, start, min(start + self.rows_per_shard, num_examples))


def choose_layout(num_examples: int, row_bytes: int, rows_per_shard: int | None = None) -> Layout:
    """Cut a table of modulations.

    Args:
        num_examples: Rows of the table, at least 1.
        row_bytes: Bytes of one row, at least 1.
        rows_per_shard: A power of two, taken as it is. None aims at 16 shards, each at least one
            inner chunk, at most 16 MB, and of whole pages, so that shards can be mapped in a row.

    Returns:
        The layout, with inner chunks of 64 KB or a shard, whichever is smaller.
    """
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
        mse_rows_per_chunk=min(CHUNK_BYTES // MSE_BYTES, rows_per_shard),
    )


def _power_of_two_below(number: int) -> int:
    return 1 << max(number, 1).bit_length() - 1


def _power_of_two_above(number: int) -> int:
    return 1 << (max(number, 1) - 1).bit_length()

"""Rows read shard by shard: ranges of bytes or whole shards, from a bucket or unmapped files."""

import collections
from typing import NamedTuple

import numpy as np

from functa_store.store.reading.rows import (
    Part,
    Selection,
    gather,
    take,
)
from functa_store.store.reading.shard_files import Shards, Values
from functa_store.store.storage.objects import REQUESTS_AT_A_TIME
from functa_store.store.storage.remote import COALESCE, spans_of


class Ranges(NamedTuple):
    """Where in a shard some rows lie, neighbours together.

    Attributes:
        starts: First byte of each range.
        lengths: Bytes of each range.
        places: Which of the rows of all ranges together is the first, second, ... that was asked for.
    """

    starts: list[int]
    lengths: list[int]
    places: Selection

    @classmethod
    def of(cls, inside: Selection, row_bytes: int) -> "Ranges":
        """The ranges of some rows, counted from the first of the shard; of a slice, with the little that is between."""
        if isinstance(inside, slice) and inside.step * row_bytes > COALESCE:
            inside = np.arange(inside.start, inside.stop, inside.step)
        if isinstance(inside, slice):
            count = range(inside.start, inside.stop, inside.step)[-1] + 1 - inside.start
            return cls([inside.start * row_bytes], [count * row_bytes], slice(0, count, inside.step))
        unique, places = np.unique(inside, return_inverse=True)
        runs = np.split(unique, np.flatnonzero(np.diff(unique) != 1) + 1)
        return cls([int(run[0]) * row_bytes for run in runs], [len(run) * row_bytes for run in runs], places)

    @property
    def fetched_bytes(self) -> int:
        """Bytes that are fetched: what lies between neighbours comes with them."""
        return sum(stop - start for start, stop in spans_of(self.starts, self.lengths))


MOST_BYTES_KEPT = 2**30
"""Bytes of a bucket's table up to which its shards are kept in memory."""

WORTH_A_WHOLE = 0.25
"""A bucket's shard is fetched as a whole, and kept, when so much of it was paid for by reading rows."""

REQUEST_BYTES = 2**18
"""Bytes that take about as long as a request: 20 ms at 100 Mbit/s."""


class RangeRows:
    """Rows of shards in a bucket, or of files that are not to be mapped; see `rows.RowTable`.

    The rows that are asked for are fetched, or, where memory may keep the whole table, a whole shard once reading it
    row by row has cost a quarter of that. A larger table is read best in long slices, as a loader's blocks are.

    Args:
        shards: The shards.
        to_values: Turns stored rows into what is returned.
    """

    def __init__(self, shards: Shards, to_values: Values) -> None:
        self._shards, self._table, self._to_values = shards, shards.table, to_values
        self._keeps = len(shards) * shards.table.shard_bytes <= MOST_BYTES_KEPT
        self._kept: dict[int, np.ndarray] = {}
        self._checked: set[int] = set()
        self._spent = collections.Counter[int]()

    def __getitem__(self, rows: Selection) -> np.ndarray:
        """The values of some rows, in the order asked for."""
        return self._to_values(gather(rows, self._table.rows_per_shard, self._read, threads=REQUESTS_AT_A_TIME))

    def _read(self, part: Part) -> np.ndarray:
        if part.position in self._kept:
            return take(self._kept[part.position], part.inside)
        with self._shards.touched(part.position) as key:
            wanted, is_new = Ranges.of(part.inside, self._table.row_bytes), part.position not in self._checked
            if self._is_worth_a_whole(part.position, wanted) or (is_new and self._shards.verify):
                return take(self._fetch_whole(part.position, key), part.inside)
            return self._fetch(part.position, key, wanted)

    def _is_worth_a_whole(self, position: int, wanted: Ranges) -> bool:
        """Whether enough of a shard was asked for by now, so that more will be."""
        self._spent[position] += REQUEST_BYTES + wanted.fetched_bytes
        return self._keeps and self._spent[position] >= WORTH_A_WHOLE * self._table.shard_bytes

    def _fetch_whole(self, position: int, key: str) -> np.ndarray:
        whole = self._shards.check_whole(key, self._shards.objects.read(key, self._table.shard_bytes))
        self._checked.add(position)
        if self._keeps:
            self._kept[position] = whole
        return whole

    def _fetch(self, position: int, key: str, wanted: Ranges) -> np.ndarray:
        """Some rows of a shard, and its index if it was not seen yet."""
        table, is_new = self._table, position not in self._checked
        starts = [*wanted.starts, table.rows_bytes] if is_new else wanted.starts
        lengths = [*wanted.lengths, table.tail_bytes] if is_new else wanted.lengths
        found = list(self._shards.objects.read_ranges(key, starts, lengths))
        if is_new:
            table.check(table.shard_bytes, bytes(found.pop()))
            self._checked.add(position)
        rows = np.frombuffer(b"".join(found), table.dtype).reshape(-1, *table.row_shape)
        return take(rows, wanted.places)

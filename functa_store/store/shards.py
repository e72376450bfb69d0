"""How are rows read from the shards of a store, wherever they lie?"""

import collections
import concurrent.futures
import mmap
import threading
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from functa_store.errors import StoreFormatError
from functa_store.store.local import LocalObjects
from functa_store.store.objects import FileRecord, Objects, record
from functa_store.store.tables import Table

MOST_MAPS = 256
"""Shards that are mapped at a time; each holds an open file."""

THREADS = 16
"""Shards of a bucket that are read at a time."""

Values = Callable[[np.ndarray], np.ndarray]


class ShardedRows:
    """Rows of a table, read from its shards; slices and integer arrays within bounds, see `rows.Table`.

    No shard is believed before its index is found where it should be, on a disk its size, and, if `verify` is set,
    its checksum.

    Args:
        objects: The store.
        table: What its shards look like.
        shards: Indices of the shards that are there, ascending; their rows are counted without gaps.
        records: Size and checksum of each shard's file by key.
        verify: Compare checksums when a shard is first touched.
        to_values: Turns stored rows into what is returned.
    """

    def __init__(
        self,
        objects: Objects,
        table: Table,
        shards: Sequence[int],
        records: Mapping[str, FileRecord],
        *,
        verify: bool,
        to_values: Values,
    ) -> None:
        self._objects, self._table, self._shards, self._records = objects, table, shards, records
        self._verify, self._to_values = verify, to_values
        self._maps: collections.OrderedDict[int, np.ndarray] = collections.OrderedDict()
        self._checked: set[int] = set()
        self._lock = threading.Lock()

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """The values of some rows, in the order asked for."""
        per_shard = self._table.rows_per_shard
        if isinstance(rows, slice):  # before memory is taken for as many rows as a stranger may claim
            self._read(rows.start // per_shard, np.array([rows.start % per_shard]))
        positions = np.arange(rows.start, rows.stop, rows.step) if isinstance(rows, slice) else rows
        which, inside = np.divmod(positions, per_shard)
        if len(positions) and which[0] == which[-1] and (which == which[0]).all():
            return self._to_values(self._read(int(which[0]), inside))
        stored = np.empty((len(positions), *self._table.row_shape), self._table.dtype)
        order = np.argsort(which, kind="stable")
        touched, starts = np.unique(which[order], return_index=True)
        groups = list(zip(touched.tolist(), np.split(order, starts[1:]), strict=True))
        for (_, places), found in zip(groups, self._read_all(groups, inside), strict=True):
            stored[places] = found
        return self._to_values(stored)

    def _read_all(self, groups: list[tuple[int, np.ndarray]], inside: np.ndarray) -> Sequence[np.ndarray]:
        if isinstance(self._objects, LocalObjects) or len(groups) == 1:
            return [self._read(position, inside[places]) for position, places in groups]
        with concurrent.futures.ThreadPoolExecutor(THREADS, thread_name_prefix="read") as pool:
            return list(pool.map(lambda group: self._read(group[0], inside[group[1]]), groups))

    def _read(self, position: int, inside: np.ndarray) -> np.ndarray:
        """Stored rows of one shard, `inside` counted from its first."""
        shard = self._shards[position]
        key = self._table.key(shard)
        try:
            if isinstance(self._objects, LocalObjects):
                return self._mapped(self._objects, shard, key)[inside]
            return self._fetched(shard, key, inside)
        except (FileNotFoundError, StoreFormatError) as error:
            raise StoreFormatError(
                f"{self._objects.name}/{key}: a shard is missing or damaged: {error} "
                "Copy the store again, repair it (functa repair), or convert again."
            ) from error

    def _mapped(self, objects: LocalObjects, shard: int, key: str) -> np.ndarray:
        with self._lock:
            if (rows := self._maps.get(shard)) is not None:
                self._maps.move_to_end(shard)
                return rows
        mapped: mmap.mmap = objects.map(key)
        rows = self._table.decode(memoryview(mapped))
        if self._verify and shard not in self._checked:
            self._check_sum(key, bytes(mapped))
            self._checked.add(shard)
        with self._lock:
            self._maps[shard] = rows
            if len(self._maps) > MOST_MAPS:
                self._maps.popitem(last=False)
        return rows

    def _fetched(self, shard: int, key: str, inside: np.ndarray) -> np.ndarray:
        table, first_touch = self._table, shard not in self._checked
        if first_touch and self._verify:
            data = self._objects.read(key, table.shard_bytes)
            self._check_sum(key, data)
            self._checked.add(shard)
            return table.decode(data)[inside]
        unique, places = np.unique(inside, return_inverse=True)
        edges = np.flatnonzero(np.diff(unique) != 1) + 1
        runs = [(int(run[0]), len(run)) for run in np.split(unique, edges)]
        starts, lengths = [run[0] * table.row_bytes for run in runs], [run[1] * table.row_bytes for run in runs]
        if first_touch:
            starts.append(table.rows_bytes)
            lengths.append(table.tail_bytes)
        found = list(self._objects.read_ranges(key, starts, lengths))
        if first_touch:
            table.check(table.shard_bytes, bytes(found.pop()))
            self._checked.add(shard)
        rows = np.frombuffer(b"".join(found), table.dtype).reshape(len(unique), *table.row_shape)
        return rows[places]

    def _check_sum(self, key: str, data: bytes) -> None:
        if key in self._records and record(data) != self._records[key]:
            raise StoreFormatError("its checksum is not that of the manifest.")

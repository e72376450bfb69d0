"""How are rows read from the shards of a store, wherever they lie?"""

import collections
import concurrent.futures
import contextlib
import mmap
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from functa_store.errors import StorageError, StoreFormatError
from functa_store.recent import Recent
from functa_store.store.address_range import AddressRange
from functa_store.store.local import LocalObjects
from functa_store.store.objects import FileRecord, Objects, record
from functa_store.store.parts import Part, Selection, by_part, take
from functa_store.store.ranges import Ranges
from functa_store.store.rows import RowTable
from functa_store.store.tables import Table

MOST_SHARDS_MAPPED = 32_768
"""Shards that are mapped side by side; Linux allows a process 65,530 mappings."""

WORTH_ADVICE = 2**20
"""Bytes of rows from which on the system is told where they lie before they are touched."""

ADVISED_BYTES = 2**18
"""Unit of that advice."""

MOST_FILES_MAPPED = 256
"""Shards that are mapped one by one at a time; each holds an open file."""

MOST_BYTES_KEPT = 2**30
"""Bytes of a bucket's shards that are kept in memory, per table."""

WORTH_A_WHOLE = 0.25
"""A bucket's shard is fetched as a whole, and kept, when so much of it was paid for by reading rows."""

REQUEST_BYTES = 2**18
"""Bytes that take about as long as a request: 20 ms at 100 Mbit/s."""

THREADS = 16
"""Shards of a bucket that are read at a time."""

Values = Callable[[np.ndarray], np.ndarray]


class Shards:
    """The shards of a table that are there; their rows are counted without gaps.

    None is believed before its index is found where it should be, on a disk its size, and, if `verify` is set, its
    checksum.

    Args:
        objects: The store.
        table: What they look like.
        indices: Which are there, ascending.
        records: Size and checksum of each one's file by key.
        verify: Compare checksums when a shard is first touched.
    """

    def __init__(
        self,
        objects: Objects,
        table: Table,
        indices: Sequence[int],
        records: Mapping[str, FileRecord],
        *,
        verify: bool,
    ) -> None:
        self.objects, self.table, self.indices, self.verify = objects, table, indices, verify
        self._records = records

    def __len__(self) -> int:
        return len(self.indices)

    @contextlib.contextmanager
    def touched(self, position: int) -> Iterator[str]:
        """Its key, for reading it; what is wrong with it is said with its name."""
        key = self.table.key(self.indices[position])
        try:
            yield key
        except (FileNotFoundError, StoreFormatError) as error:
            raise StoreFormatError(
                f"{self.objects.name}/{key}: a shard is missing or damaged: {error} "
                "Copy the store again, repair it (functa repair), or convert again."
            ) from error

    def check_whole(self, key: str, data: bytes | memoryview) -> np.ndarray:
        """The rows of a whole shard, without a copy."""
        found = self.table.decode(data)
        if self.verify and key in self._records and record(bytes(data)) != self._records[key]:
            raise StoreFormatError("its checksum is not that of the manifest.")
        return found


def open_rows(shards: Shards, to_values: Values) -> RowTable:
    """The rows of some shards, read by whatever is fastest where they lie.

    Args:
        shards: The shards.
        to_values: Turns stored rows into what is returned.
    """
    whole_pages = shards.table.rows_bytes % mmap.ALLOCATIONGRANULARITY == 0
    if isinstance(shards.objects, LocalObjects) and whole_pages and len(shards) <= MOST_SHARDS_MAPPED:
        with contextlib.suppress(StorageError):  # the process may not have so many addresses
            return MappedRows(shards, shards.objects, to_values)
    return ShardedRows(shards, to_values)


class MappedRows:
    """Selection of shards of whole pages on a disk, which are mapped side by side into one array.

    A batch is then one gather, as if the table were one memory-mapped file.
    """

    def __init__(self, shards: Shards, objects: LocalObjects, to_values: Values) -> None:
        table = shards.table
        self._shards, self._objects, self._to_values = shards, objects, to_values
        self._range = AddressRange(len(shards) * table.rows_bytes)
        self._rows = self._range.array.view(table.dtype).reshape(-1, *table.row_shape)
        self._is_mapped = np.zeros(len(shards), bool)
        self._all_mapped = False
        self._lock = threading.Lock()

    def __getitem__(self, rows: Selection) -> np.ndarray:
        """The values of some rows, in the order asked for."""
        if not self._all_mapped:
            self._map(rows)
        self._advise(rows)
        return self._to_values(take(self._rows, rows))

    def _advise(self, rows: Selection) -> None:
        """Have many rows that lie close together read at once: from a disk, page by page is a tenth as fast."""
        row_bytes = self._shards.table.row_bytes
        if isinstance(rows, slice):
            if rows.step == 1 and (rows.stop - rows.start) * row_bytes >= WORTH_ADVICE:
                self._range.will_need(rows.start * row_bytes, rows.stop * row_bytes)
        elif (wanted := len(rows) * row_bytes) >= WORTH_ADVICE:
            touched = np.unique(rows * row_bytes // ADVISED_BYTES)
            if len(touched) * ADVISED_BYTES <= 2 * wanted:
                for run in np.split(touched, np.flatnonzero(np.diff(touched) != 1) + 1):
                    stop = min((int(run[-1]) + 1) * ADVISED_BYTES, len(self._range.array))
                    self._range.will_need(int(run[0]) * ADVISED_BYTES, stop)

    def _map(self, rows: Selection) -> None:
        """Map the shards that some rows touch; afterwards they may be read without asking."""
        per_shard = self._shards.table.rows_per_shard
        if isinstance(rows, slice):
            touched = np.arange(rows.start // per_shard, (rows.stop - 1) // per_shard + 1)
        else:
            touched = np.unique(rows // per_shard)
        with self._lock:
            for position in touched[~self._is_mapped[touched]].tolist():
                self._map_shard(position)
                self._is_mapped[position] = True
            self._all_mapped = bool(self._is_mapped.all())

    def _map_shard(self, position: int) -> None:
        table, size = self._shards.table, self._shards.table.rows_bytes
        with self._shards.touched(position) as key, self._objects.opened(key) as descriptor:
            if self._shards.verify:
                self._shards.check_whole(key, self._objects.read_at(key, descriptor, table.shard_bytes, 0))
            tail = self._objects.read_at(
                key, descriptor, table.tail_bytes, size
            )  # mapped, megabytes would come with it
            table.check(os.fstat(descriptor).st_size, tail)
            self._range.map(position * size, size, descriptor)


class ShardedRows:
    """Selection of any shards, read shard by shard; what was used last is kept.

    On a disk a shard is mapped. Of a bucket's, either the rows that are asked for are fetched, or all of it.
    """

    def __init__(self, shards: Shards, to_values: Values) -> None:
        self._shards, self._table, self._objects = shards, shards.table, shards.objects
        self._to_values = to_values
        self._is_local = isinstance(shards.objects, LocalObjects)
        self._kept = Recent[np.ndarray](MOST_FILES_MAPPED if self._is_local else MOST_BYTES_KEPT)
        self._checked: set[int] = set()
        self._spent = collections.Counter[int]()

    def __getitem__(self, rows: Selection) -> np.ndarray:
        """The values of some rows, in the order asked for."""
        (position, inside, where), *others = by_part(rows, self._table.rows_per_shard)
        first = self._read(position, inside)  # before memory is taken for as many as a stranger may claim
        if not others:
            return self._to_values(first)
        count = len(range(rows.start, rows.stop, rows.step)) if isinstance(rows, slice) else len(rows)
        stored = np.empty((count, *self._table.row_shape), self._table.dtype)
        stored[where] = first
        for part, found in zip(others, self._read_all(others), strict=True):
            stored[part.where] = found
        return self._to_values(stored)

    def _read_all(self, parts: Sequence[Part]) -> Iterator[np.ndarray]:
        positions, inside = [part.position for part in parts], [part.inside for part in parts]
        if self._is_local:
            yield from map(self._read, positions, inside)
        else:
            with concurrent.futures.ThreadPoolExecutor(THREADS, thread_name_prefix="read") as pool:
                yield from pool.map(self._read, positions, inside)

    def _read(self, position: int, inside: Selection) -> np.ndarray:
        """Stored rows of one shard, `inside` counted from its first."""
        if (whole := self._kept.get(position)) is not None:
            return take(whole, inside)
        with self._shards.touched(position) as key:
            if isinstance(self._objects, LocalObjects):
                return take(self._keep(position, key, memoryview(self._objects.map(key)), cost=1), inside)
            wanted = Ranges.of(inside, self._table.row_bytes)
            if self._shards.verify or self._is_worth_a_whole(position, wanted):
                data = self._objects.read(key, self._table.shard_bytes)
                return take(self._keep(position, key, data, cost=len(data)), inside)
            return self._fetch(position, key, wanted)

    def _keep(self, position: int, key: str, data: bytes | memoryview, cost: int) -> np.ndarray:
        whole = self._shards.check_whole(key, data)
        self._kept.put(position, whole, cost)
        return whole

    def _is_worth_a_whole(self, position: int, wanted: Ranges) -> bool:
        """Whether enough of a shard was asked for by now, so that more will be."""
        self._spent[position] += REQUEST_BYTES + wanted.fetched_bytes
        return WORTH_A_WHOLE * self._table.shard_bytes <= self._spent[position] <= self._kept.limit

    def _fetch(self, position: int, key: str, wanted: Ranges) -> np.ndarray:
        """Some rows of a bucket's shard, and its index if it was not seen yet."""
        table, is_new = self._table, position not in self._checked
        starts = [*wanted.starts, table.rows_bytes] if is_new else wanted.starts
        lengths = [*wanted.lengths, table.tail_bytes] if is_new else wanted.lengths
        found = list(self._objects.read_ranges(key, starts, lengths))
        if is_new:
            table.check(table.shard_bytes, bytes(found.pop()))
            self._checked.add(position)
        rows = np.frombuffer(b"".join(found), table.dtype).reshape(-1, *table.row_shape)
        return take(rows, wanted.places)

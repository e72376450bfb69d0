"""Rows of shards: mapped from a disk or fetched from a bucket, and when a shard is believed."""

import collections
import contextlib
import ctypes
import gc
import mmap
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from functa_store.errors import StorageError, StoreFormatError
from functa_store.store.format.layout import Table
from functa_store.store.reading.rows import (
    FollowingRows,
    Part,
    Selection,
    gather,
    take,
)
from functa_store.store.storage.local import LocalObjects
from functa_store.store.storage.objects import REQUESTS_AT_A_TIME, FileRecords, Objects, record
from functa_store.store.storage.remote import COALESCE, spans_of
from functa_store.support.memory import LRUCache

Values = Callable[[np.ndarray], np.ndarray]
"""Turns stored rows into what is returned."""


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
        check_store: Called before a shard is first touched; raises if the store is not the same any more.
    """

    def __init__(
        self,
        objects: Objects,
        table: Table,
        indices: Sequence[int],
        records: FileRecords,
        *,
        verify: bool,
        check_store: Callable[[], None],
    ) -> None:
        self.objects, self.table, self.indices, self.verify = objects, table, indices, verify
        self._records, self._check_store = records, check_store

    def __len__(self) -> int:
        return len(self.indices)

    @contextlib.contextmanager
    def touched(self, position: int) -> Iterator[str]:
        """Its key, for reading it; what is wrong with it is said with its name."""
        key = self.table.key(self.indices[position])
        self._check_store()
        try:
            yield key
        except (FileNotFoundError, StoreFormatError) as error:
            raise StoreFormatError(
                f"{self.objects.name}/{key}: a shard is missing or damaged: {error} "
                "Copy the store again, repair it (functa repair), or convert again."
            ) from error

    @contextlib.contextmanager
    def opened(self, position: int) -> Iterator[int]:
        """A descriptor of its file on a disk, which is refused if it is not this shard."""
        objects, table = self.objects, self.table
        assert isinstance(objects, LocalObjects), "files are on a disk"
        with self.touched(position) as key, objects.opened(key) as descriptor:
            if self.verify:
                self.check_whole(key, objects.read_at(key, descriptor, table.shard_bytes, 0))
            tail = objects.read_at(
                key, descriptor, table.tail_bytes, table.rows_bytes
            )  # mapped, it would cost megabytes
            table.check(os.fstat(descriptor).st_size, tail)
            yield descriptor

    def check_whole(self, key: str, data: bytes) -> np.ndarray:
        """The rows of a whole shard, without a copy."""
        found = self.table.decode(data)
        if self.verify and key in self._records and record(data) != self._records[key]:
            raise StoreFormatError("its checksum is not that of the manifest.")
        return found


MOST_FILES = 16_384
"""Files that the large ranges of a process map together; Linux allows it 65,530 mappings, and others need some."""

_PROT_NONE, _MAP_FIXED, _MADV_WILLNEED = 0, 0x10, 3
_MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0)
_FAILED = ctypes.c_void_p(-1).value


class AddressRange:
    """Addresses for many files side by side, each mapped into its place, read only, when it is needed.

    numpy sees one array, so that rows of all files are gathered by one call. What is not mapped yet must not be
    touched: the process would end. POSIX only.

    Args:
        num_bytes: Length of the range; takes addresses, no memory.
        num_files: Files to count towards `MOST_FILES` as long as the range is in use.

    Attributes:
        array: uint8 of shape (num_bytes,), read only; keeps the range alive.

    Raises:
        StorageError: If the process may not have so many addresses or files.
    """

    def __init__(self, num_bytes: int, num_files: int = 0) -> None:
        self._libc = _libc()
        self._address = self._map(None, num_bytes, _PROT_NONE, mmap.MAP_PRIVATE | mmap.MAP_ANON | _MAP_NORESERVE, -1)
        memory: Any = _Bytes(self._address, num_bytes)
        self.array = np.asarray(memory)
        unmap = weakref.finalize(memory, self._libc.munmap, self._address, num_bytes)
        unmap.atexit = False  # threads may still read, and the process ends anyway
        _FILES.take(num_files)
        weakref.finalize(memory, _FILES.give_back, num_files)

    def map(self, start: int, num_bytes: int, descriptor: int) -> None:
        """Put the first bytes of an open file into the range.

        Args:
            start: Where, a multiple of the size of a page.
            num_bytes: How many; the file must have them.
            descriptor: The file, which may be closed afterwards.

        Raises:
            StorageError: If the system refuses.
        """
        self._map(self._address + start, num_bytes, mmap.PROT_READ, mmap.MAP_SHARED | _MAP_FIXED, descriptor)

    def will_need(self, start: int, stop: int) -> None:
        """Let the system read a part of the range that is mapped in one go, not page by page when it is touched."""
        first = start - start % mmap.PAGESIZE
        self._libc.madvise(self._address + first, stop - first, _MADV_WILLNEED)  # advice: whether it is taken or not

    def _map(self, address: int | None, num_bytes: int, protection: int, flags: int, descriptor: int) -> int:
        found = self._libc.mmap(address, num_bytes, protection, flags, descriptor, 0)
        if found == _FAILED:
            raise StorageError(f"cannot map {num_bytes:,} bytes: {os.strerror(ctypes.get_errno())}")
        return found


class _Bytes:
    """What numpy needs to know of a range of memory."""

    def __init__(self, address: int, num_bytes: int) -> None:
        self.__array_interface__ = {"shape": (num_bytes,), "typestr": "|u1", "data": (address, True), "version": 3}


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (*[ctypes.c_void_p, ctypes.c_size_t], *[ctypes.c_int] * 3, ctypes.c_long)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    return libc


class _Files:
    """How many files all ranges of this process may still map."""

    def __init__(self) -> None:
        self._left = MOST_FILES
        self._lock = threading.RLock()  # giving back may happen while taking, by the garbage collector

    def take(self, count: int) -> None:
        with self._lock:
            if count > self._left:
                gc.collect()  # of ranges that nobody uses any more
            if count > self._left:
                raise StorageError(f"cannot map {count:,} files; {MOST_FILES - self._left:,} are mapped already")
            self._left -= count

    def give_back(self, count: int) -> None:
        with self._lock:
            self._left += count


_FILES = _Files()


MOST_FILES_MAPPED = 64
"""Shards that are mapped one by one at a time."""


class FileRows:
    """Rows of shards on a disk, each mapped by itself; see `rows.RowTable`.

    Args:
        shards: The shards.
        to_values: Turns stored rows into what is returned.
    """

    def __init__(self, shards: Shards, to_values: Values) -> None:
        self._shards, self._to_values = shards, to_values
        self._mapped = LRUCache[np.ndarray](MOST_FILES_MAPPED)

    def __getitem__(self, rows: Selection) -> np.ndarray:
        """The values of some rows, in the order asked for."""
        return self._to_values(gather(rows, self._shards.table.rows_per_shard, self._read))

    def _read(self, part: Part) -> np.ndarray:
        if (whole := self._mapped.get(part.position)) is None:
            whole = self._map(part.position)
            self._mapped.put(part.position, whole, cost=1)
        return take(whole, part.inside)

    def _map(self, position: int) -> np.ndarray:
        table = self._shards.table
        with self._shards.opened(position) as descriptor:
            memory = AddressRange(table.rows_bytes)
            memory.map(0, table.rows_bytes, descriptor)
        return memory.array.view(table.dtype).reshape(-1, *table.row_shape)


WORTH_ADVICE = 2**20
"""Bytes of rows from which on the system is told where they lie before they are touched."""

ADVISED_BYTES = 2**18
"""Unit of that advice."""


def are_mappable(parts: Sequence[Shards]) -> bool:
    """Whether shards can be mapped side by side: those on a disk, of whole pages, in which memory is mapped."""
    return all(
        isinstance(part.objects, LocalObjects)
        and part.objects.mapped
        and part.table.rows_bytes % mmap.ALLOCATIONGRANULARITY == 0
        for part in parts
    )


class MappedRows:
    """Rows of shards of whole pages on a disk, which are mapped side by side into one array, see `rows.RowTable`.

    Reading is then as fast as from one memory-mapped file. Where the system refuses to map a file, shards are read one
    by one from then on. Several stores' shards follow each other; what fills up the last one of each is counted.

    Args:
        parts: The shards of each store, all of one data type and shape of row.
        to_values: Turns stored rows into what is returned.

    Raises:
        StorageError: If the process may not have so many addresses or files.
    """

    def __init__(self, parts: Sequence[Shards], to_values: Values) -> None:
        table = parts[0].table
        self._parts, self._to_values, self._row_bytes = parts, to_values, table.row_bytes
        self._shards = [(part, position) for part in parts for position in range(len(part))]
        self._starts = np.cumsum([0, *(part.table.rows_per_shard for part, _ in self._shards)])
        self._range = AddressRange(int(self._starts[-1]) * table.row_bytes, len(self._shards))
        self._rows = self._range.array.view(table.dtype).reshape(-1, *table.row_shape)
        self._is_mapped = np.zeros(len(self._shards), bool)
        self._all_mapped = False
        self._one_by_one: FollowingRows | None = None
        self._lock = threading.Lock()

    def __getitem__(self, rows: Selection) -> np.ndarray:
        """The values of some rows, in the order asked for."""
        if not self._all_mapped:
            self._map(rows)
        if self._one_by_one is not None:
            return self._to_values(self._one_by_one[rows])
        self._advise(rows)
        return self._to_values(take(self._rows, rows))

    def _advise(self, rows: Selection) -> None:
        """Have many rows that lie close together read at once: from a disk, page by page is a tenth as fast."""
        row_bytes = self._row_bytes
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
        if isinstance(rows, slice):
            first, last = self._starts.searchsorted([rows.start, rows.stop - 1], side="right") - 1
            touched = np.arange(first, last + 1)
        else:
            touched = np.unique(self._starts.searchsorted(rows, side="right") - 1)
        with self._lock:
            for number in touched[~self._is_mapped[touched]].tolist():
                self._map_shard(number)
                self._is_mapped[number] = True
            self._all_mapped = bool(self._is_mapped.all())

    def _map_shard(self, number: int) -> None:
        shards, position = self._shards[number]
        with shards.opened(position) as descriptor:
            try:
                self._range.map(int(self._starts[number]) * self._row_bytes, shards.table.rows_bytes, descriptor)
            except StorageError:
                tables = [FileRows(part, np.asarray) for part in self._parts]
                starts = np.cumsum([0, *(len(part) * part.table.rows_per_shard for part in self._parts)])
                self._one_by_one = FollowingRows(tables, starts, self._rows.dtype)


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

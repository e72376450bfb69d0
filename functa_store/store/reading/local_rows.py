"""Rows of shards on a disk: files mapped side by side into one range of memory, or one by one."""

import ctypes
import gc
import mmap
import os
import threading
import weakref
from typing import Any

import numpy as np

from functa_store.errors import StorageError
from functa_store.store.reading.rows import (
    Part,
    Selection,
    gather,
    take,
)
from functa_store.store.reading.shard_files import Shards, Values
from functa_store.store.storage.local import LocalObjects
from functa_store.support.lru_cache import LRUCache

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
        objects: Where they are.
        to_values: Turns stored rows into what is returned.
    """

    def __init__(self, shards: Shards, objects: LocalObjects, to_values: Values) -> None:
        self._shards, self._objects, self._to_values = shards, objects, to_values
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
        with self._shards.touched(position) as key, self._objects.opened(key) as descriptor:
            self._shards.check_file(key, self._objects, descriptor)
            memory = AddressRange(table.rows_bytes)
            memory.map(0, table.rows_bytes, descriptor)
        return memory.array.view(table.dtype).reshape(-1, *table.row_shape)


WORTH_ADVICE = 2**20
"""Bytes of rows from which on the system is told where they lie before they are touched."""

ADVISED_BYTES = 2**18
"""Unit of that advice."""


def are_whole_pages(shards: Shards) -> bool:
    """Whether shards can be mapped side by side: memory is mapped in whole pages."""
    return shards.table.rows_bytes % mmap.ALLOCATIONGRANULARITY == 0


class MappedRows:
    """Rows of shards of whole pages on a disk, which are mapped side by side into one array, see `rows.RowTable`.

    Reading is then as fast as from one memory-mapped file. Where the system refuses to map a file, shards are read one
    by one from then on.

    Args:
        shards: The shards.
        objects: Where they are.
        to_values: Turns stored rows into what is returned.

    Raises:
        StorageError: If the process may not have so many addresses or files.
    """

    def __init__(self, shards: Shards, objects: LocalObjects, to_values: Values) -> None:
        table = shards.table
        self._shards, self._objects, self._to_values = shards, objects, to_values
        self._range = AddressRange(len(shards) * table.rows_bytes, len(shards))
        self._rows = self._range.array.view(table.dtype).reshape(-1, *table.row_shape)
        self._is_mapped = np.zeros(len(shards), bool)
        self._all_mapped = False
        self._one_by_one: FileRows | None = None
        self._lock = threading.Lock()

    def __getitem__(self, rows: Selection) -> np.ndarray:
        """The values of some rows, in the order asked for."""
        if not self._all_mapped:
            self._map(rows)
        if self._one_by_one is not None:
            return self._one_by_one[rows]
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
        size = self._shards.table.rows_bytes
        with self._shards.touched(position) as key, self._objects.opened(key) as descriptor:
            self._shards.check_file(key, self._objects, descriptor)
            try:
                self._range.map(position * size, size, descriptor)
            except StorageError:
                self._one_by_one = FileRows(self._shards, self._objects, self._to_values)

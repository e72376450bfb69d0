"""How do many files become one range of memory?"""

import ctypes
import gc
import mmap
import os
import threading
import weakref
from typing import Any

import numpy as np

from functa_store.errors import StorageError

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

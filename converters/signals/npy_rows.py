"""Rows of an .npy array, read from its file or from memory where they are wanted.

They are read and not mapped: a file that is cut short while it is mapped kills the process; one that is read gives an
error.
"""

import io
import math
import threading
from typing import Any, Protocol, runtime_checkable

import numpy as np

from converters.archives.listing import MAX_MEMBER_BYTES
from converters.archives.memory_share import take_room
from converters.arrays.npy_files import MAX_HEADER_BYTES, NpyHeader, read_npy_header
from functa_store.errors import MemberError

_MAGIC_BYTES = 12
"""What precedes a header at most: magic, version and length."""


@runtime_checkable
class ByteSource(Protocol):
    """Bytes at random."""

    size: int

    def read_at(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes."""
        ...


class InMemory:
    """Bytes that are in memory."""

    def __init__(self, data: bytes) -> None:
        self._data, self.size = data, len(data)

    def read_at(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes; see `RandomFile.read_at`."""
        if offset + count > self.size:
            raise MemberError(f"reaches to byte {offset + count}, but ends at {self.size}: truncated")
        return self._data[offset : offset + count]


class NpyFile:
    """An .npy array, of which parts are read.

    Args:
        file: Where it lies.

    Attributes:
        shape: As its header says.
        dtype: As its header says.

    Raises:
        MemberError: If it is none, holds no numbers, or ends too early; the message is the reason alone.
    """

    def __init__(self, file: ByteSource) -> None:
        self._file, self._lock = file, threading.Lock()
        self._whole: np.ndarray | None = None
        header = _header(file)
        self.shape, self.dtype = header.shape, header.dtype
        self._is_fortran, self._start, expected = header.fortran_order, header.offset, header.num_bytes
        if self._is_fortran and expected > MAX_MEMBER_BYTES:
            raise MemberError("is a long array in Fortran's order; save numpy.ascontiguousarray of it instead")
        if self._start + expected > file.size:
            raise MemberError(
                f"is no array of numbers: its header promises {expected} bytes, but {file.size - self._start} follow"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        return NpyFile, (self._file,)

    def read(self, index: tuple[int, ...], start: int, stop: int) -> np.ndarray:
        """Some rows along an axis, that which follows the ones in the index.

        Raises:
            MemberError: If the file has been cut short.
        """
        if self._is_fortran:
            return self._read_whole()[index][start:stop]
        rest = self.shape[len(index) + 1 :]
        row = math.prod(rest) * self.dtype.itemsize
        first = 0
        for k, size in zip((*index, start), self.shape, strict=False):
            first = first * size + k
        data = self._file.read_at(self._start + first * row, (stop - start) * row)
        return np.frombuffer(data, self.dtype).reshape(stop - start, *rest)

    def _read_whole(self) -> np.ndarray:
        """An array in Fortran's order, of which no part lies in one piece; it is kept."""
        num_bytes = math.prod(self.shape) * self.dtype.itemsize
        if self._whole is None:
            take_room(2 * num_bytes)  # not with the lock: who has room might wait for that
        with self._lock:
            if self._whole is None:
                data = self._file.read_at(self._start, num_bytes)
                self._whole = np.frombuffer(data, self.dtype).reshape(self.shape[::-1]).T
            return self._whole


def _header(file: ByteSource) -> NpyHeader:
    head = file.read_at(0, min(file.size, MAX_HEADER_BYTES + _MAGIC_BYTES))
    if head.startswith(b"PK"):
        raise MemberError("is an .npz, expected an .npy with one array")
    try:
        return read_npy_header(io.BytesIO(head))
    except MemberError as error:
        raise MemberError(f"is no array of numbers: it {error}") from error

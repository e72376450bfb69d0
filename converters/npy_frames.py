"""Frames of an .npy array, read where they are wanted and not mapped.

A file that is cut short while it is mapped kills the process; one that is read gives an error. The header is parsed
here, since NumPy's own errors advise to trust the file.
"""

import math
import re
from typing import Any, Protocol, runtime_checkable

import numpy as np

from converters.listing import MAX_MEMBER_BYTES
from converters.packed import RandomFile
from functa_store.errors import MemberError

_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 1 << 16
_DESCR = re.compile(rb"'descr'\s*:\s*'([<>=|]?[a-zA-Z][0-9]{0,4})'")
_ORDER = re.compile(rb"'fortran_order'\s*:\s*(True|False)")
_SHAPE = re.compile(rb"'shape'\s*:\s*\(([0-9, L]{0,200})\)")


@runtime_checkable
class Bytes(Protocol):
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

    def __init__(self, file: Bytes) -> None:
        self._file = file
        self.shape, self.dtype, self._is_fortran, self._start = _header(file)
        expected = math.prod(self.shape) * self.dtype.itemsize
        if self._is_fortran and expected > MAX_MEMBER_BYTES:
            raise MemberError("is a long array in Fortran's order; save numpy.ascontiguousarray of it instead")
        if self._start + expected > file.size:
            raise MemberError(
                f"is no array of numbers: its header promises {expected} bytes, but {file.size - self._start} follow"
            )

    def read(self, index: tuple[int, ...], start: int, stop: int) -> np.ndarray:
        """Some rows along an axis, that which follows the ones in the index.

        Raises:
            MemberError: If the file has been cut short.
        """
        if self._is_fortran:  # of which no part lies in one piece
            data = self._file.read_at(self._start, math.prod(self.shape) * self.dtype.itemsize)
            return np.frombuffer(data, self.dtype).reshape(self.shape[::-1]).T[index][start:stop]
        rest = self.shape[len(index) + 1 :]
        row = math.prod(rest) * self.dtype.itemsize
        first = 0
        for k, size in zip((*index, start), self.shape, strict=False):
            first = first * size + k
        data = self._file.read_at(self._start + first * row, (stop - start) * row)
        return np.frombuffer(data, self.dtype).reshape(stop - start, *rest)


def open_npy(path: str) -> NpyFile:
    """An array in a file of its own; errors as for `NpyFile`."""
    return NpyFile(RandomFile(path))


def _header(file: Bytes) -> tuple[tuple[int, ...], np.dtype[Any], bool, int]:
    """Shape, data type, whether the first axis runs fastest, and first byte of the values."""
    head = file.read_at(0, min(12, file.size))
    if head.startswith(b"PK"):
        raise MemberError("is an .npz, expected an .npy with one array")
    if not head.startswith(_MAGIC) or len(head) < 12 or head[6] not in (1, 2, 3):
        raise MemberError(f"is no array of numbers: starts with {head[:8]!r}, expected an .npy")
    start, width = 8, 2 if head[6] == 1 else 4
    length = int.from_bytes(head[start : start + width], "little")
    if length > _LONGEST_HEADER:
        raise MemberError(f"is no array of numbers: its header has {length} bytes")
    text = file.read_at(start + width, min(length, file.size - start - width))
    descr, order, shape = (pattern.search(text) for pattern in (_DESCR, _ORDER, _SHAPE))
    if descr is not None and descr[1].endswith(b"O"):
        raise MemberError("is no array of numbers: it holds Python objects")
    if descr is None or order is None or shape is None:
        raise MemberError(f"is no array of numbers: its header is {text[:80]!r}")
    sizes = [word.strip(b" L") for word in shape[1].split(b",")]
    if any(len(size) > 18 or not size.isdigit() for size in sizes if size):
        raise MemberError(f"is no array of numbers: it has shape ({shape[1].decode()})")
    try:
        dtype = np.dtype(descr[1].decode("ascii"))
    except (TypeError, ValueError) as error:
        raise MemberError(f"is no array of numbers: it holds {descr[1]!r}") from error
    return tuple(int(size) for size in sizes if size), dtype, order[1] == b"True", start + width + length

"""Arrays in members of an archive, of which no more than a header was read: rows are read when they are needed."""

import math
from typing import NamedTuple

import numpy as np

from converters.archives.packed import RandomBytes
from functa_store.errors import ArchiveError, MemberError


class RawArray(NamedTuple):
    """An array in a file, row by row.

    Attributes:
        file: Its bytes.
        dtype: Of its numbers, in the byte order of the file.
        shape: Of the array.
        start: Where the numbers begin.
    """

    file: RandomBytes
    dtype: np.dtype
    shape: tuple[int, ...]
    start: int

    @property
    def num_bytes(self) -> int:
        """Bytes of all numbers."""
        return math.prod(self.shape) * self.dtype.itemsize

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Some rows of the first axis.

        Raises:
            MemberError: If the file cannot be read any more.
        """
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        data = self.file.read_at(self.start + start * row, (stop - start) * row)
        return np.frombuffer(data, self.dtype).reshape(stop - start, *self.shape[1:])

    def whole(self, most_bytes: int) -> np.ndarray:
        """All of it, in the byte order of the machine.

        Args:
            most_bytes: More are refused: labels are a few numbers for each picture.

        Raises:
            ArchiveError: If it is larger, or cannot be read.
        """
        if self.num_bytes > most_bytes:
            raise ArchiveError(f"{self.file.name}: has {self.num_bytes} bytes of labels, expected at most {most_bytes}")
        try:
            values = self.rows(0, self.shape[0])
        except MemberError as error:
            raise ArchiveError(f"{self.file.name}: {error}") from error
        return values.astype(self.dtype.newbyteorder("="))

"""Files in the IDX format of MNIST: what their names say, and their headers, checked."""

import math
import posixpath
import re
from typing import NamedTuple

import numpy as np

from converters.archives.packed import RandomBytes
from converters.pixels.raw_arrays import RawArray
from functa_store.errors import ArchiveError, MemberError
from functa_store.sources.splits import split_of_word

# The third byte of an IDX file is the type of its numbers, the fourth how many axes it has; all is big-endian.
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_AXES = 4
_HEAD = 4 * (1 + _MOST_AXES)

_NAME = re.compile(
    r"(?P<set>.*?)(?P<part>train|t10k|test[0-9]*k?|valid(?:ation)?|val|[a-z0-9]*?)[-_.]?(?P<what>images|imgs|patterns|labels)"
    r"[-_.]idx\d[-_.](?:ubyte|int)(?P<gz>\.gz)?",
    re.IGNORECASE,
)


class IdxName(NamedTuple):
    """What the name of a file says.

    Attributes:
        folder: That it lies in.
        prefix: Beginning of the name, such as "emnist-balanced"; "" for MNIST's own.
        part: Such as "train" or "t10k".
        is_labels: Whether it holds labels, and not pictures.
        is_packed: Whether it is compressed by its name.
    """

    folder: str
    prefix: str
    part: str
    is_labels: bool
    is_packed: bool

    @property
    def data_set(self) -> str:
        """Folder and beginning of the name, by which sets of files are told apart."""
        return posixpath.join(self.folder, self.prefix) if self.prefix else self.folder

    @property
    def split(self) -> str | None:
        """The split that the part is."""
        part = self.part.lower()
        return "test" if re.fullmatch(r"t10k|test\d+k?", part) else split_of_word(part) if part else None


def idx_name(member: str) -> IdxName | None:
    """What the name of a member says; None if it is none of an IDX file."""
    folder, name = posixpath.split(member)
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    return IdxName(
        folder, found["set"].rstrip("-_."), found["part"], found["what"].lower() == "labels", found["gz"] is not None
    )


def read_idx(file: RandomBytes) -> RawArray:
    """The array of an IDX file, of which no more than the header is read.

    Raises:
        ArchiveError: If it is none, or has not as many bytes as its header says.
    """
    try:
        head = file.read_at(0, min(_HEAD, file.size))
    except MemberError as error:
        raise ArchiveError(f"{file.name}: {error}") from error
    if len(head) < 8 or head[:2] != b"\0\0" or head[2] not in _TYPES or not 1 <= head[3] <= _MOST_AXES:
        raise ArchiveError(
            f"{file.name}: starts with {head[:4]!r}, expected the header of an IDX file such as b'\\x00\\x00\\x08\\x03'"
        )
    start = 4 * (1 + head[3])
    shape = tuple(int.from_bytes(head[k : k + 4], "big") for k in range(4, start, 4))
    dtype = np.dtype(_TYPES[head[2]])
    promised, found = math.prod(shape) * dtype.itemsize, file.size - start
    if len(head) < start or promised != found:
        what = "is truncated" if found < promised else "is longer than that"
        raise ArchiveError(
            f"{file.name}: its header promises {' x '.join(map(str, shape))} numbers of {dtype.itemsize} bytes, "
            f"{promised} in all, but {max(found, 0)} follow: it {what}; fetch it again"
        )
    return RawArray(file, dtype, shape, start)

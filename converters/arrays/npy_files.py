"""Arrays in NumPy's formats .npy and .npz: headers are checked before memory is taken, objects are never loaded.

`numpy.load` is not used: it reads a header of any length, takes what a header promises, and advises to allow pickles.
"""

import contextlib
import io
import math
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from converters.archives.packed import RandomFile, content_start, most_members
from converters.arrays.bounds import MAX_DEPTH
from functa_store.errors import ArchiveError, MemberError

MAGIC = b"\x93NUMPY"

MAX_HEADER_BYTES = 10_000
"""As NumPy has it; a longer header is parsed too slowly."""

MAX_MEMBERS = 1 << 20
"""Entries of a zip that is opened here."""

MAX_NPZ_RATIO = 1 << 8
"""How many times smaller than in memory an array of an .npz may be stored, if it is large: it is read whole."""

ALWAYS_NPZ_BYTES = 1 << 29
"""Bytes in memory up to which it may be stored in however few: sparse voxels shrink 700 times."""

_DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)
"""What reading a damaged zip raises; RuntimeError: of a member that is encrypted."""

_BLOCK = 1 << 20
_HEADERS = {(1, 0): "<H", (2, 0): "<I", (3, 0): "<I"}


class NpyHeader(NamedTuple):
    """What the header of an .npy says.

    Attributes:
        shape: Of the array.
        fortran_order: Whether its first axis runs fastest.
        dtype: Of its values, no objects.
        offset: Where they begin.
    """

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[Any]
    offset: int

    @property
    def num_bytes(self) -> int:
        """Bytes of all values."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy_header(file: io.BufferedIOBase) -> NpyHeader:
    """The header of an .npy, of which no more than that is read.

    Raises:
        MemberError: If it is none, or one of Python objects; the message is the reason alone.
    """
    start = _exactly(file, 8)
    if start[:6] != MAGIC:
        raise MemberError(f"starts with {start[:6]!r}, expected an array in NumPy's .npy format")
    version = (start[6], start[7])
    if version not in _HEADERS:
        raise MemberError(f"is in version {start[6]}.{start[7]} of NumPy's .npy format, expected 1.0, 2.0 or 3.0")
    width = struct.calcsize(_HEADERS[version])
    length_bytes = _exactly(file, width)
    (length,) = struct.unpack(_HEADERS[version], length_bytes)
    if length > MAX_HEADER_BYTES:
        raise MemberError(f"has a header of {length} bytes, expected at most {MAX_HEADER_BYTES}")
    header = io.BytesIO(length_bytes + _exactly(file, length))
    parse = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 has written
            shape, fortran_order, dtype = parse(header, max_header_size=MAX_HEADER_BYTES)
    except Exception as error:  # a header is Python that NumPy parses: deep nests and huge numbers, too
        raise MemberError(f"has a damaged header: {type(error).__name__}") from error
    return _checked(NpyHeader(shape, fortran_order, dtype, 8 + width + length))


def _checked(header: NpyHeader) -> NpyHeader:
    shape, dtype = header.shape, header.dtype
    if len(shape) > MAX_DEPTH or not all(type(n) is int and 0 <= n < 1 << 63 for n in shape):
        raise MemberError("has a damaged header: its shape is none")
    if dtype.hasobject:
        raise MemberError("holds Python objects, which are never loaded since that could run any code; save numbers")
    if dtype.itemsize == 0 and math.prod(shape):
        raise MemberError(f"holds values of {dtype}, which have no bytes")
    return header


def map_npy(path: str) -> np.ndarray:
    """The array of an .npy file, mapped into memory; nothing of it is read yet.

    Raises:
        ArchiveError: If it cannot be, or the file is shorter than its header says.
    """
    try:
        with open(path, "rb") as file:
            header, size = read_npy_header(file), os.fstat(file.fileno()).st_size
        _check_length(header, size - header.offset)
        if not header.num_bytes:
            return np.empty(header.shape, header.dtype)
        order = "F" if header.fortran_order else "C"
        return np.memmap(path, header.dtype, "r", header.offset, header.shape, order)
    except MemberError as error:
        raise ArchiveError(f"{path}: cannot be read: {error}") from error
    except (OSError, ValueError, MemoryError, OverflowError) as error:
        raise ArchiveError(f"{path}: cannot be mapped into memory: {error}") from error


def read_npy(file: io.BufferedIOBase, size: int) -> np.ndarray:
    """The array of an .npy, read whole.

    Args:
        file: At its beginning.
        size: Bytes that it has, all in all.

    Raises:
        MemberError: If it cannot be read; the message is the reason alone.
    """
    header = read_npy_header(file)
    _check_length(header, size - header.offset)
    try:
        flat = np.empty(header.num_bytes, np.uint8)
        view, place = flat.data, 0
        while place < len(view):
            if not (got := file.readinto(view[place : place + _BLOCK])):
                raise MemberError(f"ends after {place} of {len(view)} bytes of values")
            place += got
        values = flat.view(header.dtype) if header.num_bytes else np.empty(0, header.dtype)
        return values.reshape(header.shape, order="F" if header.fortran_order else "C")
    except (ValueError, MemoryError, OverflowError, TypeError) as error:
        raise MemberError(f"does not fit into memory, or holds none: {type(error).__name__}: {error}") from error


def _check_length(header: NpyHeader, stored: int) -> None:
    if header.num_bytes > stored:
        raise MemberError(
            f"promises {header.num_bytes} bytes of values of shape {header.shape}, but has {max(stored, 0)}"
        )


def _exactly(file: io.BufferedIOBase, count: int) -> bytes:
    found = file.read(count)
    if len(found) != count:
        raise MemberError("ends within its header")
    return found


class ZipMembers:
    """The members of a zip by name, each read within the size that the zip tells; see `array_files`.

    Args:
        path: The zip.

    Attributes:
        num_bytes: Bytes of the zip.
        problems: Why members cannot be used, by name, such as one that leads out of the archive.
        repeated: Names of several members each, of which the last one counts, as for every reader of zips: a Zarr
            store to which something was appended has its metadata more than once.

    Raises:
        ArchiveError: If it is damaged, or has too many members.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.problems: dict[str, str] = {}
        self.repeated: set[str] = set()
        with _cut_off(path):
            self._file = RandomFile(path)
            self.num_bytes, count = self._file.size, most_members(self._file)
        if count > MAX_MEMBERS:  # before the library takes memory for each
            raise ArchiveError(f"{path}: holds {count} members, expected at most {MAX_MEMBERS}; split it")
        with _cut_off(path):
            self._zip = zipfile.ZipFile(path)
            entries = [entry for entry in self._zip.infolist() if not entry.filename.endswith("/")]
        self._entries: dict[str, zipfile.ZipInfo] = {}
        for entry in entries:
            if problem := _bad_name(entry.filename):
                self.problems[entry.filename] = problem
            elif entry.filename in self._entries:
                self.repeated.add(entry.filename)
                self._entries[entry.filename] = entry
            else:
                self._entries[entry.filename] = entry

    @property
    def names(self) -> Iterator[str]:
        """Names of all files."""
        return iter(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def size(self, name: str) -> int:
        """Bytes of a member when it is unpacked, as the zip tells."""
        return self._entries[name].file_size

    def stored(self, name: str) -> int:
        """Bytes that it takes in the zip."""
        return self._entries[name].compress_size

    def open(self, name: str) -> io.BufferedIOBase:
        """A member to be read from its beginning; it ends where the zip says.

        Raises:
            MemberError: If it cannot be read in bounded memory, or not at all.
        """
        entry = self._entries[name]
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise MemberError(f"is compressed by method {entry.compress_type}, expected none or DEFLATE")
        try:
            return self._zip.open(entry)  # type: ignore[return-value]  # it is one of these
        except _DAMAGE as error:
            raise MemberError(f"cannot be read: {error}") from error

    def read(self, name: str, most: int) -> bytes:
        """All bytes of a member.

        Raises:
            MemberError: If there are more than `most`, or they cannot be read; the message is the reason alone.
        """
        if (size := self.size(name)) > most:
            raise MemberError(f"has {size} bytes, expected at most {most}")
        with self.open(name) as file:
            try:
                found = bytearray()
                while part := file.read(_BLOCK):
                    found += part
            except (MemoryError, *_DAMAGE) as error:
                raise MemberError(f"is damaged: {error}") from error
        return bytes(found)

    def is_stored(self, name: str) -> bool:
        """Whether a member lies in the zip as it is, so that a part of it can be read."""
        entry = self._entries[name]
        return entry.compress_type == zipfile.ZIP_STORED and entry.compress_size == entry.file_size

    def read_part(self, name: str, begin: int, end: int) -> bytes:
        """Some bytes of a member that is stored; its checksum, which is of all of them, is not looked at.

        Raises:
            MemberError: If they cannot be read; the message is the reason alone.
        """
        return self._file.read_at(content_start(self._file, self._entries[name].header_offset) + begin, end - begin)


@contextlib.contextmanager
def _cut_off(path: str) -> Iterator[None]:
    """Whatever a damaged zip makes a library raise becomes an error about it."""
    try:
        yield
    except Exception as error:
        raise ArchiveError(f"{path}: cannot be read: {error}; is it cut off? Fetch it again") from error


def _bad_name(name: str) -> str | None:
    """Why a name is none of a member, or None."""
    if not name:
        return "has no name"
    if name.startswith(("/", "\\")) or (len(name) > 1 and name[1] == ":"):
        return "has an absolute name"
    if ".." in name.replace("\\", "/").split("/"):
        return "has a name that leads out of the archive"
    return "has a NUL byte in its name" if "\0" in name else None


class Npy(Mapping[str, Any]):
    """The array of an .npy, mapped, by the name ""."""

    def __init__(self, path: str) -> None:
        self._array = map_npy(path)
        self.num_bytes = os.path.getsize(path)

    def __getitem__(self, name: str) -> np.ndarray:
        if name:
            raise KeyError(name)
        return self._array

    def __iter__(self) -> Iterator[str]:
        return iter(("",))

    def __len__(self) -> int:
        return 1

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of the array."""
        return self._array.shape


class Npz(Mapping[str, Any]):
    """The arrays of an .npz, each read whole when it is looked up; the last one is kept.

    Attributes:
        num_bytes: Bytes of the file.
        members: All that is in it.
    """

    def __init__(self, members: ZipMembers) -> None:
        self.members, self.num_bytes = members, members.num_bytes
        self._kept: tuple[str, np.ndarray] | None = None
        for name in members.repeated:  # of which nobody can say which one is meant
            members.problems[name] = "occurs more than once in the archive"
        usable = (name for name in members.names if name not in members.repeated)
        self._names = {name.removesuffix(".npy"): name for name in usable if name.endswith(".npy")}

    def __getitem__(self, name: str) -> np.ndarray:
        self._names[name]
        kept = self._kept  # another thread may replace it
        if kept is not None and kept[0] == name:
            return kept[1]
        try:
            values = self.read(name)
        except MemberError as error:
            raise ArchiveError(f"{self.members.path}: array {name!r} cannot be read: {error}") from error
        self._kept = name, values
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of an array that is not read.

        Raises:
            ArchiveError: If its header cannot be read.
        """
        return self.header(name).shape

    def header(self, name: str) -> NpyHeader:
        """What the header of an array says that is not read.

        Raises:
            ArchiveError: If it cannot be read.
        """
        try:
            with self.members.open(self._names[name]) as file:
                return read_npy_header(file)
        except (MemberError, *_DAMAGE) as error:
            raise ArchiveError(f"{self.members.path}: array {name!r} cannot be read: {error}") from error

    def size(self, name: str) -> int:
        """Bytes of an array and its header, as the zip tells."""
        return self.members.size(self._names[name])

    def read(self, name: str) -> np.ndarray:
        """An array, not kept.

        Raises:
            MemberError: If it cannot be read; the message is the reason alone.
        """
        member = self._names[name]
        size, stored = self.members.size(member), self.members.stored(member)
        if size > max(ALWAYS_NPZ_BYTES, MAX_NPZ_RATIO * stored):
            raise MemberError(
                f"has {size} bytes that are stored in {stored}, and would be read whole; save it as .npy, which is "
                "read in place"
            )
        try:
            with self.members.open(member) as file:
                return read_npy(file, size)
        except _DAMAGE as error:
            raise MemberError(f"is damaged: {error}") from error

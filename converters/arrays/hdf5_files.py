"""HDF5 files, NetCDF-4 among them, checked before anything of them is read.

HDF5 can keep an array's values in other files (external storage, virtual datasets, external links) and unpack them with
plug-ins that it loads from a folder. Of a stranger's file nothing of that is followed: all its values lie in it, packed
by filters that are built in.
"""

import io
import math
import os
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from converters.arrays.bounds import (
    MAX_ARRAYS,
    MAX_CHUNK_BYTES,
    MAX_DEPTH,
    check_beside,
    check_chunk,
    check_number,
    check_promise,
)
from converters.arrays.zarr_codecs import measure_deflate
from functa_store.errors import ArchiveError, MemberError
from functa_store.support.optional import require

if TYPE_CHECKING:
    import h5py


MAGIC = b"\x89HDF\r\n\x1a\n"

_FIRST_PLACE, _LAST_PLACE = 1 << 9, 1 << 24
"""Bytes that may precede HDF5 in a file: the first, or twice that, and so on."""

MAX_ATTRIBUTES = 1 << 16
"""Attributes of one file."""

MAX_ATTRIBUTE_BYTES = 1 << 22
"""Bytes of one attribute."""

MAX_PLAIN_BYTES = 1 << 12
"""Bytes of an attribute that is a unit or a few numbers."""

_NETCDF_MARKS = (b"_Netcdf4Dimid", b"_Netcdf4Coordinates", b"DIMENSION_LIST")

DEFLATE, SHUFFLE, FLETCHER32, SZIP, NBIT, SCALE_OFFSET, LZF = 1, 2, 3, 4, 5, 6, 32000
FILTERS = {
    DEFLATE: "deflate",
    SHUFFLE: "shuffle",
    FLETCHER32: "fletcher32",
    SZIP: "szip",
    NBIT: "nbit",
    SCALE_OFFSET: "scaleoffset",
    LZF: "lzf",
}
"""Filters that HDF5 and h5py bring along."""

_COMPRESSORS = (DEFLATE, SZIP, LZF)
_DEFLATE_RATIO, _LZF_RATIO = 1032, 90
_SLACK = 1 << 16
_HEAP, _HEAP_VERSION, _HEAP_HEADER, _HEAP_OBJECT = (
    b"GCOL",
    b"GCOL\1\0\0\0",
    struct.Struct("<8xQ"),
    struct.Struct("<H6xQ"),
)
_HEAP_WINDOW = 1 << 12
_TEXT_BLOCK_BYTES = 1 << 28
_FEW_TEXTS = 64


class Hdf5Array:
    """An array of a checked file; its chunks are measured before they are unpacked. Safe to use from threads.

    Args:
        dataset: Where it lies.
        where: File and name, for errors.
        file_bytes: Bytes of the file.

    Attributes:
        shape: Length of each axis.
        chunks: Shape of a chunk; None if the values lie in one piece.

    Raises:
        ArchiveError: If its values lie elsewhere, or memory could not hold a part of it.
    """

    def __init__(self, dataset: "h5py.Dataset", where: str, file_bytes: int) -> None:
        self._dataset, self._where, self._file_bytes = dataset, where, file_bytes
        plist = dataset.id.get_create_plist()  # before its shape, for which HDF5 looks into the files of a virtual one
        _check_storage(plist, where)
        self.shape: tuple[int, ...] = tuple(dataset.shape or ())
        self._item_bytes = dataset.id.get_type().get_size()
        self.chunks: tuple[int, ...] | None = dataset.chunks
        self._filters = _checked_filters(plist, where)
        self._unmeasured: dict[tuple[int, ...], int] | None = None
        self._lock = threading.Lock()
        if self.chunks is not None:
            chunk_bytes = check_chunk(where, self.chunks, self._item_bytes)
            _check_filter_sizes(self._filters, chunk_bytes, where)
            covered = math.prod(-(-n // size) for n, size in zip(self.shape, self.chunks, strict=True))
            check_number(where, "chunks", covered, file_bytes)
        check_promise(where, self.shape, self._item_bytes, file_bytes)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Kind of values.

        Raises:
            ArchiveError: If NumPy has none such.
        """
        try:
            return self._dataset.dtype
        except Exception as error:  # types that h5py does not know, or that are damaged
            raise ArchiveError(f"{self._where}: holds values of a type that cannot be read: {error}") from error

    @property
    def item_bytes(self) -> int:
        """Bytes of a value, of texts of any length those of a pointer."""
        return self._item_bytes

    @property
    def has_texts(self) -> bool:
        """Whether values are texts of any length."""
        import h5py

        found = self._dataset.id.get_type()
        return isinstance(found, h5py.h5t.TypeStringID) and _is_long(found)

    def __getitem__(self, key: Any) -> Any:
        self.measure(self._rows(key))
        return self._dataset[key]

    def read_texts(self) -> list[bytes]:
        """All texts of a small array.

        A few at a time: a file of a megabyte may say of a million values that they are the same text of a megabyte.

        Raises:
            MemberError: If they have more bytes than the file.
        """
        return list(self._in_heaps())

    def check_heaps(self) -> None:
        """Read texts or lists of any length once, and keep none.

        Raises:
            ArchiveError: If they are within other values, where they cannot be told apart.
            MemberError: If they have more bytes than the file.
        """
        kind = self._dataset.id.get_type()
        if not _is_long(kind):
            if _has_long(kind):
                raise ArchiveError(
                    f"{self._where}: holds texts or lists within its values, expected numbers; remove it"
                )
            return
        for _ in self._in_heaps():
            pass

    def _in_heaps(self) -> Iterator[Any]:
        """All values of an array of texts or lists, which lie in heaps, a few at a time."""
        check_beside(self._where, self.shape, self._item_bytes)
        self.measure()
        total = 0
        for key in _parts(self.shape, max(1, min(1024, _TEXT_BLOCK_BYTES // max(1, self._file_bytes)))):
            part = self._dataset[key]
            values = part.ravel().tolist() if key else [] if self._dataset.shape is None else [part]
            total += sum(value.nbytes if isinstance(value, np.ndarray) else len(value) for value in values)
            if total > max(self._file_bytes, _SLACK):
                raise MemberError("has texts of more bytes than the file")
            yield from values

    def measure(self, rows: tuple[int, int] | None = None) -> None:
        """Refuse chunks that would unpack to more than they should, before any of them is unpacked.

        Args:
            rows: First and last but one index along the first axis; None means all.

        Raises:
            MemberError: If there is one; the message is the reason alone.
        """
        if self.chunks is None or not any(number in _COMPRESSORS for number, _ in self._filters):
            return
        with self._lock:
            if self._unmeasured is None:
                self._unmeasured = self._large_chunks()
            low, high = rows or (0, self.shape[0])
            for place in [p for p in self._unmeasured if p[0] < high and p[0] + self.chunks[0] > low]:
                self._measure_chunk(place)
                del self._unmeasured[place]

    def _rows(self, key: Any) -> tuple[int, int] | None:
        """Rows that indexing reads."""
        first = key[0] if isinstance(key, tuple) and key else key
        if isinstance(first, slice):
            start, stop, _ = first.indices(self.shape[0])
            return start, stop
        if isinstance(first, int | np.integer):
            return int(first) % max(1, self.shape[0]), int(first) % max(1, self.shape[0]) + 1
        return None

    def _large_chunks(self) -> dict[tuple[int, ...], int]:
        """Stored bytes of the chunks that could unpack to more than memory should hold, by their places."""
        assert self.chunks is not None
        most = math.prod(self.chunks) * self._item_bytes * 11 // 10 + _SLACK
        numbers = [number for number, _ in self._filters]
        limit = MAX_CHUNK_BYTES // _DEFLATE_RATIO if DEFLATE in numbers else -1 if SZIP in numbers else most
        large: dict[tuple[int, ...], int] = {}
        problem: list[str] = []

        def see(chunk: Any) -> None:
            if chunk.size > most:
                problem.append(f"has a chunk of {chunk.size} stored bytes, expected {most} at most")
            elif chunk.size > limit:
                large[chunk.chunk_offset] = chunk.size

        check_number(self._where, "chunks", self._dataset.id.get_num_chunks(), self._file_bytes)
        self._dataset.id.chunk_iter(see)
        if problem:
            raise MemberError(problem[0])
        if LZF in numbers and most * _LZF_RATIO > MAX_CHUNK_BYTES and (worst := max(large.values(), default=0)):
            raise MemberError(f"has a chunk of {worst} bytes packed by lzf; write it again with gzip")
        return large

    def _measure_chunk(self, place: tuple[int, ...]) -> None:
        assert self.chunks is not None
        mask, stored = self._dataset.id.read_direct_chunk(place)
        if mask:
            return  # of a chunk that some filter left as it was, HDF5 checks the size
        most = math.prod(self.chunks) * self._item_bytes + _SLACK
        is_szip = any(number == SZIP for number, _ in self._filters)
        found = int.from_bytes(stored[:4], "little") if is_szip else measure_deflate(stored, most)
        if found > most:
            raise MemberError(f"has a chunk that unpacks to {found} bytes or more, expected {most} at most")


class Hdf5Arrays(Mapping[str, Hdf5Array]):
    """The arrays of a file by their paths, all checked, none read.

    Args:
        path: The file.
        attributes: Whether attributes are checked, too, since a library reads them.

    Attributes:
        num_bytes: Bytes of the file.

    Raises:
        ArchiveError: If values lie outside the file, are packed by filters that are not built in, or promise more
            than the file can hold. Names the array.
        MissingLibraryError: If h5py is not installed.
    """

    def __init__(self, path: str, *, attributes: bool = False) -> None:
        h5py = import_h5py()
        self._path, self.num_bytes = path, os.path.getsize(path)
        self._arrays: dict[str, Hdf5Array] = {}
        self._names: list[str] = []
        self._attributes_left = MAX_ATTRIBUTES if attributes else None
        self._lock = threading.Lock()
        try:
            with CheckedHeaps(path) as checked, h5py.File(checked, "r") as file:
                self._walk(file)
            self._file = h5py.File(path, "r")
            for name in self._names:
                self._arrays[name] = Hdf5Array(self._file[name], f"{path}/{name}", self.num_bytes)
        except MemberError as error:
            raise ArchiveError(f"{path}: {error}; is it cut off? Fetch it again") from error
        except ArchiveError:
            raise
        except Exception as error:  # whatever damaged structures make the library raise
            raise ArchiveError(
                f"{path}: cannot be read: {type(error).__name__}: {error}; is it cut off? Fetch it again"
            ) from error

    def read_texts(self, name: str) -> list[bytes]:
        """All texts of a small array of texts of any length.

        Raises:
            MemberError: If they have more bytes than the file, or cannot be read.
        """
        with CheckedHeaps(self._path) as checked, import_h5py().File(checked, "r") as file:
            return Hdf5Array(file[name], f"{self._path}/{name}", self.num_bytes).read_texts()

    def attributes(self, name: str, wanted: Sequence[str]) -> dict[str, Any]:
        """Some attributes of an array, of those that are there and small.

        Raises:
            ArchiveError: If one cannot be read, or is far too large for what it is to say.
        """
        where, h5py = f"{self._path}/{name}", import_h5py()
        try:
            with CheckedHeaps(self._path) as checked, h5py.File(checked, "r") as file:
                item = file[name]
                found = {}
                for key in wanted:
                    if h5py.h5a.exists(item.id, key.encode()):
                        attribute = h5py.h5a.open(item.id, key.encode())
                        num_values = math.prod(attribute.shape or ())
                        if num_values * attribute.get_type().get_size() > MAX_PLAIN_BYTES:
                            raise ArchiveError(
                                f"{where}: attribute {key} has {num_values} values, expected a few; repair it, or "
                                "leave attributes unread with --ignore all"
                            )
                        found[key] = item.attrs[key]
                return {key: value for key, value in found.items() if not isinstance(value, h5py.Empty)}
        except ArchiveError:
            raise
        except Exception as error:  # whatever damaged structures make the library raise
            raise ArchiveError(
                f"{where}: its attributes cannot be read: {type(error).__name__}: {error}; leave them unread with "
                "--ignore all"
            ) from error

    def is_netcdf(self, name: str) -> bool:
        """Whether an array was written as NetCDF, by attributes that nothing else writes."""
        h5py = import_h5py()
        with self._lock:
            marked = any(h5py.h5a.exists(self._file[name].id, key) for key in _NETCDF_MARKS)
            return marked or h5py.h5a.exists(self._file["/"].id, b"_NCProperties")

    def __getitem__(self, name: str) -> Hdf5Array:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of an array."""
        return self._arrays[name].shape

    def _walk(self, file: Any) -> None:
        """Go through all groups along hard links, which stay in the file."""
        if (sizes := file.id.get_create_plist().get_sizes()) != (8, 8):
            raise ArchiveError(f"{self._path}: tells places and lengths in {sizes} bytes, expected 8; rewrite the file")
        ahead: list[tuple[str, Any, int]] = [("", file["/"], 0)]
        seen, count, soft = {_address(ahead[0][1])}, 0, list[tuple[Any, str, str]]()
        self._check_attributes(ahead[0][1], self._path)
        while ahead:
            path, group, depth = ahead.pop()
            count += len(group)
            if count > MAX_ARRAYS or depth > MAX_DEPTH:
                raise ArchiveError(
                    f"{self._path}: holds more than {MAX_ARRAYS} arrays and groups, or {MAX_DEPTH} groups within each "
                    "other; write those that are wanted into a file of their own"
                )
            for name in group:
                where = f"{path}/{name}" if path else name
                if self._is_hard(group, name, where, soft):
                    self._see(group[name], where, depth, seen, ahead)
        for group, name, where in soft:
            if not _leads_somewhere(group, name):
                raise ArchiveError(f"{self._path}: link {ascii(where)[:200]} leads to nothing, or to itself; remove it")
        self._names.sort()

    def _is_hard(self, group: Any, name: str, where: str, soft: list[tuple[Any, str, str]]) -> bool:
        """Whether a name is an object of the file; notes links within the file, refuses those out of it."""
        h5py = import_h5py()
        kind = group.id.links.get_info(name.encode("utf-8", "surrogateescape")).type
        if kind == h5py.h5l.TYPE_SOFT:
            soft.append((group, name, where))
        elif kind != h5py.h5l.TYPE_HARD:
            raise ArchiveError(
                f"{self._path}: {ascii(where)[:200]} is a link to another file, which is not followed; copy what it "
                "leads to into the file, such as with h5repack or h5copy"
            )
        return kind == h5py.h5l.TYPE_HARD

    def _see(self, item: Any, where: str, depth: int, seen: set[Any], ahead: list[tuple[str, Any, int]]) -> None:
        h5py = import_h5py()
        if isinstance(item, h5py.Dataset):
            array = Hdf5Array(item, f"{self._path}/{where}", self.num_bytes)
            if self._attributes_left is not None:
                array.check_heaps()  # within bounds, before a library reads them all at once
            self._names.append(where)
        elif isinstance(item, h5py.Group) and (address := _address(item)) not in seen:
            seen.add(address)
            ahead.append((where, item, depth + 1))
        if not isinstance(item, h5py.Datatype):
            self._check_attributes(item, f"{self._path}/{where}")

    def _check_attributes(self, item: Any, where: str) -> None:
        if self._attributes_left is None:
            return
        h5py = import_h5py()
        count = h5py.h5a.get_num_attrs(item.id)
        self._attributes_left -= count
        if self._attributes_left < 0:
            raise ArchiveError(f"{self._path}: holds more than {MAX_ATTRIBUTES} attributes; remove some")
        few = max(_FEW_TEXTS, _TEXT_BLOCK_BYTES // max(1, self.num_bytes))
        for index in range(count):
            attribute = h5py.h5a.open(item.id, index=index)
            kind = attribute.get_type()
            num_values = math.prod(attribute.shape or ())
            is_long = _has_long(kind)
            if num_values * kind.get_size() > MAX_ATTRIBUTE_BYTES or (is_long and num_values > few):
                raise ArchiveError(
                    f"{where}: attribute {ascii(attribute.name)[:100]} has {num_values} values of {kind.get_size()} "
                    f"bytes, expected at most {MAX_ATTRIBUTE_BYTES} bytes, or {few} texts; remove it"
                )
            if is_long:
                attribute.read(np.empty(attribute.shape, attribute.dtype))  # through `CheckedHeaps`, before others do


class CheckedHeaps(io.FileIO):
    """A file that HDF5 reads through Python, of which heaps of texts are checked before HDF5 goes through them.

    A heap is a row of objects, each of which tells its length. At one without any length HDF5 2.0 stands still for
    ever, and neither Ctrl-C nor a signal ends that.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path, "rb")
        self._checked: set[int] = set()
        self._size = self._unclaimed = os.fstat(self.fileno()).st_size

    def readinto(self, buffer: Any) -> int | None:
        """Read from where the file stands; refuse what is a damaged heap.

        Raises:
            MemberError: If it is.
        """
        start = self.tell()
        count = super().readinto(buffer)
        seen = os.pread(self.fileno(), (count or 0) + 2 * len(_HEAP), max(0, start - len(_HEAP)))
        place = seen.find(_HEAP)
        while place >= 0:
            self._check_heap(max(0, start - len(_HEAP)) + place)
            place = seen.find(_HEAP, place + 1)
        return count

    def _check_heap(self, start: int) -> None:
        if start in self._checked:
            return
        header = os.pread(self.fileno(), _HEAP_HEADER.size, start)
        if len(header) < _HEAP_HEADER.size or not header.startswith(_HEAP_VERSION):
            return  # other bytes that happen to be these
        (size,) = _HEAP_HEADER.unpack(header)
        self._unclaimed -= size
        if size > self._size - start or self._unclaimed < 0:
            raise MemberError("has a damaged heap: it, or all of them together, are longer than the file")
        place, window, at = _HEAP_HEADER.size, b"", 0
        while place + _HEAP_OBJECT.size <= size:
            if not 0 <= place - at <= len(window) - _HEAP_OBJECT.size:
                at, window = place, os.pread(self.fileno(), min(_HEAP_WINDOW, size - place), start + place)
            number, length = _HEAP_OBJECT.unpack_from(window, place - at)
            if length > size - place or (number == 0 and length < _HEAP_OBJECT.size):
                raise MemberError(f"has a damaged heap: object {number} in it has {length} bytes")
            place += length if number == 0 else _HEAP_OBJECT.size + (length + 7) // 8 * 8
        self._checked.add(start)


def check_user_block(path: str) -> None:
    """Refuse HDF5 that follows something else in its file, as MATLAB writes it; its places are counted from there.

    Raises:
        ArchiveError: If it does; says how to take that off.
        OSError: If the file cannot be read.
    """
    place = _FIRST_PLACE
    with open(path, "rb") as file:
        while place <= _LAST_PLACE:
            file.seek(place)
            if file.read(len(MAGIC)) == MAGIC:
                raise ArchiveError(
                    f"{path}: is HDF5 behind a user block of {place} bytes, as MATLAB writes it; take that off with "
                    "`h5unjam -i FILE -o OUT`"
                )
            place *= 2


def import_h5py() -> Any:
    """The library.

    Raises:
        MissingLibraryError: If it is not installed.
    """
    return require("h5py", extra="arrays")


def _is_long(kind: Any) -> bool:
    """Whether values of a type are texts or lists of any length, which lie in heaps."""
    h5t = import_h5py().h5t
    if isinstance(kind, h5t.TypeVlenID):
        return not _has_long(kind.get_super())
    return isinstance(kind, h5t.TypeStringID) and kind.is_variable_str()


def _has_long(kind: Any) -> bool:
    """Whether anything in values of a type lies in heaps."""
    h5t = import_h5py().h5t
    if isinstance(kind, h5t.TypeCompoundID):
        return any(_has_long(kind.get_member_type(k)) for k in range(kind.get_nmembers()))
    if isinstance(kind, h5t.TypeArrayID):
        return _has_long(kind.get_super())
    return isinstance(kind, h5t.TypeVlenID) or _is_long(kind)


def _parts(shape: tuple[int, ...], most: int) -> Iterator[tuple[Any, ...]]:
    """Indices that go through an array once, each of at most so many values."""
    axis = next((k for k in range(len(shape)) if math.prod(shape[k + 1 :]) <= most), 0)
    if not shape:
        yield ()
        return
    rows = max(1, most // max(1, math.prod(shape[axis + 1 :])))
    for before in np.ndindex(shape[:axis]):
        for start in range(0, shape[axis], rows):
            yield (*before, slice(start, start + rows))


def _address(group: Any) -> Any:
    info = import_h5py().h5o.get_info(group.id)
    return info.fileno, info.addr


def _leads_somewhere(group: Any, name: str) -> bool:
    """Whether a link within the file leads to one of its objects."""
    try:
        import_h5py().h5o.get_info(group.id, name.encode("utf-8", "surrogateescape"))
    except (KeyError, OSError, RuntimeError, ValueError):
        return False
    return True


def _check_storage(plist: Any, where: str) -> None:
    """Refuse an array whose values lie in other files."""
    h5py = import_h5py()
    elsewhere: Mapping[str, Callable[[], bool]] = {
        "is virtual: its values lie in other datasets": lambda: plist.get_layout() == h5py.h5d.VIRTUAL,
        "has external storage: its values lie in other files": lambda: plist.get_external_count() > 0,
    }
    for reason, holds in elsewhere.items():
        if holds():
            raise ArchiveError(f"{where}: {reason}, which are not followed; copy them into the file, as h5repack does")


def _checked_filters(plist: Any, where: str) -> list[tuple[int, tuple[int, ...]]]:
    """Number and options of each filter, all of them built in."""
    found = []
    for index in range(plist.get_nfilters()):
        number, _, options, name = plist.get_filter(index)
        if number not in FILTERS:
            raise ArchiveError(
                f"{where}: is packed by filter {number} {ascii(name)[:100]}, a plug-in that might be any program; "
                f"expected {', '.join(FILTERS.values())}: rewrite the file, such as with h5repack -f GZIP=4"
            )
        found.append((number, tuple(options)))
    if sum(number in _COMPRESSORS for number, _ in found) > 1 or len(found) > len(FILTERS):
        raise ArchiveError(f"{where}: is packed more than once, by {found}; rewrite the file, such as with h5repack")
    return found


def _check_filter_sizes(filters: list[tuple[int, tuple[int, ...]]], chunk_bytes: int, where: str) -> None:
    """Refuse filters whose options promise more bytes than a chunk has; HDF5 takes memory for what they say."""
    for number, options in filters:
        if number in (NBIT, SCALE_OFFSET):
            promised = options[2] * options[4] if len(options) > 4 else None
        else:
            promised = options[2] if number == LZF and len(options) > 2 else 0
        if promised is None or promised > chunk_bytes + _SLACK:
            raise ArchiveError(
                f"{where}: filter {FILTERS[number]} promises {promised} bytes for chunks of {chunk_bytes}; is the file "
                "damaged? Fetch it again"
            )

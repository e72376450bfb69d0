"""Parquet files on a disk or a web server: footers, columns by row group, and single values of a column of bytes."""

import hashlib
import io
import json
import posixpath
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from converters.archives.archive import file_sha256
from converters.archives.listing import check_size
from converters.archives.memory_share import take_room
from converters.archives.packed import RandomFile
from converters.archives.plain_files import FileStamps, shown
from converters.tables.parquet_pages import (
    LENGTH_BYTES,
    MAGIC,
    PLAIN,
    SNAPPY,
    UNCOMPRESSED,
    Leaf,
    Pages,
    ReadAt,
    can_unpack,
    find_pages,
    places_in_page,
    read_page,
)
from converters.tables.snappy_blocks import BLOCK, SnappyBlocks, find_blocks
from converters.tables.thrift import read_struct
from functa_store.errors import ArchiveError, FunctaStoreError, MemberError
from functa_store.store.storage.objects import open_objects
from functa_store.support.memory import LRUCache
from functa_store.support.optional import require

PAGE_BYTES = 128 << 20
"""Bytes of unpacked pages that stay in memory."""

_MOST_FOOTER, _TAIL = 1 << 26, 8
_MOST_ROWS, _ALWAYS_ROWS = 1 << 26, 1 << 16
_MOST_GROUP_BYTES = 1 << 30
_FETCHED_AT_ONCE = 1 << 25
_LFS = b"version https://git-lfs"
_LOCKS = 16
_VALUE_BYTES = 8
_CHUNK = -1


@runtime_checkable
class RandomAccess(Protocol):
    """What is read at any offset: a `RandomFile` or a `RemoteFile`."""

    name: str
    size: int

    def read_at(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes; raises MemberError if they cannot be had."""
        ...


class RemoteFile:
    """A file on a web server, read by ranges; requests are repeated where the network fails.

    Args:
        url: Its address, without credentials or a query.

    Raises:
        ArchiveError: If it is not there, or the server does not say how long it is.
    """

    def __init__(self, url: str) -> None:
        folder, _, self._key = url.rpartition("/")
        self.path, self.name = url, self._key
        try:
            self._objects = open_objects(folder)
            size = self._objects.size(self._key) if self._key else None
        except (FunctaStoreError, FileNotFoundError) as error:
            raise ArchiveError(f"{url}: cannot be reached: {error}") from error
        if size is None:
            raise ArchiveError(f"{url}: the server has no such file")
        self.size = size

    def read_at(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes.

        Raises:
            MemberError: If the server does not give them.
        """
        if offset + count > self.size:
            raise MemberError(f"reaches to byte {offset + count}, but the file ends at {self.size}: truncated")
        if count == 0:
            return b""
        try:
            return bytes(self._objects.read_ranges(self._key, [offset], [count])[0])
        except (FunctaStoreError, FileNotFoundError) as error:
            raise MemberError(f"cannot be fetched: {shown(str(error))}") from error


class ParquetTable:
    """One Parquet file, its footer read.

    Args:
        file: Where it is.
        place: What ids and messages call it, such as "train/train-00000-of-00001".

    Attributes:
        place: See above.
        num_rows: Rows of the file.
        group_rows: First row of each row group, and behind the last one the number of rows.
        schema: Of its columns, a `pyarrow.Schema`.
        features: What the library `datasets` has written of each column, if it has.

    Raises:
        ArchiveError: If it is no Parquet file that can be read.
    """

    def __init__(self, file: RandomAccess, place: str) -> None:
        require("pyarrow.parquet", extra="huggingface")
        self.place, self._file = place, file
        self._footer = _footer(file)
        self._metadata = _parsed(file, self._footer)
        self.num_rows = int(self._metadata.num_rows)
        self._groups = _groups(file.name, self._footer[:-_TAIL], self._metadata.num_columns)
        rows = [group.rows for group in self._groups]
        self.group_rows = np.concatenate([[0], np.cumsum(rows, dtype=np.int64)]).astype(np.int64)
        most = min(_MOST_ROWS, _ALWAYS_ROWS + file.size)
        if min(rows, default=0) < 0 or self.group_rows[-1] != self.num_rows or self.num_rows > most:
            raise ArchiveError(
                f"{file.name}: its footer says {self.num_rows} rows, and {self.group_rows[-1]} in row groups, expected "
                f"equal numbers up to {most}, as many as it has bytes; fetch it again"
            )
        try:
            self.schema = self._metadata.schema.to_arrow_schema()
        except Exception as error:  # whatever pyarrow cannot make a type of
            raise ArchiveError(f"{file.name}: has a schema that cannot be read: {shown(str(error))}") from error
        self.features = _features(self._metadata.metadata or {}, file.name)
        self._own = threading.local()

    def identity(self, *, whole: bool) -> str:
        """Digest of the file; of one on a server, of its footer, which has all sizes and places, and its length."""
        if whole and isinstance(self._file, RandomFile):
            return file_sha256(self._file.path)
        return hashlib.sha256(self._footer + str(self._file.size).encode()).hexdigest()

    def stamps(self) -> FileStamps | None:
        """What tells whether a file of a disk is changed."""
        return FileStamps([self._file.path]) if isinstance(self._file, RandomFile) else None

    def check_unchanged(self) -> None:
        """Compare the footer of a file on a server with what it was.

        Raises:
            ArchiveError: If it is another one.
        """
        if isinstance(self._file, RemoteFile) and _footer(RemoteFile(self._file.path)) != self._footer:
            raise ArchiveError(
                f"{self._file.path}: was changed while it was being converted, so that the functaset would be of no "
                "archive that exists; convert again into an empty path"
            )

    def has_column(self, path: str) -> bool:
        """Whether there is a column, or a field of a struct, by the names down to it joined by dots."""
        found = (self._metadata.schema.column(k).path for k in range(self._metadata.num_columns))
        return any(leaf == path or leaf.startswith(f"{path}.") for leaf in found)

    def batches(self, columns: Sequence[str], start: int = 0, stop: int | None = None) -> Iterator[Any]:
        """Some columns of rows `start` to `stop`, a row group at a time, as `pyarrow.Table`s.

        Raises:
            ArchiveError: If they cannot be decoded.
        """
        stop = self.num_rows if stop is None else stop
        for group in range(len(self.group_rows) - 1):
            low, high = int(self.group_rows[group]), int(self.group_rows[group + 1])
            if high <= start or low >= stop:
                continue
            table = self.read_group(group, columns)
            yield table.slice(max(0, start - low), min(stop, high) - max(start, low))

    def read_group(self, group: int, columns: Sequence[str]) -> Any:
        """Some columns of one row group, as a `pyarrow.Table`.

        Raises:
            MemberError: If they cannot be decoded, or unpack to more than memory should hold; the reason alone.
        """
        chunks = self._groups[group].chunks
        paths = [self._metadata.schema.column(k).path for k in range(len(chunks))]
        taken = [any(path == name or path.startswith(f"{name}.") for name in columns) for path in paths]
        size = sum(
            max(chunks[k].unpacked, chunks[k].packed, _VALUE_BYTES * chunks[k].values)  # some say one a million times
            for k in np.flatnonzero(taken).tolist()
        )
        if size > _MOST_GROUP_BYTES:
            raise MemberError(
                f"is in a row group of {size} bytes, more than the {_MOST_GROUP_BYTES} that are held in memory; write "
                "the file again with fewer rows in a group"
            )
        take_room(size)
        try:
            table = self._reader().read_row_group(group, columns=list(columns), use_threads=False)
            table.validate(full=True)  # offsets and numbers of dictionaries are believed otherwise
        except Exception as error:  # pyarrow raises nearly anything on damaged data, and what a server says comes along
            raise MemberError(f"is in a row group that cannot be decoded: {shown(str(error))}") from error
        if table.num_rows != self._groups[group].rows or table.num_columns != len(columns):
            raise MemberError(f"is in a damaged row group: {table.num_rows} of {self._groups[group].rows} rows")
        return table

    def _reader(self) -> Any:
        """One per thread: they share a position."""
        if not hasattr(self._own, "reader"):
            import pyarrow as pa
            import pyarrow.parquet as pq

            file = pa.PythonFile(_Stream(self._file), mode="r")
            texts = [
                field.name for field in self.schema if str(field.type) in ("string", "large_string", "string_view")
            ]
            self._own.reader = pq.ParquetFile(file, metadata=self._metadata, pre_buffer=True, read_dictionary=texts)
        return self._own.reader

    def values(self, path: str) -> "BytesColumn":
        """A column of bytes or texts, which may be a field of a struct, by the names down to it joined by dots.

        Raises:
            ArchiveError: If there is none, or it is compressed in a way that cannot be read.
        """
        schema = self._metadata.schema
        leaf = next((k for k in range(self._metadata.num_columns) if schema.column(k).path == path), None)
        if (
            leaf is None
            or schema.column(leaf).physical_type != "BYTE_ARRAY"
            or schema.column(leaf).max_repetition_level
        ):
            raise ArchiveError(f"{self._file.name}: has no column {path!r} of bytes, expected one as in other files")
        chunks = [group.chunks[leaf] for group in self._groups]
        if unknown := next((c.codec for c in chunks if not can_unpack(c.codec)), None):
            raise ArchiveError(
                f"{self._file.name}: column {path!r} has the compression number {unknown}, expected none, Snappy, "
                "gzip, Brotli, Zstandard or LZ4; write it with compression='zstd'"
            )
        spans = [(c.start, c.start + c.packed) for c in chunks]
        taken = [span for span, rows in zip(spans, np.diff(self.group_rows), strict=True) if rows]
        if any(not len(MAGIC) <= low <= high <= self._file.size for low, high in taken):
            raise ArchiveError(f"{self._file.name}: column {path!r} lies beyond the end of the file; fetch it again")
        codecs = [c.codec for c in chunks]
        return BytesColumn(self._file, self.group_rows, spans, codecs, schema.column(leaf).max_definition_level)


class BytesColumn:
    """Values of a column of bytes, read one by one; safe to call from threads.

    Of a column that is not compressed, as `datasets` writes images today, a value is read from where it lies in the
    file once its page was seen; of one that Snappy has compressed, pyarrow's default, the blocks of 64 KiB around it
    are unpacked. Of others the page is unpacked, and stays in memory for a while.

    Args:
        file: Where it is.
        group_rows: As for `ParquetTable`.
        spans: Where the column begins and ends in each row group.
        codecs: Compression of each.
        optional: As for `Leaf`.
    """

    def __init__(
        self,
        file: RandomAccess,
        group_rows: np.ndarray,
        spans: Sequence[tuple[int, int]],
        codecs: Sequence[int],
        optional: int,
    ) -> None:
        self._file, self._group_rows, self._spans = file, group_rows, spans
        self._leaves = [Leaf(codec=codec, optional=optional) for codec in codecs]
        self._pages: dict[int, Pages | str] = {}
        self._places: dict[int, np.ndarray] = {}
        self._blocks: dict[tuple[int, int], SnappyBlocks] = {}
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def read(self, row: int, kept: LRUCache[Any]) -> bytes | None:
        """The value of a row; None if it is null.

        Args:
            row: Of the file.
            kept: Unpacked pages.

        Raises:
            MemberError: If it cannot be read; the message is the reason alone.
        """
        group = int(np.searchsorted(self._group_rows, row, side="right")) - 1
        inside = row - int(self._group_rows[group])
        places = self._places.get(group)
        if places is not None and (place := int(places[inside, 0])):
            if place < 0:
                return None
            if (found := self._value_at(group, inside, place, int(places[inside, 1]))) is not None:
                return found
        with self._locks[group % _LOCKS]:  # threads that survey want the same page at once
            pages = self._pages_of(group, kept)
            page = int(np.searchsorted(pages.first_rows, inside, side="right")) - 1
            values = kept.get((id(self), group, page))
            if values is None:
                values = self._read_page(group, pages, page, kept)
                kept.put((id(self), group, page), values, values.nbytes)
        value = values[inside - int(pages.first_rows[page])]
        value = getattr(value, "value", value)  # of a dictionary's
        if value is None or not value.is_valid:
            return None
        data = value.as_buffer()
        check_size(data.size)
        return data.to_pybytes()

    def most_unpacked(self, kept: LRUCache[Any]) -> int:
        """Bytes of the largest page of the first row group, and of its dictionary, if a value cannot be read alone."""
        group = int(np.argmax(np.diff(self._group_rows) > 0))
        try:
            pages = self._pages_of(group, kept)
        except MemberError:  # of which a reject says more
            return 0
        if self._leaves[group].codec in (UNCOMPRESSED, SNAPPY) and pages.dictionary is None:
            return 0
        return int(pages.unpacked.max(initial=0)) + (0 if pages.dictionary is None else pages.dictionary[2])

    def _value_at(self, group: int, inside: int, place: int, length: int) -> bytes | None:
        """A value whose place in its file, or in its unpacked page, is known; None if it is not there alone."""
        check_size(length)
        if self._leaves[group].codec == UNCOMPRESSED:
            take_room(2 * length)
            data = self._file.read_at(place - LENGTH_BYTES, LENGTH_BYTES + length)
            return data[LENGTH_BYTES:] if int.from_bytes(data[:LENGTH_BYTES], "little") == length else None
        pages = self._pages[group]
        if isinstance(pages, str):
            raise MemberError(pages)
        page = int(np.searchsorted(pages.first_rows, inside, side="right")) - 1
        blocks = self._blocks[group, page]
        start, stop = blocks.span(place - LENGTH_BYTES, place + length)
        take_room(stop - start + 2 * (length + 2 * BLOCK))
        part = self._file.read_at(int(pages.contents[page]) + start, stop - start)
        data = blocks.unpack(part, place - LENGTH_BYTES, place + length)
        if data is None or int.from_bytes(data[:LENGTH_BYTES], "little") != length:
            return None
        return data[LENGTH_BYTES:]

    def _pages_of(self, group: int, kept: LRUCache[Any]) -> Pages:
        if group not in self._pages:
            start, stop = self._spans[group]
            rows = int(self._group_rows[group + 1] - self._group_rows[group])
            try:
                if not isinstance(self._file, RandomFile) and stop - start <= _FETCHED_AT_ONCE:
                    take_room(stop - start)
                    kept.put((id(self), group, _CHUNK), self._file.read_at(start, stop - start), stop - start)
                self._pages[group] = find_pages(self._seen(group, kept), start, stop, rows)
            except MemberError as error:
                self._pages[group] = str(error)
        found = self._pages[group]
        if isinstance(found, str):
            raise MemberError(found)
        return found

    def _seen(self, group: int, kept: LRUCache[Any]) -> ReadAt:
        """How a column chunk is read: one on a server that was fetched as a whole, since its pages were not known."""
        chunk, (start, stop) = kept.get((id(self), group, _CHUNK)), self._spans[group]

        def read_at(offset: int, count: int) -> bytes:
            if chunk is None or offset + count > stop:
                return self._file.read_at(offset, count)
            return chunk[offset - start : offset - start + count]

        return read_at

    def _read_page(self, group: int, pages: Pages, page: int, kept: LRUCache[Any]) -> Any:
        leaf = self._leaves[group]
        values = read_page(self._seen(group, kept), pages, page, leaf)
        if pages.encodings[page] != PLAIN or (group, page) in self._blocks:
            return values
        if leaf.codec == UNCOMPRESSED:
            places = places_in_page(int(pages.offsets[page] + pages.lengths[page]), values)
        elif leaf.codec == SNAPPY and pages.contents[page]:
            start = int(pages.contents[page])
            stream = self._seen(group, kept)(start, int(pages.offsets[page] + pages.lengths[page]) - start)
            if (blocks := find_blocks(stream)) is None:
                return values
            self._blocks[group, page] = blocks
            places = places_in_page(blocks.size, values)
        else:
            return values
        if group not in self._places:
            rows = int(self._group_rows[group + 1] - self._group_rows[group])
            self._places[group] = np.zeros((rows, 2), np.int64)  # 0 is not known yet
        first = int(pages.first_rows[page])
        self._places[group][first : first + len(places)] = places
        return values


class _Stream(io.RawIOBase):
    """A file as Python's streams are, for pyarrow."""

    def __init__(self, file: RandomAccess) -> None:
        self._file, self._position = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._file.size - self._position)
        data = self._file.read_at(self._position, left if size < 0 else min(size, left))
        self._position += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _footer(file: RandomAccess) -> bytes:
    """The footer of a Parquet file, its length and magic behind it.

    Raises:
        ArchiveError: If there is none.
    """
    try:
        head = file.read_at(0, min(file.size, len(_LFS)))
        if head.startswith(_LFS):
            raise ArchiveError(
                f"{file.name}: is a pointer of Git LFS, not the file itself; run `git lfs pull`, or fetch the data set "
                "by `hf download --repo-type dataset NAME`"
            )
        tail = file.read_at(file.size - _TAIL, _TAIL) if file.size > 2 * len(MAGIC) + _TAIL else b""
        if not head.startswith(MAGIC) or tail[4:] != MAGIC:
            encrypted = ": it is encrypted" if tail[4:] == b"PARE" else ""
            raise ArchiveError(
                f"{file.name}: is no Parquet file, or is truncated{encrypted}; it starts with {head[:8]!r} and ends "
                f"with {tail[4:]!r}, expected {MAGIC!r} at both ends"
            )
        length = int.from_bytes(tail[:4], "little")
        if length > min(_MOST_FOOTER, file.size - len(MAGIC) - _TAIL):
            raise ArchiveError(
                f"{file.name}: says that its footer has {length} bytes, more than can be; fetch it again"
            )
        return file.read_at(file.size - _TAIL - length, length + _TAIL)
    except MemberError as error:
        raise ArchiveError(f"{file.name}: {error}") from error


def _parsed(file: RandomAccess, footer: bytes) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_metadata(pa.BufferReader(MAGIC + footer))
    except Exception as error:  # pyarrow raises nearly anything on damaged data
        raise ArchiveError(f"{file.name}: has a damaged footer: {shown(str(error))}; fetch it again") from error


class _Chunk(NamedTuple):
    """One column of one row group.

    Attributes:
        codec: Number of its compression.
        values: How many, those of lists one by one.
        unpacked: Bytes once it is unpacked.
        packed: Bytes in the file.
        start: Where it begins.
    """

    codec: int
    values: int
    unpacked: int
    packed: int
    start: int


class _Group(NamedTuple):
    """A row group."""

    rows: int
    chunks: Sequence[_Chunk]


def _groups(name: str, footer: bytes, num_columns: int) -> list[_Group]:
    """Row groups as the footer has them: pyarrow ends the process if some of what it says of columns is damaged.

    Raises:
        ArchiveError: If it is.
    """
    try:
        listed = read_struct(footer, 0)[0].get(_ROW_GROUPS, [])
        found = [_group(group) for group in listed]
    except (IndexError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ArchiveError(f"{name}: has a damaged footer: {shown(str(error))}; fetch it again") from error
    if any(len(group.chunks) != num_columns for group in found):
        raise ArchiveError(f"{name}: has a damaged footer: row groups have other columns than it; fetch it again")
    return found


_ROW_GROUPS = 4


def _group(fields: Mapping[int, Any]) -> _Group:
    chunks = []
    for column in fields[1]:
        said = column[3]
        codec, values, unpacked, packed = (said[number] for number in (4, 5, 6, 7))
        pages = [number for number in (said[9], said.get(11)) if number]
        if not all(
            isinstance(number, int) and 0 <= number < 1 << 62 for number in (codec, values, unpacked, packed, *pages)
        ):
            raise ValueError("sizes of a column are none")
        chunks.append(_Chunk(codec, values, unpacked, packed, min(pages, default=0)))
    if not isinstance(rows := fields[3], int):
        raise ValueError("the number of rows is none")
    return _Group(rows, tuple(chunks))


def _features(metadata: Mapping[bytes, bytes], name: str) -> Mapping[str, Any]:
    """Features of columns by name, as `datasets` keeps them in JSON."""
    if (text := metadata.get(b"huggingface")) is None:
        return {}
    try:
        found = json.loads(text)["info"]["features"]
        if not isinstance(found, dict):
            raise TypeError(type(found).__name__)
        return found
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArchiveError(f"{name}: its metadata 'huggingface' has no features: {shown(str(error))}") from error


def stem_of(member: str) -> str:
    """A file's name without folders and suffix."""
    return posixpath.splitext(posixpath.basename(member))[0]

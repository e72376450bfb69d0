"""Parquet files on a disk or a web server: footers, and columns by row group."""

import hashlib
import io
import json
import posixpath
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from converters.archives.archive import file_sha256
from converters.archives.memory_share import take_room
from converters.archives.packed import RandomBytes
from converters.archives.plain_files import FileStamps
from converters.archives.remote_file import RemoteFile
from converters.tables.bytes_column import BytesColumn
from converters.tables.parquet_pages import (
    MAGIC,
    can_unpack,
)
from converters.tables.thrift import read_struct
from functa_store.errors import ArchiveError, MemberError
from functa_store.support.optional import require
from functa_store.support.shortening import shown

_MOST_FOOTER, _TAIL = 1 << 26, 8
_MOST_ROWS, _ALWAYS_ROWS = 1 << 26, 1 << 16
_MOST_GROUP_BYTES = 1 << 30
_LFS = b"version https://git-lfs"
_VALUE_BYTES = 8


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

    def __init__(self, file: RandomBytes, place: str) -> None:
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
        if whole and not isinstance(self._file, RemoteFile):
            return file_sha256(self._file.path)
        return hashlib.sha256(self._footer + str(self._file.size).encode()).hexdigest()

    def stamps(self) -> FileStamps | None:
        """What tells whether a file of a disk is changed."""
        return None if isinstance(self._file, RemoteFile) else FileStamps([self._file.path])

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

    def values(self, path: str) -> BytesColumn:
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


class _Stream(io.RawIOBase):
    """A file as Python's streams are, for pyarrow."""

    def __init__(self, file: RandomBytes) -> None:
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


def _footer(file: RandomBytes) -> bytes:
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


def _parsed(file: RandomBytes, footer: bytes) -> Any:
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

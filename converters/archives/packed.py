"""Directories of zip and tar files: where each member lies."""

import os
import struct
import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

from converters.archives.plain_files import base_name, open_plain, shown
from converters.archives.tar_headers import tar_members
from functa_store.errors import ArchiveError, MemberError

STORED, DEFLATED = 0, 8

# PKWARE's APPNOTE.TXT, sections 4.3.12, 4.3.14, 4.3.15 and 4.3.16.
_ENTRY_MAGIC = b"PK\1\2"
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_END = struct.Struct("<4s4H2LH")
_LONGEST_COMMENT = 0xFFFF
_LONGEST_RECORD = _CENTRAL.size + 3 * 0xFFFF
_WINDOW = 1 << 20
_LOCAL = struct.Struct("<4s22x2H")
LOCAL_HEADER = _LOCAL.size
"""Bytes of a zip's header before each member, its name and more of unknown length left out."""
_IN_EXTRA = 0xFFFFFFFF
_ENCRYPTED = 0x1


class Entry(NamedTuple):
    """One file inside a packed archive, as the archive's directory describes it.

    Attributes:
        name: As stored, not yet checked.
        problem: Why it cannot be read although it is listed, or None.
        offset: Of its local header (zip) or of its first byte (tar).
        stored: Bytes that it takes in the archive.
        size: Bytes that it has once read.
        method: `STORED` or `DEFLATED`.
        crc: CRC-32 of its bytes; 0 in a tar, which has none.
    """

    name: bytes
    problem: str | None
    offset: int
    stored: int
    size: int
    method: int = STORED
    crc: int = 0


class RandomFile:
    """A file that many threads, and processes forked or pickled to, read at once.

    `os.pread` moves no shared position, so there is nothing to lock.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = base_name(path)
        self._handle = open_plain(path)
        self.size = os.fstat(self._handle).st_size
        weakref.finalize(self, os.close, self._handle)

    def __reduce__(self) -> tuple[Any, ...]:
        return RandomFile, (self.path,)

    def read_at(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes.

        Raises:
            MemberError: If the file ends before that, or the disk fails.
        """
        if offset + count > self.size:
            raise MemberError(f"reaches to byte {offset + count}, but the archive ends at {self.size}: truncated")
        try:
            data = os.pread(self._handle, count, offset)
            while len(data) < count and (more := os.pread(self._handle, count - len(data), offset + len(data))):
                data += more  # Linux hands out at most 2 GiB a call, network file systems less
        except OSError as error:
            raise MemberError(f"cannot be read: {error.strerror}") from error
        if len(data) < count:
            raise MemberError("cannot be read: the archive has shrunk since it was opened")
        return data


def zip_entries(file: RandomFile) -> Iterator[Entry]:
    """The files of a zip, from its central directory.

    The standard library's `ZipFile` keeps some 600 bytes per member and gives up on the
    whole archive over one name that is not UTF-8; this keeps nothing.

    Raises:
        ArchiveError: If the directory is missing or damaged, or a member is encrypted.
    """
    start, size, count, start_of_zip = _find_directory(file)
    position, found, read, window = 0, 0, 0, b""
    while True:
        if len(window) - position < _LONGEST_RECORD and read < size:
            more = min(_WINDOW, size - read)
            window, position, read = window[position:] + file.read_at(start + read, more), 0, read + more
        if len(window) - position < _CENTRAL.size:
            break
        fields = _CENTRAL.unpack_from(window, position)
        name_end = position + _CENTRAL.size + fields[10]
        if fields[0] != _ENTRY_MAGIC:
            break
        name = window[position + _CENTRAL.size : name_end]
        extra = window[name_end : name_end + fields[11]]
        position, found = name_end + fields[11] + fields[12], found + 1
        if not name.endswith(b"/"):
            yield _zip_entry(file, name, fields, extra, start_of_zip)
    if found != count or position != len(window) or read != size:
        raise ArchiveError(f"{file.name}: the zip's directory promises {count} members but lists {found}: damaged")


def content_start(file: RandomFile, offset: int) -> int:
    """Where the bytes of a zip's member begin.

    Args:
        file: The zip.
        offset: Of the member's local header.

    Raises:
        MemberError: If there is none.
    """
    magic, name_length, extra_length = _LOCAL.unpack(file.read_at(offset, LOCAL_HEADER))
    if magic != b"PK\3\4":
        raise MemberError("is damaged inside the zip: its header is missing")
    return offset + LOCAL_HEADER + name_length + extra_length


def most_members(file: RandomFile) -> int:
    """How many members the directory of a zip has at most, whatever its end record says.

    Raises:
        ArchiveError: If it has no directory.
    """
    start, size, _, _ = _find_directory(file)
    count, overlap = 0, len(_ENTRY_MAGIC) - 1
    for place in range(0, size, _WINDOW):
        begin = max(0, place - overlap)
        count += file.read_at(start + begin, min(size, place + _WINDOW) - begin).count(_ENTRY_MAGIC)
    return count


def _zip_entry(file: RandomFile, name: bytes, fields: tuple[Any, ...], extra: bytes, start_of_zip: int) -> Entry:
    flags, method, crc, stored, size, attributes, offset = (*fields[3:5], *fields[7:10], *fields[15:17])
    if flags & _ENCRYPTED:
        raise ArchiveError(
            f"{file.name}: member {shown(name.decode(errors='backslashreplace'))} is encrypted; "
            "functa-store asks for no passwords: unpack the zip and convert the folder"
        )
    size, stored, offset = _long_fields(extra, [size, stored, offset])
    problem = None
    if attributes >> 28 == 0xA:
        problem = "is a symbolic link"
    elif method not in (STORED, DEFLATED):
        problem = f"has compression method {method}; stored (0) and deflated (8) can be read"
    return Entry(name, problem, start_of_zip + offset, stored, size, method, crc)


def _long_fields(extra: bytes, values: list[int]) -> list[int]:
    """Sizes and offset with those that need 64 bits taken from the extra field."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1:
            longs = iter(struct.unpack_from(f"<{min(length, len(extra) - 4) // 8}Q", extra, 4))
            return [next(longs, v) if v == _IN_EXTRA else v for v in values]
        extra = extra[4 + length :]
    return values


def _find_directory(file: RandomFile) -> tuple[int, int, int, int]:
    """Start, bytes and members of the central directory, and where the zip itself starts.

    A zip may follow something else in its file; the directory ends where the end record
    starts, which tells how far all offsets are off.
    """
    end, end64 = _end_records(file)
    count, size, declared, stop = (end[4], end[5], end[6], end[-1]) if end64 is None else end64[7:]
    start = stop - size
    if start < declared:
        raise ArchiveError(f"{file.name}: the zip's directory lies outside the file: damaged; fetch it again")
    return start, size, count, start - declared


def _end_records(file: RandomFile) -> tuple[tuple[Any, ...], tuple[Any, ...] | None]:
    """Fields of the end record and of its 64-bit twin, if there is one, each followed by its position."""
    tail_start = max(0, file.size - _END.size - _LONGEST_COMMENT)
    tail = file.read_at(tail_start, file.size - tail_start)
    found = tail.rfind(b"PK\5\6", 0, len(tail) - _END.size + 4)
    if found < 0:
        raise ArchiveError(
            f"{file.name}: the zip is truncated: its directory, which ends the file, is missing; fetch it again"
        )
    position = tail_start + found
    end = (*_END.unpack_from(tail, found), position)
    before = position - _LOCATOR64.size - _END64.size
    if before < 0 or file.read_at(before + _END64.size, 4) != b"PK\6\7":
        return end, None
    return end, (*_END64.unpack(file.read_at(before, _END64.size)), before)


class _FileCursor:
    """A place in a file; see `converters.archives.tar_headers.Cursor`."""

    def __init__(self, file: RandomFile) -> None:
        self.name, self.position, self._file = file.name, 0, file

    def read(self, count: int) -> bytes:
        data = self._file.read_at(self.position, min(count, self._file.size - self.position))
        self.position += len(data)
        return data

    def skip_to(self, position: int) -> None:
        if position > self._file.size:
            raise ArchiveError(
                f"{self.name}: the tar is damaged or truncated: a member reaches to byte {position}, but the file "
                f"ends at {self._file.size}; fetch it again"
            )
        self.position = position


def tar_entries(file: RandomFile) -> Iterator[Entry]:
    """The files of an uncompressed tar, from one walk over its headers.

    Raises:
        ArchiveError: If the tar is damaged or truncated.
    """
    for member in tar_members(_FileCursor(file)):
        yield Entry(member.name, member.problem, member.offset, member.size, member.size)

"""Walk over the headers of a tar, with bounds that a hostile one cannot pass.

The standard library's `tarfile` keeps extended headers of any size, recurses through them, follows negative sizes
backwards and never ends on some (CVE-2025-8194, CVE-2024-6232). Every step here goes forward.
"""

import tarfile
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol, runtime_checkable

from functa_store.errors import ArchiveError

BLOCK = 512
MAX_EXTENSION = 1 << 20
"""Bytes of an extended header: a long name, or records of pax."""

_LONG = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_EXTENSIONS = (*_LONG, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_MOST_DIGITS = 19  # of a number below 2**63, about
_SPARSE = b"GNU.sparse."
_NEGATIVE = bytes(range(128, 256))


@runtime_checkable
class Cursor(Protocol):
    """A place in the bytes of a tar.

    Attributes:
        name: Of the archive, for messages.
        position: Bytes before the place.
    """

    name: str
    position: int

    def read(self, count: int) -> bytes:
        """The next bytes, fewer only where the tar ends."""
        ...

    def skip_to(self, position: int) -> None:
        """Go forward.

        Raises:
            ArchiveError: If the tar ends before that.
        """
        ...


class _Header(NamedTuple):
    """One block of a tar that is a header: name, size and type."""

    name: bytes
    size: int
    type: bytes


class TarMember(NamedTuple):
    """A file in a tar.

    Attributes:
        name: As stored.
        problem: Why it cannot be read, or None.
        offset: Of its first byte.
        size: Its bytes.
    """

    name: bytes
    problem: str | None
    offset: int
    size: int


def tar_members(cursor: Cursor) -> Iterator[TarMember]:
    """The files of a tar, folders left out. At each, the cursor is at its first byte, and may be moved over its bytes.

    Raises:
        ArchiveError: If the tar is damaged or truncated.
    """
    shared: dict[bytes, bytes] = {}  # from global headers of pax
    own: dict[bytes, bytes] = {}
    problem, extended = None, False
    while (info := _next_header(cursor, extended)) is not None:
        if extended := info.type in _EXTENSIONS:
            stop = _end(cursor.position, info.size)
            if info.size <= MAX_EXTENSION:
                _extend(shared if info.type == tarfile.XGLTYPE else own, info, cursor)
            elif info.type != tarfile.GNUTYPE_LONGLINK:
                problem = f"has an extended header of {info.size} bytes, more than the {MAX_EXTENSION} that are read"
        else:
            member, stop = _member(cursor, info, shared | own, problem)
            own, problem = {}, None
            if member is not None:
                yield member
        cursor.skip_to(stop)


def _next_header(cursor: Cursor, extended: bool) -> _Header | None:
    """The next block as a header, or None at the end."""
    start = cursor.position
    block = cursor.read(BLOCK)
    if len(block) in (0, BLOCK) and not any(block) and not extended:
        return None
    if len(block) < BLOCK:
        raise _damaged(cursor.name, start, "it is truncated")
    header = _parse(block)
    if header is None:
        raise _damaged(cursor.name, start, "its checksum or size is wrong")
    if header.type == tarfile.GNUTYPE_SPARSE and block[482]:
        while _exactly(cursor, BLOCK)[504]:  # says whether another block of its map follows
            pass
    return header


def _parse(block: bytes) -> _Header | None:
    """What a block says, or None if it is no header."""
    size, checksum = _number(block[124:136]), _number(block[148:156])
    unsigned = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    if size is None or checksum is None or not any(block):
        return None
    if checksum != unsigned:  # some old writers counted bytes as signed
        others = block[:148] + block[156:]
        if checksum != unsigned - 256 * (len(others) - len(others.translate(None, _NEGATIVE))):
            return None
    name, kind = block[:100].partition(b"\0")[0], block[156:157]
    prefix = block[345:500].partition(b"\0")[0]
    if prefix and kind not in (*_LONG, tarfile.GNUTYPE_SPARSE):
        name = prefix + b"/" + name
    return _Header(name, size, kind)


def _number(field: bytes) -> int | None:
    """Octal digits, or the bytes of a number behind one of 128; None for anything else, also a number below 0."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.partition(b"\0")[0].strip(b" ")
    return None if digits.strip(b"01234567") else int(digits or b"0", 8)


def _extend(fields: dict[bytes, bytes], info: _Header, cursor: Cursor) -> None:
    """Note what an extended header says about the member that follows."""
    start, data = cursor.position - BLOCK, _exactly(cursor, info.size)
    if info.type in _LONG:
        if info.type == tarfile.GNUTYPE_LONGNAME:
            fields[b"path"] = data.partition(b"\0")[0]
        return
    position = 0
    while position < len(data) and data[position]:
        space = data.find(b" ", position, position + _MOST_DIGITS)
        digits = data[position:space] if space > position else b""
        end = position + int(digits) if digits.isdigit() else 0
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not space < end <= len(data) or data[end - 1 : end] != b"\n" or not equals:
            raise _damaged(cursor.name, start, "a record of its extended header is none")
        if key in (b"path", b"size") or key.startswith(_SPARSE):
            fields[key] = value
        position = end


def _member(
    cursor: Cursor, info: _Header, fields: Mapping[bytes, bytes], problem: str | None
) -> tuple[TarMember | None, int]:
    """The file that a header and what extends it describe, None for a folder, and where the next header is."""
    name = fields.get(b"GNU.sparse.name") or fields.get(b"path") or info.name
    size = info.size
    if digits := fields.get(b"size"):
        if not digits.isdigit() or len(digits) > _MOST_DIGITS:
            raise _damaged(cursor.name, cursor.position - BLOCK, f"it has a size of {digits[:40]!r} bytes")
        size = int(digits)
    is_file = info.type in tarfile.REGULAR_TYPES
    has_data = is_file or info.type not in tarfile.SUPPORTED_TYPES
    stop = _end(cursor.position, size) if has_data else cursor.position
    if info.type == tarfile.DIRTYPE or (info.type == tarfile.AREGTYPE and name.endswith(b"/")):
        return None, stop
    if not is_file or info.type == tarfile.GNUTYPE_SPARSE or any(key.startswith(_SPARSE) for key in fields):
        problem = problem or "is a link, device or sparse file"
    elif name.endswith(b"/"):
        problem = problem or "is a file by the name of a folder"
    return TarMember(name, problem, cursor.position, size), stop


def _exactly(cursor: Cursor, count: int) -> bytes:
    start = cursor.position
    if len(data := cursor.read(count)) < count:
        raise _damaged(cursor.name, start, "it is truncated")
    return data


def _end(start: int, size: int) -> int:
    """Where bytes end with those that fill up their last block."""
    return start + -(-size // BLOCK) * BLOCK


def _damaged(name: str, position: int, how: str) -> ArchiveError:
    return ArchiveError(f"{name}: the tar's header at byte {position} is damaged or truncated: {how}; fetch it again")

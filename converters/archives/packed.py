"""Directories of zip and tar files: where each member lies.

Headers of a tar are walked with bounds that a hostile one cannot pass. The standard library's `tarfile` keeps extended
headers of any size, recurses through them, follows negative sizes backwards and never ends on some (CVE-2025-8194,
CVE-2024-6232). Every step here goes forward.
"""

import bz2
import lzma
import os
import struct
import tarfile
import weakref
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from converters.archives.plain_files import base_name, open_plain
from functa_store.errors import ArchiveError, MemberError
from functa_store.support.shortening import shown

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


STORED, DEFLATED, BZIP2, LZMA = 0, 8, 12, 14
"""Compression methods of zips that are read (APPNOTE.TXT, section 4.4.5)."""

OTHER_METHODS = {
    1: "shrunk",
    6: "imploded",
    9: "Deflate64, as Windows packs files of 2 GB and more",
    93: "Zstandard",
    95: "xz",
    96: "JPEG",
    98: "PPMd",
    99: "AES encryption",
}
"""Names of those that are not."""

# PKWARE's APPNOTE.TXT, sections 4.3.12, 4.3.14, 4.3.15 and 4.3.16.
_ENTRY_MAGIC = b"PK\1\2"
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_END = struct.Struct("<4s4H2LH")
_LONGEST_COMMENT = 0xFFFF
_LONGEST_RECORD = _CENTRAL.size + 3 * 0xFFFF
_WINDOW = 1 << 20
_MODULUS = (
    1 << 16
)  # the macOS Finder writes more members than the 16 bits of their number hold, without the 64-bit record
_LOCAL = struct.Struct("<4s22x2H")
LOCAL_HEADER = _LOCAL.size
"""Bytes of a zip's header before each member, its name and more of unknown length left out."""
_IN_EXTRA = 0xFFFFFFFF
_ENCRYPTED, _UTF8 = 0x1, 0x800
_UNICODE_PATH = 0x7075  # Info-ZIP's: version, CRC-32 of the name as stored, name in UTF-8 (APPNOTE.TXT, section 4.6.9)
_WINDOWS = (0, 6, 10, 14)  # FAT, HPFS, NTFS and VFAT, where a backslash is no character of a name


class Entry(NamedTuple):
    """One file inside a packed archive, as the archive's directory describes it.

    Attributes:
        name: In UTF-8 where the archive says how it is encoded, not yet checked.
        problem: Why it cannot be read although it is listed, or None.
        offset: Of its local header (zip) or of its first byte (tar).
        stored: Bytes that it takes in the archive.
        size: Bytes that it has once read.
        method: One of `STORED`, `DEFLATED`, `BZIP2` and `LZMA`.
        crc: CRC-32 of its bytes; 0 in a tar, which has none.
    """

    name: bytes
    problem: str | None
    offset: int
    stored: int
    size: int
    method: int = STORED
    crc: int = 0


@runtime_checkable
class RandomBytes(Protocol):
    """Bytes that are read at any place, by many threads.

    Attributes:
        name: Of the file, for messages.
        path: Of the file that has them.
        size: How many there are.
    """

    name: str
    path: str
    size: int

    def read_at(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes.

        Raises:
            MemberError: If there are fewer, or the file cannot be read.
        """
        ...


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


def zip_entries(file: RandomBytes, *, backslashes: bool = False) -> Iterator[Entry]:
    """The files of a zip, from its central directory.

    The standard library's `ZipFile` keeps some 600 bytes per member; this keeps nothing. Names are decoded as it does,
    and as Info-ZIP's unzip does: UTF-8 where a flag or an extra field says so or where they are valid UTF-8 (macOS sets
    no flag), else code page 437. Backslashes of Windows are "/" (.NET wrote them until 4.6.1).

    Args:
        file: The zip.
        backslashes: Whether backslashes are "/" whatever system packed the zip.

    Raises:
        ArchiveError: If the directory is missing or damaged, or a member is encrypted.
    """
    start, size, count, start_of_zip, is_long = _find_directory(file)
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
        name = _decoded(name, fields[3], extra)
        if backslashes or fields[1] >> 8 in _WINDOWS:
            name = name.replace(b"\\", b"/")
        if not name.endswith(b"/"):
            yield _zip_entry(file, name, fields, extra, start_of_zip)
    if (found != count and (is_long or found % _MODULUS != count)) or position != len(window) or read != size:
        raise ArchiveError(f"{file.name}: the zip's directory promises {count} members but lists {found}: damaged")


def content_start(file: RandomBytes, offset: int) -> int:
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


def most_members(file: RandomBytes) -> int:
    """How many members the directory of a zip has at most, whatever its end record says.

    Raises:
        ArchiveError: If it has no directory.
    """
    start, size, *_ = _find_directory(file)
    count, overlap = 0, len(_ENTRY_MAGIC) - 1
    for place in range(0, size, _WINDOW):
        begin = max(0, place - overlap)
        count += file.read_at(start + begin, min(size, place + _WINDOW) - begin).count(_ENTRY_MAGIC)
    return count


def _zip_entry(file: RandomBytes, name: bytes, fields: tuple[Any, ...], extra: bytes, start_of_zip: int) -> Entry:
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
    elif method not in (STORED, DEFLATED, BZIP2, LZMA):
        kind = OTHER_METHODS.get(method, "which no list of them names")
        problem = (
            f"has compression method {method} ({kind}); stored, deflated, bzip2 and LZMA can be read: pack it anew"
        )
    return Entry(name, problem, start_of_zip + offset, stored, size, method, crc)


def _decoded(name: bytes, flags: int, extra: bytes) -> bytes:
    """A name as UTF-8; one that claims to be UTF-8 and is not stays as it is."""
    if flags & _UTF8:
        return name
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == _UNICODE_PATH and 5 <= length <= len(extra) - 4:
            version, crc = struct.unpack_from("<BL", extra, 4)
            if version == 1 and crc == zlib.crc32(name):
                return extra[9 : 4 + length]
        extra = extra[4 + length :]
    try:
        name.decode()
    except UnicodeDecodeError:
        return name.decode("cp437").encode()
    return name


def _long_fields(extra: bytes, values: list[int]) -> list[int]:
    """Sizes and offset with those that need 64 bits taken from the extra field."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1:
            longs = iter(struct.unpack_from(f"<{min(length, len(extra) - 4) // 8}Q", extra, 4))
            return [next(longs, v) if v == _IN_EXTRA else v for v in values]
        extra = extra[4 + length :]
    return values


def _find_directory(file: RandomBytes) -> tuple[int, int, int, int, bool]:
    """Start, bytes and members of the central directory, where the zip itself starts, and whether the number is exact.

    A zip may follow something else in its file; the directory ends where the end record
    starts, which tells how far all offsets are off.
    """
    end, end64 = _end_records(file)
    count, size, declared, stop = (end[4], end[5], end[6], end[-1]) if end64 is None else end64[7:]
    start = stop - size
    if start < declared:
        raise ArchiveError(f"{file.name}: the zip's directory lies outside the file: damaged; fetch it again")
    return start, size, count, start - declared, end64 is not None


def _end_records(file: RandomBytes) -> tuple[tuple[Any, ...], tuple[Any, ...] | None]:
    """Fields of the end record and of its 64-bit twin, if there is one, each followed by its position."""
    tail, found = _end_of(file)
    if found < 0:
        raise ArchiveError(
            f"{file.name}: the zip is truncated: its directory, which ends the file, is missing; fetch it again"
        )
    position = file.size - len(tail) + found
    end = (*_END.unpack_from(tail, found), position)
    if end[1] not in (0, 0xFFFF):
        raise ArchiveError(
            f"{file.name}: is the last part of a zip that was split into {end[1] + 1}; join them (zip -s 0 {file.name} "
            "--out whole.zip) and convert that"
        )
    before = position - _LOCATOR64.size - _END64.size
    if before < 0 or file.read_at(before + _END64.size, 4) != b"PK\6\7":
        return end, None
    return end, (*_END64.unpack(file.read_at(before, _END64.size)), before)


def _end_of(file: RandomBytes) -> tuple[bytes, int]:
    """The last bytes of a file, and where in them the end record of a zip is, below 0 if there is none."""
    start = max(0, file.size - _END.size - _LONGEST_COMMENT)
    tail = file.read_at(start, file.size - start)
    return tail, tail.rfind(b"PK\5\6", 0, len(tail) - _END.size + 4)


def ends_as_zip(file: RandomBytes) -> bool:
    """Whether a file of some other beginning ends with the directory of a zip, as one behind a program does."""
    tail, found = _end_of(file)
    if found < 0 or found + _END.size + _END.unpack_from(tail, found)[-1] != len(tail):
        return False
    try:
        start, size, *_ = _find_directory(file)
        return size > 0 and file.read_at(start, len(_ENTRY_MAGIC)) == _ENTRY_MAGIC
    except ArchiveError:
        return False


def unpacked(data: bytes, method: int, size: int) -> bytes:
    """Bytes of a zip's member, `size` + 1 of them at most, whatever more its bytes unpack to.

    Raises:
        MemberError: If they are damaged.
    """
    if method == STORED:
        return data
    try:
        if method == DEFLATED:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
        if method == BZIP2:
            return bz2.BZ2Decompressor().decompress(data, size + 1)
        return _lzma_decompressor(data).decompress(data[9:], size + 1)
    except (zlib.error, OSError, EOFError, ValueError, struct.error, lzma.LZMAError) as error:
        raise MemberError(f"is damaged inside the zip: {error}") from error


MOST_DICTIONARY = 1 << 26
"""Bytes of LZMA's dictionary, which is taken before anything is unpacked; the usual 7-Zip writes up to 2**25."""


def _lzma_decompressor(data: bytes) -> lzma.LZMADecompressor:
    """One for what follows the two bytes of a version and the properties (APPNOTE.TXT, section 5.8.8)."""
    length = struct.unpack_from("<2xH", data)[0]
    if length != 5 or len(data) < 9:
        raise ValueError(f"its LZMA properties have {length} bytes, expected 5")
    packed, dictionary = struct.unpack_from("<BL", data, 4)
    if packed >= 9 * 5 * 5 or dictionary > MOST_DICTIONARY:
        raise ValueError(f"its LZMA properties are {packed} with a dictionary of {dictionary} bytes, which is not read")
    pb, lp, lc = packed // 45, packed // 9 % 5, packed % 9
    chain = {"id": lzma.FILTER_LZMA1, "dict_size": dictionary, "lc": lc, "lp": lp, "pb": pb}
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[chain])


class _FileCursor:
    """A place in a file; see `converters.archives.packed.Cursor`."""

    def __init__(self, file: RandomBytes) -> None:
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


def tar_entries(file: RandomBytes) -> Iterator[Entry]:
    """The files of an uncompressed tar, from one walk over its headers.

    Raises:
        ArchiveError: If the tar is damaged or truncated.
    """
    for member in tar_members(_FileCursor(file)):
        yield Entry(member.name, member.problem, member.offset, member.size, member.size)

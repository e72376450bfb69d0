"""Random access to members of archives, also to what a gzip file or a deflated member of a zip unpacks to.

DEFLATE can only be read from its beginning: what comes next depends on the last 32 KiB. A decoder can be copied with
these, though, so that reading goes on from the nearest copy. Whole blocks that were read lately are kept, too: a file
that fits there is unpacked once.
"""

import itertools
import os
import threading
import zlib
from typing import Any

from converters.archives.archive import OneFile, PlacedArchive, TarArchive, open_archive
from converters.archives.packed import DEFLATED, STORED, RandomBytes, RandomFile
from converters.archives.plain_files import checked_path
from functa_store.errors import ArchiveError, MemberError
from functa_store.support.memory import LRUCache

BLOCK = 1 << 20
"""Bytes that are unpacked and kept together."""

KEPT_BYTES = 1 << 28
"""Bytes of blocks that stay in memory, for all files of an archive together."""

MOST_STATES = 2048
"""Copies of a decoder, each of some 45 KB; of a longer file every second one is dropped, again and again."""

GZIP_MAGIC = b"\x1f\x8b"

_TAR_HEAD = 262
_READ = 1 << 16
_GZIP = 16 + zlib.MAX_WBITS

# What a file may become, whatever it says of itself: DEFLATE can make a thousand times as much of nothing.
_FREE_BYTES = 1 << 28
_MOST_GROWTH = 200

_numbers = itertools.count()  # tell the blocks of one file from those of others in the same cache


def open_placed(path: str | os.PathLike[str]) -> PlacedArchive:
    """The archive at a path, which may be a tar compressed by gzip, or any single file.

    Raises:
        ArchiveError: As for `converters.archives.archive.open_archive`.
    """
    path = checked_path(path)
    if not os.path.isfile(path):
        return open_archive(path)
    try:
        file = RandomFile(path)
        head = file.read_at(0, min(_TAR_HEAD, file.size))
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be read: {error.strerror}") from error
    if head.startswith(GZIP_MAGIC):
        unpacked = Inflated(file, is_gzip=True)
        is_tar = _is_tar(unpacked.read_at(0, min(_TAR_HEAD, unpacked.size)), path.removesuffix(".gz"))
        return TarArchive(unpacked) if is_tar else OneFile(path)
    return open_archive(path) if head.startswith(b"PK") or _is_tar(head, path) else OneFile(path)


def _is_tar(head: bytes, path: str) -> bool:
    return head[257:] == b"ustar" or path.endswith((".tar", ".tgz"))


def open_member(archive: PlacedArchive, member: str, kept: LRUCache[bytes]) -> RandomBytes:
    """The bytes of a member, unpacked if it is compressed by gzip, by itself or by the zip that it lies in.

    Args:
        archive: Has it.
        member: Its name.
        kept: Where blocks are kept.

    Raises:
        ArchiveError: If it is damaged, truncated, or compressed in another way, or twice.
    """
    where = f"{archive.name}/{member}" if member != archive.name else member
    try:
        place = archive.place(member)
        if place.method not in (STORED, DEFLATED):
            raise MemberError("is compressed by another method than DEFLATE, which offers no random access; unpack it")
        if place.method == DEFLATED:
            found = Inflated(place.file, place.start, place.stored, is_gzip=False, most=place.size, kept=kept)
            if (found.size, found.crc) != (place.size, place.crc):
                raise MemberError(f"is damaged inside the zip: {found.size} of {place.size} bytes, or its checksum")
            found.name = where
            if found.read_at(0, min(2, found.size)) == GZIP_MAGIC:
                raise MemberError("is compressed twice, by gzip and in the archive; unpack that and convert the folder")
            return found
        if place.file.read_at(place.start, min(2, place.stored)) == GZIP_MAGIC:
            found = Inflated(place.file, place.start, place.stored, is_gzip=True, kept=kept)
            found.name = where
            return found
        return _Slice(where, place.file, place.start, place.stored, place.crc)
    except MemberError as error:
        raise ArchiveError(f"{where}: {error}") from error
    except OSError as error:
        raise ArchiveError(f"{where}: cannot be read: {error.strerror}") from error


class _Slice:
    """A part of a file; see `RandomBytes`."""

    def __init__(self, name: str, file: RandomBytes, start: int, size: int, crc: int | None) -> None:
        self.name, self.path, self.size, self._file, self._start = name, file.path, size, file, start
        if crc is not None:
            found = 0
            for offset in range(0, size, BLOCK):
                found = zlib.crc32(self.read_at(offset, min(BLOCK, size - offset)), found)
            if found != crc:
                raise MemberError("is damaged inside the zip: its checksum is wrong")

    def read_at(self, offset: int, count: int) -> bytes:
        """See `RandomBytes.read_at`."""
        if offset < 0 or offset + count > self.size:
            raise MemberError(f"reaches to byte {offset + count}, but it ends at {self.size}: truncated")
        return self._file.read_at(self._start + offset, count)


def kept_blocks() -> LRUCache[bytes]:
    """Place for the blocks of an archive's files."""
    return LRUCache(KEPT_BYTES)


class Inflated:
    """Bytes that a part of a file unpacks to, read at any place; many threads may do so.

    It is unpacked once to its end when it is made, so that damage shows.

    Args:
        file: The file.
        start: Where the packed bytes begin.
        stored: How many there are; None takes all up to the file's end.
        is_gzip: Whether they are one or more members of gzip, and not a bare stream of DEFLATE.
        most: Bytes to unpack at most; None goes by how many are stored.
        kept: Where blocks are kept, for several files; None makes one of its own.

    Attributes:
        name: Last part of the file's path.
        path: Of the file.
        size: Bytes unpacked.
        crc: CRC-32 of them.

    Raises:
        ArchiveError: If it is damaged or truncated, or unpacks to more than that.
    """

    def __init__(
        self,
        file: RandomBytes,
        start: int = 0,
        stored: int | None = None,
        *,
        is_gzip: bool,
        most: int | None = None,
        kept: LRUCache[bytes] | None = None,
    ) -> None:
        self.path, self.name, self.size, self.crc = file.path, file.name, 0, 0
        self._file, self._start, self._end = file, start, file.size if stored is None else start + stored
        self._made = (file, start, stored, is_gzip, most)
        self._is_gzip, self._number = is_gzip, next(_numbers)
        self._blocks = kept_blocks() if kept is None else kept
        self._most = max(_FREE_BYTES, _MOST_GROWTH * (self._end - start)) if most is None else most
        self._lock, self._stride, self._states = threading.Lock(), 1, dict[int, _Decoder]()
        try:
            self._unpack_all()
        except MemberError as error:
            raise ArchiveError(f"{self.path}: {error}; fetch it again") from error

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, self._made

    def read_at(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes.

        Raises:
            MemberError: If there are fewer, or the file cannot be read any more.
        """
        if offset < 0 or offset + count > self.size:
            raise MemberError(f"reaches to byte {offset + count}, but what is unpacked ends at {self.size}: truncated")
        parts = []
        while count:
            number, begin = divmod(offset, BLOCK)
            part = self._block(number)[begin : begin + count]
            if not part:
                raise MemberError("cannot be unpacked: the file was changed since it was opened")
            parts.append(part)
            offset, count = offset + len(part), count - len(part)
        return b"".join(parts)

    def _unpack_all(self) -> None:
        decoder = _Decoder(self._file, self._start, self._end, self._is_gzip)
        number = 0
        while True:
            if number % self._stride == 0:
                self._states[number] = decoder.copy()
            if len(self._states) > MOST_STATES:
                self._stride *= 2
                self._states = {k: state for k, state in self._states.items() if k % self._stride == 0}
            block = decoder.read(BLOCK)
            self.size, self.crc = self.size + len(block), zlib.crc32(block, self.crc)
            if self.size > self._most:
                raise ArchiveError(
                    f"{self.path}: unpacks to more than {self._most} bytes, which is out of all proportion to its "
                    "size; if you trust it, unpack it yourself and convert that"
                )
            if not block:
                return
            self._keep(number, block)
            number += 1

    def _keep(self, number: int, block: bytes) -> None:
        self._blocks.put((self._number, number), block, len(block))

    def _block(self, number: int) -> bytes:
        if (kept := self._blocks.get((self._number, number))) is not None:
            return kept
        with self._lock:
            if (kept := self._blocks.get((self._number, number))) is not None:
                return kept
            nearest = number // self._stride * self._stride
            decoder, block = self._states[nearest].copy(), b""
            for passed in range(nearest, number + 1):
                block = decoder.read(BLOCK)
                self._keep(passed, block)
            return block


def _again(file: RandomBytes, start: int, stored: int | None, is_gzip: bool, most: int | None) -> Inflated:
    return Inflated(file, start, stored, is_gzip=is_gzip, most=most)


class _Decoder:
    """A place in what packed bytes unpack to."""

    def __init__(self, file: RandomBytes, position: int, end: int, is_gzip: bool) -> None:
        self._file, self._position, self._end, self._is_gzip = file, position, end, is_gzip
        self._rest = b""
        self._stream = zlib.decompressobj(_GZIP if is_gzip else -zlib.MAX_WBITS)

    def copy(self) -> "_Decoder":
        """Another one at the same place."""
        twin = object.__new__(_Decoder)
        twin.__dict__.update(self.__dict__)
        twin._stream = self._stream.copy()
        return twin

    def read(self, count: int) -> bytes:
        """The next bytes, fewer only at the end.

        Raises:
            MemberError: If they are damaged or truncated.
        """
        parts = []
        while count:
            if self._stream.eof and not self._next_member():
                break
            if not self._rest:
                self._rest = self._more()
            try:
                part = self._stream.decompress(self._rest, count)
            except zlib.error as error:
                raise MemberError(f"is damaged: {error}") from error
            if not self._rest and not part and not self._stream.eof:
                raise MemberError("is truncated: what is packed does not end")
            self._rest = self._stream.unconsumed_tail or self._stream.unused_data
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _more(self) -> bytes:
        data = self._file.read_at(self._position, min(_READ, self._end - self._position))
        self._position += len(data)
        return data

    def _next_member(self) -> bool:
        """Go on with another member of gzip, if one follows; zeros that fill up the end are none."""
        if not self._is_gzip:
            return False
        while not self._rest.lstrip(b"\0"):
            self._rest = self._more()
            if not self._rest:
                return False
        self._rest = self._rest.lstrip(b"\0")
        self._stream = zlib.decompressobj(_GZIP)
        return True

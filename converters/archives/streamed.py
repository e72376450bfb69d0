"""Archives of shapes: tars compressed by gzip, read from front to back, folders of zips, and all others."""

import gzip
import os
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from converters.archives.archive import Archive, FolderArchive, file_sha256, open_archive
from converters.archives.archive_files import ArchiveFiles
from converters.archives.listing import Listing, check_size
from converters.archives.many_archives import is_remote, open_archives, open_folder_of_archives
from converters.archives.memory_share import take_room
from converters.archives.packed import Entry, TarMember, tar_members
from converters.archives.plain_files import FileStamps, base_name, checked_path, open_plain
from functa_store.errors import ArchiveError, MemberError

TEXT_SUFFIXES = (".json", ".csv")
MAX_TEXT_BYTES = 1 << 24
"""Longest text that is read, in bytes: what is made of it takes many times as much memory."""

_GZIP = b"\x1f\x8b"
_BLOCK = 1 << 20

# What a compressed tar may become, whatever it says of itself: gzip can make a thousand times as much of nothing.
_MOST_GROWTH = 200
_FREE_BYTES = 1 << 27
_FEWEST_BYTES_PER_MEMBER = 16  # names of models alone take more
_FREE_MEMBERS = 1 << 16


def open_shapes(files: ArchiveFiles) -> "Archive | StreamedTar":
    """The archive that files are.

    Args:
        files: A folder, a folder of zips (one per synset, as ShapeNetCore.v2 is published), a zip, a tar, or a
            tar compressed by gzip, such as ShapeNetVox32.tgz; or several of these but for compressed tars.

    Raises:
        ArchiveError: If it is missing, damaged, empty, or holds nothing but zips inside a zip or tar.
    """
    if len(files) > 1 or is_remote(files.paths[0]):
        return open_archives(files)
    path = checked_path(files.paths[0])
    if os.path.isfile(path) and _is_gzip(path):
        return StreamedTar(path)
    archive = open_archive(path)
    zips = [member for member in archive.members if member.endswith(".zip")]
    if not zips:
        return archive
    if isinstance(archive, FolderArchive):
        return open_folder_of_archives(path, archive, zips)
    if all(member.endswith((".zip", *TEXT_SUFFIXES, ".md", ".txt")) for member in archive.members):
        raise ArchiveError(
            f"{path}: holds {len(zips)} zips inside, such as {zips[0]}, which offer no random access; unpack the "
            "outer archive and convert the folder of zips"
        )
    return archive


def _is_gzip(path: str) -> bool:
    try:
        with open(open_plain(path), "rb") as file:
            return file.read(len(_GZIP)) == _GZIP
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be read: {error.strerror}") from error


class StreamedTar:
    """A tar compressed by gzip, which can only be read from front to back.

    Opening reads it once and keeps its listing and its small texts; `stream` reads it once more. No more than a
    member is in memory at a time.

    Args:
        path: The file.

    Attributes:
        name: Last part of its path.
        members: Names in code point order.
        rejects: Files that cannot be used.

    Raises:
        ArchiveError: If it is no tar, or is damaged, truncated or empty.
    """

    def __init__(self, path: str) -> None:
        self.name, self._path, self._stamps = base_name(path), path, FileStamps([path])
        self._texts: dict[str, bytes] = {}
        listing = Listing(self._entries())
        self.members, self.rejects = listing.names, listing.rejects
        if not self.members and not self.rejects:
            raise ArchiveError(f"{path}: the archive is empty")

    def read(self, member: str) -> bytes:
        """All bytes of a member: of a text at once, of another one by reading the file up to it.

        Raises:
            ArchiveError: If the file is damaged.
            MemberError: If it is not there.
        """
        if member in self._texts:
            return self._texts[member]
        for name, content in self.stream():
            if name == member:
                return content
        raise MemberError("is not in the archive")

    def stream(self) -> Iterator[tuple[str, bytes]]:
        """Name and bytes of every member, in the order of the file.

        Raises:
            ArchiveError: If the file is damaged.
        """
        known = set(self.members)
        for member, unpacked in self._walk():
            name = _name(member)
            if member.problem is None and name in known:
                take_room(2 * member.size)
                yield name, unpacked.content(member)

    def sha256(self) -> str:
        """Digest of the file."""
        return file_sha256(self._path)

    def check_unchanged(self) -> None:
        """See `Archive.check_unchanged`."""
        self._stamps.check()

    def _entries(self) -> Iterator[Entry]:
        room = MAX_TEXT_BYTES
        for member, unpacked in self._walk():
            problem = member.problem
            try:
                check_size(member.size)
            except MemberError as error:
                problem = problem or str(error)
            if problem is None and _name(member).endswith(TEXT_SUFFIXES) and member.size <= room:
                self._texts[_name(member)] = unpacked.content(member)
                room -= member.size
            yield Entry(member.name, problem, 0, member.size, member.size)

    def _walk(self) -> "Iterator[tuple[TarMember, _Unpacked]]":
        """Every file, and the tar, which is at its first byte."""
        try:
            descriptor = open_plain(self._path)
        except OSError as error:
            raise ArchiveError(f"{self._path}: cannot be read: {error.strerror}") from error
        with open(descriptor, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            unpacked = _Unpacked(self._path, file, _FREE_BYTES + _MOST_GROWTH * size)
            most = _FREE_MEMBERS + size // _FEWEST_BYTES_PER_MEMBER
            for count, member in enumerate(tar_members(unpacked)):
                if count == most:
                    raise _bomb(self._path, f"more than {most} members")
                yield member, unpacked
            while block := unpacked.read(_BLOCK):  # to the end, where gzip's checksum is
                if any(block):
                    raise _damaged(self._path, f"something follows the tar's end at byte {unpacked.position}")


class _Unpacked:
    """A place in what a compressed tar unpacks to; see `converters.archives.packed.Cursor`."""

    def __init__(self, path: str, file: BinaryIO, most: int) -> None:
        self.name, self.position, self._file, self._most = path, 0, gzip.GzipFile(fileobj=file), most

    def read(self, count: int) -> bytes:
        """See `Cursor.read`."""
        parts = []
        while count and (part := self._some(min(count, _BLOCK))):
            parts.append(part)
            count -= len(part)
            self.position += len(part)
            if self.position > self._most:
                raise _bomb(self.name, f"more than {self._most} bytes")
        return b"".join(parts)

    def skip_to(self, position: int) -> None:
        """See `Cursor.skip_to`."""
        while self.position < position:
            if not self.read(min(_BLOCK, position - self.position)):
                raise _damaged(self.name, f"it ends at byte {self.position}, before a member's end")

    def content(self, member: TarMember) -> bytes:
        """The bytes of the member that begins here."""
        if len(content := self.read(member.size)) < member.size:
            raise _damaged(self.name, f"it ends at byte {self.position}, before a member's end")
        return content

    def _some(self, count: int) -> bytes:
        try:
            return self._file.read(count)
        except (OSError, EOFError, zlib.error) as error:
            raise _damaged(self.name, str(error)) from error


def _damaged(path: str, how: str) -> ArchiveError:
    return ArchiveError(f"{path}: is no tar, or is damaged or truncated: {how}; fetch it again")


def _bomb(path: str, what: str) -> ArchiveError:
    return ArchiveError(
        f"{path}: unpacks to {what}, which is out of all proportion to its size; if you trust it, unpack it yourself "
        "and convert the folder"
    )


def _name(member: TarMember) -> str:
    """A member's name as `Listing` has it."""
    return member.name.decode("utf-8", "backslashreplace").removeprefix("./")

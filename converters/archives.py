"""How are the members of a folder, zip or tar read in any order without unpacking it?"""

import hashlib
import os
import posixpath
import struct
import zlib
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from converters.listing import Listing, check_size
from converters.packed import DEFLATED, Entry, RandomFile, tar_entries, zip_entries
from functa_store.errors import ArchiveError, MemberError
from functa_store.sources import Reject

_COMPRESSED = {
    b"\x1f\x8b": ("gzip", "gunzip -k"),
    b"BZh": ("bzip2", "bunzip2 -k"),
    b"\xfd7zXZ": ("xz", "unxz -k"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
}
# What a conversion into the folder itself writes, which a resumed one must not take for its archive.
_OUTPUTS = (".functa", ".functa.work", ".functa.log")


@runtime_checkable
class Archive(Protocol):
    """Random access to named members.

    Hidden files (".DS_Store", "__MACOSX/...") are no members.

    Attributes:
        name: Last part of the archive's path.
        members: Names in code point order, "/" between folders, each unique.
        rejects: Files whose names cannot be used or that cannot be read by their kind.
    """

    name: str
    members: list[str]
    rejects: list[Reject]

    def read(self, member: str) -> bytes:
        """All bytes of a member. Safe to call from threads.

        Raises:
            MemberError: If it is missing, damaged or too long; the message is the reason alone.
        """
        ...

    def sha256(self) -> str:
        """Hexadecimal digest that tells whether another copy is the same archive."""
        ...


def open_archive(path: str | os.PathLike[str]) -> Archive:
    """The archive at a path, whichever kind it is.

    Args:
        path: A folder (taken recursively), a zip, or an uncompressed tar.

    Returns:
        The archive; only its listing has been read.

    Raises:
        ArchiveError: If the path is missing, is no archive, or the archive is empty, truncated,
            encrypted or compressed as a whole.
    """
    path = os.path.abspath(path)
    if not os.path.exists(path):
        raise ArchiveError(f"{path}: no such file or folder")
    if not os.path.isdir(path) and not os.path.isfile(path):
        raise ArchiveError(f"{path}: found a pipe or device, expected a folder, a .zip or a .tar; save it as a file")
    try:
        archive = FolderArchive(path) if os.path.isdir(path) else _open_file(RandomFile(path))
    except OSError as error:
        raise ArchiveError(f"{error.filename or path}: cannot be read: {error.strerror}") from error
    if not archive.members and not archive.rejects:
        raise ArchiveError(f"{path}: the archive is empty")
    return archive


def _open_file(file: RandomFile) -> Archive:
    if file.size == 0:
        raise ArchiveError(f"{file.path}: the file is empty; fetch it again")
    head = file.read_at(0, min(512, file.size))
    for magic, (kind, command) in _COMPRESSED.items():
        if head.startswith(magic):
            raise ArchiveError(
                f"{file.path}: {kind} offers no random access, which learning needs; take off the compression "
                f"with `{command} {file.name}` and convert the .tar, which is read in place"
            )
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        return ZipArchive(file)
    if head[257:262] == b"ustar" or file.name.endswith(".tar"):
        return TarArchive(file)
    raise ArchiveError(f"{file.path}: starts with {head[:8]!r}, expected a folder, a .zip or a .tar")


class FolderArchive:
    """A folder and all folders below it, links to folders and what conversions wrote apart; see `Archive`."""

    def __init__(self, path: str) -> None:
        self.name = os.path.basename(path)
        self._path = path
        listing = Listing(self._entries())
        self.members, self.rejects = listing.names, listing.rejects

    def _entries(self) -> Iterator[Entry]:
        folders = [""]
        while folders:
            below = folders.pop()
            with os.scandir(os.path.join(self._path, below)) as entries:
                for entry in entries:
                    member = posixpath.join(below, entry.name)
                    if entry.name.startswith(".") or entry.name.endswith(_OUTPUTS):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(member)
                    else:
                        yield Entry(os.fsencode(member), _check_kind(entry), 0, 0, 0)

    def read(self, member: str) -> bytes:
        """All bytes of a member; see `Archive.read`."""
        return read_file(os.path.join(self._path, member))

    def sha256(self) -> str:
        """Digest over the lines "name, NUL, sha256 of the content" of every member, sorted by name."""
        digest = hashlib.sha256()
        for member in self.members:
            try:
                content = file_sha256(os.path.join(self._path, member))
            except OSError:
                content = "unreadable"  # the survey rejects it
            digest.update(f"{member}\0{content}\n".encode())
        return digest.hexdigest()


class ZipArchive:
    """A zip file; see `Archive`. Keeps a name and 40 bytes per member, nothing else."""

    def __init__(self, file: RandomFile) -> None:
        self.name = file.name
        self._file = file
        self._listing = Listing(zip_entries(file))
        self.members, self.rejects = self._listing.names, self._listing.rejects

    def read(self, member: str) -> bytes:
        """All bytes of a member, its checksum verified; see `Archive.read`."""
        offset, stored, size, method, crc = self._listing.place(member)
        name_length, extra_length = struct.unpack("<26x2H", self._file.read_at(offset, 30))
        data = self._file.read_at(offset + 30 + name_length + extra_length, stored)
        if method == DEFLATED:
            try:
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
            except zlib.error as error:
                raise MemberError(f"is damaged inside the zip: {error}") from error
        if len(data) != size or zlib.crc32(data) != crc:
            raise MemberError(f"is damaged inside the zip: {len(data)} of {size} bytes, or its checksum is wrong")
        return data

    def sha256(self) -> str:
        """Digest of the file."""
        return file_sha256(self._file.path)


class TarArchive:
    """An uncompressed tar file; see `Archive`."""

    def __init__(self, file: RandomFile) -> None:
        self.name = file.name
        self._file = file
        self._listing = Listing(tar_entries(file))
        self.members, self.rejects = self._listing.names, self._listing.rejects

    def read(self, member: str) -> bytes:
        """All bytes of a member; see `Archive.read`."""
        offset, stored, *_ = self._listing.place(member)
        return self._file.read_at(offset, stored)

    def sha256(self) -> str:
        """Digest of the file."""
        return file_sha256(self._file.path)


def read_file(path: str) -> bytes:
    """All bytes of a file; errors as for `Archive.read`."""
    try:
        with open(path, "rb") as file:
            check_size(os.fstat(file.fileno()).st_size)
            return file.read()
    except OSError as error:
        raise MemberError(f"cannot be read: {error.strerror}") from error


def file_sha256(path: str) -> str:
    """Hexadecimal digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_kind(entry: os.DirEntry[str]) -> str | None:
    """Why something in a folder cannot be read as a file, or None; opening a pipe would wait for ever."""
    try:
        if entry.is_file():
            return None
        folder = entry.is_dir()
    except OSError as error:  # such as a link to itself
        return f"cannot be read: {error.strerror}"
    if folder:
        return "is a link to a folder, which is not followed"
    return "is not a regular file but a pipe, socket, device or broken link"

"""Members of a folder, zip, tar or single file, read in any order without unpacking."""

import errno
import os
import posixpath
import zlib
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np

from converters.archives.listing import Listing, check_size, has_suffix
from converters.archives.memory_share import take_room
from converters.archives.packed import (
    LOCAL_HEADER,
    STORED,
    Entry,
    RandomBytes,
    RandomFile,
    content_start,
    ends_as_zip,
    tar_entries,
    unpacked,
    zip_entries,
)
from converters.archives.plain_files import (
    OUTPUTS,
    FileStamps,
    Stamps,
    base_name,
    checked_path,
    open_below,
    open_plain,
    sha256_of,
    sha256_of_named,
)
from converters.archives.remote_file import RemoteFile, RemoteStamps
from functa_store.errors import ArchiveError, MemberError
from functa_store.sources.source import Reject
from functa_store.support.shortening import shown

_COMPRESSED = {
    b"\x1f\x8b": ("gzip", "gunzip -k"),
    b"BZh": ("bzip2", "bunzip2 -k"),
    b"\xfd7zXZ": ("xz", "unxz -k"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
}
_FOREIGN = {b"Rar!\x1a\x07": "a RAR archive", b"7z\xbc\xaf\x27\x1c": "a 7z archive"}
_LEADS_OUT = "is a link that leads out of the archive"
_SIGNED = (1 << 63) - 1


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

    def check_unchanged(self) -> None:
        """Compare sizes and times of the files with what they were when the archive was opened.

        Raises:
            ArchiveError: If one was changed, added or removed meanwhile.
        """
        ...


class Place(NamedTuple):
    """Where the bytes of a member lie.

    Attributes:
        file: Which file has them.
        start: The first one.
        stored: How many there are, packed.
        size: How many, unpacked.
        method: One of `STORED`, `DEFLATED`, `BZIP2` and `LZMA`.
        crc: CRC-32 of what they unpack to; None if nothing tells.
    """

    file: RandomBytes
    start: int
    stored: int
    size: int
    method: int = STORED
    crc: int | None = None


@runtime_checkable
class PlacedArchive(Archive, Protocol):
    """An archive whose members can be read in parts: see `converters.archives.inflated.open_member`."""

    def place(self, member: str) -> Place:
        """Where a member's bytes lie.

        Raises:
            MemberError: If it is missing.
        """
        ...


def open_archive(
    path: str | os.PathLike[str], opener: "Callable[[str], RandomBytes] | None" = None
) -> "FolderArchive | ZipArchive | TarArchive":
    """The archive at a path, whichever kind it is.

    Args:
        path: A folder (taken recursively), a zip, or an uncompressed tar.
        opener: Opens a file to be read at any offset; None keeps it open.

    Returns:
        The archive; only its listing has been read.

    Raises:
        ArchiveError: If the path is missing, is no archive, or the archive is empty, truncated,
            encrypted or compressed as a whole.
    """
    path = checked_path(path)
    if not os.path.exists(path):
        raise ArchiveError(f"{path}: no such file or folder")
    if not os.path.isdir(path) and not os.path.isfile(path):
        raise ArchiveError(f"{path}: found a pipe or device, expected a folder, a .zip or a .tar; save it as a file")
    try:
        if os.path.isdir(path):
            return _not_empty(path, FolderArchive(path))
        return open_packed((opener or RandomFile)(path))
    except OSError as error:
        raise ArchiveError(f"{error.filename or path}: cannot be read: {error.strerror}") from error


A = TypeVar("A", bound=PlacedArchive)


def _not_empty(path: str, archive: A) -> A:
    if not archive.members and not archive.rejects:
        raise ArchiveError(f"{path}: the archive is empty")
    return archive


def open_packed(file: RandomBytes) -> "ZipArchive | TarArchive":
    """The archive that a file is, on a disk or, if it is a zip, on a server or in a bucket.

    Raises:
        ArchiveError: As for `open_archive`.
    """
    try:
        return _not_empty(file.path, _of_file(file))
    except MemberError as error:
        raise ArchiveError(f"{file.path}: {error}") from error


def _of_file(file: RandomBytes) -> "ZipArchive | TarArchive":
    if file.size == 0:
        raise ArchiveError(f"{file.path}: the file is empty; fetch it again")
    head = file.read_at(0, min(512, file.size))
    for magic, (kind, command) in _COMPRESSED.items():
        if head.startswith(magic):
            raise ArchiveError(
                f"{file.path}: {kind} offers no random access, which learning needs; take off the compression "
                f"with `{command} {file.name}` and convert the .tar, which is read in place"
            )
    for magic, kind in _FOREIGN.items():
        if head.startswith(magic):
            raise ArchiveError(f"{file.path}: is {kind}; unpack it and convert the folder")
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        return ZipArchive(file)
    if head[257:262] == b"ustar" or file.name.endswith(".tar"):
        if isinstance(file, RemoteFile):
            raise ArchiveError(
                f"{file.path}: is a tar on a server, whose members only a walk through all of it finds, request by "
                "request; fetch it, or pack it as a zip, which has a directory"
            )
        return TarArchive(file)
    if ends_as_zip(file):
        return ZipArchive(file)
    raise ArchiveError(f"{file.path}: starts with {head[:8]!r}, expected a folder, a .zip or a .tar")


class FolderArchive:
    """A folder and all folders below it, links to folders and what conversions wrote apart; see `Archive`.

    The folder itself may be reached through links. A member may be a link to a plain file inside of it; one that leads
    out of it is a reject: an archive from a stranger shall not make a functaset of other files.
    """

    def __init__(self, path: str) -> None:
        self.name, self._path, self._below = base_name(path), path, ""
        self._real, self._links = os.path.realpath(path), set[str]()
        self._listing, self._stamps = self._list()
        self.members, self.rejects = _without_backslashes(self.name, self._listing).names, self._listing.rejects

    def _list(self) -> "tuple[Listing, np.ndarray]":
        """The members, and what tells whether they were changed, in their order."""
        listing = Listing(self._entries())
        if self._below:
            listing.put_below(self._below)
        return listing, listing.places[:, [0, 1, 4]]

    def put_below(self, folder: str) -> None:
        """Let all members lie in one more folder."""
        self._below = folder
        self._listing.put_below(folder)
        self.members, self.rejects = self._listing.names, self._listing.rejects

    def leave_out(self, members: Collection[str]) -> None:
        """Let some files be no members; they still count for what the folder is."""
        self.members = [member for member in self._listing.names if member not in members]

    def _inner(self, member: str) -> str:
        """The name of a member below the folder."""
        return member[len(self._below) + 1 :] if self._below else member

    def _entries(self) -> Iterator[Entry]:
        """Each file, its number in the place of its offset and its time in that of its checksum."""
        folders = [""]
        while folders:
            below = folders.pop()
            with os.scandir(os.path.join(self._real, below)) as entries:
                for entry in entries:
                    member = posixpath.join(below, entry.name)
                    if entry.name.startswith(".") or entry.name.endswith(OUTPUTS):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(member)
                    else:
                        yield self._entry(entry, member)

    def _entry(self, entry: os.DirEntry[str], member: str) -> Entry:
        name = os.fsencode(member)
        try:
            if problem := self._problem(entry, member):
                return Entry(name, problem, 0, 0, 0)
            found = entry.stat()
        except OSError as error:  # such as a link to itself
            return Entry(name, f"cannot be read: {error.strerror}", 0, 0, 0)
        return Entry(name, None, found.st_ino & _SIGNED, found.st_size, found.st_size, crc=found.st_mtime_ns)

    def _problem(self, entry: os.DirEntry[str], member: str) -> str | None:
        """Why something in the folder cannot be read as a file, or None; opening a pipe would wait for ever."""
        if not entry.is_file():
            if entry.is_dir():
                return "is a link to a folder, which is not followed"
            return "is not a regular file but a pipe, socket, device or broken link"
        if entry.is_symlink():
            if self._inside(member) is None:
                return f"{_LEADS_OUT}; replace it by a copy of the file, or convert the folder where the file lies"
            self._links.add(member)
        return None

    def _inside(self, member: str) -> str | None:
        """The name, below the folder, of the file that a member links to; None if that is elsewhere."""
        real = os.path.realpath(os.path.join(self._real, member))
        inside = os.path.join(self._real, "")
        return real.removeprefix(inside) if real.startswith(inside) else None

    def open(self, member: str) -> int:
        """A descriptor of a member.

        Raises:
            OSError: If it cannot be opened.
            ArchiveError: If it is no plain file inside the folder.
        """
        member = self._inner(member)
        name = self._inside(member) if member in self._links else member
        if name is None:
            raise MemberError(_LEADS_OUT)
        try:
            return open_below(self._real, name)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise MemberError("is reached through a link, and was not when the folder was listed") from error
            raise

    def read(self, member: str) -> bytes:
        """All bytes of a member; see `Archive.read`."""
        self._listing.place(member)  # or it is missing, or too long
        try:
            return _read_whole(self.open(member))
        except OSError as error:
            raise MemberError(f"cannot be read: {error.strerror}") from error

    def place(self, member: str) -> Place:
        """Where a member's bytes lie.

        Raises:
            MemberError: If it is missing.
            ArchiveError: If it is no plain file any more.
        """
        self._listing.place(member, any_size=True)
        member = self._inner(member)
        name = self._inside(member) if member in self._links else member
        if name is None:
            raise MemberError(_LEADS_OUT)
        file = RandomFile(os.path.join(self._real, name))
        return Place(file, 0, file.size, file.size)

    def sha256(self) -> str:
        """Digest over the lines "name, NUL, sha256 of the content" of every member, sorted by name."""
        return sha256_of_named((self._inner(name), self._content_sha256(name)) for name in self._listing.names)

    def _content_sha256(self, member: str) -> str:
        try:
            return sha256_of(self.open(member))
        except (OSError, ArchiveError):
            return "unreadable"  # the survey rejects it

    def check_unchanged(self) -> None:
        """See `Archive.check_unchanged`; files that are no members do not count."""
        try:
            listing, stamps = self._list()
        except OSError as error:
            raise ArchiveError(f"{error.filename or self._path}: cannot be read any more: {error.strerror}") from error
        before, now = set(self._listing.names), set(listing.names)
        changes = {"removed": sorted(before - now), "added": sorted(now - before), "changed": list[str]()}
        if listing.names == self._listing.names:
            changes["changed"] = [listing.names[k] for k in np.flatnonzero((stamps != self._stamps).any(axis=1))]
        for what, members in changes.items():
            if members:
                more = f", and {len(members) - 1} other files" if len(members) > 1 else ""
                first = os.path.join(self._path, self._inner(members[0]))
                raise ArchiveError(
                    f"{first}{more}: {what} while the folder was being converted, so "
                    "that the functaset would be of no archive that exists; convert again into an empty path"
                )


class _PackedArchive:
    """What zips and tars have in common: a listing of their members."""

    _listing: Listing
    members: list[str]
    rejects: list[Reject]

    def put_below(self, folder: str) -> None:
        """Let all members lie in one more folder."""
        self._listing.put_below(folder)
        self.members, self.rejects = self._listing.names, self._listing.rejects


class ZipArchive(_PackedArchive):
    """A zip file; see `Archive`. Keeps a name and 40 bytes per member, nothing else."""

    def __init__(self, file: RandomBytes) -> None:
        self.name = file.name
        self._file, self._stamps = file, _stamps(file)
        self._listing = Listing(zip_entries(file), LOCAL_HEADER)
        if _are_parted_by_backslashes(self._listing):  # whatever wrote them says that it is no Windows
            self._listing = Listing(zip_entries(file, backslashes=True), LOCAL_HEADER)
        self.members, self.rejects = self._listing.names, self._listing.rejects

    def read(self, member: str) -> bytes:
        """All bytes of a member, its checksum verified; see `Archive.read`."""
        offset, stored, size, method, crc = self._listing.place(member)
        take_room(stored if method == STORED else stored + 2 * size)  # libraries join their blocks in the end
        data = unpacked(self._file.read_at(content_start(self._file, offset), stored), method, size)
        if len(data) != size or zlib.crc32(data) != crc:
            raise MemberError(f"is damaged inside the zip: {len(data)} of {size} bytes, or its checksum is wrong")
        return data

    def place(self, member: str) -> Place:
        """Where a member's bytes lie.

        Raises:
            MemberError: If it is missing.
        """
        offset, stored, size, method, crc = self._listing.place(member, any_size=True)
        return Place(self._file, content_start(self._file, offset), stored, size, method, crc)

    def sha256(self) -> str:
        """Digest of the file; of one on a server, of its length and directory, which has a CRC-32 of each member."""
        if not isinstance(self._file, RemoteFile):
            return file_sha256(self._file.path)
        lines = (f"{entry.name!r} {entry[2:]}" for entry in zip_entries(self._file))
        return sha256_of_named([("", str(self._file.size)), *((line, "") for line in lines)])

    def check_unchanged(self) -> None:
        """See `Archive.check_unchanged`."""
        self._stamps.check()


class TarArchive(_PackedArchive):
    """A tar file whose bytes, or what they unpack to, can be read at any place; see `Archive`."""

    def __init__(self, file: RandomBytes) -> None:
        self.name = file.name
        self._file, self._stamps = file, FileStamps([file.path])
        self._listing = _without_backslashes(file.name, Listing(tar_entries(file)))
        self.members, self.rejects = self._listing.names, self._listing.rejects

    def read(self, member: str) -> bytes:
        """All bytes of a member; see `Archive.read`."""
        offset, stored, *_ = self._listing.place(member)
        take_room(stored)
        return self._file.read_at(offset, stored)

    def place(self, member: str) -> Place:
        """Where a member's bytes lie.

        Raises:
            MemberError: If it is missing.
        """
        offset, stored, *_ = self._listing.place(member, any_size=True)
        return Place(self._file, offset, stored, stored)

    def sha256(self) -> str:
        """Digest of the file."""
        return file_sha256(self._file.path)

    def check_unchanged(self) -> None:
        """See `Archive.check_unchanged`."""
        self._stamps.check()


def _stamps(file: RandomBytes) -> Stamps:
    return RemoteStamps(file) if isinstance(file, RemoteFile) else FileStamps([file.path])


def _without_backslashes(name: str, listing: Listing) -> Listing:
    """Refuse names of which a backslash seems to part folders that no "/" parts.

    Raises:
        ArchiveError: If there are some; with their folders, splits and classes would be lost.
    """
    if _are_parted_by_backslashes(listing):
        one = next(member for member in listing.names if "\\" in member)
        raise ArchiveError(
            f"{name}: names have backslashes, such as {shown(one)}, and none has folders: a zip made on Windows was "
            "unpacked by a program that takes them for parts of a name; unpack it by another one, or convert the zip"
        )
    return listing


def _are_parted_by_backslashes(listing: Listing) -> bool:
    return any("\\" in name for name in listing.names) and not any("/" in name for name in listing.names)


def read_file(path: str) -> bytes:
    """All bytes of a file; errors as for `Archive.read`."""
    try:
        return _read_whole(open_plain(path))
    except OSError as error:
        raise MemberError(f"cannot be read: {error.strerror}") from error


def file_sha256(path: str) -> str:
    """Hexadecimal digest of a file."""
    return sha256_of(open_plain(path))


def _read_whole(descriptor: int) -> bytes:
    """All bytes of an opened file, which is closed."""
    with open(descriptor, "rb") as file:
        size = os.fstat(descriptor).st_size
        check_size(size)
        take_room(size)
        return file.read(size)


class OneFile:
    """A file by itself, which is its only member; see `converters.archives.archive.Archive`.

    Attributes:
        path: Where it is.
    """

    def __init__(self, path: str) -> None:
        self.name, self.path = base_name(path), path
        self.members = [self.name]
        self.rejects: list[Reject] = []
        self._stamps = FileStamps([path])

    def call(self, name: str) -> None:
        """Let the member be called so."""
        self.members = [name]

    def read(self, member: str) -> bytes:
        """All bytes of the file; see `Archive.read`."""
        return read_file(self.path)

    def place(self, member: str) -> Place:
        """Where the file's bytes lie."""
        file = RandomFile(self.path)
        return Place(file, 0, file.size, file.size)

    def sha256(self) -> str:
        """Digest of the file."""
        try:
            return file_sha256(self.path)
        except OSError as error:
            raise ArchiveError(f"{self.path}: cannot be read: {error.strerror}") from error

    def check_unchanged(self) -> None:
        """See `Archive.check_unchanged`."""
        self._stamps.check()


def open_archive_or_file(
    path: str | os.PathLike[str], suffixes: Collection[str], opener: Callable[[str], RandomBytes] | None = None
) -> FolderArchive | ZipArchive | TarArchive | OneFile:
    """The archive at a path, which may be one file that ends in one of some suffixes; see `open_archive`.

    Raises:
        ArchiveError: As for `open_archive`.
    """
    path = checked_path(path)
    return OneFile(path) if has_suffix(path, suffixes) and os.path.isfile(path) else open_archive(path, opener)

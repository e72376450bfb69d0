"""How are archives of shapes read that are no plain folder, zip or tar?"""

import contextlib
import gzip
import hashlib
import os
import posixpath
import tarfile
import zlib
from collections.abc import Iterator

from converters.archives import Archive, open_archive
from converters.listing import Listing, check_size
from converters.packed import Entry
from functa_store.errors import ArchiveError, MemberError
from functa_store.sources import Reject

TEXT_SUFFIXES = (".json", ".csv")

_GZIP = b"\x1f\x8b"
_BLOCK = 2**20
_MAX_TEXT_BYTES = 2**24


def open_shapes(path: str | os.PathLike[str]) -> "Archive | StreamedTar":
    """The archive at a path.

    Args:
        path: A folder, a folder of zips (one per synset, as ShapeNetCore.v2 is published), a zip, a tar, or a
            tar compressed by gzip, such as ShapeNetVox32.tgz.

    Raises:
        ArchiveError: If it is missing, damaged, empty, or holds nothing but zips inside a zip or tar.
    """
    path = os.path.abspath(path)
    if os.path.isfile(path) and _is_gzip(path):
        return StreamedTar(path)
    archive = open_archive(path)
    zips = [member for member in archive.members if member.endswith(".zip")]
    if not zips:
        return archive
    if os.path.isdir(path):
        return FolderOfZips(path, archive, zips)
    if all(member.endswith((".zip", *TEXT_SUFFIXES, ".md", ".txt")) for member in archive.members):
        raise ArchiveError(
            f"{path}: holds {len(zips)} zips inside, such as {zips[0]}, which offer no random access; unpack the "
            "outer archive and convert the folder of zips"
        )
    return archive


def _is_gzip(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(_GZIP)) == _GZIP
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be read: {error.strerror}") from error


class FolderOfZips:
    """The members of every zip of a folder, below the zip's name without its ending, and the folder's other files.

    See `converters.archives.Archive`.

    Args:
        path: The folder.
        folder: It as an archive.
        zips: Its members that are zips.

    Raises:
        ArchiveError: If a zip is damaged.
    """

    def __init__(self, path: str, folder: Archive, zips: list[str]) -> None:
        self.name, self._folder = folder.name, folder
        self._zips = {name.removesuffix(".zip"): open_archive(os.path.join(path, name)) for name in zips}
        inside = [f"{stem}/{member}" for stem, archive in self._zips.items() for member in archive.members]
        self.members = sorted({*inside, *folder.members}.difference(zips))
        self.rejects = [
            *folder.rejects,
            *(
                Reject(member=f"{stem}/{r.member}", reason=r.reason)
                for stem, a in self._zips.items()
                for r in a.rejects
            ),
        ]

    def read(self, member: str) -> bytes:
        """All bytes of a member; see `Archive.read`."""
        for stem in _parents(member):
            if stem in self._zips:
                return self._zips[stem].read(member[len(stem) + 1 :])
        return self._folder.read(member)

    def sha256(self) -> str:
        """Digest of the folder: of the content of every file."""
        return self._folder.sha256()


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
        self.name, self._path = os.path.basename(path), path
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
        for tar, info in self._walk():
            name = info.name.removeprefix("./")
            if info.isreg() and name in known:
                yield name, self._content(tar, info)

    def sha256(self) -> str:
        """Digest of the file."""
        with open(self._path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _entries(self) -> Iterator[Entry]:
        for tar, info in self._walk():
            if info.isdir():
                continue
            problem = None if info.isreg() and not info.issparse() else "is a link, device or sparse file"
            try:
                check_size(info.size)
            except MemberError as error:
                problem = problem or str(error)
            if problem is None and info.name.endswith(TEXT_SUFFIXES) and info.size <= _MAX_TEXT_BYTES:
                self._texts[info.name.removeprefix("./")] = self._content(tar, info)
            yield Entry(info.name.encode("utf-8", "surrogateescape"), problem, 0, info.size, info.size)

    def _walk(self) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
        with (
            self._intact(),
            gzip.open(self._path) as unpacked,
            tarfile.open(fileobj=unpacked, mode="r|", encoding="utf-8", errors="surrogateescape") as tar,
        ):
            while (info := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # or it keeps a kilobyte per member
                yield tar, info
            while block := unpacked.read(_BLOCK):  # to the end, where gzip's checksum is
                if any(block):
                    raise tarfile.ReadError("a damaged header")

    def _content(self, tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
        with self._intact():
            file = tar.extractfile(info)
            assert file is not None  # a regular file
            return file.read()

    @contextlib.contextmanager
    def _intact(self) -> Iterator[None]:
        """Whatever the libraries stumble over, numbers of a header that are none included, is damage."""
        try:
            yield
        except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error) as error:
            if isinstance(error, ArchiveError):
                raise
            raise ArchiveError(
                f"{self._path}: is no tar, or is damaged or truncated: {error}; fetch it again"
            ) from error


def _parents(member: str) -> Iterator[str]:
    while member := posixpath.dirname(member):
        yield member

"""Several folders, zips, tars and single files as one archive, of which few are open at a time."""

import bisect
import functools
import itertools
import os
import posixpath
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int32

from converters.archives.archive import (
    FolderArchive,
    OneFile,
    Place,
    PlacedArchive,
    TarArchive,
    ZipArchive,
    open_archive_or_file,
    open_packed,
)
from converters.archives.archive_files import MOST_OPEN, ArchiveFiles, described
from converters.archives.file_patterns import find_files
from converters.archives.listing import has_suffix
from converters.archives.packed import RandomFile
from converters.archives.plain_files import sha256_of_named
from converters.archives.remote_file import BlockwiseFile
from functa_store.errors import ArchiveError, MemberError
from functa_store.sources.source import Reject
from functa_store.support.memory import LRUCache

PACKED_SUFFIXES = (".zip", ".tar")
"""Of files that are archives of members."""

BLOCK_BYTES = 1 << 26
"""Bytes of remote files that stay in memory."""

_NUMBER = re.compile(r"(?:^|[-_. ])[0-9]+(?:[-_]of[-_][0-9]+)?$")
"""What tells the parts of one archive apart in their names."""

Part = FolderArchive | ZipArchive | TarArchive | OneFile


class OpenFiles:
    """Files that are opened when they are read; those that were not used for longest are closed.

    Attributes:
        blocks: Of those on servers.
    """

    def __init__(self) -> None:
        self.blocks: LRUCache[bytes] = LRUCache(BLOCK_BYTES)
        self._opened: LRUCache[RandomFile] = LRUCache(MOST_OPEN)

    def __reduce__(self) -> tuple[Any, ...]:
        return OpenFiles, ()

    def file(self, path: str) -> RandomFile:
        """One of them, open.

        Raises:
            OSError: If it cannot be opened.
        """
        return self._opened.get_or_make(path, lambda: RandomFile(path), lambda _: 1)


class LentFile:
    """A file that is open while it is used; see `converters.archives.packed.RandomBytes`.

    Args:
        path: Where it is.
        opened: Has it open, and others.

    Raises:
        OSError: If it cannot be opened.
    """

    def __init__(self, path: str, opened: OpenFiles) -> None:
        file = opened.file(path)
        self.path, self.name, self.size, self._opened = path, file.name, file.size, opened

    def read_at(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes; see `RandomBytes.read_at`."""
        try:
            file = self._opened.file(self.path)
        except OSError as error:
            raise MemberError(f"cannot be read: {error.strerror}") from error
        return file.read_at(offset, count)


class ManyArchives:
    """Several archives as one; see `converters.archives.archive.Archive`.

    Members of each lie in a folder that is called as its file, below the folder that holds all files: "0.png" in
    a/part-003.zip beside b/part-000.zip is a/part-003/0.png. Endings of archives are left out where names stay
    apart. A file that is no archive is a member by its own name. So no two members have one name, whatever is in the
    files, and none is lost; only a file inside of one may clash with a folder named alike, which is refused.

    Args:
        files: Their paths and names.
        parts: Each of them, opened.
        beside: The folder that holds the files, whose other members are members, too.

    Attributes:
        name: What messages call all of them.
        members: Of all, in code point order.
        rejects: Of all.
        own_files: Paths of members that are files by themselves, by their names.

    Raises:
        ArchiveError: If two members have one name.
    """

    def __init__(self, files: ArchiveFiles, parts: Sequence[Part], beside: FolderArchive | None = None) -> None:
        self.name, self._files, self._beside = files.name, files, beside
        self._digests: dict[str, str] | None = None
        self._told: dict[str, str] = {}
        self.own_files: dict[str, str] = {}
        for name, folder, part in zip(files.names, files.stems(PACKED_SUFFIXES), parts, strict=True):
            if isinstance(part, OneFile):
                part.call(name)
                self.own_files[name] = part.path
            else:
                part.put_below(folder)
                above, _, base = folder.rpartition("/")
                self._told[folder] = posixpath.join(above, _NUMBER.sub("", base)).rstrip("/")
        self._parts: list[Part] = [*parts]
        if beside is not None:
            beside.leave_out(set(files.names))
            self._parts.append(beside)
        self.members, self._which = self._merged()
        rejects = (reject for part in self._parts for reject in part.rejects)
        self.rejects: list[Reject] = sorted(rejects, key=lambda reject: reject.member)

    def _merged(self) -> tuple[list[str], Int32[np.ndarray, " members"]]:
        """All members, sorted, and the number of the file that each is in."""
        parts = self._parts
        names = [member for part in parts for member in part.members]
        order = sorted(range(len(names)), key=names.__getitem__)
        which = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part.members) for part in parts])
        members, which = [names[k] for k in order], which[order]
        for k, (one, other) in enumerate(itertools.pairwise(members)):
            if one == other:
                files = [*self._files.names, self.name]
                first, second = (files[int(n)] for n in which[k : k + 2])
                raise ArchiveError(
                    f"{self.name}: {first} and {second} both have {one}, so that one would take the other's place; "
                    "rename one of the files, or convert them one by one"
                )
        return members, which

    def read(self, member: str) -> bytes:
        """All bytes of a member; see `Archive.read`."""
        return self._parts[self._index(member)].read(member)

    def place(self, member: str) -> Place:
        """Where a member's bytes lie; see `PlacedArchive.place`."""
        return self._parts[self._index(member)].place(member)

    def told_by(self, member: str) -> str:
        """The name of a member, or of a folder of members, by which folders tell splits and classes.

        Numbers behind the names of files count for nothing: members of train-000.zip and train-001.zip lie in "train",
        those of 000.zip and 001.zip in no folder of the file.
        """
        folder = member
        while folder := posixpath.dirname(folder):
            if (told := self._told.get(folder)) is not None:
                return f"{told}{member[len(folder) :]}".lstrip("/")
        return member

    def sha256(self) -> str:
        """Digest over the lines "name, NUL, sha256" of all files, sorted by name; of a folder, that of the folder."""
        if self._beside is not None:
            return self._beside.sha256()
        return sha256_of_named(sorted(self.digests().items()))

    def digests(self) -> dict[str, str]:
        """SHA-256 of each file by its name."""
        if self._digests is None:
            self._digests = {name: p.sha256() for name, p in zip(self._files.names, self._parts, strict=False)}
        return self._digests

    def check_unchanged(self) -> None:
        """See `Archive.check_unchanged`."""
        for part in self._parts:
            part.check_unchanged()
        self._files.check_unchanged()

    def described(self, *, read: bool) -> dict[str, object]:
        """What provenance keeps of the files; `read` says whether they are read for their digests."""
        if self._beside is not None:
            return {}
        return described(self._files.names, self.digests() if read else None)

    def _index(self, member: str) -> int:
        position = bisect.bisect_left(self.members, member)
        if position == len(self.members) or self.members[position] != member:
            raise MemberError("is not in the archive")
        return int(self._which[position])


def open_archives(files: ArchiveFiles, suffixes: Collection[str] = ()) -> PlacedArchive:
    """The archive that one file or several are.

    Args:
        files: Each a folder, a zip, an uncompressed tar, or a single file of some endings; zips may be remote.
        suffixes: Endings of single files that are members by themselves.

    Raises:
        ArchiveError: As for `converters.archives.archive.open_archive`, of the first file that cannot be opened; or if
            two members have one name.
    """
    if len(files) == 1 and not is_remote(files.paths[0]):
        return open_archive_or_file(files.paths[0], suffixes)
    opened = OpenFiles()
    parts = [_open_part(path, suffixes, opened) for path in files.paths]
    return parts[0] if len(parts) == 1 else ManyArchives(files, parts)


def open_folder_of_archives(path: str, folder: FolderArchive, members: Sequence[str]) -> ManyArchives:
    """The members of every zip or tar in a folder, below its name without its ending, and the folder's other files.

    Args:
        path: Of the folder.
        folder: It, opened.
        members: Its members that are archives.

    Raises:
        ArchiveError: If one of these is damaged, or two members have one name.
    """
    paths, opened = tuple(os.path.join(path, member) for member in members), OpenFiles()
    find = functools.partial(find_files, paths)
    files = ArchiveFiles(name=folder.name, typed=paths, paths=paths, names=tuple(members), find=find)
    return ManyArchives(files, [_open_part(one, (), opened) for one in paths], folder)


def is_remote(path: str) -> bool:
    """Whether a path is an address of a server or bucket."""
    return "://" in path


def own_files(archive: object) -> dict[str, str]:
    """Paths of an archive's members that are files of a disk by themselves, by their names."""
    if isinstance(archive, OneFile):
        return {archive.name: archive.path}
    return archive.own_files if isinstance(archive, ManyArchives) else {}


def told_by(archive: object) -> Callable[[str], str]:
    """What gives the names of an archive's members by which folders tell splits and classes."""
    return archive.told_by if isinstance(archive, ManyArchives) else str


def _open_part(path: str, suffixes: Collection[str], opened: OpenFiles) -> Part:
    if is_remote(path):
        if has_suffix(path, suffixes):
            raise ArchiveError(f"{path}: is a single file on a server, expected a .zip of such; fetch it first")
        return open_packed(BlockwiseFile(path, opened.blocks))
    try:
        found = open_archive_or_file(path, suffixes, lambda file: LentFile(file, opened))
    except ArchiveError as error:
        said = str(error).removeprefix(f"{os.path.basename(path)}: ")
        raise ArchiveError(said if path in said else f"{path}: {said}") from error
    assert isinstance(found, Part)
    return found

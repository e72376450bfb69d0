"""Tar files as one archive, of whose members few numbers are kept."""

import bisect
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64

from converters.archives.archive import TarArchive, open_archive
from converters.archives.archive_files import ArchiveFiles, FilesStamps, described
from converters.archives.listing import check_size
from converters.archives.many_archives import OpenFiles
from converters.archives.memory_share import take_room
from converters.archives.plain_files import sha256_of_named
from functa_store.errors import ArchiveError, MemberError
from functa_store.sources.source import Reject
from functa_store.support.shortening import shown

PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
"""Endings of compressed tars, which offer no random access."""


class ShardFiles(NamedTuple):
    """The tar files of an archive.

    Attributes:
        files: All of them.
        paths: Of each file, in the order of names.
        names: Of each file, below the folder that holds them all, without its ending; they are unique.
    """

    files: ArchiveFiles
    paths: Sequence[str]
    names: Sequence[str]

    @property
    def name(self) -> str:
        """What messages call all of them."""
        return self.files.name


def shards_of(files: ArchiveFiles) -> ShardFiles:
    """Files as the tars of a WebDataset.

    Raises:
        ArchiveError: If one of them is a folder without tars, or is compressed.
    """
    if packed := [path for path in files.paths if path.endswith(PACKED)]:
        raise ArchiveError(
            f"{packed[0]}: is compressed, which offers no random access, which learning needs; take off the "
            f"compression of {len(packed)} of {len(files)} files, as by "
            f"`gunzip -k {shown(os.path.basename(packed[0]))}`, and convert the .tar"
        )
    if folder := next(filter(os.path.isdir, files.paths), None):
        raise ArchiveError(f"{folder}: no .tar is in this folder, expected the shards of a WebDataset")
    names = files.stems((".tar",))
    order = sorted(range(len(names)), key=names.__getitem__)
    return ShardFiles(files, [files.paths[k] for k in order], [names[k] for k in order])


def list_shard(path: str) -> TarArchive:
    """A tar by itself.

    Raises:
        ArchiveError: If it is none, or is empty, damaged or compressed.
    """
    archive = open_archive(path)
    if not isinstance(archive, TarArchive):
        raise ArchiveError(f"{path}: is no tar, expected one as of WebDataset")
    return archive


class TarShards:
    """Some members of tar files as one archive; see `converters.archives.archive.Archive`.

    Args:
        files: The tars.
        members: Names of what is kept, sorted, each unique.
        places: Of each: which tar it is in, its first byte and how many there are.
        rejects: What cannot be used.
        stamps: Of the files, taken before they were listed.
    """

    def __init__(
        self,
        files: ShardFiles,
        members: list[str],
        places: Int64[np.ndarray, "members 3"],
        rejects: list[Reject],
        stamps: FilesStamps,
    ) -> None:
        self.name, self.members, self.rejects = files.name, members, rejects
        self._shards, self._places, self._stamps, self._open = files, places, stamps, OpenFiles()
        self._digests: dict[str, str] | None = None

    def read(self, member: str) -> bytes:
        """All bytes of a member; see `Archive.read`."""
        position = bisect.bisect_left(self.members, member)
        if position == len(self.members) or self.members[position] != member:
            raise MemberError("is not in the archive")
        shard, offset, size = map(int, self._places[position])
        check_size(size)
        take_room(size)
        try:
            file = self._open.file(self._shards.paths[shard])
        except OSError as error:
            raise MemberError(f"cannot be read: {error.strerror}") from error
        return file.read_at(offset, size)

    def sha256(self) -> str:
        """Digest of the tar, or of the lines "name, NUL, sha256" of all of them, names without their ending."""
        digests = self.digests()
        if len(digests) == 1:
            return next(iter(digests.values()))
        by_path = dict(zip(self._shards.files.paths, digests.values(), strict=True))
        return sha256_of_named((n, by_path[p]) for n, p in zip(self._shards.names, self._shards.paths, strict=True))

    def digests(self) -> dict[str, str]:
        """SHA-256 of each tar by its name."""
        if self._digests is None:
            self._digests = self._shards.files.digests()
        return self._digests

    def described(self, *, read: bool) -> dict[str, Any]:
        """What provenance keeps of the files; `read` says whether they are read for their digests."""
        return described(self._shards.files.names, self.digests() if read else None)

    def check_unchanged(self) -> None:
        """See `Archive.check_unchanged`."""
        self._stamps.check()

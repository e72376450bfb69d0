"""Tar files that a pattern, a list or a folder names, as one archive, of whose members few numbers are kept."""

import bisect
import glob
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from converters.archives.archive import PlacedArchive, TarArchive, file_sha256, open_archive
from converters.archives.listing import check_size
from converters.archives.memory_share import take_room
from converters.archives.packed import RandomFile
from converters.archives.plain_files import FileStamps, base_name, checked_path, sha256_of_named
from functa_store.errors import ArchiveError, MemberError
from functa_store.sources.source import Reject
from functa_store.support.memory import LRUCache
from functa_store.support.shortening import shown

MOST_SHARDS = 1 << 17
"""Tar files of one archive."""

_OPEN_FILES = 64
_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})")
_SCHEME = re.compile(r"(pipe|[a-z][a-z0-9+]*)://?|pipe:", re.IGNORECASE)


class ShardFiles(NamedTuple):
    """The tar files of an archive.

    Attributes:
        name: What messages call all of them.
        spec: What was typed.
        paths: Of each file.
        names: Of each file, below the folder that holds them all, without its ending; they are unique.
    """

    name: str
    spec: str
    paths: Sequence[str]
    names: Sequence[str]


def find_shards(spec: str | os.PathLike[str]) -> ShardFiles:
    """The tar files that are meant.

    Args:
        spec: A tar, a folder of tars, a pattern such as "train-{000..099}.tar" or "val-*.tar", or several of these
            with commas between them.

    Raises:
        ArchiveError: If one of them is not there, is named twice, or is compressed.
    """
    text = os.fspath(spec)
    if not isinstance(text, str) or "\0" in text or not text:
        checked_path(spec)  # says what is wrong
    if _SCHEME.match(text) and not os.path.exists(text):
        raise ArchiveError(f"{shown(text)}: is an address, expected files on a disk; fetch the shards first")
    paths = list(itertools.islice(_expanded(text), MOST_SHARDS + 1))
    if len(paths) > MOST_SHARDS:
        raise ArchiveError(f"{shown(text)}: names more than {MOST_SHARDS} files")
    if packed := [path for path in paths if path.endswith(_PACKED)]:
        raise ArchiveError(
            f"{packed[0]}: is compressed, which offers no random access, which learning needs; take off the "
            f"compression of {len(packed)} of {len(paths)} files, as by "
            f"`gunzip -k {shown(os.path.basename(packed[0]))}`, and convert the .tar"
        )
    if len(set(paths)) < len(paths):
        raise ArchiveError(f"{shown(text)}: names {next(p for p in paths if paths.count(p) > 1)} twice")
    above = os.path.commonpath([os.path.dirname(path) for path in paths])
    names = [base_name_of(os.path.relpath(path, above)) for path in paths]
    order = sorted(range(len(paths)), key=names.__getitem__)
    typed = [text] if os.path.exists(text) else _at_commas(text)
    name = shown(",".join(base_name(os.path.abspath(part)) for part in typed))
    return ShardFiles(name, text, [paths[k] for k in order], [names[k] for k in order])


def base_name_of(path: str) -> str:
    """A path below a folder as text that can be stored, without the ending of a tar."""
    return os.fsencode(path).decode("utf-8", "backslashreplace").removesuffix(".tar").replace(os.sep, "/")


def list_shard(path: str) -> PlacedArchive:
    """A tar by itself.

    Raises:
        ArchiveError: If it is none, or is empty, damaged or compressed.
    """
    archive = open_archive(path)
    if not isinstance(archive, TarArchive):
        raise ArchiveError(f"{path}: is no tar, expected one as of WebDataset")
    return archive


def _expanded(text: str) -> Iterator[str]:
    if os.path.exists(text):
        yield from _tars_of(checked_path(text))
        return
    parts = _at_commas(text)
    for part in parts:
        for pattern in _without_braces(part.strip()):
            path = checked_path(pattern)
            if os.path.exists(path):
                yield from _tars_of(path)
            elif glob.has_magic(pattern):
                if not (found := sorted(glob.glob(path, recursive=True))):
                    raise ArchiveError(
                        f"{pattern}: no file has such a name, expected tars; is the folder the right one?"
                    )
                for match in found:
                    yield from _tars_of(match)
            else:
                of = f", which {shown(text)} names" if pattern != text else ""
                raise ArchiveError(f"{path}: no such file{of}; fetch it, or name those that are there")


def _tars_of(path: str) -> Iterator[str]:
    """A file, or all tars in a folder and those below it."""
    if not os.path.isdir(path):
        yield path
        return
    found = []
    for here, folders, files in os.walk(path):
        folders[:] = [folder for folder in folders if not folder.startswith(".")]
        found += [os.path.join(here, f) for f in files if f.endswith((".tar", *_PACKED)) and not f.startswith(".")]
    if not found:
        raise ArchiveError(f"{path}: no .tar is in this folder, expected the shards of a WebDataset")
    yield from sorted(found)


def _at_commas(text: str) -> list[str]:
    """Parts between commas, those inside braces apart."""
    parts, depth = [""], 0
    for character in text:
        depth += (character == "{") - (character == "}")
        if character == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part for part in parts if part.strip()]


def _without_braces(text: str) -> Iterator[str]:
    """The texts that ranges {000..099} and choices {a,b} stand for, as shells write them; outer braces come first."""
    begin = text.find("{")
    end = _closing(text, begin)
    if begin < 0 or end is None:
        yield text
        return
    inside = text[begin + 1 : end]
    parts = _at_commas(inside)
    choices: Iterator[str]
    if len(parts) > 1:
        choices = itertools.chain.from_iterable(map(_without_braces, parts))
    elif span := _RANGE.fullmatch(inside):
        first, last = int(span[1]), int(span[2])
        is_padded = any(len(bound) > 1 and bound.startswith("0") for bound in span.groups())
        width = max(map(len, span.groups())) if is_padded else 0
        step = 1 if last >= first else -1
        choices = (f"{k:0{width}}" for k in range(first, last + step, step))
    else:
        choices = (f"{{{choice}}}" for choice in _without_braces(inside))
    for choice in choices:
        for rest in _without_braces(text[end + 1 :]):
            yield text[:begin] + choice + rest


def _closing(text: str, begin: int) -> int | None:
    """Where the brace ends that begins somewhere, if it does."""
    depth = 0
    for k in range(max(begin, 0), len(text)):
        depth += (text[k] == "{") - (text[k] == "}")
        if depth == 0:
            return k
    return None


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
        stamps: FileStamps,
    ) -> None:
        self.name, self.members, self.rejects = files.name, members, rejects
        self._shards, self._places, self._stamps = files, places, stamps
        self._open: LRUCache[RandomFile] = LRUCache(_OPEN_FILES)

    def read(self, member: str) -> bytes:
        """All bytes of a member; see `Archive.read`."""
        position = bisect.bisect_left(self.members, member)
        if position == len(self.members) or self.members[position] != member:
            raise MemberError("is not in the archive")
        shard, offset, size = map(int, self._places[position])
        check_size(size)
        take_room(size)
        try:
            path = self._shards.paths[shard]
            file = self._open.get_or_make(shard, lambda: RandomFile(path), lambda _: 1)
        except OSError as error:
            raise MemberError(f"cannot be read: {error.strerror}") from error
        return file.read_at(offset, size)

    def sha256(self) -> str:
        """Digest of the tar, or of the lines "name, NUL, sha256" of all of them."""
        try:
            digests = [file_sha256(path) for path in self._shards.paths]
        except OSError as error:
            raise ArchiveError(f"{error.filename}: cannot be read: {error.strerror}") from error
        if len(digests) == 1:
            return digests[0]
        return sha256_of_named(zip(self._shards.names, digests, strict=True))

    def check_unchanged(self) -> None:
        """See `Archive.check_unchanged`."""
        self._stamps.check()
        now = find_shards(self._shards.spec).paths
        if added := set(now) - set(self._shards.paths):
            raise ArchiveError(
                f"{min(added)}: was added while the shards were being converted, so that the functaset would be of no "
                "archive that exists; convert again into an empty path"
            )

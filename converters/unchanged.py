"""Sizes and times of an archive's files, compared when a conversion ends."""

import hashlib
import os
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from converters.plain_files import walk_files
from functa_store.errors import ArchiveError

_Stamp = tuple[int, int, int]


@runtime_checkable
class Stamps(Protocol):
    """What tells whether an archive was changed."""

    def check(self) -> None:
        """Compare the archive with what it was.

        Raises:
            ArchiveError: If it was changed.
        """
        ...


class FileStamps:
    """What tells whether files were changed: the number, size and time of modification of each.

    Args:
        paths: The files. One that is not there is noted as that.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._stamps = {path: _stamp(path) for path in paths}

    def check(self) -> None:
        """Compare the files with what they were.

        Raises:
            ArchiveError: If one was changed, replaced or removed.
        """
        for path, before in self._stamps.items():
            if (now := _stamp(path)) != before:
                raise ArchiveError(
                    f"{path}: was {'removed' if now is None else 'changed'} while it was being converted, so that the "
                    "functaset would be of no archive that exists; convert again into an empty path"
                )


def _stamp(path: str) -> _Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


class FolderStamps:
    """What tells whether anything in a folder was changed, added or removed; a few bytes however many files it has.

    Args:
        folder: Of which all that is in it counts, links not followed.

    Raises:
        ArchiveError: If it, or a folder in it, cannot be listed.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._digest, _ = self._look()

    def check(self) -> None:
        """Compare the folder with what it was.

        Raises:
            ArchiveError: If a file in it was changed, replaced, added or removed, or a folder in it cannot be
                listed any more. Names the latest one.
        """
        digest, latest = self._look()
        if digest != self._digest:
            raise ArchiveError(
                f"{self._folder}: files in it were changed, added or removed while it was being converted, so that the "
                f"functaset would be of no archive that exists; the latest is {latest!a}; convert again into an "
                "empty path"
            )

    def _look(self) -> tuple[bytes, str]:
        """A digest of the names, sizes and times of all files, and the one that was changed last.

        Raises:
            ArchiveError: If a folder cannot be listed.
        """
        total, latest, newest = 0, "", -1
        for path, found in walk_files(self._folder):
            stamp = f"{path}\0{found.st_ino} {found.st_size} {found.st_mtime_ns}".encode(errors="surrogateescape")
            total ^= int.from_bytes(hashlib.sha256(stamp).digest())  # in whatever order they are listed
            if found.st_mtime_ns > newest:
                latest, newest = path, found.st_mtime_ns
        return total.to_bytes(32), latest


def stamps_of(path: str) -> Stamps:
    """What tells whether a file, or anything in a folder, was changed from now on."""
    return FolderStamps(path) if os.path.isdir(path) else FileStamps([path])

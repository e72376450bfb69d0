"""Sizes and times of an archive's files, compared when a conversion ends."""

import os
from collections.abc import Iterable

from functa_store.errors import ArchiveError

_Stamp = tuple[int, int, int]


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

"""How is a single file an archive of one member?"""

import os
from collections.abc import Collection

from converters.archives import Archive, file_sha256, open_archive, read_file
from converters.listing import has_suffix
from converters.plain_files import base_name, checked_path
from converters.unchanged import FileStamps
from functa_store.errors import ArchiveError
from functa_store.sources import Reject


class OneFile:
    """A file by itself; see `converters.archives.Archive`."""

    def __init__(self, path: str) -> None:
        self.name = base_name(path)
        self.members = [self.name]
        self.rejects: list[Reject] = []
        self._path, self._stamps = path, FileStamps([path])

    def read(self, member: str) -> bytes:
        """All bytes of the file; see `Archive.read`."""
        return read_file(self._path)

    def sha256(self) -> str:
        """Digest of the file."""
        try:
            return file_sha256(self._path)
        except OSError as error:
            raise ArchiveError(f"{self._path}: cannot be read: {error.strerror}") from error

    def check_unchanged(self) -> None:
        """See `Archive.check_unchanged`."""
        self._stamps.check()


def open_archive_or_file(path: str | os.PathLike[str], suffixes: Collection[str]) -> Archive:
    """The archive at a path, which may be one file that ends in one of some suffixes.

    Raises:
        ArchiveError: As for `open_archive`.
    """
    path = checked_path(path)
    return OneFile(path) if has_suffix(path, suffixes) and os.path.isfile(path) else open_archive(path)

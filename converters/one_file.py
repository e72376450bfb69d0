"""How is a single file an archive of one member?"""

import hashlib
import os
from collections.abc import Collection

from converters.archives import Archive, open_archive
from converters.listing import check_size
from converters.member_survey import has_suffix
from functa_store.errors import ArchiveError, MemberError
from functa_store.sources import Reject


class OneFile:
    """A file by itself; see `converters.archives.Archive`."""

    def __init__(self, path: str) -> None:
        self.name = os.path.basename(path)
        self.members = [self.name]
        self.rejects: list[Reject] = []
        self._path = path

    def read(self, member: str) -> bytes:
        """All bytes of the file; see `Archive.read`."""
        try:
            with open(self._path, "rb") as file:
                check_size(os.fstat(file.fileno()).st_size)
                return file.read()
        except OSError as error:
            raise MemberError(f"cannot be read: {error.strerror}") from error

    def sha256(self) -> str:
        """Digest of the file."""
        try:
            with open(self._path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ArchiveError(f"{self._path}: cannot be read: {error.strerror}") from error


def open_archive_or_file(path: str | os.PathLike[str], suffixes: Collection[str]) -> Archive:
    """The archive at a path, which may be one file that ends in one of some suffixes.

    Raises:
        ArchiveError: As for `open_archive`.
    """
    path = os.path.abspath(path)
    return OneFile(path) if has_suffix(path, suffixes) and os.path.isfile(path) else open_archive(path)

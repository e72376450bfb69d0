"""Files on servers and in buckets, read by ranges."""

import hashlib
from urllib.parse import unquote

from functa_store.errors import ArchiveError, FunctaStoreError, MemberError
from functa_store.store.storage.objects import open_objects
from functa_store.support.memory import LRUCache
from functa_store.support.redaction import redacted
from functa_store.support.shortening import shown

_TAIL_BYTES = 1 << 16
_BLOCK = 1 << 16


class RemoteFile:
    """A file on a web server or in a bucket, read by ranges; requests are repeated where the network fails.

    Redirects are followed where they lead to public servers, as those of the Hugging Face hub do.

    Args:
        url: Its address, without credentials; of queries, the hub's "?download=true" is left out.

    Attributes:
        path: The address.
        name: The last part of it.
        size: Bytes of the file.

    Raises:
        ArchiveError: If it is not there, or the server does not say how long it is.
    """

    def __init__(self, url: str) -> None:
        url = url.removesuffix("?download=true")
        if "?" in url or "#" in url:
            raise ArchiveError(
                f"{redacted(url)}: has a query or a fragment, of which a file that is read again and again has none; "
                "name the file without it, or fetch it first"
            )
        # The client for servers encodes what it is given: of an address that is encoded already, "%" would be, too.
        folder, _, self._key = unquote(url).rpartition("/")
        self.path, self.name = redacted(url), self._key
        try:
            self._objects = open_objects(folder)
            size = self._objects.size(self._key) if self._key else None
        except (FunctaStoreError, FileNotFoundError) as error:
            raise ArchiveError(f"{self.path}: cannot be reached: {error}") from error
        if size is None:
            raise ArchiveError(f"{self.path}: the server has no such file")
        self.size = size

    def read_at(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes.

        Raises:
            MemberError: If the server does not give them.
        """
        if offset + count > self.size:
            raise MemberError(f"reaches to byte {offset + count}, but the file ends at {self.size}: truncated")
        if count == 0:
            return b""
        try:
            return bytes(self._objects.read_ranges(self._key, [offset], [count])[0])
        except (FunctaStoreError, FileNotFoundError) as error:
            raise MemberError(f"cannot be fetched: {shown(str(error))}") from error


class BlockwiseFile(RemoteFile):
    """A remote file of which blocks are fetched and kept, so that what lies side by side takes one request.

    A zip has a header before each member: read by themselves, they would double the requests.

    Args:
        url: Its address; see `RemoteFile`.
        kept: Where blocks are kept, those of other files, too; their cost is their bytes.
    """

    def __init__(self, url: str, kept: LRUCache[bytes]) -> None:
        super().__init__(url)
        self._kept = kept

    def read_at(self, offset: int, count: int) -> bytes:
        """Exactly `count` bytes; see `RandomBytes.read_at`."""
        last = (offset + max(count, 1) - 1) // _BLOCK
        if count > _BLOCK or offset + count > self.size:
            return super().read_at(offset, count)
        first = offset // _BLOCK
        data = b"".join(map(self._block, range(first, last + 1)))
        return data[offset - first * _BLOCK :][:count]

    def _block(self, number: int) -> bytes:
        start = number * _BLOCK
        fetch = super().read_at
        return self._kept.get_or_make((self.path, number), lambda: fetch(start, min(_BLOCK, self.size - start)), len)


class RemoteStamps:
    """What tells whether a remote file was changed: its length and its last 64 KiB, where directories of zips lie.

    Args:
        file: The file.
    """

    def __init__(self, file: RemoteFile) -> None:
        self._path, self._before = file.path, _tail_of(file)

    def check(self) -> None:
        """Compare the file with what it was; see `plain_files.Stamps`.

        Raises:
            ArchiveError: If it was changed or removed.
        """
        try:
            now = _tail_of(RemoteFile(self._path))
        except MemberError as error:
            raise ArchiveError(f"{self._path}: {error}") from error
        if now != self._before:
            raise ArchiveError(
                f"{self._path}: was changed while it was being converted, so that the functaset would be of no archive "
                "that exists; convert again into an empty path"
            )


def _tail_of(file: RemoteFile) -> tuple[int, str]:
    start = max(0, file.size - _TAIL_BYTES)
    return file.size, hashlib.sha256(file.read_at(start, file.size - start)).hexdigest()

"""How are the objects of a store kept on a disk, so that a crash leaves each of them whole?"""

import collections
import contextlib
import operator
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from functa_store.errors import StoreFormatError
from functa_store.store.objects import check_key, failed, too_long

PART_SUFFIX = ".part"
"""Ending of a file that is being written; a killed writer may leave one behind."""


class LocalObjects:
    """Files below a directory; see `Objects`.

    What lies behind a link out of the directory is not read, nor is anything but a plain file: a store may
    come from a stranger.

    Args:
        path: The directory; it need not exist.

    Attributes:
        name: The path, for messages.
        path: The path.
        writable: True.
        lists: True.
        requests: Always empty.
    """

    writable = True
    lists = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.name = os.fspath(self.path)
        self.requests: collections.Counter[str] = collections.Counter()

    def __repr__(self) -> str:
        return f"<LocalObjects {self.name}>"

    def read(self, key: str, at_most: int) -> bytes:
        """All bytes of a file."""
        with self.opened(key) as descriptor:
            size = os.fstat(descriptor).st_size
            if size > at_most:
                raise too_long(self.name, key, size, at_most)
            return self.read_at(key, descriptor, size, 0)

    def read_ranges(self, key: str, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """Some ranges of a file."""
        with self.opened(key) as descriptor:
            return [self.read_at(key, descriptor, n, start) for start, n in zip(starts, lengths, strict=True)]

    @contextlib.contextmanager
    def opened(self, key: str) -> Iterator[int]:
        """A descriptor of a file, if it is one and inside the directory."""
        path = os.path.join(self.name, check_key(key))
        top = os.path.realpath(self.name)
        if os.path.realpath(path) != os.path.join(top, key):
            raise StoreFormatError(f"{path}: is reached through a link, expected a plain file inside the store.")
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait for ever
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(f"{path}: there is no such file") from error
        except OSError as error:
            raise failed(self.name, key, "read", error) from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise StoreFormatError(f"{path}: is no plain file; copy or convert again.")
            yield descriptor
        finally:
            os.close(descriptor)

    def write(self, key: str, *parts: bytes | memoryview) -> None:
        """Write a file of another name, sync it, rename it, sync the directory."""
        path = self.path / check_key(key)
        part = path.with_name(path.name + PART_SUFFIX)
        try:
            _make_directory(path.parent)
            with part.open("wb", buffering=0) as file:
                for data in parts:
                    _write_whole(file.fileno(), memoryview(data).cast("B"))
                os.fsync(file.fileno())
            part.replace(path)
            sync(path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)  # a full disk needs the space
            raise failed(self.name, key, "written", error) from error

    def append_beside(self, suffix: str, data: bytes) -> None:
        """Add to the end of the file beside this directory."""
        path = self._beside(suffix)
        try:
            with path.open("ab") as file:
                file.write(data)
        except OSError as error:
            raise failed(os.fspath(path.parent), path.name, "written", error) from error

    def delete(self, keys: Sequence[str]) -> None:
        """Remove files, and the directories below this one that are empty then."""
        for key in keys:
            path = self.path / check_key(key)
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise failed(self.name, key, "removed", error) from error
            with contextlib.suppress(OSError):  # not empty, or gone
                while (path := path.parent) != self.path:
                    path.rmdir()

    def sizes(self, below: str = "") -> dict[str, int]:
        """Size of every file below a folder."""
        top = os.fspath(self.path)
        found = {}
        for key, entry in sorted(_files(top, below), key=operator.itemgetter(0)):
            with contextlib.suppress(FileNotFoundError):  # a writer renamed or removed it in between
                if entry.is_file():
                    found[key] = entry.stat().st_size
        return found

    def size(self, key: str) -> int | None:
        """Size of one file."""
        try:
            return (self.path / check_key(key)).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise failed(self.name, key, "read", error) from error

    def stamp(self, key: str) -> tuple[int, int, int] | None:
        """What changes when a file is replaced: its number, time and size; None if there is none."""
        try:
            found = (self.path / check_key(key)).stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def sibling(self, suffix: str) -> "LocalObjects":
        """The directory beside this one, wherever links to it lie: receipts and locks are those of the store."""
        return LocalObjects(self._beside(suffix))

    def below(self, folder: str) -> "LocalObjects":
        """A directory inside this one."""
        return LocalObjects(self.path / folder)

    def _beside(self, suffix: str) -> Path:
        real = os.path.realpath(self.path)
        if real == os.path.abspath(self.path) and self.path.name not in ("", ".."):
            return self.path.with_name(self.path.name + suffix)  # as the user wrote it, for messages
        return Path(real + suffix)

    def read_at(self, key: str, descriptor: int, length: int, start: int) -> bytes:
        """Some bytes of an opened file, which must have them."""
        parts = []
        while length:
            try:
                part = os.pread(descriptor, length, start)
            except OSError as error:
                raise failed(self.name, key, "read", error) from error
            if not part:
                raise StoreFormatError(f"{self.name}/{key}: ends at byte {start}, expected {length} more; it is torn.")
            parts.append(part)
            length, start = length - len(part), start + len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def sync(path: Path) -> None:
    """Make a directory's entries survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_whole(descriptor: int, data: memoryview) -> None:
    while len(data):
        data = data[os.write(descriptor, data) :]


def _make_directory(path: Path) -> None:
    """Create a directory and those above it, durably."""
    if path.is_dir():
        return
    _make_directory(path.parent)
    with contextlib.suppress(FileExistsError):  # another thread was faster
        path.mkdir()
    sync(path.parent)


def _files(top: str, below: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Key and entry of everything below a folder but directories; links to directories are not followed."""
    folders = [below]  # no recursion: a stranger's may be deeper than the stack
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(os.path.join(top, folder)) as entries:
                found = list(entries)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise failed(top, folder, "read", error) from error
        for entry in found:
            key = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                folders.append(key)
            else:
                yield key, entry

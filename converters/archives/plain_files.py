"""Plain files opened without following links or waiting for pipes, and stamps that show later changes."""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn, Protocol, runtime_checkable

from functa_store.errors import ArchiveError
from functa_store.support.shortening import shown

OUTPUTS = (".functa", ".functa.work", ".functa.log")
"""Endings of what a conversion into a folder writes, which one that goes on must not take for its archive."""

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # opening a pipe would wait for ever
_FOLDER = _READ | os.O_DIRECTORY


def checked_path(path: Any) -> str:
    """The path of an archive, or of a file beside it, made absolute.

    Raises:
        ArchiveError: If it is no path that a system call takes.
    """
    try:
        text = os.fspath(path)
    except TypeError as error:
        raise ArchiveError(f"found {path!r} as a path to read, expected a str or os.PathLike") from error
    if not isinstance(text, str):
        raise ArchiveError(f"found {text!r} as a path to read, expected a str, not bytes")
    if not text or "\0" in text:
        raise ArchiveError(f"found {shown(text)!r} as a path to read, expected one that is not empty, without NUL")
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise ArchiveError(f"found {shown(text)!r} as a path to read, which no file system can hold") from error
    return os.path.abspath(text)


def base_name(path: str) -> str:
    """Last part of a path, as text that can be stored: bytes that are no UTF-8 are escaped."""
    return os.fsencode(os.path.basename(path)).decode("utf-8", "backslashreplace")


def open_plain(path: str) -> int:
    """A descriptor of a file, which may be reached through links.

    Raises:
        OSError: If it cannot be opened.
        ArchiveError: If it is no plain file.
    """
    return _checked(os.open(path, _READ), path)


def open_below(folder: str, member: str) -> int:
    """A descriptor of a file in a folder, reached through no link; what replaces a part meanwhile is not followed.

    Args:
        folder: Its real path.
        member: Below it, with "/" between folders.

    Raises:
        OSError: If it cannot be opened, or a part of the member's name is a link.
        ArchiveError: If it is no plain file.
    """
    *above, name = member.split("/")
    directory = os.open(folder, _FOLDER)
    try:
        for part in above:
            below = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=directory)
            os.close(directory)
            directory = below
        return _checked(os.open(name, _READ | os.O_NOFOLLOW, dir_fd=directory), member)
    finally:
        os.close(directory)


def links_may_lead_to(folder: str) -> str:
    """The folder, by its real path with "/" behind it, that links in a folder may lead to: itself.

    In a snapshot of the Hugging Face hub's cache files are links to blobs of the same data set, which lie beside it.
    """
    real = os.path.realpath(folder)
    above, snapshots = os.path.split(os.path.dirname(real))
    return os.path.join(above if snapshots == "snapshots" else real, "")


def walk_files(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """Path and status of all that is in a folder and no folder, links not followed.

    Raises:
        ArchiveError: If a folder in it, or a file's status, cannot be read: what is not seen would count as not there.
    """
    for here, _, names in os.walk(folder, onerror=_refuse):
        for name in names:
            path = os.path.join(here, name)
            try:
                found = os.lstat(path)
            except FileNotFoundError:  # removed meanwhile
                continue
            except OSError as error:
                _refuse(error)
            else:
                yield path, found


def _refuse(error: OSError) -> NoReturn:
    raise ArchiveError(f"{error.filename}: cannot be read: {error.strerror}; allow it, or move it away") from error


def sha256_of(descriptor: int) -> str:
    """Hexadecimal digest of an opened file, which is closed."""
    with open(descriptor, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_named(digests: Iterable[tuple[str, str]]) -> str:
    """Hexadecimal digest over the lines "name, NUL, digest" of several files, in their order."""
    found = hashlib.sha256()
    for name, digest in digests:
        found.update(f"{name}\0{digest}\n".encode())
    return found.hexdigest()


def _checked(descriptor: int, name: str) -> int:
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise ArchiveError(f"{name}: found no plain file but a folder, pipe, socket or device; save it as a file")


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

"""Opening of plain files without following links out of a folder, and without waiting for pipes."""

import hashlib
import os
import stat
from collections.abc import Iterator
from typing import Any, NoReturn

from functa_store.errors import ArchiveError

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # opening a pipe would wait for ever
_FOLDER = _READ | os.O_DIRECTORY
_SHOWN = 100


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


def shown(text: str) -> str:
    """A text for a message, cut if it is long."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


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


def _checked(descriptor: int, name: str) -> int:
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise ArchiveError(f"{name}: found no plain file but a folder, pipe, socket or device; save it as a file")

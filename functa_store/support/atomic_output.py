"""Files and folders that appear whole or not at all."""

import contextlib
import errno
import functools
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from functa_store.errors import ConfigError, FunctaStoreError, StorageError, StoreExistsError
from functa_store.support.interrupts import removing

PART_SUFFIX = ".part"
"""Ending of a file that is being written; a killed writer may leave one behind."""


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A file beside `path`, of the same suffix, that takes its place when the block ends, and is gone if it fails.

    Args:
        path: What is to be written. If there is such a file already, it stays as it is until then. What is no file,
            such as a device, is handed out itself.

    Raises:
        OSError: If the place cannot be taken.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        yield Path(path)
        return
    part = target.with_name(f".{secrets.token_hex(8)}.part{target.suffix}")
    gone = functools.partial(_remove, part)
    try:
        with removing(gone):
            yield part
            part.replace(target)
    finally:
        gone()


def check_folder(path: Path, said_of: str | None = None) -> None:
    """Refuse a place in a folder that does not exist, before there is anything to write.

    Args:
        path: What is to be written.
        said_of: What the message calls it; None for the path.

    Raises:
        ConfigError: If there is no such folder.
    """
    if not path.parent.is_dir():
        raise ConfigError(f"{said_of or path}: there is no folder {path.parent}; create it first")


def check_replaceable(path: str | os.PathLike[str], said_of: str | None = None) -> None:
    """Refuse a place that `replacing` cannot take, before there is anything to write.

    Args:
        path: What is to be written.
        said_of: What the message calls it; None for the path.

    Raises:
        StorageError: If it cannot be written.
    """
    try:
        _try(Path(os.path.realpath(path)))
    except OSError as error:
        told = error.strerror or error
        raise StorageError(f"{said_of or path}: cannot be written: {told}; choose another place") from error


def _try(target: Path) -> None:
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if target.exists() and not target.is_file():
        if not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return
    part = target.with_name(f".{secrets.token_hex(8)}.part{target.suffix}")
    with removing(functools.partial(_remove, part)):
        part.open("xb").close()
        part.unlink()


def _remove(part: Path) -> None:
    with contextlib.suppress(OSError):
        part.unlink(missing_ok=True)


ATTEMPTS = 3
"""Times that a folder is removed into which threads still write."""


def check_free(path: Path) -> None:
    """Refuse to replace anything.

    Raises:
        StoreExistsError: If there is something at a path, or unfinished beside it.
    """
    _refuse_existing(path)
    if os.path.lexists(_part_of(path)):
        raise _another(path)


@contextlib.contextmanager
def finished_or_gone(path: Path, *, is_file: bool) -> Iterator[Path]:
    """A place beside the output, a file or a folder as that is, which becomes it; removed if the block fails.

    Raises:
        StoreExistsError: If another export to the path is running, or there is something there in the end.
        StorageError: If the place cannot be made, or the block fails to write there.
    """
    part = _part_of(path)
    try:
        part.touch(exist_ok=False) if is_file else part.mkdir()
    except FileExistsError as error:
        raise _another(path) from error
    except OSError as error:
        raise StorageError(f"{part}: cannot be made: {error.strerror}; choose another folder") from error
    try:
        with removing(functools.partial(_remove_part, part)):
            yield part
            _refuse_existing(path)
            part.rename(path)
    except BaseException as error:
        left = _remove_part(part)
        if isinstance(error, OSError) and not isinstance(error, FunctaStoreError):
            raise StorageError(f"{path}: cannot be written: {error.strerror or error}; {left}") from error
        raise


def _part_of(path: Path) -> Path:
    return path.with_name(path.name + PART_SUFFIX)


def _another(path: Path) -> StoreExistsError:
    return StoreExistsError(
        f"{_part_of(path)}: another export to {path.name} is running, or was cut off; delete it if none is running"
    )


def _refuse_existing(path: Path) -> None:
    if os.path.lexists(path):
        raise StoreExistsError(f"{path}: exists already; delete it, or choose another path")


def _remove_part(part: Path) -> str:
    """Delete what is unfinished, and say so."""
    for _ in range(ATTEMPTS):
        with contextlib.suppress(OSError):
            shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)
            break
    return f"delete {part}" if os.path.lexists(part) else "what had been written is removed"

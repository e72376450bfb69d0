"""How does a file take the place of another one only once it is whole?"""

import contextlib
import errno
import functools
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from functa_store.interrupts import removing


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


def check_replaceable(path: str | os.PathLike[str]) -> None:
    """Try whether `replacing` can take a place, before there is anything to write.

    Raises:
        OSError: If it cannot.
    """
    target = Path(os.path.realpath(path))
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

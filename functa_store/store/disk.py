"""How do bytes reach the disk so that a crash leaves all of them or none?"""

import os
from collections.abc import Mapping
from pathlib import Path

import google_crc32c
import tensorstore

from functa_store.store.spec import FileRecord

LOCK_SUFFIX = ".__lock"
"""Ending of TensorStore's temporary files; a killed writer may leave one behind."""


def put(directory: Path, files: Mapping[str, bytes]) -> None:
    """Replace files atomically and durably, keys relative to the directory.

    TensorStore writes a temporary file, syncs it, renames it and syncs the directory.
    """
    store = tensorstore.KvStore.open({"driver": "file", "path": f"{directory.absolute()}/"}).result()
    for key, write in [(key, store.write(key, data)) for key, data in files.items()]:
        try:
            write.result()
        except ValueError as error:  # how TensorStore reports every failure of the file system
            raise OSError(f"{directory / key}: cannot be written: {error}") from error


def sync(path: Path) -> None:
    """Make a file or directory survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(directory: Path) -> None:
    """Make a directory and all below it survive a power failure."""
    for path in [*directory.rglob("*"), directory]:
        sync(path)


def files_below(directory: Path) -> dict[str, Path]:
    """Every file below a directory by its relative name with slashes, in order of the names."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return dict(sorted((path.relative_to(directory).as_posix(), path) for path in files))


def record(data: bytes) -> FileRecord:
    """Size and checksum of a file's bytes."""
    return FileRecord(bytes=len(data), crc32c=f"{google_crc32c.value(data):08x}")

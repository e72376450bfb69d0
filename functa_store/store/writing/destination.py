"""Places where a store may be written, checked before hours of work, and claimed."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from functa_store.errors import (
    ConfigError,
    StorageError,
    StoreExistsError,
    StoreFormatError,
)
from functa_store.store.format.load_spec import load_spec
from functa_store.store.format.spec import ROOT, StoreSpec
from functa_store.store.storage.local import LocalObjects
from functa_store.store.storage.objects import (
    NO_OPTIONS,
    Location,
    Objects,
    StorageOptions,
    open_objects,
)
from functa_store.store.storage.writer_lock import CONVERSION, SKELETON, WORK_SUFFIX, sole_writer

SUFFIX = ".functa"


@dataclasses.dataclass(frozen=True)
class Destination:
    """What lay where a store is to be written, when it was looked at.

    Attributes:
        store: The place.
        spec: What the store says about itself; None if there is none.
    """

    store: Objects
    spec: StoreSpec | None

    @classmethod
    def of(cls, store: Objects) -> "Destination":
        """Read what the root at a place says.

        Raises:
            StoreFormatError: If there is a root, but none of a store.
        """
        return cls(store, None if store.size(ROOT) is None else load_spec(store))

    @property
    def state(self) -> Literal["absent", "unfinished", "complete"]:
        """How far the store is."""
        if self.spec is None:
            return "absent"
        return "complete" if self.spec.complete else "unfinished"


@contextlib.contextmanager
def claim(location: Location, storage: StorageOptions = NO_OPTIONS) -> Iterator[tuple[Destination, Objects]]:
    """Be the only process that writes a store; see `sole_writer`.

    Yields:
        What lies there, and the work folder beside it.

    Raises:
        FunctaStoreError: See `check_output` and `sole_writer`.
    """
    with sole_writer(check_output(location, storage).store) as (store, work):
        yield check_output(store), work  # another process may have finished it meanwhile


def check_output(location: Location, storage: StorageOptions = NO_OPTIONS) -> Destination:
    """What lies at a location, if a store can be written or resumed there; ask before hours of work.

    A complete one passes only while the work folder of whoever completed it is still there.

    Raises:
        ConfigError: If it does not end in `.functa`, or cannot be written by its kind.
        StoreExistsError: If it holds a complete store or something foreign.
        StorageError: If it cannot be reached, or files cannot be written there.
        StoreFormatError: If the work folder beside it is a link.
    """
    store = open_objects(location, storage)
    if not store.name.endswith(SUFFIX) or store.name.endswith(f"/{SUFFIX}"):
        raise ConfigError(f"{store.name}: the path of a functaset must end in {SUFFIX}, such as celeba{SUFFIX}")
    if not store.writable:
        raise ConfigError(f"{store.name}: a web server is for reading; write to a path, s3:// or gs://")
    if isinstance(store, LocalObjects):
        _check_place(store)
    try:
        found = Destination.of(store)
    except StoreFormatError as error:
        raise StoreExistsError(f"{store.name}: holds something else ({error}). Choose another path.") from error
    work = store.sibling(WORK_SUFFIX)
    if found.state == "absent" and work.size(SKELETON) is None and (other := _anything(store)):
        raise StoreExistsError(f"{store.name}: holds something else ({other}). Choose another path.")
    if found.state == "complete" and not _is_there(work):
        raise already_complete(store)
    return found


def _check_place(store: LocalObjects) -> None:
    """Refuse a path at which no folder can be made, or in which no file can.

    Raises:
        StoreExistsError: If there is a file, or a link to nothing, where a folder should be.
        StorageError: If a folder may not be written.
    """
    path = store.path
    if path.is_symlink() and not path.exists():
        raise StoreExistsError(f"{path}: is a link to {os.readlink(path)}, where nothing is. Choose another path.")
    above = next(folder for folder in (path, *path.absolute().parents) if os.path.lexists(folder))
    if above != path and not above.is_dir():
        raise StoreExistsError(f"{path}: {above} is no folder. Choose another path.")
    folder = Path(os.path.realpath(path)).parent if above == path else above
    for place in {above, folder}:
        if place.is_dir() and not os.access(place, os.W_OK | os.X_OK):
            raise StorageError(f"{path}: {place} may not be written. Choose another path, or change its permissions.")


def _is_there(work: Objects) -> bool:
    """Whether a work folder was left; on a disk an empty one, too, which whoever claims it removes in the end."""
    if isinstance(work, LocalObjects):
        return work.is_folder()
    return any(work.size(key) is not None for key in (SKELETON, CONVERSION))


def already_complete(store: Objects) -> StoreExistsError:
    """What to raise where a store has been written already."""
    return StoreExistsError(f"{store.name}: holds a complete functaset already. Delete it, or choose another path.")


def _anything(store: Objects) -> str | None:
    """The name of something that lies at a place, or why that cannot be known."""
    try:
        return next(iter(store.sizes()), None)
    except StorageError as error:
        if not isinstance(store, LocalObjects):
            raise
        return str(error)

"""Places where a store may be written, checked before hours of work."""

import os
from pathlib import Path

from functa_store.errors import (
    ConfigError,
    StorageError,
    StoreExistsError,
    StoreFormatError,
)
from functa_store.store.format.load_spec import load_spec
from functa_store.store.format.spec import ROOT
from functa_store.store.storage.local import LocalObjects
from functa_store.store.storage.objects import (
    NO_OPTIONS,
    Location,
    Objects,
    StorageOptions,
    open_objects,
)
from functa_store.store.storage.work_folder import CONVERSION, SKELETON, WORK_SUFFIX

SUFFIX = ".functa"


def check_output(location: Location, storage: StorageOptions = NO_OPTIONS) -> Objects:
    """The objects at a location, if a store can be written or resumed there; ask before hours of work.

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
    if store.size(ROOT) is None:
        if store.sibling(WORK_SUFFIX).size(SKELETON) is None and (found := _anything(store)):
            raise StoreExistsError(f"{store.name}: holds something else ({found}). Choose another path.")
        return store
    try:
        complete = load_spec(store).complete
    except StoreFormatError as error:
        raise StoreExistsError(f"{store.name}: holds something else ({error}). Choose another path.") from error
    if complete and not _is_there(store.sibling(WORK_SUFFIX)):
        raise already_complete(store)
    return store


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

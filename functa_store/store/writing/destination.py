"""Places where a store may be written, checked before hours of work, and claimed."""

import contextlib
import dataclasses
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from functa_store.errors import (
    ConfigError,
    NoFunctasetError,
    StorageError,
    StoreExistsError,
    StoreFormatError,
)
from functa_store.store.format.load_spec import load_spec
from functa_store.store.format.parts import is_part
from functa_store.store.format.spec import ROOT, StoreSpec
from functa_store.store.storage.local import LocalObjects
from functa_store.store.storage.objects import (
    NO_OPTIONS,
    Location,
    Objects,
    StorageOptions,
    open_objects,
)
from functa_store.store.storage.writer_lock import (
    CONVERSION,
    EXACT_STORE,
    LOG_SUFFIX,
    SKELETON,
    WORK_SUFFIX,
    sole_writer,
)

SUFFIX = ".functa"

MOST_NAME_BYTES = 255
"""Of a file or folder, on nearly every disk."""


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
        StoreExistsError: If it holds a complete store or something foreign, lies inside a store, or something else is
            where its work folder and its log would be.
        StorageError: If it cannot be reached, its name is too long, or files cannot be written there.
        StoreFormatError: If the work folder or the log beside it is a link.
    """
    if isinstance(location, str) and location.strip().lower().startswith("hf://"):
        raise ConfigError(f"{location.strip()}: data sets of the hub are written by functa push; write to a path first")
    store = open_objects(location, storage)
    if not store.name.endswith(SUFFIX) or store.name.endswith(f"/{SUFFIX}"):
        raise ConfigError(f"{store.name}: the path of a functaset must end in {SUFFIX}, such as celeba{SUFFIX}")
    if not store.writable:
        raise ConfigError(f"{store.name}: a web server is for reading; write to a path, s3:// or gs://")
    if isinstance(store, LocalObjects):
        _check_place(store)
        _check_beside(store)
    _check_outside_of_stores(store, location, storage)
    try:
        found = Destination.of(store)
    except StoreFormatError as error:
        raise StoreExistsError(f"{store.name}: holds something else ({error}). Choose another path.") from error
    work = store.sibling(WORK_SUFFIX)
    if found.state == "absent" and work.size(SKELETON) is None and (other := _anything(store)):
        raise StoreExistsError(f"{store.name}: holds something else ({other}). Choose another path.")
    if found.state == "complete" and not is_left(work):
        raise already_complete(store)
    return found


def _check_place(store: LocalObjects) -> None:
    """Refuse a path at which no folder can be made, or in which no file can.

    Raises:
        StoreExistsError: If there is a file, or a link to nothing, where a folder should be.
        StorageError: If a folder may not be written.
    """
    path = store.path
    longest = max((*path.absolute().parts, path.name + WORK_SUFFIX), key=lambda part: len(os.fsencode(part)))
    if (found := len(os.fsencode(longest))) > MOST_NAME_BYTES:
        raise StorageError(
            f"{store.name[:100]}...: the name {longest[:50]}... has {found} bytes, expected at most {MOST_NAME_BYTES} "
            f"with the ending {WORK_SUFFIX}. Choose a shorter one."
        )
    if path.is_symlink() and not path.exists():
        raise StoreExistsError(f"{path}: is a link to {os.readlink(path)}, where nothing is. Choose another path.")
    above = next(folder for folder in (path, *path.absolute().parents) if os.path.lexists(folder))
    if above != path and not above.is_dir():
        raise StoreExistsError(f"{path}: {above} is no folder. Choose another path.")
    folder = Path(os.path.realpath(path)).parent if above == path else above
    for place in {above, folder}:
        if place.is_dir() and not os.access(place, os.W_OK | os.X_OK):
            raise StorageError(f"{path}: {place} may not be written. Choose another path, or change its permissions.")


def _check_beside(store: LocalObjects) -> None:
    """Refuse what is neither a work folder nor a log where these would be.

    Raises:
        StoreExistsError: If something else is there.
        StoreFormatError: If a link is there.
    """
    for suffix, is_right, expected in ((WORK_SUFFIX, stat.S_ISDIR, "a folder"), (LOG_SUFFIX, stat.S_ISREG, "a file")):
        beside = store.sibling(suffix)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            mode = os.lstat(beside.path).st_mode
            if not is_right(mode):
                error, found = (
                    (StoreFormatError, "a link") if stat.S_ISLNK(mode) else (StoreExistsError, "something else")
                )
                raise error(
                    f"{beside.name}: is {found}, expected nothing, or {expected} of ours. Move it, or choose "
                    "another path."
                )


def _check_outside_of_stores(store: Objects, location: Location, storage: StorageOptions) -> None:
    """Refuse a place inside a functaset, finished or not, or inside the work folder of one.

    Raises:
        StoreExistsError: If it is one.
    """
    if isinstance(store, LocalObjects):
        above = map(LocalObjects, Path(os.path.realpath(store.path)).parents)
    elif isinstance(location, str):
        ends = [match.end() - 1 for match in re.finditer(rf"{re.escape(SUFFIX)}/", location)]
        above = (open_objects(location[:end], storage) for end in ends)
    else:
        return
    is_ours = os.path.basename(store.name) == EXACT_STORE  # in the work folder of the conversion that writes it
    written = store.name.removesuffix(f"{WORK_SUFFIX}/{EXACT_STORE}")
    if not isinstance(location, str | os.PathLike) and is_part(written):
        return  # nobody else names a place inside a functaset by its objects
    for folder in above:
        if (folder.name.endswith(SUFFIX + WORK_SUFFIX) and not is_ours) or _is_store(folder):
            raise StoreExistsError(f"{store.name}: lies inside {folder.name}, which is a store. Choose another path.")


def _is_store(folder: Objects) -> bool:
    try:
        if folder.name.endswith(SUFFIX) and is_left(folder.sibling(WORK_SUFFIX)):
            return True  # it is being learned
        return folder.size(ROOT) is not None and load_spec(folder) is not None
    except (NoFunctasetError, StorageError):
        return False
    except StoreFormatError:  # it is damaged
        return True


def is_left(work: Objects) -> bool:
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

"""Functasets pushed to data sets of the Hugging Face hub and pulled from them, through the library huggingface_hub.

What is pushed becomes visible in one commit, the last: nobody sees half a functaset. What is pulled appears at its path
when it is whole and verified; until then it lies in `PATH.part`, from which an interrupted pull goes on.
"""

import contextlib
import fcntl
import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from functa_store.decode.functaset import Functaset
from functa_store.errors import (
    ConfigError,
    FunctaStoreError,
    NoFunctasetError,
    StorageError,
    StoreExistsError,
    StoreFormatError,
)
from functa_store.progress import Note, Report, Transferred, silent
from functa_store.sharing.card import PICTURE
from functa_store.sharing.hub_calls import ChangedMeanwhileError, HubCalls, quiet
from functa_store.store.format.load_spec import load_spec
from functa_store.store.format.parts import GROUP
from functa_store.store.format.spec import ROOT
from functa_store.store.reading.reader import take_inventory
from functa_store.store.reading.verify import verify
from functa_store.store.storage.hub import COMMIT, MAIN, TOKEN, Dataset, pinned, token_of
from functa_store.store.storage.local import LocalObjects
from functa_store.store.storage.location import Address, parse_location
from functa_store.store.storage.objects import (
    NO_OPTIONS,
    Location,
    Objects,
    StorageOptions,
    check_key,
    open_objects,
)
from functa_store.store.storage.server_calls import map_in_threads
from functa_store.store.writing.destination import SUFFIX
from functa_store.support.atomic_output import PART_SUFFIX
from functa_store.support.optional import require

FILES_AT_A_TIME = 64
"""Files whose large contents are uploaded before progress is told."""

THREADS = 8
"""Files that are fetched together."""

MOST_PER_COMMIT = 1000
"""Files of one commit, as many as the hub's own library takes; a functaset of more comes in several, its root last."""

ATTEMPTS = 3
"""Times that a push begins, where others change the data set meanwhile."""

MOST_NAMED = 3
"""Damaged or missing files that a message names."""

CARD = "README.md"


def push(
    functaset: Functaset | Location,
    address: str,
    *,
    card: str | os.PathLike[str] | None = None,
    private: bool = False,
    check: bool = True,
    storage: StorageOptions = NO_OPTIONS,
    report: Report = silent,
) -> str:
    """Upload a functaset to a data set of the Hugging Face hub, which is made if there is none.

    Interrupted at any moment, the same call goes on: what the hub has is not sent again. A functaset that is at the
    address already is replaced; earlier commits keep it. Of two pushes at a time to one address, one ends up there
    whole.

    Args:
        functaset: A complete one on a disk.
        address: "hf://datasets/OWNER/NAME", below which it gets its own name, or a path below it that ends in .functa;
            "hf://datasets/OWNER/NAME@BRANCH/..." for another branch than main.
        card: A README.md of the data set, as `card` writes it, and the sheet beside it if there is one.
        private: Make a new data set private.
        check: Compare all bytes with their checksums before anything is sent.
        storage: `timeout`, and an `endpoint` other than that of the environment; the token is that of HF_TOKEN.
        report: Told of the progress.

    Returns:
        The address at the commit that has it.

    Raises:
        ConfigError: If the address is none of the hub, the functaset is not on a disk, or there is no token.
        StoreFormatError: If the functaset is unfinished or damaged.
        StoreExistsError: If something else is at the address.
        StorageError: If the hub cannot be reached or refuses, or the disk cannot be read.
        MissingLibraryError: If huggingface_hub is not installed.
    """
    hub = _library()
    store = open_objects(functaset, storage)
    if not isinstance(store, LocalObjects):
        raise ConfigError(
            f"{store.name}: expected a path on a disk, from which the hub's library uploads; copy it first"
        )
    place = _hub_address(address)
    dataset = Dataset.of(place)
    if COMMIT.fullmatch(dataset.revision):
        raise ConfigError(f"{address}: expected a branch behind the @, found a commit, which nothing is added to")
    path = place.prefix or store.path.absolute().name
    if not path.endswith(SUFFIX) or path.endswith(f"/{SUFFIX}"):
        raise ConfigError(f"hf://{dataset.host}/{path}: the path of a functaset must end in {SUFFIX}")
    if token_of(storage) is None:
        raise ConfigError(f"{address}: there is no token; set {TOKEN} in the environment to one that may write there")
    if check:
        _check_whole(store)
    files = {f"{path}/{key}": Path(store.path, key) for key in _keys_of(store)}
    extra = _card_files(card)
    _note(report, f"{len(files):,} files of {store.name} go to hf://{dataset.host}/{path}")
    with quiet(report):
        api = HubCalls(hub, storage, f"hf://{dataset.host}")
        api.ask(lambda own: own.create_repo(dataset.name, repo_type="dataset", private=private or None, exist_ok=True))
        if dataset.revision != MAIN:
            options = {"branch": dataset.revision, "repo_type": "dataset", "exist_ok": True}
            api.ask(lambda own: own.create_branch(dataset.name, **options))
        commit = _anew(lambda: _add(api, dataset, path, files, extra, report))
        arrived = api.listing(Dataset(dataset.name, commit), path)
    missing = [name for name, size in _sizes(files).items() if arrived.get(name) != size]
    if missing:
        raise StorageError(
            f"hf://{dataset.host}: the hub left out {', '.join(missing[:MOST_NAMED])}; take a .gitignore out of the "
            "data set, and push again"
        )
    return f"hf://{Dataset(dataset.name, commit).host}/{path}"


def pull(
    address: str,
    path: str | os.PathLike[str],
    *,
    storage: StorageOptions = NO_OPTIONS,
    report: Report = silent,
) -> str:
    """Download a functaset from a data set of the Hugging Face hub, and verify it.

    Interrupted at any moment, the same call goes on with what is in `PATH.part`; nothing is at the path before all is.

    Args:
        address: "hf://datasets/OWNER/NAME@REVISION/x.functa"; without a revision the branch main, and without a
            path the only functaset of the data set.
        path: Where it goes, a path that ends in .functa.
        storage: `timeout`, `anonymous`, and an `endpoint` other than that of the environment; the token is that of
            HF_TOKEN, if there is one.
        report: Told of the progress.

    Returns:
        The address at the commit that was pulled.

    Raises:
        ConfigError: If the address is none of the hub, or the path none for a functaset.
        NoFunctasetError: If there is no functaset, data set or revision.
        StoreFormatError: If what was downloaded is not what was pushed; it is removed.
        StoreExistsError: If something is at the path, or another process is pulling to it.
        StorageError: If the hub cannot be reached or refuses, or the disk cannot be written.
        MissingLibraryError: If huggingface_hub is not installed.
    """
    hub = _library()
    place = _hub_address(address)
    target = Path(os.path.abspath(os.path.expanduser(_local_path(path))))
    if os.path.lexists(target):
        raise StoreExistsError(f"{target}: exists already; delete it, or choose another path")
    place = pinned(place, storage)
    dataset = Dataset.of(place)
    with quiet(report):
        api = HubCalls(hub, storage, f"hf://{dataset.host}")
        below, listing = _find(api, dataset, place.prefix)
        _check_finished(f"hf://{dataset.host}/{below}".rstrip("/"), storage)
        _note(report, f"{len(listing):,} files of hf://{dataset.host}/{below} go to {target}")
        with _sole_part(target) as part:
            _download(api, dataset, listing, part, report)
            _complete(part, below, listing, target)
    return f"hf://{dataset.host}/{below}".rstrip("/")


def _library() -> Any:
    return require("huggingface_hub", extra="hub")


def _note(report: Report, message: str) -> None:
    report(Note(message=message))


def _hub_address(address: str) -> Address:
    place = parse_location(address)
    if isinstance(place, str) or place.scheme != "hf":
        raise ConfigError(f"{address}: expected an address such as hf://datasets/OWNER/NAME/x{SUFFIX}")
    return place


def _local_path(path: str | os.PathLike[str]) -> str:
    place = parse_location(path)
    if not isinstance(place, str):
        raise ConfigError(f"{path}: expected a path on a disk")
    if not place.endswith(SUFFIX) or os.path.basename(place) == SUFFIX:
        raise ConfigError(f"{path}: the path of a functaset must end in {SUFFIX}, such as faces{SUFFIX}")
    return place


def _check_whole(store: Objects) -> None:
    """Refuse a store that readers of the hub could not read.

    Raises:
        StoreFormatError: If it is unfinished or damaged.
    """
    verdict = verify(store)
    if verdict.damaged:
        named = "; ".join(f"{key} {what}" for key, what in itertools.islice(verdict.damaged.items(), MOST_NAMED))
        raise StoreFormatError(f"{store.name}: is damaged ({named}); functa repair mends it. Nothing was sent.")


def _keys_of(store: Objects) -> list[str]:
    """Every object of a complete store, those of its parts included, and nothing else; its root comes last.

    Raises:
        StoreFormatError: If it is unfinished.
    """
    there = take_inventory(store)
    if not there.spec.complete:
        raise StoreFormatError(
            f"{store.name}: unfinished store; finish it by the command that was interrupted. Nothing was sent."
        )
    of_parts = [f"{part.name}/{key}" for part in there.parts for key in _keys_of(store.below(part.name))]
    group = [GROUP] if there.parts and store.size(GROUP) is not None else []
    return [*there.records, *of_parts, *group, ROOT]


def _card_files(card: str | os.PathLike[str] | None) -> dict[str, Path]:
    """A card and its sheet, by their names in the data set."""
    if card is None:
        return {}
    path = Path(card)
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such card; functa card writes one")
    picture = path.with_name(PICTURE)
    return {CARD: path} | ({PICTURE: picture} if picture.is_file() else {})


def _sizes(files: dict[str, Path]) -> dict[str, int]:
    try:
        return {name: file.stat().st_size for name, file in files.items()}
    except OSError as error:
        raise StorageError(f"{error.filename}: cannot be read: {error.strerror or error}") from error


def _anew(attempt: Callable[[], str]) -> str:
    """What an attempt to add to a branch returns, made again where others add to it meanwhile."""
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(ChangedMeanwhileError):
            return attempt()
    return attempt()


def _add(
    api: HubCalls,
    dataset: Dataset,
    path: str,
    files: dict[str, Path],
    extra: dict[str, Path],
    report: Report,
) -> str:
    """Send files and commit them on top of what the branch has now; the hash of the last commit.

    Large contents are sent before any commit. Of a store that comes in several commits, the first removes the hub's
    root and what the store has not, the last sets its root. What is not sent is what the hub has at the commit below:
    were others added to the branch meanwhile, two functasets could get mixed.

    Raises:
        ChangedMeanwhileError: If they were.
        StoreExistsError: If something else is at the path.
    """
    head = api.head(dataset)
    there = api.listing(Dataset(dataset.name, head), path)
    root = f"{path}/{ROOT}"
    if there and root not in there and not there.keys() <= files.keys():
        raise StoreExistsError(
            f"hf://{dataset.host}/{path}: holds something that is no functaset. Choose another path."
        )
    add, remove = api.library.CommitOperationAdd, api.library.CommitOperationDelete
    options = {"repo_type": "dataset", "revision": dataset.revision}
    sizes, done, began = _sizes(files | extra), 0, time.monotonic()
    operations = [add(path_in_repo=name, path_or_fileobj=str(file)) for name, file in (files | extra).items()]
    for some in _batches(operations, FILES_AT_A_TIME):
        api.ask(lambda own, some=some: own.preupload_lfs_files(dataset.name, some, free_memory=False, **options))
        done += sum(sizes[operation.path_in_repo] for operation in some)
        report(_transferred(done, sum(sizes.values()), began))
    last = [operation for operation in operations if operation.path_in_repo in (root, CARD, PICTURE)]
    deleted = [remove(path_in_repo=name) for name in sorted(there.keys() - files.keys())]
    steps = list(_batches([operation for operation in operations if operation not in last], MOST_PER_COMMIT))
    if len(steps) == 1:
        steps = [steps[0] + last + deleted]
    else:
        first = [remove(path_in_repo=root)] if root in there else []
        steps = [first + deleted + steps[0], *steps[1:], last]
    message = f"Functaset {path}"
    commit = head
    for number, step in enumerate(steps):
        part = f" ({number + 1} of {len(steps)})" if len(steps) > 1 else ""
        told = {"commit_message": message + part, "parent_commit": commit, **options}
        commit = api.ask(lambda own, step=step, told=told: own.create_commit(dataset.name, step, **told)).oid
    return commit


def _batches(values: Sequence[Any], size: int) -> Iterator[list[Any]]:
    return (list(values[start : start + size]) for start in range(0, len(values), size))


def _transferred(done: int, total: int, began: float) -> Transferred:
    speed = done / max(time.monotonic() - began, 1e-3)
    return Transferred(done=done, total=total, bytes_per_second=speed, seconds_left=(total - done) / max(speed, 1e-3))


def _find(api: HubCalls, dataset: Dataset, path: str) -> tuple[str, dict[str, int]]:
    """Where the functaset is that is meant, and the size of each of its files by its name in the data set.

    Raises:
        NoFunctasetError: If there is none, or several.
        StoreFormatError: If the hub lists what can be no file.
    """
    listing = api.listing(dataset, path)
    prefix = f"{path}/" if path else ""
    if f"{prefix}{ROOT}" not in listing:
        roots = [name.removesuffix(f"/{ROOT}") for name in listing if name.endswith(f"{SUFFIX}/{ROOT}")]
        stores = [name for name in roots if not any(name.startswith(f"{other}/") for other in roots)]
        if path or len(stores) != 1:
            named = f"; name one of {', '.join(stores[:20])}" if stores else ""
            raise NoFunctasetError(
                f"hf://{dataset.host}/{path}: found {len(stores) or 'no'} functasets, expected one{named}"
            )
        path, prefix = stores[0], f"{stores[0]}/"
        listing = {name: size for name, size in listing.items() if name.startswith(prefix)}
    for name in listing:
        check_key(name)
    return path, listing


def _check_finished(address: str, storage: StorageOptions) -> None:
    """Look at the root before anything else is fetched.

    Raises:
        StoreFormatError: If the functaset is unfinished, or none that this release reads.
        StorageError: If the hub cannot be reached or refuses.
    """
    if not load_spec(open_objects(address, storage)).complete:
        raise StoreFormatError(
            f"{address}: unfinished store; finish it where it was begun, and push it again. Nothing was downloaded."
        )


@contextlib.contextmanager
def _sole_part(target: Path) -> Iterator[Path]:
    """The folder in which a download is gathered; it stays if that fails.

    Raises:
        StoreExistsError: If another process uses it.
        StorageError: If it cannot be made.
    """
    part = target.with_name(target.name + PART_SUFFIX)
    try:
        part.mkdir(exist_ok=True)
        descriptor = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise StorageError(f"{part}: cannot be made: {error.strerror or error}; choose another path") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield part
    except BlockingIOError as error:
        raise StoreExistsError(f"{part}: another process is pulling to {target.name}; wait for it") from error
    finally:
        os.close(descriptor)


def _download(api: HubCalls, dataset: Dataset, listing: dict[str, int], part: Path, report: Report) -> None:
    """Fetch the files of a functaset into a folder, those apart that are there already at this commit."""
    options = {"repo_type": "dataset", "revision": dataset.revision, "local_dir": str(part)}

    def fetch(name: str) -> int:
        api.ask(lambda own: own.hf_hub_download(dataset.name, name, **options))
        return listing[name]

    total, done, began = sum(listing.values()), 0, time.monotonic()
    for size in map_in_threads(fetch, sorted(listing), threads=THREADS, name="pull"):
        done += size
        report(_transferred(done, total, began))


def _complete(part: Path, below: str, listing: dict[str, int], target: Path) -> None:
    """Verify what was downloaded and put it in its place.

    Raises:
        StoreFormatError: If it is damaged.
        StoreExistsError: If something is there by now.
        StorageError: If the disk fails.
    """
    try:
        store = part.joinpath(below) if below else part
        shutil.rmtree(part / ".cache", ignore_errors=True)
        for file in [path for path in store.rglob("*") if path.is_file() or path.is_symlink()]:
            if file.relative_to(part).as_posix() not in listing:  # of another commit
                file.unlink()
        verdict = verify(store)
        if verdict.damaged or not verdict.complete:
            named = "; ".join(f"{key} {what}" for key, what in itertools.islice(verdict.damaged.items(), MOST_NAMED))
            shutil.rmtree(part)
            found = f"damaged: {named}" if named else "unfinished"
            raise StoreFormatError(
                f"{target}: what was downloaded is {found}; it is removed. Pull again, and if that does not help, have "
                "it pushed again."
            )
        if os.path.lexists(target):
            raise StoreExistsError(f"{target}: exists by now; delete it, or choose another path")
        store.rename(target)
        shutil.rmtree(part, ignore_errors=True)
    except FunctaStoreError:
        raise
    except OSError as error:
        raise StorageError(f"{target}: cannot be written: {error.strerror or error}") from error

"""Stores that are begun, taken up again, or found to be finished."""

from collections.abc import Mapping

from functa_store.config import differences
from functa_store.errors import StoreFormatError, StoreMismatchError
from functa_store.store.objects import FileRecord, Objects, record, write_all
from functa_store.store.output import already_complete
from functa_store.store.parsing import load_spec
from functa_store.store.receipts import Receipts
from functa_store.store.spec import ROOT, StoreSpec, identity
from functa_store.store.work import WORK_SUFFIX, is_of_store, is_part


def is_finished(store: Objects, spec: StoreSpec, receipts: Receipts) -> bool:
    """Whether the store is complete, and the process that completed it died before it had cleared up."""
    if store.size(ROOT) is None or not (found := load_spec(store)).complete:
        return False
    if found.fingerprint != spec.fingerprint or receipts.read_skeleton() is None:
        raise already_complete(store)
    return True


def create(store: Objects, spec: StoreSpec, files: Mapping[str, bytes], receipts: Receipts) -> dict[str, FileRecord]:
    """Write everything but shards, the root last: without it there is no store."""
    written = {key: record(data) for key, data in files.items()}
    receipts.write_skeleton(written)  # first: from now on, whatever lies there is known to be ours
    receipts.clear_shards()
    # Of an attempt with other options; what a user put there stays.
    store.delete([key for key in store.sizes() if key not in files and is_of_store(key)])
    write_all(store, {key: data for key, data in files.items() if key != ROOT})
    store.write(ROOT, files[ROOT])
    return written


def resume(store: Objects, spec: StoreSpec, files: Mapping[str, bytes], receipts: Receipts) -> dict[str, FileRecord]:
    """Make sure that the unfinished store is this one, and whole but for its shards.

    What is there is judged by its receipt, not by encoding it again, which another release of zstd does differently.

    Returns:
        The records of everything but shards.
    """
    different = list(differences(identity(load_spec(store)), identity(spec)))
    if different:
        different.sort(key=lambda difference: not difference.startswith(("format_version", "config")))  # causes first
        raise StoreMismatchError(
            f"{store.name}: unfinished store of another conversion: {'; '.join(different[:5])}. "
            f"Convert as before to finish it, delete it and {store.sibling(WORK_SUFFIX).name}, or choose another path."
        )
    store.delete([key for key in store.sizes() if is_part(key)])  # what a killed writer left behind
    recorded = {key: file for key, file in (receipts.read_skeleton() or {}).items() if key in files and key != ROOT}
    wrong = {key: files[key] for key in files if key != ROOT and not _holds(store, key, recorded.get(key))}
    written = recorded | {key: record(data) for key, data in wrong.items()}
    receipts.write_skeleton(written)
    write_all(store, wrong)
    return written


def _holds(store: Objects, key: str, expected: FileRecord | None) -> bool:
    try:
        return expected is not None and record(store.read(key, expected.bytes)) == expected
    except (FileNotFoundError, StoreFormatError):
        return False

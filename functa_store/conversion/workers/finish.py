"""Completion of a store whose shards workers have written; needs neither the archive nor, but for rounding, JAX."""

from functa_store.conversion.agreement import begun_conversion, clear
from functa_store.errors import StoreExistsError, StoreFormatError
from functa_store.store.format.receipts import Receipts
from functa_store.store.storage.objects import NO_OPTIONS, Location, StorageOptions, open_objects
from functa_store.store.storage.writer_lock import EXACT_STORE, REPAIR, WORK_SUFFIX
from functa_store.store.writing.destination import Destination, claim, is_left
from functa_store.store.writing.writer import StoreWriter, clear_job

NAMED = 10
"""Missing shards that a message names."""


def finish(path: Location, *, storage: StorageOptions = NO_OPTIONS) -> None:
    """Complete a store whose shards have all been written, by `work` or whoever else.

    The bytes are those that `convert` in one process writes. Modulations that are kept as float16 or int8 are rounded
    here, for which JAX is imported, to measure what that costs. Interrupted at any moment, the same call goes on where
    it stopped. A store that is complete stays as it is.

    Args:
        path: The store.
        storage: How to reach it.

    Raises:
        StoreExistsError: If another process holds it.
        StoreFormatError: If shards are missing, or what is there is damaged; says which.
        StorageError: If the place cannot be reached, read or written.
    """
    if _is_finished(path, storage):
        return
    try:
        _finish(path, storage)
    except StoreExistsError:
        if not _is_finished(path, storage):  # by another call, meanwhile
            raise


def _is_finished(path: Location, storage: StorageOptions) -> bool:
    found = Destination.of(open_objects(path, storage))
    return found.state == "complete" and not is_left(found.store.sibling(WORK_SUFFIX))


def _finish(path: Location, storage: StorageOptions) -> None:
    with claim(path, storage) as (destination, work):
        store, conversion = destination.store, begun_conversion(work)
        dtype = "float32" if conversion is None else conversion.get("config", {}).get("modulation_dtype")
        if destination.state != "complete":
            fitted = Destination.of(store if dtype == "float32" else work.below(EXACT_STORE))
            if fitted.state != "complete":
                _complete(fitted)
            if dtype != "float32":
                from functa_store.conversion.recode import write_recoded  # imports JAX
                from functa_store.store.reading.reader import StoreReader

                write_recoded(StoreReader(fitted.store, verify=True), store, dtype)
        if conversion is None:  # of a repair
            clear_job(store)
            if (spec := Destination.of(store).spec) is not None:
                Receipts(store, spec.fingerprint).clear()
            work.delete([REPAIR])
        else:
            clear(work)


def _complete(fitted: Destination) -> None:
    """Complete the store of exact modulations."""
    if fitted.spec is None:
        raise StoreFormatError(
            f"{fitted.store.name}: found no store whose base is learned; run functa convert, and then functa work"
        )
    writer = StoreWriter.taken_up(fitted.store, fitted.spec)
    if missing := writer.look_again():
        named = ", ".join(str(shard.index) for shard in missing[:NAMED])
        more = f" and {len(missing) - NAMED:,} more" if len(missing) > NAMED else ""
        count = fitted.spec.layout.num_shards(fitted.spec.examples.count)
        raise StoreFormatError(
            f"{fitted.store.name}: {len(missing):,} of {count:,} shards are missing: {named}{more}; functa work fits "
            "them"
        )
    writer.complete_if_done()

"""Functasets of examples of others, written again without fitting anything: several as one, and some of one."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from functa_store.config import ModulationDtype
from functa_store.conversion.recode import write_recoded
from functa_store.decode.functaset import Functaset, concat, opened
from functa_store.errors import ConfigError
from functa_store.progress import Note, Report, silent
from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.rows import Index
from functa_store.store.reading.selected_store import SelectedStore, Where
from functa_store.store.storage.objects import NO_OPTIONS, Location, StorageOptions
from functa_store.store.writing.destination import claim


def merge(
    functasets: Sequence[Functaset | Location],
    path: Location,
    *,
    modulation_dtype: ModulationDtype | None = None,
    storage: StorageOptions = NO_OPTIONS,
    report: Report = silent,
) -> None:
    """Write several functasets of one base network as one plain functaset, without fitting anything.

    It has the labels that all of them have, with the classes of all, and all their errors and rejects; its provenance
    is the first one's, and names all under "merged_from". One that was grown by parts, by itself, becomes plain.
    Interrupted at any moment, the same call goes on where it stopped.

    Args:
        functasets: At least one, each open, or where it is; complete.
        path: The new functaset, a path or URL ending in `.functa`.
        modulation_dtype: How modulations are to be stored. None keeps their data type where it is the same in all;
            parts in int8 whose scales differ become float32, which keeps each as it is, and "int8" rounds them anew.
        storage: How to reach the stores.
        report: Told which data type was chosen, if that is another one, and which labels are left out.

    Raises:
        ConfigError: If there is none, base networks, domains or features differ, two examples have one id, or the path
            does not end in `.functa`.
        StoreExistsError: If the path holds something already, or another process is writing it.
        StoreFormatError: If a functaset is unfinished or damaged.
        StoreMismatchError: If another store was left unfinished at the path.
        StorageError: If a place cannot be reached, read or written.
    """
    store = concat(functasets, storage=storage).store.reopened(verify=True)
    dtype = store.rounding.dtype if modulation_dtype is None else modulation_dtype
    dtypes = sorted({one.spec.config.modulation_dtype for one in getattr(store, "stores", [store])})
    if modulation_dtype is None and dtypes != [dtype]:
        found = " and ".join(dtypes)
        report(Note(message=f"modulations are in {found}, of scales that differ; merged in {dtype}, which keeps them"))
    if odd := store.odd_labels:
        told = "; ".join(f"{name!r} ({why})" for name, why in odd.items())
        report(Note(message=f"labels that not all have alike are left out: {told}"))
    _write(store, path, dtype, storage)


def subset(
    functaset: Functaset | Location,
    path: Location,
    *,
    where: Where | None = None,
    split: str | None = None,
    ids: Sequence[str] | None = None,
    index: Index | None = None,
    storage: StorageOptions = NO_OPTIONS,
) -> None:
    """Write some examples of a functaset as one of their own, without fitting anything.

    Modulations keep their data type and their bits. Its provenance is that of the functaset, which it names under
    "subset_of". Interrupted at any moment, the same call goes on where it stopped.

    Args:
        functaset: An open one, such as a selection, or where it is; complete.
        path: The new functaset, a path or URL ending in `.functa`.
        where: See `Functaset.select`.
        split: See `Functaset.select`.
        ids: See `Functaset.select`.
        index: See `Functaset.select`.
        storage: How to reach the stores.

    Raises:
        ConfigError: If there is no such example, none is chosen, augmentations are chosen without their originals, or
            the path does not end in `.functa`.
        ExampleIndexError: If the index is of another kind, or names an example that is not there.
        StoreExistsError: If the path holds something already, or another process is writing it.
        StoreFormatError: If the functaset is unfinished or damaged.
        StoreMismatchError: If another store was left unfinished at the path.
        StorageError: If a place cannot be reached, read or written.
    """
    store = opened(functaset, storage).select(where=where, split=split, ids=ids, index=index).store
    if not isinstance(store, SelectedStore):
        raise ConfigError(f"{store.path}: all examples are meant; say which, by where, split, ids or index, or copy it")
    _write(store.reopened(verify=True), path, store.rounding.dtype, storage)


def _write(store: StoreReader, path: Location, dtype: ModulationDtype, storage: StorageOptions) -> None:
    store = originals_first(store)
    with claim(path, storage) as (destination, _):
        write_recoded(store, destination.store, dtype)


def originals_first(store: StoreReader) -> StoreReader:
    """The same examples with augmentations behind all others, as a store has them.

    Raises:
        ConfigError: If originals are not among them.
    """
    if not store.augmentations:
        return store
    of = store.augmentations["of"][:]
    if len(lost := np.flatnonzero(of < 0)):
        raise ConfigError(
            f"{store.path}: {len(lost)} examples are augmentations of others that are not chosen, such as "
            f"{str(store.ids[lost[0]])!r}; choose these, too, or leave the augmentations out"
        )
    own = of == np.arange(len(of))
    if not (own[np.cumsum(~own) > 0]).any():
        return store
    ordered = SelectedStore(store, np.concatenate([np.flatnonzero(own), np.flatnonzero(~own)]))
    ordered.spec = dataclasses.replace(ordered.spec, provenance=store.spec.provenance)
    return ordered

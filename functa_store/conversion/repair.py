"""Fitting of the examples of damaged shards once more."""

import json

import jax.numpy as jnp
import numpy as np
from flax import nnx

from functa_store.config import differences, from_dict, to_dict
from functa_store.conversion.deep_verify import check_same_archive
from functa_store.conversion.fit_shards import check_batch, fit_shards
from functa_store.errors import StoreFormatError, StoreMismatchError
from functa_store.learn.devices import use_all_cores
from functa_store.learn.fit import Fit
from functa_store.learn.inner_loop import Steps
from functa_store.learn.tuning import ReadyFit
from functa_store.nets.siren import from_weights
from functa_store.progress import Note, Report, silent
from functa_store.sources.source import Source, check_source, check_unchanged
from functa_store.store.format.layout import MOST_RECEIPT_BYTES, Receipt, Receipts
from functa_store.store.format.quantization import Rounding
from functa_store.store.format.side_arrays import MOMENTA, RATES
from functa_store.store.format.spec import ROOT, Contents, identity
from functa_store.store.reading.array_reader import SmallArrays
from functa_store.store.reading.reader import Inventory, take_inventory
from functa_store.store.reading.verify import damage
from functa_store.store.storage.objects import (
    NO_OPTIONS,
    FileRecord,
    Location,
    Objects,
    StorageOptions,
    open_objects,
)
from functa_store.store.storage.work_folder import REPAIR
from functa_store.store.storage.writer_lock import sole_writer
from functa_store.store.writing.writer import StoreWriter


def repair(
    source: Source,
    path: Location,
    *,
    storage: StorageOptions = NO_OPTIONS,
    fit_batch_size: int | None = None,
    report: Report = silent,
) -> list[str]:
    """Write what is damaged in a complete functaset again, fitting the examples of its damaged shards.

    Shards get the bytes that they had on the machine that converted them, if examples meet the same others in a
    batch of the fit; otherwise the last bits of modulations may differ, and the store's checksums are those of the
    new bytes. A store of an older format version becomes one of the current version. Interrupted at any moment,
    the same call goes on where it stopped.

    Args:
        source: The examples that it was converted from.
        path: The functaset, open or not.
        storage: How to reach the store.
        fit_batch_size: As for `convert`.
        report: Told of the progress.

    Returns:
        The objects that were written again, by an interrupted call, too.

    Raises:
        StoreFormatError: If the root or the base is damaged, which only another conversion can mend.
        StoreMismatchError: If the source is not the one that was converted.
        StoreExistsError: If another process is writing the store.
        StorageError: If the place cannot be read or written; what is written stays.
    """
    check_source(source)
    check_batch(fit_batch_size)
    use_all_cores()
    with sole_writer(open_objects(path, storage)) as (store, work):
        there = take_inventory(store)
        if not there.spec.complete and work.size(REPAIR) is None:
            raise StoreMismatchError(
                f"{store.name}: is unfinished; run the command that was interrupted (convert or recode) again."
            )
        check_same_archive(store.name, there.spec, source)
        damaged = damage(store, there.records)
        lost = _begun(work) | {key: there.records[key] for key in damaged}
        if there.spec.complete and not damaged:
            _clear(store, there, work)
            return sorted(lost)
        contents = _contents(store, there, source)
        work.write(REPAIR, json.dumps(to_dict(Receipt(fingerprint=there.spec.fingerprint, files=lost))).encode())
        if there.spec.complete:
            _reopen(store, there, contents, set(damaged))
        else:
            _forget(store, there, contents, set(damaged))
        _fit_missing(store, contents, source, fit_batch_size, report)
        after = take_inventory(store).records
        if changed := [key for key, file in lost.items() if after.get(key) != file]:
            report(Note(message=f"{len(changed)} repaired objects differ from what they were, in last bits"))
        _clear(store, there, work)
        return sorted(lost)


def _fit_missing(
    store: Objects, contents: Contents, source: Source, fit_batch_size: int | None, report: Report
) -> None:
    """Finish a store whose damaged shards are missing."""
    with StoreWriter.resume_or_create(store, contents) as writer:
        if missing := writer.missing_shards():
            ready = _ready(contents, source)
            for fitted in fit_shards(source, ready, missing, contents.config, fit_batch_size, report):
                writer.write(*fitted)
        check_unchanged(source)


def _begun(work: Objects) -> dict[str, FileRecord]:
    """What an interrupted repair had found damaged, with the checksums of what it was."""
    try:
        return from_dict(Receipt, json.loads(work.read(REPAIR, MOST_RECEIPT_BYTES))).files
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise StoreFormatError(f"{work.name}/{REPAIR}: damaged ({error}); delete it and repair again") from error


def _clear(store: Objects, there: Inventory, work: Objects) -> None:
    """Remove what a repair, or a conversion that was completed, left."""
    Receipts(store, there.spec.fingerprint).clear()
    work.delete([REPAIR])


def _contents(store: Objects, there: Inventory, source: Source) -> Contents:
    """What the store held, from its base and the source."""
    spec = there.spec
    small = SmallArrays(store, there.records)
    try:
        base = {name: small.read(f"base/{name}", array.dtype, array.shape) for name, array in spec.base.items()}
        rounding = {name: small.read(name, array.dtype, array.shape) for name, array in spec.rounding.items()}
    except StoreFormatError as error:
        raise StoreFormatError(
            f"{error} Only shards, ids, labels, rejects and statistics can be repaired; without its base, the archive "
            "must be converted again."
        ) from error
    contents = Contents(
        domain=source.domain,
        features=source.features,
        config=spec.config,
        base=base,
        ids=source.ids,
        split=source.split,
        labels=source.labels,
        rejects=source.rejects,
        provenance=spec.provenance,
        reference=spec.reference,
        rounding=Rounding(spec.config.modulation_dtype, **rounding),
        rounding_loss=spec.rounding_loss,
    )
    found = identity(contents.spec())
    wrong = [w for w in differences(identity(spec), found) if not w.startswith("format_version")]
    if wrong:
        raise StoreFormatError(f"{store.name}: its base or layout is damaged: {'; '.join(wrong[:3])}. Convert again.")
    return contents


def _reopen(store: Objects, there: Inventory, contents: Contents, damaged: set[str]) -> None:
    """Make a complete store one whose damaged shards are missing; receipts first, so that nothing is lost."""
    spec, manifest = contents.spec(), there.spec.manifest
    receipts, tables = Receipts(store, spec.fingerprint), spec.tables(contents.rounding).values()
    shards = {shard: [table.key(shard) for table in tables] for shard in there.shards}
    of_shards = {key for keys in shards.values() for key in keys}
    receipts.write_skeleton(
        {key: file for key, file in manifest.items() if key not in of_shards and not key.startswith("statistics/")}
    )
    receipts.clear_shards()
    for shard, keys in shards.items():
        if damaged.isdisjoint(keys):
            receipts.write(shard, {key: manifest[key] for key in keys})
    store.write(ROOT, spec.to_root())


def _forget(store: Objects, there: Inventory, contents: Contents, damaged: set[str]) -> None:
    """Make the damaged shards of an unfinished store missing ones."""
    receipts = Receipts(store, there.spec.fingerprint)
    tables = there.spec.tables(contents.rounding).values()
    receipts.forget([s for s in there.shards if not damaged.isdisjoint(table.key(s) for table in tables)])


def _ready(contents: Contents, source: Source) -> ReadyFit:
    """The fit as it was, from what the store keeps."""
    config, base = contents.config, {name: np.asarray(array, np.float32) for name, array in contents.base.items()}
    sizes = config.network, source.domain.num_inputs, source.features.num_channels
    graph, state = nnx.split(from_weights(*sizes, base))
    fit = Fit(graph, config, source)
    rates = base[RATES]
    momenta = base.get(MOMENTA, np.zeros_like(rates))  # format version 1 had none
    steps = Steps(jnp.asarray(rates), jnp.asarray(momenta))
    return ReadyFit(fit, fit.prepare(state, steps), config.fit)

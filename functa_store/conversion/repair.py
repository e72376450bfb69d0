"""A functaset against its archive: comparison of stored errors with decoded ones, and fits of damaged shards anew."""

import dataclasses
import functools
import json
from collections.abc import Sequence

import jax
import numpy as np
from flax import nnx

from functa_store.config import differences, from_dict, to_dict
from functa_store.conversion.agreement import check_same_archive
from functa_store.conversion.fit_shards import check_batch, ready_fit
from functa_store.conversion.workers.engine import Engine, InProcess, check_engine, fit_missing
from functa_store.decode.functaset import Functaset
from functa_store.errors import StoreFormatError, StoreMismatchError
from functa_store.learn.devices import use_all_cores
from functa_store.learn.inner_loop import reconstruction_error
from functa_store.learn.observer import num_step_rows
from functa_store.learn.observers import observer_of
from functa_store.learn.tiling import tile_rows
from functa_store.nets.siren import network_of
from functa_store.progress import Note, Report, silent
from functa_store.sources.augmentation import augmentations_of
from functa_store.sources.batch_reader import BatchReader
from functa_store.sources.source import Source, check_source
from functa_store.sources.splits import evenly_to_both_ends
from functa_store.store.format.quantization import Rounding
from functa_store.store.format.receipts import MOST_RECEIPT_BYTES, Receipt, Receipts
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
from functa_store.store.storage.writer_lock import REPAIR, sole_writer
from functa_store.store.writing.shard_writer import ShardWriter
from functa_store.store.writing.writer import clear_job, examples_of

MADE_LAST = ("statistics/", "manifest/")
"""What a store is completed with."""

SAMPLE = 64
"""Examples that are decoded, evenly spread."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Disagreement:
    """How far errors that a store keeps are from those of what it decodes.

    Attributes:
        examples: Examples that were decoded.
        worst: The largest difference, relative to what is allowed; above 1 something is wrong.
        id: The example that it belongs to.
    """

    examples: int
    worst: float
    id: str


def worst_disagreement(functaset: Functaset, source: Source) -> Disagreement:
    """Look at a sample as its fit did, from what is stored, and compare its errors with the stored ones.

    Sums may be in another order than those of the fit, which allows for one part in a thousand. Rounding changes the
    decoded values by a root mean square r and so the error m by at most r^2 + 2 r sqrt(m) (Cauchy-Schwarz); r^2
    is taken as four times the largest that was measured when the store was rounded.

    Raises:
        StoreMismatchError: If the source has not the functaset's examples.
        StoreFormatError: If a shard is damaged.
    """
    store, features = functaset.store, functaset.features
    places = {name: i for i, name in enumerate(source.ids)}
    if any(str(name) not in places for name in store.ids[:]):
        raise StoreMismatchError(f"{store.path}: was converted from other examples; name the archive that it is from.")
    if not len(functaset):
        return Disagreement(examples=0, worst=0.0, id="")
    chosen = evenly_to_both_ends(len(functaset), SAMPLE)
    ids, stored = [str(name) for name in store.ids[chosen]], store.mse[chosen].astype(np.float64)
    found = _errors(functaset, source, chosen, [places[name] for name in ids])
    squared = 4 * (store.spec.rounding_loss.mse_max if store.spec.rounding_loss else 0.0)
    allowed = 1e-3 * stored + 1e-9 * features.span**2 + squared + 2 * np.sqrt(squared * stored)
    ratio = np.abs(found - stored) / allowed
    return Disagreement(examples=len(chosen), worst=float(ratio.max()), id=ids[int(ratio.argmax())])


def _errors(functaset: Functaset, source: Source, examples: np.ndarray, places: Sequence[int]) -> np.ndarray:
    """Mean squared error of each example over what its fit saw, which lies at a place of the source."""
    network = functaset.config.network
    observer = observer_of(source.domain, source.features, network)
    tile = tile_rows(functaset.config.fit.tile_points, observer.evaluations)
    view = observer.tiles(np.arange(num_step_rows(observer)), tile)
    graph, state = nnx.split(network_of(network, source.domain, source.features.num_channels, functaset.base))

    @jax.jit
    def error(state: nnx.State, modulation: jax.Array, raw: jax.Array) -> jax.Array:
        base = nnx.merge(graph, state)
        target = observer.look(raw, view.points, view.weights, None)
        return reconstruction_error(observer.predict, base, modulation, target)

    batches = BatchReader(source, cache_bytes=0).batches(np.array([place]) for place in places)
    pairs = zip(functaset.modulations[examples], batches, strict=True)
    return np.array([error(state, modulation.ravel(), raw[0]) for modulation, raw in pairs], np.float64)


def repair(
    source: Source,
    path: Location,
    *,
    storage: StorageOptions = NO_OPTIONS,
    fit_batch_size: int | None = None,
    engine: Engine | None = None,
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
        engine: As for `convert`.
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
    chosen = engine or InProcess()
    check_engine(chosen, source)
    use_all_cores()
    with sole_writer(open_objects(path, storage)) as (store, work):
        there = take_inventory(store)
        if there.parts:
            raise StoreFormatError(
                f"{store.name}: has parts. Repair one of them by its own path, such as "
                f"{store.name}/{there.parts[0].name}; what lies in the functaset itself cannot be repaired while parts "
                "follow it. Copy it again."
            )
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
        complete = fit_missing(
            store,
            contents,
            source,
            functools.partial(ready_fit, contents.config, contents.base, source),
            chosen,
            storage=storage,
            fit_batch_size=fit_batch_size,
            report=report,
        )
        if not complete:
            return sorted(lost)
        after = take_inventory(store).records
        if changed := [key for key, file in lost.items() if after.get(key) != file]:
            report(Note(message=f"{len(changed)} repaired objects differ from what they were, in last bits"))
        _clear(store, there, work)
        return sorted(lost)


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
    clear_job(store)
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
        augmentations=augmentations_of(source),
        rejects=source.rejects,
        provenance=spec.provenance,
        reference=spec.reference,
        rounding=Rounding(spec.config.modulation_dtype, **rounding),
        rounding_loss=spec.rounding_loss,
        layout=spec.layout,
    )
    found = identity(contents.spec())
    wrong = [w for w in differences(identity(spec), found) if not w.startswith("format_version")]
    if wrong:
        raise StoreFormatError(f"{store.name}: its base or layout is damaged: {'; '.join(wrong[:3])}. Convert again.")
    return contents


def _reopen(store: Objects, there: Inventory, contents: Contents, damaged: set[str]) -> None:
    """Make a complete store one whose damaged shards are missing; receipts first, so that nothing is lost."""
    spec, records = contents.spec(), there.records
    receipts, tables = Receipts(store, spec.fingerprint), spec.tables(contents.rounding).values()
    shards = {shard: [table.key(shard) for table in tables] for shard in there.shards}
    writer = ShardWriter(store, spec, contents.rounding, examples_of(contents))
    of_shards, known = {key for keys in shards.values() for key in keys}, set(records)
    receipts.write_skeleton(
        {key: file for key, file in records.items() if key not in of_shards and not key.startswith(MADE_LAST)}
    )
    receipts.clear_shards()
    for shard, keys in shards.items():
        if damaged.isdisjoint(keys) and known.issuperset(keys):
            receipts.write(shard, writer.read_back(shard, records))
    store.write(ROOT, spec.to_root())


def _forget(store: Objects, there: Inventory, contents: Contents, damaged: set[str]) -> None:
    """Make the damaged shards of an unfinished store missing ones."""
    receipts = Receipts(store, there.spec.fingerprint)
    tables = there.spec.tables(contents.rounding).values()
    receipts.forget([s for s in there.shards if not damaged.isdisjoint(table.key(s) for table in tables)])

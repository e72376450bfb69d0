"""Repair of a functaset and its parts from archives: examples of damaged shards are fitted again."""

import functools
import json
from collections.abc import Sequence

from functa_store.config import differences, from_dict, to_dict
from functa_store.conversion.agreement import another_archive
from functa_store.conversion.append import list_parts
from functa_store.conversion.deep_verify import checked_sources
from functa_store.conversion.encode import OfBase, as_seen, ready_for
from functa_store.conversion.fit_shards import check_batch, ready_fit
from functa_store.conversion.part_examples import Base, agreeing
from functa_store.conversion.workers.engine import Engine, InProcess, check_engine, fit_missing
from functa_store.decode.functaset import Functaset
from functa_store.errors import ConfigError, StoreExistsError, StoreFormatError, StoreMismatchError
from functa_store.learn.devices import use_all_cores
from functa_store.progress import Note, Report, silent
from functa_store.sources.augmentation import augmentations_of
from functa_store.sources.recipe import recipe_of
from functa_store.sources.source import Source
from functa_store.store.format.load_spec import MOST_JSON_BYTES, load_root
from functa_store.store.format.parts import PartRecord, is_part
from functa_store.store.format.quantization import Rounding
from functa_store.store.format.receipts import MOST_RECEIPT_BYTES, Receipt, Receipts
from functa_store.store.format.spec import ROOT, Contents, identity
from functa_store.store.reading.array_reader import SmallArrays
from functa_store.store.reading.joined_store import JoinedStore
from functa_store.store.reading.reader import Inventory, StoreReader, take_inventory
from functa_store.store.reading.verify import copy_back, damage
from functa_store.store.storage.objects import (
    NO_OPTIONS,
    FileRecord,
    Location,
    Objects,
    StorageOptions,
    open_objects,
)
from functa_store.store.storage.writer_lock import LISTED, REPAIR, WORK_SUFFIX, sole_writer
from functa_store.store.writing.destination import is_left
from functa_store.store.writing.shard_writer import ShardWriter
from functa_store.store.writing.writer import clear_job, examples_of

MADE_LAST = ("statistics/", "manifest/")
"""What a store is completed with."""


def repair(
    source: Source | Sequence[Source],
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

    A functaset that has grown is repaired part by part, each from the archive that it was fitted to, which is told by
    its ids, labels and checksum. While what lies at the path itself is repaired, its root lists no parts.

    Args:
        source: The examples that it was converted from; several where damaged parts are of other archives.
        path: The functaset, open or not.
        storage: How to reach the store.
        fit_batch_size: As for `convert`.
        engine: As for `convert`; examples of parts are fitted by this process.
        report: Told of the progress.

    Returns:
        The objects that were written again, by an interrupted call, too; with an engine that leaves shards to others,
        those that they are to write.

    Raises:
        ArchiveError: If a source is none, or contradicts itself.
        ConfigError: If there is no source, or a functaset that has grown is to be left to processes of your own.
        StoreFormatError: If the root or the base is damaged, which only another conversion or copy can mend.
        StoreMismatchError: If what is damaged was converted from none of the sources.
        StoreExistsError: If it is a part of another, or another process is writing the store.
        StorageError: If the place cannot be read or written; what is written stays.
    """
    sources, chosen = checked_sources(source), engine or InProcess()
    for one in sources:
        check_engine(chosen, one)
    check_batch(fit_batch_size)
    use_all_cores()
    whole = open_objects(path, storage)
    if is_part(whole.name):
        raise StoreExistsError(f"{whole.name}: is a part of a functaset; repair that one.")
    with sole_writer(whole) as (store, work):
        there = take_inventory(store)
        if not there.spec.complete and work.size(REPAIR) is None:
            raise StoreMismatchError(
                f"{store.name}: is unfinished; run the command that was interrupted (convert or recode) again."
            )
        parts = there.parts or _listed(work)
        if parts and not chosen.completes:
            raise ConfigError(f"{store.name}: has parts, and is repaired by this process or workers that it starts")
        mender = _Mender(store, sources, chosen, storage, fit_batch_size, report)
        if not parts:
            return mender.mend(store, work, there)
        mended, failed = [], []
        for number in range(len(parts) + 1):
            try:
                mended += mender.mend_part(parts, number) if number else mender.mend(store, work, there, parts=parts)
            except (StoreFormatError, StoreMismatchError) as error:  # what can be mended is
                failed.append(error)
        if failed:
            told = f" Of other parts {len(mended)} objects were written again." if mended else ""
            raise type(failed[0])("; ".join(dict.fromkeys(map(str, failed))) + told)
        return mended


class _Mender:
    """Mends the stores of a functaset, each from the source that it was fitted to.

    Args:
        whole: The functaset, claimed.
        sources: What archives give.
        engine: Who fits examples that are not of a part.
        storage: How to reach the functaset.
        fit_batch_size: As for `convert`.
        report: Told of the progress.
    """

    def __init__(
        self,
        whole: Objects,
        sources: Sequence[Source],
        engine: Engine,
        storage: StorageOptions,
        fit_batch_size: int | None,
        report: Report,
    ) -> None:
        self._whole, self._sources, self._engine = whole, sources, engine
        self._storage, self._batch, self._report = storage, fit_batch_size, report

    def mend_part(self, parts: Sequence[PartRecord], number: int) -> list[str]:
        """Mend the part of a number, counted from 1; what is before it is whole, but for modulations and errors."""
        part = parts[number - 1]
        objects = self._whole.below(part.name)
        try:
            there = take_inventory(objects)
        except StoreFormatError as error:
            raise StoreFormatError(f"{error} To mend it, {copy_back(part)}.") from error
        if there.spec.fingerprint != part.fingerprint:
            raise StoreFormatError(f"{objects.name}: is another functaset than the root lists; {copy_back(part)}.")
        if there.spec.complete and not is_left(objects.sibling(WORK_SUFFIX)) and not damage(objects, there.records):
            return []
        before = [StoreReader(self._whole, alone=True)]
        before += [StoreReader(self._whole.below(one.name)) for one in parts[: number - 1]]
        for one in before:
            one.check_complete()
        with sole_writer(objects) as (store, work):
            return [f"{part.name}/{key}" for key in self.mend(store, work, there, JoinedStore(before))]

    def mend(
        self,
        store: Objects,
        work: Objects,
        there: Inventory,
        before: StoreReader | None = None,
        parts: Sequence[PartRecord] = (),
    ) -> list[str]:
        """Mend a store.

        Args:
            store: The store, claimed.
            work: The work folder beside it.
            there: What is there.
            before: What it was appended to; None if to nothing.
            parts: What follows it.

        Returns:
            The objects that were written again.
        """
        damaged = damage(store, there.records)
        lost = _begun(work) | {key: there.records[key] for key in damaged}
        if (parts or before is not None) and there.spec.complete and not lost:
            return []
        first = self._whole if before is not None else store

        def base() -> Functaset:
            return Functaset(StoreReader(first, alone=True))

        examples, wrong = agreeing(self._sources, there.spec, before, base)
        if examples is None:
            raise another_archive(store.name, there.spec, min(wrong, key=len))
        if there.spec.complete and not damaged:
            _clear(store, there, work, parts)
            return sorted(lost)
        contents = _contents(store, there, examples)
        work.write(REPAIR, json.dumps(to_dict(Receipt(fingerprint=there.spec.fingerprint, files=lost))).encode())
        if parts:
            work.write(LISTED, json.dumps([to_dict(part) for part in parts]).encode())
        if there.spec.complete:
            _reopen(store, there, contents, set(damaged))
        else:
            _forget(store, there, contents, set(damaged))
        if not self._fit(store, contents, examples, base):
            return sorted(lost)
        after = take_inventory(store).records
        if changed := [key for key, file in lost.items() if after.get(key) != file]:
            self._report(Note(message=f"{len(changed)} repaired objects differ from what they were, in last bits"))
        _clear(store, there, work, parts)
        return sorted(lost)

    def _fit(self, store: Objects, contents: Contents, examples: Source, base: Base) -> bool:
        """Fit what is missing; whether the store is complete then."""
        seen, ready = examples, functools.partial(ready_fit, contents.config, contents.base, examples)
        if isinstance(examples, OfBase):
            functaset = base()
            seen = as_seen(examples, functaset)
            ready = functools.partial(ready_for, seen, functaset)
        engine = self._engine
        if engine.needs_recipe and recipe_of(seen) is None:
            self._report(Note(message=f"{store.name}: its examples are fitted by this process"))
            engine = InProcess()
        return fit_missing(
            store,
            contents,
            seen,
            ready,
            engine,
            storage=self._storage,
            fit_batch_size=self._batch,
            report=self._report,
        )


def _listed(work: Objects) -> tuple[PartRecord, ...]:
    """The parts that an interrupted repair has to list again."""
    try:
        return tuple(from_dict(PartRecord, part) for part in json.loads(work.read(LISTED, MOST_JSON_BYTES)))
    except FileNotFoundError:
        return ()
    except (ValueError, TypeError) as error:
        raise StoreFormatError(
            f"{work.name}/{LISTED}: damaged ({error}); copy the functaset again, or delete this file, and append the "
            "archives of its parts again, which lists those that are there"
        ) from error


def _begun(work: Objects) -> dict[str, FileRecord]:
    """What an interrupted repair had found damaged, with the checksums of what it was."""
    try:
        return from_dict(Receipt, json.loads(work.read(REPAIR, MOST_RECEIPT_BYTES))).files
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise StoreFormatError(f"{work.name}/{REPAIR}: damaged ({error}); delete it and repair again") from error


def _clear(store: Objects, there: Inventory, work: Objects, parts: Sequence[PartRecord]) -> None:
    """List the parts again, and remove what a repair, or a conversion that was completed, left."""
    if parts and not load_root(store)[1]:
        list_parts(store, parts)
    work.delete([LISTED])
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

"""Growth of a functaset by the new examples of an archive, as a part that follows it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from functa_store.conversion.deep_verify import first_differing_id
from functa_store.conversion.encode import check_fits, encode
from functa_store.conversion.part_examples import NewExamples, is_by_one_folder, new_rows
from functa_store.decode.functaset import Functaset
from functa_store.errors import ArchiveError, ConfigError, StoreExistsError, StoreFormatError, StoreMismatchError
from functa_store.progress import Note, Report, silent
from functa_store.sources.source import Source, check_source
from functa_store.store.format.load_spec import MOST_JSON_BYTES, load_root
from functa_store.store.format.parts import (
    GROUP,
    GROUP_NODE,
    MOST_PARTS,
    PARTS_VERSION,
    PartRecord,
    is_part,
    part_name,
    parts_root,
)
from functa_store.store.format.spec import ROOT, StoreSpec
from functa_store.store.reading.joined_store import JoinedStore, open_store
from functa_store.store.reading.reader import StoreReader
from functa_store.store.storage.objects import NO_OPTIONS, Location, Objects, StorageOptions, open_objects
from functa_store.store.storage.writer_lock import EXACT_STORE, LISTED, LOG_SUFFIX, WORK_SUFFIX, sole_writer
from functa_store.support.shortening import brief


def append(
    source: Source,
    path: Location,
    *,
    storage: StorageOptions = NO_OPTIONS,
    fit_batch_size: int | None = None,
    report: Report = silent,
) -> int:
    """Fit the new examples of a source with the base of a functaset, and add them to it.

    They become a part: a complete functaset inside the first one, in whose root it is listed in one atomic step. Until
    then the functaset is what it was, whatever interrupts this; the same call goes on where it stopped. Examples whose
    ids are there already are left out. A few of them are decoded, to see that they are the same, where both were
    sampled at the points that the base was learned at, and errors are known. Data types of modulations and base are
    the functaset's. Classes keep the numbers that they have there, and new ones follow.

    Args:
        source: The examples; splits are kept as they are.
        path: The functaset, complete.
        storage: How to reach it.
        fit_batch_size: As for `convert`.
        report: Told of the progress, and of what is left out.

    Returns:
        How many examples were added, with those of a part that an interrupted call had fitted but not added.

    Raises:
        ArchiveError: If the source contradicts itself, its examples are none that the base can describe, some have the
            ids but not the values of examples that are there, as far as these are compared, or augmentations are
            new whose originals are there.
        ConfigError: If a number is out of range, or places of its kind cannot be written.
        StoreExistsError: If it is a part of another, another process is writing it, or something foreign lies in the
            place of the next part.
        StoreFormatError: If the functaset is unfinished or damaged.
        StoreMismatchError: If another archive was being added when it was interrupted.
        StorageError: If a place cannot be reached, read or written; what is written stays.
    """
    check_source(source, to_learn=False)
    whole = open_objects(path, storage)
    if is_part(whole.name):
        raise StoreExistsError(f"{whole.name}: is a part of a functaset; append to that one.")
    with sole_writer(whole) as (store, work):
        spec, parts = load_root(store)
        if not spec.complete or work.size(LISTED) is not None:
            raise StoreFormatError(f"{store.name}: unfinished store; finish it by the command that was interrupted.")
        name, listed = part_name(len(parts) + 1), 0
        if len(parts) == MOST_PARTS:
            raise StoreFormatError(f"{store.name}: has {MOST_PARTS} parts, the most there may be; merge it first.")
        if _is_complete(store.below(name)):  # of an interrupted call, which had not listed it yet
            _check_follows(store, name)
            list_part(store, parts, name)
            spec, parts = load_root(store)
            name, listed = part_name(len(parts) + 1), parts[-1].examples
            report(Note(message=f"{store.name}: {parts[-1].name}, which was complete, is added to it"))
        grown = open_store(store)
        base, rows = Functaset(StoreReader(store, alone=True)), new_rows(source, grown)
        check_fits(source, base)
        if known := len(source.ids) - len(rows):
            there = f"{known:,} of {len(source.ids):,} examples are there already, by their ids"
            if (other := first_differing_id(source, grown, base)) is not None:
                raise ArchiveError(
                    f"{source.provenance['archive']}: {there}, but {other!r} has other values than the example of "
                    f"{store.name} that is called so. Rename its members, give ids (--option ids=ARRAY), or give it "
                    "together with the files that were converted, as one archive (a pattern or a list)."
                )
            report(Note(message=f"{store.name}: {there}"))
        if len(rows) == 0:
            return listed
        begun = _begun(store.below(name))
        by_folder = begun is None or is_by_one_folder(begun.provenance)  # so that what is begun goes on
        new = NewExamples(source, rows, grown, by_folder=by_folder)
        if new.one_class is not None:
            report(Note(message=f"{store.name}: all new examples are of the class {new.one_class!r}, by their folder"))
        if begun is not None:
            _check_goes_on(store.below(name), begun, new)
        for label, why in new.odd_labels.items():
            report(Note(message=f"{store.name}: the label {label!r} is not read of the whole: {why}"))
        encode(new, base, store.below(name), fit_batch_size=fit_batch_size, report=report)
        list_part(store, parts, name)
        return listed + len(rows)


def _is_complete(part: Objects) -> bool:
    return part.size(ROOT) is not None and load_root(part)[0].complete


def _check_follows(store: Objects, name: str) -> None:
    """Refuse a functaset in the place of the next part that cannot be one, such as a copy of another one.

    Raises:
        StoreExistsError: If it has another base or domain, ids that are there already, or parts of its own.
    """
    part = store.below(name)
    _, parts = load_root(part)
    try:
        JoinedStore([open_store(store), StoreReader(part, alone=True)]).check_disjoint()
        problem = "it has parts of its own" if parts else ""
    except ConfigError as error:
        problem = str(error)
    if problem:
        raise StoreExistsError(
            f"{part.name}: holds a functaset that cannot be a part of {store.name} ({problem}); move it elsewhere"
        )


def _begun(part: Objects) -> StoreSpec | None:
    """What a part says of itself that an interrupted call began, in its data type or exactly; None if there is none."""
    exact = part.sibling(WORK_SUFFIX).below(EXACT_STORE)
    return next((load_root(place)[0] for place in (part, exact) if place.size(ROOT) is not None), None)


def _check_goes_on(part: Objects, begun: StoreSpec, new: NewExamples) -> None:
    """Refuse another archive than that of the part that an interrupted call began.

    Raises:
        StoreMismatchError: If it is another one, or gives more or fewer new examples.
    """
    before, now = ((spec.provenance.get("archive"), spec.provenance.get("sha256")) for spec in (begun, new))
    if before == now and begun.examples.count == len(new.ids):
        return
    digests = [f" (SHA-256 {str(sha256)[:16]}...)" if before[0] == now[0] else "" for _, sha256 in (before, now)]
    raise StoreMismatchError(
        f"{part.name}: a call that was interrupted was adding {begun.examples.count:,} examples of {brief(before[0])}"
        f"{digests[0]}, and this one would add {len(new.ids):,} of {brief(now[0])}{digests[1]}; append that archive "
        f"again, named as then, which goes on, or delete {part.name} and {part.name}{WORK_SUFFIX} to leave it out"
    )


def list_part(store: Objects, parts: Sequence[PartRecord], name: str) -> None:
    """Replace the root by one that lists one part more.

    Raises:
        StoreExistsError: If another process changed the root meanwhile.
    """
    part = StoreReader(store.below(name))
    list_parts(store, [*parts, PartRecord(name=name, examples=len(part), fingerprint=part.spec.fingerprint)])
    store.delete([f"{name}{LOG_SUFFIX}"])  # times and machine are no part of a functaset


def list_parts(store: Objects, parts: Sequence[PartRecord]) -> None:
    """Replace the root by one that lists these parts; errors as for `list_part`."""
    before = store.read(ROOT, MOST_JSON_BYTES)
    store.write(GROUP, GROUP_NODE)
    if not store.replace(ROOT, before, parts_root(_own(before), parts)):
        raise StoreExistsError(f"{store.name}: another process changed it meanwhile; run the same command again.")


def _own(root: bytes) -> Mapping[str, Any]:
    """What a root said before the first part was listed."""
    found = json.loads(root)["attributes"]["functa"]
    return found["own"] if found["format_version"] == PARTS_VERSION else found

"""Comparison of all bytes of a store with the checksums of what was written."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from functa_store.errors import StoreFormatError
from functa_store.sources.augmentation import augmentation_problems
from functa_store.store.format.load_spec import load_spec
from functa_store.store.format.manifest import MANIFEST
from functa_store.store.format.parts import PartRecord, is_of_part, whole_of
from functa_store.store.format.spec import ROOT
from functa_store.store.reading.reader import Inventory, StoreReader, read_augmentations, take_inventory
from functa_store.store.storage.objects import (
    NO_OPTIONS,
    FileRecord,
    FileRecords,
    Location,
    Objects,
    StorageOptions,
    open_objects,
    record,
    record_parts,
)
from functa_store.store.storage.server_calls import map_in_threads
from functa_store.store.storage.writer_lock import SKELETON, WORK_SUFFIX
from functa_store.support.shortening import brief

THREADS = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was found in a store.

    Attributes:
        complete: Whether every example has been fitted.
        examples: Examples that should be readable.
        total: Examples of the archive.
        checked: Objects whose bytes were compared with what was written.
        damaged: Objects that are missing or not what was written, and what is wrong with each.
        foreign: Objects that no functaset has; nothing reads them.
        advice: What mends the damage, in words; none if there is none.
    """

    complete: bool
    examples: int
    total: int
    checked: int
    damaged: dict[str, str]
    foreign: list[str]
    advice: list[str]


def verify(path: Location, *, storage: StorageOptions = NO_OPTIONS) -> Verdict:
    """Read every object of a store and compare it with the manifest; of an unfinished one, with the receipts.

    Args:
        path: The store, or a functaset that is open.
        storage: How to reach the store.

    Raises:
        StoreFormatError: If the root, which describes the rest, is missing or damaged.
        StorageError: If the place cannot be read.
    """
    objects = open_objects(path, storage)
    there = take_inventory(objects)
    verdict = _verify_alone(objects, there)
    for part in there.parts:
        verdict = _with_part(verdict, part, objects.below(part.name))
    return verdict


def _with_part(verdict: Verdict, part: PartRecord, objects: Objects) -> Verdict:
    """A verdict of a functaset and one of the parts that follow it."""
    try:
        found = verify(objects)
        if (fingerprint := load_spec(objects).fingerprint) != part.fingerprint:
            wrong = {ROOT: f"is of the store {fingerprint[:16]}, expected {part.fingerprint[:16]}"}
            found = dataclasses.replace(found, damaged=found.damaged | wrong, advice=[copy_back(part)])
    except StoreFormatError as error:
        found = Verdict(
            complete=False,
            examples=0,
            total=part.examples,
            checked=0,
            damaged={ROOT: str(error)},
            foreign=[],
            advice=[copy_back(part)],
        )
    return Verdict(
        complete=verdict.complete and found.complete,
        examples=verdict.examples + found.examples,
        total=verdict.total + found.total,
        checked=verdict.checked + found.checked,
        damaged=verdict.damaged | {f"{part.name}/{key}": what for key, what in found.damaged.items()},
        foreign=[*verdict.foreign, *(f"{part.name}/{key}" for key in found.foreign)],
        advice=[*verdict.advice, *found.advice],
    )


def copy_back(part: PartRecord) -> str:
    """What mends a part whose root is missing or damaged, in words."""
    examples = f"its {part.examples:,} examples were and how they were fitted"
    return f"copy {part.name} back from another copy of the functaset: nothing that is here says which {examples}"


def _verify_alone(objects: Objects, there: Inventory) -> Verdict:
    """What is found in what lies at a place itself."""
    damaged = damage(objects, there.records)
    if not there.knows_skeleton:
        damaged[SKELETON] = (
            f"is missing beside the store, in {objects.sibling(WORK_SUFFIX).name}: only shards could be compared"
        )
    if not damaged:
        try:
            reader = StoreReader(objects, alone=True)
            _ = reader.base, reader.rounding
            there.records.check_sha256()
            damaged |= _wrong_augmentations(reader)
        except StoreFormatError as error:  # right checksums, wrong content
            damaged = {ROOT: str(error)}
    return Verdict(
        complete=there.spec.complete,
        examples=there.spec.examples.count if there.spec.complete else sum(map(len, there.shards)),
        total=there.spec.examples.count,
        checked=len(there.records) + 1,
        damaged=damaged,
        foreign=_foreign(objects, there),
        advice=_advice(objects, there, damaged),
    )


def _advice(objects: Objects, there: Inventory, damaged: Mapping[str, str]) -> list[str]:
    """What mends damage of a store whose root can be read."""
    if not damaged:
        return []
    if not there.spec.complete:
        return [
            "run the command that was interrupted (convert, recode or repair) again: it writes anew what is damaged"
        ]
    provenance, lost = there.spec.provenance, {ROOT, *(f"{name}/c/0" for name in there.spec.rounding)}
    if (made := how_made(provenance)) is not None:
        return [f"copy {objects.name} again, or {made.again} it again: it has no archive to repair it from"]
    whole, part = whole_of(objects.name)
    if any(key in lost or key.startswith("base/") for key in damaged):
        again = f"append the archive of {part} to another copy" if part else "convert again"
        return [f"copy {objects.name} again, or {again}: without its base nothing can be fitted"]
    mends = f"{part} of it" if part else "it"
    return [f"functa repair {whole} --archive ARCHIVE mends {mends}; the archive was {archive_of(provenance)}"]


def archive_of(provenance: Mapping[str, Any]) -> str:
    """Which archive a store was converted from, in words."""
    if (made := how_made(provenance)) is not None:
        return f"none (it was {made.was})"
    archive, sha256 = brief(provenance.get("archive")), provenance.get("sha256")
    return archive + (f" of the SHA-256 {sha256[:16]}..." if isinstance(sha256, str) else "")


class Made(NamedTuple):
    """How a functaset came about that was not fitted to an archive: that it was done, and to do it again."""

    was: str
    again: str


MADE = {
    "imported_from": Made("imported", "import"),
    "derived_from": Made("derived", "derive"),
    "merged_from": Made("merged", "merge"),
    "subset_of": Made("cut", "cut"),
}
"""The same by what its provenance has then."""


def how_made(provenance: Mapping[str, Any]) -> Made | None:
    """How a functaset came about that was not fitted to an archive; None if it was."""
    return next((made for key, made in MADE.items() if key in provenance), None)


def _wrong_augmentations(reader: StoreReader) -> dict[str, str]:
    """What contradicts itself about augmentations; of an unfinished store alone that originals exist."""
    if not reader.spec.complete:
        _ = [rows[:] for rows in reader.augmentations.values()]
        return {}
    if (found := read_augmentations(reader)) is None:
        return {}
    labels = {name: rows[:] for name, rows in reader.labels.items()}
    problem = next(augmentation_problems(found, reader.split[:], labels), None)
    return {} if problem is None else {ROOT: f"{reader.path}: {problem}"}


def damage(objects: Objects, records: FileRecords) -> dict[str, str]:
    """The objects that are missing or not what was written, and what is wrong with each.

    Raises:
        StorageError: If the place cannot be read.
    """

    def problem(key: str) -> str | None:
        try:
            found = _record_of(objects, key, records[key].bytes)
        except FileNotFoundError:
            return "is missing"
        except StoreFormatError as error:
            return str(error)
        if found != records[key]:
            return f"has {found.bytes} bytes with checksum {found.crc32c}, expected {records[key].bytes} with " + (
                records[key].crc32c
            )
        return None

    problems = map_in_threads(problem, records, threads=THREADS, name="verify")
    found = dict(zip(records, problems, strict=True))
    return {key: what for key, what in found.items() if what is not None}


def _record_of(objects: Objects, key: str, num_bytes: int) -> FileRecord:
    """Size and checksum of an object that should have so many bytes, of which a thread holds a block at a time."""
    block = objects.block_bytes
    if num_bytes <= block:
        return record(objects.read(key, num_bytes))
    if (found := objects.size(key)) is None:
        raise FileNotFoundError(key)
    if found != num_bytes:
        raise StoreFormatError(f"has {found:,} bytes, expected {num_bytes:,}")
    starts = range(0, num_bytes, block)
    return record_parts(objects.read_ranges(key, [s], [min(block, num_bytes - s)])[0] for s in starts)


def _foreign(objects: Objects, there: Inventory) -> list[str]:
    if not objects.lists:
        return []
    known = {ROOT, *there.records}
    unfinished = (
        () if there.spec.complete else ("modulations/c/", "mse/c/", "metrics/c/", "statistics/", f"{MANIFEST}/")
    )
    found = [key for key in objects.sizes() if key not in known and not key.startswith(unfinished)]
    records = there.records
    return [key for key in found if not is_of_part(key) and not records.may_have(key)]

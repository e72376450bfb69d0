"""Growth of a functaset by the new examples of an archive, as a part that follows it."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from functa_store.conversion.encode import encode
from functa_store.decode.functaset import Functaset
from functa_store.errors import ArchiveError, StoreExistsError, StoreFormatError
from functa_store.progress import Note, Report, silent
from functa_store.sources.augmentation import Augmentations, augmentations_of
from functa_store.sources.source import Label, Reject, Source, check_source, check_unchanged
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
from functa_store.store.format.spec import ROOT
from functa_store.store.reading.joined_store import open_store
from functa_store.store.reading.reader import StoreReader
from functa_store.store.storage.objects import NO_OPTIONS, Location, Objects, StorageOptions, open_objects
from functa_store.store.storage.writer_lock import LOG_SUFFIX, sole_writer


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
    ids are there already are left out. Data types of modulations and base are the functaset's.

    Args:
        source: The examples; splits are kept as they are.
        path: The functaset, complete.
        storage: How to reach it.
        fit_batch_size: As for `convert`.
        report: Told of the progress, and of what is left out.

    Returns:
        How many examples were added.

    Raises:
        ArchiveError: If the source contradicts itself, its examples are none that the base can describe, or
            augmentations are new whose originals are there already.
        ConfigError: If a number is out of range, or places of its kind cannot be written.
        StoreExistsError: If it is a part of another, or another process is writing it.
        StoreFormatError: If the functaset is unfinished or damaged.
        StoreMismatchError: If another archive was being added when it was interrupted.
        StorageError: If a place cannot be reached, read or written; what is written stays.
    """
    check_source(source, to_learn=False)
    whole = open_objects(path, storage)
    if is_part(whole.name):
        raise StoreExistsError(f"{whole.name}: is a part of a functaset; append to that one.")
    with sole_writer(whole) as (store, _):
        spec, parts = load_root(store)
        if not spec.complete:
            raise StoreFormatError(f"{store.name}: unfinished store; finish it by the command that was interrupted.")
        name = part_name(len(parts) + 1)
        if len(parts) == MOST_PARTS:
            raise StoreFormatError(f"{store.name}: has {MOST_PARTS} parts, the most there may be; merge it first.")
        if _is_complete(store.below(name)):  # of an interrupted call, which had not listed it yet
            list_part(store, parts, name)
            spec, parts = load_root(store)
            name = part_name(len(parts) + 1)
            report(Note(message=f"{store.name}: {parts[-1].name}, which was complete, is added to it"))
        grown = open_store(store)
        there = set(map(str, np.asarray(grown.ids).tolist()))
        rows = np.array([i for i, one in enumerate(source.ids) if str(one) not in there], np.int64)
        if known := len(source.ids) - len(rows):
            report(
                Note(message=f"{store.name}: {known:,} of {len(source.ids):,} examples are there already, by their ids")
            )
        if len(rows) == 0:
            return 0
        new = NewExamples(source, rows, grown)
        if new.odd_labels:
            report(Note(message=f"{store.name}: labels that not all parts have alike are not read: {new.odd_labels}"))
        base = Functaset(StoreReader(store, alone=True))
        encode(new, base, store.below(name), fit_batch_size=fit_batch_size, report=report)
        list_part(store, parts, name)
        return len(rows)


def _is_complete(part: Objects) -> bool:
    return part.size(ROOT) is not None and load_root(part)[0].complete


def list_part(store: Objects, parts: Sequence[PartRecord], name: str) -> None:
    """Replace the root by one that lists one part more.

    Raises:
        StoreExistsError: If another process changed the root meanwhile.
    """
    part = StoreReader(store.below(name))
    record = PartRecord(name=name, examples=len(part), fingerprint=part.spec.fingerprint)
    before = store.read(ROOT, MOST_JSON_BYTES)
    store.write(GROUP, GROUP_NODE)
    if not store.replace(ROOT, before, parts_root(_own(before), [*parts, record])):
        raise StoreExistsError(f"{store.name}: another process changed it meanwhile; run the same command again.")
    store.delete([f"{name}{LOG_SUFFIX}"])  # times and machine are no part of a functaset


def _own(root: bytes) -> Mapping[str, Any]:
    """What a root said before the first part was listed."""
    found = json.loads(root)["attributes"]["functa"]
    return found["own"] if found["format_version"] == PARTS_VERSION else found


class NewExamples(Source):
    """Some examples of a source, with the numbers that a functaset gives to its classes.

    Args:
        source: The examples.
        rows: Which of them, ascending.
        grown: The functaset.

    Attributes:
        odd_labels: Labels of either that the other has not, or with other classes.

    Raises:
        ArchiveError: If augmentations are among them whose originals are not.
    """

    def __init__(self, source: Source, rows: np.ndarray, grown: StoreReader) -> None:
        self._source, self._rows = source, rows
        self.domain, self.features, self.provenance = source.domain, source.features, source.provenance
        self.ids: Sequence[str] = [str(source.ids[i]) for i in rows.tolist()]
        self.split = np.asarray(source.split)[rows]
        self.labels: Mapping[str, Label] = {
            name: _numbered(dataclasses.replace(label, values=label.values[rows]), grown.label_names.get(name))
            for name, label in source.labels.items()
        }
        self.rejects: Sequence[Reject] = source.rejects
        self.odd_labels = sorted(_odd(self.labels, grown))
        if (found := augmentations_of(source)) is not None:
            self.augmentations = self._taken(found)

    def read(self, index: int) -> np.ndarray:
        """Raw values of one example."""
        return self._source.read(int(self._rows[index]))

    def check_unchanged(self) -> None:
        """Compare the archive with what it was."""
        check_unchanged(self._source)

    def _taken(self, found: Augmentations) -> Augmentations | None:
        places = np.full(len(found), -1, np.int64)
        places[self._rows] = np.arange(len(self._rows))
        of = places[found.of[self._rows]]
        if len(lost := np.flatnonzero(of < 0)):
            raise ArchiveError(
                f"{self.provenance['archive']}: {self.ids[lost[0]]!r} is new, but an augmentation of an example that "
                "is there already; add the archive without augmentations"
            )
        if (of == np.arange(len(of))).all():
            return None
        others = {name: getattr(found, name)[self._rows] for name in ("flip", "top", "left", "side")}
        return Augmentations(of=of, **others)


def _numbered(label: Label, names: tuple[str, ...] | None) -> Label:
    """A label with its classes numbered as a functaset does, if it has all of them."""
    if label.names is None or names is None or not set(label.names) <= set(names):
        return label
    numbers = np.array([names.index(name) for name in label.names], label.values.dtype)
    return Label(values=numbers[label.values], names=names)


def _odd(labels: Mapping[str, Label], grown: StoreReader) -> Iterator[str]:
    for name in {*labels, *grown.labels}:
        label = labels.get(name)
        if label is None or name not in grown.labels or label.names != grown.label_names.get(name):
            yield name

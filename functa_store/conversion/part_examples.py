"""Examples of archives as a functaset and its parts have them: which are new, their classes, which archive is whose."""

import dataclasses
import posixpath
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from functa_store.config import to_dict
from functa_store.conversion.agreement import ENCODED_WITH, differences_from_archive
from functa_store.conversion.encode import OfBase
from functa_store.decode.functaset import Functaset
from functa_store.errors import ArchiveError
from functa_store.sources.augmentation import Augmentations, augmentations_of
from functa_store.sources.source import BY_FOLDERS, CLASS, Label, Reject, Source, check_unchanged, labelled_by
from functa_store.store.format.spec import StoreSpec
from functa_store.store.reading.joined_labels import all_classes, numbers_among, renumbered, why_apart
from functa_store.store.reading.reader import StoreReader

BY_ONE_FOLDER = "the one folder that all lie in"
"""Who gives the class of such examples, as the provenance of their part says it."""


def new_rows(source: Source, grown: StoreReader) -> np.ndarray:
    """The examples of a source whose ids a functaset has not, ascending."""
    there = set(map(str, np.asarray(grown.ids).tolist()))
    return np.array([i for i, one in enumerate(source.ids) if str(one) not in there], np.int64)


class NewExamples(Source):
    """Some examples of a source, with the numbers that a functaset gives to its classes.

    Classes that it has not are numbered after those that it has, in the order of the source. So the examples name all
    classes of the functaset as it is then, and what reads the arrays as they are stored reads one numbering.

    Args:
        source: The examples.
        rows: Which of them, ascending.
        grown: The functaset.
        by_folder: Whether the one folder that all of the source lie in may tell their class; then provenance says so.

    Attributes:
        odd_labels: Labels that cannot be read of the functaset and the examples together, with the reason.
        one_class: The class that all of them have by the one folder that they lie in; None if that tells none.

    Raises:
        ArchiveError: If augmentations are among them whose originals are not.
    """

    def __init__(self, source: Source, rows: np.ndarray, grown: StoreReader, *, by_folder: bool) -> None:
        self._source, self._rows = source, rows
        self.domain, self.features, self.provenance = source.domain, source.features, source.provenance
        self.ids: Sequence[str] = [str(source.ids[i]) for i in rows.tolist()]
        self.split = np.asarray(source.split)[rows]
        self.one_class, given = _one_class(source, grown) if by_folder else None, dict(source.labels)
        if self.one_class is not None:
            by = {**source.provenance.get("labels_by", {}), CLASS: BY_ONE_FOLDER}
            self.provenance = {**source.provenance, "labels_by": by}
            given[CLASS] = Label(values=np.zeros(len(source.ids), np.int32), names=(self.one_class,))
        archive = source.provenance["archive"]
        odd = {name: _odd(name, archive, given.get(name), grown) for name in {**grown.labels, **given}}
        self.odd_labels = {name: why for name, why in odd.items() if why is not None}
        labels = {name: dataclasses.replace(label, values=label.values[rows]) for name, label in given.items()}
        numbered = grown.label_names.keys() & labels.keys() - self.odd_labels.keys()
        self.labels: Mapping[str, Label] = {
            name: _numbered(label, name, grown) if name in numbered else label for name, label in labels.items()
        }
        self.rejects: Sequence[Reject] = source.rejects
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


def is_by_one_folder(provenance: Mapping[str, Any]) -> bool:
    """Whether the one folder that the examples of a part lie in told their class, by the part's provenance."""
    return labelled_by(provenance, CLASS) == BY_ONE_FOLDER


def _one_class(source: Source, grown: StoreReader) -> str | None:
    """The class of all examples by the name of their folder, of an archive that has no other one to tell it apart from.

    None unless the classes of the functaset are by folders, and the folder is called as one of them.
    """
    if CLASS in source.labels or not labelled_by(grown.spec.provenance, CLASS).startswith(BY_FOLDERS):
        return None
    folders = {posixpath.basename(posixpath.dirname(str(one))) for one in source.ids}
    return folders.pop() if len(folders) == 1 and folders <= set(grown.label_names.get(CLASS, ())) else None


def _odd(name: str, archive: str, label: Label | None, grown: StoreReader) -> str | None:
    """Why a label cannot be read of a functaset and an archive together, and what to do; None if it can."""
    if name in grown.odd_labels:
        return grown.odd_labels[name]
    if label is None:
        return f"{archive} has none; give it by an option of that archive, such as --option labels=FILE"
    if name not in grown.labels:
        return f"{archive} has it, but the examples that are there already have none"
    if why := why_apart([(grown.labels[name].dtype, grown.label_names.get(name)), (label.values.dtype, label.names)]):
        return f"{why}; give {archive} labels such as those that are there, such as by --option labels=FILE"
    return None


def _numbered(label: Label, name: str, grown: StoreReader) -> Label:
    """A label with its classes numbered as a functaset does, in the data type that it has there if that suffices."""
    known, (first, *_) = grown.label_names[name], getattr(grown, "stores", [grown])
    classes, numbers = all_classes([known, label.names]), label.values
    if label.names != known:
        numbers = renumbered(label.values, numbers_among(label.names, classes, np.dtype(np.int64)))
    kept = numbers.astype(first.labels[name].dtype)
    return Label(values=kept if np.array_equal(kept, numbers) else numbers, names=classes)


Base = Callable[[], Functaset]
"""Opens the functaset whose base fitted a store."""


def as_stored(source: Source, spec: StoreSpec, base: Base) -> Source:
    """Examples as a store has them, which another functaset's base may have fitted at points of their own.

    Args:
        source: The examples.
        spec: What the store says about itself.
        base: See `Base`; not called where the examples are sampled as the store says.
    """
    described = [(to_dict(one.domain), to_dict(one.features)) for one in (source, spec)]
    if ENCODED_WITH not in spec.provenance or described[0] == described[1]:
        return source
    return OfBase(source, base())


def agreeing(
    sources: Sequence[Source], spec: StoreSpec, before: StoreReader | None, base: Base
) -> tuple[Source | None, list[list[str]]]:
    """The examples of a store by the first source that it was fitted to.

    Args:
        sources: What archives give.
        spec: What the store says about itself.
        before: What it was appended to; None if to nothing.
        base: See `Base`.

    Returns:
        The examples, None if they are of no source; and in what each source before that one differs.
    """
    wrong = []
    for source in sources:
        try:
            new = source
            if before is not None:
                by_folder = is_by_one_folder(spec.provenance)
                new = NewExamples(source, new_rows(source, before), before, by_folder=by_folder)
            examples = as_stored(new, spec, base)
            found = differences_from_archive(spec, examples)
        except ArchiveError as error:  # it lacks the originals of augmentations
            found, examples = [str(error)], None
        if not found:
            return examples, wrong
        wrong.append(found)
    return None, wrong

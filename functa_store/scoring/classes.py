"""Labels as classification tasks: which labels are classes, and which rows are learned from and held out."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from functa_store.decode.functaset import Functaset
from functa_store.errors import ConfigError
from functa_store.sources.label_values import MOST_CLASSES, NO_CLASS
from functa_store.sources.splits import evenly
from functa_store.store.reading.reader import originals_of
from functa_store.store.reading.selected_store import of_split

Rows = Int[np.ndarray, " row"]
"""Places of examples in a functaset."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """The rows of a functaset that a score is of.

    Attributes:
        train: Originals of the split "train" and their augmentations, ascending.
        test: Originals of the split "test", ascending.
        num_train: Originals among `train`.
        notes: What was left out, in words.
    """

    train: Int[np.ndarray, " train"]
    test: Int[np.ndarray, " test"]
    num_train: int
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """One label to be told from an example.

    Attributes:
        label: Its name.
        num_classes: Classes of the sample, at least 2.
        classes: The class of each row of the functaset, numbered from 0; -1 of those that have none.
    """

    label: str
    num_classes: int
    classes: Int[np.ndarray, " all"]

    def having(self, rows: Rows) -> Int[np.ndarray, " having"]:
        """Those of the rows that have a class."""
        return rows[self.classes[rows] >= 0]


def sample(functaset: Functaset, max_examples: int) -> Sample:
    """Rows to learn from and to hold out; more than `max_examples` originals of a split are thinned out evenly.

    Raises:
        ConfigError: If there is no split "train" or "test".
    """
    train, test, notes = of_split(functaset.store, "train"), of_split(functaset.store, "test"), []
    of = originals_of(functaset.store)
    originals, held_out = train[of[train] == train], test[of[test] == test]
    for split, rows in (("train", originals), ("test", held_out)):
        if len(rows) > max_examples:
            notes.append(f"{max_examples:,} of {len(rows):,} examples of the split {split!r}, spread evenly")
    originals, held_out = evenly(originals, max_examples), evenly(held_out, max_examples)
    train = train[np.isin(of[train], originals)]
    return Sample(train=train, test=held_out, num_train=len(originals), notes=tuple(notes))


def tasks(functaset: Functaset, sample: Sample, labels: Sequence[str] | None) -> list[Task]:
    """The tasks of some labels.

    Args:
        functaset: Where they are.
        sample: Its rows that count.
        labels: Names; None means every label of classes: those whose classes have names, or if there is none of them
            every label of integers with at most `MOST_CLASSES` classes and two training examples of each on average.
            Of these, labels with less than two classes, or none in "test", are left out.

    Raises:
        ConfigError: If there is no such label, or it has no classes, or less than two of them in either split.
    """
    path = functaset.store.path
    if isinstance(labels, str):
        raise ConfigError(f"labels must be a list of names, got {labels!r}; write [{labels!r}]")
    if labels is not None:
        if not labels:
            raise ConfigError("labels must name one label at least, got none; None means all of classes")
        return [_task(functaset, sample, label) for label in labels]
    found = []
    for label in [name for name in functaset.labels if functaset.label_names.get(name)] or list(functaset.labels):
        if functaset.labels[label].dtype.kind in "iub":
            task = _numbered(functaset, sample, label)
            most = min(MOST_CLASSES, sample.num_train // 2)
            is_told = task.num_classes >= 2 and len(task.having(sample.test)) > 0
            if is_told and (functaset.label_names.get(label) or task.num_classes <= most):
                found.append(task)
    if not found:
        there = {name: str(values.dtype) for name, values in functaset.labels.items()}
        raise ConfigError(
            f"{path}: no label of two classes or more, there are {there or 'no labels'}; convert with labels of "
            "classes, or name a label of integers"
        )
    return found


def _task(functaset: Functaset, sample: Sample, label: str) -> Task:
    """The task of a label that was named."""
    path = functaset.store.path
    if label not in functaset.labels:
        raise ConfigError(f"{path}: no label {label!r}, there are {sorted(functaset.labels)}")
    if (dtype := functaset.labels[label].dtype).kind not in "iub":
        raise ConfigError(f"{path}: label {label!r} is {dtype}, expected integers, which stand for classes")
    task = _numbered(functaset, sample, label)
    if task.num_classes < 2:
        raise ConfigError(
            f"{path}: label {label!r} has {task.num_classes} class in the split 'train', expected two at least; "
            "name another label"
        )
    if not len(task.having(sample.test)):
        raise ConfigError(f"{path}: no example of the split 'test' has a class of label {label!r}; name another label")
    return task


def _numbered(functaset: Functaset, sample: Sample, label: str) -> Task:
    """A label with its classes numbered from 0, those of the training split first; only these are counted."""
    values, names = functaset.labels[label][:], functaset.label_names.get(label, ())
    has_class = np.full(len(values), True)
    if NO_CLASS in names:
        has_class = values != names.index(NO_CLASS)
    known = np.unique(values[sample.train][has_class[sample.train]])
    places = np.searchsorted(known, values).clip(max=max(len(known) - 1, 0))
    is_known = known[places] == values if len(known) else np.full(len(values), False)
    # A class that only held-out examples have gets a number that no classifier gives: they count as wrong.
    classes = np.where(is_known, places, len(known))
    return Task(label=label, num_classes=len(known), classes=np.where(has_class, classes, -1))

"""Ids, splits and labels beside the examples of an array."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from functa_store.errors import ArchiveError
from functa_store.sources.source import Label
from functa_store.sources.splits import hold_out_every, splits_of_words

AnyLabel = Label | Sequence[Any] | np.ndarray
"""A label, or a number or text per example."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PerExample:
    """Names, splits and labels, one per example; what is left out takes the obvious.

    Attributes:
        ids: Unique names; None counts from "0".
        split: One of `SPLITS`, or a word for one, per example; None holds out every tenth of those that are taken.
        labels: Named labels.
    """

    ids: Sequence[str] | None
    split: np.ndarray | None
    labels: Mapping[str, Label]

    def check(self, name: str, count: int) -> None:
        """Refuse what is not one per example.

        Raises:
            ArchiveError: If something has another length; says what.
        """
        given: dict[str, Any] = {f"label {label}": values.values for label, values in self.labels.items()}
        given |= {what: values for what, values in (("ids", self.ids), ("split", self.split)) if values is not None}
        for what, values in given.items():
            if len(values) != count:
                raise ArchiveError(f"{name}: {what} has {len(values)} values for {count} examples")

    def id(self, row: int) -> str:
        """What an example of the whole array is called."""
        return str(row) if self.ids is None else str(self.ids[row])

    def taken(self, rows: np.ndarray) -> tuple[list[str], np.ndarray, dict[str, Label]]:
        """Ids, split and labels of some examples."""
        split = hold_out_every(len(rows)) if self.split is None else self.split[rows]
        labels = {name: dataclasses.replace(label, values=label.values[rows]) for name, label in self.labels.items()}
        return [self.id(int(row)) for row in rows], split, labels


def per_example(
    ids: Sequence[str] | None, split: Sequence[str] | np.ndarray | None, labels: Mapping[str, AnyLabel] | None
) -> PerExample:
    """The same in the words of a source.

    Raises:
        ArchiveError: If a label is neither numbers nor text.
    """
    return PerExample(
        ids=ids,
        split=None if split is None else splits_of_words(as_text(np.asarray(split)).tolist()),
        labels={key: _label(key, v) for key, v in (labels or {}).items()},
    )


def _label(key: str, given: AnyLabel) -> Label:
    label = given if isinstance(given, Label) else as_label(key, np.asarray(given))
    return dataclasses.replace(label, values=storable(np.asarray(label.values)))


def storable(values: np.ndarray) -> np.ndarray:
    """Numbers as a store can hold them: the long double of a platform, which no other one reads, as float64."""
    is_long = values.dtype.kind == "f" and values.dtype.itemsize > np.dtype(np.float64).itemsize
    return values.astype(np.float64) if is_long else values


def as_label(name: str, values: np.ndarray) -> Label:
    """A label of numbers, or of classes where the values are text.

    Raises:
        ArchiveError: If they are neither.
    """
    if values.ndim == 1 and values.dtype.kind in "biuf":
        return Label(values=values)
    if values.ndim == 1 and values.dtype.kind in "SUOT":
        return as_classes(values)
    raise ArchiveError(f"label {name}: found {values.dtype} of shape {values.shape}, expected a number or text each")


def as_classes(values: np.ndarray) -> Label:
    """A label of class numbers in the order of the sorted texts, which are its names."""
    names, numbers = np.unique(as_text(values), return_inverse=True)
    return Label(values=numbers.astype(np.int32), names=tuple(str(text) for text in names))


def as_text(values: np.ndarray) -> np.ndarray:
    """Text of bytes, text or numbers."""
    return np.array([v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in values.tolist()], np.str_)

"""Labels of several stores as one: which go together, the classes of all, and numbers of classes mapped when read.

Stores of one base network may name classes in another order, or name others. Together they have the classes of the
first, then those that only later ones have, in their order. Each store keeps its own numbers.
"""

import copy
import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from functa_store.store.reading.reader import StoreReader
from functa_store.store.reading.rows import Rows, Selection, following

NO_NAME = -1
"""The number of a class that has no name, such as -1 itself, where stores name different classes."""


class JoinedLabels(NamedTuple):
    """The labels of several stores.

    Attributes:
        rows: Values by name, of the labels that all have alike.
        names: What the integers 0, 1, ... of a label stand for, where it has names.
        odd: The other labels, and why each is none of them, in words.
    """

    rows: dict[str, Rows]
    names: dict[str, tuple[str, ...]]
    odd: dict[str, str]


def join_labels(path: str, stores: Sequence[StoreReader]) -> JoinedLabels:
    """The labels of stores that follow each other.

    Args:
        path: What messages call them.
        stores: At least one.
    """
    found = JoinedLabels({}, {}, {})
    for name in dict.fromkeys(itertools.chain.from_iterable(store.labels for store in stores)):
        if (why := why_odd(name, stores)) is not None:
            found.odd[name] = why
            continue
        rows, names = [store.labels[name] for store in stores], [store.label_names.get(name) for store in stores]
        if names[0] is not None:
            found.names[name] = all_classes(names)
        if any(one != names[0] for one in names):
            dtype = _signed([one.dtype for one in rows], len(found.names[name]))
            numbers = [numbers_among(one, found.names[name], dtype) for one in names]
            rows = [_renumbered_rows(*pair) for pair in zip(rows, numbers, strict=True)]
        found.rows[name] = following(f"{path}/{name}", rows)
    return found


def why_odd(name: str, stores: Sequence[StoreReader]) -> str | None:
    """Why the labels of one name of several stores are not one, in words; None if they are."""
    if without := [store.path for store in stores if name not in store.labels]:
        return f"{without[0]} has none"
    described = [(store.labels[name].dtype, store.label_names.get(name)) for store in stores]
    return why_apart(described)


def why_apart(described: Sequence[tuple[np.dtype, tuple[str, ...] | None]]) -> str | None:
    """Why numbers of classes mean something else in each label, in words; None if names tell what they mean.

    Args:
        described: Data type and names of the classes of each.
    """
    names = [names for _, names in described]
    if all(one == names[0] for one in names):
        return None
    if None in names:
        return "some have names of its classes and others have none"
    if other := [dtype.name for dtype, _ in described if dtype.kind not in "iub"]:
        return f"its classes differ, and are numbered by {other[0]}"
    if any(len(set(one)) < len(one) for one in names if one is not None):
        return "its classes differ, and two of them have one name"
    return None


def all_classes(several: Sequence[tuple[str, ...] | None]) -> tuple[str, ...]:
    """The classes of the first, as they are, then those that only later ones have, in their order."""
    first = several[0] or ()
    known = set(first)
    others = itertools.chain.from_iterable(one or () for one in several[1:])
    return first + tuple(name for name in dict.fromkeys(others) if name not in known)


def numbers_among(names: Sequence[str] | None, classes: Sequence[str], dtype: np.dtype) -> np.ndarray:
    """The number that each class has among others; the last one is that of whatever has no name."""
    places = {name: place for place, name in enumerate(classes)}
    return np.array([*(places[name] for name in names or ()), NO_NAME], dtype)


def renumbered(values: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Numbers of classes as others number them.

    Args:
        values: Integers.
        numbers: See `numbers_among`.
    """
    has_name = (values >= 0) & (values < len(numbers) - 1)
    return numbers[np.where(has_name, values, 0).astype(np.intp) + np.where(has_name, 0, len(numbers) - 1)]


class RenumberedRows:
    """Numbers of classes as all stores together number them, see `rows.RowTable`.

    Args:
        rows: The numbers that one store has.
        numbers: See `numbers_among`.
    """

    def __init__(self, rows: Rows, numbers: np.ndarray) -> None:
        self._rows, self._numbers = copy.copy(rows), numbers  # whoever opened it may let it go

    def __getitem__(self, rows: Selection) -> np.ndarray:
        """The numbers of some examples, in the order asked for."""
        return renumbered(self._rows[rows], self._numbers)


def _renumbered_rows(rows: Rows, numbers: np.ndarray) -> Rows:
    return Rows(rows.name, rows.shape, numbers.dtype, functools.partial(RenumberedRows, rows, numbers))


def _signed(dtypes: Sequence[np.dtype], num_classes: int) -> np.dtype:
    """A type of signed integers that holds all numbers of classes, and `NO_NAME`."""
    found = np.result_type(*dtypes, np.min_scalar_type(-max(num_classes, 1)))
    return found if found.kind == "i" else np.dtype(np.int64)

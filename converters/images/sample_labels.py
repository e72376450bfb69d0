"""Labels of examples that come one by one: fields of JSON, gathered in columns of numbers and classes."""

import array
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from functa_store.sources.source import Label, name_problem

MOST_FIELDS = 1000
"""Fields that are looked at."""

MOST_CLASSES, MOST_CLASS_CHARACTERS = 4096, 100
"""Different texts of a field, and the length of each, that may be names of classes."""

ALWAYS_CLASSES = 10
"""So many different texts are classes, if one of them is there twice; more, if they have two examples on average."""

_INT64, _EXACT = 1 << 63, 1 << 53

_NOT_EXACT = "holds whole numbers beyond 2^53 beside fractions or gaps, which would round them"


def parse_fields(text: bytes) -> dict[str, Any]:
    """The fields of a JSON object.

    Raises:
        ValueError: If it is none, or has a field twice.
    """
    try:
        found = json.loads(text, object_pairs_hook=_unique)
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError(f"holds a {type(found).__name__}, expected an object with fields")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"has the field {next(n for n in names if names.count(n) > 1)!r:.100} twice")
    return found


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


class SampleLabels:
    """Columns of labels that grow example by example; numbers take 8 bytes for each.

    Attributes:
        left_out: Why fields are no labels, by their names; complete once `labels` was called.
    """

    def __init__(self) -> None:
        self._columns: dict[str, _Column] = {}
        self.left_out: dict[str, str] = {}

    def add(self, example: int, fields: Mapping[str, Any]) -> None:
        """Note what is said of an example; those without a field lack it.

        Args:
            example: Its number, at least that of the last one.
            fields: Values by name.
        """
        for name, value in fields.items():
            column = self._columns.get(name)
            if column is None:
                if len(self._columns) == MOST_FIELDS:
                    self.left_out[f"{name!r:.50} and others"] = f"there are more than {MOST_FIELDS} fields"
                    continue
                column = self._columns[name] = _Column()
            column.add(example, value)

    def labels(self, count: int, kept: np.ndarray) -> dict[str, Label]:
        """Labels of the examples that are kept.

        Args:
            count: Examples in all.
            kept: Numbers of those that are wanted, in their order.

        Returns:
            By the names of fields, sorted: truths, numbers (NaN for examples that lack them, if there are some), or
            classes of texts ("" for those that lack one).
        """
        found: dict[str, Label] = {}
        taken: dict[str, str] = {}
        for name, column in sorted(self._columns.items()):
            problem = name_problem(name)
            if problem is None and (other := taken.get(name.casefold())):
                problem = f"differs from {other} in the letters' case alone"
            label = column.label(count, kept) if problem is None else problem
            if isinstance(label, str):
                self.left_out[f"{name!r:.50}"] = label
            else:
                found[name], taken[name.casefold()] = label, name
        return found


class _Column:
    """The values of one field."""

    def __init__(self) -> None:
        self._kind: str | None = None
        self._problem: str | None = None
        self._values: array.array[Any] = array.array("d")
        self._at: array.array[int] = array.array("q")
        self._classes: dict[str, int] = {}
        self._is_exact = True  # as floats, too

    def add(self, example: int, value: Any) -> None:
        """Note a value; None is none."""
        if value is None or self._problem is not None:
            return
        kind = {bool: "bool", int: "int", float: "float", str: "text"}.get(type(value))
        if kind is None:
            self._drop("holds lists or objects")
        elif kind == "int" and not -_INT64 <= value < _INT64:
            self._drop("holds numbers beyond 64 bits")
        elif kind == "text" and not _is_unicode(value):
            self._drop("holds texts that are no Unicode")
        elif self._kind is None:
            self._kind, self._values = kind, array.array("d" if kind == "float" else "q")
        elif {kind, self._kind} == {"int", "float"}:
            if self._kind == "int":
                self._kind, self._values = "float", array.array("d", self._values)
        elif kind != self._kind:
            self._drop("mixes numbers, texts and truths")
        if self._problem is None:
            if isinstance(value, str):
                value = self._class_of(value)
            self._is_exact &= kind != "int" or abs(value) <= _EXACT
            if self._kind == "float" and not self._is_exact:
                self._drop(_NOT_EXACT)
            if self._problem is None:
                self._values.append(float(value) if self._kind == "float" else value)
                self._at.append(example)

    def _class_of(self, text: str) -> int:
        if len(text) > MOST_CLASS_CHARACTERS:
            self._drop("holds long texts")
        elif text not in self._classes and len(self._classes) == MOST_CLASSES:
            self._drop(f"holds more than {MOST_CLASSES:,} different texts")
        else:
            return self._classes.setdefault(text, len(self._classes))
        return -1

    def _drop(self, problem: str) -> None:
        self._problem, self._values, self._at, self._classes = problem, array.array("d"), array.array("q"), {}

    def label(self, count: int, kept: np.ndarray) -> Label | str:
        """The label of some examples, or why there is none."""
        if self._problem is not None or self._kind is None:
            return self._problem or "is null throughout"
        values, at = np.frombuffer(self._values, self._values.typecode), np.frombuffer(self._at, np.int64)
        if self._kind == "text":
            return self._of_classes(values, at, count, kept)
        if len(at) < count and not self._is_exact:
            return _NOT_EXACT
        if len(at) < count:  # of which some lack it
            column = np.full(count, np.nan)
            column[at] = values
            return Label(values=column[kept])
        dtype = {"bool": np.bool_, "int": np.int64, "float": np.float64}[self._kind]
        column = np.empty(count, dtype)
        column[at] = values
        return Label(values=column[kept])

    def _of_classes(self, values: np.ndarray, at: np.ndarray, count: int, kept: np.ndarray) -> Label | str:
        different = len(self._classes)
        if (different == len(at) and different > 1) or (different > ALWAYS_CLASSES and 2 * different > len(at)):
            return f"holds {different:,} different texts in {len(at):,} examples"
        names = sorted(self._classes.keys() | ({""} if len(at) < count else set()))
        number = {name: k for k, name in enumerate(names)}
        column = np.full(count, number.get("", 0), np.int32)
        column[at] = np.array([number[name] for name in self._classes], np.int32)[values]
        return Label(values=column[kept], names=tuple(names))

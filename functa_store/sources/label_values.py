"""Labels of published data sets: classes by their published names, and texts of which there are few."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from functa_store.errors import ArchiveError
from functa_store.sources.source import Label

NO_CLASS = "(none)"
"""The class of examples whose published class is -1, as of test sets without labels, or missing."""

MOST_CLASSES = 1000
"""Different texts up to which a label of texts is one of classes."""

_ALWAYS_CLASSES = 3  # as of a column of splits, of however few rows
_EXACT = 1 << 53


def named_classes(name: str, values: np.ndarray, names: Sequence[str]) -> Label:
    """Classes by their published names; those without one are the class `NO_CLASS`.

    Args:
        name: What errors call the label.
        values: Numbers of classes, -1 or NaN where there is none.
        names: In the order of numbers.

    Raises:
        ArchiveError: If a number has no name.
    """
    if (
        values.dtype.kind == "f"
        and not np.isinf(values).any()
        and np.array_equal(values, np.rint(values), equal_nan=True)
    ):
        values = np.where(np.isnan(values), -1, values).astype(np.int64)  # as of a table in which some are missing
    if values.dtype.kind not in "iub":
        raise ArchiveError(f"{name}: holds {values.dtype}, but its classes have names and are numbered 0, 1, ...")
    values, names = values.astype(np.int64), tuple(map(str, names))
    wrong = values[(values < -1) | (values >= len(names))]
    if len(wrong):
        raise ArchiveError(f"{name}: holds the class {wrong[0]}, but the names published are those of {len(names)}")
    if (values == -1).any():
        values = np.where(values == -1, len(names), values)
        names = (*names, NO_CLASS)
    return Label(values=values.astype(np.int32), names=names)


def text_classes(numbers: np.ndarray, texts: Sequence[str | None]) -> Label | str:
    """Classes of texts in sorted order, None being `NO_CLASS`; or why there are none.

    Args:
        numbers: Which of the texts each example has.
        texts: Different ones.
    """
    if len(texts) > MOST_CLASSES:
        return f"has more than {MOST_CLASSES} different texts"
    if len(texts) > max(_ALWAYS_CLASSES, len(numbers) // 2):
        return f"has {len(texts)} different texts in {len(numbers)} rows"
    places = {text: place for place, text in enumerate(texts)}
    names = sorted(text for text in texts if text is not None)
    renumbered = np.zeros(len(texts), np.int32)
    for number, text in enumerate(names):
        renumbered[places[text]] = number
    if None in places:
        renumbered[places[None]] = len(names)
        names.append(NO_CLASS)
    return Label(values=renumbered[numbers], names=tuple(names))


def label_of_values(name: str, values: Sequence[Any], names: Sequence[str] | None) -> Label | str:
    """A label of one value per example, None where there is none; or why there is none.

    Args:
        name: What errors call it.
        values: Numbers, truth values or texts.
        names: Published names of classes.

    Raises:
        ArchiveError: If a class has no name.
    """
    there = [value for value in values if value is not None]
    if not there:
        return "has no values"
    if all(isinstance(value, str) for value in there):
        texts = list(dict.fromkeys(values))
        if len(texts) > MOST_CLASSES:
            return f"has more than {MOST_CLASSES} different texts"
        places = {text: place for place, text in enumerate(texts)}
        return text_classes(np.array([places[value] for value in values], np.int32), texts)
    try:
        found = np.array(there)
    except (ValueError, OverflowError):
        found = np.array(there, object)
    if found.ndim != 1 or found.dtype.kind not in "biuf":
        return f"holds {type(there[0]).__name__}, neither numbers nor texts"
    if names is not None:
        return named_classes(name, np.array([-1 if value is None else value for value in values]), names)
    if len(there) == len(values):
        return Label(values=found)
    if found.dtype.kind in "iu" and np.abs(found.astype(np.float64)).max() > _EXACT:
        return "lacks values, and others are whole numbers of more than 53 bits"
    return Label(values=np.array([np.nan if value is None else value for value in values], np.float64))

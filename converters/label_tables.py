"""Tables beside an archive (.csv, .tsv): a row per member, found by its name, with labels and perhaps its split."""

import collections
import csv
import hashlib
import io
import os
import posixpath
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from converters.archives.archive import read_file
from converters.archives.plain_files import checked_path
from functa_store.errors import ArchiveError, MemberError
from functa_store.sources.array_source import as_classes
from functa_store.sources.source import Label, name_problem
from functa_store.sources.splits import split_of_word, splits_of_words

_MOST_BYTES = 1 << 28
_CALLED_SPLIT = ("split", "partition", "subset", "set", "phase", "usage")


class LabelTable(NamedTuple):
    """What a table says about some images, in their order.

    Attributes:
        name: Of its file.
        sha256: Hexadecimal digest of its content.
        labels: Its columns but for the names and the split.
        published: The split of each image; None without such a column.
        column: Which column that is.
        unused: Rows of other images.
    """

    name: str
    sha256: str
    labels: Mapping[str, Label]
    published: np.ndarray | None
    column: str | None
    unused: int


def read_label_table(path: str, images: Sequence[str], split: str | None) -> LabelTable:
    """Labels and splits of images from a table with a header.

    The column of names is found by what it holds: members, paths below the folder of all images, names of files, or
    these without suffix, one row for each image. Of the other columns, whole numbers and numbers are labels of these,
    empty cells not a number; texts are classes.

    Args:
        path: A .csv or .tsv file; what separates cells is found by its first lines.
        images: Members.
        split: The column that says splits; None takes one of the usual names whose words are all those of splits.

    Raises:
        ArchiveError: If it cannot be read, names no column of theirs, lacks or repeats an image, or says a word that
            names no split.
    """
    import pandas as pd  # takes half a second

    try:
        content = read_file(checked_path(path))
        if len(content) > _MOST_BYTES:
            raise MemberError(f"has {len(content)} bytes, more than the {_MOST_BYTES} of a table that is read")
        file = io.BytesIO(content)
        table = pd.read_csv(file, sep=None, engine="python", dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (MemberError, ValueError, pd.errors.ParserError, csv.Error) as error:
        raise ArchiveError(f"{path}: is no table that can be read: {error}") from error
    name = os.path.basename(path)
    columns = {str(column): table[column].to_numpy(str) for column in table.columns}
    key, rows = _rows_of(path, columns, images)
    said = {column: values[rows] for column, values in columns.items() if column != key}
    column, published = _split_of(path, said, split)
    labels = {}
    for title, values in said.items():
        if title == column:
            continue
        if problem := name_problem(title):
            raise ArchiveError(f"{path}: column {title!r:.100} {problem}; rename it")
        labels[title] = _label_of(values)
    digest = hashlib.sha256(content).hexdigest()
    return LabelTable(name, digest, labels, published, column, len(table) - len(images))


def _rows_of(path: str, columns: Mapping[str, np.ndarray], images: Sequence[str]) -> tuple[str, np.ndarray]:
    """The column that names images, and the row of each image."""
    above = len(posixpath.commonpath([posixpath.dirname(image) for image in images]))
    forms = [
        list(images),
        [image[above:].lstrip("/") for image in images],
        [posixpath.basename(image) for image in images],
        [posixpath.splitext(posixpath.basename(image))[0] for image in images],
    ]
    best = ("", 0, forms[0])
    for form, names in enumerate(forms):
        if len(set(names)) < len(names) or (form == len(forms) - 1 and 2 * best[1] > len(names)):
            continue  # numbers without a suffix are easily those of something else
        for column, values in columns.items():
            there = set(values.tolist())
            if (count := sum(name in there for name in names)) > best[1]:
                best = (column, count, names)
    column, count, names = best
    if not count:
        raise ArchiveError(
            f"{path}: found the columns {', '.join(columns)}, expected one with names of images such as {forms[2][0]}, "
            f"or {forms[3][0]}, each of which names one image"
        )
    lines: dict[str, list[int]] = collections.defaultdict(list)
    for row, value in enumerate(columns[column].tolist()):
        lines[value].append(row)
    for image, name in zip(images, names, strict=True):
        if len(found := lines.get(name, [])) != 1:
            more = f", and {len(images) - count - 1} other images have none" if count < len(images) - 1 else ""
            rows = f"{len(found)} rows (the second in line {found[1] + 2})" if found else "no row"
            raise ArchiveError(f"{path}: column {column!r} has {rows} for {image}, expected one{more}")
    return column, np.array([lines[name][0] for name in names], np.int64)


def _split_of(path: str, said: Mapping[str, np.ndarray], split: str | None) -> tuple[str | None, np.ndarray | None]:
    if split is not None and split not in said:
        raise ArchiveError(f"{path}: has no column {split!r} beside the names, expected one of {', '.join(said)}")
    usual = (column for column in said if column.lower() in _CALLED_SPLIT)
    for column in usual if split is None else (split,):
        words = np.unique(said[column]).tolist()
        if unknown := [word for word in words if split_of_word(word) is None]:
            if split is None:
                continue
            raise ArchiveError(
                f"{path}: column {column!r} says {unknown[0]!r:.100}, expected train, validation or test"
            )
        return column, splits_of_words(said[column].tolist())
    return None, None


def _label_of(values: np.ndarray) -> Label:
    for dtype in (np.int64, np.float64):
        try:
            return Label(values=np.where(values == "", "nan", values).astype(dtype))
        except (ValueError, OverflowError):
            continue
    return as_classes(values)


def check_agreement(table: LabelTable, by_folders: np.ndarray | None, images: Sequence[str]) -> None:
    """Refuse a table that gives a member another split than its folder.

    Raises:
        ArchiveError: If it does; the message names the first one.
    """
    if by_folders is None or table.published is None:
        return
    differs = np.flatnonzero(by_folders != table.published)
    if len(differs):
        k = int(differs[0])
        raise ArchiveError(
            f"{table.name}: says {table.published[k]} of {images[k]}, which lies in a folder of {by_folders[k]}, and "
            f"differs so for {len(differs)} images; name another column (split_column), or rename the folders"
        )

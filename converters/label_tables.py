"""Tables beside an archive (.csv, .tsv): a row per member, found by its name, with labels and perhaps its split."""

import collections
import csv
import hashlib
import io
import os
import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from converters.archives.archive import read_file
from converters.archives.plain_files import checked_path
from functa_store.errors import ArchiveError, MemberError
from functa_store.sources.source import Label, name_problem
from functa_store.sources.splits import split_of_word, splits_of_words

_MOST_BYTES = 1 << 28
CALLED_SPLIT = ("split", "partition", "subset", "set", "phase", "usage")
"""What columns and fields are called that say splits, in any letter case."""

_SEPARATORS = (",", ";", "\t", "|")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")

_MISSING = {"", "na", "n/a", "nan", "null", "none"}
_WHOLE = re.compile(r"[+-]?[0-9]{1,100}")
_NUMBER = re.compile(r"[+-]?([0-9]{1,100}(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]{1,2})?|[+-]?inf(inity)?", re.IGNORECASE)
_MOST_EXACT = 1 << 53
_ALWAYS_CLASSES, _MOST_CLASS_CHARACTERS = 4096, 1000


class LabelTable(NamedTuple):
    """What a table says about some images, in their order.

    Attributes:
        name: Of its file.
        sha256: Hexadecimal digest of its content.
        labels: Its columns but for the names and the split.
        published: The split of each image; None without such a column.
        column: Which column that is.
        unused: Rows of other images.
        notes: What is odd about it, in words.
    """

    name: str
    sha256: str
    labels: Mapping[str, Label]
    published: np.ndarray | None
    column: str | None
    unused: int
    notes: Sequence[str]


def read_label_table(path: str, images: Sequence[str], split: str | None) -> LabelTable:
    """Labels and splits of images from a table with a header.

    The column of names is found by what it holds: members, paths below the folder of all images, names of files, or
    these without suffix, one row for each image. Of the other columns, whole numbers and numbers are labels of these,
    empty cells and such as NA not a number; texts are classes, and so are numbers that a label would not keep apart.
    Blanks around cells count for nothing.

    Args:
        path: A .csv or .tsv file; what separates cells is found by its first line.
        images: Members.
        split: The column that says splits; None takes one of the usual names whose words are all those of splits.

    Raises:
        ArchiveError: If it cannot be read, names no column of theirs, lacks or repeats an image, or says a word that
            names no split beside others that do.
    """
    try:
        content = read_file(checked_path(path))
        if len(content) > _MOST_BYTES:
            raise MemberError(f"has {len(content)} bytes, more than the {_MOST_BYTES} of a table that is read")
        columns, num_rows, notes = _columns(content)
    except (MemberError, ValueError, csv.Error) as error:
        raise ArchiveError(f"{path}: is no table that can be read: {error}") from error
    name = os.path.basename(path)
    key, rows = _rows_of(path, columns, images)
    said = {column: [values[row] for row in rows] for column, values in columns.items() if column != key}
    column, published, more = _split_of(path, said, split)
    labels, notes = {}, [*notes, *more]
    for title, values in said.items():
        if title == column:
            continue
        if problem := name_problem(title):
            raise ArchiveError(f"{path}: column {title!r:.100} {problem}; rename it")
        found = _label_of(values)
        if isinstance(found, Label):
            labels[title] = found
        else:
            notes.append(f"the column {title} is no label: it {found}")
    digest = hashlib.sha256(content).hexdigest()
    return LabelTable(name, digest, labels, published, column, num_rows - len(images), notes)


def _columns(content: bytes) -> tuple[dict[str, list[str]], int, list[str]]:
    """Columns by their titles, how many rows there are, and what is odd, in words.

    Raises:
        ValueError: If it is no text, has two columns of one title, or a row of more or fewer cells than the header.
    """
    text = content.decode("utf-16" if content.startswith(_UTF16) else "utf-8-sig")
    if "\0" in text:
        raise ValueError("holds the character NUL")
    head = next((line for line in io.StringIO(text) if line.strip()), None)
    if head is None:
        raise ValueError("is empty, expected a header and a row for each image")
    separator = max(_SEPARATORS, key=head.count) if any(map(head.count, _SEPARATORS)) else " "
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    rows = ([cell.strip() for cell in row] for row in reader)
    filled = (row for row in rows if any(row))
    titles = next(filled)
    if repeated := [title for title in titles if title and titles.count(title) > 1]:
        raise ValueError(f"has two columns {repeated[0]!r:.100}; rename one of them")
    values: list[list[str]] = [[] for _ in titles]
    num_rows = 0
    for num_rows, row in enumerate(filled, 1):  # noqa: B007  # it is how many there were
        if len(row) < len(titles) or any(row[len(titles) :]):
            raise ValueError(
                f"line {reader.line_num} has {len(row)} cells, expected {len(titles)}, as many as the header has"
            )
        for column, cell in zip(values, row, strict=False):
            column.append(cell)
    columns = dict(zip(titles, values, strict=True))
    notes = [] if columns.pop("", None) is None else ["a column without a title is left out"]
    return columns, num_rows, notes


def _rows_of(path: str, columns: Mapping[str, Sequence[str]], images: Sequence[str]) -> tuple[str, list[int]]:
    """The column that names images, and the row of each image."""
    above = len(posixpath.commonpath([posixpath.dirname(image) for image in images]))
    forms = [
        list(map(_as_path, images)),
        [_as_path(image[above:].lstrip("/")) for image in images],
        [posixpath.basename(image) for image in images],
        [posixpath.splitext(posixpath.basename(image))[0] for image in images],
    ]
    paths = {column: list(map(_as_path, values)) for column, values in columns.items()}
    best = ("", 0, forms[0])
    for form, names in enumerate(forms):
        if len(set(names)) < len(names) or (form == len(forms) - 1 and 2 * best[1] > len(names)):
            continue  # numbers without a suffix are easily those of something else
        for column, values in paths.items():
            there = set(values)
            if (count := sum(name in there for name in names)) > best[1]:
                best = (column, count, names)
    column, count, names = best
    if not count:
        raise ArchiveError(
            f"{path}: found the columns {', '.join(columns)}, expected one with names of images such as {forms[2][0]}, "
            f"or {forms[3][0]}, each of which names one image"
        )
    lines: dict[str, list[int]] = collections.defaultdict(list)
    for row, value in enumerate(paths[column]):
        lines[value].append(row)
    for image, name in zip(images, names, strict=True):
        if len(found := lines.get(name, [])) != 1:
            more = f", and {len(images) - count - 1} other images have none" if count < len(images) - 1 else ""
            rows = f"{len(found)} rows (the second in line {found[1] + 2})" if found else "no row"
            raise ArchiveError(f"{path}: column {column!r} has {rows} for {image}, expected one{more}")
    return column, [lines[name][0] for name in names]


def _as_path(name: str) -> str:
    """A name as archives have it: "/" between folders, and no "./" before them."""
    return name.replace("\\", "/").removeprefix("./")


def _split_of(
    path: str, said: Mapping[str, Sequence[str]], split: str | None
) -> tuple[str | None, np.ndarray | None, list[str]]:
    """The column with splits and what it says, and what is odd, in words."""
    if split is not None and split not in said:
        raise ArchiveError(f"{path}: has no column {split!r} beside the names, expected one of {', '.join(said)}")
    notes, found = list[str](), dict[str, np.ndarray]()
    for column in [c for c in said if c.lower() in CALLED_SPLIT] if split is None else [split]:
        words = sorted(set(said[column]))
        unknown = [word for word in words if split_of_word(word) is None]
        if not unknown:
            found[column] = splits_of_words(said[column])
        elif split is not None or len(unknown) < len(words):
            more = "" if split else "; if these are no splits, rename the column, or name another one by --split-column"
            raise ArchiveError(
                f"{path}: column {column!r} says {unknown[0]!r:.100} for {said[column].count(unknown[0])} images, "
                f"expected train, validation or test{more}"
            )
        else:
            notes.append(
                f"the column {column} says {unknown[0]!r:.50}, which names no split, so that it is taken for a label"
            )
    if not found:
        return None, None, notes
    (column, published), *others = found.items()
    for other, its in others:
        if (its != published).any():
            raise ArchiveError(
                f"{path}: columns {column!r} and {other!r} both say splits, and differ for {(its != published).sum()} "
                "images; name one by --split-column"
            )
    return column, published, notes


def _label_of(values: Sequence[str]) -> Label | str:
    """The label that cells give, or why they give none."""
    there = [value for value in values if value.lower() not in _MISSING]
    if there and all(map(_WHOLE.fullmatch, there)):
        numbers = [int(value) for value in there]
        are_apart = len(set(numbers)) == len({value.lstrip("+") for value in there})
        if are_apart and len(there) == len(values) and all(-(1 << 63) <= number < 1 << 63 for number in numbers):
            return Label(values=np.array(numbers, np.int64))
        if are_apart and all(abs(number) <= _MOST_EXACT for number in numbers):
            return _with_gaps(values)
    elif there and all(map(_NUMBER.fullmatch, there)):
        return _with_gaps(values)
    different = set(values)
    if (longest := max(map(len, different))) > _MOST_CLASS_CHARACTERS:
        return f"holds texts of up to {longest:,} characters"
    if len(different) > _ALWAYS_CLASSES and 2 * len(different) > len(values):
        return f"holds {len(different):,} different texts for {len(values):,} images"
    names = sorted(different)
    number = {name: k for k, name in enumerate(names)}
    return Label(values=np.array([number[value] for value in values], np.int32), names=tuple(names))


def _with_gaps(values: Sequence[str]) -> Label:
    return Label(values=np.array([np.nan if value.lower() in _MISSING else float(value) for value in values]))


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

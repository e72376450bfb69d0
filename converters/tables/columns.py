"""Columns of tables: which one holds images, sounds or arrays, and the labels, ids and splits that others give.

Whole numbers, numbers and truth values are labels as they are, classes by their published names; texts of which there
are few are classes. What is left out, such as captions, is said with its reason.
"""

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from converters.tables.parquet_files import ParquetTable
from functa_store.errors import ArchiveError, MemberError
from functa_store.sources.label_values import MOST_CLASSES, named_classes, text_classes
from functa_store.sources.source import Label, name_problem
from functa_store.sources.splits import evenly, split_of_word, splits_of_words
from functa_store.support.memory import LRUCache
from functa_store.support.optional import require
from functa_store.support.shortening import shown

Kind = Literal["image", "audio", "array"]

_EXACT_DIGITS = 15
_NO_VALUES = "has no values"
_LOOKED_AT, _FILES_LOOKED_AT = 100, 20
_LONGEST_ID = 1024
_CALLED_SPLIT = ("split", "partition", "subset", "set", "phase", "usage")
_IMAGES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ")
_SOUNDS = (b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"FORM", b"RF64")


class DataColumn(NamedTuple):
    """The column that examples are made of.

    Attributes:
        name: Of the column.
        kind: What it holds.
        leaf: Path down to its bytes, joined by dots; the column itself for arrays.
        path: That of the names of the files which its bytes were; None if there are none.
        first: The first bytes of its first value, if it has bytes.
    """

    name: str
    kind: Kind
    leaf: str
    path: str | None
    first: bytes


def find_column(
    archive: str, tables: Sequence[ParquetTable], features: Mapping[str, Any], wanted: str | None
) -> tuple[DataColumn, list[str]]:
    """The column with the data, and others that might have been meant.

    Args:
        archive: Name of the data set, for messages.
        tables: Its files; the first one is looked at.
        features: What the data set says of its columns.
        wanted: Name of the column; None takes the only one of images or sounds, or else the only one of arrays.

    Raises:
        ArchiveError: If there is none, or several could be meant.
    """
    schema = tables[0].schema
    if wanted is not None and wanted not in schema.names:
        raise ArchiveError(f"{archive}: has no column {wanted!r}, expected one of {_listed(schema.names)}")
    found = {name: column for name in schema.names if (column := _data_column(tables, name, features)) is not None}
    if wanted is not None and wanted not in found:
        raise ArchiveError(
            f"{archive}: column {wanted!r} is {schema.field(wanted).type}, expected bytes of images or sounds, or "
            "lists of numbers"
        )
    files = [name for name, column in found.items() if column.kind != "array"]
    likely = files or list(found) if wanted is None else [wanted]
    if not likely:
        raise ArchiveError(
            f"{archive}: found the columns {_listed(schema.names)}, none of images, sounds or arrays; a table of texts "
            "or numbers is no functaset"
        )
    if len(likely) > 1:
        kinds = ", ".join(f"{shown(name)} ({found[name].kind})" for name in likely)
        raise ArchiveError(f"{archive}: several columns could be the data: {kinds}; name one by --column")
    return found[likely[0]], [name for name in found if name != likely[0]]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(shown(repr(name)) for name in list(names)[:50])


def _data_column(tables: Sequence[ParquetTable], name: str, features: Mapping[str, Any]) -> DataColumn | None:
    import pyarrow as pa

    kind = _value_type(_told_type(tables, name))
    told = features.get(name)
    said = str(told.get("_type", "")) if isinstance(told, dict) else ""
    if is_list(kind):
        return DataColumn(name, "array", name, None, b"") if number_type(kind) is not None else None
    if pa.types.is_struct(kind):
        fields = {field.name: field.type for field in kind}
        if "bytes" not in fields or not _is_binary(fields["bytes"]):
            return None
        leaf, path = f"{name}.bytes", f"{name}.path" if "path" in fields else None
    elif _is_binary(kind):
        leaf, path = name, None
    else:
        return None
    first = _first_bytes(tables, leaf)
    found = {"Image": "image", "Audio": "audio"}.get(said) or _kind_of_bytes(first)
    return None if found is None else DataColumn(name, found, leaf, path, first[:16])  # type: ignore[arg-type]


def _told_type(tables: Sequence[ParquetTable], name: str) -> Any:
    """The type of a column in the first file that says one: where all values are missing, it may be none."""
    import pyarrow as pa

    kinds = [table.schema.field(name).type for table in tables if name in table.schema.names]
    return next((kind for kind in kinds if not pa.types.is_null(kind)), kinds[0])


def _storage(kind: Any) -> Any:
    """The type as it is stored: that below an extension's, such as those that `datasets` registers."""
    return getattr(kind, "storage_type", kind)


def _value_type(kind: Any) -> Any:
    """The type of values as they are stored, also where a dictionary has them."""
    import pyarrow as pa

    kind = _storage(kind)
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def is_list(kind: Any) -> bool:
    """Whether values of a type are lists."""
    import pyarrow as pa

    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def number_type(kind: Any) -> Any:
    """The type of numbers in lists, however deep; None if they hold something else."""
    import pyarrow as pa

    while is_list(kind := _storage(kind)):
        kind = kind.value_type
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return kind if numeric else None


def _first_bytes(tables: Sequence[ParquetTable], leaf: str) -> bytes:
    """The first value that is not null among some of each file; empty if there is none."""
    kept = LRUCache[Any](0, keeps_last=True)
    for table in tables[:_FILES_LOOKED_AT]:
        column = table.values(leaf) if table.num_rows else None
        for row in evenly(np.arange(table.num_rows), _LOOKED_AT).tolist():
            try:
                if column is not None and (value := column.read(row, kept)):
                    return value
            except MemberError:
                continue
    return b""


def _kind_of_bytes(data: bytes) -> Kind | None:
    if data.startswith(_IMAGES) or (data.startswith(b"RIFF") and data[8:12] == b"WEBP"):
        return "image"
    if data.startswith(_SOUNDS) or (data.startswith(b"RIFF") and data[8:12] == b"WAVE"):
        return "audio"
    return None


class Columns(NamedTuple):
    """What other columns give, one value per row of all files.

    Attributes:
        labels: By name of the column.
        left_out: Why others are none, by name.
    """

    labels: dict[str, Label]
    left_out: dict[str, str]


def read_labels(tables: Sequence[ParquetTable], names: Sequence[str], features: Mapping[str, Any]) -> Columns:
    """Labels from all columns that can be labels, each row group read once.

    Args:
        tables: The files.
        names: Of the columns.
        features: What the data set says of them: names of classes.

    Raises:
        ArchiveError: If a file has no such column, or a class has no name.
    """
    left_out = {name: problem for name in names if (problem := _problem(name, _told_type(tables, name)))}
    for table in tables[1:]:
        for name in table.schema.names:
            if name not in tables[0].schema.names:
                left_out.setdefault(name, f"is in {table.place}, but not in {tables[0].place}")
    taken = {name: _Gathered(name, _class_names(name, features)) for name in names if name not in left_out}
    folded: dict[str, str] = {}
    for name in list(taken):
        if folded.setdefault(name.casefold(), name) != name:
            left_out[name] = f"is called as column {folded[name.casefold()]!r}, but for the letters' case"
            del taken[name]
    for table in tables:
        _check_columns(table, taken)
        try:
            for part in table.batches(list(taken)) if taken else ():
                for name in list(taken):
                    taken[name].add(part.column(name))
                    if problem := taken[name].problem:
                        left_out[name] = problem
                        del taken[name]
        except MemberError as error:
            raise ArchiveError(f"{table.place}: a label {error}; fetch the file again") from error
    labels = {}
    for name, gathered in taken.items():
        label = gathered.label()
        if isinstance(label, str):
            left_out[name] = label
        else:
            labels[name] = label
    return Columns(labels, left_out)


def _check_columns(table: ParquetTable, names: Iterable[str]) -> None:
    if lacking := [name for name in names if name not in table.schema.names]:
        raise ArchiveError(
            f"{table.place}: has no column {lacking[0]!r} as other files have; files of several data sets are in one "
            "folder, or one of several configurations is to be named by --config-name"
        )


def _problem(name: str, kind: Any) -> str | None:
    """Why a column cannot be a label; None if it can."""
    import pyarrow as pa

    if problem := name_problem(name):
        return problem
    if pa.types.is_null(kind):
        return _NO_VALUES
    kind = _value_type(kind)
    return None if _family(kind) is not None else f"is {shown(str(kind))}, neither numbers nor texts"


def _family(kind: Any) -> str | None:
    """What values of a type are, in words; None if they can be no label."""
    import pyarrow as pa

    if _is_text(kind):
        return "texts"
    if pa.types.is_boolean(kind):
        return "truth values"
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return "numbers" if numeric else None


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _class_names(name: str, features: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Names of classes as published, in the order of their numbers.

    Raises:
        ArchiveError: If these are not 0, 1, ...
    """
    said = features.get(name)
    if not isinstance(said, dict) or said.get("_type") != "ClassLabel" or not (names := said.get("names")):
        return None
    if isinstance(names, dict):
        try:
            numbered = {int(key): value for key, value in names.items()}
        except ValueError:
            numbered = {}
        if sorted(numbered) != list(range(len(names))):
            raise ArchiveError(
                f"column {name!r}: its classes are numbered {reprlib.repr(list(names)):.200}, expected 0, 1, ..."
            )
        names = [numbered[k] for k in range(len(names))]
    if not isinstance(names, list) or not all(isinstance(text, str | int | float) for text in names):
        raise ArchiveError(f"column {name!r}: its classes are {reprlib.repr(names):.200}, expected a list of names")
    return tuple(str(text) for text in names)


class _Gathered:
    """Values of one column, gathered over parts of it.

    Attributes:
        problem: Why it can be no label, as soon as that shows.
    """

    def __init__(self, name: str, classes: tuple[str, ...] | None) -> None:
        self._name, self._classes = name, classes
        self._parts: list[np.ndarray | int] = []  # or how many are missing, where a file has no type for them
        self._texts: dict[str | None, int] = {}
        self._family: str | None = None
        self._has_values = False
        self.problem: str | None = None

    def add(self, column: Any) -> None:
        """Some more rows, a `pyarrow.ChunkedArray`."""
        import pyarrow as pa

        if pa.types.is_null(column.type):
            self._parts.append(len(column))
            return
        kind = _value_type(column.type)
        family = _family(kind)
        if family is None or self._family not in (None, family):
            self.problem = f"is {self._family} in one file, but {family or shown(str(kind))} in another one"
            return
        self._family = family
        self._has_values |= column.null_count < len(column)
        if family == "texts":
            self._add_texts(column)
            return
        try:
            self._add_numbers(column.cast(kind) if column.type != kind else column, kind)
        except pa.ArrowInvalid:  # the type that shall hold them does not
            self.problem = "has nulls beside whole numbers of more than 53 bits"

    def _add_texts(self, column: Any) -> None:
        import pyarrow as pa

        pc = require("pyarrow.compute", extra="huggingface")
        column = column.cast(pa.large_string()) if pa.types.is_string_view(column.type) else column
        for chunk in column.chunks:
            encoded = chunk if hasattr(chunk, "dictionary") else pc.dictionary_encode(chunk)
            places = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
            used, numbers = np.unique(places, return_inverse=True)
            if len(used) > MOST_CLASSES:
                self.problem = f"has more than {MOST_CLASSES} different texts"
                return
            there = encoded.dictionary.take(pa.array(used[used >= 0])).to_pylist()
            texts = [None] * int((used < 0).any()) + there
            of_all = [self._texts.setdefault(text, len(self._texts)) for text in texts]
            if len(self._texts) > MOST_CLASSES:
                self.problem = f"has more than {MOST_CLASSES} different texts"
                return
            self._parts.append(np.array(of_all, np.int32)[numbers])

    def _add_numbers(self, column: Any, kind: Any) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        if pa.types.is_decimal(kind):
            floats = column.cast(pa.float64())
            if kind.precision > _EXACT_DIGITS and not floats.cast(kind, safe=False).equals(column):
                self.problem = f"has decimals of more digits than the {_EXACT_DIGITS} that float64 holds"
                return
            column = floats
        is_float = pa.types.is_floating(column.type)
        if self._classes is not None and not is_float:
            column = pc.fill_null(column.cast(pa.int64()), -1)
        elif column.null_count:
            column = column.cast(pa.int8()) if pa.types.is_boolean(kind) else column
            column = pc.fill_null(column.cast(pa.float64()), float("nan"))
        self._parts.append(column.to_numpy())

    def label(self) -> Label | str:
        """The label of all rows, or why there is none."""
        if not self._has_values:
            return _NO_VALUES
        if self._family == "texts":
            parts = [
                np.full(part, self._texts.setdefault(None, len(self._texts)), np.int32)
                if isinstance(part, int)
                else part
                for part in self._parts
            ]
            return text_classes(np.concatenate(parts), list(self._texts))
        missing = float("nan") if self._classes is None else -1
        parts = [np.full(part, missing) if isinstance(part, int) else part for part in self._parts]
        values = np.concatenate(parts)
        if self._classes is not None:
            return named_classes(f"column {self._name!r}", values, self._classes)
        kinds = {part.dtype.kind for part in parts}
        if values.dtype.kind == "f" and kinds & set("iu") and np.abs(values[np.isfinite(values)]).max() > 1 << 53:
            return "has nulls beside whole numbers of more than 53 bits"
        return Label(values=values)


def read_ids(tables: Sequence[ParquetTable], column: str) -> list[str]:
    """Ids of all rows from a column of texts or whole numbers, which may be a field of a struct.

    Raises:
        ArchiveError: If it has nulls or other values.
    """
    found: list[str] = []
    for table in tables:
        if not table.has_column(column):
            raise ArchiveError(
                f"{table.place}: has no column {column!r}, expected one of {_listed(table.schema.names)}"
            )
        try:
            for part in table.batches([column]):
                values = part.column(0)
                if "." in column and column not in table.schema.names:
                    values = values.combine_chunks().flatten()[0] if values.num_chunks else values
                _check_lengths(table.place, column, values)
                texts = values.to_pylist()
                if not all(isinstance(text, str | int) and text != "" for text in texts):
                    raise ArchiveError(f"{table.place}: column {column!r} has rows without a text or whole number")
                found += map(str, texts)
        except MemberError as error:
            raise ArchiveError(f"{table.place}: column {column!r} {error}; fetch the file again") from error
    return found


def _check_lengths(place: str, column: str, values: Any) -> None:
    """Refuse ids that are long texts, before each becomes one of Python's.

    Raises:
        ArchiveError: If there is one.
    """
    pc = require("pyarrow.compute", extra="huggingface")
    for chunk in getattr(values, "chunks", [values]):
        texts = getattr(chunk, "dictionary", chunk)
        texts = texts.cast("large_string") if str(texts.type) == "string_view" else texts
        if _is_text(texts.type) and (longest := pc.max(pc.binary_length(texts)).as_py() or 0) > _LONGEST_ID:
            raise ArchiveError(f"{place}: column {column!r} has a text of {longest} bytes, too long for an id")


def split_column(labels: Mapping[str, Label], wanted: str | None) -> tuple[str, np.ndarray] | None:
    """The column that says splits, and the split of every row.

    Args:
        labels: Of all columns.
        wanted: Which; None takes one of the usual names whose words are all those of splits.

    Raises:
        ArchiveError: If the wanted one is not there, or says something else.
    """
    if wanted is not None and (wanted not in labels or labels[wanted].names is None):
        texts = [name for name, label in labels.items() if label.names is not None]
        raise ArchiveError(f"there is no column {wanted!r} of few texts, expected one of {_listed(texts)}")
    for name in [name for name in labels if name.lower() in _CALLED_SPLIT] if wanted is None else [wanted]:
        names = labels[name].names or ()
        unknown = [word for word in names if split_of_word(word) is None]
        if names and not unknown:
            return name, splits_of_words(names)[labels[name].values]
        if wanted is not None:
            raise ArchiveError(f"column {name!r} says {unknown[0]!r:.100}, expected train, validation or test")
    return None

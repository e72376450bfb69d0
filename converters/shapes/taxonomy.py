"""Classes and published splits of models, by the taxonomy and the split file in an archive or beside it."""

import collections
import csv
import dataclasses
import hashlib
import io
import json
import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from converters.archives.archive import Archive, read_file
from converters.archives.plain_files import checked_path
from converters.archives.streamed import MAX_TEXT_BYTES, StreamedTar
from converters.shapes.layouts import Model
from functa_store.errors import ArchiveError, MemberError
from functa_store.sources.source import Label
from functa_store.sources.splits import split_of_word
from functa_store.support.shortening import shown

TAXONOMY, SPLIT_FILE = "taxonomy.json", "all.csv"
_COLUMNS = ("synsetId", "modelId", "split")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextFile:
    """A text of an archive, or beside it.

    Attributes:
        where: Its place, for messages.
        content: Its bytes.
    """

    where: str
    content: bytes

    @property
    def sha256(self) -> str:
        """Hexadecimal digest of its content."""
        return hashlib.sha256(self.content).hexdigest()


def find_text(archive: Archive | StreamedTar, path: str | os.PathLike[str], name: str, near: str) -> TextFile | None:
    """The file of that name in an archive, else beside it, or None.

    Args:
        archive: The archive.
        path: Where it is.
        name: The file's.
        near: A member; of several files one above it is taken, or else the one in the fewest folders.

    Raises:
        ArchiveError: If it cannot be read.
    """
    inside = sorted(
        (member for member in archive.members if posixpath.basename(member) == name),
        key=lambda m: (not near.startswith(m.removesuffix(name)), m.count("/"), m),
    )
    if inside:
        try:
            return TextFile(where=f"{archive.name}/{inside[0]}", content=_short(archive.read(inside[0])))
        except MemberError as error:
            raise ArchiveError(f"{archive.name}/{inside[0]}: {error}; fetch the archive again") from error
    beside = os.path.join(os.path.dirname(os.path.abspath(path)), name)
    return read_text(beside) if os.path.isfile(beside) else None


def read_text(path: str | os.PathLike[str]) -> TextFile:
    """A text file of this machine.

    Raises:
        ArchiveError: If it cannot be read.
    """
    path = checked_path(path)
    try:
        return TextFile(where=path, content=_short(read_file(path)))
    except MemberError as error:
        raise ArchiveError(f"{path}: {error}") from error


def _short(content: bytes) -> bytes:
    if len(content) > MAX_TEXT_BYTES:
        raise MemberError(f"has {len(content)} bytes, more than the {MAX_TEXT_BYTES} of a taxonomy or split file")
    return content


def class_label(models: Sequence[Model], taxonomy: TextFile | None) -> Label | None:
    """The label `class` of some models; None if all are in one group without a name.

    A synset has the first of its names in the taxonomy, or its number where it has none.

    Raises:
        ArchiveError: If the taxonomy is none.
    """
    groups = sorted({model.group for model in models})
    if groups in ([], [""]):
        return None
    number = {group: k for k, group in enumerate(groups)}
    values = np.array([number[model.group] for model in models], np.int32)
    return Label(values=values, names=_names(groups, {} if taxonomy is None else _taxonomy(taxonomy)))


def published_splits(models: Sequence[Model], file: TextFile) -> list[str | None]:
    """The split of each model, or None for those that the file does not list.

    Rows of models that are not in the archive are none of its business: the official file lists all 55 synsets.

    Args:
        models: Of the archive.
        file: CSV with the columns synsetId, modelId and split (train, val or test), as the official all.csv, in any
            order and among others.

    Raises:
        ArchiveError: If it is no CSV, a column is missing, a model's split has another name, a model comes twice
            with different splits, or none of the models is listed.
    """
    places = collections.defaultdict[str, set[int]](set)
    for k, model in enumerate(models):
        for name in (*model.names, model.id.rpartition("/")[2]):
            places[f"{model.group.zfill(8)}/{name}"].add(k)
    splits: list[str | None] = [None] * len(models)
    listed = 0
    try:
        for line, synset, name, word in _rows(file):
            listed += 1
            for k in places.get(f"{synset.zfill(8)}/{name}", ()):
                split = split_of_word(word)
                if split is None or splits[k] not in (None, split):
                    raise ArchiveError(
                        f"{file.where} line {line}: found split {shown(word)!r} of {shown(models[k].id)}, expected "
                        + ("one of train, val, test" if split is None else f"{splits[k]!r} as in an earlier line")
                    )
                splits[k] = split
    except csv.Error as error:
        raise ArchiveError(f"{file.where}: is no CSV of splits: {error}") from error
    if not any(splits):
        raise ArchiveError(
            f"{file.where}: lists {listed} models, none of them in the archive, such as {models[0].id}; is it the "
            "split file of this archive? split='none' holds out every tenth model instead"
        )
    return splits


def _rows(file: TextFile) -> Iterator[tuple[int, str, str, str]]:
    """Line, synset, model and word of its split of each row."""
    text = _decoded(file)
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    columns = [name.strip() for name in rows.fieldnames or ()]
    if wrong := [column for column in _COLUMNS if columns.count(column) != 1]:
        found = shown(str(columns))
        raise ArchiveError(f"{file.where}: found columns {found}, expected also {', '.join(wrong)}, each once")
    rows.fieldnames = columns
    for row in rows:
        values = [row[column] for column in _COLUMNS]
        if None in values or any(row.get(None) or ()):
            raise ArchiveError(
                f"{file.where} line {rows.line_num}: expected {len(columns)} fields as in the first line"
            )
        synset, name, word = (str(value).strip() for value in values)
        yield rows.line_num, synset, name, word


def _taxonomy(file: TextFile) -> dict[str, str]:
    try:
        entries = json.loads(_decoded(file))
        return {str(entry["synsetId"]): str(entry["name"] or "") for entry in entries}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        where = f" (line {error.lineno}: {error.msg})" if isinstance(error, json.JSONDecodeError) else ""
        raise ArchiveError(
            f"{file.where}: is no taxonomy{where}, expected a list of objects with synsetId and name; fetch it again"
        ) from error


def _names(groups: Sequence[str], taxonomy: Mapping[str, str]) -> tuple[str, ...]:
    """A name for each group, unique: two synsets of one name keep their numbers beside it."""
    short = [taxonomy.get(group, group).split(",")[0].strip() or group for group in groups]
    count = collections.Counter(short)
    return tuple(n if count[n] == 1 else f"{n} {g}" for n, g in zip(short, groups, strict=True))


def _decoded(file: TextFile) -> str:
    try:
        return file.content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArchiveError(f"{file.where}: is no text in UTF-8: {error}") from error

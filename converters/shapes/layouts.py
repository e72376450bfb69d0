"""Models of an archive by the names of its members, with taxonomy and split files."""

import collections
import csv
import dataclasses
import hashlib
import io
import json
import os
import posixpath
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from converters.archives.archive import Archive, read_file
from converters.archives.plain_files import checked_path, shown
from converters.archives.streamed import MAX_TEXT_BYTES, StreamedTar
from converters.folders import folder_splits_and_classes
from converters.shapes.mesh_files import MESH_SUFFIXES
from functa_store.errors import ArchiveError, MemberError
from functa_store.sources.source import Label
from functa_store.sources.splits import split_of_word

Kind = Literal["solid", "surface", "mesh"]
ShapeLayout = Literal["core", "vox", "folders"]
KINDS: tuple[Kind, ...] = ("solid", "surface", "mesh")
SHAPE_SUFFIXES = (".binvox", *MESH_SUFFIXES)

_CORE: dict[str, Kind] = {
    "model_normalized.solid.binvox": "solid",
    "model_normalized.surface.binvox": "surface",
    "model_normalized.obj": "mesh",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """One shape of an archive.

    Attributes:
        id: Its name: "synset/model", or the member's in folders.
        group: Its class: a synset or the name of a folder; "" where there are no classes.
        files: The members that it can be read from.
        split: As published by folders, or None.
    """

    id: str
    group: str
    files: Mapping[Kind, str]
    split: str | None = None


def find_models(archive: Archive | StreamedTar) -> tuple[ShapeLayout, list[Model]]:
    """How an archive is laid out, and its models, sorted by id.

    - "core", ShapeNetCore.v2: SYNSET/MODEL/models/model_normalized.{solid.binvox,surface.binvox,obj};
    - "vox", ShapeNetVox32: SYNSET/MODEL/model.binvox;
    - "folders", such as ModelNet: CLASS/SPLIT/NAME or SPLIT/CLASS/NAME or CLASS/NAME, each .off, .obj or .binvox.

    Folders above do not matter. In an archive of one synset without its folder, the archive's name is the synset.

    Raises:
        ArchiveError: If there are no shapes.
    """
    stem = posixpath.splitext(archive.name)[0]
    if models := _core(archive.members, stem):
        return "core", models
    if models := _vox(archive.members, stem):
        return "vox", models
    if models := _folders([m for m in archive.members if posixpath.splitext(m)[1].lower() in SHAPE_SUFFIXES]):
        return "folders", models
    kinds = collections.Counter(posixpath.splitext(m)[1].lower() or "no suffix" for m in archive.members)
    found = ", ".join(f"{count} {shown(kind)}" for kind, count in kinds.most_common(5)) or "none that can be used"
    raise ArchiveError(
        f"{archive.name}: no shapes; found {found}, expected the layout of ShapeNetCore.v2 "
        "(SYNSET/MODEL/models/model_normalized.solid.binvox), ShapeNetVox32 (SYNSET/MODEL/model.binvox), or folders of "
        ".off, .obj or .binvox"
    )


def _core(members: Sequence[str], stem: str) -> list[Model]:
    found: dict[tuple[str, str, str], dict[Kind, str]] = {}
    for member in members:
        *above, name = member.split("/")
        if name in _CORE and len(above) >= 2 and above[-1] == "models":
            place = "/".join(above), above[-3] if len(above) >= 3 else stem, above[-2]
            found.setdefault(place, {})[_CORE[name]] = member
    return _sorted([Model(id=f"{g}/{m}", group=g, files=files) for (_, g, m), files in found.items()])


def _vox(members: Sequence[str], stem: str) -> list[Model]:
    models = []
    for member in members:
        *above, name = member.split("/")
        if name == "model.binvox" and above:
            group = above[-2] if len(above) >= 2 else stem
            models.append(Model(id=f"{group}/{above[-1]}", group=group, files={"solid": member}))
    return _sorted(models)


def _folders(members: Sequence[str]) -> list[Model]:
    if not members:
        return []
    groups, splits = _groups_and_splits(members)
    return [
        Model(id=member, group=group, files={_kind(member): member}, split=split)
        for member, group, split in zip(members, groups, splits, strict=True)
    ]


def _groups_and_splits(members: Sequence[str]) -> tuple[list[str], list[str | None]]:
    """Class and published split of each member; ModelNet has the folders of splits below those of classes."""
    published, classes = folder_splits_and_classes(members)
    if published is None and all(member.count("/") >= 2 for member in members):
        below, classes_above = folder_splits_and_classes([_swapped(member) for member in members])
        if below is not None:
            published, classes = below, classes_above
    names = (classes.names or ()) if classes else ()
    groups = [names[int(k)] for k in classes.values] if classes else [""] * len(members)
    return groups, [None] * len(members) if published is None else [str(split) for split in published]


def _swapped(member: str) -> str:
    *above, group, split, name = member.split("/")
    return "/".join((*above, split, group, name))


def _kind(member: str) -> Kind:
    return "solid" if member.lower().endswith(".binvox") else "mesh"


def _sorted(models: list[Model]) -> list[Model]:
    return sorted(models, key=lambda model: model.id)


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


def find_text(archive: Archive | StreamedTar, path: str | os.PathLike[str], name: str) -> TextFile | None:
    """The file of that name in an archive, else beside it, or None.

    Raises:
        ArchiveError: If it cannot be read.
    """
    inside = sorted((m for m in archive.members if posixpath.basename(m) == name), key=lambda m: (m.count("/"), m))
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
        file: CSV with the columns synsetId, modelId and split (train, val or test), as the official all.csv.

    Raises:
        ArchiveError: If it is no CSV, a column is missing, a split has another name, a model comes twice with
            different splits, or none of the models is listed.
    """
    try:
        found = _listed(file)
    except csv.Error as error:
        raise ArchiveError(f"{file.where}: is no CSV of splits: {error}") from error
    splits = [found.get(f"{model.group.zfill(8)}/{model.id.rpartition('/')[2]}") for model in models]
    if not any(splits):
        raise ArchiveError(
            f"{file.where}: lists {len(found)} models, none of them in the archive, such as {models[0].id}; is it the "
            "split file of this archive? split='none' holds out every tenth model instead"
        )
    return splits


def _listed(file: TextFile) -> dict[str, str]:
    """The split of each model that a file lists, by "synset/model"."""
    rows = csv.DictReader(io.StringIO(_decoded(file), newline=""))
    if missing := [column for column in _COLUMNS if column not in (rows.fieldnames or ())]:
        columns = shown(str(rows.fieldnames))
        raise ArchiveError(f"{file.where}: found columns {columns}, expected also {', '.join(missing)}")
    found: dict[str, str] = {}
    for row in rows:
        split = split_of_word(row["split"] or "")
        name = f"{(row['synsetId'] or '').zfill(8)}/{row['modelId']}"
        if split is None or found.setdefault(name, split) != split:
            raise ArchiveError(
                f"{file.where} line {rows.line_num}: found split {shown(str(row['split']))!r} of {shown(name)}, "
                "expected " + ("one of train, val, test" if split is None else f"{found[name]!r} as in an earlier line")
            )
    return found


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

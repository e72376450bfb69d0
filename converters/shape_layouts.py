"""Which models are in an archive of shapes, by the names of its members?"""

import collections
import dataclasses
import posixpath
from collections.abc import Mapping, Sequence
from typing import Literal

from converters.archives import Archive
from converters.images import folder_splits_and_classes
from converters.mesh_files import MESH_SUFFIXES
from converters.plain_files import shown
from converters.shape_archives import StreamedTar
from functa_store.errors import ArchiveError

Kind = Literal["solid", "surface", "mesh"]
Layout = Literal["core", "vox", "folders"]
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


def find_models(archive: Archive | StreamedTar) -> tuple[Layout, list[Model]]:
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

"""Models of an archive by the names of its members, in the layouts of ShapeNet or in folders."""

import dataclasses
import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from converters.archives.archive import Archive
from converters.archives.listing import has_suffix, nothing_to_convert
from converters.archives.many_archives import told_by
from converters.archives.streamed import StreamedTar
from converters.folders import FolderLayout
from converters.shapes.mesh_files import MESH_SUFFIXES
from functa_store.errors import ArchiveError, MemberError
from functa_store.sources.splits import split_of_word
from functa_store.support.shortening import shown

Kind = Literal["solid", "surface", "mesh"]
ShapeLayout = Literal["core", "core-v1", "vox", "folders"]
KINDS: tuple[Kind, ...] = ("solid", "surface", "mesh")
SHAPE_SUFFIXES = (".binvox", *MESH_SUFFIXES)

_CORE: dict[str, Kind] = {
    "model_normalized.solid.binvox": "solid",
    "model_normalized.surface.binvox": "surface",
    "model_normalized.obj": "mesh",
}
_PLAIN: dict[str, Kind] = {
    "model.binvox": "solid",
    "model.solid.binvox": "solid",
    "model.surface.binvox": "surface",
    "model.obj": "mesh",
}
_POINTS, _NUM_TRIED = (".pts", ".xyz", ".pcd"), 10
_VOXELS_IN_FOLDERS: dict[str, Kind] = {".solid": "solid", ".surface": "surface"}
# Numbers of WordNet's nouns, and local ones of as many digits. Days such as 20240131 are none: no number is as high.
_SYNSET = re.compile(r"(?!(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))[0-9]{8}", re.ASCII)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """One shape of an archive.

    Attributes:
        id: Its name: "synset/model"; in folders the member's, or without a suffix if there are several files of it.
        group: Its class: a synset or the name of a folder; "" where there are no classes.
        files: The members that it can be read from.
        split: As published by folders, or None.
        names: What a split file may call it, apart from the last part of its id.
    """

    id: str
    group: str
    files: Mapping[Kind, str]
    split: str | None = None
    names: tuple[str, ...] = ()


class Found(NamedTuple):
    """How an archive is laid out.

    Attributes:
        layout: See `find_models`.
        models: Sorted by id.
        stray: A model that lies in no folder of a split though others do, or None; then no splits are published.
        up_is_known: Whether the layout says which axis of meshes is up.
        unused: Files of shapes that belong to no model, or of which a model has a better one.
    """

    layout: ShapeLayout
    models: list[Model]
    stray: str | None = None
    up_is_known: bool = True
    unused: Sequence[str] = ()


def find_models(archive: Archive | StreamedTar, *, any_folders: bool = False) -> Found:
    """How an archive is laid out, and its models.

    - "core", ShapeNetCore.v2: SYNSET/MODEL/models/model_normalized.{solid.binvox,surface.binvox,obj};
    - "core-v1", ShapeNetCore.v1: SYNSET/MODEL/model.{solid.binvox,surface.binvox,obj};
    - "vox", ShapeNetVox32: SYNSET/MODEL/model.binvox;
    - "folders", such as ModelNet: CLASS/SPLIT/NAME or SPLIT/CLASS/NAME or CLASS/NAME, each .off, .obj or .binvox.

    Folders above do not matter. In an archive of one synset without its folder, the archive's name is the synset.
    In folders, files that differ in their suffix alone are one model; so is a folder, if each holds files of one
    name, such as CLASS/MODEL/mesh.obj.

    Args:
        archive: Its members.
        any_folders: Whether folders may also be named like synsets.

    Raises:
        ArchiveError: If there are no shapes, or folders are named like synsets and hold none of ShapeNet's files.
    """
    stem = posixpath.splitext(archive.name)[0]
    shapes = [member for member in archive.members if member.lower().endswith(SHAPE_SUFFIXES)]
    if models := _of_shapenet(shapes, stem, _CORE, ("models",)):
        found = _with_splits("core", models)
    elif models := _plain(shapes, stem):
        vox = any(posixpath.basename(file) == "model.binvox" for model in models for file in model.files.values())
        found = _with_splits("vox" if vox else "core-v1", models)
    elif shapes:
        if not any_folders:
            _check_no_synsets(archive.name, stem, shapes)
        found = _folders(shapes, told_by(archive))
    else:
        expected = (
            "the layout of ShapeNetCore.v2 (SYNSET/MODEL/models/model_normalized.solid.binvox), ShapeNetCore.v1 or "
            "ShapeNetVox32 (SYNSET/MODEL/model.obj or .binvox), or folders of .off, .obj or .binvox"
        )
        if points := _point_cloud(archive):
            expected += (
                f"; {shown(points)} holds points of surfaces, of which the insides are not known: convert the meshes "
                "that they were taken from, such as those of ModelNet40.zip or ShapeNetCore"
            )
        raise nothing_to_convert(archive.name, archive.members, "shapes", expected, archive.rejects)
    used = {file for model in found.models for file in model.files.values()}
    return found._replace(models=_sorted(found.models), unused=[member for member in shapes if member not in used])


def _point_cloud(archive: Archive | StreamedTar) -> str | None:
    """A member with points instead of a shape, as in ModelNet40's normalised and resampled form; None if there is none.

    Texts are known by the numbers in their first lines: x, y, z, and perhaps a normal or a colour.
    """
    for member in archive.members:
        if posixpath.basename(member).startswith("ply_data_") or has_suffix(member, _POINTS):
            return member
    text = next((member for member in archive.members if re.search(r"_\d+\.txt$", member)), None)
    if text is None or isinstance(archive, StreamedTar):
        return text
    try:
        lines = archive.read(text).splitlines()[:_NUM_TRIED]
        rows = [[float(word) for word in line.replace(b",", b" ").split()] for line in lines]
    except (MemberError, ValueError):
        return None
    return text if len(rows) > 1 and len(rows[0]) in (3, 6, 7) and len(set(map(len, rows))) == 1 else None


def is_synset(group: str) -> bool:
    """Whether a class is named by a synset's number."""
    return _SYNSET.fullmatch(group) is not None


def _of_shapenet(
    members: Sequence[str], stem: str, names: Mapping[str, Kind], below: tuple[str, ...] = ()
) -> list[Model]:
    """Models of which each has a folder, in that of its synset, with files of fixed names; the last name counts.

    There are none if synsets lie elsewhere, as in SYNSET/train/MODEL: the class would be another one.
    """
    found: dict[tuple[str, str, str], dict[Kind, str]] = {}
    for member in members:
        *above, name = member.split("/")
        own = above[: len(above) - len(below)]
        if name in names and own and tuple(above[len(own) :]) == below:
            place = "/".join(own), own[-2] if len(own) >= 2 else stem, own[-1]
            found.setdefault(place, {})[names[name]] = member
    if any(not is_synset(group) and any(map(is_synset, [stem, *own.split("/")[:-1]])) for own, group, _ in found):
        return []
    return [
        Model(id=f"{group}/{name}", group=group, files=files, split=split_of_word("/".join(own.split("/")[-3:-2])))
        for (own, group, name), files in found.items()
    ]


def _with_splits(layout: ShapeLayout, models: list[Model]) -> Found:
    """Models of ShapeNet, whose splits may be folders above those of synsets, if there is more than one."""
    words = {model.split for model in models}
    stray = next((model.id for model in models if model.split is None), None) if len(words) > 1 else None
    if len(words) == 1 or stray is not None:
        models = [dataclasses.replace(model, split=None) for model in models]
    return Found(layout, models, stray=stray)


def _plain(members: Sequence[str], stem: str) -> list[Model]:
    """Models called "model", if they are ShapeNet's: there are voxels, or numbers of synsets."""
    models = _of_shapenet(members, stem, _PLAIN)
    known = any(is_synset(model.group) or model.files.keys() != {"mesh"} for model in models)
    return models if known else []


def _check_no_synsets(name: str, stem: str, shapes: Sequence[str]) -> None:
    for member in shapes:
        if synset := next((part for part in (stem, *member.split("/")[:-1]) if is_synset(part)), None):
            raise ArchiveError(
                f"{name}: found {shown(member)}, and {synset} looks like a synset of ShapeNet; expected SYNSET/MODEL/"
                "models/model_normalized.obj (or .solid.binvox, .surface.binvox), or SYNSET/MODEL/model.obj (or "
                ".binvox, .solid.binvox, .surface.binvox). Rename the files, or say which axis of meshes is up (y in "
                "ShapeNet) by up='y' or up='z', and they are taken as folders of shapes"
            )


def _folders(members: Sequence[str], told: Callable[[str], str]) -> Found:
    files: dict[str, dict[Kind, str]] = {}
    for member in sorted(members, key=lambda m: MESH_SUFFIXES[::-1].index(_suffix(m)) if _kind(m)[1] == "mesh" else 0):
        path, kind = _kind(member)
        files.setdefault(path, {})[kind] = member
    paths = sorted(files)
    places = paths  # where a model is: its file, or its folder
    while len({posixpath.basename(place) for place in places}) == 1 and len(places) > 1:
        above = [posixpath.dirname(place) for place in places]
        if len(set(above)) < len(above) or any(split_of_word(posixpath.basename(place)) for place in above):
            break
        places = above
    groups, splits, stray = _groups_and_splits(list(map(told, places)))
    models = [
        Model(
            id=next(iter(own.values())) if len(own := files[path]) == 1 else path,
            group=group,
            files=own,
            split=split,
            names=(posixpath.basename(place),),
        )
        for path, place, group, split in zip(paths, places, groups, splits, strict=True)
    ]
    modelnet = None not in splits and all(_suffix(member) == ".off" for member in members)
    voxels = all("mesh" not in own for own in files.values())
    return Found("folders", models, stray=None if stray is None else models[stray].id, up_is_known=modelnet or voxels)


def _kind(member: str) -> tuple[str, Kind]:
    """The member without what its suffixes say, and what they say."""
    path, suffix = posixpath.splitext(member)
    if suffix.lower() != ".binvox":
        return path, "mesh"
    stem, inner = posixpath.splitext(path)
    kind = _VOXELS_IN_FOLDERS.get(inner.lower())
    return (path, "solid") if kind is None else (stem, kind)


def _suffix(member: str) -> str:
    return posixpath.splitext(member)[1].lower()


def _groups_and_splits(places: Sequence[str]) -> tuple[list[str], Sequence[str | None], int | None]:
    """Class and published split of each place, and the number of one outside of splits, if others are in some.

    ModelNet has the folders of splits below those of classes.
    """
    layout = FolderLayout.of(places)
    published, classes = layout.published, layout.classes
    splits: Sequence[str | None] = [None] * len(places) if published is None else [str(split) for split in published]
    stray = places.index(layout.outside[0]) if layout.outside else None
    if published is None:
        whole = [place.split("/") for place in places]
        above = posixpath.commonpath([posixpath.dirname(place) for place in places])
        parts = [place[len(above) :].strip("/").split("/") for place in places]
        lasts = [split_of_word(part[-2]) if len(part) > 1 else None for part in whole]
        tops = [split_of_word(part[0]) if len(part) > 1 else None for part in parts]
        for words, named, where in ((lasts, whole, -2), (tops, parts, 0)):
            if set(words) == {None}:
                continue
            below = [_without(part, where) if word else "/".join(part) for part, word in zip(named, words, strict=True)]
            classes = FolderLayout.of(below).without_outside().classes
            if None in words:
                stray = words.index(None)
            elif len(set(words)) > 1:  # of one alone, nothing would be held out
                splits = words
            break
    names = (classes.names or ()) if classes else ()
    groups = [names[int(k)] for k in classes.values] if classes else [""] * len(places)
    return groups, splits, stray


def _without(parts: Sequence[str], where: int) -> str:
    return "/".join(part for k, part in enumerate(parts) if k != where % len(parts))


def _sorted(models: list[Model]) -> list[Model]:
    return sorted(models, key=lambda model: model.id)

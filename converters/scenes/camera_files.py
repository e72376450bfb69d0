"""Files of cameras in an archive by their names, and the scenes that they make."""

import dataclasses
import posixpath
from collections.abc import Collection, Iterable, Mapping
from typing import Literal

from converters.archives.archive import Archive
from converters.scenes.colmap_files import PARTS, SUFFIXES
from converters.scenes.llff_files import NAME as POSES_BOUNDS
from converters.scenes.transforms_files import split_of_transforms
from converters.scenes.views import Scene
from functa_store.support.shortening import shown

Kind = Literal["transforms", "colmap", "llff"]
KINDS: tuple[Kind, ...] = ("transforms", "colmap", "llff")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NerfScene(Scene):
    """A scene with files of cameras.

    Attributes:
        root: Its folder; "" is the archive itself.
        transforms: Its transforms.json files by split, "" for one without splits.
        model: Members of its model of COLMAP by `PARTS`, and their suffix under "".
        bounds: Its poses_bounds.npy, or None.
        remarks: What is odd about it, in words.
    """

    root: str
    transforms: Mapping[str, str] = dataclasses.field(default_factory=dict)
    model: Mapping[str, str] = dataclasses.field(default_factory=dict)
    bounds: str | None = None
    remarks: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """The kind of its files of cameras that is read."""
        return "transforms" if self.transforms else "colmap" if self.model else "llff"


def list_nerf_scenes(archive: Archive, kinds: Collection[Kind], images: str) -> list[NerfScene]:
    """Scenes of an archive by the names of its files of cameras, sorted by name.

    Args:
        archive: Its members.
        kinds: Kinds of files that are looked for; a scene that has several is one of the first kind of `KINDS`.
        images: Name of the folders with images of COLMAP and LLFF.
    """
    transforms: dict[str, dict[str, str]] = {}
    problems: dict[str, str] = {}
    models: dict[str, dict[str, set[str]]] = {}  # by folder and suffix
    bounds: dict[str, str] = {}
    image_folders: set[str] = set()
    for member in archive.members:
        folder, name = posixpath.split(member)
        stem, suffix = posixpath.splitext(name)
        if (split := split_of_transforms(name)) is not None:
            if (other := transforms.setdefault(folder, {}).setdefault(split, member)) != member:
                problems[folder] = f"has {shown(posixpath.basename(other))} and {shown(name)} of one split"
        elif name == POSES_BOUNDS:
            bounds[folder] = member
        elif stem in PARTS and suffix in SUFFIXES:
            models.setdefault(folder, {}).setdefault(suffix, set()).add(stem)
        parts = folder.split("/")
        image_folders |= {"/".join(parts[:k]) for k, part in enumerate(parts) if part == images}
    stem = posixpath.splitext(archive.name)[0] or archive.name
    scenes: dict[str, NerfScene] = {}
    if "transforms" in kinds:
        for root, files in transforms.items():
            problem = problems.get(root) or _transforms_problem(files)
            scenes[root] = NerfScene(name=root or stem, root=root, transforms=files, problem=problem)
    if "colmap" in kinds:
        for folder, found in sorted(models.items()):
            _enter_model(scenes, stem, folder, found, image_folders)
    if "llff" in kinds:
        for root, member in bounds.items():
            if (other := scenes.get(root)) is None:
                problem = None if root in image_folders else f"has {POSES_BOUNDS} and no folder {images} beside it"
                scenes[root] = NerfScene(name=root or stem, root=root, bounds=member, problem=problem)
            else:
                remark = f"{POSES_BOUNDS} is left out beside {'transforms.json' if other.transforms else 'COLMAP'}"
                scenes[root] = dataclasses.replace(other, bounds=member, remarks=(*other.remarks, remark))
    return sorted(scenes.values(), key=lambda scene: scene.name)


def _transforms_problem(files: Mapping[str, str]) -> str | None:
    if "" in files and len(files) > 1:
        names = ", ".join(posixpath.basename(member) for member in files.values())
        return f"has {names}, which may name the same views; keep transforms.json, or those of splits"
    return None


def _enter_model(
    scenes: dict[str, NerfScene], stem: str, folder: str, found: Mapping[str, set[str]], image_folders: set[str]
) -> None:
    """Enter a model of COLMAP into scenes by folder, where no better one is there."""
    suffix = next((suffix for suffix in SUFFIXES if {"cameras", "images"} <= found.get(suffix, set())), None)
    if suffix is None:
        return
    root, problem = _root_of_model(folder, image_folders), None
    if root is None:
        root = folder
        problem = "has a model of COLMAP, but no folder of its images above it; name that folder by --images"
    if (other := scenes.get(root)) is not None:
        taken = "transforms.json" if other.transforms else posixpath.dirname(other.model["cameras"])
        remark = f"the model of COLMAP in {shown(folder)} is left out beside {shown(taken)}"
        scenes[root] = dataclasses.replace(other, remarks=(*other.remarks, remark))
        return
    files = {part: posixpath.join(folder, part + suffix) for part in PARTS if part in found[suffix]}
    scenes[root] = NerfScene(name=root or stem, root=root, model={"": suffix, **files}, problem=problem)


def _root_of_model(folder: str, image_folders: Iterable[str]) -> str | None:
    while True:
        if folder in image_folders:
            return folder
        if not folder:
            return None
        folder = posixpath.dirname(folder)

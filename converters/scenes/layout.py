"""Folders of an archive that are scenes, in which split and category."""

import posixpath
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from functa_store.errors import MemberError
from functa_store.sources.splits import SPLIT_WORDS, split_of_word

INTRINSICS = "intrinsics.txt"

# "cars_train", "cars_train_val" (new views of the training scenes), or "train" alone.
_SPLIT_FOLDER = re.compile(rf"^(?:(?P<category>.+?)(?:_train)?_)?(?P<split>{'|'.join(SPLIT_WORDS)})$", re.IGNORECASE)
_FILE = re.compile(r"^(?P<scene>.+)/(?:(?P<part>rgb|pose)/(?P<name>[^/]+)\.(?P<suffix>[^./]+)|intrinsics\.txt)$")
_MOST_TEXT, _NUM_SHOWN = 1 << 16, 60
_SUFFIX = {"rgb": "png", "pose": "txt"}


class View(NamedTuple):
    """Members of one view."""

    image: str
    pose: str


class Scene(NamedTuple):
    """A scene as it is listed; nothing has been read.

    Attributes:
        name: Its folder in the archive.
        views: Those with an image and a pose, sorted by name.
        problem: Why it cannot be used, or None.
    """

    name: str
    views: Sequence[View]
    problem: str | None

    @property
    def intrinsics(self) -> str:
        """The member with its lens."""
        return posixpath.join(self.name, INTRINSICS)

    @property
    def split(self) -> str | None:
        """The split that its folders name, or None."""
        found = _split_folder(self.name)
        return split_of_word(found["split"]) if found else None

    @property
    def category(self) -> str:
        """The category that its folders name; empty if they name none."""
        found = _split_folder(self.name)
        return (found["category"] if found else None) or ""


def list_scenes(members: Iterable[str]) -> tuple[list[Scene], list[str]]:
    """Scenes of an archive in SRN's layout, sorted by name, and the members that belong to none."""
    parts: dict[str, dict[str, set[str]]] = {}
    others: list[str] = []
    for member in members:
        found = _FILE.match(member)
        if not found or (found["part"] and found["suffix"].lower() != _SUFFIX[found["part"]]):
            others.append(member)
            continue
        scene = parts.setdefault(found["scene"], {"rgb": set(), "pose": set(), INTRINSICS: set()})
        scene[found["part"] or INTRINSICS].add(member)
    return [_scene(name, parts[name]) for name in sorted(parts)], others


def _scene(name: str, parts: dict[str, set[str]]) -> Scene:
    images, poses = ({posixpath.splitext(posixpath.basename(m))[0]: m for m in parts[part]} for part in _SUFFIX)
    views = [View(images[view], poses[view]) for view in sorted(images.keys() & poses.keys())]
    return Scene(name, views, _problem(parts, images.keys() - poses.keys(), poses.keys() - images.keys()))


def _problem(parts: dict[str, set[str]], no_pose: set[str], no_image: set[str]) -> str | None:
    if not parts["rgb"]:
        return "has no images, expected rgb/*.png"
    if no_pose:
        return f"{len(no_pose)} images have no pose: pose/{min(no_pose)}.txt is missing"
    if no_image:
        return f"{len(no_image)} poses have no image: rgb/{min(no_image)}.png is missing"
    return None if parts[INTRINSICS] else f"has no {INTRINSICS}"


def _split_folder(scene: str) -> re.Match[str] | None:
    """The folder nearest to a scene that is named as a split."""
    matches = (_SPLIT_FOLDER.match(folder) for folder in reversed(scene.split("/")[:-1]))
    return next(filter(None, matches), None)


def numbers(text: bytes, what: str) -> list[list[float]]:
    """The numbers of a text file, line by line, empty lines left out.

    Raises:
        MemberError: If something in it is no number.
    """
    if len(text) > _MOST_TEXT:
        raise MemberError(f"{what}: has {len(text)} bytes, more than {_MOST_TEXT}")
    try:
        lines = [[float(word) for word in line.split()] for line in text.decode("ascii").splitlines()]
    except ValueError as error:
        raise MemberError(f"{what}: found {text[:_NUM_SHOWN]!r}, expected numbers") from error
    return [line for line in lines if line]

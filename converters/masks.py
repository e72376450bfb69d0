"""Masks among the pictures or clips of an archive, by what they and their folders are called and by their namesakes.

Data sets for segmentation keep masks under the names of what they are masks of: images/7.jpg and masks/7.png, or
JPEGImages/bear/00000.jpg and Annotations/bear/00000.png. What a folder is called is not enough to leave it out, and
neither are equal names, which classes and splits have, too: both must say so.
"""

import functools
import itertools
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

_WORDS = "masks?|segs?|segmentations?|labels?|gts?|trimaps?|mattes?|alphas?"
_FOLDER = re.compile(
    rf"(.*[ _-])?({_WORDS}|annos?|annotations?|segmentation(class|object)\w*|ground[ _-]?truths?|contours?|scribbles?)"
    r"([ _-].*)?",
    re.IGNORECASE,
)
_NAME = re.compile(rf"(.+)[ _.-]({_WORDS})([ _.-]?\d{{1,3}})?", re.IGNORECASE)

_PICTURES_PAIRED = 0.9
"""Share of the pictures in a folder with a mask's name that must have a namesake beside it to be taken for masks."""

_CLIPS_PAIRED = 0.5
"""The same of clips, which are namesakes only if half of their frames are, too."""

_TOO_MANY = 3
"""So many namesakes directly beside a clip show that frames are numbered alike, and not that it holds masks."""

_Path = tuple[str, ...]


class _Units(NamedTuple):
    """Pictures or clips.

    Attributes:
        names: Theirs.
        path: Folders of one, and its own name without a suffix.
        is_folder: Whether one is a folder, whose own name may be that of masks.
        are_paired: Whether what is in one, if anything, is named after what is in the other.
    """

    names: Iterable[str]
    path: Callable[[str], _Path]
    is_folder: Callable[[str], bool]
    are_paired: Callable[[str, str], bool]

    def paths(self) -> Iterator[tuple[str, _Path]]:
        """Each name with its path."""
        return ((name, self.path(name)) for name in self.names)

    def levels(self, name: str) -> range:
        """Where there are folders in its path."""
        return range(len(self.path(name)) - (not self.is_folder(name)))


def masks_beside(pictures: Sequence[str]) -> list[str]:
    """Pictures that are masks of others.

    - In a folder with a mask's name (masks, Annotations, SegmentationClass, CelebAMask-HQ-mask-anno, labels), if nine
      in ten of what is in it begin with the name of a picture beside the folder, or in a folder beside it: masks/7.png
      or anno/0/00007_hair.png of images/7.jpg.
    - Beside a picture after which they are named: 7_mask.png, 7.mask.png, 7_seg.png or 7_mask_1.png beside 7.png.

    Names alone are no evidence: without namesakes, "labels" is a folder like others.
    """
    named = _named_after(pictures, _path)
    units = _Units(pictures, _path, lambda _: False, lambda *_: True)
    found = named.keys() | _in_mask_folders(units, _PICTURES_PAIRED).keys()
    return [picture for picture in pictures if picture in found]


def masks_beside_clips(clips: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Clips that are masks of others, and of which.

    The rule is that of `masks_beside`, with two differences: a clip has a namesake if half of its frames have one in
    it, too; and half of the clips are enough. Clips may also lie beside the folder of their masks, as in bear/rgb and
    bear/masks, or bear and bear_mask.

    Args:
        clips: Frames of each clip by its folder, or a film by its own name.

    Returns:
        For each clip of masks the clip that they are masks of, or "" for one without such a clip among others that
        have one.
    """
    films = {clip for clip, frames in clips.items() if clip in frames}

    def path(clip: str) -> _Path:
        return _path(clip) if clip in films else tuple(clip.split("/"))

    @functools.cache
    def names(clip: str) -> frozenset[str]:
        return frozenset(_stem(frame).lower() for frame in clips[clip])

    def are_paired(mask: str, clip: str) -> bool:
        """By frames with all their digits: every clip has a frame 0, and few have frames numbered in one width."""
        if mask in films or clip in films:
            return mask in films and clip in films
        paired = sum(not names(clip).isdisjoint(_beginnings(frame)) for frame in names(mask))
        return 2 * paired >= len(names(mask))

    units = _Units(clips, path, lambda clip: clip not in films, are_paired)
    return _in_mask_folders(units, _CLIPS_PAIRED) | _named_after(films, path)


def picture_of(stem: str) -> str | None:
    """The name, without a suffix, that a mask's name has before the word for masks; None if it has no such word."""
    found = _NAME.fullmatch(stem)
    return found[1] if found else None


def _named_after(files: Iterable[str], path: Callable[[str], _Path]) -> dict[str, str]:
    """Files that are named as masks of others in the same folder, and of which."""
    wanted: dict[_Path, list[str]] = {}
    for file in files:
        *folders, stem = path(file)
        if (of := picture_of(stem)) is not None:
            wanted.setdefault((*folders, of), []).append(file)
    if not wanted:
        return {}
    return {mask: file for file in files for mask in wanted.get(path(file), ())}


def _in_mask_folders(units: _Units, share: float) -> dict[str, str]:
    """Pictures or clips in folders of masks, and what each is a mask of, or "".

    Args:
        units: The pictures or clips.
        share: Of those in a folder with a mask's name, how many must have a namesake.
    """
    masks = [(name, k) for name, path in units.paths() for k in units.levels(name) if _is_mask_folder(path[k])]
    parents = {units.path(name)[:k] for name, k in masks}
    beside: dict[tuple[_Path, str | None], list[str]] = {}
    for name, path in units.paths() if parents else ():
        folders = units.levels(name)
        for k in range(len(path)):
            if path[:k] in parents and not (k in folders and _is_mask_folder(path[k])):
                beside.setdefault((path[:k], _number(path[-1])), []).append(name)
                if k in folders and k == len(path) - 1:
                    beside.setdefault((path[:k], None), []).append(name)
    groups: dict[tuple[_Path, bool], dict[str, str]] = {}
    numbered = set[str]()
    for name, k in masks:
        path = units.path(name)
        is_clip = k == len(path) - 1  # and not in a folder of masks
        keys = map(_number, itertools.chain(_beginnings(path[-1]), _endings(path[-1]) if is_clip else ()))
        others = (other for key in keys for other in beside.get((path[:k], key), ()))
        of = next((other for other in others if units.are_paired(name, other)), "")
        if is_clip and not of:
            any_name = (other for other in beside.get((path[:k], None), ()) if units.are_paired(name, other))
            found = [*itertools.islice(any_name, _TOO_MANY)]
            of = found[0] if found else ""
            if len(found) == _TOO_MANY:
                numbered.add(name)
        # Those of a folder by its whole path; where it lies in each clip, by that of all clips.
        place = (*path[: max(0, k - 1)], path[k]) if is_clip else path[: k + 1]
        groups.setdefault((place, is_clip), {})[name] = of
    many = (group for group in groups.values() if sum(map(bool, group.values())) >= share * len(group))
    return {name: of for group in many if len(group) > 1 or numbered.isdisjoint(group) for name, of in group.items()}


@functools.lru_cache(1 << 12)
def _is_mask_folder(name: str) -> bool:
    return _FOLDER.fullmatch(name) is not None


def _beginnings(name: str) -> Iterator[str]:
    """What the picture of a mask may be called: as the mask, or as the beginning of its name."""
    parts = re.split(r"([ _.-])", name.lower())
    return ("".join(parts[: k + 1]) for k in range(len(parts) - 1, -1, -2))


def _endings(name: str) -> Iterator[str]:
    parts = re.split(r"([ _.-])", name.lower())
    return ("".join(parts[k:]) for k in range(2, len(parts), 2))


def _number(name: str) -> str:
    """A name without leading zeros, of which masks may have more than pictures."""
    return name.lower().lstrip("0") or "0"


def _path(file: str) -> _Path:
    return tuple(posixpath.splitext(file)[0].split("/"))


def _stem(member: str) -> str:
    return posixpath.splitext(posixpath.basename(member))[0]

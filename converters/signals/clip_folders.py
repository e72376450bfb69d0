"""Folders of frames in an archive, and masks that lie beside the frames that they are of.

Data sets for segmentation keep masks as clips of the same names: JPEGImages/bear/00000.jpg and
Annotations/bear/00000.png. What a folder is called is not enough to leave it out, and neither are equal names, which
classes and splits have, too: it has to be called so, and its clips and frames have to be named as those beside it.
"""

import posixpath
import re
from collections.abc import Iterable, Mapping

from converters.archives.listing import has_suffix
from functa_store.errors import MemberError

_MASKS = re.compile(
    r"(?:.*[-_ ])?(?:annotations?|masks?|gts?|ground[-_ ]?truths?|labels?|seg(?:mentation)?s?|contours?|mattes?"
    r"|scribbles?)(?:[-_ ].*)?",
    re.IGNORECASE,
)
_OF_MASK = re.compile(r"^(.+?)[-_. ](?:mask|gt|seg|label|matte|alpha)$", re.IGNORECASE)
_RESOLUTION = re.compile(r"\d+p|\d+x\d+|full[-_ ]?res(?:olution)?", re.IGNORECASE)


def frame_folders(members: Iterable[str], suffixes: Iterable[str]) -> dict[str, list[str]]:
    """The members with these suffixes by the folder that they lie in; "" is the root."""
    kinds, folders = set(suffixes), dict[str, list[str]]()
    for member in members:
        if has_suffix(member, kinds):
            folders.setdefault(posixpath.dirname(member), []).append(member)
    return folders


def check_names(frames: Iterable[str]) -> None:
    """Refuse frames of a folder that are there twice, or masks among them.

    Raises:
        MemberError: If so; the message is the reason alone.
    """
    stems: dict[str, str] = {}
    for frame in frames:
        name = posixpath.basename(frame)
        other = stems.setdefault(_stem(frame), name)
        if other != name:
            raise MemberError(f"has two frames of one name, {other} and {name}; keep one of them in another folder")
    for stem, name in stems.items():
        if (found := _OF_MASK.match(stem)) and found[1] in stems:
            raise MemberError(
                f"has masks among its frames, as {name} of {stems[found[1]]}; move them to another folder"
            )


def masks_beside(clips: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Clips that are masks of others, and of which.

    Args:
        clips: Frames of each clip by its folder, or a film by its own name.

    Returns:
        For each folder's clips named as masks the clip that they are masks of, or "" for one without such a clip among
        others that have one.
    """
    stems = {clip: {_of_mask(_stem(frame)) for frame in frames} for clip, frames in clips.items()}
    paths = {clip: _path(clip, frames) for clip, frames in clips.items()}
    beside: dict[tuple[tuple[str, ...], str | None], list[str]] = {}
    for clip, path in paths.items():
        for k in range(len(path)):
            beside.setdefault((path[:k], path[-1] if k < len(path) - 1 else None), []).append(clip)
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for clip, path in paths.items():
        k = next((k for k, folder in enumerate(path) if _MASKS.fullmatch(folder)), None)
        if k is None:
            continue
        others = beside[path[:k], path[-1] if k < len(path) - 1 else None]
        shared = (
            other
            for other in others
            if not _MASKS.fullmatch(paths[other][k]) and 2 * len(stems[clip] & stems[other]) >= len(stems[clip])
        )
        # Those of a folder by its whole path; where it lies in each clip, by that of all clips.
        place = path[: k + 1] if k < len(path) - 1 else (*path[: max(0, k - 1)], path[k])
        found.setdefault(place, {})[clip] = next(shared, "")
    many = (of for of in found.values() if 2 * sum(map(bool, of.values())) >= len(of))
    return {clip: frames for of in many for clip, frames in of.items()}


def other_resolutions(clips: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Clips that are there at several resolutions, by the names of folders such as 480p, and the first one of each."""
    firsts: dict[tuple[str, ...], str] = {}
    found: dict[str, str] = {}
    for clip, frames in clips.items():
        path = _path(clip, frames)
        if any(_RESOLUTION.fullmatch(folder) for folder in path[:-1]):
            key = tuple("" if _RESOLUTION.fullmatch(folder) else folder for folder in path)
            if (first := firsts.setdefault(key, clip)) != clip:
                found[clip] = first
    return found


def _path(clip: str, frames: Iterable[str]) -> tuple[str, ...]:
    """Folders down to a clip; a film counts as one by its name without the suffix."""
    return tuple((posixpath.splitext(clip)[0] if clip in frames else clip).split("/"))


def _stem(member: str) -> str:
    return posixpath.splitext(posixpath.basename(member))[0]


def _of_mask(stem: str) -> str:
    found = _OF_MASK.match(stem)
    return found[1] if found else stem

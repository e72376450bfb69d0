"""Folders of frames that make clips: their names, masks or twins among them, and clips at several resolutions."""

import posixpath
import re
from collections.abc import Iterable, Mapping

from converters.archives.listing import has_suffix
from converters.masks import picture_of
from functa_store.errors import MemberError

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
        other = stems.setdefault(posixpath.splitext(name)[0], name)
        if other != name:
            raise MemberError(f"has two frames of one name, {other} and {name}; keep one of them in another folder")
    for stem, name in stems.items():
        if (of := picture_of(stem)) in stems:
            raise MemberError(f"has masks among its frames, as {name} of {stems[of]}; move them to another folder")


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

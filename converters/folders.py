"""Folders of an archive: splits and classes that they name, masks beside pictures or clips, frames that make clips.

Data sets for segmentation keep masks under the names of what they are masks of: images/7.jpg and masks/7.png, or
JPEGImages/bear/00000.jpg and Annotations/bear/00000.png. What a folder is called is not enough to leave it out, and
neither are equal names, which classes and splits have, too: both must say so.
"""

import collections
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from converters.archives.listing import has_suffix
from converters.archives.plain_files import shown
from functa_store.errors import ArchiveError, MemberError
from functa_store.sources.source import Label
from functa_store.sources.splits import HOLD_OUT_PERIOD, hold_out_every, hold_out_last, hold_out_rule, split_of_word


def folder_splits_and_classes(images: Sequence[str], *, others: bool = False) -> tuple[np.ndarray | None, Label | None]:
    """What the folders of images say, below the folder that holds them all.

    Folders are named as splits where those of one level have names of "train" and of a held-out split, as in
    train/cat/1.png or cat/train/1.png; or where all at the top have such names. Else one called "train" is a class.

    Args:
        images: Names with "/" between folders.
        others: Whether images that lie in no folder named as a split, where others do, are to be learned from.

    Returns:
        The published split of each image, else None; and its class if the remaining folders differ, else None.

    Raises:
        ArchiveError: If some lie in folders named as splits, and others in none, and nobody says what these are.
    """
    folders, level, split = _folders(images), _level_of_splits(images), dict[str, str]()
    if level is not None and not others and (outside := outside_of_splits(images)):
        raise ArchiveError(f"{in_words(images, outside)}; move these into one of them, or take them out")
    if level is not None:
        split = {folder: _split_at(parts, level) or "train" for folder, parts in folders.items()}
        folders = {f: p[:level] + p[level + 1 :] if _split_at(p, level) else p for f, p in folders.items()}
    cut = {folder: "/".join(parts) or "." for folder, parts in folders.items()}
    classes = sorted(set(cut.values()))
    number = {name: k for k, name in enumerate(classes)}
    places = [posixpath.dirname(image) for image in images]
    label = Label(values=np.array([number[cut[place]] for place in places], np.int32), names=tuple(classes))
    published = None if level is None else np.array([split[place] for place in places], "U10")
    return published, label if len(classes) > 1 else None


def outside_of_splits(images: Sequence[str]) -> list[str]:
    """Images that lie in no folder named as a split, where others do; none if folders are not named so."""
    level = _level_of_splits(images)
    if level is None:
        return []
    folders = _folders(images)
    inside = {folder for folder, parts in folders.items() if _split_at(parts, level)}
    return [image for image in images if posixpath.dirname(image) not in inside]


def published_by_folders(images: Sequence[str]) -> str:
    """Which folders are named as splits, in the words of a source's provenance."""
    level = _level_of_splits(images)
    return "none" if level is None else f"published by folders ({', '.join(_words_of_splits(images, level))})"


def _words_of_splits(images: Sequence[str], level: int) -> list[str]:
    return sorted({parts[level] for parts in _folders(images).values() if _split_at(parts, level)})


def in_words(images: Sequence[str], outside: Sequence[str]) -> str:
    """Which folders are named as splits, and what lies in none of them."""
    words = _words_of_splits(images, _level_of_splits(images) or 0)
    odd = collections.Counter(posixpath.dirname(image) or image for image in outside)
    shown_ones = ", ".join(f"{shown(place)} ({count})" for place, count in odd.most_common(5))
    more = f" and {len(odd) - 5} other folders" if len(odd) > 5 else ""
    return (
        f"the folders {', '.join(map(shown, words))} are named as splits, but {len(outside)} of {len(images)} files "
        f"lie in none of them: {shown_ones}{more}"
    )


def _folders(images: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The parts of each folder's name below the one that holds all images."""
    folders = sorted({posixpath.dirname(image) for image in images})
    common = posixpath.commonpath(folders)
    below = {folder: folder[len(common) :].strip("/") for folder in folders}
    return {folder: tuple(name.split("/")) if name else () for folder, name in below.items()}


def _split_at(parts: Sequence[str], level: int) -> str | None:
    return split_of_word(parts[level]) if level < len(parts) else None


def _level_of_splits(images: Sequence[str]) -> int | None:
    """The first level of folders, from 0, that are named as splits."""
    folders = list(_folders(images).values())
    for level in range(max(map(len, folders))):
        splits = {_split_at(parts, level) for parts in folders}
        if ("train" in splits and len(splits - {None}) > 1) or (level == 0 and None not in splits):
            return level
    return None


_MASK = re.compile(
    r"(.*[ _-])?(masks?|annos?|annotations?|labels?|seg|segmentations?|segmentation(class|object)|gt"
    r"|ground[ _-]?truths?|trimaps?|mattes?|alphas?)([ _-].*)?",
    re.IGNORECASE,
)
_OF_MASK = re.compile(r"(.+)[ _-](masks?|seg|segmentation|gt|labels?|trimap|matte|alpha)", re.IGNORECASE)
_PAIRED = 0.9
"""Share of pictures in a folder with a mask's name that must have a namesake beside it to be taken for masks."""


def masks_beside(images: Sequence[str]) -> list[str]:
    """Images that are masks of others: by the name of a folder, or the end of their own, and by namesakes beside them.

    A folder such as "masks" beside "images" holds masks if nearly all that is in it begins with the name of a picture
    there: masks/7.png or anno/0/00007_hair.png of images/7.jpg. So does 7_mask.png beside 7.png. Names alone are no
    evidence: without namesakes, "labels" is a folder like others.
    """
    stems = {posixpath.splitext(image)[0] for image in images}
    found = {image for image in images if _without_mask(image) in stems}
    by_parent: dict[str, dict[str, list[str]]] = collections.defaultdict(lambda: collections.defaultdict(list))
    for image in images:
        parts = image.split("/")
        for level in range(len(parts) - 1):
            by_parent["/".join(parts[:level])][parts[level]].append(image)
    for folders in by_parent.values():
        masks = {name for name in folders if _MASK.fullmatch(name)}
        pictures = {_number(image) for name in folders.keys() - masks for image in folders[name]}
        for name in masks:
            paired = [image for image in folders[name] if _leading(image) & pictures]
            if len(paired) >= _PAIRED * len(folders[name]):
                found.update(folders[name])
    return [image for image in images if image in found]


def _without_mask(image: str) -> str | None:
    """The name, without a suffix, of the picture beside it that a mask is named after, if it is named after one."""
    place, name = posixpath.split(posixpath.splitext(image)[0])
    found = _OF_MASK.fullmatch(name)
    return posixpath.join(place, found[1]) if found else None


def _number(image: str) -> str:
    """The last part of a name without suffix and leading zeros."""
    return _stem(image).lower().lstrip("0") or "0"


def _leading(image: str) -> set[str]:
    """What the picture of a mask may be called: as the mask, or as the beginning of its name."""
    parts = re.split(r"([ _.-])", _stem(image).lower())
    beginnings = ("".join(parts[: k + 1]) for k in range(0, len(parts), 2))
    return {beginning.lstrip("0") or "0" for beginning in beginnings}


def group_split(places: Sequence[str], group: str, part: str) -> tuple[np.ndarray, str]:
    """The split of every example, those of one file together.

    Args:
        places: The file that each example comes from, with "/" between folders.
        group: What a file is called.
        part: What an example is called.

    Returns:
        The split, and its rule in words: as published if all top-level folders are named as splits, else every
        tenth file is held out; of fewer than ten files, which leave no choice, the last tenth of the examples.
    """
    files = list(dict.fromkeys(places))
    if not files:
        return np.empty(0, "U10"), "none"
    published, _ = folder_splits_and_classes(files)
    if published is None and len(files) < HOLD_OUT_PERIOD:
        split = hold_out_last(len(places))
        split[0] = "train"  # a single one, too, is there to learn from
        return split, f"last tenth of the {part}s held out"
    rule = published_by_folders(files) if published is not None else hold_out_rule(group)
    by_file = dict(zip(files, published if published is not None else hold_out_every(len(files)), strict=True))
    return np.array([by_file[place] for place in places], "U10"), rule


def group_labels(places: Sequence[str], group: str) -> dict[str, Label]:
    """The number of each example's file, and its class if the files lie in more than one folder.

    Args:
        places: The file that each example comes from.
        group: What a file is called, and the label with its number.
    """
    files = list(dict.fromkeys(places))
    if not files:
        return {}
    numbers = {file: k for k, file in enumerate(files)}
    label = Label(values=np.array([numbers[place] for place in places], np.int32))
    _, classes = folder_splits_and_classes(places)
    return {group: label} | ({} if classes is None else {"class": classes})


def group_labels_by(labels: Iterable[str], group: str) -> dict[str, str]:
    """Who gives each label of `group_labels`, as provenance keeps it."""
    return {label: f"{group}s" if label == group else "folders" for label in labels}


_MASKS = re.compile(
    r"(?:.*[-_ ])?(?:annotations?|masks?|gts?|ground[-_ ]?truths?|labels?|seg(?:mentation)?s?|contours?|mattes?"
    r"|scribbles?)(?:[-_ ].*)?",
    re.IGNORECASE,
)
_OF_FRAMES_MASK = re.compile(r"^(.+?)[-_. ](?:mask|gt|seg|label|matte|alpha)$", re.IGNORECASE)
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
        if (found := _OF_FRAMES_MASK.match(stem)) and found[1] in stems:
            raise MemberError(
                f"has masks among its frames, as {name} of {stems[found[1]]}; move them to another folder"
            )


def masks_beside_clips(clips: Mapping[str, Iterable[str]]) -> dict[str, str]:
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
    found = _OF_FRAMES_MASK.match(stem)
    return found[1] if found else stem

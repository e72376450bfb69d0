"""Splits and classes by the folders of an archive, and splits of examples that share a file."""

import posixpath
from collections.abc import Sequence

import numpy as np

from functa_store.sources.source import Label
from functa_store.sources.splits import HOLD_OUT_PERIOD, hold_out_every, hold_out_last, hold_out_rule, split_of_word


def folder_splits_and_classes(images: Sequence[str]) -> tuple[np.ndarray | None, Label | None]:
    """What the folders of images say, below the folder that holds them all.

    Args:
        images: Names with "/" between folders.

    Returns:
        The split of each image if every top-level folder is named as a split, else None; and its
        class if the remaining folders differ, else None.
    """
    folders = sorted({posixpath.dirname(image) for image in images})
    common = posixpath.commonpath(folders)
    below = {folder: folder[len(common) :].strip("/").partition("/") for folder in folders}
    splits = {folder: split_of_word(top) for folder, (top, _, _) in below.items()}
    if published := None not in splits.values():
        names = {folder: rest or "." for folder, (_, _, rest) in below.items()}
    else:
        names = {folder: "".join(parts) or "." for folder, parts in below.items()}
    classes = sorted(set(names.values()))
    number = {name: k for k, name in enumerate(classes)}
    places = [posixpath.dirname(image) for image in images]
    label = Label(values=np.array([number[names[p]] for p in places], np.int32), names=tuple(classes))
    return (
        np.array([splits[p] for p in places], "U10") if published else None,
        label if len(classes) > 1 else None,
    )


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
    rule = "published" if published is not None else hold_out_rule(group)
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

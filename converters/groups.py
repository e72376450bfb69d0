"""Which split and labels do examples have that were cut from longer files?"""

from collections.abc import Sequence

import numpy as np

from converters.images import folder_splits_and_classes
from functa_store.sources import Label, hold_out_every, hold_out_last

_PERIOD = 10


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
    if published is None and len(files) < _PERIOD:
        split = hold_out_last(len(places))
        split[0] = "train"  # a single one, too, is there to learn from
        return split, f"last tenth of the {part}s held out"
    rule = "published" if published is not None else f"every tenth {group} held out"
    by_file = dict(zip(files, published if published is not None else hold_out_every(len(files), _PERIOD), strict=True))
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

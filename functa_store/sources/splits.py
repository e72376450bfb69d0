"""Names of splits and the words for them in archives, rules that hold out examples, evenly spread samples."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Int

SPLITS = ("train", "validation", "test")

SPLIT_WORDS = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}
"""Splits by the words that folders, files and arrays of archives have for them, in any letter case."""

HOLD_OUT_PERIOD = 10
"""Of so many examples without a published split, the last one is held out."""


def split_of_word(word: str) -> str | None:
    """The split that a word of an archive names; None if it names none."""
    return SPLIT_WORDS.get(word.lower())


def splits_of_words(words: Iterable[str]) -> np.ndarray:
    """The split that each word names. Unknown words stay as they are: `check_source` refuses them by name."""
    return np.array([split_of_word(word) or word for word in words], np.str_)


def hold_out_every(num_examples: int, period: int = HOLD_OUT_PERIOD) -> np.ndarray:
    """Split that holds out every `period`-th example: indices period - 1, 2 period - 1, ..."""
    split = np.full(num_examples, "train", dtype="U10")
    split[period - 1 :: period] = "test"
    return split


def hold_out_rule(kind: str = "example") -> str:
    """The rule of `hold_out_every` with the usual period, in the words of a source's provenance.

    Args:
        kind: What is held out, in the singular: an example, a scene, a file.
    """
    return f"every tenth {kind} held out"


def hold_out_last(num_examples: int, fraction: float = 0.1) -> np.ndarray:
    """Split that trains on the first floor((1 - fraction) * n) examples and holds out the rest."""
    split = np.full(num_examples, "train", dtype="U10")
    split[int(num_examples * (1 - fraction)) :] = "test"
    return split


# Samples are spread in three ways, which stored numbers depend on. The range is cut into equal parts: `evenly` takes
# the first index of each, `evenly_centred` the middle one; `evenly_to_both_ends` has both ends among them.


def evenly(indices: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the indices: the first one of each of as many equal parts."""
    count = min(len(indices), most)
    return indices[np.arange(count) * len(indices) // max(count, 1)]


def evenly_centred(count: int, most: int) -> list[int]:
    """At most `most` of the numbers 0 to count - 1: the middle one of each of as many equal parts."""
    most = min(count, most)
    return [(2 * i + 1) * count // (2 * most) for i in range(most)]


def evenly_to_both_ends(count: int, most: int) -> Int[np.ndarray, " sample"]:
    """At most `most` of the numbers 0 to count - 1, the first and the last among them, ascending."""
    return np.unique(np.linspace(0, count - 1, most).astype(np.int64))

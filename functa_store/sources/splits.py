"""Names of splits and the words for them in archives, rules that hold out examples, evenly spread samples."""

import re
from collections.abc import Iterable

import numpy as np
from jaxtyping import Int

from functa_store.errors import ConfigError

SPLITS = ("train", "validation", "test")

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "validation": "validation",
    "validate": "validation",
    "validating": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "tst": "test",
}
"""Splits by the words that folders, files and arrays of archives have for them, in any letter case."""

# Such as train2017 (COCO), valid_64x64 (ImageNet), Training_set, test-images, seg_train (Intel's scenes).
_KIND, _SIZE = r"(?:[ _-]?(?:set|data|split|images?|imgs?|files?))?", r"(?:[ _-]?(?:\d{4}|\d+x\d+))?"
_AROUND = re.compile(rf"(?:[a-z]+[ _-])?({'|'.join(SPLIT_WORDS)}){_KIND}{_SIZE}", re.IGNORECASE)

HOLD_OUT_PERIOD = 10
"""Of so many examples without a published split, the last one is held out."""


def split_of_word(word: str) -> str | None:
    """The split that a word of an archive names, such as "Training" or "val2017"; None if it names none."""
    if (split := SPLIT_WORDS.get(word.lower())) is not None:
        return split
    found = _AROUND.fullmatch(word)
    return SPLIT_WORDS[found[1].lower()] if found else None


def splits_of_words(words: Iterable[str]) -> np.ndarray:
    """The split that each word names. Unknown words stay as they are: `check_source` refuses them by name."""
    return np.array([split_of_word(word) or word for word in words], np.str_)


def hold_out_every(num_examples: int, period: int = HOLD_OUT_PERIOD) -> np.ndarray:
    """Split that holds out every `period`-th example: indices period - 1, 2 period - 1, ..."""
    split = np.full(num_examples, "train", dtype="U10")
    split[period - 1 :: period] = "test"
    return split


def hold_out_rule(kind: str = "example", share: float | None = None) -> str:
    """The rule of `hold_out_share`, in the words of a source's provenance.

    Args:
        kind: What is held out, in the singular: an example, a scene, a file.
        share: How much of them; None means every tenth one, as of `hold_out_every`.
    """
    return f"every tenth {kind} held out" if share is None else f"a share of {share:g} held out, evenly"


def check_holdout(share: float | None) -> None:
    """Refuse the option `holdout` if it is no share.

    Raises:
        ConfigError: If it is not between 0 and 1.
    """
    if share is not None and not 0 < share < 1:
        raise ConfigError(f"holdout must be a share between 0 and 1, got {share}")


def hold_out_share(num_examples: int, share: float | None) -> np.ndarray:
    """Split that holds out a share of the examples, evenly: those at which a whole number of shares is reached.

    A share of 0.1, or None, is `hold_out_every` with its usual period.
    """
    if share is None:
        return hold_out_every(num_examples)
    reached = np.floor(np.round(np.arange(num_examples + 1) * share, 9))
    return np.where(np.diff(reached) > 0, "test", "train").astype("U10")


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

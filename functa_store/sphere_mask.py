"""Which points of a grid are missing in every example, in few words?"""

import itertools

import numpy as np
from jaxtyping import Bool, Int, Int64

from functa_store.errors import GridError

# Run lengths, and no compressed bits: masks are compared as text, and what compresses bits differs between builds.


def pack_mask(missing: Bool[np.ndarray, "lat lon"]) -> str:
    """A mask in words: lengths of the runs of points in C order, there and missing by turns, "" if all are there.

    "6 1 9" means that of 16 points the seventh is missing; "0 2 14" that the first two are.
    """
    flat = missing.ravel()
    if not flat.any():
        return ""
    ends = [*(np.flatnonzero(flat[1:] != flat[:-1]) + 1).tolist(), len(flat)]
    starts = [0, *ends[:-1]]
    lengths = [end - start for start, end in zip(starts, ends, strict=True)]
    return " ".join(map(str, [0, *lengths] if flat[0] else lengths))


def run_ends(mask: str, num_points: int) -> Int64[np.ndarray, " runs"]:
    """Where each run of a mask ends; every other one, from the second on, is missing.

    Raises:
        GridError: If it is no mask of so many points.
    """
    words = mask.split(" ")
    digits = len(str(num_points))
    if not all(word.isdecimal() and word.isascii() and len(word) <= digits for word in words):
        raise GridError(f"mask: expected lengths of runs up to {num_points} points, such as '6 1 9'; got {mask[:40]!r}")
    lengths = list(map(int, words))
    if sum(lengths) != num_points or not all(lengths[1:]) or len(lengths) < 2:
        raise GridError(
            f"mask: {len(lengths)} runs of {sum(lengths)} points in all, expected at least two, none but the first "
            f"empty, of {num_points} points; the store is damaged"
        )
    return np.array(list(itertools.accumulate(lengths)), np.int64)


def in_missing_run(ends: Int64[np.ndarray, " runs"], points: Int[np.ndarray, "*shape"]) -> Bool[np.ndarray, "*shape"]:
    """Whether points, by their place in C order, are missing."""
    return np.searchsorted(ends, points, side="right") % 2 == 1

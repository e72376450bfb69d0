"""Names of splits, rules that hold out examples, and evenly spread samples."""

import numpy as np

SPLITS = ("train", "validation", "test")


def hold_out_every(num_examples: int, period: int) -> np.ndarray:
    """Split that holds out every `period`-th example: indices period - 1, 2 period - 1, ..."""
    split = np.full(num_examples, "train", dtype="U10")
    split[period - 1 :: period] = "test"
    return split


def hold_out_last(num_examples: int, fraction: float = 0.1) -> np.ndarray:
    """Split that trains on the first floor((1 - fraction) * n) examples and holds out the rest."""
    split = np.full(num_examples, "train", dtype="U10")
    split[int(num_examples * (1 - fraction)) :] = "test"
    return split


def evenly(indices: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the indices, evenly spread."""
    count = min(len(indices), most)
    return indices[np.arange(count) * len(indices) // max(count, 1)]

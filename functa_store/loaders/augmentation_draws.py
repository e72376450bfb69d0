"""One of each example and its augmentations, drawn anew for every epoch."""

import hashlib
from typing import Literal

import numpy as np
from jaxtyping import Int64

from functa_store.decode.functaset import Functaset
from functa_store.errors import ConfigError
from functa_store.store.reading.rows import Index
from functa_store.store.reading.selected_store import Where, matching

AugmentationChoice = Literal["one", "all", "none"]
"""Which rows an epoch has of an example and its augmentations: one of them, drawn anew each time, all, or the example
itself."""


class OnePerOriginal:
    """Groups of rows, each of an original and its augmentations, of which an epoch has one each.

    Which one depends on the seed, the epoch, the original and which rows its group has alone: not on other groups, nor
    on batches, ranks or workers. Groups stand in the order in which the first row of each was given.

    Args:
        rows: Rows of the functaset, each once.
        of: The original of each.
    """

    def __init__(self, rows: Int64[np.ndarray, " row"], of: Int64[np.ndarray, " row"]) -> None:
        originals, first, inverse = np.unique(of, return_index=True, return_inverse=True)
        places = np.empty(len(first), np.int64)
        places[np.argsort(first)] = np.arange(len(first))
        groups = places[inverse]
        self._originals = originals[np.argsort(first)]
        self._places = np.lexsort((rows, groups))
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(groups))])

    def __len__(self) -> int:
        return len(self._starts) - 1

    def draw(self, seed: int, epoch: int, groups: Int64[np.ndarray, " group"]) -> Int64[np.ndarray, " group"]:
        """The place, among the rows given, of the row that is drawn of some groups.

        Args:
            seed: The loader's.
            epoch: Counted from 0.
            groups: Their numbers.
        """
        sizes = self._starts[groups + 1] - self._starts[groups]
        key = int.from_bytes(hashlib.sha256(f"augmentations/{seed}/{epoch}".encode()).digest()[:8], "little")
        drawn = _split_mix(key, self._originals[groups]) % sizes.astype(np.uint64)
        return self._places[self._starts[groups] + drawn.astype(np.int64)]


def _split_mix(key: int, positions: np.ndarray) -> np.ndarray:
    """Some positions of the sequence of SplitMix64 that a key begins: any of them without those before it.

    Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators".
    """
    mixed = np.uint64(key) + (positions.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def select_rows(
    functaset: Functaset,
    split: str | None,
    index: Index | None,
    where: Where | None,
    augmentations: AugmentationChoice,
) -> tuple[np.ndarray | None, OnePerOriginal | None]:
    """Places of the rows that a caller means, None for all, and what draws some of them, None if nothing is drawn.

    Where one is drawn, it is one of those that the caller means: a split has the augmentations of its examples, an
    index has those that it names. Augmentations whose original is not there yet, in an unfinished functaset, are left
    out then.

    Raises:
        ConfigError: If there is no such example, label or class, the choice is none that is known, or an index names a
            row twice of which one is to be drawn.
        ExampleIndexError: If the index is of another kind, or names an example that is not there.
    """
    if augmentations not in ("one", "all", "none"):
        raise ConfigError(f"augmentations must be 'one', 'all' or 'none', got {augmentations!r}")
    selected = matching(functaset.store, split=split, index=index, where=where)
    if augmentations == "all" or not functaset.augmentations:
        return selected, None
    of = functaset.augmentations["of"][:]
    rows = np.arange(len(functaset)) if selected is None else selected
    are_originals = of[rows] == rows
    if are_originals.all():
        return selected, None
    rows = rows[are_originals if augmentations == "none" else of[rows] >= 0]
    if len(rows) == 0:
        raise ConfigError(
            f"{functaset.store.path}: all examples of this index are augmentations, and augmentations="
            f"{augmentations!r} leaves them out; give augmentations='all'"
        )
    if augmentations == "none":
        return rows, None
    if len(np.unique(rows)) < len(rows):
        values, counts = np.unique(rows, return_counts=True)
        raise ConfigError(
            f"{functaset.store.path}: index names example {values[counts > 1][0]} twice, but augmentations='one' draws "
            "one of an example and its augmentations; give augmentations='all', or name each once"
        )
    return rows, OnePerOriginal(rows, of[rows])

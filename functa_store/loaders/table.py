"""Which modulations does a loader read, and does memory hold them?"""

import hashlib
import threading
from typing import Any

import numpy as np
import psutil

from functa_store.decode.functaset import Functaset
from functa_store.errors import ConfigError, ExampleIndexError
from functa_store.loaders.forked import Birthplace
from functa_store.loaders.order import BlockShuffle, Shuffle
from functa_store.store.local import LocalObjects
from functa_store.store.positions import Index

BLOCK_BYTES = 2**20
"""Bytes of a block: far more than a disk or a bucket needs to be as fast as it can."""


class SelectedRows:
    """The modulations of some examples, by their position among these.

    Those on a disk are gathered where they lie. Those in a bucket are read once into memory if it holds them, else
    whenever they are asked for.

    Args:
        functaset: Where they are.
        examples: Which ones; None means all.
    """

    def __init__(self, functaset: Functaset, examples: np.ndarray | None) -> None:
        self._functaset, self._examples = functaset, examples
        self._length = len(functaset) if examples is None else len(examples)
        self._is_local = isinstance(functaset.store.objects, LocalObjects)
        self._keep = not self._is_local and self.fits()
        self._kept: np.ndarray | None = None
        self._birthplace, self._lock = Birthplace(), threading.Lock()

    def __len__(self) -> int:
        return self._length

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_lock"} | {"_kept": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        """Modulations, float32 of shape (positions, modulation), in an array of their own."""
        if not self._keep:
            return self._read(self.indices(positions))
        with self._lock:
            if self._kept is None:
                self._kept = self._read(slice(None) if self._examples is None else self._examples)
        return self._kept[positions]

    def _read(self, rows: np.ndarray | slice) -> np.ndarray:
        if not self._is_local:
            self._birthplace.check("reading from a bucket")
        return self._functaset.modulations[rows]

    def indices(self, positions: np.ndarray) -> np.ndarray:
        """Index in the functaset of the examples at some positions."""
        return positions if self._examples is None else self._examples[positions]

    def fits(self) -> bool:
        """Whether half of the memory that is free holds them: as stored on a disk, as float32 from a bucket."""
        size = self._functaset.modulations.shape[1]
        row_bytes = self._functaset.store.bytes_per_example if self._is_local else 4 * size
        return len(self) * row_bytes <= psutil.virtual_memory().available // 2

    def fingerprint(self) -> str:
        """SHA-256 of which examples these are."""
        return hashlib.sha256(b"all" if self._examples is None else self._examples.tobytes()).hexdigest()

    def choose_shuffle(self) -> Shuffle:
        """A full shuffle if memory holds the table, else blocks of about 1 MB."""
        if self.fits():
            return "full"
        return BlockShuffle(size=max(1, BLOCK_BYTES // self._functaset.store.bytes_per_example))

    def check_shuffle(self, shuffle: Shuffle) -> None:
        """Refuse an order that would fetch every row of a bucket by itself.

        Raises:
            ConfigError: If the table lies in a bucket, memory does not hold it, and the shuffle is a full one.
        """
        if shuffle == "full" and not self._is_local and not self._keep:
            raise ConfigError(
                f"{self._functaset.store.path}: memory does not hold this table, and a full shuffle would fetch "
                "every row of the bucket by itself; use shuffle='auto' or BlockShuffle(), or copy the store to a disk"
            )


def select(functaset: Functaset, split: str | None, examples: Index | None) -> np.ndarray | None:
    """Indices of the examples that a caller means; None stands for all.

    Raises:
        ConfigError: If both are given, or there is no such example.
        ExampleIndexError: If an index names no example.
    """
    if split is not None and examples is not None:
        raise ConfigError(f"give either split or examples, not both; got split={split!r}")
    if split is None and examples is None:
        return None
    if split is not None:
        splits = np.asarray(functaset.split[:])
        found = np.flatnonzero(splits == split)
        known = f"split {split!r}, there are {sorted(map(str, np.unique(splits)))}"
    else:
        found, known = _positions(functaset, examples), "examples of this index"
    if len(found) == 0:
        raise ConfigError(f"{functaset.store.path}: no {known}")
    return found


def _positions(functaset: Functaset, examples: Any) -> np.ndarray:
    everything = np.arange(len(functaset))
    if not isinstance(examples, slice):
        examples = np.asarray(examples)
        if examples.size == 0:
            return everything[:0]
    try:
        return np.atleast_1d(everything[examples])
    except IndexError as error:
        raise ExampleIndexError(f"{functaset.store.path}: {error}; there are {len(functaset)} examples") from error

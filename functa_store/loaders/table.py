"""Which modulations does a loader read, and does memory hold them?"""

import copy
import functools
import hashlib
import threading
from typing import Any

import numpy as np

from functa_store.decode.functaset import Functaset
from functa_store.errors import ConfigError
from functa_store.loaders.order import BlockShuffle, Shuffle
from functa_store.memory import available_bytes
from functa_store.store.local import LocalObjects

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
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._length

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_lock"} | {"_kept": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        """Modulations, float32 of shape (positions, modulation), in an array of their own."""
        if not self._keep:
            return self._functaset.modulations[self.indices(positions)]
        with self._lock:
            if (kept := self._kept) is None:
                everything = slice(None) if self._examples is None else self._examples
                self._kept = kept = copy.copy(self._functaset.modulations)[everything]
        return kept[positions]

    def indices(self, positions: np.ndarray) -> np.ndarray:
        """Index in the functaset of the examples at some positions."""
        return positions if self._examples is None else self._examples[positions]

    def fits(self) -> bool:
        """Whether half of the memory that is free holds them: as stored on a disk, as float32 from a bucket."""
        size = self._functaset.modulations.shape[1]
        row_bytes = self._functaset.store.bytes_per_example if self._is_local else 4 * size
        return len(self) * row_bytes <= available_bytes() // 2

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of which examples these are."""
        return hashlib.sha256(b"all" if self._examples is None else self._examples.tobytes()).hexdigest()

    def choose_shuffle(self, num_ranks: int) -> Shuffle:
        """A full shuffle if memory holds the table, else blocks of about 1 MB.

        Raises:
            ConfigError: If there are several ranks, each of which would choose for itself.
        """
        if num_ranks > 1:
            raise ConfigError(
                f"shuffle='auto' depends on free memory, which may differ among {num_ranks} ranks, and they would "
                "train on overlapping examples; name an order for all: shuffle='full' or BlockShuffle()"
            )
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

"""Modulations of windows of an epoch, read together and cut into batches."""

import copy
import dataclasses
import functools
import hashlib
import itertools
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from functa_store.decode.functaset import Functaset
from functa_store.errors import ConfigError
from functa_store.loaders.batch_content import Batch, Content
from functa_store.loaders.order import BlockShuffle, Order, Shuffle, Window
from functa_store.store.storage.local import LocalObjects
from functa_store.support.memory import available_bytes
from functa_store.support.threads import made_ahead

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


class OpenWindow(NamedTuple):
    """A window of an epoch, ready to be cut into batches.

    Attributes:
        epoch: Which epoch.
        number: Which window of it.
        window: Its positions.
        rows: Their modulations; None if each batch gathers its own.
    """

    epoch: int
    number: int
    window: Window
    rows: np.ndarray | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """Everything that decides what the batches of a loader are.

    Attributes:
        order: Which example comes when.
        table: The modulations.
        content: What is made of them.
    """

    order: Order
    table: SelectedRows
    content: Content

    def batches_from(self, place: tuple[int, int], num_epochs: int | None) -> Iterator[tuple[tuple[int, int], Batch]]:
        """The place behind each batch, and the batch.

        Args:
            place: Epoch and batch to begin with.
            num_epochs: End behind the next multiple of so many epochs; None never ends.
        """
        epoch, done = place
        last = None if num_epochs is None else (epoch // num_epochs + 1) * num_epochs
        epochs = itertools.count(epoch) if last is None else range(epoch, last)
        skipped = done // self.order.batches_per_window
        windows = ((e, w) for e in epochs for w in range(skipped if e == epoch else 0, self.order.num_windows))
        for opened in made_ahead((self.open_window(*window) for window in windows), 1):
            for number in self.batches(opened):
                if (opened.epoch, number) < place:
                    continue
                behind = (opened.epoch, number + 1) if number + 1 < self.order.num_batches else (opened.epoch + 1, 0)
                yield behind, self.batch(opened, number)

    def open_window(self, epoch: int, number: int) -> OpenWindow:
        """Read a window of an epoch, at once unless its batches are gathered one by one."""
        window = self.order.window(epoch, number)
        rows = None if self.order.shuffle == "full" else self.table[window.positions]
        return OpenWindow(epoch, number, window, rows)

    def batches(self, opened: OpenWindow) -> range:
        """The batches of its epoch that a window holds."""
        first = opened.number * self.order.batches_per_window
        return range(first, min(first + self.order.batches_per_window, self.order.num_batches))

    def batch(self, opened: OpenWindow, number: int) -> Batch:
        """One of these."""
        places = self.order.places(opened.window, number)
        positions = opened.window.positions[places]
        modulations = self.table[positions] if opened.rows is None else opened.rows[places]
        rng = self.order.points_rng(opened.epoch, number)
        return self.content.batch(self.table.indices(positions), modulations, rng)

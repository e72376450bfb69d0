"""How do places in epochs become batches?"""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from functa_store.loaders.ahead import made_ahead
from functa_store.loaders.content import Batch, Content
from functa_store.loaders.order import Order, Window
from functa_store.loaders.table import SelectedRows


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

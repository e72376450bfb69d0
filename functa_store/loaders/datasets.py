"""Datasets of examples and of ready batches, for grain, PyTorch and plain indexing."""

import operator
import sys
import threading
from collections.abc import Sequence
from typing import Any

from functa_store.errors import ConfigError, ExampleIndexError
from functa_store.loaders.augmentation_draws import AugmentationChoice, select_rows
from functa_store.loaders.batch_content import (
    Batch,
    Content,
    DecodeGrid,
    DecodePoints,
    Functasets,
    Normalization,
    joined,
)
from functa_store.loaders.loader import Loader
from functa_store.loaders.windows import OpenWindow, SelectedRows
from functa_store.store.reading.rows import Index, as_array, places_of
from functa_store.store.reading.selected_store import Where

WINDOWS_KEPT = 2
"""Threads that take batches in turns are in two windows at most, if each takes less than a window."""


class Examples:
    """Examples by number, such as grain's `RandomAccessDataSource` and samplers want them.

    An element is what a batch of `Loader` holds of one example, without the batch axis. May be shared by threads, and
    pickled.

    Args:
        functaset: Where they are; several as for `Loader`.
        split: Only the examples of this split.
        index: Only these examples: a slice, integers or a mask.
        where: Only examples with these labels, as for `Loader`.
        normalize: As for `Loader`.
        labels: As for `Loader`.
        decode: A grid to decode each example on; needs JAX.
        flatten: As for `Loader`.
        ids: As for `Loader`.
        augmentations: "all" takes every row by itself, "none" leaves augmentations out. What is asked for by number
            knows no epochs, for which one could be drawn: for that there are `Loader` and `Batches`.

    Attributes:
        origin: Fingerprints of the base network and of the normalisation: examples that share both may be mixed.

    Raises:
        ConfigError: If functasets have different base networks, there is no such split or label, or an option is of
            another kind or size.
        ExampleIndexError: If `index` names one that is not there.
        GridError: If the grid does not fit the domain.
        StoreFormatError: If the store is unfinished and `normalize` is True, or it is damaged.
    """

    def __init__(
        self,
        functaset: Functasets,
        *,
        split: str | None = None,
        index: Index | None = None,
        where: Where | None = None,
        normalize: bool | Normalization = True,
        labels: Sequence[str] | None = None,
        decode: DecodeGrid | None = None,
        flatten: bool = False,
        ids: bool = False,
        augmentations: AugmentationChoice = "all",
    ) -> None:
        check_by_number(augmentations)
        if isinstance(decode, DecodePoints):
            raise ConfigError("DecodePoints are drawn for a whole batch; decode on a DecodeGrid, or use Batches")
        functaset = joined(functaset)
        self._name = functaset.store.path
        self._table = SelectedRows(functaset, select_rows(functaset, split, index, where, augmentations)[0])
        self._content = Content(functaset, normalize, labels, decode, flatten, ids)
        self.origin = (functaset.base_fingerprint, self._content.options()["normalization"] or "")

    def __len__(self) -> int:
        return len(self._table)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name}: {len(self)}, {self._table.fingerprint[:8]}>"

    def __getitem__(self, index: int) -> Batch:
        """One example.

        Raises:
            ExampleIndexError: If it is no number, or there is none of that number.
        """
        try:
            number = operator.index(index)
        except TypeError as error:
            raise ExampleIndexError(
                f"the examples of {self._name}: found {index!r}, expected the number of one; a DataLoader gathers "
                "several by batch_size= or batch_sampler="
            ) from error
        return example_at(self._batch([number]), 0)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """A whole batch of several.

        Raises:
            ExampleIndexError: If there is none of a number.
        """
        return self._batch(indices)

    def _batch(self, indices: Sequence[int]) -> Batch:
        positions = as_array(places_of(f"the examples of {self._name}", indices, len(self)))
        return self._content.batch(self._table.indices(positions), self._table[positions])


def check_by_number(augmentations: AugmentationChoice) -> None:
    """Refuse to draw one of an example and its augmentations, where there are no epochs.

    Raises:
        ConfigError: If that is asked for.
    """
    if augmentations == "one":
        raise ConfigError(
            "augmentations='one' is drawn anew for every epoch, of which examples by number know nothing; use Loader "
            "or Batches, or give 'all' or 'none'"
        )


class Batches:
    """The batches of a loader by number, such as grain wants them.

    Element i is the i-th batch that the loader delivers from the beginning of its first epoch. There is no last one,
    since every epoch has an order of its own: those of a loader with `num_epochs=None`, of which grain takes
    `dataset[: 3 * loader.batches_per_epoch]`. What has a length is given again by grain's `repeat`, so a loader with a
    number of epochs is taken only if all its epochs are the same: with `shuffle="none"`, and nothing drawn. May be
    shared by threads, and pickled. With a `BlockShuffle`, each process reads every window.

    Args:
        loader: The loader, whose place stays as it is.

    Raises:
        ConfigError: If the loader ends, though its epochs differ.
    """

    def __init__(self, loader: Loader) -> None:
        if loader.num_epochs is not None and not loader.reading.repeats:
            raise ConfigError(
                f"the batches of num_epochs={loader.num_epochs} would come again in the same order whenever they are "
                "gone through again, as grain's repeat does; make the Loader with num_epochs=None, and take as many "
                f"as are wanted, such as dataset[: {loader.num_epochs} * loader.batches_per_epoch] of a MapDataset"
            )
        self._reading, self._name = loader.reading, repr(loader)
        self._length = sys.maxsize if loader.num_epochs is None else len(loader)  # what grain takes for endless
        self._windows: list[OpenWindow] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Batches of all epochs, `sys.maxsize` if there is no last one."""
        return self._length

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._name}>"

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_lock"} | {"_windows": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def __getitem__(self, index: int) -> Batch:
        """One batch.

        Raises:
            ExampleIndexError: If there is none of that number.
        """
        is_endless = len(self) == sys.maxsize
        if not (0 if is_endless else -len(self)) <= operator.index(index) < len(self):
            there = "they have no end" if is_endless else f"there are {len(self)}"
            raise ExampleIndexError(f"{self._name}: batch {index} does not exist; {there}, from 0 on")
        epoch, number = divmod(operator.index(index) % len(self), self._reading.order.num_batches)
        return self._reading.batch(self._window(epoch, number // self._reading.order.batches_per_window), number)

    def _window(self, epoch: int, number: int) -> OpenWindow:
        with self._lock:
            for opened in self._windows:
                if (opened.epoch, opened.number) == (epoch, number):
                    return opened
            opened = self._reading.open_window(epoch, number)
            self._windows = [*self._windows, opened][-WINDOWS_KEPT:]
            return opened


def example_at(batch: Any, place: int) -> Any:
    """What a batch, or a part of one, holds of one of its examples, without the batch axis."""
    return {name: example_at(part, place) for name, part in batch.items()} if isinstance(batch, dict) else batch[place]

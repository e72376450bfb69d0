"""Datasets of examples and of ready batches, for grain, PyTorch and plain indexing; the table for Hugging Face."""

import math
import operator
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from functa_store.decode.functaset import Functaset
from functa_store.errors import ConfigError, ExampleIndexError
from functa_store.loaders.augmentation_draws import AugmentationChoice, select_rows
from functa_store.loaders.batch_content import (
    Batch,
    Content,
    DecodeGrid,
    DecodePoints,
    Functasets,
    Normalization,
    is_flattened,
    joined,
)
from functa_store.loaders.loader import Loader
from functa_store.loaders.windows import OpenWindow, SelectedRows
from functa_store.store.reading.rows import Index, as_array, places_of
from functa_store.store.reading.selected_store import Where, label_names
from functa_store.support.optional import require

if TYPE_CHECKING:
    import datasets

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
        _check_by_number(augmentations)
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
        return _first(self._batch([number]))

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """A whole batch of several.

        Raises:
            ExampleIndexError: If there is none of a number.
        """
        return self._batch(indices)

    def _batch(self, indices: Sequence[int]) -> Batch:
        positions = as_array(places_of(f"the examples of {self._name}", indices, len(self)))
        return self._content.batch(self._table.indices(positions), self._table[positions])


def _check_by_number(augmentations: AugmentationChoice) -> None:
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


def _first(batch: Batch) -> Batch:
    return {name: _first(values) if isinstance(values, dict) else values[0] for name, values in batch.items()}


COLUMNS = ("id", "split", "modulation", "augmentation_of")


def to_huggingface(
    functaset: Functasets,
    *,
    split: str | None = None,
    index: Index | None = None,
    where: Where | None = None,
    labels: Sequence[str] | None = None,
    flatten: bool = False,
    augmentations: AugmentationChoice = "all",
) -> "datasets.Dataset":
    """The table of a functaset in memory; `save_to_disk` and `push_to_hub` take it from there.

    Modulations are those of the store, not normalised, float32 however they are stored. The base network stays behind:
    without the functaset the result can be learned on, but not decoded.

    Args:
        functaset: The functaset; several as for `Loader`.
        split: Only the examples of this split.
        index: Only these examples: a slice, integers or a mask.
        where: Only examples with these labels, as for `Loader`.
        labels: Names of the labels to export; None means all.
        flatten: Export the numbers of a grid as one vector, in C order.
        augmentations: "all" exports every row, "none" leaves augmentations out.

    Returns:
        Columns `id`, `split`, `modulation`, `augmentation_of` where there are augmentations (the id of the original,
        its own of an original, null where the original of an unfinished functaset is not there yet), and one per
        label: a `ClassLabel` where its integers have names.
        Modulations are vectors, or arrays (*cells, channel), such as an `Array3D` of an image's grid.

    Raises:
        ConfigError: If there is no such split or label, a label has the name of another column, or a grid has more axes
            than arrays of a dataset may have.
        ExampleIndexError: If `index` names one that is not there.
        StoreFormatError: If rows are missing or damaged.
        MissingLibraryError: If `datasets` is not installed.
    """
    datasets, pyarrow = (require(name, extra="huggingface") for name in ("datasets", "pyarrow"))
    _check_by_number(augmentations)
    functaset = joined(functaset)
    names = label_names(functaset.store, labels)
    own = COLUMNS if functaset.augmentations else COLUMNS[:-1]
    if taken := [name for name in names if name in own]:
        raise ConfigError(
            f"{functaset.store.path}: cannot export labels {taken}, since {own} are columns already; choose others "
            "by labels="
        )
    selected, _ = select_rows(functaset, split, index, where, augmentations)
    chosen = slice(None) if selected is None else selected
    network = functaset.config.network
    shape = (network.modulation_size,) if is_flattened(functaset, flatten) else network.modulation_shape
    if len(shape) > MOST_ARRAY_AXES:
        raise ConfigError(
            f"{functaset.store.path}: modulations of {len(shape)} axes, expected at most the {MOST_ARRAY_AXES} that "
            "arrays of a dataset may have; give flatten=True"
        )
    modulation = _arrays_of(shape)
    columns = {
        "id": pyarrow.array(functaset.ids[chosen].tolist()),
        "split": pyarrow.array(functaset.split[chosen].tolist()),
        "modulation": _as_arrow(functaset.modulations[chosen].reshape(-1, *shape), modulation),
    }
    if functaset.augmentations:
        of = functaset.augmentations["of"][chosen]
        originals = pyarrow.array(functaset.ids[np.maximum(of, 0)].tolist(), pyarrow.string(), mask=of < 0)
        columns["augmentation_of"] = originals
    columns |= {name: pyarrow.array(functaset.labels[name][chosen]) for name in names}
    features = datasets.Features(
        {name: datasets.Value("string") for name in columns if name in own}
        | {"modulation": modulation}
        | {name: _feature(functaset, name) for name in names}
    )
    return datasets.Dataset(pyarrow.table(columns).cast(features.arrow_schema), datasets.DatasetInfo(features=features))


MOST_ARRAY_AXES = 5
"""Of an array in a dataset of Hugging Face's."""

NUMBERS_PER_BLOCK = 2**30
"""Of arrays that are put together, whose offsets Arrow counts in 32 bits."""


def _arrays_of(shape: tuple[int, ...]) -> Any:
    """The feature for arrays of float32 of one shape."""
    datasets = require("datasets", extra="huggingface")
    if len(shape) == 1:
        return datasets.Sequence(datasets.Value("float32"), length=shape[0])
    return getattr(datasets, f"Array{len(shape)}D")(shape=shape, dtype="float32")


def _as_arrow(rows: np.ndarray, feature: Any) -> Any:
    """Rows as Arrow keeps them: lists of a fixed length, or of an array's lists in lists."""
    pyarrow = require("pyarrow", extra="huggingface")
    if rows.ndim == 2:
        return pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(rows.ravel()), rows.shape[1])
    at_once = max(1, NUMBERS_PER_BLOCK // math.prod(rows.shape[1:]))
    blocks = []
    for start in range(0, len(rows), at_once):
        lists = pyarrow.array(rows[start : start + at_once].ravel())
        for size in reversed(rows.shape[1:]):
            offsets = np.arange(0, len(lists) + 1, size, dtype=np.int32)
            lists = pyarrow.ListArray.from_arrays(pyarrow.array(offsets), lists)
        blocks.append(pyarrow.ExtensionArray.from_storage(feature(), lists))
    return pyarrow.chunked_array(blocks, feature())


def _feature(functaset: Functaset, label: str) -> "datasets.ClassLabel | datasets.Value":
    datasets = require("datasets", extra="huggingface")
    if names := functaset.label_names.get(label):
        return datasets.ClassLabel(names=list(names))
    return datasets.Value(functaset.labels[label].dtype.name)

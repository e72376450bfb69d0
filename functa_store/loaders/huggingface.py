"""The table of a functaset as a data set of Hugging Face's library datasets."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from functa_store.decode.functaset import Functaset
from functa_store.errors import ConfigError
from functa_store.loaders.augmentation_draws import AugmentationChoice, select_rows
from functa_store.loaders.batch_content import Functasets, is_flattened, joined
from functa_store.loaders.datasets import check_by_number
from functa_store.store.reading.rows import Index
from functa_store.store.reading.selected_store import Where, label_names
from functa_store.support.optional import require

if TYPE_CHECKING:
    import datasets

COLUMNS = ("id", "split", "modulation", "augmentation_of")
"""Those that are no labels."""

MOST_ARRAY_AXES = 5
"""Of an array in a dataset of Hugging Face's."""

NUMBERS_PER_BLOCK = 2**30
"""Of arrays that are put together, whose offsets Arrow counts in 32 bits."""


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
    check_by_number(augmentations)
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

"""A functaset as a dataset of Hugging Face."""

from collections.abc import Sequence

from functa_store.decode.functaset import Functaset
from functa_store.errors import ConfigError, MissingLibraryError
from functa_store.loaders.selection import label_names, select
from functa_store.store.reading.rows import Index

try:
    import datasets
    import pyarrow
except ImportError as error:
    raise MissingLibraryError("datasets is not installed; run pip install 'functa-store[huggingface]'") from error

COLUMNS = ("id", "split", "modulation")


def to_huggingface(
    functaset: Functaset,
    *,
    split: str | None = None,
    index: Index | None = None,
    labels: Sequence[str] | None = None,
) -> datasets.Dataset:
    """The table of a functaset in memory; `save_to_disk` and `push_to_hub` take it from there.

    Modulations are those of the store, not normalised, float32 however they are stored. The base network stays behind:
    without the functaset the result can be learned on, but not decoded.

    Args:
        functaset: The functaset.
        split: Only the examples of this split.
        index: Only these examples: a slice, integers or a mask.
        labels: Names of the labels to export; None means all.

    Returns:
        Columns `id`, `split`, `modulation`, and one per label: a `ClassLabel` where its integers have names.

    Raises:
        ConfigError: If there is no such split or label, or a label has the name of another column.
        ExampleIndexError: If `index` names one that is not there.
        StoreFormatError: If rows are missing or damaged.
    """
    names = label_names(functaset, labels)
    if taken := [name for name in names if name in COLUMNS]:
        raise ConfigError(
            f"{functaset.store.path}: cannot export labels {taken}, since {COLUMNS} are columns already; choose others "
            "by labels="
        )
    selected = select(functaset, split, index)
    chosen = slice(None) if selected is None else selected
    size = functaset.modulations.shape[1]
    modulations = pyarrow.array(functaset.modulations[chosen].ravel())
    columns = {
        "id": pyarrow.array(functaset.ids[chosen].tolist()),
        "split": pyarrow.array(functaset.split[chosen].tolist()),
        "modulation": pyarrow.FixedSizeListArray.from_arrays(modulations, size),
    }
    columns |= {name: pyarrow.array(functaset.labels[name][chosen]) for name in names}
    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "split": datasets.Value("string"),
            "modulation": datasets.Sequence(datasets.Value("float32"), length=size),
        }
        | {name: _feature(functaset, name) for name in names}
    )
    return datasets.Dataset(pyarrow.table(columns).cast(features.arrow_schema), datasets.DatasetInfo(features=features))


def _feature(functaset: Functaset, label: str) -> datasets.ClassLabel | datasets.Value:
    if names := functaset.store.label_names.get(label):
        return datasets.ClassLabel(names=list(names))
    return datasets.Value(functaset.labels[label].dtype.name)

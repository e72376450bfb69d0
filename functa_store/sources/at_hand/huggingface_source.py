"""Data sets of the library datasets of Hugging Face as a source."""

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from functa_store.errors import ArchiveError, ConfigError, MemberError
from functa_store.progress import Note, Report, silent
from functa_store.sources.at_hand.dataset_source import DatasetSource, ExampleForm, Examples
from functa_store.sources.label_values import label_of_values
from functa_store.sources.pictures import Mode
from functa_store.sources.recognise import why_no_source
from functa_store.sources.source import Label, name_problem

if TYPE_CHECKING:
    import datasets


def from_huggingface(
    dataset: "datasets.Dataset | datasets.DatasetDict",
    *,
    column: str | None = None,
    resolution: int | None = None,
    crop: str | float | int = "square",
    mode: Mode | None = None,
    background: str = "white",
    channels_axis: str | None = None,
    value_range: tuple[float | int, float | int] | None = None,
    holdout: float | None = None,
    name: str | None = None,
    limit: int | None = None,
    max_rejects: float | int = 0.0,
    report: Report = silent,
) -> DatasetSource:
    """A source over a data set of the library `datasets`, with its splits and the names of its classes.

    Its column of images is decoded as the library does it, and turned upright, cut and resized as by `functa convert
    images`; a column of arrays is taken as it is. Other columns of numbers, truth values, classes and few different
    texts become labels. A transform or format that was set is not applied. Every example is read here once. Columns of
    sounds are for `functa convert huggingface` of Parquet files, which `dataset.to_parquet` writes.

    Args:
        dataset: A `Dataset`, or a `DatasetDict` whose names are splits; not one that streams.
        column: The column with the data; None takes the only one of images, or else the only one of arrays.
        resolution: Pixels per side of pictures; None takes the size of the first one, which must be square.
        crop: As for `from_torch`.
        mode: As for `from_torch`.
        background: As for `from_torch`.
        channels_axis: As for `from_torch`; of arrays with three axes the last one is taken for the channels.
        value_range: As for `from_torch`.
        holdout: Share that is held out of a `Dataset`; None means a tenth.
        name: What provenance and errors call it; None takes the data set's own name.
        limit: Examples at most, the first ones.
        max_rejects: Fraction of the examples that may be rejected.
        report: Told how far the reading is, and what is no label.

    Raises:
        ArchiveError: If it is no such data set, has no column to learn from, or examples cannot be learned.
        ConfigError: If an option is out of range, or one is needed.
        TooManyRejectsError: If more examples cannot be learned than allowed.
    """
    by_split: Mapping[str | None, Any] = (
        {str(word): one for word, one in dataset.items()} if isinstance(dataset, Mapping) else {None: dataset}
    )
    if not by_split:
        raise ArchiveError("found a DatasetDict without splits, expected one or more")
    for one in by_split.values():
        if isinstance(one, str | os.PathLike):
            raise ArchiveError(
                f"found the path {os.fspath(one)!r:.200}, expected a datasets.Dataset or DatasetDict: open it by "
                "datasets.load_from_disk(PATH), if save_to_disk wrote it; functa convert huggingface reads .parquet "
                "files"
            )
        if not (hasattr(one, "features") and hasattr(one, "with_format") and hasattr(one, "__len__")):
            why = why_no_source(one) or f"found {type(one).__name__}, expected a functa_store.Source"
            raise ArchiveError(why.replace("a functa_store.Source", "a datasets.Dataset or DatasetDict"))
    first = next(iter(by_split.values()))
    name = name or (getattr(first, "info", None) and first.info.dataset_name) or "dataset"
    assert name is not None
    chosen = column if column is not None else _data_column(name, first.features)
    for one in by_split.values():
        if chosen not in one.features:
            raise ArchiveError(f"{name}: has no column {chosen!r}, expected one of {', '.join(one.features)}")
        if one.features != first.features:
            raise ArchiveError(f"{name}: its splits have different features; cast them to the same ones")
    feature = first.features[chosen]
    if type(feature).__name__ in ("Audio", "Video", "Value", "ClassLabel"):
        raise ArchiveError(
            f"{name}: column {chosen!r} is {type(feature).__name__}, expected images or arrays; sounds are converted "
            "by functa convert huggingface from Parquet files, which dataset.to_parquet(FILE) writes"
        )
    plain = {word: one.select_columns([chosen]).with_format(None) for word, one in by_split.items()}
    is_image = type(feature).__name__ == "Image"
    if is_image and not feature.decode:
        decoding = dataclasses.replace(feature, decode=True)
        plain = {word: one.cast_column(chosen, decoding) for word, one in plain.items()}
    parts = [
        Examples(word, functools.partial(_table_example, one, chosen, None if is_image else _dtype(feature)), len(one))
        for word, one in plain.items()
    ]
    total = sum(part.size for part in parts)
    labels = _columns_as_labels(name, list(by_split.values()), chosen, total, report)
    return DatasetSource(
        parts,
        ExampleForm(
            resolution=resolution,
            crop=crop,
            mode=mode,
            background=background,
            channels_axis=channels_axis,
            value_range=value_range,
        ),
        classes={},
        labels=labels,
        name=name,
        published_by=f"published by the DatasetDict ({', '.join(sorted(map(str, by_split)))})",
        by="columns",
        holdout=holdout,
        limit=limit,
        max_rejects=max_rejects,
        locked=False,
        report=report,
    )


_LISTS = ("Array2D", "Array3D", "Array4D", "Array5D", "Sequence", "List", "LargeList")
_NUMBERS = ("int", "uint", "float", "bool")


def _data_column(name: str, features: Mapping[str, Any]) -> str:
    for kinds in (("Image", "Audio"), _LISTS):
        likely = [
            key
            for key, feature in features.items()
            if type(feature).__name__ in kinds
            and (kinds is not _LISTS or str(_dtype(feature)).rstrip("0123456789") in _NUMBERS)
        ]
        if len(likely) == 1:
            return likely[0]
        if likely:
            raise ConfigError(f"{name}: several columns could be the data: {', '.join(likely)}; name one by column=")
    raise ArchiveError(f"{name}: found the columns {', '.join(features)}, none of images or arrays")


def _dtype(feature: Any) -> str | None:
    """The type of numbers in lists."""
    while not isinstance(getattr(feature, "dtype", None), str) or hasattr(feature, "feature"):
        if not hasattr(feature, "feature"):
            return None
        feature = feature.feature
    return feature.dtype


def _table_example(dataset: Any, column: str, dtype: str | None, index: int) -> tuple[Any, Mapping[str, Any]]:
    value = dataset[index][column]
    if value is None:
        raise MemberError(f"has nothing in column {column!r}")
    return (value if dtype is None else np.asarray(value, dtype)), {}


def _columns_as_labels(name: str, tables: Sequence[Any], data: str, total: int, report: Report) -> dict[str, Label]:
    """Labels from all other columns; notes what is left out."""
    found: dict[str, Label] = {}
    for key, feature in tables[0].features.items():
        if key == data:
            continue
        kind = type(feature).__name__
        label: Label | str | None = name_problem(key)
        if label is None and kind not in ("Value", "ClassLabel"):
            label = f"is {kind}, neither numbers nor texts"
        if label is None:
            values: list[Any] = []
            for table in tables:
                values += table.select_columns([key]).with_format("arrow")[:].column(0).to_pylist()
            names = feature.names if kind == "ClassLabel" else None
            label = label_of_values(f"{name}: column {key!r}", values, names)
        if isinstance(label, str):
            report(Note(message=f"{name}: column {key!r} is left out, since it {label}"))
        else:
            found[key] = label
    return found

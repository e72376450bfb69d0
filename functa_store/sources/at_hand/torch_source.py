"""Map-style data sets, such as PyTorch's and lists of examples, as a source."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from functa_store.errors import ArchiveError, ConfigError, MemberError
from functa_store.progress import Report, silent
from functa_store.sources.at_hand.dataset_source import DatasetSource, ExampleForm, Examples
from functa_store.sources.pictures import Mode
from functa_store.sources.recognise import why_no_source
from functa_store.sources.source import Source

_MOST_TARGETS = 256
_FIRST = 100


def from_torch(
    dataset: Any,
    *,
    column: str | int | None = None,
    resolution: int | None = None,
    crop: str | float | int = "square",
    mode: Mode | None = None,
    background: str = "white",
    channels_axis: str | None = None,
    value_range: tuple[float | int, float | int] | None = None,
    classes: Sequence[str] | None = None,
    holdout: float | None = None,
    name: str | None = None,
    limit: int | None = None,
    max_rejects: float | int = 0.0,
    report: Report = silent,
) -> DatasetSource:
    """A source over a map-style data set, such as those of torchvision, or a list of examples.

    An example is (data, target), a dict, or data alone. Data is a PIL picture, which is turned upright, cut and resized
    as by `functa convert images`; a tensor, channels first; or an array, channels last. Bytes are colours from 0 to
    255, floats are expected in [0, 1]. Targets that are numbers or texts become labels; whole numbers get the names in
    the data set's `classes`. Every example is read here once, some of them again, which must give the same: pass a data
    set without random transforms. PyTorch is not needed.

    Args:
        dataset: What has `__len__` and `__getitem__`; or several such by split: {"train": ..., "test": ...}.
        column: Key or position of the data in an example; None takes the first position, or the only key of a picture,
            tensor or array.
        resolution: Pixels per side of pictures; None takes the size of the first one, which must be square.
        crop: "square", "none", or a fraction of the largest centred square, of pictures.
        mode: "rgb" or "grey", of pictures; None takes what the first one is.
        background: What shows through transparent pixels of pictures.
        channels_axis: "first", "last" or "none", of tensors and arrays; None takes the usual axis if it has up to four.
        value_range: Values that become the features 0 and 1, where they are neither bytes nor in [0, 1].
        classes: Names of classes; None takes the data set's.
        holdout: Share that is held out where there is one data set alone; None means a tenth.
        name: What provenance and errors call it; None takes the name of its class.
        limit: Examples at most, the first ones.
        max_rejects: Fraction of the examples that may be rejected.
        report: Told how far the reading is, and what is no label.

    Raises:
        ArchiveError: If it is no such data set, its examples cannot be learned, or differ when they are read again.
        ConfigError: If an option is out of range, or one is needed.
        TooManyRejectsError: If more examples cannot be learned than allowed.
    """
    by_split = dataset if isinstance(dataset, Mapping) else {None: dataset}
    if not by_split:
        raise ArchiveError("found no data sets, expected one, or several by split")
    for one in by_split.values():
        _check_map_style(one)
    first = next((one for one in by_split.values() if len(one)), next(iter(by_split.values())))
    name = name or type(_innermost(first)).__name__
    names = classes if classes is not None else _classes_of(name, list(by_split.values()))
    chosen = column if column is not None else _data_key(name, first)
    parts = [Examples(word, functools.partial(_example, one, chosen), len(one)) for word, one in by_split.items()]
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
        classes=_AnyClass(names),
        name=name,
        published_by=f"published by names of data sets ({', '.join(sorted(map(str, by_split)))})",
        by="the data set",
        holdout=holdout,
        limit=limit,
        max_rejects=max_rejects,
        locked=True,
        report=report,
    )


class _AnyClass(dict[str, Sequence[str]]):
    """Names of classes under every name that a target of one number has."""

    def __init__(self, names: Sequence[str] | None) -> None:
        super().__init__()
        if names is not None:
            self |= dict.fromkeys(_TARGET_NAMES, names)


_TARGET_NAMES = ("class", "label", "labels", "target", "y")
_CLASS = "class"


def _check_map_style(dataset: Any) -> None:
    """Refuse what has no examples by number.

    Raises:
        ArchiveError: If it is so; says what to call instead.
    """
    if isinstance(dataset, Source):
        raise ArchiveError(
            f"found {type(dataset).__name__}, which is a source already; pass it to functa_store.convert"
        )
    if isinstance(dataset, str | bytes) or not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        why = (why_no_source(dataset) or "").replace("a functa_store.Source", "examples by number")
        raise ArchiveError(why)
    if any(made_from.__name__ == "IterableDataset" for made_from in type(dataset).__mro__):  # some have a length
        raise ArchiveError((why_no_source(dataset) or "").replace("a functa_store.Source", "examples by number"))
    if hasattr(dataset, "shape") or hasattr(dataset, "columns"):  # an array, a tensor or a table
        raise ArchiveError((why_no_source(dataset) or "").replace("a functa_store.Source", "a data set"))
    try:
        len(dataset)
    except TypeError as error:
        raise ArchiveError(f"{type(dataset).__name__} has no length: {error}; pass a map-style data set") from error


def _innermost(dataset: Any) -> Any:
    """The data set inside of those that take some examples of another one, such as PyTorch's Subset."""
    for _ in range(100):
        if not hasattr(dataset, "dataset"):
            break
        dataset = dataset.dataset
    return dataset


def _classes_of(name: str, datasets: Sequence[Any]) -> tuple[str, ...] | None:
    found = [_class_names(name, dataset) for dataset in datasets]
    if len(set(found)) > 1:
        raise ArchiveError(f"{name}: classes of its data sets are called differently: {found!r:.300}; say classes=")
    return found[0]


def _class_names(name: str, dataset: Any) -> tuple[str, ...] | None:
    """What a data set calls classes, or the one or several that it takes its examples from."""
    names = getattr(dataset, "classes", getattr(_innermost(dataset), "classes", None))
    if isinstance(names, list | tuple) and names and all(isinstance(text, str) for text in names):
        return tuple(map(str, names))
    parts = getattr(_innermost(dataset), "datasets", None)  # of PyTorch's ConcatDataset
    if names is None and isinstance(parts, list | tuple) and parts and hasattr(parts[0], "__getitem__"):
        return _classes_of(name, parts)
    return None


def _data_key(name: str, dataset: Any) -> str | int | None:
    """Where the data of an example is; None if that is all of it."""
    problem = ""
    if not len(dataset):
        return None
    for index in range(min(len(dataset), _FIRST)):
        try:
            example = dataset[index]
            break
        except Exception as error:  # of anybody's code
            problem = f"{type(error).__name__}: {error}"
    else:
        raise ArchiveError(f"{name}: none of the first examples can be read; the last one raises {problem}")
    if isinstance(example, tuple | list):
        return 0
    if not isinstance(example, Mapping):
        return None
    likely = [key for key, value in example.items() if isinstance(value, Image.Image) or len(_shape(value)) > 1]
    if len(likely) != 1:
        kinds = ", ".join(f"{key} ({type(value).__name__})" for key, value in example.items())
        raise ConfigError(f"{name}: examples have {kinds}; name the one with the data by column=")
    return likely[0]


def _shape(value: Any) -> tuple[int, ...]:
    shape = getattr(value, "shape", ())
    return tuple(shape) if isinstance(shape, tuple) else ()


def _example(dataset: Any, key: str | int | None, index: int) -> tuple[Any, Mapping[str, Any]]:
    """An example, and what is known of it: numbers and texts by name."""
    found = dataset[index]
    if key is None:
        return found, {}
    try:
        data = found[key]
    except (KeyError, IndexError, TypeError) as error:
        raise MemberError(f"has no {key!r}, as the first example has") from error
    known: dict[str, Any] = {}
    if isinstance(found, Mapping):
        for name, value in found.items():
            if name != key:
                known |= _scalars(str(name), value)
        return data, known
    rest = [
        value
        for k, value in enumerate(found)
        if k != (key if not isinstance(key, int) or key >= 0 else len(found) + key)
    ]
    if len(rest) == 1 and _shape(rest[0]) == (1,):  # as MedMNIST has it
        rest = [rest[0][0]]
    for k, value in enumerate(rest):
        known |= _scalars(
            _CLASS if len(rest) == 1 else f"target_{k}", value, getattr(_innermost(dataset), "attr_names", None)
        )
    return data, known


def _scalars(name: str, value: Any, parts: Sequence[str] | None = None) -> dict[str, Any]:
    """Numbers and texts of a target by name; what is neither under the target's name, of which a note is made."""
    if isinstance(value, Mapping):
        return {key: part for k, v in value.items() for key, part in _scalars(f"{name}_{k}", v).items()}
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist() if value.size <= _MOST_TARGETS and value.ndim <= 1 else _Other()
    if isinstance(value, list | tuple):
        if len(value) > _MOST_TARGETS or not all(isinstance(part, int | float | str | None) for part in value):
            return {name: _Other()}
        if len(names := [text for text in parts or () if text]) == len(value):  # CelebA's has an empty one, too
            return dict(zip(names, value, strict=True))
        return {f"{name}_{k}": part for k, part in enumerate(value)}
    return {name: value if isinstance(value, int | float | str | None) else _Other()}


class _Other:
    """A target that is no number and no text, such as a mask or boxes; kept as that alone."""

"""Data sets that TensorFlow Datasets has prepared as ArrayRecord files, as a source; needs no TensorFlow."""

import functools
import io
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from functa_store.errors import ArchiveError, ConfigError, MemberError
from functa_store.progress import Report, silent
from functa_store.sources.at_hand.dataset_source import DatasetSource, ExampleForm, Examples
from functa_store.sources.at_hand.tf_examples import parse_example
from functa_store.sources.pictures import Mode
from functa_store.sources.recognise import why_no_source
from functa_store.support.optional import require

_INFO, _FEATURES = "dataset_info.json", "features.json"
_MOST_TEXT = 1 << 24
_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
_FORMATS = ("PNG", "JPEG")


class _Feature:
    """One feature as features.json says it.

    Attributes:
        kind: "image", "label", "array", "scalar" or "text"; None for another one.
        classes: Names of classes, if they are written beside it.
    """

    def __init__(self, folder: str, name: str, said: Mapping[str, Any]) -> None:
        named = str(said.get("pythonClassName", "")).rpartition(".")[2]
        tensor = said.get("tensor")
        described: Mapping[str, Any] = tensor if isinstance(tensor, dict) else {}
        self._shape = [int(n) for n in described.get("shape", {}).get("dimensions", [])]
        self._dtype, self._encoding = str(described.get("dtype", "")), str(described.get("encoding", "none")).lower()
        self.classes: list[str] | None = None
        self.kind = {"Image": "image", "ClassLabel": "label", "Text": "text", "Scalar": "scalar"}.get(named)
        if named == "Tensor" and self._dtype not in ("string", "bytes", ""):
            self.kind = "array" if self._shape else "scalar"
        if self.kind == "label" and os.path.exists(path := os.path.join(folder, f"{name}.labels.txt")):
            self.classes = _text(path).splitlines()

    def value(self, found: Any) -> Any:
        """What a message's list is.

        Raises:
            MemberError: If it is something else.
        """
        if self.kind == "image":
            if not isinstance(found, list) or len(found) != 1:
                raise MemberError("has no bytes of one image")
            return Image.open(io.BytesIO(found[0]), formats=_FORMATS)
        if self.kind == "array":
            if isinstance(found, list) and self._encoding == "bytes" and len(found) == 1:
                found = np.frombuffer(found[0], self._dtype)
            elif isinstance(found, list):
                raise MemberError(f"has an array in the encoding {self._encoding!r}, expected none or bytes")
            return np.asarray(found).astype(self._dtype).reshape(self._shape)
        if self.kind == "text":
            return found[0].decode(errors="replace") if isinstance(found, list) and len(found) == 1 else None
        return found.tolist()[0] if isinstance(found, np.ndarray) and len(found) == 1 else None


class _Shards:
    """Records of one split, from several files.

    Args:
        paths: Of the files, in order.
        counts: Records of each.

    Raises:
        ArchiveError: If one is not there, or has another number of records.
    """

    def __init__(self, paths: Sequence[str], counts: Sequence[int]) -> None:
        module = require("array_record.python.array_record_module", extra="grain")
        self._stops, self._readers = np.cumsum(counts), []
        for path, count in zip(paths, counts, strict=True):
            if not os.path.isfile(path):
                raise ArchiveError(f"{path}: no such file, which {_INFO} names; prepare the data set again")
            try:
                reader = module.ArrayRecordReader(path)
                found = reader.num_records()
            except Exception as error:  # of a library in C++
                raise ArchiveError(f"{path}: is no ArrayRecord file that can be read: {error}") from error
            if found != count:
                raise ArchiveError(f"{path}: has {found} records, but {_INFO} says {count}; prepare the data set again")
            self._readers.append(reader)

    def read(self, index: int) -> bytes:
        """One record."""
        shard = int(np.searchsorted(self._stops, index, side="right"))
        first = int(self._stops[shard - 1]) if shard else 0
        return self._readers[shard].read([index - first])[0]


def from_tfds(
    builder: Any,
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
    """A source over a data set that TensorFlow Datasets has prepared as ArrayRecord files.

    `tfds.builder(NAME, file_format="array_record").download_and_prepare()` writes them. They are read by the library
    array_record, and their messages without TensorFlow: images as PNG or JPEG, tensors of numbers, classes under their
    published names, numbers and texts. Every example is read here once.

    Args:
        builder: Such a builder, or the folder that holds dataset_info.json and the files.
        column: The feature with the data; None takes the only image, or else the only tensor.
        resolution: Pixels per side of images; None takes the size of the first one, which must be square.
        crop: As for `from_torch`.
        mode: As for `from_torch`.
        background: As for `from_torch`.
        channels_axis: As for `from_torch`.
        value_range: As for `from_torch`.
        holdout: Share that is held out where there is the split "train" alone; None holds out nothing of it.
        name: What provenance and errors call it; None takes the data set's own name.
        limit: Examples at most, the first ones.
        max_rejects: Fraction of the examples that may be rejected.
        report: Told how far the reading is, and what is no label.

    Raises:
        ArchiveError: If there is no such data set, files of it are missing, or examples cannot be learned.
        ConfigError: If an option is out of range, or one is needed.
        MissingLibraryError: If array_record is not installed.
        TooManyRejectsError: If more examples cannot be learned than allowed.
    """
    folder = _folder(builder)
    info = _json(os.path.join(folder, _INFO))
    name = name or str(info.get("name") or os.path.basename(folder))
    if (found := info.get("fileFormat", "tfrecord")) != "array_record":
        raise ArchiveError(
            f"{folder}: its files are of the format {found!r}, which has no examples by number; prepare it by "
            f"tfds.builder({name!r}, file_format='array_record').download_and_prepare()"
        )
    features = _features(folder)
    chosen = column if column is not None else _data_feature(name, features)
    if chosen not in features or features[chosen].kind not in ("image", "array"):
        raise ArchiveError(f"{name}: has no image or tensor {chosen!r}, expected one of {', '.join(features)}")
    parts = [_part(folder, info, split, features, chosen) for split in info.get("splits", [])]
    order = {"train": 0, "validation": 1, "test": 2}
    parts = sorted(parts, key=lambda part: order.get(part.word or "", len(order)))
    by = f"published by TensorFlow Datasets ({', '.join(sorted(str(part.word) for part in parts))})"
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
        classes={key: feature.classes for key, feature in features.items() if feature.classes is not None},
        name=name,
        published_by=by,
        by="features",
        holdout=holdout,
        limit=limit,
        max_rejects=max_rejects,
        locked=True,
        report=report,
    )


def _folder(builder: Any) -> str:
    """The folder that holds dataset_info.json.

    Raises:
        ArchiveError: If there is none.
    """
    path = next((getattr(builder, key) for key in ("data_path", "data_dir") if hasattr(builder, key)), builder)
    try:
        folder = os.path.expanduser(os.fspath(path))
    except TypeError as error:
        why = (why_no_source(builder) or "found a source").replace("a functa_store.Source", "a folder or a builder")
        raise ArchiveError(why) from error
    if os.path.isfile(os.path.join(folder, _INFO)):
        return folder
    below = [os.path.relpath(here, folder) for here, _, names in os.walk(folder) if _INFO in names][:20]
    more = f"; there is one in {', '.join(below)}, which is to be named" if below else ""
    raise ArchiveError(f"{folder}: found no {_INFO}, expected a folder that TensorFlow Datasets has prepared{more}")


def _features(folder: str) -> dict[str, _Feature]:
    said = _json(os.path.join(folder, _FEATURES)).get("featuresDict", {})
    listed = said.get("features") if isinstance(said, dict) else None
    if not isinstance(listed, dict) or not all(isinstance(value, dict) for value in listed.values()):
        raise ArchiveError(f"{folder}/{_FEATURES}: has no features by name; prepare the data set again")
    return {key: _Feature(folder, key, value) for key, value in listed.items()}


def _data_feature(name: str, features: Mapping[str, _Feature]) -> str:
    for kind in ("image", "array"):
        likely = [key for key, feature in features.items() if feature.kind == kind]
        if len(likely) == 1:
            return likely[0]
        if likely:
            raise ConfigError(f"{name}: several features could be the data: {', '.join(likely)}; name one by column=")
    raise ArchiveError(f"{name}: found the features {', '.join(features)}, none an image or a tensor")


def _part(
    folder: str, info: Mapping[str, Any], split: Mapping[str, Any], features: Mapping[str, _Feature], chosen: str
) -> Examples:
    counts = [int(count) for count in split.get("shardLengths", [])]
    word = str(split.get("name"))
    paths = []
    for shard in range(len(counts)):
        name = str(split.get("filepathTemplate") or _TEMPLATE)
        for placeholder, text in {
            "DATASET": str(info.get("name")),
            "SPLIT": word,
            "FILEFORMAT": "array_record",
            "SHARD_X_OF_Y": f"{shard:05}-of-{len(counts):05}",
            "SHARD_INDEX": f"{shard:05}",
            "NUM_SHARDS": f"{len(counts):05}",
        }.items():
            name = name.replace(f"{{{placeholder}}}", text)
        if os.path.basename(name) != name:
            raise ArchiveError(f"{folder}/{_INFO}: names the file {name!r:.200}, expected one in this folder")
        paths.append(os.path.join(folder, name))
    return Examples(word, functools.partial(_example, _Shards(paths, counts), features, chosen), sum(counts))


def _example(
    shards: _Shards, features: Mapping[str, _Feature], chosen: str, index: int
) -> tuple[Any, Mapping[str, Any]]:
    try:
        found = parse_example(shards.read(index))
    except ValueError as error:
        raise MemberError(f"is no message of tf.train.Example: {error}") from error
    if chosen not in found:
        raise MemberError(f"has no feature {chosen!r}")
    known = {
        key: feature.value(found.get(key))
        for key, feature in features.items()
        if key != chosen and feature.kind in ("label", "scalar", "text")
    }
    return features[chosen].value(found[chosen]), known


def _json(path: str) -> Mapping[str, Any]:
    try:
        found = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"{path}: is no JSON: {error}; prepare the data set again") from error
    if not isinstance(found, dict):
        raise ArchiveError(f"{path}: is {type(found).__name__}, expected an object; prepare the data set again")
    return found


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(_MOST_TEXT)
    except (OSError, UnicodeDecodeError) as error:
        raise ArchiveError(f"{path}: cannot be read: {error}; prepare the data set again") from error

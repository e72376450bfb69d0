"""Converter of occupancies in an array file.

Expected result: one example per shape, as the array has them, along (z, y, x) unless the user says that its axes are
others; labels as they are; splits as they are, else every tenth example held out.
"""

import contextlib
import dataclasses
import hashlib
import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from converters.archives.known_archives import names_the_right_converter
from converters.archives.plain_files import Stamps, stamps_of
from converters.arrays import array_files
from converters.arrays.array_files import ArrayFile, decoder_of, read_beside
from converters.arrays.bounds import MAX_EXAMPLE_BYTES, check_examples, in_bounded_memory
from converters.arrays.npy_files import MAX_HEADER_BYTES, Npz
from converters.folders import FolderLayout
from converters.shapes.shape_files import MAX_CELLS
from converters.shapes.shapenet import VOXELS_PRESETS
from converters.survey import in_threads, survey
from functa_store.domains.cells import CellGrid
from functa_store.errors import ArchiveError, FunctaStoreError, MemberError
from functa_store.plugins import Converter
from functa_store.progress import Note, Report, silent
from functa_store.sources.array_source import as_label, as_text
from functa_store.sources.cf_values import CfChoices, CfDecoder, DecodedArray, check_decoders, masking_notes
from functa_store.sources.features import FeatureSpec
from functa_store.sources.options import ArchiveOptions, SurveyOptions, option, split_options
from functa_store.sources.source import Label, Reject, Source, check_source
from functa_store.sources.splits import hold_out_every, hold_out_rule, splits_of_words

NAMES = {
    "array": ("occupancy", "occupancies", "voxels", "values"),
    "labels": ("labels", "label", "class"),
    "split": ("split",),
    "ids": ("ids", "id"),
}
"""What arrays are called if the user does not say, first the likeliest."""

_OPTIONS = {"array": "--array", "labels": "--labels", "split": "--split-array"}


class Arrays(NamedTuple):
    """What a file holds.

    Attributes:
        shape: Of all examples together: (examples, *grid), or (examples, *grid, 1).
        read: One example. Safe to call from threads.
        beside: Arrays of one value per example, by the keys of `NAMES`, but for "array".
        rejects: What cannot be used, by its kind or name.
        decoder: What makes values of the stored numbers, where attributes or the user say how; else None.
    """

    shape: tuple[int, ...]
    read: Callable[[int], np.ndarray]
    beside: Mapping[str, np.ndarray]
    rejects: Sequence[Reject] = ()
    decoder: CfDecoder | None = None

    @property
    def grid(self) -> tuple[int, ...]:
        """Shape of an example, without an axis of channels."""
        return cells_of(self.shape)


def cells_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of an example, without an axis of channels."""
    return shape[1:-1] if len(shape) == 5 and shape[-1] == 1 else shape[1:]


def open_voxel_arrays(path: str, chosen: Mapping[str, str], choices: CfChoices) -> Arrays:
    """The arrays of a file; occupancies are read as they are asked for, but for those of an .npz in one array.

    Args:
        path: .npy (memory-mapped), .npz, HDF5 or Zarr.
        chosen: Names of arrays by the keys of `NAMES`; those that are not chosen go by the names there.
        choices: What the user says of packing and missing values, which HDF5 and Zarr keep in attributes.

    Raises:
        ArchiveError: If the file, or an array that was chosen, is not there or cannot be read, or shapes are none of
            occupancies and what is said of them.
        MissingLibraryError: If HDF5 needs h5py, and it is not installed.
    """
    try:
        group = array_files.open_arrays(path)
        if isinstance(group, Npz) and not _holds_one_array(group, chosen):
            if choices.missing_value:
                raise ArchiveError(f"{path}: holds an array per shape, for which there is no --missing-value")
            arrays = _one_per_shape(group, path)
        else:
            arrays = _of_group(group, path, chosen, choices)
    except FunctaStoreError:
        raise
    except Exception as error:  # whatever the libraries of four formats stumble over
        raise ArchiveError(f"{path}: cannot be read: {type(error).__name__}: {error}") from error
    _check_shapes(arrays, path)
    return arrays


def _holds_one_array(group: ArrayFile, chosen: Mapping[str, str]) -> bool:
    """Whether all occupancies are in one array, and not each in its own."""
    return "array" in chosen or len(group) < 2 or any(name in group for name in NAMES["array"])


def _of_group(group: ArrayFile, path: str, chosen: Mapping[str, str], choices: CfChoices) -> Arrays:
    """What arrays by name mean; those of occupancies need only `shape` and indexing by a number."""
    name = _name(group, path, "array", chosen)
    where, shape = f"{path}/{name}" if name else path, tuple(group.shape(name))
    _check_shape(shape, path)
    check_examples(where, shape, 1, group.num_bytes)  # before it is read
    array = group[name]
    if (dtype := np.dtype(array.dtype)).kind not in "biuf":
        raise ArchiveError(f"{where}: holds {dtype}, expected booleans, integers or floats")
    decoder = decoder_of(group, name, name or "occupancies", dtype, choices, is_field=True)
    check_decoders(path, [decoder])
    check_examples(where, shape, max(dtype.itemsize, decoder.dtype.itemsize), group.num_bytes)
    beside = {
        key: _beside(group, found, f"{os.path.basename(path)}: {key}", choices)
        for key in ("labels", "split", "ids")
        if key in chosen or any(name in group for name in NAMES[key])
        for found in [_name(group, path, key, chosen)]
    }
    if decoder.is_plain:
        return Arrays(shape, lambda k: np.asarray(array[k]), beside)
    values = DecodedArray(array, decoder)
    return Arrays(shape, lambda k: _as_stored(values[k : k + 1][0], decoder, dtype), beside, decoder=decoder)


def _beside(group: ArrayFile, key: str, where: str, choices: CfChoices) -> np.ndarray:
    """An array of one value per example, its stored numbers as the values that they mean."""
    stored = read_beside(group, key, where)
    choices = dataclasses.replace(choices, missing_value=())
    decoder = decoder_of(group, key, key, stored.dtype, choices, is_field=False)
    check_decoders(where, [decoder])
    values = decoder(stored)
    return stored if np.array_equal(values, stored) else values  # integers stay integers


def _as_stored(values: np.ndarray, decoder: CfDecoder, dtype: np.dtype[Any]) -> np.ndarray:
    """Values of an example: integers where nothing is missing and they are not scaled, floats else.

    Fractions such as 255 * float32(1 / 255) are a little above 1, others a little below 0.
    """
    if decoder.is_scaled:
        return np.where((values >= -_ROUNDED) & (values <= 1 + _ROUNDED), np.clip(values, 0, 1), values)
    if dtype.kind == "f" or np.isnan(values).any():
        return values
    return values.astype(np.min_scalar_type(int(values.max())) if values.min() >= 0 else np.int64)


def _name(group: ArrayFile, path: str, key: str, chosen: Mapping[str, str]) -> str:
    wanted = (chosen[key],) if key in chosen else NAMES[key]
    found = [name for name in wanted if name in group]
    if not found and key == "array" and key not in chosen and len(names := list(group)) == 1:
        found = names
    if not found:
        names = ", ".join(list(group)[:10]) or "none"
        raise ArchiveError(f"{path}: found arrays {names}, expected {' or '.join(wanted)}; name it by {_OPTIONS[key]}")
    return found[0]


def _one_per_shape(group: Npz, path: str) -> Arrays:
    """An .npz of an array per shape, whose grid is that of the first one that can be read."""
    names = sorted(name for name in group if not _is_hidden(name))
    rejects = [Reject(member=name, reason=reason) for name, reason in sorted(group.members.problems.items())]

    def read(k: int) -> np.ndarray:
        if (size := group.size(names[k])) > MAX_EXAMPLE_BYTES + MAX_HEADER_BYTES:
            raise MemberError(f"has {size} bytes, expected at most {MAX_EXAMPLE_BYTES}")
        return group.read(names[k])

    for k in range(len(names)):
        try:
            shape = read(k).shape
        except MemberError:
            continue  # the survey makes it a reject
        return Arrays((len(names), *shape), read, {"ids": np.array(names, object)}, rejects)
    raise ArchiveError(f"{path}: none of its {len(names)} arrays can be read")


def _is_hidden(name: str) -> bool:
    """Whether an archiver has put it there."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _check_shapes(arrays: Arrays, path: str) -> None:
    name, shape = os.path.basename(os.path.abspath(path)), arrays.shape
    _check_shape(shape, path)
    for key, values in arrays.beside.items():
        if values.shape != shape[:1]:
            raise ArchiveError(f"{name}: {key} have shape {values.shape}, expected one for each of {shape[:1]}")


def _check_shape(shape: tuple[int, ...], path: str) -> None:
    name, grid = os.path.basename(os.path.abspath(path)), cells_of(shape)
    if len(grid) != 3 or 0 in shape:
        raise ArchiveError(f"{name}: occupancies have shape {shape}, expected (examples, z, y, x), none of them 0")
    if math.prod(grid) > MAX_CELLS:
        raise ArchiveError(f"{name}: examples have shape {grid}, expected at most {MAX_CELLS} cells each")


BYTES = 255
"""What is inside in occupancies that were saved as a picture."""

_ROUNDED = 1e-6
_LARGE_CELLS = 1 << 24
"""Cells of an example beyond which only one is in memory at a time, however many threads there are."""


class VoxelSource(Source):
    """Occupancies of an array file; see `functa_store.sources.source.Source`.

    Every example is read once here, and again whenever it is asked for.

    Args:
        arrays: What the file holds.
        name: The file.
        facts: Options, for the provenance.
        limits: How much to take and to tolerate.
        report: Told how far the survey is.
        stamps: Of the file, taken before it was opened.

    Raises:
        TooManyRejectsError: If more examples cannot be used than `limits` allow.
        ArchiveError: If shapes or values are none of occupancies, or nothing is left to learn from.
    """

    def __init__(
        self,
        arrays: Arrays,
        name: str,
        facts: Mapping[str, Any],
        limits: SurveyOptions,
        report: Report,
        stamps: Stamps,
    ) -> None:
        self._arrays, self._name, self._stamps = arrays, name, stamps
        self._one_large = threading.Lock() if math.prod(arrays.grid) > _LARGE_CELLS else contextlib.nullcontext()
        self._turn = tuple(facts["order"].index(axis) for axis in "zyx")
        self.domain = CellGrid(axes=("z", "y", "x"), resolution=tuple(arrays.grid[i] for i in self._turn))
        count = len(range(arrays.shape[0])[: limits.limit])
        ids = as_text(arrays.beside["ids"]).tolist() if "ids" in arrays.beside else [str(k) for k in range(count)]
        num_read = len(range(count)[: limits.check_first])
        if arrays.decoder and arrays.decoder.formula:
            report(Note(message=f"{name}: {arrays.decoder.formula}"))
        outcomes = in_threads(self._look, num_read)
        masked: Sequence[str] = ()
        try:
            seen = survey(name, "examples", ids[:count], outcomes, num_read, limits, report, arrays.rejects)
        finally:  # what was masked explains rejects
            masked = masking_notes([arrays.decoder]) if arrays.decoder else ()
            for note in masked:
                report(Note(message=f"{name}: {note}"))
        self._keep, self._seen, self.rejects = seen.kept, seen.found, seen.rejects
        self.features = FeatureSpec(channels=("occupancy",), scale=self._scale(), metrics=("iou", "accuracy"))
        self.ids = [ids[int(k)] for k in self._keep]
        published, published_by, self.labels = self._described(ids)
        self.split = hold_out_every(len(self.ids)) if published is None else published[self._keep]
        self.provenance = {
            "archive": name,
            "sha256": self._sha256() if limits.check_first is None else None,
            **facts,
            "limit": limits.limit,
            "split": hold_out_rule() if published is None else published_by,
            "labels_by": dict.fromkeys(self.labels, "array" if "labels" in arrays.beside else "folders"),
            "rejects": len(self.rejects),
            "converter": "voxels",
            **({"masked": "; ".join(masked)} if masked else {}),
        }
        check_source(self)

    def read(self, index: int) -> UInt8[np.ndarray, "z y x 1"] | Float32[np.ndarray, "z y x 1"]:
        """Raw occupancy of one example. Safe to call from threads.

        Raises:
            MemberError: If it cannot be read.
        """
        try:
            return self._example(int(self._keep[index]))
        except MemberError as error:
            raise MemberError(f"{self._name}/{self.ids[index]}: {error}") from error

    def check_unchanged(self) -> None:
        """Compare the file, or all files of the folder, with what they were; see `FileSource.check_unchanged`."""
        self._stamps.check()

    def _example(self, k: int) -> UInt8[np.ndarray, "z y x 1"] | Float32[np.ndarray, "z y x 1"]:
        try:
            raw = self._arrays.read(k)
        except MemberError:
            raise
        except Exception as error:  # whatever the library of the format stumbles over
            raise MemberError(f"cannot be read: {type(error).__name__}: {error}") from error
        grid = self._arrays.grid
        if raw.size != np.prod(grid) or raw.shape[:3] != grid:
            raise MemberError(f"has shape {raw.shape}, expected {grid} as the first one")
        if raw.dtype.kind == "f" and self._arrays.decoder and (missing := int(np.isnan(raw).sum())):
            raise MemberError(f"holds {missing} values that are missing, by its attributes or not a number")
        if raw.dtype.kind not in "biuf" or not np.isfinite(raw).all():
            raise MemberError(f"holds {raw.dtype} values that are no finite numbers")
        if raw.min() < 0 or raw.max() > (1 if raw.dtype.kind == "f" else BYTES):
            raise MemberError(f"holds values from {raw.min()} to {raw.max()}, expected [0, 1], or bytes")
        turned = raw.reshape(grid).transpose(self._turn)[..., None]
        return np.ascontiguousarray(turned, np.float32 if raw.dtype.kind == "f" else np.uint8)

    def _look(self, k: int) -> tuple[float, bytes]:
        """The highest value and the digest of an example."""
        with self._one_large:
            raw = self._example(k)
            if not (highest := float(raw.max())):
                raise MemberError("is empty: no cell is occupied")
            return highest, hashlib.sha256(raw.data).digest()

    def _scale(self) -> float:
        highest = max((highest for highest, _ in self._seen.values()), default=1.0)
        if highest <= 1:
            return 1.0
        if highest == BYTES:
            return 1 / BYTES
        raise ArchiveError(
            f"{self._name}: occupancies go up to {highest:g}, expected 0 and 1, or 0 to {BYTES}; "
            "are these classes or distances? Compare them with a threshold first"
        )

    def _sha256(self) -> str:
        digest = hashlib.sha256()
        for _, (_, content) in sorted(self._seen.items()):
            digest.update(content)
        for key, values in sorted(self._arrays.beside.items()):
            digest.update(f"{key} {values.tolist()}".encode())
        return digest.hexdigest()

    def _described(self, ids: Sequence[str]) -> tuple[np.ndarray | None, str, dict[str, Label]]:
        """Splits of all examples, who publishes them, and labels of those that are kept."""
        beside, published, published_by, label = self._arrays.beside, None, "none", None
        if any("/" in name for name in ids):
            layout = FolderLayout.of(ids).without_outside()
            published, published_by, label = layout.published, layout.published_by, layout.classes
        if "split" in beside:
            published = splits_of_words(as_text(beside["split"]).tolist())
            published_by = "published in an array of the file"
        if "labels" in beside:
            label = as_label("labels", beside["labels"])
        labels = {} if label is None else {"class": Label(values=label.values[self._keep], names=label.names)}
        return published, published_by, labels


_SAID_IF_ANY = ("missing_value", "ignore")
"""Options that stores of earlier versions do not name."""

Order = Literal["zyx", "zxy", "yzx", "yxz", "xzy", "xyz"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class VoxelsOptions(ArchiveOptions):
    """Which arrays of a file hold occupancies and what is said of them.

    Attributes:
        array: Name of the occupancies, shape (examples, *axes) or (examples, *axes, 1); None takes `occupancy` or the
            like, or the only array.
        labels: Name of the labels: integers, floats or text, one per example; None takes `labels`, if there are any.
        split_array: Name of the splits: text, one per example; None takes `split`, if there are any.
        order: The array's axes, such as "xyz"; examples are turned into (z, y, x).
        missing_value: More stored numbers that mean missing, beside those that attributes declare; an example with
            missing values is a reject.
        ignore: Attributes of HDF5 and Zarr arrays that are not believed: scale_factor, add_offset, _Unsigned,
            _FillValue, missing_value, valid_range (with valid_min and valid_max), default_fill (NetCDF's own fill
            values), or all.
    """

    array: str | None = None
    labels: str | None = None
    split_array: str | None = None
    order: Order = "zyx"
    missing_value: tuple[str, ...] = option((), metavar="NUMBER,...")
    ignore: tuple[str, ...] = option((), metavar="ATTRIBUTE,...")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.cf_choices()

    def cf_choices(self) -> CfChoices:
        """What the user says of packing and missing values.

        Raises:
            ConfigError: If there is no such attribute, or something is no number.
        """
        return CfChoices(ignore=self.ignore, missing_value=self.missing_value)


def open_voxels(path: str | os.PathLike[str], *, report: Report = silent, **options: Any) -> VoxelSource:
    """A source over occupancies in .npy, .npz, HDF5 or Zarr.

    Values are false or true, 0 or 1, 0 to 255 (if 255 occurs), or floats in [0, 1]. An .npz may hold an array per
    shape, too, whose names become ids, and their folders classes and splits.

    Args:
        path: The file, or a Zarr folder.
        report: Told how far the survey is.
        **options: Fields of `VoxelsOptions` and `SurveyOptions`, such as `order="xyz"` and `limit=100`.

    Raises:
        ConfigError: If an option is out of range.
        ArchiveError: If the file cannot be converted.
        MissingLibraryError: If HDF5 needs h5py, and it is not installed.
    """
    return _open(path, *split_options(VoxelsOptions, options), report)


@names_the_right_converter("voxels")
def _open(path: str | os.PathLike[str], options: VoxelsOptions, survey: SurveyOptions, report: Report) -> VoxelSource:
    chosen = {"array": options.array, "labels": options.labels, "split": options.split_array}
    path = os.path.abspath(path)
    stamps = stamps_of(path)
    with in_bounded_memory(path):
        named = {key: name for key, name in chosen.items() if name is not None}
        arrays = open_voxel_arrays(path, named, options.cf_choices())
        facts = options.to_plain()
        facts = {name: value for name, value in facts.items() if value is not None or name not in _SAID_IF_ANY}
        return VoxelSource(arrays, os.path.basename(path), facts, survey, report, stamps)


converter = Converter(
    summary="occupancies in .npy, .npz, HDF5 or Zarr",
    options=VoxelsOptions,
    presets=VOXELS_PRESETS,
    open=_open,
)

"""Converter of occupancies in an array file: the source of arrays, with shapes as its examples and IoU as its metric.

Expected result: one example per shape, as the array has them, along (z, y, x) unless the user says that its axes are
others; labels as they are; splits as they are, else every tenth example held out.

Opening, packed and missing values, ids, splits, labels, limits and rejects are those of `converters.arrays`. What is
left are rules of occupancies: arrays by their usual names, an .npz of an array per shape, turned axes, which values are
inside and which are none, an empty shape as a reject.
"""

import dataclasses
import functools
import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from converters.archives.archive_files import ArchiveFiles, FilesStamps
from converters.archives.file_patterns import find_files
from converters.archives.known_archives import names_the_right_converter
from converters.arrays.array_files import ARRAY_SUFFIXES, ArrayFile, examples_of, open_array_files, values_beside
from converters.arrays.arrays import FileArraySource
from converters.arrays.bounds import MAX_EXAMPLE_BYTES, in_bounded_memory
from converters.arrays.joined_arrays import JoinedArrays
from converters.arrays.npy_files import MAX_HEADER_BYTES, Npz
from converters.folders import FolderLayout
from converters.shapes.shape_files import MAX_CELLS
from converters.shapes.shapenet import VOXELS_PRESETS
from functa_store.domains.cells import CellGrid
from functa_store.errors import ArchiveError, MemberError
from functa_store.plugins import Converter
from functa_store.progress import Report, silent
from functa_store.sources.array_blocks import ArrayExamples, ArrayLike, Look, Scan
from functa_store.sources.array_source import ArraySource, as_label, as_text
from functa_store.sources.cf_values import ALL, CfChoices, CfDecoder
from functa_store.sources.features import FeatureSpec
from functa_store.sources.options import ArchiveOptions, SurveyOptions, option, split_options
from functa_store.sources.recipe import AnyArchive
from functa_store.sources.source import BY_FOLDERS, Label, Reject
from functa_store.sources.splits import hold_out_rule

NAMES = {
    "array": ("occupancy", "occupancies", "voxels", "values"),
    "labels": ("labels", "label", "class"),
    "split": ("split",),
    "ids": ("ids", "id"),
}
"""What arrays are called if the user does not say, first the likeliest."""

_OPTIONS = {"array": "--array", "labels": "--labels", "split": "--split-array"}

BYTES = 255
"""What is inside in occupancies that were saved as a picture."""

_ROUNDED = 1e-6
"""How far from [0, 1] packed fractions may be, such as 255 * float32(1 / 255)."""

_SAID_IF_ANY = ("missing_value", "ignore")
"""Options that stores of earlier versions do not name."""


class ShapeArrays:
    """The arrays of an .npz, each of one shape, as one array; see `array_blocks.ArrayLike`.

    Attributes:
        names: Of the shapes, sorted.
        rejects: Members that are none.
        shape: That of the first one that can be read after the number of shapes.
        dtype: Of the same one.

    Raises:
        ArchiveError: If none can be read.
    """

    def __init__(self, group: Npz, path: str) -> None:
        self._group, self.names = group, sorted(name for name in group if not _is_hidden(name))
        self.rejects = [Reject(member=name, reason=reason) for name, reason in sorted(group.members.problems.items())]
        for name in self.names:
            try:
                first = self._read(name)
            except MemberError:
                continue  # the source makes it a reject
            self.shape, self.dtype = (len(self.names), *first.shape), first.dtype
            return
        raise ArchiveError(f"{path}: none of its {len(self.names)} arrays can be read")

    def __getitem__(self, key: slice, /) -> list[np.ndarray]:
        return [self._read(name) for name in self.names[key]]

    def _read(self, name: str) -> np.ndarray:
        if (size := self._group.size(name)) > MAX_EXAMPLE_BYTES + MAX_HEADER_BYTES:
            raise MemberError(f"has {size} bytes, expected at most {MAX_EXAMPLE_BYTES}")
        return self._group.read(name)


def _is_hidden(name: str) -> bool:
    """Whether an archiver has put it there."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


class Occupancies(ArrayExamples):
    """Occupancies of an array, turned into (z, y, x): bytes, or floats where the array holds or means fractions.

    Args:
        stored: The array, (examples, *axes) or (examples, *axes, 1), its values decoded.
        decoder: Has decoded them.
        beside: Arrays of one value per example, which the digest covers, too.
        order: The axes, such as "xyz".
        path: The file.

    Raises:
        ArchiveError: If its shape or type are none of occupancies.
    """

    def __init__(
        self, stored: ArrayLike, decoder: CfDecoder, beside: Mapping[str, np.ndarray], order: str, path: str
    ) -> None:
        _check_shape(shape := tuple(stored.shape), path)
        super().__init__(stored, channels_axis=-1 if len(shape) == 5 else None, name=path)
        self._decoder, self._beside, self._name = decoder, beside, os.path.basename(path)
        self._grid, self._turn = self.shape[1:-1], tuple(order.index(axis) for axis in "zyx")
        self.shape = (self.shape[0], *(self._grid[axis] for axis in self._turn), 1)

    def block(self, start: int, stop: int) -> np.ndarray:
        """See `ArrayExamples`."""
        try:
            rows = self._values[start:stop]
        except MemberError:
            raise
        except Exception as error:  # whatever the library of the format stumbles over
            raise MemberError(f"cannot be read: {type(error).__name__}: {error}") from error
        found = np.empty((len(rows), *self.shape[1:]), np.uint8 if self._decoder.keeps_integers else np.float32)
        for k, row in enumerate(rows):
            found[k, ..., 0] = self._checked(np.asarray(row)).reshape(self._grid).transpose(self._turn)
        return found

    def _checked(self, row: np.ndarray) -> np.ndarray:
        """An example, if its values are occupancies."""
        if row.size != math.prod(self._grid) or row.shape[:3] != self._grid:
            raise MemberError(f"has shape {row.shape}, expected {self._grid} as the first one")
        is_float, is_integer = row.dtype.kind == "f", self._decoder.keeps_integers
        if is_float and not self._decoder.is_plain and (missing := int(np.isnan(row).sum())):
            raise MemberError(f"holds {missing} values that are missing, by its attributes or not a number")
        if row.dtype.kind not in "biuf" or not np.isfinite(row).all():
            raise MemberError(f"holds {row.dtype} values that are no finite numbers")
        if is_float and is_integer and self._decoder.is_plain:
            raise MemberError(f"holds {row.dtype}, expected integers as the first one")
        if self._decoder.is_scaled:
            row = np.where((row >= -_ROUNDED) & (row <= 1 + _ROUNDED), np.clip(row, 0, 1), row)
        low, high = (int(end) if is_integer else end for end in (row.min(), row.max()))
        if low < 0 or high > (BYTES if is_integer else 1):
            raise MemberError(f"holds values from {low} to {high}, expected [0, 1], or bytes")
        return row

    def look(self, count: int, *, missing: bool) -> "OccupancyLook":
        """See `ArrayExamples`."""
        return OccupancyLook(self._beside)

    def features(self, found: Scan) -> FeatureSpec:
        """What the values mean: 1 is inside, or `BYTES` where that occurs.

        Raises:
            ArchiveError: If they go up to another number.
        """
        highest = np.fmax.reduce(found.high, axis=None, initial=0.0)
        if highest > 1 and highest != BYTES:
            raise ArchiveError(
                f"{self._name}: occupancies go up to {highest:g}, expected 0 and 1, or 0 to {BYTES}; "
                "are these classes or distances? Compare them with a threshold first"
            )
        scale = 1.0 if highest <= 1 else 1 / BYTES
        return FeatureSpec(channels=("occupancy",), scale=scale, metrics=("iou", "accuracy"))


class OccupancyLook(Look):
    """Refuses empty shapes; digests the others as they are turned, and arrays beside them."""

    def __init__(self, beside: Mapping[str, np.ndarray]) -> None:
        self._beside, self._digest = beside, hashlib.sha256()

    def __call__(self, example: np.ndarray, /) -> str | None:
        """See `Look`."""
        if not example.any():
            return "is empty: no cell is occupied"
        self._digest.update(hashlib.sha256(example.data).digest())
        return None

    def sha256(self) -> str:
        """Digest of shapes as they are turned, and of arrays beside them."""
        digest = self._digest.copy()
        for key, values in sorted(self._beside.items()):
            digest.update(f"{key} {values.tolist()}".encode())
        return digest.hexdigest()


def _check_shape(shape: tuple[int, ...], path: str) -> None:
    name, grid = os.path.basename(path), shape[1:-1] if len(shape) == 5 and shape[-1] == 1 else shape[1:]
    if len(grid) != 3 or 0 in shape:
        raise ArchiveError(f"{name}: occupancies have shape {shape}, expected (examples, z, y, x), none of them 0")
    if math.prod(grid) > MAX_CELLS:
        raise ArchiveError(f"{name}: examples have shape {grid}, expected at most {MAX_CELLS} cells each")


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


def open_voxels(path: AnyArchive, *, report: Report = silent, **options: Any) -> ArraySource:
    """A source over occupancies in .npy, .npz, HDF5 or Zarr.

    Values are false or true, 0 or 1, 0 to 255 (if 255 occurs), or floats in [0, 1]. An .npz may hold an array per
    shape, too, whose names become ids, and their folders classes and splits.

    Args:
        path: The file, or a Zarr folder; a folder of such, or a pattern or list of several.
        report: Told how far the survey is.
        **options: Fields of `VoxelsOptions` and `SurveyOptions`, such as `order="xyz"` and `limit=100`.

    Raises:
        ConfigError: If an option is out of range.
        ArchiveError: If the file cannot be converted.
        MissingLibraryError: If HDF5 needs h5py, and it is not installed.
    """
    return converter.open(path, *split_options(VoxelsOptions, options), report)


@names_the_right_converter("voxels")
def _open(files: ArchiveFiles, options: VoxelsOptions, survey: SurveyOptions, report: Report) -> ArraySource:
    path = os.path.abspath(files.paths[0]) if len(files) == 1 else files.name
    with in_bounded_memory(path):
        stamps, group = FilesStamps(files), open_array_files(files)
        rejects, beside = [], {}
        first = group.file(0) if isinstance(group, JoinedArrays) else group
        if isinstance(first, Npz) and not _holds_one_array(first, options):
            if options.missing_value:
                raise ArchiveError(f"{path}: holds an array per shape, for which there is no --missing-value")
            if isinstance(group, JoinedArrays):
                raise ArchiveError(
                    f"{path}: {files.names[0]} holds an array per shape, and is one of {len(files)} files; expected "
                    "one array of all shapes in each of several files, or one file: put them into one .npz"
                )
            stored = ShapeArrays(first, path)
            decoder = CfDecoder("occupancies", stored.dtype, {}, CfChoices(ignore=(ALL,)))
            rejects, beside = stored.rejects, {"ids": np.array(stored.names, object)}
        else:
            key = _name(group, path, "array", options.array)
            _check_shape(group.shape(key), path)
            stored, decoder = examples_of(group, key, path, key or "occupancies", options.cf_choices())
            beside = _beside(group, path, options)
        occupancies = Occupancies(stored, decoder, beside, options.order, path)
        ids = as_text(beside["ids"]).tolist() if "ids" in beside else None
        split, split_by, labels, labels_by = _described(ids or (), beside)
        source = FileArraySource(
            occupancies,
            decoder=decoder,
            stamps=stamps,
            domain=CellGrid(axes=("z", "y", "x"), resolution=occupancies.shape[1:-1]),
            features=occupancies.features,
            ids=ids,
            split=split,
            labels=labels,
            rejects=rejects,
            name=files.name,
            limit=survey.limit,
            max_rejects=survey.max_rejects,
            check_first=survey.check_first,
            report=report,
        )
    own = options.to_plain()
    facts = {
        **{name: source.provenance[name] for name in ("archive", "sha256")},
        **{name: fact for name, fact in own.items() if fact is not None or name not in _SAID_IF_ANY},
        "limit": survey.limit,
        "split": split_by,
        "labels_by": dict.fromkeys(labels, labels_by),
        "rejects": len(source.rejects),
        "converter": "voxels",
        "masked": source.masked,
        **files.described(read=survey.check_first is None),
    }
    source.provenance = {name: fact for name, fact in facts.items() if fact is not None or name != "masked"}
    return source


def _holds_one_array(group: ArrayFile, options: VoxelsOptions) -> bool:
    """Whether all occupancies are in one array, and not each in its own."""
    return options.array is not None or len(group) < 2 or any(name in group for name in NAMES["array"])


def _beside(group: ArrayFile, path: str, options: VoxelsOptions) -> dict[str, np.ndarray]:
    """Arrays of one value per example, by the keys of `NAMES`."""
    found = {}
    for key, chosen in (("labels", options.labels), ("split", options.split_array), ("ids", None)):
        if chosen is not None or any(name in group for name in NAMES[key]):
            name, where = _name(group, path, key, chosen), f"{os.path.basename(path)}: {key}"
            found[key] = values_beside(group, name, where, options.cf_choices())
    return found


def _name(group: ArrayFile, path: str, key: str, chosen: str | None) -> str:
    wanted = NAMES[key] if chosen is None else (chosen,)
    found = [name for name in wanted if name in group]
    if not found and key == "array" and chosen is None and len(names := list(group)) == 1:
        found = names
    if not found:
        names = ", ".join(list(group)[:10]) or "none"
        raise ArchiveError(f"{path}: found arrays {names}, expected {' or '.join(wanted)}; name it by {_OPTIONS[key]}")
    return found[0]


class Described(NamedTuple):
    """Splits and labels of all examples, and who gives them; no split is published if it is None."""

    split: np.ndarray | None
    split_by: str
    labels: dict[str, Label]
    labels_by: str


def _described(ids: Sequence[str], beside: Mapping[str, np.ndarray]) -> Described:
    """What arrays beside the occupancies say of examples, or else folders in their ids."""
    split, split_by, label = None, hold_out_rule(), None
    if any("/" in name for name in ids):
        layout = FolderLayout.of(ids).without_outside()
        split, label = layout.published, layout.classes
        split_by = split_by if split is None else layout.published_by
    if "split" in beside:
        split, split_by = beside["split"], "published in an array of the file"
    if "labels" in beside:
        label = as_label("labels", beside["labels"])
    labels = {} if label is None else {"class": label}
    return Described(split, split_by, labels, "array" if "labels" in beside else BY_FOLDERS)


converter = Converter(
    summary="occupancies in .npy, .npz, HDF5 or Zarr",
    options=VoxelsOptions,
    presets=VOXELS_PRESETS,
    open=_open,
    files=functools.partial(find_files, of=ARRAY_SUFFIXES, folders="mixed"),
)

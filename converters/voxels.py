"""How are occupancies in an array file converted?

Expected result: one example per shape, as the array has them, along (z, y, x) unless the user says that its axes are
others; labels as they are; splits as they are, else every tenth example held out.
"""

import argparse
import hashlib
import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from converters.images import folder_splits_and_classes
from converters.shape_presets import VOXELS_PRESETS
from converters.shape_source import HOLD_OUT_RULE, PERIOD
from converters.shape_survey import in_threads, survey
from converters.survey import SurveyOptions
from converters.voxel_arrays import Arrays, names_of, open_arrays, splits_of
from functa_store.domains import Domain
from functa_store.errors import ArchiveError, ConfigError, MemberError
from functa_store.grids import CellGrid
from functa_store.progress import Report, silent
from functa_store.sources import FeatureSpec, Label, Reject, check_source, hold_out_every

ORDERS = tuple("".join(order) for order in itertools.permutations("zyx"))
BYTES = 255
"""What is inside in occupancies that were saved as a picture."""


def open_voxels(
    path: str | os.PathLike[str],
    *,
    array: str | None = None,
    labels: str | None = None,
    split_array: str | None = None,
    order: str = "zyx",
    limit: int | None = None,
    max_rejects: float = 0.01,
    check_first: int | None = None,
    report: Report = silent,
) -> "VoxelSource":
    """A source over occupancies in .npy, .npz, HDF5 or Zarr.

    Values are false or true, 0 or 1, 0 to 255 (if 255 occurs), or floats in [0, 1]. An .npz may hold an array per
    shape, too, whose names become ids, and their folders classes and splits.

    Args:
        path: The file, or a Zarr folder.
        array: Name of the occupancies, shape (examples, *axes) or (examples, *axes, 1).
        labels: Name of the labels: integers, floats or text, one per example.
        split_array: Name of the splits: text, one per example.
        order: The array's axes, such as "xyz"; examples are turned into (z, y, x).
        limit: Examples at most, the first ones.
        max_rejects: Fraction of the examples that may be unusable.
        check_first: Examples to read now, for a dry run; None reads all.
        report: Told how far the survey is.

    Raises:
        ConfigError: If an option is out of range.
        ArchiveError: If the file cannot be converted.
        MissingLibraryError: If HDF5 needs h5py, and it is not installed.
    """
    if order not in ORDERS:
        raise ConfigError(f"order must be one of {', '.join(ORDERS)}, got {order!r}")
    limits = SurveyOptions(limit=limit, max_rejects=max_rejects, check_first=check_first)
    chosen = {"array": array, "labels": labels, "split": split_array}
    arrays = open_arrays(os.fspath(path), {key: name for key, name in chosen.items() if name is not None})
    name = os.path.basename(os.path.abspath(path))
    for key, values in arrays.beside.items():
        if values.shape != arrays.shape[:1]:
            raise ArchiveError(f"{name}: {key} have shape {values.shape}, expected one for each of {arrays.shape[:1]}")
    facts = {"array": array, "labels": labels, "split_array": split_array, "order": order}
    return VoxelSource(arrays, name, facts, limits, report)


class VoxelSource:
    """Occupancies of an array file; see `functa_store.sources.Source`.

    Every example is read once here, and again whenever it is asked for.

    Args:
        arrays: What the file holds.
        name: The file.
        facts: Options, for the provenance.
        limits: How much to take and to tolerate.
        report: Told how far the survey is.

    Raises:
        TooManyRejectsError: If more examples cannot be used than `limits` allow.
        ArchiveError: If shapes or values are none of occupancies, or nothing is left to learn from.
    """

    domain: Domain
    ids: Sequence[str]
    labels: Mapping[str, Label]
    rejects: Sequence[Reject]
    provenance: Mapping[str, Any]

    def __init__(
        self, arrays: Arrays, name: str, facts: Mapping[str, Any], limits: SurveyOptions, report: Report
    ) -> None:
        self._arrays, self._name, order = arrays, name, facts["order"]
        self._grid = _grid_shape(arrays, name)
        self._turn = tuple(order.index(axis) for axis in "zyx")
        self.domain = CellGrid(axes=("z", "y", "x"), resolution=tuple(self._grid[i] for i in self._turn))
        count = len(range(arrays.shape[0])[: limits.limit])
        ids = names_of(arrays.beside["ids"]) if "ids" in arrays.beside else [str(k) for k in range(count)]
        self._digests: dict[int, bytes] = {}
        self._highest = 0.0
        outcomes = in_threads(self._look, len(range(count)[: limits.check_first]))
        self._keep, self.rejects = survey(name, ids[:count], outcomes, limits, report)
        self.features = FeatureSpec(channels=("occupancy",), scale=self._scale(), metrics=("iou", "accuracy"))
        self.ids = [ids[int(k)] for k in self._keep]
        published, self.labels = self._described(ids)
        self.split = hold_out_every(len(self.ids), PERIOD) if published is None else published[self._keep]
        self.provenance = {
            "archive": name,
            "sha256": self._sha256() if limits.check_first is None else None,
            **facts,
            "limit": limits.limit,
            "split": HOLD_OUT_RULE if published is None else "published",
            "rejects": len(self.rejects),
            "converter": "voxels",
        }
        check_source(self)

    def read(self, index: int) -> np.ndarray:
        """Raw occupancy of one example, uint8 or float32, shape (z, y, x, 1). Safe to call from threads.

        Raises:
            MemberError: If it cannot be read.
        """
        try:
            return self._example(int(self._keep[index]))
        except MemberError as error:
            raise MemberError(f"{self._name}/{self.ids[index]}: {error}") from error

    def _example(self, k: int) -> np.ndarray:
        try:
            raw = self._arrays.read(k)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise error if isinstance(error, MemberError) else MemberError(f"cannot be read: {error}") from error
        if raw.size != np.prod(self._grid) or raw.shape[:3] != self._grid:
            raise MemberError(f"has shape {raw.shape}, expected {self._grid} as the first one")
        if raw.dtype.kind not in "biuf" or not np.isfinite(raw).all():
            raise MemberError(f"holds {raw.dtype} values that are no finite numbers")
        if raw.min() < 0 or raw.max() > (1 if raw.dtype.kind == "f" else BYTES):
            raise MemberError(f"holds values from {raw.min()} to {raw.max()}, expected [0, 1], or bytes")
        turned = raw.reshape(self._grid).transpose(self._turn)[..., None]
        return np.ascontiguousarray(turned, np.float32 if raw.dtype.kind == "f" else np.uint8)

    def _look(self, k: int) -> None:
        raw = self._example(k)
        if not (highest := float(raw.max())):
            raise MemberError("is empty: no cell is occupied")
        self._digests[k] = hashlib.sha256(raw.data).digest()
        self._highest = max(self._highest, highest)

    def _scale(self) -> float:
        if self._highest <= 1:
            return 1.0
        if self._highest == BYTES:
            return 1 / BYTES
        raise ArchiveError(
            f"{self._name}: occupancies go up to {self._highest:g}, expected 0 and 1, or 0 to {BYTES}; "
            "are these classes or distances? Compare them with a threshold first"
        )

    def _sha256(self) -> str:
        digest = hashlib.sha256()
        for k in sorted(self._digests):
            digest.update(self._digests[k])
        for key, values in sorted(self._arrays.beside.items()):
            digest.update(f"{key} {values.tolist()}".encode())
        return digest.hexdigest()

    def _described(self, ids: Sequence[str]) -> tuple[np.ndarray | None, dict[str, Label]]:
        """Splits of all examples, and labels of those that are kept."""
        beside, published, label = self._arrays.beside, None, None
        if any("/" in name for name in ids):
            published, label = folder_splits_and_classes(ids)
        if "split" in beside:
            published = splits_of(names_of(beside["split"]))
        if "labels" in beside:
            label = _label(beside["labels"])
        labels = {} if label is None else {"class": Label(values=label.values[self._keep], names=label.names)}
        return published, labels


def _grid_shape(arrays: Arrays, name: str) -> tuple[int, ...]:
    shape = arrays.shape
    grid = shape[1:-1] if len(shape) == 5 and shape[-1] == 1 else shape[1:]
    if len(grid) != 3 or 0 in shape:
        raise ArchiveError(f"{name}: occupancies have shape {shape}, expected (examples, z, y, x), none of them 0")
    return grid


def _label(values: np.ndarray) -> Label:
    """Numbers as they are, text as class numbers in the order of the sorted names."""
    if values.dtype.kind in "biuf":
        return Label(values=values)
    names, numbers = np.unique(names_of(values), return_inverse=True)
    return Label(values=numbers.astype(np.int32), names=tuple(names.tolist()))


class VoxelsConverter:
    """Converts array files of occupancies; see `functa_store.plugins.Converter`."""

    summary = "occupancies in .npy, .npz, HDF5 or Zarr"
    presets = VOXELS_PRESETS

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options that only this kind of archive has."""
        parser.add_argument("--array", metavar="NAME", help="occupancies (default: occupancy, or the only array)")
        parser.add_argument("--labels", metavar="NAME", help="labels (default: labels, if there are any)")
        parser.add_argument("--split-array", metavar="NAME", help="splits (default: split, if there are any)")
        parser.add_argument("--order", choices=ORDERS, help="axes of the array (default: zyx)")

    def open(self, archive: str, options: Mapping[str, Any], report: Report) -> VoxelSource:
        """The source that the options describe; see `open_voxels`."""
        return open_voxels(archive, report=report, **{k: v for k, v in options.items() if v is not None})


converter = VoxelsConverter()

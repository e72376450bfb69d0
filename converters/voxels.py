"""How are occupancies in an array file converted?

Expected result: one example per shape, as the array has them, along (z, y, x) unless the user says that its axes are
others; labels as they are; splits as they are, else every tenth example held out.
"""

import argparse
import itertools
import os
from collections.abc import Mapping
from typing import Any

from converters.array_bounds import in_bounded_memory
from converters.shape_presets import VOXELS_PRESETS
from converters.survey import SurveyOptions
from converters.unchanged import stamps_of
from converters.voxel_arrays import open_arrays
from converters.voxel_source import VoxelSource
from functa_store.errors import ConfigError
from functa_store.progress import Report, silent

ORDERS = tuple("".join(order) for order in itertools.permutations("zyx"))


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
) -> VoxelSource:
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
    path = os.path.abspath(path)
    stamps = stamps_of(path)
    facts = {"array": array, "labels": labels, "split_array": split_array, "order": order}
    with in_bounded_memory(path):
        arrays = open_arrays(path, {key: name for key, name in chosen.items() if name is not None})
        return VoxelSource(arrays, os.path.basename(path), facts, limits, report, stamps)


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

"""Converter of an array of examples in a NumPy, Zarr or HDF5 file.

Expected result: one example per index of the first axis, on a grid of one to three axes, values in [0, 1] in the base
network and in the array's own unit when decoded. Labels, ids and the split are arrays of the same file; without a
split, every tenth example is held out.
"""

import argparse
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from converters.archives.plain_files import Stamps, stamps_of
from converters.arrays.array_files import ArrayFile, open_arrays, read_beside
from converters.arrays.bounds import check_examples, in_bounded_memory
from functa_store.config import ConvertConfig
from functa_store.errors import ArchiveError, ConfigError
from functa_store.plugins import Preset
from functa_store.progress import Report, silent
from functa_store.sources.array_blocks import ArrayLike
from functa_store.sources.array_labels import as_text
from functa_store.sources.array_source import ArraySource

ARRAYS_FAST = Preset(
    summary="any arrays: the choices for images at 64x64, only a start; vary w0 first",
    config=ConvertConfig(preset="arrays-fast"),
)

ARRAYS_PRESETS = {"arrays-fast": ARRAYS_FAST}


_NUM_NAMED = 20
_AXES = {"last": -1, "first": 1, "none": None}


class FileArraySource(ArraySource):
    """An array of a file; see `ArraySource`.

    Args:
        values: As for `ArraySource`.
        stamps: Of the file, taken before it was opened.
        **options: As for `ArraySource`.
    """

    def __init__(self, values: ArrayLike, *, stamps: Stamps, **options: Any) -> None:
        self._stamps = stamps
        super().__init__(values, **options)

    def check_unchanged(self) -> None:
        """Compare the file, or all files of the folder, with what they were; see `FileSource.check_unchanged`."""
        self._stamps.check()


def open_array_archive(
    path: str | os.PathLike[str],
    *,
    array: str | None = None,
    channels_axis: str | int = "last",
    axes: str | None = None,
    channels: str | None = None,
    units: str | None = None,
    value_range: str | None = None,
    missing: bool | str = False,
    labels: str | None = None,
    ids: str | None = None,
    split_from: str | None = None,
    limit: int | None = None,
    max_rejects: float = 0.01,
    check_first: int | None = None,
    report: Report = silent,
) -> ArraySource:
    """A source over an array in a file.

    Args:
        path: An .npy, .npz, HDF5 or Zarr file (or folder).
        array: Name of the array; None takes the only one with two axes or more.
        channels_axis: "last", "first" (after the examples'), "none", or its number among all axes.
        axes: Names of the other axes, such as "t,y,x".
        channels: Names of the channels, such as "u,v".
        units: Unit of each channel, such as "m s-1,m s-1".
        value_range: "LOW,HIGH", the values that become 0 and 1; see `ArraySource`.
        missing: NaN means a missing value; else an example with one is a reject.
        labels: Names of arrays with one number or text per example, such as "kind,age".
        ids: Name of an array of unique ids.
        split_from: Name of an array of "train", "validation" or "test".
        limit: Examples at most, the first ones.
        max_rejects: Fraction of the examples that may be rejected.
        check_first: Examples to read now, for a dry run; None reads all.
        report: Told how far the reading is.

    Returns:
        The source, every example read once.

    Raises:
        ConfigError: If an option is out of range.
        ArchiveError: If there is no such array, or it cannot be learned.
    """
    path = os.path.abspath(path)
    name, axis = os.path.basename(path), _parse_axis(channels_axis)
    with in_bounded_memory(path):
        stamps, arrays = stamps_of(path), open_arrays(path)
        array = _only_array(arrays, name) if array is None else array
        source = FileArraySource(
            _examples(arrays, array, axis, name),
            stamps=stamps,
            channels_axis=axis,
            axes=_names(axes),
            channels=_names(channels),
            units=_names(units),
            value_range=_parse_range(value_range),
            missing=bool(missing),
            ids=None if ids is None else as_text(_read(arrays, ids, name)).tolist(),
            split=None if split_from is None else _read(arrays, split_from, name),
            labels={label: _read(arrays, label, name) for label in _names(labels)},
            name=name,
            limit=limit,
            max_rejects=max_rejects,
            check_first=check_first,
            report=report,
        )
    kept = {
        "array": array or None,
        "channels_axis": str(channels_axis),
        "axes": axes,
        "channels": channels,
        "units": units,
        "value_range": value_range,
        "missing": bool(missing) or None,
        "labels": labels,
        "ids": ids,
        "split_from": split_from,
    }
    source.provenance = {**source.provenance, "converter": "arrays", **kept}
    return source


def _only_array(arrays: ArrayFile, name: str) -> str:
    found, unreadable = [], []
    for key in arrays:
        try:
            if len(arrays.shape(key)) >= 2:
                found.append(key)
        except ArchiveError as error:  # such as an array of Python objects, beside the one that is meant
            unreadable.append(str(error))
    if len(found) != 1:
        few = ", ".join(found[:_NUM_NAMED]) + (", ..." if len(found) > _NUM_NAMED else "")
        beside = f"; {unreadable[0]}" if unreadable else ""
        raise ArchiveError(
            f"{name}: found {len(found)} arrays of two axes or more ({few or 'none'}), expected one; "
            f"name it with --array{beside}"
        )
    return found[0]


def _check_there(arrays: ArrayFile, key: str, name: str) -> None:
    if key not in arrays:
        names = [found for found in arrays if found]
        few = ", ".join(names[:_NUM_NAMED]) + (", ..." if len(names) > _NUM_NAMED else "")
        raise ArchiveError(f"{name}: there is no array {key!r}; found {few or 'an array without a name alone'}")


def _examples(arrays: ArrayFile, key: str, channels_axis: int | None, name: str) -> ArrayLike:
    """The array of examples, if a machine can hold them."""
    _check_there(arrays, key, name)
    shape = arrays.shape(key)
    is_axis = channels_axis is not None and -len(shape) <= channels_axis < len(shape)
    num_channels = shape[channels_axis] if is_axis and channels_axis is not None else 1
    check_examples(f"{name}/{key}" if key else name, shape, 1, arrays.num_bytes, num_channels)  # before it is read
    values = arrays[key]
    item_bytes = getattr(values.dtype, "itemsize", 1)
    check_examples(f"{name}/{key}" if key else name, shape, item_bytes, arrays.num_bytes, num_channels)
    return values


def _read(arrays: ArrayFile, key: str, name: str) -> np.ndarray:
    """A small array of one value per example."""
    _check_there(arrays, key, name)
    return read_beside(arrays, key, f"{name}: array {key!r}")


def _names(typed: str | None) -> tuple[str, ...]:
    return () if typed is None else tuple(part.strip() for part in typed.split(","))


def _parse_axis(typed: str | int) -> int | None:
    if typed in _AXES:
        return _AXES[str(typed)]
    try:
        return int(typed)
    except ValueError:
        raise ConfigError(f"channels_axis must be last, first, none or a number, got {typed!r}") from None


def _parse_range(typed: str | None) -> tuple[float, float] | None:
    if typed is None:
        return None
    try:
        low, high = (float(part) for part in typed.split(","))
    except ValueError:
        raise ConfigError(f"value_range must be LOW,HIGH, got {typed!r}") from None
    return low, high


class ArraysConverter:
    """Converts an array in a file; see `functa_store.plugins.Converter`."""

    summary = "an array of examples in an .npy, .npz, HDF5 or Zarr file, of 1 to 3 spatial axes"
    presets = ARRAYS_PRESETS

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options that only this kind of archive has."""
        parser.add_argument("--array", metavar="NAME", help="which array (default: the only one of 2 axes or more)")
        parser.add_argument("--channels-axis", metavar="A", help="last (default), first, none, or its number")
        parser.add_argument("--axes", metavar="NAMES", help="of the spatial axes, such as z,y,x")
        parser.add_argument("--channels", metavar="NAMES", help="of the channels, such as u,v")
        parser.add_argument("--units", metavar="UNITS", help="of the channels, such as K,m")
        parser.add_argument("--value-range", metavar="LOW,HIGH", help="values that become 0 and 1 (default: found)")
        parser.add_argument(
            "--missing", action="store_true", default=None, help="NaN is a missing value (default: a reject)"
        )
        parser.add_argument("--labels", metavar="NAMES", help="arrays with a number or text per example")
        parser.add_argument("--ids", metavar="NAME", help="array with a unique id per example")
        parser.add_argument("--split-from", metavar="NAME", help="array with train, validation or test per example")

    def open(self, archive: str, options: Mapping[str, Any], report: Report) -> ArraySource:
        """The source that the options describe; see `open_array_archive`."""
        return open_array_archive(archive, report=report, **{k: v for k, v in options.items() if v is not None})


converter = ArraysConverter()

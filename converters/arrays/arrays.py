"""Converter of an array of examples in a NumPy, Zarr or HDF5 file.

Expected result: one example per index of the first axis, on a grid of one to three axes, values in [0, 1] in the base
network and in the array's own unit when decoded. Labels, ids and the split are arrays of the same file; without a
split, every tenth example is held out.
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from converters.archives.archive_files import ArchiveFiles, FilesStamps
from converters.archives.file_patterns import find_files
from converters.archives.known_archives import names_the_right_converter
from converters.archives.plain_files import Stamps
from converters.arrays.array_files import (
    ARRAY_SUFFIXES,
    ArrayFile,
    attributes_of,
    examples_of,
    open_array_files,
    values_beside,
)
from converters.arrays.bounds import in_bounded_memory
from functa_store.config import ConvertConfig
from functa_store.errors import ArchiveError, ConfigError
from functa_store.plugins import Converter, Preset
from functa_store.progress import Note, Report, silent
from functa_store.sources.array_blocks import ArrayExamples, ArrayLike
from functa_store.sources.array_source import ArraySource, as_text
from functa_store.sources.cf_values import (
    OFFSET,
    SCALE,
    CfChoices,
    CfDecoder,
    masking_notes,
)
from functa_store.sources.options import ArchiveOptions, SurveyOptions, option, split_options
from functa_store.sources.recipe import AnyArchive

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
        decoder: Has made them of the stored numbers; what it tells is reported.
        stamps: Of the file, taken before it was opened.
        name: The file's.
        report: As for `ArraySource`.
        **options: As for `ArraySource`.

    Attributes:
        masked: Which values are taken as missing, in words; None if none is.
    """

    def __init__(
        self,
        values: ArrayLike | ArrayExamples,
        *,
        decoder: CfDecoder,
        stamps: Stamps,
        name: str,
        report: Report,
        **options: Any,
    ) -> None:
        self._stamps = stamps
        if decoder.formula is not None:
            report(Note(message=f"{name}: {decoder.formula}"))
        try:
            super().__init__(values, name=name, report=report, **options)
        finally:  # what was masked explains rejects
            masked = masking_notes([decoder])
            for note in masked:
                report(Note(message=f"{name}: {note}"))
        self.masked = "; ".join(masked) or None

    def check_unchanged(self) -> None:
        """Compare the file, or all files of the folder, with what they were; see `FileSource.check_unchanged`."""
        self._stamps.check()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArrayOptions(ArchiveOptions):
    """Which array of a file holds the examples, and what its axes and values mean.

    Attributes:
        array: Name of the array; None takes the only one with two axes or more.
        channels_axis: "last", "first" (after the examples'), "none", or its number among all axes.
        axes: Names of the other axes, such as "t,y,x".
        channels: Names of the channels, such as "u,v".
        units: Unit of each channel, such as "m s-1,m s-1"; None takes the attribute of an HDF5 or Zarr array.
        value_range: "LOW,HIGH", the values that become 0 and 1; None takes those that are found.
        missing: NaN means a missing value; else an example with one is a reject.
        labels: Names of arrays with one number or text per example, such as "kind,age".
        ids: Name of an array of unique ids.
        split_from: Name of an array of "train", "validation" or "test".
        missing_value: More stored numbers that mean missing, beside those that attributes declare.
        ignore: Attributes of HDF5 and Zarr arrays that are not believed: scale_factor, add_offset, _Unsigned,
            _FillValue, missing_value, valid_range (with valid_min and valid_max), default_fill (NetCDF's own fill
            values), or all.
    """

    array: str | None = None
    channels_axis: str | int = "last"
    axes: str | None = option(None, metavar="NAMES")
    channels: str | None = option(None, metavar="NAMES")
    units: str | None = option(None, metavar="UNITS")
    value_range: str | None = option(None, metavar="LOW,HIGH")
    missing: bool = False
    labels: str | None = option(None, metavar="NAMES")
    ids: str | None = None
    split_from: str | None = None
    missing_value: tuple[str, ...] = option((), metavar="NUMBER,...")
    ignore: tuple[str, ...] = option((), metavar="ATTRIBUTE,...")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.cf_choices()
        _parse_axis(self.channels_axis)
        _parse_range(self.value_range)

    def cf_choices(self) -> CfChoices:
        """What the user says of packing and missing values.

        Raises:
            ConfigError: If there is no such attribute, or something is no number.
        """
        return CfChoices(ignore=self.ignore, missing_value=self.missing_value)


def open_array_archive(path: AnyArchive, *, report: Report = silent, **options: Any) -> ArraySource:
    """A source over an array in a file.

    Args:
        path: An .npy, .npz, HDF5 or Zarr file (or folder), a folder of such, or a pattern or list of several.
        report: Told how far the reading is.
        **options: Fields of `ArrayOptions` and `SurveyOptions`, such as `array="fields"` and `limit=100`.

    Returns:
        The source, every example read once.

    Raises:
        ConfigError: If an option is out of range.
        ArchiveError: If there is no such array, or it cannot be learned.
    """
    return converter.open(path, *split_options(ArrayOptions, options), report)


@names_the_right_converter("arrays")
def _open(files: ArchiveFiles, options: ArrayOptions, survey: SurveyOptions, report: Report) -> ArraySource:
    name, axis = files.name, _parse_axis(options.channels_axis)
    with in_bounded_memory(name):
        stamps, arrays = FilesStamps(files), open_array_files(files)
        array = _only_array(arrays, name) if options.array is None else options.array
        _check_there(arrays, array, name)
        shape = arrays.shape(array)
        num_channels = shape[axis] if axis is not None and -len(shape) <= axis < len(shape) else 1
        values, decoder = examples_of(arrays, array, name, array or name, options.cf_choices(), num_channels)
        source = FileArraySource(
            values,
            decoder=decoder,
            stamps=stamps,
            channels_axis=axis,
            axes=_names(options.axes),
            channels=_names(options.channels),
            units=_names(options.units) or _units(arrays, array, num_channels, options.cf_choices()),
            value_range=_parse_range(options.value_range),
            missing=options.missing,
            ids=None if options.ids is None else as_text(_read(arrays, options.ids, name, options)).tolist(),
            split=None if options.split_from is None else _read(arrays, options.split_from, name, options),
            labels={label: _read(arrays, label, name, options) for label in _names(options.labels)},
            name=name,
            limit=survey.limit,
            max_rejects=survey.max_rejects,
            check_first=survey.check_first,
            report=report,
        )
    kept = options.to_plain() | {"array": array or None, "channels_axis": str(options.channels_axis)}
    kept |= {"masked": source.masked, **files.described(read=survey.check_first is None)}
    named = {} if options.split_from is None else {"split": f"published in array {options.split_from}"}
    by = {"labels_by": {label: f"array {label}" for label in source.labels}}
    source.provenance = {**source.provenance, **named, "converter": "arrays", **kept, **by}
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


def _units(arrays: ArrayFile, key: str, num_channels: int, choices: CfChoices) -> tuple[str, ...]:
    """The unit that an array's attribute tells, for each channel; none if the stored numbers are in another."""
    if choices.ignores(SCALE) or choices.ignores(OFFSET):
        return ()
    found = np.atleast_1d(np.asarray(attributes_of(arrays, key, ("units",), choices).get("units", "")))
    units = as_text(found.ravel()).tolist() if found.dtype.kind in "SUOT" else []
    units = [" ".join(unit.replace("\0", " ").split()) for unit in units]
    if len(units) not in (1, num_channels) or not all(unit.isprintable() and unit for unit in units):
        return ()
    return tuple(units * num_channels if len(units) == 1 else units)


def _read(arrays: ArrayFile, key: str, name: str, options: ArrayOptions) -> np.ndarray:
    """A small array of one value per example."""
    _check_there(arrays, key, name)
    return values_beside(arrays, key, f"{name}: array {key!r}", options.cf_choices())


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


converter = Converter(
    summary="an array of examples in an .npy, .npz, HDF5 or Zarr file, of 1 to 3 spatial axes",
    options=ArrayOptions,
    presets=ARRAYS_PRESETS,
    open=_open,
    files=functools.partial(find_files, of=ARRAY_SUFFIXES, folders="mixed"),
)

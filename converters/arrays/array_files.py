"""Arrays of .npy, .npz, HDF5 and Zarr files by their names, none of them read whole.

A file is what it begins with, not what it is called. Whatever it asks for is checked before a library reads it: see
`npy_files`, `hdf5_files` and `zarr_files`.
"""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from converters.archives.archive_files import ArchiveFiles
from converters.arrays.bounds import check_beside, check_code_points, check_examples
from converters.arrays.hdf5_files import MAGIC as HDF5_MAGIC
from converters.arrays.hdf5_files import Hdf5Array, Hdf5Arrays, check_user_block
from converters.arrays.joined_arrays import JoinedArrays
from converters.arrays.npy_files import MAGIC as NPY_MAGIC
from converters.arrays.npy_files import Npy, Npz, ZipMembers
from converters.arrays.zarr_files import (
    ZarrArrays,
    ZippedFiles,
    check_zarr_store,
    open_zarr_store,
)
from functa_store.errors import ArchiveError, MemberError
from functa_store.sources.array_blocks import ArrayLike
from functa_store.sources.array_source import storable
from functa_store.sources.cf_values import ALL, ATTRIBUTES, CfChoices, CfDecoder, DecodedArray, check_decoders

EXPECTED = "an .npy, .npz or HDF5 (.h5, .hdf5) file, or a Zarr array or group (.zarr, .zarr.zip)"
ARRAY_SUFFIXES = (".npy", ".npz", ".h5", ".hdf5", ".zarr", ".zarr.zip")
"""Endings of files in a folder of such, which is one archive."""

MAX_TEXT_ARRAY_BYTES = 1 << 28
"""Bytes of an array of texts in memory."""

_ZIP_MAGIC = b"PK\3\4"


@runtime_checkable
class ArrayFile(Protocol):
    """The arrays of a file by their names; a mapping.

    Attributes:
        num_bytes: Bytes of the file, or of all files of the folder.
    """

    num_bytes: int

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of an array, which is not read for that."""
        ...

    def __getitem__(self, name: str, /) -> Any: ...

    def __contains__(self, name: object, /) -> bool: ...

    def __iter__(self) -> Any: ...

    def __len__(self) -> int: ...


def open_arrays(path: str | os.PathLike[str]) -> ArrayFile:
    """Every array of a file by its name, none of them read, but for those of an .npz when they are looked up.

    The array of an .npy, or of a Zarr store that is one array, is called "".

    Raises:
        ArchiveError: If it cannot be read, is of no kind that is known, or would run code, read other files or take
            any amount of memory.
        MissingLibraryError: If h5py is not installed and is needed.
    """
    path = os.path.abspath(path)
    if not os.path.exists(path):
        raise ArchiveError(f"{path}: no such file or folder")
    if not os.path.isfile(path) and not os.path.isdir(path):
        raise ArchiveError(f"{path}: found a pipe or device, expected {EXPECTED}; save it as a file")
    try:
        return _open(path)
    except ArchiveError:
        raise
    except (OSError, ValueError) as error:
        raise ArchiveError(f"{path}: cannot be read: {error}; expected {EXPECTED}") from error


def open_array_files(files: ArchiveFiles) -> ArrayFile:
    """Every array of one file by its name; of several, those of all of them, joined along the first axis.

    Raises:
        ArchiveError: As for `open_arrays`, of the first file that cannot be opened.
        MissingLibraryError: If h5py is not installed and is needed.
    """
    if len(files) == 1:
        return open_arrays(files.paths[0])
    return JoinedArrays(files.paths, files.names, open_arrays)


def _open(path: str) -> ArrayFile:
    if os.path.isdir(path):
        return ZarrArrays(open_zarr_store(path))
    with open(path, "rb") as file:
        head = file.read(8)
    if head.startswith(NPY_MAGIC):
        return Npy(path)
    if head.startswith(_ZIP_MAGIC):
        members = ZipMembers(path)
        is_npz = any(name.endswith(".npy") for name in [*members.names, *members.problems])
        return Npz(members) if is_npz else ZarrArrays(check_zarr_store(ZippedFiles(members)))
    if head == HDF5_MAGIC:
        return Hdf5Arrays(path)
    check_user_block(path)
    raise ArchiveError(f"{path}: starts with {head!r}, expected {EXPECTED}")


def decoder_of(arrays: ArrayFile, key: str, name: str, dtype: Any, choices: CfChoices, *, is_field: bool) -> CfDecoder:
    """What makes values of the stored numbers of an array, by the attributes that HDF5 and Zarr keep beside it.

    Args:
        arrays: The file.
        key: Name of the array, which is there.
        name: What notes and errors call it.
        dtype: Of its numbers.
        choices: What the user says of attributes.
        is_field: Whether it holds the examples, and not a number of each.

    Raises:
        ArchiveError: If attributes cannot be read.
    """
    attributes = attributes_of(arrays, key, ATTRIBUTES, choices)
    if isinstance(arrays, JoinedArrays):
        arrays = arrays.file(0)
    if isinstance(arrays, Npy | Npz):
        choices = dataclasses.replace(choices, ignore=(ALL,))  # there are none, and nothing is of NetCDF
    fill = None
    if isinstance(arrays, ZarrArrays) and ALL not in choices.ignore:
        metadata = arrays[key].metadata
        if metadata.zarr_format == 2 and "_ARRAY_DIMENSIONS" in arrays[key].attrs:  # xarray keeps _FillValue there
            fill = metadata.fill_value
    return CfDecoder(
        name,
        np.dtype(dtype),
        attributes,
        choices,
        is_field=is_field,
        is_netcdf=isinstance(arrays, Hdf5Arrays) and arrays.is_netcdf(key),
        zarr_fill=fill,
    )


def examples_of(
    arrays: ArrayFile, key: str, file: str, name: str, choices: CfChoices, num_channels: int = 1
) -> tuple[ArrayLike, CfDecoder]:
    """An array of examples, if a machine can hold them, its stored numbers as the values that they mean.

    Args:
        arrays: The file.
        key: Name of the array, which is there.
        file: What errors call the file.
        name: What notes call the array.
        choices: What the user says of attributes.
        num_channels: Numbers at each point.

    Raises:
        ArchiveError: If it promises more than the file can hold, examples are too large, or its attributes make no
            sense.
    """
    where = f"{file}/{key}" if key else file
    if isinstance(arrays, JoinedArrays):
        for one, shape, size in zip(arrays.names, arrays.shapes(key), arrays.sizes, strict=True):
            check_examples(one, shape, 1, size, num_channels)
    check_examples(where, arrays.shape(key), 1, arrays.num_bytes, num_channels)  # before it is read
    values = arrays[key]
    decoder = decoder_of(arrays, key, name, values.dtype, choices, is_field=True)
    check_decoders(file, [decoder])
    item_bytes = max(getattr(values.dtype, "itemsize", 1), decoder.dtype.itemsize)
    check_examples(where, values.shape, item_bytes, arrays.num_bytes, num_channels)
    return (values if decoder.is_plain else DecodedArray(values, decoder)), decoder


def values_beside(arrays: ArrayFile, key: str, where: str, choices: CfChoices) -> np.ndarray:
    """An array of one number or text per example, read whole, its stored numbers as the values that they mean.

    Raises:
        ArchiveError: As for `read_beside`, or if its attributes make no sense.
    """
    if isinstance(arrays, JoinedArrays):
        return _joined_beside(arrays, key, choices)
    stored = read_beside(arrays, key, where)
    decoder = decoder_of(arrays, key, key, stored.dtype, choices, is_field=False)
    check_decoders(where, [decoder])
    values = decoder(stored)
    return stored if np.array_equal(values, stored) else values  # integers stay integers


def _joined_beside(arrays: JoinedArrays, key: str, choices: CfChoices) -> np.ndarray:
    """The values of all files, one after the other."""
    arrays.check_counts(key)
    parts: list[np.ndarray] = []
    for number, name in enumerate(arrays.names):
        parts.append(values_beside(arrays.file(number), key, f"{name}: array {key!r}", choices))
        if (parts[-1].dtype.kind == "U") != (parts[0].dtype.kind == "U"):
            raise ArchiveError(
                f"{name}: array {key!r} holds {parts[-1].dtype}, expected {parts[0].dtype} as in {arrays.names[0]}: "
                "texts are classes, which numbers are not"
            )
    return np.concatenate(parts)


def attributes_of(arrays: ArrayFile, key: str, wanted: Sequence[str], choices: CfChoices) -> dict[str, Any]:
    """Some attributes of an array; none of NumPy's formats, or if the user wants them unread.

    Raises:
        ArchiveError: If they cannot be read.
    """
    if ALL in choices.ignore:
        return {}
    if isinstance(arrays, JoinedArrays):
        arrays.check_attributes(key, lambda one: _in_words(attributes_of(one, key, wanted, choices)))
        return attributes_of(arrays.file(0), key, wanted, choices)
    if isinstance(arrays, Hdf5Arrays):
        return arrays.attributes(key, wanted)
    if isinstance(arrays, ZarrArrays):
        found = arrays[key].attrs.asdict()
        return {name: found[name] for name in wanted if name in found}
    return {}


def _in_words(attributes: dict[str, Any]) -> dict[str, str]:
    """Attributes as texts, which are equal where values are not numbers, too."""
    return {name: str(np.asarray(value).tolist()) for name, value in sorted(attributes.items())}


def read_beside(arrays: ArrayFile, key: str, where: str) -> np.ndarray:
    """An array of one number or text per example, read whole.

    Args:
        arrays: The file.
        key: Name of the array, which is there.
        where: File and name, for errors.

    Returns:
        Booleans, integers, floats of at most 8 bytes, or text.

    Raises:
        ArchiveError: If it is too large, cannot be read or holds neither numbers nor text.
    """
    try:
        shape = arrays.shape(key)
        if len(shape) != 1:
            raise ArchiveError(f"{where}: found shape {shape}, expected one value per example")
        array = arrays[key]
        if isinstance(arrays, Hdf5Arrays) and array.has_texts:
            return _texts([text.decode(errors="replace") for text in arrays.read_texts(key)], where)
        if isinstance(array, Hdf5Array) and array.dtype.hasobject:
            raise ArchiveError(f"{where}: holds lists or references, expected a number or text for each example")
        check_beside(where, shape, getattr(array.dtype, "itemsize", 8))
        return plain_values(np.asarray(array[...]), where)
    except MemberError as error:
        raise ArchiveError(f"{where}: cannot be read: {error}") from error
    except ArchiveError:
        raise
    except Exception as error:  # whatever the libraries of four formats stumble over
        raise ArchiveError(f"{where}: cannot be read: {type(error).__name__}: {error}") from error


def plain_values(values: np.ndarray, where: str) -> np.ndarray:
    """Numbers that can be stored, or text, of what was read.

    Raises:
        ArchiveError: If they are neither.
    """
    if values.dtype.kind == "U":
        check_code_points(where, values)
    if values.dtype.kind in "biufU":
        return storable(values)
    if values.dtype.kind in "ST" or (
        values.dtype.kind == "O" and all(isinstance(value, str | bytes) for value in values.ravel())
    ):
        return _texts([v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in values.tolist()], where)
    raise ArchiveError(f"{where}: holds {ascii(str(values.dtype))[:200]}, expected a number or text for each example")


def _texts(texts: list[str], where: str) -> np.ndarray:
    """An array of texts, in which all take as much memory as the longest."""
    longest = max(map(len, texts), default=0)
    if 4 * longest * len(texts) > MAX_TEXT_ARRAY_BYTES:
        raise ArchiveError(f"{where}: one of its {len(texts)} texts has {longest} characters, expected short names")
    return np.array(texts, np.str_)

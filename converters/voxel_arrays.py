"""Which arrays of a file of occupancies are what, and how is one example of them read?"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from converters import array_files
from converters.array_bounds import MAX_EXAMPLE_BYTES, check_examples
from converters.array_files import ArrayFile, read_beside
from converters.binvox import MAX_CELLS
from converters.npy_files import MAX_HEADER_BYTES, Npz
from functa_store.errors import ArchiveError, FunctaStoreError, MemberError
from functa_store.sources import Reject

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
    """

    shape: tuple[int, ...]
    read: Callable[[int], np.ndarray]
    beside: Mapping[str, np.ndarray]
    rejects: Sequence[Reject] = ()

    @property
    def grid(self) -> tuple[int, ...]:
        """Shape of an example, without an axis of channels."""
        return grid_of(self.shape)


def grid_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of an example, without an axis of channels."""
    return shape[1:-1] if len(shape) == 5 and shape[-1] == 1 else shape[1:]


def open_arrays(path: str, chosen: Mapping[str, str]) -> Arrays:
    """The arrays of a file; occupancies are read as they are asked for, but for those of an .npz in one array.

    Args:
        path: .npy (memory-mapped), .npz, HDF5 or Zarr.
        chosen: Names of arrays by the keys of `NAMES`; those that are not chosen go by the names there.

    Raises:
        ArchiveError: If the file, or an array that was chosen, is not there or cannot be read, or shapes are none of
            occupancies and what is said of them.
        MissingLibraryError: If HDF5 needs h5py, and it is not installed.
    """
    try:
        group = array_files.open_arrays(path)
        if isinstance(group, Npz) and not _holds_one_array(group, chosen):
            arrays = _one_per_shape(group, path)
        else:
            arrays = _of_group(group, path, chosen)
    except FunctaStoreError:
        raise
    except Exception as error:  # whatever the libraries of four formats stumble over
        raise ArchiveError(f"{path}: cannot be read: {type(error).__name__}: {error}") from error
    _check_shapes(arrays, path)
    return arrays


def _holds_one_array(group: ArrayFile, chosen: Mapping[str, str]) -> bool:
    """Whether all occupancies are in one array, and not each in its own."""
    return "array" in chosen or len(group) < 2 or any(name in group for name in NAMES["array"])


def _of_group(group: ArrayFile, path: str, chosen: Mapping[str, str]) -> Arrays:
    """What arrays by name mean; those of occupancies need only `shape` and indexing by a number."""
    name = _name(group, path, "array", chosen)
    where, shape = f"{path}/{name}" if name else path, tuple(group.shape(name))
    _check_shape(shape, path)
    check_examples(where, shape, 1, group.num_bytes)  # before it is read
    array = group[name]
    if (dtype := np.dtype(array.dtype)).kind not in "biuf":
        raise ArchiveError(f"{where}: holds {dtype}, expected booleans, integers or floats")
    check_examples(where, shape, dtype.itemsize, group.num_bytes)
    beside = {
        key: read_beside(group, found, f"{os.path.basename(path)}: {key}")
        for key in ("labels", "split", "ids")
        if key in chosen or any(name in group for name in NAMES[key])
        for found in [_name(group, path, key, chosen)]
    }
    return Arrays(shape, lambda k: np.asarray(array[k]), beside)


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
    name, grid = os.path.basename(os.path.abspath(path)), grid_of(shape)
    if len(grid) != 3 or 0 in shape:
        raise ArchiveError(f"{name}: occupancies have shape {shape}, expected (examples, z, y, x), none of them 0")
    if math.prod(grid) > MAX_CELLS:
        raise ArchiveError(f"{name}: examples have shape {grid}, expected at most {MAX_CELLS} cells each")


def names_of(values: np.ndarray) -> list[str]:
    """Text of each value, whether it is stored as text or as bytes."""
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values.tolist()]


def splits_of(names: Sequence[str]) -> np.ndarray:
    """Splits by their usual names: "val" and "valid" are "validation"."""
    usual = {"val": "validation", "valid": "validation"}
    return np.array([usual.get(name.lower(), name.lower()) for name in names])

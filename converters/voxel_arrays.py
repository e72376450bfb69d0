"""Which arrays does a file of occupancies hold, and how is one example of them read?"""

import io
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from converters.archives import open_archive
from functa_store.errors import ArchiveError, MemberError, MissingLibraryError

NAMES = {
    "array": ("occupancy", "occupancies", "voxels", "values"),
    "labels": ("labels", "label", "class"),
    "split": ("split",),
    "ids": ("ids", "id"),
}
"""What arrays are called if the user does not say, first the likeliest."""

HDF5, ZARR = (".h5", ".hdf5", ".hdf"), (".zarr",)


class Arrays(NamedTuple):
    """What a file holds.

    Attributes:
        shape: Of all examples together: (examples, *grid), or (examples, *grid, 1).
        dtype: Of their values.
        read: One example. Safe to call from threads.
        beside: Arrays of one value per example, by the keys of `NAMES`, but for "array".
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[int], np.ndarray]
    beside: Mapping[str, np.ndarray]


def open_arrays(path: str, chosen: Mapping[str, str]) -> Arrays:
    """The arrays of a file; occupancies are read as they are asked for, but for those of an .npz in one array.

    Args:
        path: .npy (memory-mapped), .npz, HDF5 or Zarr.
        chosen: Names of arrays by the keys of `NAMES`; those that are not chosen go by the names there.

    Raises:
        ArchiveError: If the file, or an array that was chosen, is not there or cannot be read.
        MissingLibraryError: If HDF5 needs h5py, and it is not installed.
    """
    suffix = os.path.splitext(path.rstrip("/"))[1].lower()
    if not os.path.exists(path):
        raise ArchiveError(f"{path}: no such file or folder")
    try:
        if suffix == ".npy":
            return _of_group({"array": _mapped(path)}, path, {"array": "array"})
        if suffix == ".npz":
            return _npz(path, chosen)
        if suffix in HDF5:
            return _of_group(_hdf5(path), path, chosen)
        if suffix in ZARR:
            return _of_group(_zarr(path), path, chosen)
    except (OSError, ValueError, EOFError, KeyError) as error:
        if isinstance(error, ArchiveError | MissingLibraryError):
            raise
        raise ArchiveError(f"{path}: cannot be read: {type(error).__name__}: {error}") from error
    raise ArchiveError(f"{path}: found suffix {suffix!r}, expected .npy, .npz, .zarr, or one of {', '.join(HDF5)}")


def _of_group(group: Mapping[str, Any], path: str, chosen: Mapping[str, str]) -> Arrays:
    """What arrays by name mean; those of occupancies need only `shape`, `dtype` and indexing by a number."""
    array = group[_name(group, path, "array", chosen)]
    beside = {}
    for key in ("labels", "split", "ids"):
        if key in chosen or any(name in group for name in NAMES[key]):
            beside[key] = np.asarray(group[_name(group, path, key, chosen)][...])
    return Arrays(tuple(array.shape), np.dtype(array.dtype), lambda k: np.asarray(array[k]), beside)


def _name(group: Mapping[str, Any], path: str, key: str, chosen: Mapping[str, str]) -> str:
    wanted = (chosen[key],) if key in chosen else NAMES[key]
    found = [name for name in wanted if name in group]
    if not found and key == "array" and key not in chosen and len(names := list(group)) == 1:
        found = names
    if not found:
        names = ", ".join(list(group)[:10]) or "none"
        raise ArchiveError(f"{path}: found arrays {names}, expected {' or '.join(wanted)}; name it by --{key}")
    return found[0]


def _mapped(path: str) -> np.ndarray:
    if os.path.getsize(path) == 0:
        raise ArchiveError(f"{path}: the file is empty")
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _npz(path: str, chosen: Mapping[str, str]) -> Arrays:
    """One array of all examples, which is read whole, or an array per example, each read when it is asked for."""
    archive = open_archive(path)
    names = {m.removesuffix(".npy"): m for m in archive.members if m.endswith(".npy")}
    if "array" in chosen or any(name in names for name in NAMES["array"]) or len(names) == 1:
        with np.load(path, allow_pickle=False) as arrays:
            wanted = {
                n: arrays[n] for n in names if n in chosen.values() or any(n in known for known in NAMES.values())
            }
            return _of_group(wanted or {n: arrays[n] for n in names}, path, chosen)
    if not names:
        raise ArchiveError(f"{path}: holds no arrays")
    ids = list(names)
    first = _loaded(archive.read(names[ids[0]]))

    def read(k: int) -> np.ndarray:
        return _loaded(archive.read(names[ids[k]]))

    return Arrays((len(ids), *first.shape), first.dtype, read, {"ids": np.array(ids)})


def _loaded(content: bytes) -> np.ndarray:
    try:
        return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise MemberError(f"is no array that can be read: {error}") from error


class _Hdf5(Mapping[str, Any]):
    """The datasets of an HDF5 file by their paths; the file stays open as long as one of them is used."""

    def __init__(self, file: Any, dataset: type) -> None:
        self._file, self._names = file, []
        file.visititems(lambda name, item: self._names.append(name) if isinstance(item, dataset) else None)

    def __getitem__(self, name: str) -> Any:
        found = self._file[name]
        return found.asstr() if found.dtype.kind == "O" else found

    def __iter__(self) -> Any:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _hdf5(path: str) -> Mapping[str, Any]:
    try:
        import h5py
    except ImportError as error:
        raise MissingLibraryError("HDF5 files need h5py, which is not installed: pip install h5py") from error
    return _Hdf5(h5py.File(path, "r"), h5py.Dataset)


def _zarr(path: str) -> Mapping[str, Any]:
    import zarr

    opened = zarr.open(path, mode="r")
    if isinstance(opened, zarr.Array):
        return {"array": opened}
    return dict(opened.arrays())


def names_of(values: np.ndarray) -> list[str]:
    """Text of each value, whether it is stored as text or as bytes."""
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values.tolist()]


def splits_of(names: Sequence[str]) -> np.ndarray:
    """Splits by their usual names: "val" and "valid" are "validation"."""
    usual = {"val": "validation", "valid": "validation"}
    return np.array([usual.get(name.lower(), name.lower()) for name in names], "U10")

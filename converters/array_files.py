"""Which arrays does a file hold, and how is one of them read without reading it whole?"""

import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from functa_store.errors import ArchiveError, MissingLibraryError

EXPECTED = "an .npy, .npz or HDF5 (.h5, .hdf5) file, or a Zarr array or group (.zarr, .zarr.zip)"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\3\4"
_NPY = b"\x93NUMPY"


def open_arrays(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """Every array of a file by its name, none of them read, but for those of an .npz when they are looked up.

    The array of an .npy, or of a Zarr store that is one array, is called "".

    Raises:
        ArchiveError: If it cannot be read, is of no kind that is known, or holds Python objects instead of numbers.
        MissingLibraryError: If h5py is not installed and is needed.
    """
    path = os.path.abspath(path)
    if not os.path.exists(path):
        raise ArchiveError(f"{path}: no such file or folder")
    if not os.path.isfile(path) and not os.path.isdir(path):
        raise ArchiveError(f"{path}: found a pipe or device, expected {EXPECTED}; save it as a file")
    try:
        return _reader(path)(path)
    except ArchiveError:
        raise
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise ArchiveError(f"{path}: cannot be read: {error}; expected {EXPECTED}") from error


def _reader(path: str) -> Callable[[str], Mapping[str, Any]]:
    if os.path.isdir(path):
        return _open_zarr
    with open(path, "rb") as file:
        head = file.read(8)
    if head.startswith(_NPY):
        return lambda path: {"": np.load(path, mmap_mode="r", allow_pickle=False)}
    if head.startswith(_ZIP):
        with zipfile.ZipFile(path) as archive:
            return Npz if any(name.endswith(".npy") for name in archive.namelist()) else _open_zarr
    if head == _HDF5:
        return _open_hdf5
    raise ArchiveError(f"{path}: starts with {head!r}, expected {EXPECTED}")


class Npz(Mapping[str, Any]):
    """The arrays of an .npz, each read whole when it is looked up; the last one is kept."""

    def __init__(self, path: str) -> None:
        self._path = path
        with zipfile.ZipFile(path) as archive:
            self._kept: tuple[str, np.ndarray] | None = None
            self._names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        kept = self._kept  # another thread may replace it
        if kept is not None and kept[0] == name:
            return kept[1]
        try:
            with np.load(self._path, allow_pickle=False) as arrays:
                values = arrays[name]
        except (ValueError, OSError, EOFError, MemoryError, OverflowError, zlib.error, zipfile.BadZipFile) as error:
            raise ArchiveError(f"{self._path}: array {name!r} cannot be read: {error}") from error
        self._kept = name, values
        return values

    def __iter__(self) -> Any:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _open_zarr(path: str) -> Mapping[str, Any]:
    import zarr
    from zarr.storage import ZipStore

    try:
        found = zarr.open(ZipStore(path, mode="r") if os.path.isfile(path) else path, mode="r")
    except FileNotFoundError as error:
        raise ArchiveError(f"{path}: there is no Zarr array or group; expected {EXPECTED}") from error
    if isinstance(found, zarr.Array):
        return {"": found}
    return {name: array for name, array in found.members(max_depth=None) if isinstance(array, zarr.Array)}


def _open_hdf5(path: str) -> Mapping[str, Any]:
    try:
        import h5py
    except ImportError as error:
        raise MissingLibraryError("h5py is not installed; run pip install 'functa-store[arrays]'") from error
    file, found = h5py.File(path, "r"), {}

    def keep(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item

    file.visititems(keep)
    return found

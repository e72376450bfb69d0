"""Which files make an archive of climate fields, and how are they opened as one dataset?"""

import glob
import hashlib
import os
import warnings
from collections.abc import Hashable, Sequence

import xarray as xr

from converters.climate_times import decode_times
from functa_store.errors import ArchiveError, MissingLibraryError

NETCDF_SUFFIXES = (".nc", ".nc4", ".nc3", ".cdf", ".netcdf", ".h5", ".hdf5")
ZARR_FILES = ("zarr.json", ".zgroup", ".zmetadata")
OTHERS = {
    b"CDF\5": "NetCDF of 64-bit data (CDF-5); rewrite it with `nccopy -k nc4`",
    b"GRIB": "GRIB; rewrite it as NetCDF, such as with cfgrib's `to_netcdf` command",
    b"PK\3\4": "a zip; unpack it and convert the folder",
    b"\x1f\x8b": "gzip; unpack it first",
}


class ClimateFiles:
    """The files of an archive.

    Args:
        path: A NetCDF file, a Zarr store, a folder of NetCDF files, or a pattern with * for several of either.

    Attributes:
        name: Last part of the path.
        members: Paths of the NetCDF files or Zarr stores, sorted.

    Raises:
        ArchiveError: If there is none.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        whole = os.path.abspath(path)
        self.name = os.path.basename(whole)
        if os.path.exists(whole):
            self.members = _members(whole)
        else:
            self.members = sorted(glob.glob(whole)) if glob.has_magic(whole) else []
        self._folder = os.path.dirname(os.path.commonpath([*self.members, whole]) if len(self.members) > 1 else whole)
        if not self.members:
            raise ArchiveError(
                f"{whole}: found no such file or no NetCDF in it, expected a NetCDF file, a Zarr store, a folder of "
                f"files ending in {', '.join(NETCDF_SUFFIXES)}, or a pattern"
            )

    def open(self) -> xr.Dataset:
        """All members as one dataset, of which no field has been read; several are put together along time.

        Raises:
            ArchiveError: If a member cannot be opened, or they do not agree.
            MissingLibraryError: If a library that reads them is not installed.
        """
        if len(self.members) == 1:
            return open_member(self.members[0])
        opened = [open_member(member, chunks="auto") for member in self.members]
        _check_units(self.members, opened)
        try:
            return xr.combine_by_coords(  # type: ignore[return-value]  # datasets, not arrays, were given
                opened, data_vars="all", coords="minimal", compat="override", join="exact", combine_attrs="override"
            )
        except (ValueError, TypeError, xr.MergeError) as error:  # TypeError: of times in different calendars
            raise ArchiveError(
                f"{self.name}: {len(self.members)} files cannot be put together along time, the first one "
                f"{os.path.basename(self.members[0])}; they must have the same grid and different times: {error}"
            ) from error

    def sha256(self) -> str:
        """Digest of the only file, or over the lines "name, NUL, sha256 of the content" of all, sorted by name."""
        if len(self.members) == 1 and os.path.isfile(self.members[0]):
            return _file_sha256(self.members[0])
        digest = hashlib.sha256()
        for path in sorted(file for member in self.members for file in _files(member)):
            name = os.path.relpath(path, self._folder).replace(os.sep, "/")
            digest.update(f"{name}\0{_file_sha256(path)}\n".encode())
        return digest.hexdigest()


def open_member(path: str, *, chunks: str | None = None) -> xr.Dataset:
    """One NetCDF file or Zarr store; packed values are decoded as they are read, times now.

    Args:
        path: Where it is.
        chunks: "auto" makes dask arrays, which can be put together unread; None only reads lazily, which is faster.

    Raises:
        ArchiveError: If it cannot be opened.
        MissingLibraryError: If the library that reads it is not installed.
    """
    engine = "zarr" if os.path.isdir(path) else _engine(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of attributes that make no sense, of metadata that are not consolidated
            dataset = decode_times(xr.open_dataset(path, engine=engine, decode_times=False, chunks=chunks))
            return dataset.assign_coords({k: along.load() for k, along in dataset.coords.items() if along.ndim < 2})
    except (ImportError, ModuleNotFoundError) as error:
        raise MissingLibraryError(f"{path}: {error}; run pip install 'functa-store[climate]'") from error
    except Exception as error:  # whatever a damaged file makes the library under xarray raise
        raise ArchiveError(
            f"{path}: cannot be opened with xarray's engine {engine!r}: {error}; fetch it again"
        ) from error


def _members(path: str) -> list[str]:
    if os.path.isfile(path) or _is_zarr(path):
        return [path]
    try:
        entries = list(os.scandir(path))
    except OSError as error:  # a pipe or a device, too
        raise ArchiveError(f"{path}: cannot be listed: {error.strerror}; expected a file or a folder") from error
    named = (entry.path for entry in entries if not entry.name.startswith("."))
    return sorted(path for path in named if path.lower().endswith(NETCDF_SUFFIXES) or _is_zarr(path))


def _check_units(members: Sequence[str], opened: Sequence[xr.Dataset]) -> None:
    """Refuse files that give one variable in different units; put together, they would all have the first one's.

    Raises:
        ArchiveError: If some do.
    """
    first: dict[Hashable, tuple[str, str]] = {}
    for member, dataset in zip(members, opened, strict=True):
        for name, array in dataset.data_vars.items():
            units = str(array.attrs.get("units", ""))
            known, where = first.setdefault(name, (units, member))
            if units != known:
                raise ArchiveError(
                    f"{member}: {name} is in {units!r}, but in {known!r} in {os.path.basename(where)}; expected one "
                    "unit in all files: rewrite one of them"
                )


def _is_zarr(path: str) -> bool:
    return os.path.isdir(path) and any(os.path.exists(os.path.join(path, name)) for name in ZARR_FILES)


def _engine(path: str) -> str:
    """What reads a file, by how it begins.

    Raises:
        ArchiveError: If nothing does.
    """
    if not os.path.isfile(path):
        raise ArchiveError(f"{path}: expected a file, found a pipe, a device, or a link to nothing")
    try:
        with open(path, "rb") as file:
            head = file.read(8)
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be read: {error.strerror}") from error
    if head == b"\x89HDF\r\n\x1a\n":
        return "h5netcdf"
    if head.startswith((b"CDF\1", b"CDF\2")):
        return "scipy"
    kind = next((kind for magic, kind in OTHERS.items() if head.startswith(magic)), f"it starts with {head!r}")
    raise ArchiveError(f"{path}: expected NetCDF or Zarr, found {kind}")


def _files(member: str) -> Sequence[str]:
    if os.path.isfile(member):
        return [member]
    return [os.path.join(folder, name) for folder, _, names in os.walk(member) for name in names]


def _file_sha256(path: str) -> str:
    """Digest of a file's content.

    Raises:
        ArchiveError: If it cannot be read.
    """
    if not os.path.isfile(path):  # a pipe would be waited for
        raise ArchiveError(f"{path}: is no file, but a pipe, a device, or a link to nothing; remove it")
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be read: {error.strerror}") from error

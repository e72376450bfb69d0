"""NetCDF files and Zarr stores of an archive, opened as one dataset."""

import dataclasses
import functools
import hashlib
import os
import stat
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import AbstractDataStore, BackendArray, H5NetCDFStore, ScipyDataStore, ZarrStore
from xarray.core import indexing
from xarray.core.utils import Frozen

from converters.archives.archive_files import ArchiveFiles, described
from converters.archives.plain_files import FileStamps, FolderStamps, sha256_of_named, walk_files
from converters.arrays.bounds import check_all_beside, check_code_points
from converters.arrays.hdf5_files import Hdf5Arrays, check_user_block
from converters.arrays.zarr_files import check_inside, open_zarr_store
from converters.climate.combine import combine
from converters.climate.fields import decode_times
from functa_store.errors import ArchiveError, MemberError, MissingLibraryError
from functa_store.sources.cf_values import ATTRIBUTES, CfChoices, CfDecoder, check_decoders

NETCDF_SUFFIXES = (".nc", ".nc4", ".nc3", ".cdf", ".netcdf", ".h5", ".hdf5")
NONE_NAMED: Mapping[str, str | None] = {}
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
        files: A NetCDF file, a Zarr store, a folder of NetCDF files, or several of either.

    Attributes:
        name: Last part of the path.
        members: Paths of the NetCDF files or Zarr stores, sorted.

    Raises:
        ArchiveError: If there is none.
    """

    def __init__(self, files: ArchiveFiles) -> None:
        self._files = files
        whole = os.path.abspath(files.typed[0]) if len(files.typed) == 1 else files.name
        self.name = os.path.basename(whole)
        self.members = self._list(files)
        typed = map(os.path.abspath, files.typed)
        self._folder = os.path.dirname(os.path.commonpath([*self.members, *typed]) if len(self.members) > 1 else whole)
        if not self.members:
            raise ArchiveError(
                f"{whole}: found no such file or no NetCDF in it, expected a NetCDF file, a Zarr store, a folder of "
                f"files ending in {', '.join(NETCDF_SUFFIXES)}, or a pattern"
            )

        self._stamps = [
            FolderStamps(member) if os.path.isdir(member) else FileStamps([member]) for member in self.members
        ]
        self.num_bytes = sum(num_bytes for member in self.members for _, num_bytes in _files(member))

    def check_unchanged(self) -> None:
        """Compare all files with what they were.

        Raises:
            ArchiveError: If one was changed, added or removed.
        """
        if (now := self._list(self._files.find())) != self.members:
            differ = sorted(set(now) ^ set(self.members))
            raise ArchiveError(
                f"{self.name}: {differ[0]!a} was {'added' if differ[0] in now else 'removed'} while it was being "
                "converted, so that the functaset would be of no archive that exists; convert again into an empty path"
            )
        for stamps in self._stamps:
            stamps.check()

    def _list(self, files: ArchiveFiles) -> list[str]:
        """Paths of the files or stores that there are now, sorted."""
        if len(files) == 1:
            path = os.path.abspath(files.paths[0])
            return _members(path) if os.path.lexists(path) else []
        found = sorted(files.paths)
        _check_links(os.path.commonpath([os.path.dirname(path) for path in found]), found)
        return found

    def open(
        self,
        choices: CfChoices | None = None,
        variables: Sequence[str] = (),
        named: Mapping[str, str | None] = NONE_NAMED,
    ) -> tuple[xr.Dataset, list[CfDecoder], list[str]]:
        """All members as one dataset, of which no field has been read; several are put together along time.

        Args:
            choices: What the user says of packing and missing values.
            variables: Those that are wanted; none takes the only field.
            named: What the user calls latitude and longitude.

        Returns:
            The dataset, what makes values of its stored numbers, and what was taken in another way than it stands.

        Raises:
            ArchiveError: If a member cannot be opened, or they do not agree.
            MissingLibraryError: If a library that reads them is not installed.
        """
        several = len(self.members) > 1
        choices = choices or CfChoices()
        opened = [open_member(member, choices, chunks="auto" if several else None) for member in self.members]
        decoders = [decoder for member in opened for decoder in member.decoders]
        notes = list(dict.fromkeys(note for member in opened for note in member.notes))
        if not several:
            return opened[0].dataset, decoders, notes
        datasets = [member.dataset for member in opened]
        together, more = combine(self.name, self.members, datasets, variables, named)
        return together, decoders, [*notes, *more]

    def sha256(self) -> str:
        """Digest of the only file, or over the lines "name, NUL, sha256 of the content" of all, sorted by name."""
        if len(self.members) == 1 and os.path.isfile(self.members[0]):
            return _file_sha256(self.members[0])
        paths = sorted(self._digests)
        names = (os.path.relpath(path, self._folder).replace(os.sep, "/") for path in paths)
        return sha256_of_named((name, self._digests[path]) for name, path in zip(names, paths, strict=True))

    def described(self, *, read: bool) -> dict[str, Any]:
        """What provenance keeps of the files; `read` says whether they are read for their digests."""
        above = os.path.commonpath([os.path.dirname(member) for member in self.members])
        names = [os.path.relpath(member, above).replace(os.sep, "/") for member in self.members]
        texts = [os.fsencode(name).decode("utf-8", "backslashreplace") for name in names]
        return described(texts, dict(zip(texts, map(self._digest, self.members), strict=True)) if read else None)

    def _digest(self, member: str) -> str:
        if (digest := self._digests.get(member)) is not None:
            return digest
        inside = sorted((path, os.path.relpath(path, member).replace(os.sep, "/")) for path, _ in _files(member))
        return sha256_of_named((name, self._digests[path]) for path, name in inside)

    @functools.cached_property
    def _digests(self) -> dict[str, str]:
        """SHA-256 of every file by its path."""
        return {path: _file_sha256(path) for member in self.members for path, _ in _files(member)}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Opened:
    """One member.

    Attributes:
        dataset: Its variables, decoded as they are read; coordinates along one dimension are in memory.
        decoders: Of its variables.
        notes: Which times were left numbers, in words.
    """

    dataset: xr.Dataset
    decoders: Sequence[CfDecoder]
    notes: Sequence[str]


def open_member(path: str, choices: CfChoices, *, chunks: str | None = None) -> Opened:
    """One NetCDF file or Zarr store; packed values are decoded as they are read, times now.

    Args:
        path: Where it is.
        choices: What the user says of packing and missing values.
        chunks: "auto" makes dask arrays, which can be put together unread; None only reads lazily, which is faster.

    Raises:
        ArchiveError: If it cannot be opened.
        MissingLibraryError: If the library that reads it is not installed.
    """
    engine = "zarr" if os.path.isdir(path) else _engine(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of attributes that make no sense, of metadata that are not consolidated
            store = DecodedStore(_checked(path, engine), os.path.basename(path), choices)
            dataset = xr.open_dataset(store, decode_times=False, mask_and_scale=False, chunks=chunks)
            dataset, notes = decode_times(dataset)
            loaded = {name: along.load() for name, along in dataset.coords.items() if along.ndim < 2}
            for name, along in loaded.items():
                if along.dtype.kind == "U":
                    check_code_points(f"{path}/{name}", along.values)
            return Opened(dataset=dataset.assign_coords(loaded), decoders=list(store.decoders.values()), notes=notes)
    except (ArchiveError, MissingLibraryError):
        raise
    except ImportError as error:
        raise MissingLibraryError(f"{path}: {error}; run pip install 'functa-store[climate]'") from error
    except Exception as error:  # whatever a damaged file makes the library under xarray raise
        raise ArchiveError(
            f"{path}: cannot be opened with xarray's engine {engine!r}: {type(error).__name__}: {error}; fetch it again"
        ) from error


def _checked(path: str, engine: str) -> AbstractDataStore:
    """What xarray is to open, once it is known to do no harm.

    Raises:
        ArchiveError: If it would run code, read other files or take any amount of memory. Names the array.
    """
    if engine == "zarr":
        store = open_zarr_store(path)
        arrays = store.metadata.arrays
        check_all_beside(path, ((name, array.shape, array.codecs.item_bytes) for name, array in arrays.items()))
        return ZarrStore.open_group(store, consolidated=None, use_zarr_fill_value_as_mask=False)  # type: ignore[arg-type]
    if engine == "scipy":
        _check_netcdf3(path)
        return ScipyDataStore(path)
    checked = Hdf5Arrays(path, attributes=True)
    check_all_beside(path, ((name, array.shape, array.item_bytes) for name, array in checked.items()))
    for name, array in checked.items():
        if len(array.shape) < 2:
            try:
                array.measure()
            except MemberError as error:
                raise ArchiveError(f"{path}/{name}: {error}; fetch it again") from error
    return CheckedNetcdf.open_checked(path, checked)


def _check_netcdf3(path: str) -> None:
    """Refuse a NetCDF-3 file whose coordinates take more memory than they may; several can lie in the same bytes.

    Raises:
        ArchiveError: If it is.
    """
    from scipy.io import netcdf_file

    with netcdf_file(path, "r", mmap=True) as file:
        found = [(name, tuple(v.data.shape), v.data.dtype.itemsize) for name, v in file.variables.items()]
    check_all_beside(path, found)


class CheckedNetcdf(H5NetCDFStore):
    """A NetCDF-4 file as xarray reads it, the chunks of each variable measured before they are unpacked."""

    __slots__ = ("_arrays",)

    @classmethod
    def open_checked(cls, path: str, arrays: Hdf5Arrays) -> "CheckedNetcdf":
        """The file, of which `arrays` are the checked ones."""
        store = cls.open(path, phony_dims="access")
        store._arrays = arrays
        return store

    def open_store_variable(self, name: str, var: Any) -> xr.Variable:
        """A variable whose values are read through `_Measured`."""
        found = super().open_store_variable(name, var)
        data = indexing.LazilyIndexedArray(_Measured(found, self._arrays.get(name)))
        return xr.Variable(found.dims, data, found.attrs, found.encoding)


class DecodedStore(AbstractDataStore):
    """A file or store as xarray reads it, the stored numbers of each variable as the values that they mean.

    Args:
        store: What xarray reads.
        name: Of the file, for errors.
        choices: What the user says of packing and missing values.

    Attributes:
        decoders: What makes values of stored numbers, by the variable.
    """

    def __init__(self, store: AbstractDataStore, name: str, choices: CfChoices) -> None:
        self._store, self._name, self._choices = store, name, choices
        self.decoders: dict[str, CfDecoder] = {}

    def __dask_tokenize__(self) -> str:
        """A name of its own: what two files hold must not be confused."""
        return uuid.uuid4().hex

    def load(self) -> tuple[Frozen[Any, Any], Frozen[Any, Any]]:
        """Variables and attributes.

        Raises:
            ArchiveError: If attributes of a coordinate make no sense.
        """
        variables, attributes = self._store.load()
        return Frozen({key: self._decoded(str(key), variable) for key, variable in variables.items()}), attributes

    def get_encoding(self) -> Any:
        """That of the file."""
        return self._store.get_encoding()

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def _decoded(self, key: str, variable: xr.Variable) -> xr.Variable:
        if variable.dtype.kind not in "iuf":
            return variable
        is_zarr = isinstance(self._store, ZarrStore)
        decoder = CfDecoder(
            key,
            variable.dtype,
            variable.attrs,
            self._choices,
            is_field=variable.ndim >= 2,
            is_netcdf=not is_zarr,
            zarr_fill=_fill_of(self._store, key) if isinstance(self._store, ZarrStore) else None,
        )
        if not decoder.is_field:
            check_decoders(self._name, [decoder])
        self.decoders[key] = decoder
        data = indexing.LazilyIndexedArray(_Read(variable, decoder.dtype, decoder))
        attributes = {name: value for name, value in variable.attrs.items() if name not in ATTRIBUTES}
        return xr.Variable(variable.dims, data, attributes, variable.encoding)


def _fill_of(store: ZarrStore, key: str) -> Any:
    """The fill value of an array of Zarr's version 2, where xarray keeps `_FillValue`."""
    metadata = store.members[key].metadata
    return getattr(metadata, "fill_value", None) if metadata.zarr_format == 2 else None


class _Read(BackendArray):
    """The values of a variable, read as xarray reads them and passed through a function."""

    def __init__(self, variable: xr.Variable, dtype: np.dtype[Any], function: Callable[[np.ndarray], np.ndarray]):
        self.shape, self.dtype = variable.shape, dtype
        self._variable, self._function = variable, function

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> Any:
        return self._function(self._variable[key].values)


class _Measured(BackendArray):
    """The values of a variable, read as xarray reads them once the chunks that are needed have been measured."""

    def __init__(self, variable: xr.Variable, array: Any) -> None:
        self.shape, self.dtype = variable.shape, variable.dtype
        self._variable, self._array = variable, array

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> Any:
        if self._array is not None:
            self._array.measure(_rows(key[0], self.shape[0]) if key else None)
        return self._variable[key].values


def _rows(key: Any, length: int) -> tuple[int, int]:
    """First and last but one index of what a key takes along an axis."""
    if isinstance(key, slice):
        start, stop, step = key.indices(length)
        return (start, stop) if step > 0 else (stop + 1, start + 1)
    places = np.atleast_1d(key) % max(1, length)
    return (int(places.min()), int(places.max()) + 1) if places.size else (0, 0)


def _members(path: str) -> list[str]:
    if os.path.isfile(path) or _is_zarr(path):
        return [path]
    try:
        entries = list(os.scandir(path))
    except OSError as error:  # a pipe or a device, too
        raise ArchiveError(f"{path}: cannot be listed: {error.strerror}; expected a file or a folder") from error
    named = (entry.path for entry in entries if not entry.name.startswith("."))
    found = sorted(path for path in named if path.lower().endswith(NETCDF_SUFFIXES) or _is_zarr(path))
    _check_links(path, found)
    return found


def _check_links(folder: str, members: Sequence[str]) -> None:
    """Refuse members that are links out of the folder.

    Raises:
        ArchiveError: If one is.
    """
    root = os.path.realpath(folder)
    for member in members:
        try:
            check_inside(root, os.path.relpath(member, folder))
        except MemberError as error:
            raise ArchiveError(f"{folder}: {error}") from error


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
    check_user_block(path)
    kind = next((kind for magic, kind in OTHERS.items() if head.startswith(magic)), f"it starts with {head!r}")
    raise ArchiveError(f"{path}: expected NetCDF or Zarr, found {kind}")


def _files(member: str) -> Iterator[tuple[str, int]]:
    """Path and size of each file of a member; a link out of it is refused.

    Raises:
        ArchiveError: If there is one.
    """
    if not os.path.isdir(member):
        yield member, os.path.getsize(member) if os.path.isfile(member) else 0
        return
    for path, found in walk_files(member):
        if stat.S_ISLNK(found.st_mode):
            _check_links(member, [path])
        yield path, found.st_size


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

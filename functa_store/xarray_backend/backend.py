"""Functasets as xarray datasets: the engine, the variables and their chunks."""

import dataclasses
import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import pandas as pd
import xarray as xr
from xarray.backends import BackendEntrypoint
from xarray.core import indexing
from xarray.indexes import PandasIndex

from functa_store.decode.chunked_views import MOST_DECODED_BYTES, preferred_chunks
from functa_store.decode.descriptions import (
    CHANNEL,
    CHANNEL_ATTRIBUTES,
    EXAMPLE,
    EXAMPLE_ATTRIBUTES,
    attributes_of_column,
    claimed,
    example_columns,
    features_attributes,
    global_attributes,
    variable_names,
)
from functa_store.decode.functaset import Functaset
from functa_store.decode.grid_cache import DEFAULT_CACHE_BYTES
from functa_store.decode.shared_functaset import SharedFunctaset, open_shared
from functa_store.domains.cells import Region
from functa_store.errors import ConfigError
from functa_store.store.reading.reader import StoreReader
from functa_store.store.storage.objects import NO_OPTIONS, StorageOptions
from functa_store.xarray_backend.lazy_arrays import ColumnArray, DecodedArray, ModulationsArray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opened:
    """What a dataset remembers of the functaset that it is from, in its encoding.

    Attributes:
        shared: The functaset.
        clip: Whether values are clipped to the data range.
    """

    shared: SharedFunctaset
    clip: bool

    @property
    def store(self) -> StoreReader:
        """The open store."""
        return self.shared.functaset.store

    @functools.cached_property
    def names(self) -> dict[str, str]:
        """Name in the dataset of each axis, column, and of the decoded values; see `variable_names`."""
        return variable_names(self.store)

    @functools.cached_property
    def axes(self) -> tuple[str, ...]:
        """The dimension of each axis of the domain."""
        return tuple(self.names[f"axis/{axis}"] for axis in self.store.spec.domain.axes)

    def features(
        self,
        dims: tuple[str, ...],
        examples: xr.Variable,
        coords: Sequence[xr.Variable],
        *,
        cached: bool,
        encoding: Mapping[str, Any] | None = None,
    ) -> xr.Variable:
        """Lazy values; the first arguments as for `DecodedArray`.

        Args:
            dims: All dimensions but the channels'.
            examples: Places in the functaset.
            coords: Positions along each axis.
            cached: Keep what was decoded as a whole, as `xr.open_dataset` does by itself.
            encoding: Of the variable.
        """
        data = DecodedArray(self.shared, dims, examples, tuple(coords), clip=self.clip)
        attributes = features_attributes(self.store, self.clip)
        return xr.Variable((*dims, CHANNEL), _lazy(data, cached=cached), attributes, encoding)

    def axis_coordinates(
        self, resolution: int | Sequence[int] | None, region: Region | None
    ) -> tuple[list[xr.Variable], list[xr.Coordinates]]:
        """Positions along each axis of a grid, and the same as coordinates.

        Raises:
            GridError: If resolution or region do not fit the domain.
        """
        domain = self.store.spec.domain
        positions = [pd.Index(along) for along in domain.axis_coords(resolution, region)]
        coordinates = [
            _indexed(name, along, domain.axis_attributes(axis))
            for axis, name, along in zip(domain.axes, self.axes, positions, strict=True)
        ]
        return [xr.Variable((n,), p.values) for n, p in zip(self.axes, positions, strict=True)], coordinates

    def channel_coordinate(self) -> xr.Coordinates:
        """The names of the channels."""
        names = pd.Index(list(self.store.spec.features.channels), dtype=object)
        return _indexed(CHANNEL, names, CHANNEL_ATTRIBUTES)


CELL_CHANNEL = "cell_channel"
"""The dimension of a cell's numbers, beside decoded values that have channels of their own."""


def open_dataset(
    opened: Opened, resolution: int | Sequence[int] | None, region: Region | None, *, modulations: bool
) -> xr.Dataset:
    """All examples on a grid, nothing of them read or decoded yet.

    Args:
        opened: The functaset.
        resolution: Points inside the region.
        region: Per axis (low, high).
        modulations: Add the modulations themselves.

    Raises:
        GridError: If resolution or region do not fit the domain.
    """
    store, names, dims = opened.store, opened.names, (EXAMPLE, *opened.axes)
    along, axis_coordinates = opened.axis_coordinates(resolution, region)
    shape = [len(positions) for positions in along]
    rows, channels = store.spec.layout.rows_per_shard, store.spec.features.num_channels
    chunk = preferred_chunks(len(store), rows, shape, channels, MOST_DECODED_BYTES)
    examples = pd.RangeIndex(len(store))
    features = opened.features(
        dims,
        xr.Variable((EXAMPLE,), examples),
        along,
        cached=False,
        encoding={"preferred_chunks": dict(zip((*dims, CHANNEL), chunk, strict=True))},
    )
    columns = {
        names[column]: xr.Variable(
            (EXAMPLE,),
            _lazy(ColumnArray(opened.shared, column), cached=False),
            attributes_of_column(store, column),
            {"preferred_chunks": {EXAMPLE: chunk[0]}},
        )
        for column in example_columns(store)
    }
    dataset = xr.Dataset({names["features"]: features}, attrs=global_attributes(store))
    numbers = _indexed(EXAMPLE, examples, EXAMPLE_ATTRIBUTES)
    for coordinate in (numbers, *axis_coordinates, opened.channel_coordinate()):
        dataset = dataset.assign_coords(coordinate)
    dataset = dataset.assign_coords(columns)
    if modulations:
        dataset = _with_modulations(dataset, opened, chunk[0])
    dataset.encoding = {"functa": opened}
    return dataset


def _with_modulations(dataset: xr.Dataset, opened: Opened, rows_per_chunk: int) -> xr.Dataset:
    """The dataset with the variable `modulations`; names that it has already get underscores at their end."""
    network, domain, taken = opened.store.spec.config.network, opened.store.spec.domain, {*map(str, dataset.variables)}
    cells = [] if network.modulation_grid is None else [*(f"{axis}_cell" for axis in domain.axes), CELL_CHANNEL]
    name, *dims = (claimed(wanted, taken) for wanted in ("modulations", *(cells or ["modulation"])))
    array = _lazy(ModulationsArray(opened.shared), cached=False)
    chunks = {"preferred_chunks": {EXAMPLE: rows_per_chunk}}
    attributes = {"long_name": "the modulation of each example", "units": "1"}
    return dataset.assign({name: xr.Variable((EXAMPLE, *dims), array, attributes, chunks)})


def _indexed(name: str, values: pd.Index, attributes: Mapping[str, Any]) -> xr.Coordinates:
    """The coordinate of a dimension, with its index."""
    index = PandasIndex(values, name)
    variables = index.create_variables({name: xr.Variable((name,), values, attributes)})
    return xr.Coordinates(variables, {name: index})


def _lazy(array: DecodedArray | ColumnArray | ModulationsArray, *, cached: bool) -> Any:
    """What a variable may hold in place of the values; the wrappers of a cache have no public names in xarray."""
    lazy: Any = indexing.LazilyIndexedArray(array)
    return indexing.MemoryCachedArray(indexing.CopyOnWriteArray(lazy)) if cached else lazy


class FunctaBackend(BackendEntrypoint):
    """Functasets as datasets that are decoded when they are looked at."""

    description: ClassVar[str] = "Decode functasets (.functa) as they are indexed"
    url: ClassVar[str] = "https://arxiv.org/abs/2201.12204"

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        resolution: int | Sequence[int] | None = None,
        region: Region | None = None,
        clip: bool = True,
        modulations: bool = False,
        storage: StorageOptions = NO_OPTIONS,
        verify: bool = False,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> xr.Dataset:
        """Open a functaset; an unfinished one holds the examples that were finished by now.

        Args:
            filename_or_obj: Its path or URL; or one that is open, such as a selection, with options of its own.
            drop_variables: Variables to leave out.
            resolution: Points inside the region, one number for all axes or one per axis; None keeps the
                spacing of the archive.
            region: Per axis (low, high), in [0, 1] or degrees; None means the whole domain.
            clip: Clip to the ranges of the values.
            modulations: Add the variable `modulations`, as they are stored: (example, modulation), or
                (example, y_cell, x_cell, cell_channel) where a modulation is a grid over the axes y and x.
            storage: How to reach the store.
            verify: Compare the checksum of each shard when it is first touched.
            cache_bytes: Most bytes of decoded grids that are kept; see `functa_store.open`.

        Returns:
            One lazy variable, `image` for axes ("y", "x") and else `features`, of dimensions (example, *axes, channel),
            with the columns of the functaset as lazy coordinates, and `modulations` if asked for.

        Raises:
            ConfigError: If the path or an option makes no sense.
            GridError: If resolution or region do not fit the domain.
            StoreFormatError: If there is no functaset that this release can read.
            StorageError: If the place cannot be read.
        """
        if not isinstance(filename_or_obj, str | os.PathLike | Functaset):
            raise ConfigError(f"expected the path or URL of a functaset, got {type(filename_or_obj).__name__}")
        is_open = isinstance(filename_or_obj, Functaset)
        place = filename_or_obj if is_open else os.path.expanduser(filename_or_obj)
        shared = open_shared(place, storage=storage, verify=verify, cache_bytes=cache_bytes)
        dataset = open_dataset(Opened(shared=shared, clip=clip), resolution, region, modulations=modulations)
        dropped = [drop_variables] if isinstance(drop_variables, str) else drop_variables or ()
        return dataset.drop_vars(list(dropped), errors="ignore")

    def open_datatree(self, filename_or_obj: Any, **_: Any) -> xr.DataTree:
        """Refused.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            f"{filename_or_obj}: a functaset has no groups, all its arrays have the same examples; use xr.open_dataset"
        )

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether a path or URL ends as those of functasets do."""
        if not isinstance(filename_or_obj, str | os.PathLike):
            return False
        return os.fspath(filename_or_obj).rstrip("/").endswith(".functa")

"""How does a functaset look as a dataset of xarray?"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import xarray as xr
from xarray.core import indexing
from xarray.indexes import PandasIndex

from functa_store.decode.shared import SharedFunctaset
from functa_store.decode.variables import (
    CHANNEL,
    CHANNEL_ATTRIBUTES,
    EXAMPLE,
    EXAMPLE_ATTRIBUTES,
    column_attributes,
    columns_of,
    features_attributes,
    global_attributes,
    names_of,
)
from functa_store.grids import Region
from functa_store.store.reader import StoreReader
from functa_store.xarray_backend.arrays import ColumnArray, DecodedArray
from functa_store.xarray_backend.chunks import preferred_chunks


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opened:
    """What a dataset remembers of the functaset that it is from, in its encoding.

    Attributes:
        shared: The functaset.
        clip: Whether features are clipped to the data range.
    """

    shared: SharedFunctaset
    clip: bool

    @property
    def store(self) -> StoreReader:
        """The open store."""
        return self.shared.functaset.store

    @functools.cached_property
    def names(self) -> dict[str, str]:
        """Name in the dataset of each axis, column, and of the features; see `names_of`."""
        return names_of(self.store)

    @functools.cached_property
    def axes(self) -> tuple[str, ...]:
        """The dimension of each axis of the domain."""
        return tuple(self.names[f"axis/{axis}"] for axis in self.store.domain.axes)

    def features(
        self,
        dims: tuple[str, ...],
        examples: xr.Variable,
        coords: Sequence[xr.Variable],
        *,
        cached: bool,
        encoding: Mapping[str, Any] | None = None,
    ) -> xr.Variable:
        """Lazy features; the first arguments as for `DecodedArray`.

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
        domain = self.store.domain
        positions = [pd.Index(along) for along in domain.axis_coords(resolution, region)]
        coordinates = [
            _indexed(name, along, domain.axis_attributes(axis))
            for axis, name, along in zip(domain.axes, self.axes, positions, strict=True)
        ]
        return [xr.Variable((n,), p.values) for n, p in zip(self.axes, positions, strict=True)], coordinates

    def channel_coordinate(self) -> xr.Coordinates:
        """The names of the channels."""
        names = pd.Index(list(self.store.features.channels), dtype=object)
        return _indexed(CHANNEL, names, CHANNEL_ATTRIBUTES)


def open_dataset(opened: Opened, resolution: int | Sequence[int] | None, region: Region | None) -> xr.Dataset:
    """All examples on a grid, nothing of them read or decoded yet.

    Raises:
        GridError: If resolution or region do not fit the domain.
    """
    store, names, dims = opened.store, opened.names, (EXAMPLE, *opened.axes)
    along, axis_coordinates = opened.axis_coordinates(resolution, region)
    shape = [len(positions) for positions in along]
    chunk = preferred_chunks(len(store), store.spec.layout.rows_per_shard, shape, store.features.num_channels)
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
            column_attributes(store, column),
            {"preferred_chunks": {EXAMPLE: chunk[0]}},
        )
        for column in columns_of(store)
    }
    dataset = xr.Dataset({names["features"]: features}, attrs=global_attributes(store))
    numbers = _indexed(EXAMPLE, examples, EXAMPLE_ATTRIBUTES)
    for coordinate in (numbers, *axis_coordinates, opened.channel_coordinate()):
        dataset = dataset.assign_coords(coordinate)
    dataset = dataset.assign_coords(columns)
    dataset.encoding = {"functa": opened}
    return dataset


def _indexed(name: str, values: pd.Index, attributes: Mapping[str, Any]) -> xr.Coordinates:
    """The coordinate of a dimension, with its index."""
    index = PandasIndex(values, name)
    variables = index.create_variables({name: xr.Variable((name,), values, attributes)})
    return xr.Coordinates(variables, {name: index})


def _lazy(array: DecodedArray | ColumnArray, *, cached: bool) -> Any:
    """What a variable may hold in place of the values; the wrappers of a cache have no public names in xarray."""
    lazy: Any = indexing.LazilyIndexedArray(array)
    return indexing.MemoryCachedArray(indexing.CopyOnWriteArray(lazy)) if cached else lazy

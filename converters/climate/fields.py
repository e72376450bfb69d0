"""Variables that are fields over latitude and longitude, their grid, and the dimensions that make and name examples."""

import calendar
import dataclasses
import math
import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float64

from functa_store.domains.sphere import SphereGrid
from functa_store.domains.sphere_geometry import (
    CIRCLE,
    FARTHEST_LONGITUDE,
    TOLERANCE,
    check_axis,
)
from functa_store.errors import ArchiveError, ConfigError, GridError
from functa_store.sources.array_source import as_classes, as_text, storable
from functa_store.sources.source import Label

TIME_NAMES = ("time", "valid_time", "date", "month", "year", "day")
MONTHS = tuple(calendar.month_name)[1:]


def decode_times(dataset: xr.Dataset) -> xr.Dataset:
    """The dataset with coordinates such as "hours since 1900-01-01" as times; those that make no sense stay numbers.

    Only coordinates: a field in the unit of days is one of numbers.
    """
    decoded = {}
    for name, coordinate in dataset.coords.items():
        if " since " in str(coordinate.attrs.get("units", "")) and (times := _decoded(coordinate)) is not None:
            decoded[name] = times
    return dataset.assign_coords(decoded)


def _decoded(coordinate: xr.DataArray) -> xr.Variable | None:
    for attributes in ({}, {"calendar": "proleptic_gregorian"}):  # climatologies count from a year 0
        variable = coordinate.variable.copy(deep=False)
        variable.attrs |= attributes
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that dates are not NumPy's does not matter here
                return xr.decode_cf(xr.Dataset({"_": variable}), decode_timedelta=False)["_"].variable.load()
        except Exception:  # whatever units and calendars that nobody knows make the library raise
            continue
    return None


def is_time(coordinate: xr.DataArray) -> bool:
    """Whether a coordinate tells times, by its values, its axis or its name."""
    return (
        _dates(coordinate) is not None
        or coordinate.attrs.get("axis") == "T"
        or coordinate.attrs.get("standard_name") == "time"
        or str(coordinate.name).lower() in TIME_NAMES
    )


def words(coordinate: xr.DataArray) -> list[str]:
    """Each value as the ids of examples tell it: times as 1959-01-02T00:00, numbers in their shortest form."""
    values = np.atleast_1d(coordinate.values)
    if values.dtype.kind == "M":
        return np.datetime_as_string(values, unit=_time_unit(values)).tolist()
    if _dates(coordinate) is not None and values.dtype.kind == "O":
        return [f"{t.year:04}-{t.month:02}-{t.day:02}T{t.hour:02}:{t.minute:02}" for t in values]
    if values.dtype.kind == "f":
        return [f"{value:.12g}" for value in values]
    return as_text(values).tolist()


def _time_unit(values: np.ndarray) -> Any:
    values = values[~np.isnat(values)]
    seconds = values.astype("M8[s]")
    if (seconds != values).any():
        return "auto"
    return "m" if (values.astype("M8[m]") == seconds).all() else "s"


def labels_of(coordinate: xr.DataArray) -> dict[str, Label]:
    """Labels of the values of a coordinate: the month and year of times, numbers as they are, words as classes."""
    name, values = str(coordinate.name), coordinate.values
    if (dates := _dates(coordinate)) is not None:
        year_month = np.array([(t.year, t.month) for t in dates], np.int32)
        return {
            "month": Label(values=year_month[:, 1] - 1, names=MONTHS),
            "year": Label(values=year_month[:, 0]),
        }
    if name == "month" and values.dtype.kind in "iu" and set(values) <= set(range(1, 13)):
        return {"month": Label(values=values.astype(np.int32) - 1, names=MONTHS)}
    if values.dtype.kind in "iufb":
        counted = values.dtype.kind in "iu" and np.array_equal(values, np.arange(len(values)))
        return {} if counted or not np.isfinite(values).all() else {name: Label(values=storable(values))}
    return {name: as_classes(values)}


def _dates(coordinate: xr.DataArray) -> Sequence[Any] | None:
    """Values that have a year and a month, or None if they are no times."""
    values = np.atleast_1d(coordinate.values)
    if values.dtype.kind == "U":
        if min(map(len, values.tolist()), default=0) < len("2011-08"):
            return None
        try:
            values = values.astype("M8[s]")
        except ValueError:
            return None
    if values.dtype.kind == "M":
        if np.isnat(values).any():
            return None
        values = values.astype("M8[s]").astype(object)
    if values.dtype.kind == "O" and all(hasattr(value, "month") for value in values):
        return values.tolist()
    return None


LATITUDE, LONGITUDE = "latitude", "longitude"
UNITS = {
    LATITUDE: {"degrees_north", "degree_north", "degree_n", "degrees_n", "degreen", "degreesn"},
    LONGITUDE: {"degrees_east", "degree_east", "degree_e", "degrees_e", "degreee", "degreese"},
}
NAMES = {LATITUDE: {"latitude", "lat", "nav_lat", "xlat"}, LONGITUDE: {"longitude", "lon", "long", "nav_lon", "xlong"}}
AXES = {LATITUDE: "Y", LONGITUDE: "X"}
DEGREES = {"", "degrees", "degree"}

Grid = tuple[xr.DataArray, xr.DataArray]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Fields:
    """Variables on one grid, and their dimensions that make examples.

    Attributes:
        arrays: The variables, transposed to (example dimensions, latitude, longitude), none read.
        dims: The example dimensions, the last one fastest.
        coordinates: Of the examples: along one of these dimensions each.
        latitudes: Degrees north, in the archive's order.
        longitudes: Degrees east, in the archive's order.
    """

    arrays: Sequence[xr.DataArray]
    dims: tuple[str, ...]
    coordinates: Mapping[str, xr.DataArray]
    latitudes: np.ndarray
    longitudes: np.ndarray

    @property
    def sizes(self) -> tuple[int, ...]:
        """Values along each example dimension."""
        return tuple(self.arrays[0].sizes[dim] for dim in self.dims)

    @property
    def num_examples(self) -> int:
        """Number of examples."""
        return math.prod(self.sizes)

    @property
    def time_dim(self) -> str | None:
        """The first dimension whose coordinate tells times."""
        own = (dim for dim in self.dims if dim in self.coordinates and is_time(self.coordinates[dim]))
        return next(own, None)


def find_fields(
    name: str,
    dataset: xr.Dataset,
    variables: Sequence[str],
    example_dims: Sequence[str],
    select: Mapping[str, Sequence[str]],
) -> Fields:
    """The fields that a user wants of a dataset.

    Args:
        name: Of the archive, for errors.
        dataset: The dataset.
        variables: Which of its variables; none takes the only one that there is.
        example_dims: Dimensions that make examples, in order; none takes all but latitude and longitude.
        select: Values along dimensions to take, in words.

    Raises:
        ArchiveError: If variables are missing, are no fields or do not share their grid.
        ConfigError: If a dimension or value is not there.
    """
    dataset = dataset.set_coords(
        [key for key, array in dataset.data_vars.items() if array.ndim < 3 and _rank_any(array)]
    )
    found = [dataset[variable] for variable in variables] if _all_there(name, dataset, variables) else []
    found = found or [_only_field(name, dataset)]
    grids = [grid_of(name, array) for array in found]
    horizontal = tuple(str(along.dims[0]) for along in grids[0])
    dims = tuple(str(dim) for dim in found[0].dims if dim not in horizontal)
    for array, grid in zip(found[1:], grids[1:], strict=True):
        _check_same(name, found[0], grids[0], array, grid)
    latitude, longitude = (along.values.astype(np.float64) for along in grids[0])
    picked = {dim: _pick(name, found[0], dim, values, dims) for dim, values in select.items()}
    taken = found[0].isel(picked)
    if empty := [dim for dim in dims if taken.sizes[dim] == 0]:
        raise ArchiveError(f"{name}: no examples, {empty[0]} has no values; is this the right archive?")
    wanted = _example_dims(name, taken, dims, example_dims)
    order = (*wanted, *(dim for dim in dims if dim not in wanted), *horizontal)
    arrays = [array.isel(picked).transpose(*order) for array in found]
    arrays = [array.isel({dim: 0 for dim in dims if dim not in wanted}) for array in arrays]
    coordinates = {str(key): value for key, value in arrays[0].coords.items() if len(value.dims) == 1}
    coordinates = {key: value for key, value in coordinates.items() if value.dims[0] in wanted}
    return Fields(arrays=arrays, dims=wanted, coordinates=coordinates, latitudes=latitude, longitudes=longitude)


def grid_of(name: str, array: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """The latitudes and longitudes of a variable, along one dimension each.

    Raises:
        ArchiveError: If it has none, or they depend on two dimensions, or it has a dimension twice.
    """
    if not _are_distinct(array.dims):
        raise ArchiveError(f"{name}: {array.name} has dimensions {array.dims}, one of them twice; expected each once")
    latitude, longitude = (_along(array, kind) for kind in AXES)
    if latitude is not None and longitude is not None:
        if latitude.dims != longitude.dims:
            return latitude, longitude
        raise ArchiveError(
            f"{name}: {array.name} lies on points without a grid, {latitude.name} and {longitude.name} both depend on "
            f"{latitude.dims[0]}; expected a latitude for each row and a longitude for each column: regrid it first"
        )
    curved = [str(key) for key, value in array.coords.items() if value.ndim == 2 and _rank_any(value)]
    if curved:
        raise ArchiveError(
            f"{name}: {array.name} lies on a curvilinear grid, {' and '.join(curved)} depend on two dimensions; "
            "expected a latitude for each row and a longitude for each column: regrid it first, such as with cdo"
        )
    missing = LATITUDE if latitude is None else LONGITUDE
    raise ArchiveError(
        f"{name}: {array.name} has dimensions {array.dims}, none of which is the {missing}; expected coordinates with "
        "the standard names, the units (degrees_north, degrees_east) or the names of latitude and longitude"
    )


def _along(array: xr.DataArray, kind: str) -> xr.DataArray | None:
    """The coordinate along one dimension that is most surely a kind of degrees."""
    ranks = {str(key): _rank(value, kind) for key, value in array.coords.items() if value.ndim == 1}
    best = max(ranks, key=ranks.__getitem__, default=None)
    return array[best] if best is not None and ranks[best] else None


def _rank_any(coordinate: xr.DataArray) -> bool:
    return any(_rank(coordinate, kind) for kind in AXES)


def _rank(coordinate: xr.DataArray, kind: str) -> int:
    """How surely a coordinate is a kind of degrees: 3 by its standard name, 2 its units, 1 its name or axis; 0 not."""
    name, attributes = str(coordinate.name).lower(), coordinate.attrs
    standard_name, units = str(attributes.get("standard_name", "")), str(attributes.get("units", "")).lower()
    if coordinate.dtype.kind not in "iuf" or standard_name.startswith(("grid_", "projection_")):
        return 0  # of a rotated pole, or metres
    if standard_name == kind:
        return 3
    if units in UNITS[kind]:
        return 2
    by_axis = attributes.get("axis") == AXES[kind] or name == AXES[kind].lower()
    return int(name in NAMES[kind] or (by_axis and units in DEGREES))


def _is_field(array: xr.DataArray) -> bool:
    latitude, longitude = (_along(array, kind) for kind in AXES)
    numbers = array.dtype.kind in "iuf" and _are_distinct(array.dims)
    return numbers and latitude is not None and longitude is not None


def _are_distinct(dims: tuple[Hashable, ...]) -> bool:
    """Whether each dimension is there once; a covariance has one twice."""
    return len(set(dims)) == len(dims)


def _only_field(name: str, dataset: xr.Dataset) -> xr.DataArray:
    fields = [array for array in dataset.data_vars.values() if _is_field(array)]
    if len(fields) == 1:
        return fields[0]
    if fields:
        names = ", ".join(str(array.name) for array in fields)
        raise ArchiveError(
            f"{name}: found {len(fields)} fields, {names}; choose with --variable NAME, repeatedly for channels"
        )
    for array in dataset.data_vars.values():
        if array.ndim >= 2 and array.dtype.kind in "iuf":
            grid_of(name, array)  # says what is wrong
    raise ArchiveError(f"{name}: found no variable over latitude and longitude among {list(dataset.data_vars)}")


def _all_there(name: str, dataset: xr.Dataset, variables: Sequence[str]) -> bool:
    if len(set(variables)) < len(variables):
        raise ConfigError(f"--variable: {', '.join(variables)} names a variable twice")
    for variable in variables:
        if variable not in dataset.data_vars:
            raise ArchiveError(
                f"{name}: no variable {variable!r}, expected some of {sorted(map(str, dataset.data_vars))}"
            )
        if dataset[variable].dtype.kind not in "iuf":
            raise ArchiveError(f"{name}: {variable} holds {dataset[variable].dtype}, expected numbers")
    return bool(variables)


def _check_same(name: str, one: xr.DataArray, grid: Grid, other: xr.DataArray, its: Grid) -> None:
    both = f"{name}: {one.name} and {other.name}"
    if any(a.dims != b.dims or not np.array_equal(a.values, b.values) for a, b in zip(grid, its, strict=True)):
        raise ArchiveError(
            f"{both} lie on different grids ({_shape(grid)} and {_shape(its)}); convert them one by one, or regrid one"
        )
    if set(one.dims) != set(other.dims):
        raise ArchiveError(f"{both} have different dimensions, {one.dims} and {other.dims}; convert them one by one")


def _shape(grid: Grid) -> str:
    return " x ".join(f"{along.size} {along.name}" for along in grid)


def _pick(name: str, array: xr.DataArray, dim: str, values: Sequence[str], dims: tuple[str, ...]) -> list[int]:
    """Places along a dimension where its words, or their beginning if it tells times, are those wanted."""
    if dim not in dims:
        raise ConfigError(f"--select {dim}: {name} has the dimensions {', '.join(dims) or 'none'} to select from")
    known = words(array[dim]) if dim in array.coords else list(map(str, range(array.sizes[dim])))
    times = dim in array.coords and is_time(array[dim])
    places = [i for i, word in enumerate(known) if any(word == v or (times and word.startswith(v)) for v in values)]
    for value in values:
        if not any(known[i] == value or (times and known[i].startswith(value)) for i in places):
            few = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
            raise ConfigError(f"--select {dim}={value}: {name} has {few}")
    return places


def _example_dims(name: str, array: xr.DataArray, dims: tuple[str, ...], wanted: Sequence[str]) -> tuple[str, ...]:
    if not wanted:
        return dims
    for dim in wanted:
        if dim not in dims:
            raise ConfigError(
                f"--example-dims {dim}: {name} has {', '.join(dims) or 'none'} beside latitude and longitude"
            )
    for dim in dims:
        if dim not in wanted and array.sizes[dim] > 1:
            known = words(array[dim]) if dim in array.coords else list(map(str, range(array.sizes[dim])))
            raise ConfigError(
                f"--example-dims {','.join(wanted)}: {dim} has {array.sizes[dim]} values; name it, too, or pick one "
                f"with --select {dim}={known[0]}"
            )
    return tuple(dict.fromkeys(wanted))


def read_grid(
    name: str, latitudes: Float64[np.ndarray, " lat"], longitudes: Float64[np.ndarray, " lon"]
) -> tuple[SphereGrid, list[str]]:
    """The grid, and what had to be done to the longitudes, in words.

    Longitudes that jump by a turn, such as from 179 to -180, go on rising; columns that come round a second time, such
    as a cyclic one, are left out.

    Raises:
        ArchiveError: If they make no grid.
    """
    notes = []
    try:
        if np.isfinite(longitudes).all() and not _is_monotonic(longitudes):
            longitudes = np.unwrap(longitudes, period=CIRCLE)
            notes.append(f"longitudes jump by a turn; taken as {longitudes[0]:g} to {longitudes[-1]:g}")
        check_axis("longitudes", longitudes, FARTHEST_LONGITUDE)  # before any is left out
        twice = np.abs(longitudes - longitudes[0]) >= CIRCLE - TOLERANCE
        if twice.any():
            notes.append(
                f"{twice.sum()} longitudes come round a second time, from {longitudes[twice][0]:g} on; left out"
            )
        return SphereGrid.around(latitudes, longitudes[~twice]), notes
    except GridError as error:
        raise ArchiveError(f"{name}: {error}; repair its coordinates, or choose other variables") from error


def _is_monotonic(longitudes: Float64[np.ndarray, " lon"]) -> bool:
    steps = np.diff(longitudes)
    return bool((steps > 0).all() or (steps < 0).all())

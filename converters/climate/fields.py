"""Variables that are fields over latitude and longitude, and the dimensions that make and name examples."""

import calendar
import dataclasses
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from converters.climate.grid import (
    RADIANS,
    Grid,
    degrees_of,
    grid_of,
    is_field,
    is_of_degrees,
    mappings_of,
    units_of,
)
from functa_store.errors import ArchiveError, ConfigError
from functa_store.sources.array_source import as_classes, as_text, storable
from functa_store.sources.source import Label

TIME_NAMES = ("time", "valid_time", "date", "month", "year", "day")
_CURVED_NAMES = {"xlat", "xlong", "lat", "lon", "latitude", "longitude", "nav_lat", "nav_lon"}
"""Of latitudes and longitudes of a curvilinear grid that stand for each time anew, as WRF writes them."""

MONTHS = tuple(calendar.month_name)[1:]


CALENDARS = {
    "standard": {"", "standard", "gregorian"},
    "proleptic_gregorian": {"proleptic_gregorian"},
    "julian": {"julian"},
    "noleap": {"noleap", "no_leap", "365_day", "365_days", "365day", "365"},
    "all_leap": {"all_leap", "allleap", "366_day", "366_days", "366day", "366"},
    "360_day": {"360_day", "360_days", "360day", "360", "thirty_day_months", "thirty_day"},
}
"""Words for calendars in archives, under the names that cftime has for them: CF's, those of GFDL's FMS and of IRI."""

_WITH_YEAR_ZERO = "proleptic_gregorian"


def decode_times(dataset: xr.Dataset) -> tuple[xr.Dataset, list[str]]:
    """The dataset with coordinates such as "hours since 1900-01-01" as times, and which were left numbers, in words.

    Only coordinates: a field in the unit of days is one of numbers. A calendar that is not known, and units and values
    that make no sense, leave numbers.
    """
    decoded, notes = {}, []
    for name, coordinate in dataset.coords.items():
        units = str(coordinate.attrs.get("units", ""))
        if " since " not in units or coordinate.dtype.kind not in "iuf":
            continue
        told, calendar = _calendar_of(coordinate)
        if calendar is None:
            notes.append(f"{name} counts in the calendar {told}, which is not known; left as numbers, without months")
        elif (times := _decoded(coordinate, calendar)) is not None:
            decoded[name] = times
        else:
            notes.append(f"{name} is in {units!r}, calendar {told}, which cannot be read as times; left as numbers")
    return dataset.assign_coords(decoded), notes


def _calendar_of(coordinate: xr.DataArray) -> tuple[str, str | None]:
    """What a coordinate says its calendar is, and cftime's name for it; None if there is none."""
    told = [str(coordinate.attrs[key]) for key in ("calendar", "calendar_type") if key in coordinate.attrs]
    words = ["_".join(re.split(r"[\s_-]+", word.strip("\0 ").lower())) for word in told or [""]]
    names = {next((name for name, aliases in CALENDARS.items() if word in aliases), None) for word in words}
    return " and ".join(map(repr, told)) or "'standard'", names.pop() if len(names) == 1 else None


def _decoded(coordinate: xr.DataArray, calendar: str) -> xr.Variable | None:
    with_year_zero = [_WITH_YEAR_ZERO] if calendar == "standard" else []  # climatologies count from a year 0
    for name in (calendar, *with_year_zero):
        variable = coordinate.variable.copy(deep=False)
        variable.attrs |= {"calendar": name}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that dates are not NumPy's does not matter here
                return xr.decode_cf(xr.Dataset({"_": variable}), decode_timedelta=False)["_"].variable.load()
        except Exception:  # whatever units and values that make no sense make the library raise
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


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Fields:
    """Variables on one grid, and their dimensions that make examples.

    Attributes:
        arrays: The variables, transposed to (example dimensions, latitude, longitude), none read.
        dims: The example dimensions, the last one fastest.
        coordinates: Of the examples: along one of these dimensions each.
        latitudes: Degrees north, in the archive's order.
        longitudes: Degrees east, in the archive's order.
        notes: What of the grid was taken in another way than it stands, in words.
    """

    arrays: Sequence[xr.DataArray]
    dims: tuple[str, ...]
    coordinates: Mapping[str, xr.DataArray]
    latitudes: np.ndarray
    longitudes: np.ndarray
    notes: Sequence[str] = ()

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
    named: Mapping[str, str | None],
) -> Fields:
    """The fields that a user wants of a dataset.

    Args:
        name: Of the archive, for errors.
        dataset: The dataset.
        variables: Which of its variables; none takes the only one that there is.
        example_dims: Dimensions that make examples, in order; none takes all but latitude and longitude.
        select: Values along dimensions to take, in words.
        named: What the user calls latitude and longitude; see `grid_of`.

    Raises:
        ArchiveError: If variables are missing, are no fields or do not share their grid.
        ConfigError: If a dimension or value is not there.
    """
    dataset = with_grids(dataset, named)
    found = [dataset[variable] for variable in variables] if _all_there(name, dataset, variables) else []
    found = found or [dataset[only_field(name, [dataset], named)]]
    grids = [grid_of(name, array, named) for array in found]
    horizontal = tuple(str(along.dims[0]) for along in grids[0])
    dims = tuple(str(dim) for dim in found[0].dims if dim not in horizontal)
    for array, grid in zip(found[1:], grids[1:], strict=True):
        _check_same(name, found[0], grids[0], array, grid)
    latitude, longitude = (degrees_of(along) for along in grids[0])
    notes = [f"{along.name} is in radians; taken as degrees" for along in grids[0] if units_of(along) == RADIANS]
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
    return Fields(
        arrays=arrays, dims=wanted, coordinates=coordinates, latitudes=latitude, longitudes=longitude, notes=notes
    )


def with_grids(dataset: xr.Dataset, named: Mapping[str, str | None]) -> xr.Dataset:
    """The dataset with all that describes grids among its coordinates: latitudes, longitudes and projections."""
    described = {word for array in dataset.data_vars.values() for word in mappings_of(array)}
    asked = set(named.values())
    return dataset.set_coords(
        [
            key
            for key, array in dataset.data_vars.items()
            if (array.ndim < 3 and is_of_degrees(array))
            or (array.ndim < 2 and (key in described or key in asked))
            or (array.ndim == 3 and is_of_degrees(array) and str(array.name).lower() in _CURVED_NAMES)
        ]
    )


def only_field(name: str, datasets: Sequence[xr.Dataset], named: Mapping[str, str | None]) -> str:
    """The only variable of some datasets that is a field.

    Raises:
        ArchiveError: If there are none, or several.
    """
    found = {
        str(key): None
        for dataset in datasets
        for key, array in dataset.data_vars.items()
        if key not in dataset.coords and is_field(array, named)
    }
    if len(found) == 1:
        return next(iter(found))
    if found:
        raise ArchiveError(
            f"{name}: found {len(found)} fields, {', '.join(found)}; choose with --variable NAME, repeatedly for "
            "channels"
        )
    for array in (array for dataset in datasets for array in dataset.data_vars.values()):
        if array.ndim >= 2 and array.dtype.kind in "iuf":
            grid_of(name, array, named)  # says what is wrong
    known = list(dict.fromkeys(str(key) for dataset in datasets for key in dataset.data_vars))
    raise ArchiveError(f"{name}: found no variable over latitude and longitude among {known}")


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
    if any(
        a.dims != b.dims or not np.array_equal(degrees_of(a), degrees_of(b)) for a, b in zip(grid, its, strict=True)
    ):
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

"""Latitudes and longitudes of a variable, found by units, names and values, or what shows that there are none.

A coordinate is taken for one of them because of its standard name, its units, its name or its axis, and only if nothing
in the file speaks against it: its units, its values, latitudes and longitudes that depend on two dimensions, or a
`grid_mapping` of another projection.
"""

import re
from collections.abc import Hashable, Iterator, Mapping

import numpy as np
import xarray as xr
from jaxtyping import Float64

from functa_store.domains.sphere import SphereGrid
from functa_store.domains.sphere_geometry import CIRCLE, FARTHEST_LONGITUDE, TOLERANCE, check_axis
from functa_store.errors import ArchiveError, ConfigError, GridError

LATITUDE, LONGITUDE = "latitude", "longitude"
NAMES = {LATITUDE: {"latitude", "lat", "nav_lat", "xlat"}, LONGITUDE: {"longitude", "lon", "long", "nav_lon", "xlong"}}
AXES = {LATITUDE: "Y", LONGITUDE: "X"}
MOST_DEGREES = {LATITUDE: 90, LONGITUDE: 540}
"""What values without units may be; archives that begin in the east of the date line go beyond 360."""

NO_UNITS, DEGREES, RADIANS, OTHER = "no units", "degrees", "radians", "other"
"""What units say, beside `LATITUDE` and `LONGITUDE`."""

_DEGREE_UNITS = re.compile(r"(?:deg(?:ree)?s?|°)[ _]*(n(?:orth)?|e(?:ast)?|s(?:outh)?|w(?:est)?)?")
_DIRECTIONS = {"": DEGREES, "n": LATITUDE, "e": LONGITUDE}
_ROTATED = re.compile(r"r_?(lat|lon)|rotated_.*|grid_(lat|lon).*")
_RADIAN_UNITS = {"radian", "radians", "rad", "radians_north", "radians_east", "radian_north", "radian_east"}

GEOGRAPHIC = "latitude_longitude"
CYLINDRICAL = {"mercator", "lambert_cylindrical_equal_area", "equirectangular", "plate_carree"}
"""Projections whose rows have one latitude each, and whose columns have one longitude."""

WAY_OUT = "regrid it first, such as with cdo or xesmf, or convert it as flat arrays with `functa convert arrays`"
SAY_SO = "if they are degrees, say so with --latitude NAME --longitude NAME"

Grid = tuple[xr.DataArray, xr.DataArray]


def mappings_of(array: xr.DataArray) -> list[str]:
    """Names of the variables that describe the projection of a variable."""
    told = array.attrs.get("grid_mapping", array.encoding.get("grid_mapping", ""))
    words = str(told).split()
    return [word.rstrip(":") for word in words if word.endswith(":")] or words


def units_of(coordinate: xr.DataArray) -> str:
    """What the units of a coordinate say: `LATITUDE`, `LONGITUDE`, `DEGREES`, `RADIANS`, `NO_UNITS` or `OTHER`."""
    units = " ".join(str(coordinate.attrs.get("units", "")).lower().split())
    if not units:
        return NO_UNITS
    if units in _RADIAN_UNITS:
        return RADIANS
    found = _DEGREE_UNITS.fullmatch(units)
    return OTHER if found is None else _DIRECTIONS.get((found[1] or "")[:1], OTHER)


def degrees_of(coordinate: xr.DataArray) -> Float64[np.ndarray, "*points"]:
    """The values of a coordinate in degrees, those in radians converted."""
    values = coordinate.values
    if units_of(coordinate) != RADIANS:
        return values.astype(np.float64)
    decimals = 5 if values.dtype.itemsize <= np.dtype(np.float32).itemsize else 10  # a pole is at 90 again
    return np.round(np.degrees(values.astype(np.float64)), decimals)


def is_of_degrees(coordinate: xr.DataArray) -> bool:
    """Whether a coordinate may be a latitude or longitude, by its attributes and its name."""
    return any(_rank(coordinate, kind) for kind in AXES)


def is_field(array: xr.DataArray, named: Mapping[str, str | None]) -> bool:
    """Whether a variable holds numbers over latitude and longitude."""
    if array.dtype.kind not in "iuf" or array.ndim < 2:
        return False
    try:
        grid_of("", array, named)
    except (ArchiveError, ConfigError):  # ConfigError: of a variable that has no coordinate of the user's name
        return False
    return True


def grid_of(name: str, array: xr.DataArray, named: Mapping[str, str | None]) -> Grid:
    """The latitudes and longitudes of a variable, along one dimension each.

    Args:
        name: Of the archive, for errors.
        array: The variable; what may describe its grid is among its coordinates.
        named: What the user calls them, of which nothing else is asked.

    Raises:
        ArchiveError: If it has none, or they depend on two dimensions, or something shows that they are no degrees, or
            it has a dimension twice.
        ConfigError: If there is no coordinate of the name that the user says.
    """
    where = f"{name}: {array.name}"
    if len(set(array.dims)) < len(array.dims):
        raise ArchiveError(f"{where} has dimensions {array.dims}, one of them twice; expected each once")
    found = {
        kind: _along(array, kind) if named.get(kind) is None else _named(where, array, kind, named) for kind in AXES
    }
    latitude, longitude = found[LATITUDE], found[LONGITUDE]
    if latitude is None or longitude is None:
        raise ArchiveError(f"{where} {_nothing_found(array, LATITUDE if latitude is None else LONGITUDE)}")
    if latitude.dims == longitude.dims:
        raise ArchiveError(
            f"{where} lies on points without a grid, {latitude.name} and {longitude.name} both depend on "
            f"{latitude.dims[0]}; expected a latitude for each row and a longitude for each column: {WAY_OUT}"
        )
    if named.get(LATITUDE) is None or named.get(LONGITUDE) is None:
        for problem in _objections(array, latitude, longitude, named):
            raise ArchiveError(f"{where} {problem}")
    return latitude, longitude


def _named(where: str, array: xr.DataArray, kind: str, named: Mapping[str, str | None]) -> xr.DataArray:
    """The coordinate that the user calls one of degrees."""
    key = named[kind]
    if key not in array.coords or array.coords[key].ndim != 1 or array.coords[key].dtype.kind not in "iuf":
        known = [str(other) for other, value in array.coords.items() if value.ndim == 1]
        raise ConfigError(f"--{kind} {key}: {where} has the coordinates {', '.join(known) or 'none'} of one dimension")
    return array[key]


def _along(array: xr.DataArray, kind: str) -> xr.DataArray | None:
    """The coordinate along one dimension that is most surely a kind of degrees."""
    ranks = {
        str(key): (_rank(value, kind), str(key).lower() in NAMES[kind])
        for key, value in array.coords.items()
        if value.ndim == 1
    }
    best = max(ranks, key=ranks.__getitem__, default=None)
    return array[best] if best is not None and ranks[best][0] else None


def _rank(coordinate: xr.DataArray, kind: str) -> int:
    """How surely a coordinate is a kind of degrees: 3 by its standard name, 2 its units, 1 its name or axis; 0 not."""
    name, attributes = str(coordinate.name).lower(), coordinate.attrs
    standard_name, units = str(attributes.get("standard_name", "")), units_of(coordinate)
    if coordinate.dtype.kind not in "iuf" or (standard_name and standard_name != kind) or _ROTATED.fullmatch(name):
        return 0  # of a rotated pole, or metres
    if standard_name == kind:
        return 3
    if units == kind:
        return 2
    by_axis = attributes.get("axis") == AXES[kind] or name == AXES[kind].lower()
    return int(name in NAMES[kind] or (by_axis and units == DEGREES))


def _objections(
    array: xr.DataArray, latitude: xr.DataArray, longitude: xr.DataArray, named: Mapping[str, str | None]
) -> Iterator[str]:
    """What shows that coordinates are no latitudes and longitudes, and what to do."""
    along = {LATITUDE: latitude, LONGITUDE: longitude}
    for kind, coordinate in along.items():
        if named.get(kind) is not None:
            continue
        units = units_of(coordinate)
        other = LONGITUDE if kind == LATITUDE else LATITUDE
        if str(coordinate.name).lower() in NAMES[other]:
            yield (
                f"has the {kind} by its attributes in a coordinate called {coordinate.name}, which contradict each "
                "other; repair its units and standard name, or say which it is with --latitude NAME --longitude NAME"
            )
        if units not in (kind, DEGREES, RADIANS, NO_UNITS):
            yield (
                f"has the {kind} {coordinate.name} in {str(coordinate.attrs.get('units'))!r}, expected degrees_"
                f"{'north' if kind == LATITUDE else 'east'}; repair its units, or {WAY_OUT}; {SAY_SO}"
            )
        if units == NO_UNITS and (problem := _implausible(coordinate, kind)):
            yield (
                f"has no units of degrees for {coordinate.name}, and its values {problem}; give it the units degrees_"
                f"{'north' if kind == LATITUDE else 'east'}, or {WAY_OUT}; {SAY_SO}"
            )
    for kind, curved in _curved(array).items():
        if set(curved.dims) >= {*latitude.dims, *longitude.dims} and not _repeats(curved, latitude, longitude, kind):
            yield (
                f"lies on a curvilinear grid: {curved.name} depends on two or more dimensions, {curved.dims}, differs "
                f"from {along[kind].name}; expected a latitude for each row and a longitude for each column: {WAY_OUT}"
            )
    surely = min(_rank(latitude, LATITUDE), _rank(longitude, LONGITUDE)) >= 2
    if (problem := _projection(array, surely=surely)) is not None:
        yield f"{problem}, and {latitude.name} and {longitude.name} may be its own: {WAY_OUT}; {SAY_SO}"


def _implausible(coordinate: xr.DataArray, kind: str) -> str | None:
    """Why values without units could be no degrees, in words."""
    values = coordinate.values.astype(np.float64)
    most = MOST_DEGREES[kind]
    if not (np.abs(values) <= most).all():
        return f"are not all within [-{most:g}, {most:g}]"
    rising = np.sort(values)
    is_index = len(values) > 1 and rising[0] in (0, 1) and np.array_equal(rising, rising[0] + np.arange(len(values)))
    if is_index and not (kind == LATITUDE and rising[-1] == most) and not (kind == LONGITUDE and len(values) >= CIRCLE):
        return f"{rising[0]:g}, {rising[0] + 1:g}, ... {rising[-1]:g} look like numbers of rows or columns"
    return None


def _curved(array: xr.DataArray) -> dict[str, xr.DataArray]:
    """Latitudes and longitudes that depend on more than one dimension of a variable."""
    found: dict[str, xr.DataArray] = {}
    for value in array.coords.values():
        if value.ndim >= 2 and set(value.dims) <= set(array.dims):
            ranks = {kind: _rank(value, kind) for kind in AXES}
            kind = max(ranks, key=ranks.__getitem__)
            if ranks[kind]:
                found.setdefault(kind, value)
    return found


def _repeats(curved: xr.DataArray, latitude: xr.DataArray, longitude: xr.DataArray, kind: str) -> bool:
    """Whether latitudes or longitudes over two dimensions are those along one; of more dimensions, the first ones."""
    horizontal = (*latitude.dims, *longitude.dims)
    first = curved.isel({dim: 0 for dim in curved.dims if dim not in horizontal})
    plain = degrees_of(latitude)[:, None] if kind == LATITUDE else degrees_of(longitude)[None]
    step = np.abs(np.diff(plain.ravel())).min(initial=1.0)
    apart = np.abs(degrees_of(first.transpose(*horizontal)) - plain)
    apart = np.minimum(apart % CIRCLE, CIRCLE - apart % CIRCLE)
    return bool((apart[np.isfinite(apart)] <= 0.01 * step).all())


def _projection(array: xr.DataArray, *, surely: bool) -> str | None:
    """What says that the grid is one of another projection, in words.

    Args:
        array: The variable.
        surely: Whether its latitudes and longitudes say themselves that they are.
    """
    kinds = {word: _kind_of_mapping(array, word) for word in mappings_of(array)}
    if GEOGRAPHIC in kinds.values():
        return None
    for word, kind in kinds.items():
        if surely and (kind is None or kind in CYLINDRICAL):
            continue
        return f"has the grid_mapping {word!r}, {kind or 'of which nothing is known'}"
    return None


def _kind_of_mapping(array: xr.DataArray, word: str) -> str | None:
    """The name of a projection as CF has it; None if nothing is said."""
    if word not in array.coords:
        return None
    attributes = array.coords[word].attrs
    if name := str(attributes.get("grid_mapping_name", "")).strip():
        return name
    text = str(attributes.get("crs_wkt", attributes.get("spatial_ref", ""))).lstrip().upper()
    if text.startswith(("GEOGCS", "GEOGCRS", "GEODCRS", "GEOGRAPHICCRS")):
        return GEOGRAPHIC
    return "another projection" if text.startswith("PROJ") else None


def _nothing_found(array: xr.DataArray, kind: str) -> str:
    """That a variable has no latitude or longitude, what it has instead, and what to do."""
    if curved := _curved(array):
        names = " and ".join(str(value.name) for value in curved.values())
        return (
            f"lies on a curvilinear grid, {names} depend on two dimensions; expected a latitude for each row and a "
            f"longitude for each column: {WAY_OUT}"
        )
    hints = [f"{key} {_in_words(value)}" for key, value in array.coords.items() if _is_near(key, value)]
    projection = _projection(array, surely=False)
    return (
        f"has dimensions {array.dims}, none of which is the {kind}"
        + "".join(f"; {hint}" for hint in hints)
        + (f"; it {projection}" if projection else "")
        + "; expected coordinates with the standard names, the units (degrees_north, degrees_east) or the names of "
        f"latitude and longitude: {WAY_OUT}; {SAY_SO}"
    )


def _is_near(key: Hashable, coordinate: xr.DataArray) -> bool:
    """Whether somebody may take a coordinate for a latitude or longitude."""
    letters = {letter.lower() for letter in AXES.values()}
    named = str(key).lower() in letters or _ROTATED.fullmatch(str(key).lower()) is not None
    return coordinate.ndim == 1 and (named or coordinate.attrs.get("axis") in AXES.values())


def _in_words(coordinate: xr.DataArray) -> str:
    units = coordinate.attrs.get("units")
    return "has no units" if units is None else f"is in {str(units)!r}"


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

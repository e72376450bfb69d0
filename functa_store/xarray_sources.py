"""How does an xarray object become a source, with the names, coordinates and units that it carries?"""

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from functa_store.array_described import ArrayFacts, ArrayOptions, as_label, as_text
from functa_store.array_examples import check_array
from functa_store.array_sources import ValuesSource
from functa_store.errors import ArchiveError
from functa_store.progress import Report, silent

if TYPE_CHECKING:
    import xarray as xr

_SPHERE_NAMES = {"lat", "latitude", "lon", "longitude"}
_SPHERE_UNITS = {
    f"{stem}{letter}" for stem in ("degrees_", "degree_", "degrees", "degree") for letter in ("north", "east", "N", "E")
}
_NANOSECONDS = 1e-9


class XarrayExamples:
    """Variables on one grid, computed a few examples at a time; see `array_examples.Examples`.

    Args:
        variables: Each with the dimensions (example, *axes), or a single one with a last dimension of channels.
        stacked: Whether each variable is a channel.
        name: What errors call them.
    """

    def __init__(self, variables: "Sequence[xr.DataArray]", *, stacked: bool, name: str) -> None:
        self._variables, self._stacked = variables, stacked
        first = variables[0]
        self.shape = (*first.shape, len(variables)) if stacked else first.shape
        self.dtype = np.result_type(*(variable.dtype for variable in variables))
        self.chunk = first.chunks[0][0] if first.chunks else 1
        check_array(self.shape, self.dtype, name, first.sizes)

    def block(self, start: int, stop: int) -> np.ndarray:
        """See `Examples.block`."""
        found = [variable[start:stop].to_numpy() for variable in self._variables]
        return np.stack(found, axis=-1) if self._stacked else found[0]


def from_xarray(
    data: "xr.DataArray | xr.Dataset",
    *,
    example_dim: Hashable | Sequence[Hashable],
    channel_dim: Hashable | None = None,
    split: str | np.ndarray | None = None,
    name: str | None = None,
    options: ArrayOptions | None = None,
    report: Report = silent,
) -> ValuesSource:
    """A source over an xarray object: nothing but an example at a time is read or computed.

    The other one to three dimensions are the axes. Where the coordinate of one is evenly spaced, its length and unit
    go along. Coordinates along the examples become ids and labels, units of variables the units of channels.

    Args:
        data: An array; or a dataset, whose variables with the example dimension become the channels.
        example_dim: The dimension that numbers the examples, or several that do so together.
        channel_dim: The dimension that is the channels' of an array; a dataset has its variables for that.
        split: Name of a coordinate along the examples with "train", "validation" or "test", or such an array. None
            takes the coordinate `split` if there is one, or else holds out every tenth example.
        name: What the provenance and errors call it; None takes its own name.
        options: How much of it is taken, and how it is scaled; None takes all, and NaN for a missing value.
        report: Told how far the reading is.

    Raises:
        ArchiveError: If a dimension is missing, the variables differ in theirs, the grid is one of latitudes and
            longitudes, or the values cannot be learned; as for `ValuesSource`.
    """
    name = name or str(getattr(data, "name", None) or "xarray")
    is_dataset = hasattr(data, "data_vars")
    variables: list[Any] = [data[key] for key in data.data_vars] if is_dataset else [data]  # type: ignore[attr-defined]
    stacked = channel_dim is None
    dims = [example_dim] if isinstance(example_dim, str) or not isinstance(example_dim, Sequence) else [*example_dim]
    variables = _with_dims(variables, dims, channel_dim, name, is_dataset=is_dataset)
    first = variables[0]
    axes = [dim for dim in first.dims if dim not in (*dims, channel_dim)]
    for axis in axes:
        _refuse_sphere(first, axis, name)
    if len(dims) > 1:
        variables = [variable.stack({"example": dims}, create_index=True) for variable in variables]
    example = dims[0] if len(dims) == 1 else "example"
    order = [example, *axes, *([] if stacked else [channel_dim])]
    variables = [variable.transpose(*order) for variable in variables]
    facts = ArrayFacts(
        name=name,
        axes=tuple(str(axis) for axis in axes),
        **_geometry(first, axes),
        channels=_channels(variables, channel_dim),
        units=_units(variables, channel_dim),
        ids=_ids(variables[0], example),
        split=_split(variables[0], example, split, name),
        labels=_labels(variables[0], example, split),
    )
    return ValuesSource(
        XarrayExamples(variables, stacked=stacked, name=name), facts, options or ArrayOptions(missing=True), report
    )


def _with_dims(
    variables: "list[xr.DataArray]", dims: list[Any], channel_dim: Hashable | None, name: str, *, is_dataset: bool
) -> "list[xr.DataArray]":
    """The variables that have the examples' dimensions, all on one grid."""
    kept = [variable for variable in variables if set(dims) <= set(variable.dims)]
    if not kept:
        found = {str(variable.name): variable.dims for variable in variables}
        raise ArchiveError(f"{name}: no variable has the example dimension {dims}; found {found}")
    if is_dataset and channel_dim is not None:
        raise ArchiveError(f"{name}: channel_dim={channel_dim!r} is for a single array; a dataset's variables are that")
    if channel_dim is not None and channel_dim not in kept[0].dims:
        raise ArchiveError(f"{name}: channel_dim={channel_dim!r} is none of the dimensions {kept[0].dims}")
    sizes = {str(variable.name): dict(variable.sizes) for variable in kept}
    if any(grid != next(iter(sizes.values())) for grid in sizes.values()):
        raise ArchiveError(f"{name}: variables on different grids: {sizes}; choose some: data[['a', 'b']]")
    return kept


def _refuse_sphere(variable: "xr.DataArray", axis: Hashable, name: str) -> None:
    coord = variable.coords.get(axis)
    attributes = {} if coord is None else coord.attrs
    standard, unit = attributes.get("standard_name"), attributes.get("units")
    if str(axis).lower() in _SPHERE_NAMES or standard in ("latitude", "longitude") or unit in _SPHERE_UNITS:
        raise ArchiveError(
            f"{name}: dimension {axis!r} is a latitude or longitude, and a flat grid would tear the sphere at its "
            "seam; use `functa convert climate`, or rename the dimension and drop its coordinate to take it as flat"
        )


def _geometry(variable: "xr.DataArray", axes: Sequence[Hashable]) -> dict[str, tuple[Any, ...]]:
    """Lengths, their units and the aspect of a cell, where coordinates are evenly spaced."""
    steps = [_step(variable.coords.get(axis)) for axis in axes]
    sized = zip(steps, axes, strict=True)
    lengths = tuple(step * variable.sizes[axis] if unit != "1" else 1.0 for (step, unit), axis in sized)
    alike = len({unit for _, unit in steps}) == 1
    aspect = tuple(step / steps[-1][0] if alike else 1.0 for step, _ in steps)
    return {"lengths": lengths, "length_units": tuple(unit for _, unit in steps), "cell_aspect": aspect}


def _step(coord: "xr.DataArray | None") -> tuple[float, str]:
    """Distance between neighbours and its unit, or (1, "1") where there is no even one."""
    if coord is None or coord.ndim != 1 or coord.size < 2 or coord.dtype.kind not in "iufmM":
        return 1.0, "1"
    positions, unit = coord.to_numpy(), str(coord.attrs.get("units", "1"))
    if positions.dtype.kind in "mM":
        positions, unit = (positions - positions[0]).astype("timedelta64[ns]").astype(np.int64) * _NANOSECONDS, "s"
    steps = np.diff(positions.astype(np.float64))
    step = abs(float(steps.mean()))
    if not np.isfinite(step) or step == 0 or not np.allclose(steps, steps.mean(), rtol=1e-3, atol=0):
        return 1.0, "1"
    return step, unit


def _channels(variables: "Sequence[xr.DataArray]", channel_dim: Hashable | None) -> tuple[str, ...]:
    if channel_dim is None:
        return tuple(str(v.name) if v.name is not None else str(k) for k, v in enumerate(variables))
    if channel_dim in variables[0].coords:
        return tuple(as_text(variables[0].coords[channel_dim].to_numpy()).tolist())
    return ()


def _units(variables: "Sequence[xr.DataArray]", channel_dim: Hashable | None) -> tuple[str, ...]:
    repeats = 1 if channel_dim is None else variables[0].sizes[channel_dim]
    return tuple(str(variable.attrs.get("units", "1")) for variable in variables for _ in range(repeats))


def _ids(variable: "xr.DataArray", example: Hashable) -> list[str] | None:
    """What the coordinate of the examples calls them, if it tells them apart."""
    if example not in variable.coords:
        return None
    index = variable.indexes[example]
    ids = ["/".join(map(str, key)) if isinstance(key, tuple) else str(key) for key in index]
    return ids if len(set(ids)) == len(ids) else None


def _split(variable: "xr.DataArray", example: Hashable, split: str | np.ndarray | None, name: str) -> np.ndarray | None:
    if split is None and "split" not in variable.coords:
        return None
    if isinstance(split, np.ndarray):
        return as_text(split)
    coord = variable.coords.get(split or "split")
    if coord is None or coord.dims != (example,):
        raise ArchiveError(f"{name}: split={split!r} is no coordinate along {example!r} alone")
    return as_text(coord.to_numpy())


def _labels(variable: "xr.DataArray", example: Hashable, split: Any) -> dict[str, Any]:
    used = {example, *(["split"] if split is None else [split] if isinstance(split, str) else [])}
    along = {
        str(key): coord.to_numpy()
        for key, coord in variable.coords.items()
        if coord.dims == (example,) and key not in used and coord.dtype.kind in "biufSUOT"
    }
    return {key: as_label(key, values) for key, values in along.items()}

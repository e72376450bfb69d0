"""An xarray object as a source, with the names, coordinates and units that it carries."""

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from functa_store.domains.cells import CellGrid
from functa_store.errors import ArchiveError
from functa_store.progress import Note, Report, silent
from functa_store.sources.array_blocks import MOST_AXES
from functa_store.sources.array_source import ArraySource, as_text
from functa_store.sources.cf_values import (
    ATTRIBUTES,
    FILL,
    MAXIMUM,
    MINIMUM,
    MISSING,
    OFFSET,
    RANGE,
    SCALE,
    CfChoices,
    CfDecoder,
    DecodedArray,
    check_decoders,
    masking_notes,
    numbers_of,
)

if TYPE_CHECKING:
    import xarray as xr


_SPHERE_NAMES = {"lat", "latitude", "lon", "longitude"}
_SPHERE_UNITS = {
    f"{stem}{letter}" for stem in ("degrees_", "degree_", "degrees", "degree") for letter in ("north", "east", "N", "E")
}
_NANOSECONDS = 1e-9


class XarrayValues:
    """Variables on one grid as one array, computed where it is indexed; see `array_blocks.ArrayLike`.

    Args:
        variables: Each with the dimensions (example, *axes), or a single one with a last dimension of channels.
        stacked: Whether each variable is a channel.
        decoders: Of the variables, whose stored numbers are packed; none takes them as they are.
    """

    def __init__(
        self, variables: "Sequence[xr.DataArray]", *, stacked: bool, decoders: Sequence[CfDecoder] = ()
    ) -> None:
        self._stacked, first = stacked, variables[0]
        self._variables: list[Any] = [
            variable if decoder is None or decoder.is_plain else DecodedArray(variable, decoder)
            for variable, decoder in itertools.zip_longest(variables, decoders)
        ]
        self.shape = (*first.shape, len(variables)) if stacked else first.shape
        self.dtype = np.result_type(*(variable.dtype for variable in self._variables))
        self.chunks = (first.chunks[0][0],) if first.chunks else ()

    def __getitem__(self, key: slice) -> np.ndarray:
        found = [np.asarray(variable[key]) for variable in self._variables]
        return np.stack(found, axis=-1) if self._stacked else found[0]


def from_xarray(
    data: "xr.DataArray | xr.Dataset",
    *,
    example_dim: Hashable | Sequence[Hashable],
    channel_dim: Hashable | None = None,
    split: str | Sequence[str] | np.ndarray | None = None,
    name: str | None = None,
    value_range: tuple[float | int, float | int] | None = None,
    missing: bool = True,
    limit: int | None = None,
    max_rejects: float | int = 0.0,
    check_first: int | None = None,
    ignore: Sequence[str] = (),
    report: Report = silent,
) -> ArraySource:
    """A source over an xarray object: nothing but a few examples at a time is read or computed.

    The other one to three dimensions are the axes. Where the coordinate of one is evenly spaced, its length and unit
    go along. Coordinates along the examples become ids and labels, units of variables the units of channels.
    Attributes that still say how numbers are packed and which are missing (of a dataset that was opened without
    `mask_and_scale`, or a valid range) are applied, with a note of what became missing.

    Args:
        data: An array; or a dataset, whose variables with the example dimension become the channels.
        example_dim: The dimension that numbers the examples, or several that do so together.
        channel_dim: The dimension that is the channels' of an array; a dataset has its variables for that.
        split: Name of a coordinate along the examples with "train", "validation" or "test", or such an array. None
            takes the coordinate `split` if there is one, or else holds out every tenth example.
        name: What the provenance and errors call it; None takes its own name.
        value_range: As for `ArraySource`.
        missing: Whether NaN means that a value is missing, as xarray has it.
        limit: As for `ArraySource`.
        max_rejects: As for `ArraySource`.
        check_first: As for `ArraySource`.
        ignore: CF attributes that are not believed, such as "valid_range", or "all".
        report: Told how far the reading is, and what became missing.

    Raises:
        ArchiveError: If a dimension is missing, the variables differ in theirs, or the grid is one of latitudes and
            longitudes; and else as for `ArraySource`.
    """
    name = name or str(getattr(data, "name", None) or "xarray")
    dims = [example_dim] if isinstance(example_dim, str) or not isinstance(example_dim, Sequence) else [*example_dim]
    variables, example = _example_first(_with_dims(data, dims, channel_dim, name), dims, channel_dim)
    first, stacked = variables[0], channel_dim is None
    axes = [dim for dim in first.dims if dim not in (example, channel_dim)]
    for axis in axes:
        _refuse_sphere(first, axis, name)
    choices = CfChoices(ignore=(ignore,) if isinstance(ignore, str) else tuple(ignore))
    decoders = [_decoder(variable, name, choices) for variable in variables]
    for formula in filter(None, (decoder.formula for decoder in decoders)):
        report(Note(message=f"{name}: {formula}"))
    try:
        return ArraySource(
            XarrayValues(variables, stacked=stacked, decoders=decoders),
            domain=_domain(first, axes, choices) if 1 <= len(axes) <= MOST_AXES else None,
            channels=_channels(variables, channel_dim),
            units=_units(variables, channel_dim),
            value_range=value_range,
            missing=missing,
            ids=_ids(first, example),
            split=_split(first, example, split, name),
            labels=_labels(first, example, split, choices),
            name=name,
            limit=limit,
            max_rejects=max_rejects,
            check_first=check_first,
            report=report,
        )
    finally:  # what was masked explains rejects
        for note in masking_notes(decoders):
            report(Note(message=f"{name}: {note}"))


def _decoder(variable: "xr.DataArray", name: str, choices: CfChoices, *, is_field: bool = True) -> CfDecoder:
    """What makes values of a variable by the attributes that still stand.

    xarray leaves a valid range in stored numbers where it is when it unpacks values.

    Raises:
        ArchiveError: If attributes make no sense.
    """
    told = {key: variable.attrs[key] for key in ATTRIBUTES if key in variable.attrs}
    packing = variable.encoding
    if any(packing.get(key) is not None for key in (FILL, MISSING)):
        told.setdefault(FILL, np.nan)  # what it was is not a number already, and nothing else was
    if any(packing.get(key) is not None for key in (SCALE, OFFSET)) and not {SCALE, OFFSET} & told.keys():
        scale, offset = (numbers_of(packing.get(key)) or [one] for key, one in ((SCALE, 1), (OFFSET, 0)))
        is_packed = np.dtype(packing.get("dtype") or variable.dtype).kind in "iu"
        told |= _unpacked_range(told, float(scale[0]), float(offset[0]), is_packed=is_packed)
        doubtful = []
    else:
        doubtful = [key for key in (RANGE, MINIMUM, MAXIMUM) if key in told and _is_of_integers(told[key])]
        doubtful = doubtful if variable.dtype.kind == "f" and SCALE not in told else []
    decoder = CfDecoder(
        str(variable.name or "values"),
        variable.dtype,
        {key: value for key, value in told.items() if key not in doubtful},
        choices,
        is_field=is_field,
    )
    decoder.doubts += [
        f"{key} is of integers beside floats, and may be that of packed ones; not applied" for key in doubtful
    ]
    check_decoders(name, [decoder])
    return decoder


def _is_of_integers(value: Any) -> bool:
    """Whether an attribute holds integers as files do, which NumPy's types tell from what somebody has typed."""
    return getattr(value, "dtype", np.dtype(float)).kind in "iu"


def _unpacked_range(told: Mapping[str, Any], scale: float, offset: float, *, is_packed: bool) -> dict[str, Any]:
    """A valid range of stored numbers in values, its ends within it; one of floats beside integers is so already."""
    ends = {key: numbers_of(told[key]) for key in (MINIMUM, MAXIMUM) if key in told}
    if RANGE in told and (both := numbers_of(told[RANGE])) is not None and len(both) == 2:
        ends = {MINIMUM: both[:1], MAXIMUM: both[1:]}
    numbers = {key: found[0] for key, found in ends.items() if found is not None and len(found) == 1}
    if len(numbers) < len(ends) or (is_packed and any(isinstance(number, float) for number in numbers.values())):
        return {}
    signs = {MINIMUM: -1, MAXIMUM: 1}
    values = {key: number * scale + offset + signs[key] * scale / 100 for key, number in numbers.items()}
    if scale < 0:
        values = {MINIMUM if key == MAXIMUM else MAXIMUM: value for key, value in values.items()}
    if RANGE in told:
        return {RANGE: [values[MINIMUM], values[MAXIMUM]]} if len(values) == 2 else {}
    return {MINIMUM: values.get(MINIMUM, -math.inf), MAXIMUM: values.get(MAXIMUM, math.inf)}


def _numbers(coord: "xr.DataArray", choices: CfChoices) -> np.ndarray:
    """The values of a coordinate, unpacked if attributes still say so."""
    stored = coord.to_numpy()
    if stored.dtype.kind not in "iuf":
        return stored
    values = _decoder(coord, str(coord.name), choices, is_field=False)(stored)
    return stored if np.array_equal(values, stored) else values  # integers stay integers


def _with_dims(
    data: "xr.DataArray | xr.Dataset", dims: list[Any], channel_dim: Hashable | None, name: str
) -> "list[xr.DataArray]":
    """The variables that have the examples' dimensions, all on one grid."""
    is_dataset = hasattr(data, "data_vars")
    variables: list[Any] = [data[key] for key in data.data_vars] if is_dataset else [data]  # type: ignore[attr-defined]
    kept = [variable for variable in variables if set(dims) <= set(variable.dims)]
    if not kept or not dims:
        found = {str(variable.name): variable.dims for variable in variables}
        raise ArchiveError(f"{name}: no variable has the example dimension {dims}; found {found}")
    if is_dataset and channel_dim is not None:
        raise ArchiveError(f"{name}: channel_dim={channel_dim!r} is for a single array; a dataset's variables are that")
    if channel_dim is not None and channel_dim not in set(kept[0].dims) - set(dims):
        raise ArchiveError(f"{name}: channel_dim={channel_dim!r} is none of the other dimensions {kept[0].dims}")
    sizes = {str(variable.name): dict(variable.sizes) for variable in kept}
    if any(grid != next(iter(sizes.values())) for grid in sizes.values()):
        raise ArchiveError(f"{name}: variables on different grids: {sizes}; choose some: data[['a', 'b']]")
    return kept


def _example_first(
    variables: "list[xr.DataArray]", dims: list[Any], channel_dim: Hashable | None
) -> "tuple[list[xr.DataArray], Hashable]":
    """The variables with the examples' dimension first and the channels' last, and what the former is called."""
    example = dims[0] if len(dims) == 1 else "example"
    if len(dims) > 1:
        variables = [variable.stack({example: dims}, create_index=True) for variable in variables]
    axes = [dim for dim in variables[0].dims if dim not in (example, channel_dim)]
    order = [example, *axes, *([] if channel_dim is None else [channel_dim])]
    return [variable.transpose(*order) for variable in variables], example


def _refuse_sphere(variable: "xr.DataArray", axis: Hashable, name: str) -> None:
    coord = variable.coords.get(axis)
    attributes = {} if coord is None else coord.attrs
    standard, unit = attributes.get("standard_name"), attributes.get("units")
    if str(axis).lower() in _SPHERE_NAMES or standard in ("latitude", "longitude") or unit in _SPHERE_UNITS:
        raise ArchiveError(
            f"{name}: dimension {axis!r} is a latitude or longitude, and a flat grid would tear the sphere at its "
            "seam; use `functa convert climate`, or rename the dimension and drop its coordinate to take it as flat"
        )


def _domain(variable: "xr.DataArray", axes: Sequence[Hashable], choices: CfChoices) -> CellGrid:
    """The grid, with lengths, units and the aspect of a cell where coordinates are evenly spaced."""
    steps = [_step(variable.coords.get(axis), choices) for axis in axes]
    sized = zip(steps, axes, strict=True)
    alike = len({unit for _, unit in steps}) == 1
    return CellGrid(
        axes=tuple(str(axis) for axis in axes),
        resolution=tuple(variable.sizes[axis] for axis in axes),
        cell_aspect=tuple(step / steps[-1][0] if alike else 1.0 for step, _ in steps),
        lengths=tuple(step * variable.sizes[axis] if unit != "1" else 1.0 for (step, unit), axis in sized),
        units=tuple(unit for _, unit in steps),
    )


def _step(coord: "xr.DataArray | None", choices: CfChoices) -> tuple[float, str]:
    """Distance between neighbours and its unit, or (1, "1") where there is no even one."""
    if coord is None or coord.ndim != 1 or coord.size < 2 or coord.dtype.kind not in "iufmM":
        return 1.0, "1"
    positions, unit = _numbers(coord, choices), str(coord.attrs.get("units", "1")).partition(" since ")[0]
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


def _split(variable: "xr.DataArray", example: Hashable, split: Any, name: str) -> np.ndarray | None:
    if split is None and "split" not in variable.coords:
        return None
    if split is not None and not isinstance(split, str):
        return np.asarray(split)
    coord = variable.coords.get(split or "split")
    if coord is None or coord.dims != (example,):
        raise ArchiveError(f"{name}: split={split!r} is no coordinate along {example!r} alone")
    return as_text(coord.to_numpy())


def _labels(variable: "xr.DataArray", example: Hashable, split: Any, choices: CfChoices) -> dict[str, np.ndarray]:
    used = {example, *(["split"] if split is None else [split] if isinstance(split, str) else [])}
    return {
        str(key): _numbers(coord, choices)
        for key, coord in variable.coords.items()
        if coord.dims == (example,) and key not in used and coord.dtype.kind in "biufSUOT"
    }

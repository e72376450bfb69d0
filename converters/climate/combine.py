"""Files of one archive put together: the variables that are wanted, on one grid, along times and other coordinates."""

import os
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

import numpy as np
import xarray as xr

from converters.climate.fields import is_time, only_field, with_grids, words
from converters.climate.grid import CIRCLE, LATITUDE, LONGITUDE, degrees_of, grid_of, mappings_of
from functa_store.errors import ArchiveError

SAME = 1e-3
"""Latitudes and longitudes of two files that differ by less than this part of a step are the same points."""

_NUM_NAMED = 5
_TIME_FIRST = ("time", "valid_time")


class Member:
    """One file and what of it is wanted.

    Args:
        path: Of the file.
        dataset: The wanted variables, and what describes their grid among the coordinates.
    """

    def __init__(self, path: str, dataset: xr.Dataset) -> None:
        self.file, self.dataset = os.path.basename(path), dataset

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of its variables."""
        return tuple(sorted(map(str, self.dataset.data_vars)))

    def scalars(self) -> dict[str, str]:
        """Coordinates of one value, in words; what describes a projection apart."""
        described = {word for array in self.dataset.data_vars.values() for word in mappings_of(array)}
        return {
            str(key): words(value)[0]
            for key, value in self.dataset.coords.items()
            if value.ndim == 0 and key not in described and value.dtype.kind in "iufMmUO"
        }


def combine(
    name: str,
    paths: Sequence[str],
    datasets: Sequence[xr.Dataset],
    variables: Sequence[str],
    named: Mapping[str, str | None],
) -> tuple[xr.Dataset, list[str]]:
    """The files as one dataset, and what was left out or aligned, in words.

    Only the variables that are wanted are put together. Files whose latitudes or longitudes are those of the first one
    in another order or convention are aligned; a coordinate of one value that tells files apart, such as a time, makes
    a dimension.

    Args:
        name: Of the archive, for errors.
        paths: Of the files.
        datasets: What was opened of each.
        variables: The wanted ones; none takes the only field.
        named: What the user calls latitude and longitude.

    Raises:
        ArchiveError: If they do not belong together; names the files and what differs.
    """
    datasets = [with_grids(dataset, named) for dataset in datasets]
    wanted = list(variables) or [only_field(name, datasets, named)]
    members, notes = _with_variables(name, paths, datasets, wanted)
    _check_units(members)
    notes += _align(members, named)
    horizontal = {dim for m in members for key in m.variables for dim in _grid_dims(m, key, named)}
    _expand(members, horizontal)
    _check_apart(members, horizontal)
    if len(members) == 1:
        return members[0].dataset, notes
    try:
        together = xr.combine_by_coords(
            [member.dataset for member in members],
            data_vars="all",
            coords="minimal",
            compat="override",
            join="exact",
            combine_attrs="override",
        )
    except (ValueError, TypeError, xr.MergeError) as error:  # TypeError: of times in different calendars
        raise ArchiveError(
            f"{name}: {len(members)} files cannot be put together along time, the first one {members[0].file}: "
            f"{_what_differs(members, horizontal) or error}; they must have the same grid and different times"
        ) from error
    assert isinstance(together, xr.Dataset)  # datasets, not arrays, were given
    return together, notes


def _with_variables(
    name: str, paths: Sequence[str], datasets: Sequence[xr.Dataset], wanted: Sequence[str]
) -> tuple[list[Member], list[str]]:
    """The files that have wanted variables, and a note of the others."""
    members, others = [], []
    for path, dataset in zip(paths, datasets, strict=True):
        if own := [key for key in wanted if key in dataset.data_vars]:
            members.append(Member(path, dataset[own]))
        else:
            others.append(os.path.basename(path))
    known = sorted({str(key) for dataset in datasets for key in dataset.data_vars})
    for key in wanted:
        if not any(key in member.dataset.data_vars for member in members):
            raise ArchiveError(f"{name}: no variable {key!r} in any of {len(paths)} files, expected some of {known}")
    if not others:
        return members, []
    return members, [f"{len(others)} of {len(paths)} files have no {' or '.join(wanted)}: {_few(others)}; left out"]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_NUM_NAMED]) + (", ..." if len(names) > _NUM_NAMED else "")


def _check_units(members: Sequence[Member]) -> None:
    """Refuse files that give one variable or coordinate in different units; put together, they would all have one.

    Raises:
        ArchiveError: If some do.
    """
    first: dict[Hashable, tuple[str, Member]] = {}
    for member in members:
        coordinates = dict(member.dataset.coords)  # times have no units any more, but those that stayed numbers do
        for key, array in {**member.dataset.data_vars, **coordinates}.items():
            units = str(array.attrs.get("units", ""))
            known, where = first.setdefault(key, (units, member))
            if units != known and not (key in coordinates and _same_values(where, member, key)):
                raise ArchiveError(
                    f"{member.file}: {key} is in {units!r}, but in {known!r} in {where.file}; expected one unit in "
                    "all files: rewrite one of them"
                )


def _same_values(one: Member, other: Member, key: Hashable) -> bool:
    """Whether a coordinate has the same values in two files, whatever its units are called."""
    return np.array_equal(one.dataset[key].values, other.dataset[key].values)


def _grid_dims(member: Member, key: str, named: Mapping[str, str | None]) -> tuple[str, str]:
    latitude, longitude = grid_of(member.file, member.dataset[key], named)
    return str(latitude.dims[0]), str(longitude.dims[0])


def _align(members: Sequence[Member], named: Mapping[str, str | None]) -> list[str]:
    """Bring all files onto the points of the first one that has a dimension, and say how.

    Raises:
        ArchiveError: If they lie on other points; names both files.
    """
    first: dict[str, tuple[str, tuple[str, str]]] = {}
    known: dict[str, tuple[str, xr.DataArray]] = {}
    notes: dict[str, list[str]] = {}
    for member in members:
        for key in member.variables:
            grid = grid_of(member.file, member.dataset[key], named)
            dims = (str(grid[0].dims[0]), str(grid[1].dims[0]))
            where, expected = first.setdefault(key, (member.file, dims))
            if dims != expected:
                raise ArchiveError(
                    f"{member.file}: {key} lies on the dimensions {dims}, but on {expected} in {where}; rename them"
                )
            for kind, along in zip((LATITUDE, LONGITUDE), grid, strict=True):
                where, points = known.setdefault(str(along.dims[0]), (member.file, along))
                if points is along or along.identical(points):
                    continue
                order, what = _order_of(kind, points, along, where, member.file)
                member.dataset = _reordered(member.dataset, along, points, order)
                if what:
                    notes.setdefault(f"{kind}s {what} {where}; taken as the same points", []).append(member.file)
    return [f"{_few(list(dict.fromkeys(files)))}: {what}" for what, files in notes.items()]


def _reordered(dataset: xr.Dataset, along: xr.DataArray, points: xr.DataArray, order: np.ndarray | None) -> xr.Dataset:
    """A dataset whose rows or columns are in the order of another file, under its coordinate."""
    dim = along.dims[0]
    if order is not None:
        dataset = dataset.isel({dim: order})
    return dataset.assign_coords({str(along.name): points.variable})


def _order_of(
    kind: str, points: xr.DataArray, along: xr.DataArray, where: str, file: str
) -> tuple[np.ndarray | None, str]:
    """Which rows or columns are the points of another file, and how they differ from them in words.

    Raises:
        ArchiveError: If they are other points.
    """
    expected, found = degrees_of(points), degrees_of(along)
    step = np.abs(np.diff(expected)).min(initial=np.inf)
    near = SAME * (step if 0 < step < np.inf else 1.0)
    if found.shape == expected.shape and np.isfinite(found).all():
        apart = np.abs(found - expected).max(initial=0)
        if apart <= near:
            return None, f"differ by up to {apart:.1g} degrees from those of" if apart > 0 else ""
        if kind == LONGITUDE and _turned(found - expected).max(initial=0) <= near:
            return None, "are told in another convention than those of"
        start = expected.min() if kind == LATITUDE else expected[0] - near
        places = (found - start) % CIRCLE if kind == LONGITUDE else found
        wanted = (expected - start) % CIRCLE if kind == LONGITUDE else expected
        order = np.empty(len(expected), np.int64)
        order[np.argsort(wanted, kind="stable")] = np.argsort(places, kind="stable")
        moved = found[order] - expected
        if (_turned(moved) if kind == LONGITUDE else np.abs(moved)).max(initial=0) <= near:
            return order, "stand in another order or convention than those of"
    raise ArchiveError(
        f"{file}: {kind}s ({_span(found)}) are other points than those of {where} ({_span(expected)}); expected one "
        "grid in all files: regrid one of them, or convert them one by one"
    )


def _turned(apart: np.ndarray) -> np.ndarray:
    """Distances of longitudes, whole turns apart."""
    return np.minimum(apart % CIRCLE, CIRCLE - apart % CIRCLE)


def _span(values: np.ndarray) -> str:
    return f"{len(values)} from {values[0]:.9g} to {values[-1]:.9g}" if len(values) else "none"


def _expand(members: Sequence[Member], horizontal: set[str]) -> None:
    """Make dimensions of coordinates of one value that tell files apart; others that differ go along."""
    told = [member.scalars() for member in members]
    names = sorted({key for own in told for key in own}, key=_time_first(members))
    differing = [key for key in names if len({own.get(key) for own in told}) > 1 and all(key in own for own in told)]
    chosen = [key for key in names if any(key in member.dataset.dims for member in members)]
    keys = [_first_values(member, horizontal) for member in members]
    for key in differing:
        more = [(*k, own[key]) for k, own in zip(keys, told, strict=True)]
        if key not in chosen and len(set(keys)) < len(keys) and len(set(more)) > len(set(keys)):
            chosen.append(key)
            keys = more
    along = chosen[0] if chosen else _only_dim(members, horizontal)
    for member, own in zip(members, told, strict=True):
        for key in reversed([key for key in chosen if key in own]):
            member.dataset = member.dataset.expand_dims(key)
        for key in own:
            if key in chosen:
                continue
            if key in differing and along is not None and along in member.dataset.dims:
                value = member.dataset[key]
                size = member.dataset.sizes[along]
                member.dataset = member.dataset.assign_coords(
                    {key: (along, np.repeat(value.values[None], size), value.attrs)}
                )
            elif key not in differing and len({other.get(key) for other in told}) > 1:
                member.dataset = member.dataset.drop_vars(key)  # only some files have it


def _time_first(members: Sequence[Member]) -> Callable[[str], tuple[int, str]]:
    """A key that sorts coordinates: the time first, then other times."""
    coordinates = {str(key): value for member in members for key, value in member.dataset.coords.items()}

    def rank(key: str) -> tuple[int, str]:
        along = coordinates[key]
        is_main = key.lower() in _TIME_FIRST or along.attrs.get("axis") == "T"
        return (0 if is_main else 1 if is_time(along) else 2, key)

    return rank


def _only_dim(members: Sequence[Member], horizontal: set[str]) -> str | None:
    """The only dimension along which the files differ."""
    told: dict[str, set[str]] = {}
    for member in members:
        for dim, value in _dims(member, horizontal):
            told.setdefault(dim, set()).add(value)
    found = [dim for dim, values in told.items() if len(values) > 1]
    return found[0] if len(found) == 1 else None


def _dims(member: Member, horizontal: set[str]) -> list[tuple[str, str]]:
    """Each dimension that has a coordinate, beside those of the grid, and its first value in words."""
    dataset = member.dataset
    return [
        (str(dim), words(dataset[dim][:1])[0] if dataset.sizes[dim] else "")
        for dim in sorted(map(str, dataset.dims))
        if dim in dataset.coords and dim not in horizontal
    ]


def _first_values(member: Member, horizontal: set[str]) -> tuple[object, ...]:
    return (member.variables, *_dims(member, horizontal))


def _check_apart(members: Sequence[Member], horizontal: set[str]) -> None:
    """Refuse files that nothing tells apart; one of them would be dropped.

    Raises:
        ArchiveError: If there are two; names both and their first value.
    """
    seen: dict[tuple[object, ...], Member] = {}
    for member in members:
        other = seen.setdefault(_first_values(member, horizontal), member)
        if other is not member:
            told = ", ".join(f"{dim} {value}" for dim, value in _dims(member, horizontal))
            raise ArchiveError(
                f"{other.file} and {member.file} cannot be put together: both hold {', '.join(member.variables)} from "
                f"{told or 'no time'} on; expected a time or another coordinate that tells files apart: remove one, or "
                "give each its time"
            )
    if problem := _repeated(members, horizontal):
        raise ArchiveError(f"{problem}; expected each once: remove one of the files, or cut what they share")


def _what_differs(members: Sequence[Member], horizontal: set[str]) -> str | None:
    """Two files of which one lacks a dimension, or that have the same value of one, in words."""
    dims = {frozenset(map(str, member.dataset.dims)): member.file for member in members}
    if len(dims) > 1:
        (one, first), (two, second) = list(dims.items())[:2]
        return f"{first} has the dimensions {_listed(one)}, {second} {_listed(two)}"
    return _repeated(members, horizontal) or _other_values(members, horizontal)


def _other_values(members: Sequence[Member], horizontal: set[str]) -> str | None:
    """Two files with different values of a dimension along which they do not follow each other, in words."""
    along, first = _only_dim(members, horizontal), members[0]
    for member in members:
        for dim in sorted(map(str, set(member.dataset.dims) - horizontal - {along})):
            told = [words(one.dataset[dim]) if dim in one.dataset.coords else [] for one in (first, member)]
            if told[0] != told[1] or first.dataset.sizes[dim] != member.dataset.sizes[dim]:
                return (
                    f"{dim} of {first.file} is {_few(told[0]) or first.dataset.sizes[dim]}, of {member.file} "
                    f"{_few(told[1]) or member.dataset.sizes[dim]}"
                )
    return None


def _repeated(members: Sequence[Member], horizontal: set[str]) -> str | None:
    """Two files that have the same value of the only dimension along which they differ, in words."""
    if (dim := _only_dim(members, horizontal)) is None:
        return None
    seen: dict[tuple[tuple[str, ...], str], Member] = {}
    for member in members:
        for word in words(member.dataset[dim]) if dim in member.dataset.coords else ():
            other = seen.setdefault((member.variables, word), member)
            if other is not member:
                return f"{dim} {word} is in {other.file} and in {member.file}"
    return None


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))

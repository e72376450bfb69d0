"""Times and other coordinates of examples, as words and as labels."""

import calendar
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from functa_store.sources.array_labels import as_text, storable
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
    classes, number = np.unique(as_text(values), return_inverse=True)
    return {name: Label(values=number.astype(np.int32), names=tuple(classes.tolist()))}


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

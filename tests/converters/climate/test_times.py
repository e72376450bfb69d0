"""Calendars of archives, and times that stay numbers."""

import cftime
import numpy as np
import pytest
import xarray as xr

from converters.climate.climate import open_climate

LAT, LON = np.linspace(-80, 80, 5), np.arange(6) * 60.0
MONTHS = 240


@pytest.fixture(name="write")
def _write(tmp_path):
    def write(values, attributes):
        fields = np.random.default_rng(0).random((len(values), 5, 6), np.float32)
        coords = {
            "time": ("time", values, attributes),
            "lat": ("lat", LAT, {"units": "degrees_north"}),
            "lon": ("lon", LON, {"units": "degrees_east"}),
        }
        xr.Dataset({"t": (("time", "lat", "lon"), fields)}, coords).to_netcdf(tmp_path / "t.nc", engine="h5netcdf")
        return tmp_path / "t.nc"

    return write


def messages(notes):
    return " ".join(getattr(note, "message", "") for note in notes)


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ({"calendar": "THIRTY_DAY_MONTHS"}, "360_day"),
        ({"calendar_type": "THIRTY_DAY_MONTHS"}, "360_day"),
        ({"calendar": "360"}, "360_day"),
        ({"calendar": "360 day"}, "360_day"),
        ({"calendar": "no_leap"}, "noleap"),
        ({"calendar": "NOLEAP", "calendar_type": "noleap"}, "noleap"),
        ({"calendar": "365_day"}, "noleap"),
        ({"calendar": "all_leap"}, "all_leap"),
        ({"calendar": "366_day"}, "all_leap"),
        ({"calendar": "JULIAN"}, "julian"),
        ({"calendar": "Gregorian"}, "standard"),
        ({"calendar": "proleptic_gregorian"}, "proleptic_gregorian"),
        ({}, "standard"),
    ],
)
def test_months_and_years_are_those_of_the_calendar(write, told, meant):
    days = np.arange(MONTHS) * 30 + 15.0
    units = "days since 0101-01-01"
    source = open_climate(write(days, {"units": units} | told))
    expected = cftime.num2date(days, units, meant)
    assert source.ids[-1] == expected[-1].strftime("%Y-%m-%dT%H:%M").rjust(16, "0")
    assert (source.labels["month"].values + 1).tolist() == [time.month for time in expected]
    assert source.labels["year"].values.tolist() == [time.year for time in expected]


@pytest.mark.parametrize(
    "told", [{"calendar": "none"}, {"calendar": "lunar"}, {"calendar": "360_day", "calendar_type": "JULIAN"}]
)
def test_times_of_an_unknown_calendar_stay_numbers_with_a_note(write, told):
    notes = []
    source = open_climate(
        write(np.arange(20) * 30 + 15.0, {"units": "days since 0001-01-01"} | told), report=notes.append
    )
    assert source.ids[:2] == ["15", "45"]
    assert source.labels.keys() == {"time"}
    assert "time counts in the calendar" in messages(notes)
    assert source.split.tolist() == ["train"] * 18 + ["test"] * 2  # it is the time all the same


def test_a_climatology_that_counts_from_a_year_0_has_its_months(write):
    source = open_climate(write(np.arange(12) * 30.4 + 15, {"units": "days since 0000-01-01"}))
    assert source.labels["month"].values.tolist() == list(range(12))


@pytest.mark.parametrize("units", ["months since 1960-01-01", "furlongs since 1960-01-01", "days since yesterday"])
def test_units_that_are_no_times_leave_numbers_with_a_note(write, units):
    notes = []
    source = open_climate(write(np.arange(20.0), {"units": units}), report=notes.append)
    assert source.ids[:2] == ["0", "1"]
    assert "month" not in source.labels
    assert "cannot be read as times; left as numbers" in messages(notes)


def test_months_of_thirty_days_can_be_counted(write):
    source = open_climate(write(np.arange(20) + 0.5, {"units": "months since 1960-01-01", "calendar": "360"}))
    assert source.ids[13] == "1961-02-16T00:00"


def test_a_time_without_units_is_a_number(write):
    source = open_climate(write(np.arange(20) * 6.0 + 3, {}))
    assert source.ids[:2] == ["3", "9"]
    assert source.labels["time"].values[1] == 9

"""Which coordinates are taken for latitudes and longitudes, and what shows that some are none."""

import numpy as np
import pytest
import xarray as xr

from converters.climate.climate import open_climate
from functa_store.errors import ArchiveError, ConfigError

LAT, LON = np.linspace(-80, 80, 9), np.arange(12) * 30.0
ROWS, COLUMNS = np.meshgrid(np.linspace(40, 60, 9), np.linspace(-20, 13, 12), indexing="ij")
NORTH, EAST = {"units": "degrees_north"}, {"units": "degrees_east"}


@pytest.fixture(name="write")
def _write(tmp_path):
    """A file of four fields over (lat, lon); `coords` replaces their coordinates."""

    def write(dims=("lat", "lon"), coords=None, attributes=None, extra=None):
        values = np.random.default_rng(0).normal(280, 10, (4, 9, 12)).astype(np.float32)
        plain = {"lat": ("lat", LAT, NORTH), "lon": ("lon", LON, EAST)}
        made = xr.Dataset(
            {"t": (("n", *dims), values, {"units": "K"} | (attributes or {}))} | (extra or {}),
            plain if coords is None else coords,
        )
        made.to_netcdf(tmp_path / "fields.nc", engine="h5netcdf")
        return tmp_path / "fields.nc"

    return write


def curved(dims):
    return {
        "lat2": (dims, ROWS, NORTH | {"standard_name": "latitude"}),
        "lon2": (dims, COLUMNS, EAST | {"standard_name": "longitude"}),
    }


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({}, "y has no units"),
        ({"axis": "Y"}, "y has no units"),
        ({"units": "m", "axis": "Y"}, "y is in 'm'"),
        ({"units": "km", "standard_name": "projection_y_coordinate"}, "y is in 'km'"),
        ({"units": "1", "axis": "Y"}, "y is in '1'"),
        ({"units": "degrees", "standard_name": "grid_latitude"}, "y is in 'degrees'"),
    ],
)
def test_an_axis_called_y_without_units_of_degrees_is_no_latitude(write, attributes, message):
    path = write(("y", "lon"), {"y": ("y", LAT, attributes), "lon": ("lon", LON, EAST)})
    with pytest.raises(ArchiveError, match=f"none of which is the latitude; {message}.*--latitude NAME"):
        open_climate(path)
    assert open_climate(path, latitude="y").domain.latitudes == tuple(LAT)


@pytest.mark.parametrize("dims", [("y", "x"), ("j", "i"), ("rlat", "rlon")])
@pytest.mark.parametrize("units", [{}, {"units": "degrees"}, {"units": "degrees_north"}])
def test_latitudes_of_two_dimensions_show_that_an_axis_is_no_latitude(write, dims, units):
    along = {
        dims[0]: (dims[0], np.linspace(-5, 5, 9), units | {"axis": "Y"}),
        dims[1]: (dims[1], np.linspace(-8, 8, 12), ({"units": "degrees"} if units else {}) | {"axis": "X"}),
    }
    with pytest.raises(ArchiveError, match=r"curvilinear grid.*lat2.*regrid it first.*functa convert arrays"):
        open_climate(write(dims, along | curved(dims)))


def test_latitudes_of_two_dimensions_that_say_the_same_are_no_objection(write):
    whole = np.meshgrid(LAT, LON - 360, indexing="ij")
    both = {"TLAT": (("lat", "lon"), whole[0], NORTH), "TLON": (("lat", "lon"), whole[1], EAST)}
    plain = {"lat": ("lat", LAT, NORTH), "lon": ("lon", LON, EAST)}
    assert open_climate(write(coords=plain | both)).domain.latitudes == tuple(LAT)


def test_latitudes_for_each_time_are_a_curvilinear_grid(write):
    dims = ("n", "south_north", "west_east")
    lat, lon = (np.broadcast_to(values, (4, 9, 12)) for values in (ROWS, COLUMNS))
    extra = {"XLAT": (dims, lat, {"units": "degree_north"}), "XLONG": (dims, lon, {"units": "degree_east"})}
    with pytest.raises(ArchiveError, match="curvilinear grid, XLAT and XLONG depend on"):
        open_climate(write(dims[1:], {}, extra=extra), variable="t")


def projection(**attributes):
    return {"crs": ((), np.int32(0), attributes)}


@pytest.mark.parametrize(
    ("units", "attributes"),
    [
        ("degrees", {"grid_mapping_name": "rotated_latitude_longitude"}),
        ("degrees_", {"grid_mapping_name": "lambert_conformal_conic"}),
        ("degrees", {}),
        ("degrees", {"crs_wkt": 'PROJCS["OSGB 1936"]'}),
        ("degrees", {"grid_mapping_name": "mercator"}),
    ],
)
def test_the_grid_mapping_of_another_projection_is_refused(write, units, attributes):
    coords = {
        "lat": ("lat", LAT, {"units": units + "north" * units.endswith("_")}),
        "lon": ("lon", LON, {"units": units + "east" * units.endswith("_")}),
    }
    path = write(coords=coords, attributes={"grid_mapping": "crs"}, extra=projection(**attributes))
    with pytest.raises(ArchiveError, match=r"grid_mapping 'crs', .*regrid it first"):
        open_climate(path)
    named = open_climate(path, latitude="lat", longitude="lon")
    assert named.domain.latitudes == tuple(LAT)
    assert named.provenance["latitude"] == "lat"


@pytest.mark.parametrize(
    ("mapping", "attributes"),
    [
        ("crs", {"grid_mapping_name": "latitude_longitude"}),
        ("crs", {"crs_wkt": 'GEOGCS["WGS 84"]'}),
        ("osgb: lat lon crs: lat lon", {"grid_mapping_name": "latitude_longitude"}),
        ("crs", {"grid_mapping_name": "mercator"}),
        ("gone", {"grid_mapping_name": "lambert_conformal_conic"}),
    ],
)
def test_a_grid_mapping_that_agrees_or_says_nothing_is_no_objection(write, mapping, attributes):
    path = write(attributes={"grid_mapping": mapping}, extra=projection(**attributes))
    assert open_climate(path).domain.longitudes == tuple(LON)


@pytest.mark.parametrize(
    ("latitudes", "units", "message"),
    [
        (np.arange(9), "", "0, 1, ... 8 look like numbers of rows"),
        (np.arange(9, 0, -1), "", "1, 2, ... 9 look like numbers of rows"),
        (np.linspace(0, 4e6, 9), "", r"not all within \[-90, 90\]"),
        (LAT, "m", "latitude lat in 'm'"),
        (LAT, "1", "latitude lat in '1'"),
        (LAT, "degrees_south", "latitude lat in 'degrees_south'"),
        (LAT, "degrees_east", "latitude lat in 'degrees_east'"),
    ],
)
def test_a_coordinate_called_lat_is_believed_only_if_it_could_be_one(write, latitudes, units, message):
    path = write(coords={"lat": ("lat", latitudes, {"units": units} if units else {}), "lon": ("lon", LON, EAST)})
    with pytest.raises(ArchiveError, match=message):
        open_climate(path)


@pytest.mark.parametrize(
    "units", ["degree_N", "degrees_N", "degreeN", "degreesN", "Degrees North", "degrees", "deg", "", "degN", "°"]
)
def test_degrees_are_spelt_in_many_ways(write, units):
    coords = {"lat": ("lat", LAT, {"units": units} if units else {}), "lon": ("lon", LON, EAST)}
    assert open_climate(write(coords=coords)).domain.latitudes == tuple(LAT)


def test_whole_degrees_without_units_round_the_globe_are_no_index(write, tmp_path):
    made = xr.Dataset(
        {"t": (("n", "lat", "lon"), np.random.default_rng(0).random((2, 181, 360), np.float32))},
        {"lat": np.arange(-90, 91), "lon": np.arange(360)},
    )
    made.to_netcdf(tmp_path / "whole.nc", engine="h5netcdf")
    assert open_climate(tmp_path / "whole.nc").domain.longitudes[-1] == 359


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_radians_become_degrees_with_a_note(write, dtype):
    lat, lon = np.linspace(-90, 90, 9), np.arange(12) * 30.0
    coords = {
        "lat": ("lat", np.radians(lat).astype(dtype), {"units": "radians"}),
        "lon": ("lon", np.radians(lon).astype(dtype), {"units": "radians"}),
    }
    notes = []
    source = open_climate(write(coords=coords), report=notes.append)
    np.testing.assert_allclose(source.domain.latitudes, lat, atol=2e-5)
    assert source.domain.latitudes[-1] == 90
    np.testing.assert_allclose(source.domain.longitudes, lon, atol=2e-5)
    assert "lat is in radians; taken as degrees" in " ".join(getattr(note, "message", "") for note in notes)


def test_units_that_contradict_the_names_are_refused(write):
    path = write(coords={"lat": ("lat", LAT, EAST), "lon": ("lon", np.arange(12) * 5.0, NORTH)})
    with pytest.raises(ArchiveError, match="has the latitude by its attributes in a coordinate called lon"):
        open_climate(path)
    assert open_climate(path, latitude="lat", longitude="lon").domain.latitudes == tuple(LAT)


def test_the_users_name_of_a_coordinate_is_asked_of_fields_alone(write):
    extra = {"bounds": (("n", "nv"), np.zeros((4, 2)))}
    path = write(("y", "lon"), {"y": ("y", LAT), "lon": ("lon", LON, EAST)}, extra=extra)
    assert open_climate(path, latitude="y").domain.latitudes == tuple(LAT)


def test_latitudes_for_each_time_show_that_an_axis_is_no_latitude(write):
    dims = ("n", "y", "x")
    coords = {"y": ("y", np.arange(9), {"units": "degrees"}), "x": ("x", np.arange(12), {"units": "degrees"})}
    extra = {"XLAT": (dims, np.broadcast_to(ROWS, (4, 9, 12)), {"units": "degree_north"})}
    with pytest.raises(ArchiveError, match="curvilinear grid: XLAT depends on two or more"):
        open_climate(write(dims[1:], coords, extra=extra), variable="t")


def test_a_coordinate_that_is_not_there_is_no_latitude(write):
    with pytest.raises(ConfigError, match=r"--latitude y: .*has the coordinates lat, lon"):
        open_climate(write(), latitude="y")


def test_a_field_on_a_plain_grid_is_found_beside_one_on_a_curvilinear_grid(write):
    extra = {"sea": (("n", "j", "i"), np.zeros((4, 9, 12), np.float32)), "j": ("j", np.arange(9), {"axis": "Y"})}
    path = write(extra=extra | curved(("j", "i")))
    assert open_climate(path).features.channels == ("t",)
    with pytest.raises(ArchiveError, match="sea lies on a curvilinear grid"):
        open_climate(path, variable="sea")

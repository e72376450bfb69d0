"""Archives of fields over latitude and longitude."""

import hashlib
import json
import os
import pathlib

import numpy as np
import pytest
import xarray as xr
import zarr

from converters.climate.climate import converter, open_climate
from converters.climate.source import ClimateOptions
from functa_store.domains.sphere import SphereGrid
from functa_store.errors import (
    ArchiveError,
    ConfigError,
    MemberError,
    TooManyRejectsError,
)
from functa_store.progress import Note, silent
from functa_store.sources.options import SurveyOptions

CLIMATE = pathlib.Path(__file__).parents[3].parent / "shared/data/climate"
LAT, LON = np.arange(80, -81, -20.0), np.arange(0, 360, 30.0)
NORTH = {"standard_name": "latitude", "units": "degrees_north"}
EAST = {"standard_name": "longitude", "units": "degrees_east"}
TIMES = {"units": "hours since 1959-01-01", "calendar": "proleptic_gregorian"}


def dataset(num_times=20, *, lat=LAT, lon=LON, names=("t2m",), seed=0, **attributes):
    """Times, latitudes and longitudes of random fields about 280 K."""
    rng = np.random.default_rng(seed)
    values = rng.normal(280, 10, (num_times, len(lat), len(lon))).astype(np.float32)
    fields = {name: (("time", "lat", "lon"), values + 10 * i, {"units": "K"}) for i, name in enumerate(names)}
    coords = {
        "time": ("time", np.arange(num_times) * 12, TIMES),
        "lat": ("lat", lat, NORTH),
        "lon": ("lon", lon, EAST),
    }
    return xr.Dataset(fields, coords, attributes)


@pytest.fixture(name="write")
def _write(tmp_path):
    def write(made, name="fields.nc", **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        made.to_netcdf(path, engine="h5netcdf", **options)
        return path

    return write


def values_of(source, index=0):
    """What decoding a perfect fit would give."""
    return source.features.to_values(source.read(index).copy())


def test_examples_are_named_by_their_times_and_hold_the_archives_values(write):
    made = dataset()
    source = open_climate(write(made))
    assert source.ids[:3] == ["1959-01-01T00:00", "1959-01-01T12:00", "1959-01-02T00:00"]
    assert source.features.units == ("K",)
    assert source.domain.latitudes == tuple(LAT)
    assert source.labels["month"].values.tolist() == [0] * 20
    assert source.labels["month"].names[0] == "January"
    assert source.labels["year"].values.tolist() == [1959] * 20
    np.testing.assert_allclose(values_of(source, 7)[..., 0], made["t2m"][7], rtol=1e-6)
    assert source.split.tolist() == ["train"] * 18 + ["test"] * 2


def test_features_are_scaled_by_the_training_fields(write):
    made = dataset()
    made["t2m"][-1, 0, 0] = 1000
    training = made["t2m"].values[:18]
    path = write(made)
    source = open_climate(path)
    features = np.stack([source.read(i) for i in range(18)])
    assert features.dtype == np.float32
    assert features.min() == 0
    assert features.max() == 1
    assert source.read(19).max() > 1
    assert source.features.value_ranges == ((training.min(), training.max()),)
    standard = open_climate(path, scaling="standard")
    features = np.stack([standard.read(i) for i in range(18)])
    assert features.mean() == pytest.approx(0.5, abs=1e-5)
    assert features.std() == pytest.approx(1 / 6, rel=1e-5)
    np.testing.assert_allclose(values_of(standard)[..., 0], training[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("lat", {}),
        ("latitude", {"axis": "Y"}),
        ("y", {"units": "degrees_north"}),
        ("y", {"standard_name": "latitude"}),
        ("y", {"units": "degrees"}),
        ("j", {"axis": "Y", "units": "degrees"}),
    ],
)
def test_latitude_is_known_by_name_units_standard_name_or_axis(write, name, attributes):
    made = dataset().rename(lat=name)
    made[name].attrs = attributes
    assert open_climate(write(made)).domain.latitudes == tuple(LAT)


def test_dimensions_may_stand_in_any_order(write):
    made = dataset()
    turned = made.transpose("lon", "time", "lat")
    np.testing.assert_array_equal(open_climate(write(turned)).read(3), open_climate(write(made)).read(3))


def test_variables_become_channels_with_units_of_their_own(write):
    made = dataset(names=("u", "v"))
    made["v"].attrs["units"] = "m s-1"
    path = write(made)
    for asked in (["u", "v"], "u,v"):
        source = open_climate(path, variable=asked)
        assert source.features.channels == ("u", "v")
        assert source.features.units == ("K", "m s-1")
        np.testing.assert_allclose(values_of(source)[..., 1], made["v"][0], rtol=1e-6)
        assert source.provenance["variable"] == "u,v"
    with pytest.raises(ArchiveError, match=r"2 fields, u, v; choose with --variable"):
        open_climate(path)


def test_two_variables_on_different_grids_are_refused_by_name(write):
    made = dataset()
    made["sst"] = ("time", "lat2", "lon"), np.zeros((20, 5, 12)), {}
    made["lat2"] = ("lat2", np.arange(5.0), NORTH)
    with pytest.raises(
        ArchiveError, match=r"t2m and sst lie on different grids \(9 lat x 12 lon and 5 lat2 x 12 lon\)"
    ):
        open_climate(write(made), variable="t2m,sst")


def test_levels_and_members_make_examples_in_the_order_asked_for(write):
    made = dataset(10).expand_dims(level=[500, 850]).copy()
    made["t2m"] = made["t2m"] + made["level"].astype(np.float32)
    path = write(made)
    source = open_climate(path, example_dims="time,level")
    assert source.ids[:3] == ["1959-01-01T00:00/500", "1959-01-01T00:00/850", "1959-01-01T12:00/500"]
    assert source.split.tolist() == ["train"] * 18 + ["test"] * 2
    assert source.labels["level"].values.tolist() == [500, 850] * 10
    by_level = open_climate(path)
    assert by_level.ids[1] == "500/1959-01-01T12:00"
    assert (by_level.split == "test").nonzero()[0].tolist() == [9, 19]  # the last time of both levels
    np.testing.assert_array_equal(by_level.read(11), source.read(3))
    one = open_climate(path, example_dims="time", select=["level=850"])
    assert one.ids[1] == "1959-01-01T12:00"
    np.testing.assert_allclose(values_of(one)[..., 0], made["t2m"].sel(level=850)[0], rtol=1e-6)
    day = open_climate(path, select="level=500;time=1959-01-02,1959-01-03T00:00")
    assert day.ids == ["500/1959-01-02T00:00", "500/1959-01-02T12:00", "500/1959-01-03T00:00"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variable": "tp"}, r"no variable 'tp', expected some of \['t2m'\]"),
        ({"example_dims": "member"}, "--example-dims member"),
        ({"example_dims": "time"}, r"level has 2 values; name it, too, or pick one with --select level=500"),
        ({"select": "level=1000"}, "--select level=1000: .* has 500, 850"),
        ({"select": "level"}, "must be NAME=VALUE"),
        ({"select": "lat=0"}, "dimensions level, time"),
        ({"scaling": "log"}, "scaling"),
        ({"missing": "zero"}, "missing"),
        ({"split": "random"}, "split"),
        ({"variable": "t2m,t2m"}, "twice"),
    ],
)
def test_options_that_fit_nothing_say_what_there_is(write, options, message):
    with pytest.raises((ConfigError, ArchiveError), match=message):
        open_climate(write(dataset(10).expand_dims(level=[500, 850])), **options)


def test_a_cyclic_longitude_is_left_out_with_a_note(write):
    notes = []
    source = open_climate(write(dataset(lon=np.append(LON, 360.0))), report=notes.append)
    assert source.domain.longitudes == tuple(LON)
    assert source.read(0).shape == (9, 12, 1)
    assert any(isinstance(note, Note) and "second time" in note.message for note in notes)


def test_longitudes_that_jump_at_the_date_line_go_on(write):
    source = open_climate(write(dataset(lon=(LON + 180) % 360 - 180)))
    assert isinstance(source.domain, SphereGrid)
    assert source.domain.is_round
    assert np.diff(source.domain.longitudes).tolist() == [30] * 11


def test_latitudes_out_of_order_are_refused(write):
    mixed = LAT.copy()
    mixed[[2, 3]] = mixed[[3, 2]]
    with pytest.raises(ArchiveError, match=r"latitudes: 20 is followed by 40, expected strictly rising or falling"):
        open_climate(write(dataset(lat=mixed)))


def test_a_curvilinear_grid_is_refused(write):
    made = dataset().rename(lat="j", lon="i").drop_vars(["i", "j"])
    made = made.assign_coords(
        nav_lat=(("j", "i"), np.zeros((9, 12)), NORTH), nav_lon=(("j", "i"), np.zeros((9, 12)), EAST)
    )
    with pytest.raises(ArchiveError, match=r"curvilinear grid, nav_lat and nav_lon depend on two dimensions"):
        open_climate(write(made))


def test_a_rotated_pole_is_refused(write):
    made = dataset().rename(lat="rlat", lon="rlon")
    made["rlat"].attrs = {"standard_name": "grid_latitude", "units": "degrees", "axis": "Y"}
    with pytest.raises(ArchiveError, match="none of which is the latitude"):
        open_climate(write(made))


def test_packed_values_and_fill_values_are_decoded(write):
    made = dataset()
    made["t2m"][0, 0, 0] = np.nan
    packing = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": np.int16(-32768)}
    source = open_climate(write(made, encoding={"t2m": packing}))
    found = values_of(source)[..., 0]
    assert np.isnan(found[0, 0])
    np.testing.assert_allclose(found, made["t2m"][0], atol=0.006)
    assert source.features.missing


def test_points_missing_everywhere_are_kept_as_a_mask(write):
    made = dataset()
    made["t2m"][:, 2:4, 1:5] = np.nan
    made["t2m"][3, 0, 0] = np.nan
    path = write(made)
    source = open_climate(path)
    missing = source.domain.missing(source.domain.coords())
    expected = np.zeros((9, 12), bool)
    expected[2:4, 1:5] = True
    np.testing.assert_array_equal(missing.reshape(9, 12), expected)
    assert source.features.missing
    filled = open_climate(path, missing="fill")
    assert not filled.domain.masked
    assert filled.features.missing
    assert np.isnan(filled.read(0)[2, 1])
    assert not open_climate(write(dataset(), "whole.nc")).features.missing


def test_fields_without_values_or_with_infinities_are_rejects(write):
    made = dataset(40)
    made["t2m"][3] = np.nan
    made["t2m"][5, 1, 1] = np.inf
    path = write(made)
    with pytest.raises(TooManyRejectsError, match=r"1959-01-02T12:00 has no value at all"):
        open_climate(path)
    source = open_climate(path, max_rejects=0.1)
    assert {r.member: r.reason for r in source.rejects} == {
        "1959-01-02T12:00": "has no value at all",
        "1959-01-03T12:00": "holds infinite values",
    }
    assert len(source.ids) == 38
    np.testing.assert_allclose(values_of(source, 3)[..., 0], made["t2m"][4], rtol=1e-6)


def test_files_of_a_folder_are_put_together_along_time(write, tmp_path):
    made = dataset()
    for k, part in enumerate((slice(10, 20), slice(0, 10))):
        write(made.isel(time=part), f"many/part{k}.nc")
    whole = open_climate(write(made))
    for path in (tmp_path / "many", tmp_path / "many/part*.nc"):
        source = open_climate(path)
        assert source.ids == whole.ids
        np.testing.assert_array_equal(source.read(13), whole.read(13))
        assert source.features == whole.features
    write(dataset(lat=LAT + 1, seed=1).isel(time=slice(0, 3)), "many/part9.nc")
    with pytest.raises(
        ArchiveError, match=r"part9.nc: latitudes \(9 from 81 to -79\) are other points than .*part0.nc"
    ):
        open_climate(tmp_path / "many")


def test_fields_of_a_list_are_one_archive(write, tmp_path):
    made = dataset()
    whole = open_climate(write(made))
    for name, part in (("b", slice(0, 3)), ("a", slice(3, 20))):
        write(made.isel(time=part), f"{name}.nc")
    (tmp_path / "files.txt").write_text("b.nc\na.nc\n")
    source = open_climate(f"@{tmp_path}/files.txt")
    assert source.ids == whole.ids
    digests = {f"{k}.nc": hashlib.sha256((tmp_path / f"{k}.nc").read_bytes()).hexdigest() for k in "ab"}
    assert source.provenance["archive_files"] == digests
    source.check_unchanged()
    (tmp_path / "files.txt").write_text("b.nc\n")
    with pytest.raises(ArchiveError, match=r"a\.nc' was removed"):
        source.check_unchanged()


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_stores_are_read_like_files(write, tmp_path, version):
    made = dataset()
    made.chunk(time=6).to_zarr(tmp_path / "fields.zarr", zarr_format=version, consolidated=False)
    source, file = open_climate(tmp_path / "fields.zarr"), open_climate(write(made))
    assert source.ids == file.ids
    np.testing.assert_array_equal(source.read(11), file.read(11))
    assert source.provenance["sha256"] == open_climate(tmp_path / "fields.zarr").provenance["sha256"]
    assert source.provenance["sha256"] != file.provenance["sha256"]


def test_fields_are_the_same_however_they_are_chunked(write):
    made = dataset(10).expand_dims(level=[1, 2, 3]).copy()
    plain = open_climate(write(made))
    chunked = open_climate(write(made, "chunked.nc", encoding={"t2m": {"chunksizes": (2, 4, 9, 5)}}))
    for i in (0, 29, 7, 16):
        np.testing.assert_array_equal(chunked.read(i), plain.read(i))
    assert chunked.features == plain.features


def test_a_limit_takes_the_first_fields_and_a_dry_run_reads_few(write):
    path = write(dataset())
    assert len(open_climate(path, limit=5).ids) == 5
    dry = open_climate(path, check_first=4)
    assert len(dry.ids) == 20
    assert dry.provenance["sha256"] is None


def test_a_single_field_trains(write):
    source = open_climate(write(dataset().isel(time=0, drop=True)))
    assert source.ids == ["t2m"]
    assert source.split.tolist() == ["train"]
    assert source.labels == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"GRIB" + bytes(100), "found GRIB; rewrite it as NetCDF"),
        (b"PK\3\4" + bytes(100), "a zip; unpack it"),
        (b"hello", "starts with b'hello'"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "cannot be read: .*Fetch it again"),
        (b"CDF\1" + bytes(3), "cannot be opened"),
    ],
)
def test_files_that_are_no_netcdf_are_refused(tmp_path, content, message):
    path = tmp_path / "field.nc"
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match=message):
        open_climate(path)


def test_an_archive_that_is_not_there_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none.nc"):
        with pytest.raises(ArchiveError, match="expected a NetCDF file, a Zarr store, a folder"):
            open_climate(path)
    with pytest.raises(ArchiveError, match=r"\*\.nc: no file has such a name"):
        open_climate(tmp_path / "*.nc")


def test_a_truncated_file_is_refused_or_its_fields_are_rejects(write):
    path = write(dataset(200), encoding={"t2m": {"chunksizes": (1, 9, 12)}})
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises((ArchiveError, MemberError)):
        open_climate(path)


def test_a_store_says_how_to_open_the_archive_again(write):
    made = dataset(10, names=("u", "v")).expand_dims(level=[500, 850])
    path = write(made)
    asked = {
        "variable": ["u", "v"],
        "select": ["level=850"],
        "scaling": "standard",
        "area_weighting": True,
        "split": "every",
    }
    source = open_climate(path, **asked)
    provenance = json.loads(json.dumps(dict(source.provenance)))
    again = converter.open(str(path), ClimateOptions.from_plain(provenance), SurveyOptions(max_rejects=1.0), silent)
    assert again.ids == source.ids
    assert again.features == source.features
    assert again.domain == source.domain
    assert dict(again.provenance) == dict(source.provenance)


@pytest.mark.parametrize(
    ("changed", "options", "message"),
    [
        (dataset(0), {}, "no examples, time has no values"),
        (dataset(0).expand_dims(level=[1, 2]), {"example_dims": "level"}, "no examples, time has no values"),
        (dataset(), {"select": "time=,"}, "must be NAME=VALUE"),
        (dataset(), {"area_weighting": "yes"}, "area_weighting must be true or false"),
        (dataset() * np.nan, {"max_rejects": 1.0}, "none of 20 fields can be used: 1959-01-01T00:00 has no value"),
        (dataset() * np.where(np.arange(20) % 2, 1e36, -1e36)[:, None, None], {}, "too far apart for float32"),
        (dataset(lon=np.array([0, 120, 240, 360, 340.0])), {}, "360 is followed by 340"),
        (dataset(lon=np.array([0, 120, 240, np.inf])), {}, "longitudes: found values that are not in"),
        (dataset(lat=LAT[:1]), {}, "latitudes: found 1 points"),
        (dataset().assign_coords(time=np.zeros(20)), {}, "is the id of 20 examples"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_archives_without_examples_or_with_absurd_numbers_are_refused(write, changed, options, message, unchecked):
    with pytest.raises((ArchiveError, ConfigError), match=message):
        open_climate(write(changed), **options)


@pytest.mark.parametrize("constant", [5.0, 1e17, 3e38])
@pytest.mark.parametrize("scaling", ["minmax", "standard"])
def test_a_constant_field_of_any_size_can_be_converted(write, constant, scaling):
    made = dataset()
    made["t2m"][:] = constant
    source = open_climate(write(made), scaling=scaling)
    np.testing.assert_allclose(values_of(source)[..., 0], np.float32(constant), rtol=1e-6)


def in_one_slab(first, others):
    """Twenty fields in one chunk: ten around one value, ten around another."""
    made = dataset()
    pattern = np.indices((len(LAT), len(LON))).sum(axis=0) % 2.0
    made["t2m"] = (("time", "lat", "lon"), np.stack([first * pattern] * 10 + [others * pattern] * 10), {"units": "K"})
    return made


def test_fields_beyond_the_limit_have_no_part_in_the_check_of_rounding(write):
    """They share a slab with those that are taken, whose values float32 tells apart."""
    made = in_one_slab(0.0, 1.0)
    made["t2m"] = made["t2m"].copy(data=made["t2m"].values + 1e12)
    chunks = {"t2m": {"chunksizes": made["t2m"].shape}}
    path = write(made, encoding=chunks)
    source = open_climate(path, limit=10)
    np.testing.assert_allclose(values_of(source)[..., 0], 1e12, rtol=1e-6)
    with pytest.raises(ArchiveError, match="too close together for float32"):
        open_climate(path)


def test_fields_beyond_the_limit_do_not_hide_that_those_that_are_taken_are_lost(write):
    made = in_one_slab(1.0, 0.0)
    made["t2m"] = made["t2m"].copy(data=made["t2m"].values + np.where(np.arange(20) < 10, 1e12, 0.0)[:, None, None])
    path = write(made, encoding={"t2m": {"chunksizes": made["t2m"].shape}})
    with pytest.raises(ArchiveError, match="too close together for float32"):
        open_climate(path, limit=10)


def test_points_without_a_grid_are_refused(write):
    made = xr.Dataset(
        {"t2m": (("time", "cell"), np.zeros((3, 5)))},
        {"lat": ("cell", np.arange(5.0), NORTH), "lon": ("cell", np.arange(5.0), EAST)},
    )
    with pytest.raises(ArchiveError, match="points without a grid, lat and lon both depend on cell"):
        open_climate(write(made))


def test_latitudes_that_no_field_names_as_its_coordinate_are_found(write):
    made = dataset().rename(lat="y").drop_vars("y")
    made["lat"] = "y", LAT, NORTH
    source = open_climate(write(made))
    assert source.domain.latitudes == tuple(LAT)


def test_a_missing_time_changes_no_other_id(write):
    made = dataset(3)
    made["time"] = "time", np.array([0, np.nan, 24]), TIMES
    assert open_climate(write(made)).ids == ["1959-01-01T00:00", "NaT", "1959-01-02T00:00"]


def test_a_limit_names_no_more_fields_than_it_takes(write):
    source = open_climate(write(dataset(10).expand_dims(level=[500, 850])), limit=12)
    assert source.ids[-1] == "850/1959-01-01T12:00"
    assert len(source.ids) == 12


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"units": "degC"}, "t2m is in 'degC', but in 'K' in part0.nc"),
        ({"calendar": "360_day"}, "2 files cannot be put together"),
        ({"time": "x"}, "2 files cannot be put together"),
    ],
)
def test_files_that_do_not_agree_are_refused(write, tmp_path, changed, message):
    made = dataset()
    write(made.isel(time=slice(0, 10)), "many/part0.nc")
    other = made.isel(time=slice(10, 20)).copy()
    other["t2m"].attrs |= {"units": changed.get("units", "K")}
    other["time"].attrs = TIMES | {"calendar": changed.get("calendar", "standard")} if "time" not in changed else {}
    write(other, "many/part1.nc")
    with pytest.raises(ArchiveError, match=message):
        open_climate(tmp_path / "many")


def test_pipes_devices_and_dangling_links_are_refused_at_once(write, tmp_path):
    os.mkfifo(tmp_path / "pipe.nc")
    for path in (tmp_path / "pipe.nc", "/dev/null"):
        with pytest.raises(ArchiveError, match="cannot be listed"):
            open_climate(path)
    with pytest.raises(ArchiveError, match="found a pipe"):
        open_climate(tmp_path)
    dataset().to_zarr(tmp_path / "fields.zarr", consolidated=False)
    (tmp_path / "fields.zarr/t2m/gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ArchiveError, match="is a link out of the archive"):
        open_climate(tmp_path / "fields.zarr")


@pytest.mark.slow
@pytest.mark.skipif(not CLIMATE.exists(), reason="needs the shared data")
@pytest.mark.parametrize(
    ("file", "options", "expected"),
    [
        ("era5_t2m_uk_hourly_201903.nc", {}, (744, 33, 49, 1)),
        ("glosea4_surface_temperature_global.nc", {"area_weighting": True}, (78, 145, 192, 1)),
        ("hadgem_air_temperature_north_america.nc", {}, (480, 37, 49, 1)),
        ("navy_winds_monthly_global.nc", {"variable": ["u10", "v10"]}, (132, 73, 144, 2)),
        ("eraint_uvz_global.nc", {"variable": "u,v,z"}, (6, 241, 480, 3)),
        ("eraint_uvz_global.nc", {"variable": "z", "select": "level=500"}, (2, 241, 480, 1)),
        ("era5_tl31_19590102T00_global.nc", {"variable": "temperature"}, (37, 32, 64, 1)),
        ("era5_tl31_19590102T00_global.nc", {"variable": "sea_surface_temperature"}, (1, 32, 64, 1)),
        ("etopo20_relief_global.nc", {}, (1, 540, 1080, 1)),
        ("coads_climatology_masked.nc", {"variable": "SST"}, (12, 90, 180, 1)),
    ],
)
@pytest.mark.filterwarnings("ignore::xarray.SerializationWarning")  # of a fill value that its integers cannot take
def test_real_archives_become_sources(file, options, expected):
    source = open_climate(CLIMATE / file, **options)
    assert (len(source.ids), *source.read(0).shape) == expected
    with xr.open_dataset(
        CLIMATE / file, engine="scipy" if "eraint" in file or "tl31" in file else "h5netcdf", decode_times=False
    ) as raw:
        channel = source.features.channels[-1]
        lat, lon = ("latitude", "longitude")
        array = raw[channel].sel(level=500) if options.get("select") else raw[channel]
        array = array.transpose(..., lat, lon).values.reshape(-1, *expected[1:3])
    for index in (0, len(source.ids) - 1):
        found = values_of(source, index)[..., -1]
        np.testing.assert_allclose(found, array[index], rtol=2e-5, atol=2e-6 * np.nanmax(np.abs(array)))
    assert source.features.missing == bool(np.isnan(array).any())
    assert source.rejects == []


@pytest.mark.skipif(not CLIMATE.exists(), reason="needs the shared data")
def test_fields_of_different_dimensions_in_a_real_archive_are_refused():
    with pytest.raises(ArchiveError, match=r"temperature and sea_ice_cover have different dimensions"):
        open_climate(CLIMATE / "era5_tl31_19590102T00_global.nc", variable="temperature,sea_ice_cover")


@pytest.mark.filterwarnings("ignore:.*does not have a Zarr V3 specification")
@pytest.mark.parametrize("version", [2, 3])
def test_a_coordinate_of_numbers_that_are_no_characters_is_refused(tmp_path, version):
    texts = np.array([f"member {i}" for i in range(4)])
    made = dataset(4).assign_coords(member=("time", texts))
    made.to_zarr(tmp_path / "fields.zarr", zarr_format=version, consolidated=False)
    assert open_climate(tmp_path / "fields.zarr").labels["member"].names == tuple(texts.tolist())
    texts.view(np.uint32)[3] = 0x110000
    zarr.open_group(tmp_path / "fields.zarr", mode="r+")["member"][:] = texts
    with pytest.raises(ArchiveError, match="member: is text with a code point 0x110000, expected at most 0x10ffff"):
        open_climate(tmp_path / "fields.zarr")


def test_words_in_another_encoding_than_unicode_are_shown_as_far_as_they_are_known(write):
    texts = np.array([b"\xe7a", b"b", b"c", b"b"])
    source = open_climate(write(dataset(4).assign_coords(member=("time", texts))))
    assert source.labels["member"].names == ("b", "c", "\ufffda")
    made = dataset(4).rename_dims(time="member").drop_vars("time").assign_coords(member=texts[[0, 1, 2, 2]])
    made["member"] = [b"\xe7a", b"b", b"c", b"d"]
    assert open_climate(write(made, "members.nc")).ids == ["\ufffda", "b", "c", "d"]


@pytest.mark.filterwarnings("ignore:Duplicate dimension names")
def test_a_variable_that_has_a_dimension_twice_is_no_field(write):
    made = dataset()
    made["covariance"] = (("lon", "lat", "lon"), np.zeros((12, 9, 12), np.float32))
    path = write(made)
    assert len(open_climate(path).ids) == 20
    with pytest.raises(ArchiveError, match=r"covariance has dimensions .*one of them twice"):
        open_climate(path, variable=["covariance"])

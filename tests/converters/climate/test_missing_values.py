"""Values that are missing by attributes or by NetCDF, and numbers that are packed."""

import h5netcdf
import numpy as np
import pytest
import xarray as xr
import zarr
from scipy.io import netcdf_file

from converters.climate.climate import converter, open_climate
from converters.climate.source import ClimateOptions
from functa_store.errors import ArchiveError, ConfigError
from functa_store.progress import silent
from functa_store.sources.options import SurveyOptions

LAT, LON = np.linspace(-80, 80, 5), np.arange(6) * 60.0
TRUE = np.random.default_rng(0).uniform(281, 293, (20, 5, 6)).astype(np.float32)
HIDDEN = (slice(None), slice(0, 2), slice(0, 3))
"""120 of 600 values."""

PACKED = np.rint((TRUE - 280) / 0.01).astype(np.int16)
PACKING = {"scale_factor": np.float32(0.01), "add_offset": np.float32(280)}


@pytest.fixture(name="write")
def _write(tmp_path):
    """A NetCDF-4 file of one variable, its attributes exactly as they are given."""

    def write(data, **attributes):
        with h5netcdf.File(tmp_path / "fields.nc", "w") as file:
            file.dimensions = {"time": len(data), "lat": 5, "lon": 6}
            coords = {"time": (np.arange(len(data)), "days since 2001-01-01"), "lat": (LAT, "degrees_north")}
            for name, (values, units) in (coords | {"lon": (LON, "degrees_east")}).items():
                file.create_variable(name, (name,), "f8", data=values).attrs["units"] = units
            variable = file.create_variable("t", ("time", "lat", "lon"), data.dtype)
            variable[:] = data
            for name, value in attributes.items():
                variable.attrs[name] = value
        return tmp_path / "fields.nc"

    return write


def values_of(source):
    features = source.features
    stacked = np.stack([source.read(i) for i in range(len(source.ids))])[..., 0].astype(np.float64)
    return stacked * np.array(features.value_scale) + np.array(features.value_offset)


def hidden(data, value):
    data = data.copy()
    data[HIDDEN] = value
    return data


def expected():
    return hidden(TRUE, np.nan)


def check_masked(path, reason, **options):
    """The hidden values are missing, all others right, and a note counts them."""
    notes = []
    source = open_climate(path, report=notes.append, **options)
    np.testing.assert_allclose(values_of(source), expected(), atol=0.006)
    assert source.features.missing
    messages = " ".join(getattr(note, "message", "") for note in notes)
    assert f"t: of 600 values that were read are taken as missing: 120 by {reason}" in messages
    assert "120 by" in source.provenance["masked"]
    return source


DEFAULT = "NetCDF's fill value"


@pytest.mark.parametrize(
    ("dtype", "fill"),
    [("f4", 9.969209968386869e36), ("f8", 9.969209968386869e36), ("i2", -32767), ("u2", 65535), ("i4", -2147483647)],
)
def test_what_netcdf_writes_where_nobody_has_written_is_missing(write, dtype, fill):
    is_float = dtype.startswith("f")
    data = (TRUE if is_float else PACKED).astype(dtype)
    path = write(hidden(data, fill), **({} if is_float else PACKING))
    check_masked(path, DEFAULT)
    kept = values_of(open_climate(path, ignore="default_fill", max_rejects=1.0))
    unpacked = fill if is_float else fill * np.float64(np.float32(0.01)) + 280
    np.testing.assert_allclose(kept[0, 0, 0], unpacked, rtol=1e-6)


def test_a_declared_fill_value_takes_the_place_of_netcdfs(write):
    data = PACKED.copy()
    data[0, 0, 0] = -32767
    found = values_of(open_climate(write(data, _FillValue=np.int16(-1), **PACKING)))
    assert found[0, 0, 0] == pytest.approx(-47.67, abs=0.001)


def test_bytes_have_no_fill_value_of_netcdf(write):
    data = np.random.default_rng(0).integers(-127, 127, (20, 5, 6)).astype(np.int8)
    data[0, 0, 0] = -127
    np.testing.assert_allclose(values_of(open_climate(write(data))), data, atol=1e-4)


def test_netcdf_3_is_read_by_the_same_rules(tmp_path):
    with netcdf_file(tmp_path / "fields.nc", "w") as file:
        for name, values, units in (("lat", LAT, "degrees_north"), ("lon", LON, "degrees_east")):
            file.createDimension(name, len(values))
            along = file.createVariable(name, "d", (name,))
            along[:] = values
            along.units = units
        file.createDimension("n", 20)
        field = file.createVariable("t", "h", ("n", "lat", "lon"))
        field[:] = hidden(PACKED, -32767)
        field.scale_factor, field.add_offset = 0.01, 280.0
    check_masked(tmp_path / "fields.nc", DEFAULT)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"_FillValue": np.int16(-30000)}, "_FillValue"),
        ({"missing_value": np.int16(-30000)}, "missing_value"),
        ({"missing_value": np.array([-1, -30000], "i2")}, "missing_value"),
        ({"missing_value": np.float64(-30000)}, "missing_value"),
        ({"missing_value": "-30000"}, "missing_value"),
        ({"_FillValue": np.int16(-32767), "missing_value": np.int16(-30000)}, "missing_value"),
        ({"valid_range": np.array([-20000, 20000], "i2")}, "valid_range"),
        ({"valid_min": np.int16(0)}, "valid_range"),
        ({"valid_min": np.int16(-29999), "valid_max": np.int16(1300)}, "valid_range"),
        ({"valid_range": np.array([200, 300], "f4")}, "valid_range"),
        ({"valid_range": "0, 1300"}, "valid_range"),
    ],
)
def test_what_attributes_declare_is_missing(write, attributes, reason):
    check_masked(write(hidden(PACKED, -30000), **attributes, **PACKING), reason)


def test_the_ends_of_a_valid_range_are_valid(write):
    data = np.full((20, 5, 6), 7000, np.int16)
    data[..., 1:] = 6000
    found = values_of(
        open_climate(write(data, scale_factor=np.float32(0.01), valid_range=np.array([60, 70], np.float32)))
    )
    assert not np.isnan(found).any()
    same = TRUE.copy()
    same[0, 0, 0] = 0.1
    path = write(same, valid_min=np.float64(0.1))
    assert not np.isnan(values_of(open_climate(path))).any()


@pytest.mark.parametrize("fill", [np.float64(-999.9), np.float32(-999.9)])
def test_a_fill_value_in_another_precision_is_found(write, fill):
    check_masked(write(hidden(TRUE, np.float32(-999.9)), missing_value=fill), "missing_value")


def test_a_huge_fill_value_that_was_rounded_is_found(write):
    check_masked(write(hidden(TRUE, np.float32(1e20)), _FillValue=np.float64(1.0000001e20)), "_FillValue")


def test_missing_values_that_no_attribute_declares_are_said_by_the_user(write):
    check_masked(write(hidden(PACKED, -9999), **PACKING), "--missing-value", missing_value=["-9999"])


@pytest.mark.parametrize("unsigned", ["true", "True", np.bytes_(b"TRUE")])
@pytest.mark.parametrize("fill", [np.int8(-1), np.int16(255)])
def test_unsigned_bytes_of_a_format_without_them_are_unsigned(write, unsigned, fill):
    true = np.random.default_rng(0).integers(0, 255, (20, 5, 6)).astype(np.uint8)
    path = write(hidden(true, 255).view(np.int8), _Unsigned=unsigned, _FillValue=fill, scale_factor=0.5)
    found = values_of(open_climate(path))
    np.testing.assert_allclose(found, hidden(true.astype(float) / 2, np.nan), atol=1e-4)


def test_signed_values_that_were_written_as_unsigned_are_signed(write):
    found = values_of(open_climate(write(PACKED.view(np.uint16), _Unsigned="false", **PACKING)))
    np.testing.assert_allclose(found, TRUE, atol=0.006)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("scale_factor", 0.0),
        ("scale_factor", np.nan),
        ("scale_factor", "x"),
        ("scale_factor", np.array([1.0, 2.0])),
        ("add_offset", np.inf),
    ],
)
def test_a_scale_that_makes_no_sense_is_refused_by_name(write, attribute, value):
    path = write(PACKED, **{attribute: value})
    with pytest.raises(ArchiveError, match=rf"t: {attribute} is .*expected one number.*--ignore {attribute}"):
        open_climate(path)
    np.testing.assert_allclose(values_of(open_climate(path, ignore=[attribute])), PACKED, atol=0.1)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"valid_range": np.array([5, -5], "i2")}, "valid range from 5 to -5 holds no number; not applied"),
        ({"missing_value": "none"}, "missing_value 'none' is no number; not applied"),
        ({"missing_value": np.float64(-99.9)}, "missing_value -99.9 is none that int16 can hold; not applied"),
    ],
)
def test_attributes_that_make_no_sense_are_not_applied_with_a_note(write, attributes, message):
    notes = []
    source = open_climate(write(PACKED, **attributes), report=notes.append)
    np.testing.assert_allclose(values_of(source), PACKED, atol=0.1)
    assert message in " ".join(getattr(note, "message", "") for note in notes)


def test_fields_outside_a_wrong_valid_range_say_so(write):
    notes = []
    with pytest.raises(ArchiveError, match="has no value at all"):
        open_climate(write(TRUE, valid_range=np.array([0, 1], "f4")), max_rejects=1.0, report=notes.append)
    assert "600 by valid_range (--ignore valid_range keeps them)" in notes[-1].message


@pytest.mark.parametrize(("options", "words"), [({"ignore": "units"}, "ignore"), ({"missing_value": "x"}, "numbers")])
def test_options_that_are_no_attributes_or_numbers_are_refused(write, options, words):
    with pytest.raises(ConfigError, match=words):
        open_climate(write(TRUE), **options)


def test_a_store_keeps_what_was_ignored_and_masked(write):
    path = write(hidden(PACKED, -9999), **PACKING)
    source = open_climate(path, missing_value="-9999", ignore="valid_range,default_fill")
    options = ClimateOptions.from_plain(dict(source.provenance))
    again = converter.open(str(path), options, SurveyOptions(), silent)
    assert dict(again.provenance) == dict(source.provenance)
    np.testing.assert_array_equal(values_of(again), values_of(source))


@pytest.fixture(name="write_zarr")
def _write_zarr(tmp_path):
    def write(data, fill_value, version=2, **attributes):
        group = zarr.open_group(tmp_path / "fields.zarr", mode="w", zarr_format=version)
        named = {"time": np.arange(20.0), "lat": LAT, "lon": LON, "pr": data}
        units = {"time": "days since 2001-01-01", "lat": "degrees_north", "lon": "degrees_east", "pr": "mm"}
        for name, values in named.items():
            dims = ["time", "lat", "lon"] if name == "pr" else [name]
            told = {"fill_value": fill_value if name == "pr" else 0}
            told |= {"dimension_names": dims} if version == 3 else {}
            array = group.create_array(name, shape=values.shape, dtype=values.dtype, **told)
            array[...] = values
            array.attrs.update({"units": units[name]} | ({"_ARRAY_DIMENSIONS": dims} if version == 2 else {}))
            if name == "pr":
                array.attrs.update(attributes)
        return tmp_path / "fields.zarr"

    return write


RAIN = np.maximum(0, TRUE - 286)


def test_zeros_of_zarrs_fill_value_stay_numbers_with_a_note(write_zarr):
    notes, path = [], write_zarr(RAIN, 0)
    source = open_climate(path, report=notes.append)
    np.testing.assert_allclose(values_of(source), RAIN, atol=1e-5)
    assert source.domain.longitudes[0] == 0
    count = np.count_nonzero(RAIN == 0)
    assert f"pr: {count} of 600 values that were read are 0, which is Zarr's fill value" in notes[-1].message
    masked = values_of(open_climate(path, missing_value="0"))
    np.testing.assert_array_equal(np.isnan(masked), RAIN == 0)


def test_zeros_that_an_attribute_declares_missing_are(write_zarr):
    found = values_of(open_climate(write_zarr(RAIN, 0, missing_value=0.0)))
    np.testing.assert_array_equal(np.isnan(found), RAIN == 0)


@pytest.mark.parametrize("version", [2, 3])
def test_fill_values_that_xarray_writes_are_missing(tmp_path, version):
    made = xr.Dataset(
        {"t": (("time", "lat", "lon"), expected())},
        {"time": np.arange(20.0), "lat": LAT, "lon": ("lon", LON, {"units": "degrees_east"})},
    )
    packing = {"dtype": "int16", "_FillValue": np.int16(-5), "scale_factor": 0.01, "add_offset": 280.0}
    encoding = {"lat": {"_FillValue": None}, "lon": {"_FillValue": None}, "t": packing}
    made.to_zarr(tmp_path / "t.zarr", zarr_format=version, consolidated=False, encoding=encoding)
    check_masked(tmp_path / "t.zarr", "_FillValue")
    made.to_zarr(tmp_path / "f.zarr", zarr_format=version, consolidated=False, encoding={"t": {"_FillValue": -1.0}})
    check_masked(tmp_path / "f.zarr", "_FillValue")


def test_a_variable_that_is_not_wanted_may_make_no_sense(write, tmp_path):
    path = write(PACKED, **PACKING)
    with h5netcdf.File(path, "a") as file:
        file.create_variable("u", ("time", "lat", "lon"), "i2").attrs["scale_factor"] = 0.0
    np.testing.assert_allclose(values_of(open_climate(path, variable="t")), TRUE, atol=0.006)

"""Arrays of HDF5, Zarr and xarray whose attributes say how numbers are packed and which are missing."""

import h5netcdf
import h5py
import numpy as np
import pytest
import xarray as xr
import zarr

from converters.arrays.arrays import ArrayOptions, converter, open_array_archive
from functa_store.errors import ArchiveError, ConfigError, TooManyRejectsError
from functa_store.progress import silent
from functa_store.sources.options import SurveyOptions
from functa_store.sources.xarray_source import from_xarray

TRUE = np.random.default_rng(0).uniform(270, 290, (20, 4, 6, 2))
TRUE[:, :2, :3] = np.nan
"""240 of 960 values."""

PACKED = np.where(np.isnan(TRUE), -32767, np.rint((TRUE - 280) / 0.01)).astype(np.int16)
PACKING = {"scale_factor": 0.01, "add_offset": 280.0, "_FillValue": np.int16(-32767), "units": "K"}


def write_hdf5(path, data, attributes, **others):
    with h5py.File(path / "a.h5", "w") as file:
        file.create_dataset("t", data=data).attrs.update(attributes)
        for name, (values, told) in others.items():
            file.create_dataset(name, data=values).attrs.update(told)
    return path / "a.h5"


def write_zarr(path, data, attributes, version=3, fill_value=0, **others):
    group = zarr.open_group(path / "a.zarr", mode="w", zarr_format=version)
    for name, (values, told) in {"t": (data, attributes), **others}.items():
        array = group.create_array(name, shape=values.shape, dtype=values.dtype, fill_value=fill_value)
        array[...] = values
        array.attrs.update({key: value.tolist() if hasattr(value, "tolist") else value for key, value in told.items()})
    return path / "a.zarr"


WRITERS = pytest.mark.parametrize("write", [write_hdf5, write_zarr])


def opened(path, **options):
    """A source, its values, and what it notes."""
    notes = []
    kind = from_xarray if isinstance(path, xr.DataArray | xr.Dataset) else open_array_archive
    source = kind(path, report=notes.append, **options)
    features = source.features
    values = np.stack([source.read(i) for i in range(len(source.ids))]).astype(np.float64) * features.scale
    values = values * np.array(features.value_scale) + np.array(features.value_offset)
    return source, values, " ".join(getattr(note, "message", "") for note in notes)


@WRITERS
def test_packed_values_are_in_their_unit_and_fill_values_missing(tmp_path, write):
    source, values, notes = opened(write(tmp_path, PACKED, PACKING), missing=True)
    np.testing.assert_allclose(values, TRUE, atol=0.006)
    assert source.features.units == ("K", "K")
    assert "t: values are stored int16 times 0.01 plus 280" in notes
    assert "t: of 960 values that were read are taken as missing: 240 by _FillValue" in notes
    assert "240 by _FillValue" in source.provenance["masked"]


@WRITERS
def test_fill_values_are_rejects_where_nothing_may_be_missing(tmp_path, write):
    data = PACKED.copy()
    data[1:] = np.where(data[1:] == -32767, 0, data[1:])
    path = write(tmp_path, data, PACKING)
    with pytest.raises(TooManyRejectsError, match="0 holds 12 values that are NaN"):
        open_array_archive(path)
    assert open_array_archive(path, max_rejects=0.1).ids[0] == "1"


@WRITERS
@pytest.mark.parametrize("ignore", ["all", "scale_factor,add_offset,_FillValue"])
def test_stored_numbers_are_taken_if_the_user_wants_them(tmp_path, write, ignore):
    source, values, notes = opened(write(tmp_path, PACKED, PACKING), ignore=ignore)
    np.testing.assert_allclose(values, PACKED, atol=0.01)
    assert source.features.units == ("1", "1")
    assert "taken as missing" not in notes


@WRITERS
@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"missing_value": np.array([-32767, -5], "i2")}, "missing_value"),
        ({"valid_range": np.array([-1000, 1000], "i2")}, "valid_range"),
        ({"valid_min": np.int16(-1000)}, "valid_range"),
        ({"valid_range": np.array([200.0, 300.0])}, "valid_range"),
    ],
)
def test_other_attributes_of_missing_values_are_applied(tmp_path, write, attributes, reason):
    told = {key: PACKING[key] for key in ("scale_factor", "add_offset")} | attributes
    _, values, notes = opened(write(tmp_path, PACKED, told), missing=True)
    expected = np.where(PACKED == -5, np.nan, TRUE) if reason == "missing_value" else TRUE
    np.testing.assert_allclose(values, expected, atol=0.006)
    assert f"{np.isnan(expected).sum()} by {reason}" in notes


@WRITERS
def test_a_scale_that_makes_no_sense_is_refused_by_name(tmp_path, write):
    path = write(tmp_path, PACKED, {"scale_factor": 0.0})
    with pytest.raises(ArchiveError, match=r"t: scale_factor is .0.0., expected one number other than 0"):
        open_array_archive(path)
    np.testing.assert_allclose(opened(path, ignore="scale_factor")[1], PACKED, atol=0.01)


@WRITERS
def test_the_unit_of_the_user_is_taken_before_the_attribute(tmp_path, write):
    path = write(tmp_path, PACKED, PACKING)
    assert open_array_archive(path, missing=True, units="C,K").features.units == ("C", "K")


@WRITERS
def test_arrays_without_such_attributes_are_as_they_were(tmp_path, write):
    data = np.random.default_rng(0).integers(0, 255, (20, 4, 6, 1), np.uint8)
    source, values, notes = opened(write(tmp_path, data, {"long_name": "count"}))
    assert source.read(3).dtype == np.uint8
    np.testing.assert_allclose(values, data, atol=1e-9)
    assert notes.strip() == ""
    assert source.provenance["masked"] is None


@WRITERS
def test_labels_are_unpacked_and_stay_integers_where_they_can(tmp_path, write):
    path = write(
        tmp_path,
        np.random.default_rng(0).random((20, 4, 6, 1)),
        {},
        height=(np.arange(20, dtype=np.int16), {"scale_factor": 0.5, "add_offset": 1.0}),
        kind=(np.arange(20, dtype=np.int16), {"_FillValue": np.int16(-1)}),
    )
    source = open_array_archive(path, labels="height,kind")
    assert source.labels["height"].values.tolist() == [1 + k / 2 for k in range(20)]
    assert source.labels["kind"].values.dtype == np.int16


def test_netcdfs_own_fill_value_is_missing_in_a_netcdf_file_alone(tmp_path):
    with h5netcdf.File(tmp_path / "a.nc", "w") as file:
        file.dimensions = {"n": 20, "y": 4, "x": 6, "c": 2}
        variable = file.create_variable("t", ("n", "y", "x", "c"), "i2", data=PACKED)
        variable.attrs.update({"scale_factor": 0.01, "add_offset": 280.0})
    _, values, notes = opened(tmp_path / "a.nc", missing=True, array="t")
    np.testing.assert_allclose(values, TRUE, atol=0.006)
    assert "240 by NetCDF's fill value" in notes
    plain = opened(write_hdf5(tmp_path, PACKED, {}), missing=True)[1]
    np.testing.assert_allclose(plain, PACKED, atol=0.01)


@WRITERS
def test_netcdfs_fill_value_of_floats_is_missing_wherever_it_is(tmp_path, write):
    data = np.where(np.isnan(TRUE), 9.969209968386869e36, TRUE).astype(np.float32)
    path = write(tmp_path, data, {})
    np.testing.assert_allclose(opened(path, missing=True)[1], TRUE, rtol=1e-6)
    assert np.nanmax(opened(path, ignore="default_fill")[1]) == pytest.approx(9.969209968386869e36)


@pytest.mark.parametrize("version", [2, 3])
def test_stores_that_xarray_packs_are_unpacked(tmp_path, version):
    made = xr.Dataset({"t": (("n", "y", "x", "c"), TRUE, {"units": "K"})})
    packing = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 280.0, "_FillValue": np.int16(-32767)}
    made.to_zarr(tmp_path / "a.zarr", zarr_format=version, consolidated=False, encoding={"t": packing})
    source, values, notes = opened(tmp_path / "a.zarr", missing=True)
    np.testing.assert_allclose(values, TRUE, atol=0.006)
    assert source.features.units == ("K", "K")
    assert "240 by _FillValue" in notes
    floats = {"_FillValue": -999.0}
    made.to_zarr(tmp_path / "b.zarr", zarr_format=version, consolidated=False, encoding={"t": floats})
    np.testing.assert_allclose(opened(tmp_path / "b.zarr", missing=True)[1], TRUE, rtol=1e-6)


def test_zeros_of_a_plain_zarr_store_stay_numbers(tmp_path):
    data = np.random.default_rng(0).integers(0, 3, (20, 4, 6, 1)).astype(np.float32)
    for fill_value in (0, 2):
        path = write_zarr(tmp_path, data, {}, version=2, fill_value=fill_value)
        np.testing.assert_allclose(opened(path)[1], data, atol=1e-6)


def test_missing_values_of_any_file_are_said_by_the_user(tmp_path):
    np.save(tmp_path / "a.npy", np.where(np.isnan(TRUE), -9999, TRUE))
    source, values, notes = opened(tmp_path / "a.npy", missing=True, missing_value="-9999")
    np.testing.assert_allclose(values, TRUE, rtol=1e-6)
    assert "240 by --missing-value" in notes
    with pytest.raises(ConfigError, match="missing_value must be numbers"):
        open_array_archive(tmp_path / "a.npy", missing_value="none")
    with pytest.raises(ConfigError, match="ignore must be some of"):
        open_array_archive(tmp_path / "a.npy", ignore="units")
    options = ArrayOptions.from_plain(dict(source.provenance))
    again = converter.open(str(tmp_path / "a.npy"), options, SurveyOptions(), silent)
    assert dict(again.provenance) == dict(source.provenance)


def test_an_attribute_far_too_large_is_refused_with_a_way_out(tmp_path):
    path = write_hdf5(tmp_path, np.nan_to_num(TRUE, nan=280), {"valid_range": np.zeros(5000)})
    with pytest.raises(ArchiveError, match=r"valid_range has 5000 values, expected a few; .*--ignore all"):
        open_array_archive(path)
    assert len(open_array_archive(path, ignore="all").ids) == 20


def undecoded(**changed):
    return xr.DataArray(PACKED, dims=("n", "y", "x", "c"), attrs=PACKING | changed, name="t")


def test_attributes_that_still_stand_in_xarray_are_applied():
    source, values, notes = opened(undecoded(), example_dim="n", channel_dim="c")
    np.testing.assert_allclose(values, TRUE, atol=0.006)
    assert source.features.units == ("K", "K")
    assert "240 by _FillValue" in notes
    raw = opened(undecoded(), example_dim="n", channel_dim="c", ignore="all")[1]
    np.testing.assert_allclose(raw, PACKED, atol=0.01)
    with pytest.raises(ArchiveError, match="scale_factor is 'nan', expected one number"):
        from_xarray(undecoded(scale_factor=np.nan), example_dim="n", channel_dim="c")


def test_variables_of_a_dataset_are_each_unpacked_in_their_way():
    both = xr.Dataset({"t": undecoded().isel(c=0), "u": undecoded(add_offset=0.0, units="C").isel(c=1)})
    _, values, notes = opened(both.chunk(n=3), example_dim="n")
    np.testing.assert_allclose(values[..., 0], TRUE[..., 0], atol=0.006)
    np.testing.assert_allclose(values[..., 1], TRUE[..., 1] - 280, atol=0.006)
    assert "t: of 480 values that were read are taken as missing: 120" in notes


@pytest.mark.parametrize("valid", [np.array([-1000, 1000], "i2"), np.array([270.0, 290.0])])
def test_a_valid_range_that_xarray_leaves_is_applied_to_what_it_unpacks(valid):
    data = PACKED.copy()
    data[0, 3, 3, 0], data[0, 3, 4, 0] = 1001, 1000
    told = {key: value for key, value in PACKING.items() if key != "units"} | {"valid_range": valid}
    array = xr.decode_cf(xr.Dataset({"t": (("n", "y", "x", "c"), data, told)})).t
    _, values, notes = opened(array, example_dim="n", channel_dim="c")
    assert np.isnan(values[0, 3, 3, 0])
    assert values[0, 3, 4, 0] == pytest.approx(290, abs=1e-3)
    assert "1 by valid_range" in notes


def test_a_range_of_packed_integers_is_not_applied_to_values_that_have_lost_their_packing():
    plain = xr.DataArray(np.nan_to_num(TRUE, nan=280), dims=("n", "y", "x", "c"), name="t")
    plain.attrs["valid_range"] = np.array([-1000, 200], "i2")
    _, values, notes = opened(plain, example_dim="n", channel_dim="c")
    np.testing.assert_allclose(values, plain, rtol=1e-6)
    assert "t: valid_range is of integers beside floats" in notes


def test_packed_coordinates_of_xarray_are_measured_in_their_unit():
    array = undecoded().assign_coords(
        x=("x", np.arange(6, dtype=np.int16), {"scale_factor": 0.5, "units": "m"}),
        height=("n", np.arange(20, dtype=np.int16), {"add_offset": 100.0}),
    )
    source = from_xarray(array, example_dim="n", channel_dim="c")
    assert source.domain.lengths[1] == 3.0
    assert source.labels["height"].values[3] == 103

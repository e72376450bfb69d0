"""What was decoded can be kept."""

import numpy as np
import pytest
import xarray as xr


@pytest.mark.parametrize("given_chunks", [None, {}])
def test_a_decoded_window_is_written_as_zarr_and_read_back(path, tmp_path, given_chunks):
    window = xr.open_dataset(path, engine="functa", chunks=given_chunks).isel(example=[3, 1, 8], y=slice(1, 4))
    window.to_zarr(tmp_path / "window.zarr", consolidated=False)
    again = xr.open_zarr(tmp_path / "window.zarr", consolidated=False)
    xr.testing.assert_equal(again.load(), window.load())
    assert again.id.values.tolist() == ["3.png", "1.png", "8.png"]
    np.testing.assert_array_equal(again.animal.attrs["flag_values"], [0, 1])


def test_a_decoded_window_is_written_as_netcdf_and_read_back(path, tmp_path):
    pytest.importorskip("h5netcdf")
    window = xr.open_dataset(path, engine="functa").isel(example=[3, 1, 8], y=slice(1, 4))
    window.to_netcdf(tmp_path / "window.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "window.nc", engine="h5netcdf") as again:
        xr.testing.assert_equal(again.load(), window.load())
        assert again.image.attrs["units"] == "K"


def test_another_resolution_is_written_too(path, tmp_path):
    finer = xr.open_dataset(path, engine="functa").isel(example=slice(2)).functa.to_resolution(16)
    finer.to_zarr(tmp_path / "finer.zarr", consolidated=False)
    xr.testing.assert_allclose(xr.open_zarr(tmp_path / "finer.zarr", consolidated=False).image, finer.image)

"""The benchmark of climate fields runs, tiny, and its peers are what they say."""

import dataclasses
import json

import numpy as np
import pytest
import xarray as xr

from benchmarks import climate
from benchmarks.harmonics import bilinear, harmonics, truncated
from functa_store.config import FitConfig, NetworkConfig
from functa_store.domains.sphere import SphereGrid

LAT, LON = np.arange(88.0, -89, -4), np.arange(0, 360, 4.0)


def weights():
    return climate.areas(SphereGrid(latitudes=tuple(LAT), longitudes=tuple(LON)))


def test_harmonics_are_orthonormal_on_the_sphere():
    basis, area = harmonics(LAT, LON, 30), weights().ravel()
    np.testing.assert_allclose(4 * np.pi * (basis.T * area) @ basis / len(area), np.eye(30), atol=0.02)


def test_a_sum_of_harmonics_is_kept_exactly_by_as_many():
    rng = np.random.default_rng(0)
    fields = (harmonics(LAT, LON, 20) @ rng.normal(size=(20, 6))).T.reshape(3, 2, len(LAT), len(LON))
    fields = np.moveaxis(fields, 1, -1)
    np.testing.assert_allclose(truncated(fields, LAT, LON, weights().ravel(), 20), fields, atol=1e-9)
    assert np.abs(truncated(fields, LAT, LON, weights().ravel(), 19) - fields).max() > 0.01


def test_bilinear_interpolation_is_exact_for_what_is_linear_and_goes_round_the_globe():
    field = LAT[None, :, None, None] + np.cos(np.radians(LON))[None, None, :, None]
    fine = bilinear(field[:, ::2, ::2], (LAT[::2], LON[::2]), (LAT, LON), periodic=True)
    np.testing.assert_allclose(fine[:, ::2, ::2], field[:, ::2, ::2])
    np.testing.assert_allclose(fine[0, 1:-1, -1, 0], (field[0, 1:-1, -2, 0] + field[0, 1:-1, 0, 0]) / 2)


def test_errors_leave_missing_values_out():
    truth = np.zeros((1, 2, 2, 1))
    truth[0, 0, 0] = np.nan
    found = np.array([[9.0, 1.0], [2.0, 2.0]]).reshape(1, 2, 2, 1)
    assert climate.errors(truth, found, np.array([[5.0, 1.0], [1.0, 1.0]])) == [pytest.approx(3**0.5)]


def test_jumps_tell_the_seam_and_the_date_line_apart():
    grid = SphereGrid(latitudes=(1.0, 0.0), longitudes=(20.0, 110.0, 200.0, 290.0))
    fields = np.zeros((1, 2, 4, 1))
    fields[0, :, 2] = 1  # jumps across the date line (110 to 200) and back
    assert climate.compare_jumps(grid, fields) == {"seam": 0, "date_line": 1, "median": 0.5, "largest": 1}


@pytest.fixture(name="archive")
def _archive(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(30, 9, 12)).cumsum(axis=1).astype(np.float32)
    coords = {"time": np.arange(30), "lat": np.linspace(80, -80, 9), "lon": np.arange(0, 360, 30.0)}
    path = tmp_path / "fields.nc"
    xr.Dataset({"t": (("time", "lat", "lon"), values, {"units": "K"})}, coords).to_netcdf(path, engine="h5netcdf")
    return path


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    fast = climate.CLIMATE_FAST
    config = dataclasses.replace(
        fast.config,
        network=NetworkConfig(width=8, depth=3, modulation_dim=4),
        outer=dataclasses.replace(fast.config.outer, num_steps=2, batch_size=2, num_points=16, warmup_steps=1),
        fit=FitConfig(num_steps=2, tuning_steps=0),
    )
    monkeypatch.setattr(climate, "CLIMATE_FAST", dataclasses.replace(fast, config=config))


@pytest.mark.slow
def test_the_benchmark_writes_its_tables_and_a_picture(archive, tmp_path, capsys):
    climate.main(["--archive", str(archive), "--folder", str(tmp_path / "out")])
    facts = json.loads((tmp_path / "out/climate-t.json").read_text())
    assert [row["side"] for row in facts["grid"]] == [
        "functa, 4 dimensions",
        "PCA, 4 components",
        "harmonics, 4 per variable",
    ]
    assert len(facts["stations"]) == 5
    assert set(facts["jumps"]) == {"archive", "functa"}
    assert (tmp_path / "out/climate-t.png").exists()
    assert "t (K), by area" in capsys.readouterr().out


@pytest.mark.long
def test_the_sweep_compares_recipes_on_training_fields(archive, tmp_path):
    climate.main(["--archive", str(archive), "--folder", str(tmp_path), "--sweep", "w0 10"])
    rows = json.loads((tmp_path / "climate-t-sweep.json").read_text())["rows"]
    assert rows[0]["recipe"] == "w0 10"
    assert np.isfinite(rows[0]["psnr"])

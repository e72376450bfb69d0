"""Modulations that are grids go through conversion, recoding, verification, repair and export."""

import dataclasses
import shutil

import numpy as np
import pytest
import xarray as xr

import functa_store
from functa_store.config import NetworkConfig
from functa_store.conversion import deep_verify
from functa_store.loaders import DecodePoints, Loader
from functa_store.store.reading.verify import verify
from tests.conversion.test_repair import CONFIG, files, source
from tests.reference import FormatReader

pytestmark = pytest.mark.slow

CELLS = dataclasses.replace(
    CONFIG,
    network=NetworkConfig(
        width=16, depth=3, w0=10.0, modulation="spatial", modulation_grid=(2, 3), modulation_dim=4, lookup="linear"
    ),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("stores") / "float32.functa"
    functa_store.convert(source(), path, CELLS)
    return path


@pytest.fixture(scope="module", params=["int8", "float16"])
def recoded(request, store):
    path = store.parent / f"{request.param}.functa"
    functa_store.recode(store, path, request.param)
    return path


def test_what_was_converted_is_read_as_grids_and_decoded_by_the_format(store):
    functaset = functa_store.open(store)
    assert functaset.modulations.shape == (40, 2, 3, 4)
    assert np.abs(functaset.modulations[:]).max() > 0
    rng = np.random.default_rng(0)
    positions = rng.random((50, 2))
    expected = FormatReader(store).decode(positions)
    found = functaset.decode(slice(None), coords=positions, clip=False)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    places = rng.integers(0, 40, 50)
    scattered = functaset.decode_scattered(places, positions, clip=False)
    np.testing.assert_allclose(scattered, expected[places, np.arange(50)], rtol=1e-4, atol=1e-4)
    assert deep_verify.worst_disagreement(functaset, source()).worst < 1


def test_recoding_rounds_each_channel_to_its_range(store, recoded):
    exact, rounded = functa_store.open(store), functa_store.open(recoded)
    assert verify(recoded).damaged == {}
    dtype = rounded.config.modulation_dtype
    columns, found = (fs.modulations[:].reshape(-1, 4) for fs in (exact, rounded))
    step = (columns.max(axis=0) - columns.min(axis=0)) / 255 if dtype == "int8" else np.abs(columns).max(axis=0) / 1024
    assert (np.abs(found - columns) <= 0.51 * step).all()
    if dtype == "int8":
        assert rounded.store.rounding.scale.shape == (4,)
        np.testing.assert_allclose(rounded.store.rounding.scale, step, rtol=1e-6)
    assert 0 <= rounded.store.spec.rounding_loss.mse_max < 1e-4
    assert deep_verify.worst_disagreement(rounded, source()).worst < 1


def test_a_damaged_shard_is_fitted_again_to_the_same_bytes(recoded, tmp_path):
    copy = shutil.copytree(recoded, tmp_path / "copy.functa")
    shard = copy / "modulations/c/1/0/0/0"
    shard.write_bytes(bytes([shard.read_bytes()[0] ^ 1]) + shard.read_bytes()[1:])
    assert list(verify(copy).damaged) == ["modulations/c/1/0/0/0"]
    assert functa_store.repair(source(), copy) == ["modulations/c/1/0/0/0"]
    assert files(copy) == files(recoded)


def test_every_reader_decodes_the_same(recoded, tmp_path):
    functaset = functa_store.open(recoded)
    expected = functaset.decode(slice(0, 3), (16, 12))
    dataset = xr.open_dataset(recoded, engine="functa", resolution=(16, 12), modulations=True)
    np.testing.assert_allclose(dataset.image[:3], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(dataset.modulations[:3], functaset.modulations[:3])
    functa_store.export(functaset, tmp_path / "out.npz", (16, 12), index=slice(0, 3))
    np.testing.assert_allclose(np.load(tmp_path / "out.npz")["values"], expected, rtol=1e-5, atol=1e-5)
    batch = next(iter(Loader(functaset, 4, decode=DecodePoints(num_points=5))))
    assert batch["modulations"].shape == (4, 2, 3, 4)
    again = functaset.decode(batch["index"], coords=batch["coords"])
    np.testing.assert_allclose(batch["values"], again, rtol=1e-5, atol=1e-5)

"""Decoding against the paper's equations, in tiles, with one compilation."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functa_store.config import NetworkConfig
from functa_store.decode import tiled_decoder as decoder_module
from functa_store.decode import tiled_decoder as programs
from functa_store.decode.tiled_decoder import TiledDecoder, make_decoder
from functa_store.domains.cells import CellGrid, GridPoints
from functa_store.nets.siren import from_weights, init_siren, to_weights
from tests.reference import ReferenceSiren

CONFIG = NetworkConfig(width=16, depth=4, w0=10.0, modulation_dim=6)
BASE = to_weights(nnx.state(init_siren(CONFIG, 2, 3, seed=0)))
DOMAIN = CellGrid(axes=("y", "x"), resolution=(8, 8))
RNG = np.random.default_rng(0)
MODULATIONS = 0.2 * RNG.normal(size=(5, 6)).astype(np.float32)


def expected(modulations, coords):
    reference = ReferenceSiren.from_weights(CONFIG.w0, BASE)
    return np.stack([reference(phi.astype(np.float64), coords.astype(np.float64)) for phi in modulations])


@pytest.fixture(name="small_tiles", params=[1, 3])
def _small_tiles(request):
    """Tiles of 16 points, 3 of them in each call, as a CPU and as an accelerator evaluate them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder_module, "TILES_AT_ONCE", {"cpu": request.param})
        for name, value in {"TILE_POINTS": 16, "TILES_PER_CALL": 4, "FEW_POINTS": 4}.items():
            patch.setattr(decoder_module, name, value)
        patch.setattr(decoder_module, "SCATTERED_TILE_POINTS", 8)
        patch.setattr(decoder_module, "SCATTERED_TILES_PER_CALL", 2)
        yield request.param


@pytest.fixture(name="traces")
def _traces(monkeypatch):
    """One entry for each compilation, none of which was made before."""
    traces = []

    def counting(*args):
        traces.append(args)
        return from_weights(*args)

    monkeypatch.setattr(programs, "from_weights", counting)
    programs.tile_programs.cache_clear()
    yield traces
    programs.tile_programs.cache_clear()


NO_CHECK = [HealthCheck.function_scoped_fixture]  # the constants are the same for every example


@settings(max_examples=8, suppress_health_check=NO_CHECK)
@given(st.integers(0, 5), st.integers(0, 70))
def test_tiles_give_the_papers_features_whatever_their_number(small_tiles, num_examples, num_points):
    coords = np.random.default_rng(num_points).uniform(size=(num_points, 2)).astype(np.float32)
    tiled = TiledDecoder(CONFIG, BASE, DOMAIN, 3)
    features = tiled(MODULATIONS[:num_examples], coords)
    assert features.shape == (num_examples, num_points, 3)
    assert tiled.points_asked == num_examples * num_points
    if features.size:
        np.testing.assert_allclose(features, expected(MODULATIONS[:num_examples], coords), atol=2e-5)


@settings(max_examples=8, suppress_health_check=NO_CHECK)
@given(st.lists(st.integers(0, 6), min_size=2, max_size=2))
def test_a_grid_is_decoded_as_its_points_are(small_tiles, shape):
    grid = GridPoints([np.linspace(0, 1, n) ** 2 for n in shape])
    points = grid[np.arange(len(grid))]
    tiled = TiledDecoder(CONFIG, BASE, DOMAIN, 3)
    np.testing.assert_array_equal(tiled(MODULATIONS, grid), tiled(MODULATIONS, points))


@settings(max_examples=8, suppress_health_check=NO_CHECK)
@given(st.lists(st.integers(0, 4), max_size=40))
def test_scattered_points_are_evaluated_once_each_with_the_example_of_each(small_tiles, examples):
    which = np.array(examples, np.int64)
    coords = np.random.default_rng(0).uniform(size=(len(which), 2)).astype(np.float32)
    tiled = TiledDecoder(CONFIG, BASE, DOMAIN, 3)
    features = tiled.scattered(MODULATIONS, which, coords)
    assert tiled.points_asked == len(which)
    assert tiled.points_evaluated < len(which) + 8 * small_tiles * (1 + len(which) // 16)
    for i, example in enumerate(examples):
        np.testing.assert_allclose(features[i], expected(MODULATIONS[[example]], coords[[i]])[0, 0], atol=2e-5)


def test_few_points_of_many_examples_do_not_fill_a_tile_for_each():
    tiled = TiledDecoder(CONFIG, BASE, DOMAIN, 3)
    tiled(np.zeros((100, 6), np.float32), np.zeros((3, 2), np.float32))
    assert tiled.points_evaluated < 300 + decoder_module.SCATTERED_TILE_POINTS


def test_examples_are_written_into_the_rows_of_an_array(small_tiles):
    tiled = TiledDecoder(CONFIG, BASE, DOMAIN, 3)
    for num_points in (3, 37):
        coords = RNG.uniform(size=(num_points, 2)).astype(np.float32)
        features = np.full((7, num_points, 3), np.nan, np.float32)
        tiled.into(features, np.array([5, 0, 2]), MODULATIONS[:3], coords)
        np.testing.assert_array_equal(features[[5, 0, 2]], tiled(MODULATIONS[:3], coords))
        assert np.isnan(features[[1, 3, 4, 6]]).all()


def test_threads_that_come_together_compile_once(traces):
    tiled = TiledDecoder(CONFIG, BASE, DOMAIN, 3)
    coords = np.zeros((1000, 2), np.float32)
    threads = [threading.Thread(target=tiled, args=(MODULATIONS, coords)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(traces) == 1
    assert tiled.points_asked == 4 * 5 * 1000


def test_one_compilation_serves_every_size_and_every_decoder_of_a_network(traces):
    for examples, points in [(1, 1000), (5, 4100), (2, 2048)]:
        tiled = TiledDecoder(CONFIG, BASE, DOMAIN, 3)
        tiled(MODULATIONS[:examples], np.zeros((points, 2), np.float32))
    assert len(traces) == 1
    for examples, points in [(1, 1), (5, 100), (3, 300)]:
        tiled(MODULATIONS[:examples], np.zeros((points, 2), np.float32))
    assert len(traces) == 2


def test_the_decoder_is_differentiable_in_all_three():
    """Its gradients equal float64 difference quotients of the paper's equations."""
    decode = make_decoder(CONFIG, 2, 3)
    coords = RNG.uniform(size=(7, 2)).astype(np.float32)

    def total(base, modulations, coords):
        return jnp.sum(decode(base, modulations, coords) ** 2)

    base_slope, modulation_slope, coords_slope = jax.grad(total, argnums=(0, 1, 2))(BASE, MODULATIONS, coords)
    h = 1e-6

    def quotient(change):
        values = []
        for sign in (1, -1):
            weights = {name: np.asarray(array, np.float64) for name, array in BASE.items()}
            arrays = [weights, MODULATIONS.astype(np.float64), coords.astype(np.float64)]
            change(arrays, sign * h)
            reference = ReferenceSiren.from_weights(CONFIG.w0, arrays[0])
            values.append(sum(np.sum(reference(phi, arrays[2]) ** 2) for phi in arrays[1]))
        return (values[0] - values[1]) / (2 * h)

    def bump_weight(arrays, step):
        arrays[0]["sine_1/kernel"][3, 4] += step

    def bump_modulation(arrays, step):
        arrays[1][2, 5] += step

    def bump_coordinate(arrays, step):
        arrays[2][6, 1] += step

    np.testing.assert_allclose(base_slope["sine_1/kernel"][3, 4], quotient(bump_weight), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(modulation_slope[2, 5], quotient(bump_modulation), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(coords_slope[6, 1], quotient(bump_coordinate), rtol=1e-3, atol=1e-3)

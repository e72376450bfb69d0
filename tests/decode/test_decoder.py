"""Decoding against the paper's equations, in tiles, with one compilation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from functa_store.config import NetworkConfig
from functa_store.decode import decoder as decoder_module
from functa_store.decode.decoder import TiledDecoder, make_decoder
from functa_store.nets.siren import init_siren
from functa_store.nets.weights import from_weights, to_weights
from tests.reference import ReferenceSiren

CONFIG = NetworkConfig(width=16, depth=4, w0=10.0, modulation_dim=6)
BASE = to_weights(nnx.state(init_siren(CONFIG, 2, 3, seed=0)))
RNG = np.random.default_rng(0)
MODULATIONS = 0.2 * RNG.normal(size=(5, 6)).astype(np.float32)


def expected(modulations, coords):
    reference = ReferenceSiren.from_weights(CONFIG.w0, BASE)
    return np.stack([reference(phi.astype(np.float64), coords.astype(np.float64)) for phi in modulations])


@pytest.mark.parametrize("at_once", [1, 3])
@settings(max_examples=8)
@given(st.integers(0, 5), st.integers(0, 70))
def test_tiles_give_the_papers_features_whatever_their_number(at_once, num_examples, num_points):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder_module, "TILE_POINTS", 16)
        patch.setattr(decoder_module, "TILES_AT_ONCE", {"cpu": at_once})
        patch.setattr(decoder_module, "TILES_PER_CALL", 4)
        coords = np.random.default_rng(num_points).uniform(size=(num_points, 2)).astype(np.float32)
        features = TiledDecoder(CONFIG, BASE, 2, 3)(MODULATIONS[:num_examples], coords)
    assert features.shape == (num_examples, num_points, 3)
    if features.size:
        np.testing.assert_allclose(features, expected(MODULATIONS[:num_examples], coords), atol=2e-5)


def test_one_compilation_serves_every_size(monkeypatch):
    traces = []

    def counting(*args):
        traces.append(args)
        return from_weights(*args)

    monkeypatch.setattr(decoder_module, "from_weights", counting)
    monkeypatch.setattr(decoder_module, "TILE_POINTS", 32)
    tiled = TiledDecoder(CONFIG, BASE, 2, 3)
    for examples, points in [(1, 1), (5, 100), (2, 32), (3, 33)]:
        tiled(MODULATIONS[:examples], np.zeros((points, 2), np.float32))
    assert len(traces) == 1


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

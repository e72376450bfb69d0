"""The network against the paper's equations in float64."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from functa_store.config import NetworkConfig
from functa_store.nets.siren import from_weights, init_siren, to_weights
from tests.reference import ReferenceSiren

NETWORKS = {
    "latent": NetworkConfig(width=32, depth=5, w0=30.0, modulation_dim=16),
    "shift": NetworkConfig(width=32, depth=5, w0=30.0, modulation="shift", modulation_dim=None),
}


@pytest.fixture(params=NETWORKS, name="config")
def _config(request):
    return NETWORKS[request.param]


def test_features_are_those_paper_loops_equations(config):
    rng = np.random.default_rng(0)
    network = init_siren(config, 2, 3, seed=1)
    phi, coords = 0.1 * rng.normal(size=config.modulation_size), rng.uniform(size=(50, 2))
    reference = ReferenceSiren.from_weights(config.w0, to_weights(nnx.state(network)))
    ours = network(jnp.asarray(phi, jnp.float32), jnp.asarray(coords, jnp.float32))
    expected = reference(phi.astype(np.float32).astype(np.float64), coords.astype(np.float32).astype(np.float64))
    assert np.abs(ours - expected).max() / np.abs(expected).max() < 1e-4


@pytest.mark.slow
def test_weights_by_name_make_the_same_network(config):
    network = init_siren(config, 3, 1, seed=2)
    weights = {name: np.asarray(array) for name, array in to_weights(nnx.state(network)).items()}
    again = from_weights(config, 3, 1, weights)
    phi, coords = jnp.ones(config.modulation_size), jnp.linspace(0, 1, 30).reshape(10, 3)
    np.testing.assert_array_equal(network(phi, coords), again(phi, coords))


def test_initial_weights_are_those_of_siren():
    network = init_siren(NetworkConfig(width=400, depth=4, w0=30.0, modulation_dim=8), 2, 3, seed=0)
    weights = to_weights(nnx.state(network))
    for name, bound in {"sine_0": 1 / 2, "sine_1": (6 / 400) ** 0.5 / 30, "linear": (6 / 400) ** 0.5 / 30}.items():
        kernel = np.asarray(weights[f"{name}/kernel"])
        assert 0.95 * bound < np.abs(kernel).max() <= bound
        assert np.all(np.asarray(weights[f"{name}/bias"]) == 0)


def test_the_zero_modulation_is_the_unmodulated_network():
    config = NETWORKS["shift"]
    network = init_siren(config, 2, 3, seed=0)
    hidden = coords = np.random.default_rng(0).uniform(size=(5, 2))
    for layer in range(config.depth - 1):
        hidden = np.sin(config.w0 * hidden @ np.asarray(getattr(network, f"sine_{layer}").kernel[...], np.float64))
    expected = hidden @ np.asarray(network.linear.kernel[...]) + 0.5
    ours = network(jnp.zeros(config.modulation_size), jnp.asarray(coords, jnp.float32))
    np.testing.assert_allclose(ours, expected, atol=2e-5)

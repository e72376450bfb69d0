"""The peers against the paper's equations in float64, against each other, and against the authors' code."""

import os
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from benchmarks import peers
from functa_store.config import NetworkConfig
from functa_store.nets.siren import init_siren, to_weights
from tests.reference import ReferenceSiren, ReferenceSpatial

CONFIG = NetworkConfig(width=16, depth=4, w0=20.0, modulation_dim=8)
SPATIAL = NetworkConfig(width=16, depth=4, w0=10.0, modulation="spatial", modulation_grid=(2, 3), modulation_dim=5)
EXAMPLES, STEPS = 3, 3


class Case:
    """A network whose biases are not zero, a grid of points, and a batch of examples on it."""

    def __init__(self, config=CONFIG):
        self.config, self.w0, self.grid = config, config.w0, config.modulation_grid
        rng = np.random.default_rng(5)
        initial = to_weights(nnx.state(init_siren(config, 2, 3, seed=1)))
        self.weights = {
            name: jnp.asarray(array + 0.02 * rng.normal(size=array.shape), jnp.float32)
            for name, array in initial.items()
        }
        self.rates = jnp.asarray(rng.uniform(0.05, 0.2, size=(STEPS, config.cell_size)), jnp.float32)
        side = (np.arange(6) + 0.5) / 6
        self.coords = jnp.asarray(np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2), jnp.float32)
        phases = rng.uniform(0, 6, size=(EXAMPLES, 1, 3))
        waves = 0.5 + 0.4 * np.sin(4 * np.asarray(self.coords).sum(axis=-1)[:, None] + phases)
        self.features = jnp.asarray(waves, jnp.float32)

    def modulations(self, weights, rates):
        """The reference's modulation of every example, and its loss, in float64."""
        siren = ReferenceSiren.from_weights(self.w0, weights)
        coords, features = np.asarray(self.coords, np.float64), np.asarray(self.features, np.float64)
        if self.grid is None:
            fitted = [siren.inner_loop(rates, [coords] * STEPS, [example] * STEPS) for example in features]
        else:
            siren = ReferenceSpatial(siren, tuple(self.grid))
            fitted = [siren.inner_loop(rates, coords, example) for example in features]
        losses = [siren.loss(phi, coords, example) for phi, example in zip(fitted, features, strict=True)]
        return np.stack(fitted).reshape(len(fitted), -1), np.stack(losses)


@pytest.fixture(scope="module", name="case")
def _case():
    return Case()


@pytest.fixture(scope="module", name="any_case", params=[CONFIG, SPATIAL], ids=["vector", "grid"])
def _any_case(request):
    return Case(request.param)


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_the_plain_network_is_that_of_the_papers_equations(case):
    phi = 0.1 * np.random.default_rng(0).normal(size=CONFIG.modulation_size).astype(np.float32)
    expected = ReferenceSiren.from_weights(CONFIG.w0, case.weights)(phi, np.asarray(case.coords, np.float64))
    assert_close(peers.plain_features(case.weights, CONFIG.w0, jnp.asarray(phi), case.coords), expected)


@pytest.mark.slow
def test_the_plain_network_of_a_grid_is_that_of_its_cells_one_by_one():
    case = Case(SPATIAL)
    phi = 0.1 * np.random.default_rng(0).normal(size=SPATIAL.modulation_shape).astype(np.float32)
    siren = ReferenceSpatial(ReferenceSiren.from_weights(SPATIAL.w0, case.weights), (2, 3))
    expected = siren(phi, np.asarray(case.coords, np.float64))
    assert_close(peers.spatial_features(case.weights, SPATIAL.w0, jnp.asarray(phi), case.coords), expected)


@pytest.mark.slow
def test_the_plain_fit_is_that_of_algorithm_1(any_case):
    case = any_case
    found = peers.plain_fit(case.weights, case.w0, case.rates, case.coords, case.features[0], case.grid)
    for ours, expected in zip(found, case.modulations(case.weights, case.rates), strict=True):
        assert_close(ours, expected[0])


@pytest.mark.slow
def test_the_compiled_fit_of_a_grid_is_that_of_the_papers_equations():
    case = Case(SPATIAL)
    found = peers.jitted_fit(case.w0, case.grid)(case.weights, case.rates, case.coords, case.features)
    assert found[0].shape == (EXAMPLES, SPATIAL.modulation_size)
    for ours, expected in zip(found, case.modulations(case.weights, case.rates), strict=True):
        assert_close(ours, expected)


@pytest.mark.slow
def test_the_compiled_and_the_eager_fit_are_the_same(case):
    compiled = peers.jitted_fit(CONFIG.w0)(case.weights, case.rates, case.coords, case.features)
    eager = peers.eager_fit(case.weights, CONFIG.w0, case.rates, case.coords, case.features)
    assert compiled[0].shape == (EXAMPLES, CONFIG.modulation_size)
    assert compiled[1].shape == (EXAMPLES,)
    for ours, expected in zip(compiled, eager, strict=True):
        assert_close(ours, expected)


@pytest.mark.slow
def test_the_outer_gradient_goes_through_the_inner_steps(any_case):
    """Against finite differences of the reference, inner loop and all, along a random direction."""
    case = any_case
    params = {"base": case.weights, "rates": case.rates}
    keep_gradient = optax.trace(decay=0.0)
    step = peers.plain_outer_step(case.w0, keep_gradient, case.grid)
    _, kept, losses = step(params, keep_gradient.init(params), case.coords, case.features)
    assert losses.shape == (EXAMPLES,)
    assert_close(losses, case.modulations(case.weights, case.rates)[1])
    rng = np.random.default_rng(2)
    wide = jax.tree.map(lambda array: np.asarray(array, np.float64), params)
    direction = jax.tree.map(lambda array: rng.normal(size=array.shape), wide)

    def mean_loss(distance):
        there = jax.tree.map(lambda array, towards: array + distance * towards, wide, direction)
        return case.modulations(there["base"], there["rates"])[1].mean()

    gradient = optax.tree_utils.tree_get(kept, "trace")
    slope = sum(jax.tree.leaves(jax.tree.map(lambda g, towards: np.sum(g * towards), gradient, direction)))
    np.testing.assert_allclose(slope, (mean_loss(1e-6) - mean_loss(-1e-6)) / 2e-6, rtol=1e-3)


@pytest.mark.slow
def test_outer_steps_lower_the_loss(case):
    optimizer = optax.adam(1e-3)
    step = peers.plain_outer_step(CONFIG.w0, optimizer)
    params = {"base": case.weights, "rates": case.rates}
    state, means = optimizer.init(params), []
    for _ in range(8):
        params, state, losses = step(params, state, case.coords, case.features)
        means.append(float(losses.mean()))
    assert means[-1] < 0.9 * means[0]


def test_a_folder_that_is_no_checkout_is_refused_by_name(tmp_path):
    with pytest.raises(peers.PeerError, match=r"found no function_reps\.py, .*git clone"):
        peers.reference_fit(tmp_path)


def test_a_package_that_the_authors_code_needs_is_named(tmp_path, monkeypatch):
    for name in ("function_reps", "helpers", "minimal_nerf", "pytree_conversions"):
        (tmp_path / f"{name}.py").touch()
    monkeypatch.setitem(sys.modules, "haiku", None)
    with pytest.raises(peers.PeerError, match=r"'haiku'.*pip install dm-haiku"):
        peers.reference_fit(tmp_path)


def test_the_authors_code_fits_the_same_modulation(case):
    if not (checkout := os.environ.get("FUNCTA_REFERENCE")):
        pytest.skip(f"FUNCTA_REFERENCE names no checkout of {peers.REFERENCE_URL}")
    pytest.importorskip("haiku", reason="dm-haiku is not installed")
    pytest.importorskip("chex", reason="chex is not installed")
    fit = peers.reference_fit(pathlib.Path(checkout))
    arguments = case.weights, CONFIG.w0, case.rates, case.coords, case.features[0]
    for theirs, ours in zip(fit(*arguments), peers.plain_fit(*arguments), strict=True):
        assert_close(theirs, ours)

"""Fitting examples with a finished base."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import functa_store.learn.fit as fit_module
import functa_store.learn.projection as projection_module
from functa_store.config import ConvertConfig, FitConfig, NetworkConfig
from functa_store.feed import Feed
from functa_store.learn.fit import Fit, choose_batch_size, fit_examples
from functa_store.learn.inner_loop import Steps
from functa_store.learn.outer_loop import init_learnable
from functa_store.nets.weights import to_weights
from functa_store.sources import ArraySource, FeatureSpec
from tests.reference import ReferenceSiren

BATCH = 8
NETWORKS = {
    "latent": NetworkConfig(width=16, depth=3, modulation_dim=8),
    "shift": NetworkConfig(width=16, depth=3, modulation="shift", modulation_dim=None),
}
VALUES = np.random.default_rng(0).integers(0, 256, size=(BATCH + 5, 6, 7, 3), dtype=np.uint8)
SOURCE = ArraySource(VALUES, features=FeatureSpec(channels=("r", "g", "b"), scale=1 / 255))
PLAIN = FitConfig(num_steps=3, stride=1, tuning_steps=0)


class Case:
    """A base with steps, and what fitting with them gives."""

    def __init__(self, network, fit_config, batch_size=BATCH):
        self.config = ConvertConfig(network=network, fit=fit_config)
        graph, learnable = init_learnable(self.config, 2, 3)
        top = 0.3 if network.modulation == "latent" else 3e-3
        rng = np.random.default_rng(1)
        shape = (fit_config.num_steps, network.modulation_size)
        rates, momenta = rng.uniform(top / 3, top, shape), rng.uniform(0, 0.5, shape)
        self.base = learnable.base
        self.steps = Steps(*(jnp.asarray(a, jnp.float32) for a in (rates, momenta)))
        self.fit = Fit(graph, self.config, fit_config, SOURCE)
        self.shared = self.fit.prepare(learnable.base, self.steps)
        self.modulations, self.mse = self(np.arange(len(VALUES)), batch_size)

    def __call__(self, indices, batch_size=BATCH):
        fitted = fit_examples(self.fit, self.shared, Feed(SOURCE), indices, batch_size)
        return tuple(np.concatenate(parts) for parts in zip(*fitted, strict=True))

    def expected(self, index, views):
        """In float64: heavy-ball steps on the points of each view, and the error on all points."""
        reference = ReferenceSiren.from_weights(self.config.network.w0, to_weights(self.base))
        coords, features = SOURCE.domain.coords().astype(np.float64), VALUES[index].reshape(-1, 3) / 255
        phi = previous = np.zeros(self.config.network.modulation_size)
        for rate, momentum, view in zip(*(np.asarray(s, np.float64) for s in self.steps), views, strict=True):
            slope = reference.gradient(phi, coords[view], features[view])
            phi, previous = phi - rate * slope + momentum * (phi - previous), phi
        return phi, reference.loss(phi, coords, features)

    def assert_fits(self, views):
        for index in (0, BATCH + 4):
            phi, mse = self.expected(index, views)
            np.testing.assert_allclose(self.modulations[index], phi, rtol=1e-4, atol=1e-4 * np.abs(phi).max())
            np.testing.assert_allclose(self.mse[index], mse, rtol=1e-4)


ALL = np.arange(42)
GRID = ALL.reshape(6, 7)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("tile", [None, 13])
def test_modulations_and_errors_are_those_of_the_papers_equations(network, tile):
    Case(NETWORKS[network], dataclasses.replace(PLAIN, tile_points=tile)).assert_fits([ALL] * 3)


@pytest.mark.parametrize("tile", [None, 5])
def test_later_steps_look_at_one_phase_of_a_stride_after_the_other(tile):
    case = Case(NETWORKS["latent"], FitConfig(num_steps=4, stride=2, tile_points=tile))
    case.assert_fits([ALL, GRID[::2, ::2].ravel(), GRID[1::2, 1::2].ravel(), GRID[::2, 1::2].ravel()])


@pytest.mark.parametrize("name", ["projection", "lifted"])
def test_grids_too_large_for_what_examples_share_are_fitted_step_by_step(name, monkeypatch):
    if name == "projection":
        monkeypatch.setattr(projection_module, "MOST_BYTES", 0)
    monkeypatch.setattr(fit_module, "MOST_LIFTED_BYTES", 0)
    case = Case(NETWORKS["latent"], dataclasses.replace(PLAIN, tile_points=13))
    assert (case.shared.projection is None) == (name == "projection")
    assert case.shared.lifted is None
    case.assert_fits([ALL] * 3)


def test_the_cost_counts_what_is_computed(monkeypatch):
    """Two passes a step but for the first one, a third (2 x 7 of 42 points) of them, and one for the error."""
    assert Case(NETWORKS["latent"], PLAIN).fit.passes == 5
    assert Case(NETWORKS["latent"], FitConfig(num_steps=4, stride=3)).fit.passes == 1 + 3 * 2 * (2 * 3) / 42
    monkeypatch.setattr(projection_module, "MOST_BYTES", 0)
    assert Case(NETWORKS["latent"], PLAIN).fit.passes == 7


def test_each_example_is_fitted_on_its_own():
    """A modulation may not depend on the examples that shared its batch."""
    case = Case(NETWORKS["latent"], PLAIN)
    modulations, mse = case(np.array([BATCH + 4, 3]))
    np.testing.assert_array_equal(modulations, case.modulations[[BATCH + 4, 3]])
    np.testing.assert_array_equal(mse, case.mse[[BATCH + 4, 3]])


def test_bfloat16_changes_the_fit_a_little_and_errors_stay_float32():
    plain, half = (
        Case(NETWORKS["latent"], PLAIN),
        Case.__new__(Case),
    )
    config = dataclasses.replace(plain.config, matmul_precision="bfloat16")
    fit = Fit(init_learnable(config, 2, 3)[0], config, PLAIN, SOURCE)
    half.__dict__.update(plain.__dict__, fit=fit, shared=fit.prepare(plain.base, plain.steps))
    modulations, mse = half(np.arange(3))
    assert 0 < np.abs(modulations - plain.modulations[:3]).max() < 0.05 * np.abs(plain.modulations).max()
    reference = ReferenceSiren.from_weights(config.network.w0, to_weights(plain.base))
    coords = SOURCE.domain.coords().astype(np.float64)
    exact = [
        reference.loss(phi.astype(np.float64), coords, VALUES[i].reshape(-1, 3) / 255)
        for i, phi in enumerate(modulations)
    ]
    np.testing.assert_allclose(mse, exact, rtol=1e-4)


def test_a_batch_is_as_large_as_wanted_and_no_larger_than_there_are_examples():
    case = Case(NETWORKS["latent"], PLAIN)
    assert choose_batch_size(case.fit, case.shared, SOURCE, 3, 13) == 3
    assert choose_batch_size(case.fit, case.shared, SOURCE, None, 5) == 5

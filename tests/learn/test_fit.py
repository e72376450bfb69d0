"""Fitting examples with a finished base."""

import jax.numpy as jnp
import numpy as np
import pytest

from functa_store.config import ConvertConfig, NetworkConfig
from functa_store.feed import Feed
from functa_store.learn.fit import BATCH, fit_examples, make_fit
from functa_store.learn.outer_loop import init_learnable
from functa_store.nets.weights import to_weights
from functa_store.sources import ArraySource, FeatureSpec
from tests.reference import ReferenceSiren

CONFIG = ConvertConfig(network=NetworkConfig(width=16, depth=3, modulation_dim=8))
VALUES = np.random.default_rng(0).integers(0, 256, size=(BATCH + 5, 6, 7, 3), dtype=np.uint8)
SOURCE = ArraySource(VALUES, features=FeatureSpec(channels=("r", "g", "b"), scale=1 / 255))


@pytest.fixture(scope="module", name="fitted")
def _fitted():
    graph, learnable = init_learnable(CONFIG, 2, 3)
    learnable = learnable._replace(rates=jnp.full_like(learnable.rates, 0.3))
    fit = make_fit(graph, SOURCE.domain.coords(), SOURCE.features)
    everything = fit_examples(fit, learnable, Feed(SOURCE), np.arange(len(VALUES)))
    modulations, mse = (np.concatenate(parts) for parts in zip(*everything, strict=True))
    return fit, learnable, modulations, mse


def test_each_example_is_fitted_on_its_own(fitted):
    """A modulation may not depend on the examples that shared its batch."""
    fit, learnable, modulations, mse = fitted
    batches = fit_examples(fit, learnable, Feed(SOURCE), np.array([BATCH + 4, 3]))
    (again, errors), *_ = batches
    np.testing.assert_array_equal(again, modulations[[BATCH + 4, 3]])
    np.testing.assert_array_equal(errors, mse[[BATCH + 4, 3]])


def test_modulations_and_errors_are_those_of_the_papers_equations(fitted):
    _, learnable, modulations, mse = fitted
    reference = ReferenceSiren.from_weights(CONFIG.network.w0, to_weights(learnable.base))
    coords = SOURCE.domain.coords().astype(np.float64)
    for index in (0, BATCH + 4):
        features = VALUES[index].reshape(-1, 3) / 255
        phi = reference.inner_loop(np.asarray(learnable.rates), [coords] * 3, [features] * 3)
        np.testing.assert_allclose(modulations[index], phi, rtol=1e-4, atol=1e-4 * np.abs(phi).max())
        np.testing.assert_allclose(mse[index], reference.loss(phi, coords, features), rtol=1e-4)

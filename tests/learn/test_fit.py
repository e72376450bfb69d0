"""Fitting examples with a finished base."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import functa_store.learn.fit as fit_module
import functa_store.learn.tiling as projection_module
from functa_store.config import ConvertConfig, FitConfig, NetworkConfig
from functa_store.errors import ConfigError
from functa_store.learn.fit import (
    Fit,
    choose_batch_size,
    fit_batches,
    in_batches,
    mean_psnr,
)
from functa_store.learn.inner_loop import Steps
from functa_store.learn.outer_loop import init_learnable
from functa_store.metrics import psnr_mean
from functa_store.nets.siren import to_weights
from functa_store.sources.array_source import ArraySource
from functa_store.sources.batch_reader import BatchReader
from functa_store.sources.features import FeatureSpec
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

    def __init__(self, network, fit_config, precision="float32", weight_of_ones=1.0):
        self.config = ConvertConfig(
            network=network, fit=fit_config, matmul_precision=precision, weight_of_ones=weight_of_ones
        )
        graph, learnable = init_learnable(self.config, 2, 3)
        top = 0.3 if network.modulation == "latent" else 3e-3
        rng = np.random.default_rng(1)
        shape = (fit_config.num_steps, network.modulation_size)
        rates, momenta = rng.uniform(top / 3, top, shape), rng.uniform(0, 0.5, shape)
        self.base = learnable.base
        self.steps = Steps(*(jnp.asarray(a, jnp.float32) for a in (rates, momenta)))
        self.fit = Fit(graph, self.config, SOURCE)
        self.shared = self.fit.prepare(learnable.base, self.steps)
        self.modulations, self.mse, _ = self(in_batches(0, len(VALUES), BATCH))

    def __call__(self, batches):
        fitted = fit_batches(self.fit, self.shared, BatchReader(SOURCE), batches, BATCH)
        return tuple(np.concatenate(parts) for parts in zip(*fitted, strict=True))

    def expected(self, index, views):
        """In float64: heavy-ball steps on the points of each view, and the error on all points."""
        reference = ReferenceSiren.from_weights(self.config.network.w0, to_weights(self.base))
        coords, features = SOURCE.domain.coords().astype(np.float64), VALUES[index].reshape(-1, 3) / 255
        weights = 1 + (self.config.weight_of_ones - 1) * features.mean(axis=-1)
        phi = previous = np.zeros(self.config.network.modulation_size)
        for rate, momentum, view in zip(*(np.asarray(s, np.float64) for s in self.steps), views, strict=True):
            slope = reference.gradient(phi, coords[view], features[view], weights[view])
            phi, previous = phi - rate * slope + momentum * (phi - previous), phi
        return phi, reference.loss(phi, coords, features)

    def assert_fits(self, views):
        for index in (0, BATCH + 4):
            phi, mse = self.expected(index, views)
            np.testing.assert_allclose(self.modulations[index], phi, rtol=1e-4, atol=1e-4 * np.abs(phi).max())
            np.testing.assert_allclose(self.mse[index], mse, rtol=1e-4)


ALL = np.arange(42)
GRID = ALL.reshape(6, 7)


@pytest.mark.parametrize("network", ["latent", pytest.param("shift", marks=pytest.mark.slow)])
@pytest.mark.parametrize("tile", [None, pytest.param(13, marks=pytest.mark.slow)])
def test_modulations_and_errors_are_those_of_the_papers_equations(network, tile):
    Case(NETWORKS[network], dataclasses.replace(PLAIN, tile_points=tile)).assert_fits([ALL] * 3)


@pytest.mark.slow
@pytest.mark.parametrize("tile", [None, 5])
def test_later_steps_look_at_one_phase_of_a_stride_after_the_other(tile):
    case = Case(NETWORKS["latent"], FitConfig(num_steps=4, stride=2, tile_points=tile))
    case.assert_fits([ALL, GRID[::2, ::2].ravel(), GRID[1::2, 1::2].ravel(), GRID[::2, 1::2].ravel()])


@pytest.mark.slow
@pytest.mark.parametrize("shared_bytes", [projection_module.MOST_BYTES, 0])
def test_ones_count_more_in_the_steps_but_not_in_the_error(shared_bytes, monkeypatch):
    monkeypatch.setattr(projection_module, "MOST_BYTES", shared_bytes)
    case = Case(NETWORKS["latent"], FitConfig(num_steps=3, stride=2), weight_of_ones=3.0)
    assert (case.shared.projection is None) == (shared_bytes == 0)
    case.assert_fits([ALL, GRID[::2, ::2].ravel(), GRID[1::2, 1::2].ravel()])


@pytest.mark.slow
@pytest.mark.parametrize("stride", [1, 2])
def test_grids_too_large_for_what_examples_share_are_fitted_alike(stride, monkeypatch):
    """The first step looks at all points, whether its gradient is a product or not."""
    config = FitConfig(num_steps=3, stride=stride, tile_points=13)
    shared = Case(NETWORKS["latent"], config)
    monkeypatch.setattr(projection_module, "MOST_BYTES", 0)
    monkeypatch.setattr(fit_module, "MOST_LIFTED_BYTES", 0)
    alone = Case(NETWORKS["latent"], config)
    assert alone.shared.projection is alone.shared.lifted is None
    assert shared.shared.projection is not None
    alone.assert_fits([ALL] * 3 if stride == 1 else [ALL, GRID[::2, ::2].ravel(), GRID[1::2, 1::2].ravel()])
    np.testing.assert_allclose(alone.modulations, shared.modulations, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_cost_counts_what_is_computed(monkeypatch):
    """Two passes a step but for the first one, on a share (2 x 3 of 42 points) of them, and one for the error."""
    assert Case(NETWORKS["latent"], PLAIN).fit.plan.passes == 5
    assert Case(NETWORKS["latent"], FitConfig(num_steps=4, stride=3)).fit.plan.passes == 1 + 3 * 2 * (2 * 3) / 42
    monkeypatch.setattr(projection_module, "MOST_BYTES", 0)
    assert Case(NETWORKS["latent"], PLAIN).fit.plan.passes == 7
    assert Case(NETWORKS["latent"], FitConfig(num_steps=4, stride=3)).fit.plan.passes == 3 + 3 * 2 * (2 * 3) / 42


@pytest.mark.slow
def test_what_was_left_open_is_decided():
    decided = Case(NETWORKS["latent"], FitConfig(num_steps=2)).fit.plan.config.fit
    assert (decided.stride, decided.tile_points) == (1, 1024)


def test_each_example_is_fitted_on_its_own():
    """A modulation may not depend on the examples that shared its batch."""
    case = Case(NETWORKS["latent"], PLAIN)
    modulations, mse, _ = case([np.array([BATCH + 4, 3])])
    np.testing.assert_array_equal(modulations, case.modulations[[BATCH + 4, 3]])
    np.testing.assert_array_equal(mse, case.mse[[BATCH + 4, 3]])


@pytest.mark.slow
def test_bfloat16_changes_the_fit_a_little_and_errors_stay_float32():
    plain, half = Case(NETWORKS["latent"], PLAIN), Case(NETWORKS["latent"], PLAIN, "bfloat16")
    assert 0 < np.abs(half.modulations - plain.modulations).max() < 0.05 * np.abs(plain.modulations).max()
    reference = ReferenceSiren.from_weights(half.config.network.w0, to_weights(half.base))
    coords, features = SOURCE.domain.coords().astype(np.float64), VALUES.reshape(len(VALUES), -1, 3) / 255
    errors = [
        reference.loss(phi, coords, y) for phi, y in zip(half.modulations.astype(np.float64), features, strict=True)
    ]
    np.testing.assert_allclose(half.mse, errors, rtol=1e-4)


def test_one_compilation_serves_whole_and_short_batches():
    case = Case(NETWORKS["latent"], PLAIN)
    assert case.fit._fit._cache_size() == 1
    case([np.array([2]), np.arange(5)])
    assert case.fit._fit._cache_size() == 1


def test_the_device_is_one_batch_ahead_of_whoever_consumes(monkeypatch):
    case, started, call = Case(NETWORKS["latent"], PLAIN), [], Fit.__call__

    def counting(self, shared, raw):
        started.append(len(raw))
        return call(self, shared, raw)

    monkeypatch.setattr(Fit, "__call__", counting)
    fitted = fit_batches(case.fit, case.shared, BatchReader(SOURCE), [np.arange(4)] * 4, BATCH)
    next(fitted)
    assert started == [BATCH, BATCH]
    assert len(list(fitted)) == 3


def test_a_batch_that_the_devices_cannot_share_is_refused():
    case = Case(NETWORKS["latent"], PLAIN)
    odd = jax.local_device_count() + 1
    with pytest.raises(ConfigError, match=f"got {odd} examples"):
        case.fit(case.shared, VALUES[:odd].reshape(odd, 42, 3))


@pytest.mark.slow
def test_a_batch_is_as_large_as_wanted_and_no_larger_than_there_are_examples():
    case, devices = Case(NETWORKS["latent"], PLAIN), jax.local_device_count()
    assert choose_batch_size(case.fit, case.shared, BatchReader(SOURCE), 4 * devices, 13 * devices) == 4 * devices
    assert choose_batch_size(case.fit, case.shared, BatchReader(SOURCE), None, 5 * devices) == 5 * devices
    assert mean_psnr(case.fit, case.shared, BatchReader(SOURCE), np.arange(3)) == pytest.approx(psnr_mean(case.mse[:3]))
